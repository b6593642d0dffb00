"""Start-up calibration: the first unit is corrected already, the purge unit is waste, another ink never becomes product."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest
from flow_errors import batch, cell_of, percents, prepared
from simulated_cell import SimulatedCell

from audit.quantities import Microlitre
from printer.alarms import AlarmName
from printer.messages import Operation, UnitCompiled
from printer.planned_units import compile_corrected
from printer.replay import decisions_digest, replay
from printer.run import Phase
from recipes.errors import RecipeRefused
from recipes.library import recipe_bytes
from recipes.model import parse_recipe

FLOW, DRIFT = 1.04, 0.0005
IDENTITY_LIMIT = 7.0 + 0.5 / 1.15
"""Of the demonstration ink: the recipe's limit and the uncertainty of the certificate's density, in percent."""


def show(capsys: pytest.CaptureFixture[str], text: str) -> None:
    with capsys.disabled():
        sys.stdout.write(text)


def figures(seeds: range, capsys: pytest.CaptureFixture[str]) -> None:
    with_it = [batch(seed, corrected=True, flow=FLOW, drift=DRIFT) for seed in seeds]
    without = [batch(seed, corrected=False, flow=FLOW, drift=DRIFT) for seed in seeds]
    assert {found.ended for found in (*with_it, *without)} == {"FINISHED"}
    ratios = [mine.value / plain.value for mine, plain in zip(with_it, without, strict=True)]
    errors = [abs(found.mean_error) for found in with_it]
    show(
        capsys,
        f"\n{len(seeds)} batches of 14 units, flow +4 % and +0.05 % a unit: mean from unit 3 off by {statistics.mean(errors):.2f} %, worst "
        f"{max(errors):.2f} % (without {statistics.mean(abs(b.mean_error) for b in without):.2f} %); AV of all units "
        f"{statistics.mean(b.value for b in with_it):.2f}, worst {max(b.value for b in with_it):.2f} "
        f"(without {statistics.mean(b.value for b in without):.2f}); ratio {statistics.mean(ratios):.2f}, worst {max(ratios):.2f}\n",
    )
    assert max(errors) < 0.5
    assert max(ratios) < 0.5


def test_a_flow_error_is_gone_from_the_first_units_on(capsys: pytest.CaptureFixture[str]) -> None:
    figures(range(1, 3), capsys)


@pytest.mark.deep
def test_a_flow_error_is_gone_whatever_the_seed(capsys: pytest.CaptureFixture[str]) -> None:
    figures(range(1, 16), capsys)


@pytest.fixture(scope="module")
def finished() -> SimulatedCell:
    cell = cell_of(prepared(True, 2), flow=FLOW)
    cell.run()
    return cell


def test_the_first_unit_is_corrected_and_the_purge_unit_counts_nowhere(finished: SimulatedCell) -> None:
    assert finished.machine.ended == "FINISHED"
    assert dict(finished.verdicts()) == {1: "accepted", 2: "accepted"}
    assert abs(percents(finished)[0] - 100) < 2
    (intended,), (judged,) = finished.kinds("calibration.print.intended"), finished.kinds("calibration.weight.judged")
    assert str(intended.subject) == str(judged.subject) == "calibration/B-1-R1/P1"
    assert (judged.new["verdict"], intended.new["strength_mg"], intended.new["flow_factor"]) == ("calibration", None, "1")
    assert len(finished.kinds("unit.print.intended")) == 2
    decided = finished.kinds("dose.correction.decided")
    assert [entry.new["unit_n"] for entry in decided] == [1, 2]
    evidence = decided[0].new["evidence"]
    assert isinstance(evidence, list)
    assert [(row["n"], row["purge_unit"]) for row in evidence if isinstance(row, dict)] == [(1, True)]
    order = [str(entry.kind) for entry in finished.entries]
    assert order.index("calibration.weight.judged") < order.index("dose.correction.decided") < order.index("unit.print.intended")
    assert [entry.new["flow_factor"] for entry in finished.kinds("unit.print.intended")] == [entry.new["flow_factor"] for entry in decided]


def test_the_purge_unit_was_intended_from_the_bytes_that_were_proved(finished: SimulatedCell) -> None:
    assert finished.program is not None
    (purge,) = finished.program.purges
    (intended,) = finished.kinds("calibration.print.intended")
    assert intended.new["gcode_sha256"] == purge.sha256
    assert purge.gcode in finished.program.planned
    sent = b"".join(data for _, port, data, _ in finished.written if port == "printer")
    assert purge.commands[3] in sent


def test_the_run_with_its_purge_unit_is_replayed(finished: SimulatedCell) -> None:
    journals = ("journal/preparation.jsonl", "journal/purge-", "journal/unit-", "journal/run.jsonl")
    segments = [data for entry in finished.entries for name, data in entry.attachments.items() if name.startswith(journals)]
    assert len(segments) == 5
    assert replay(finished.machine.plan, segments).sha256 == decisions_digest(finished.entries)


def sweep(steps: range, capsys: pytest.CaptureFixture[str]) -> None:
    """An ink whose density follows its strength in proportion, as the same solids in less or more of the same vehicle would at most."""
    lines = ["strength error -> outcome, units accepted, flow factors"]
    wrong = []
    for error in steps:
        cell = cell_of(prepared(True, 3), density=1 + error / 100, strength=1 + error / 100)
        cell.run()
        accepted = sum(verdict == "accepted" for verdict in cell.verdicts().values())
        alarms = {alarm.definition.name.value for alarm in cell.machine.alarms.alarms}
        factors = [str(entry.new["flow_factor"]) for entry in cell.kinds("dose.correction.decided")]
        lines.append(f"  {error:+4d} %  {cell.machine.ended:9s} {accepted} {', '.join(sorted(alarms)) or '-':36s} {' '.join(factors)}")
        if abs(error) > IDENTITY_LIMIT and (accepted or not alarms & {AlarmName.INK_IDENTITY, AlarmName.CORRECTION_LIMIT}):
            wrong.append(lines[-1])
    show(capsys, "\n" + "\n".join(lines) + "\n")
    assert not wrong


def test_wrong_strength_ink_is_held_beyond_the_stated_limit(capsys: pytest.CaptureFixture[str]) -> None:
    sweep(range(-20, 21, 4), capsys)


@pytest.mark.deep
def test_wrong_strength_ink_is_held_in_every_step(capsys: pytest.CaptureFixture[str]) -> None:
    sweep(range(-20, 21), capsys)


def test_strength_without_density_cannot_be_seen() -> None:
    """Stated in docs/dose.md: the content rests on the certificate of the ink, as it does without correction."""
    cell = cell_of(prepared(True, 2), strength=1.15)
    cell.run()
    assert (cell.machine.ended, set(cell.verdicts().values())) == ("FINISHED", {"accepted"})


def test_another_ink_is_held_before_any_product_is_printed() -> None:
    cell = cell_of(prepared(True, 2), density=1.12)
    cell.run()
    assert cell.machine.ended == "ABORTED"
    assert [alarm.definition.name for alarm in cell.machine.alarms.alarms] == [AlarmName.INK_IDENTITY]
    assert cell.machine.alarms.alarms[0].unit_n is None
    (judged,) = cell.kinds("calibration.weight.judged")
    assert judged.new["verdict"] == "rejected"
    assert (dict(cell.verdicts()), cell.kinds("unit.print.intended"), cell.kinds("dose.correction.decided")) == ({}, [], [])
    assert cell.kinds("deviation.record.opened") == []


def test_a_stop_in_the_purge_unit_scraps_it_and_prints_nothing_more() -> None:
    cell = cell_of(prepared(True, 2))
    started(cell)
    cell.until(lambda machine: machine.cycle.step.value == "printing")
    cell.command(Operation.STOP_KILL)
    assert cell.machine.phase is Phase.DONE
    (scrapped,) = cell.kinds("calibration.print.scrapped")
    assert (str(scrapped.subject), scrapped.new["verdict"]) == ("calibration/B-1-R1/P1", "scrapped")
    assert dict(cell.verdicts()) == {}


def started(cell: SimulatedCell) -> None:
    cell.command(Operation.PREPARE)
    cell.until(lambda machine: machine.phase is Phase.START)
    cell.command(Operation.START)


def test_a_purge_unit_whose_verdict_is_lost_is_scrapped() -> None:
    cell = cell_of(prepared(True, 2))
    cell.refuse_record = lambda record: any(str(draft.kind) == "calibration.weight.judged" for draft in record.drafts)
    cell.run()
    assert cell.machine.ended == "FAULTED"
    (scrapped,) = cell.kinds("calibration.print.scrapped")
    assert "could not be recorded" in str(scrapped.new["reasons"])
    assert dict(cell.verdicts()) == {}


def two_purge_units() -> bytes:
    text = recipe_bytes("sildenafil").decode("utf-8")
    changed = text.replace(
        'units = 1\nvolume = "130 uL"\nlargest = "6 %"\ntolerance = "7 %"',
        'units = 2\nvolume = "130 uL"\nlargest = "6 %"\ntolerance = "3 %"',
    )
    assert changed != text
    return changed.encode("utf-8")


def test_a_second_purge_unit_is_printed_with_the_correction_of_the_first_and_must_be_near() -> None:
    found = prepared(True, 1, two_purge_units())
    cell = cell_of(found, flow=FLOW)
    cell.run()
    assert (cell.machine.ended, dict(cell.verdicts())) == ("FINISHED", {1: "accepted"})
    first, second = cell.kinds("calibration.print.intended")
    assert (first.new["flow_factor"], str(second.subject)) == ("1", "calibration/B-1-R1/P2")
    assert Decimal("0.94") <= Decimal(str(second.new["flow_factor"])) < Decimal("0.97")
    decided = cell.kinds("dose.correction.decided")
    assert [(entry.new["unit_n"], entry.new["purge_unit"]) for entry in decided] == [(2, True), (1, False)]
    assert "corrected/purge-2.gcode" in decided[0].attachments
    places = {(purge.x, purge.y) for purge in found.plan.purges}
    assert len(places) == 2


def test_a_flow_that_does_not_stay_ends_the_run_before_the_first_unit() -> None:
    cell = cell_of(prepared(True, 1, two_purge_units()), flow=0.96, drift=0.05)
    cell.run()
    assert (cell.machine.ended, dict(cell.verdicts())) == ("ABORTED", {})
    assert [alarm.definition.name for alarm in cell.machine.alarms.alarms] == [AlarmName.CORRECTION_LIMIT]


Spoil = Callable[[UnitCompiled], UnitCompiled]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda unit: replace(unit, factor=unit.factor + Decimal("0.001")), "another flow factor"),
        (lambda unit: replace(unit, gcode=unit.gcode.replace(b" E0.0", b" E0.1", 1)), "not those that were proved"),
        (lambda unit: replace(unit, purge=True), "not compiled in time"),
        (lambda unit: replace(unit, proof=b""), "without its proof"),
        (lambda unit: replace(unit, proof=b"{}"), "without its proof"),
        (lambda unit: replace(unit, target_volume=unit.target_volume + Microlitre(1)), "were asked for"),
        (lambda unit: replace(unit, cumulative_nl=unit.cumulative_nl[:-1]), "other commands"),
    ],
)
def test_a_compiler_that_answers_with_something_else_is_refused(spoil: Spoil, reason: str) -> None:
    cell = cell_of(prepared(True, 2), flow=FLOW)
    execute = cell._execute
    cell._execute = lambda effect: [  # type: ignore[method-assign]
        spoil(answer) if isinstance(answer, UnitCompiled) else answer for answer in execute(effect)
    ]
    cell.run()
    assert (cell.machine.ended, dict(cell.verdicts())) == ("ABORTED", {})
    assert [alarm.definition.name for alarm in cell.machine.alarms.alarms] == [AlarmName.CORRECTION_LIMIT]
    assert reason in cell.machine.alarms.alarms[0].message


def test_the_bytes_of_another_factor_under_an_honest_name_are_refused() -> None:
    """A compiler that says 0.96 and sends the bytes of 1.0, with their right digest: what is extruded is read again."""
    cell = cell_of(prepared(True, 2), flow=FLOW)
    assert cell.program is not None
    other = compile_corrected(cell.program, 1, Decimal("1.001"))
    assert isinstance(other, UnitCompiled)
    execute = cell._execute
    cell._execute = lambda effect: [  # type: ignore[method-assign]
        replace(answer, gcode=other.gcode, sha256=other.sha256, cumulative_nl=other.cumulative_nl)
        if isinstance(answer, UnitCompiled)
        else answer
        for answer in execute(effect)
    ]
    cell.run()
    assert dict(cell.verdicts()) == {}
    assert "were asked for" in cell.machine.alarms.alarms[0].message


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("units = 1\nvolume", "units = 3\nvolume", "2 at most"),
        ('largest = "6 %"\ntolerance', 'largest = "7 %"\ntolerance', "may not exceed"),
        ('volume = "130 uL"', 'volume = "0 uL"', "volume"),
    ],
)
def test_a_recipe_with_a_start_up_calibration_that_makes_no_sense_is_refused(old: str, new: str, what: str) -> None:
    text = recipe_bytes("sildenafil").decode("utf-8")
    assert old in text
    with pytest.raises(RecipeRefused, match=what):
        parse_recipe(text.replace(old, new).encode("utf-8"))
