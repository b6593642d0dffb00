"""Run-to-run correction: an error of the flow goes, an ink that is not the certificate's is held, bounds end the run."""

from __future__ import annotations

import functools
import statistics
import sys
from decimal import Decimal

import pytest
from flow_errors import cell_of, percents
from simulated_cell import TODAY, SimulatedCell, admitted, demonstration_job, signature, signed_bundle

from audit.canonical import sha256_hex
from audit.quantities import EXACT, Celsius, GramPerMillilitre, Microlitre, Milligram, MilligramPerSecond, Percent
from printer.acceptance import Against, Criteria, Finding, Judgement, UnitEvidence, Verdict, Weighing, judge
from printer.admission import MEANING_CONFIRMED, MEANING_ENTERED, Admitted, Job
from printer.alarms import AlarmName
from printer.dose_control import CorrectionRule, DoseControl
from printer.messages import Operation, UnitRefused
from printer.planned_units import compile_corrected
from printer.replay import decisions_digest, replay
from printer.run import Phase
from recipes.compile import compile_unit
from recipes.errors import CompileRefused, RecipeRefused
from recipes.library import load_demonstration, recipe_bytes
from recipes.model import parse_recipe
from recipes.order import DoseOrder

RULE = CorrectionRule(Percent(4), Percent(1), Percent("0.3"), Percent(6), Percent(5), GramPerMillilitre("1.1"), Percent("0.5"))
TABLE = 'dose_correction = { method = "kalman", prior = "4 %", repeatability = "1 %", drift = "0.3 %", largest = "6 %", ink_limit = "7 %" }'
SOURCES = '"control.dose_correction" = "illustrative"\n'


def correcting_recipe(case: str, table: str = TABLE) -> bytes:
    text = recipe_bytes(case).decode("utf-8")
    if 'dose_correction = "off"' not in text:
        return text.encode("utf-8")
    # The finest bead of the filament recipe leaves no room for a correction: a recipe that corrects must have validated it wider.
    text = text.replace('bead_width = { set_point = "0.45 mm", low = "0.38 mm"', 'bead_width = { set_point = "0.45 mm", low = "0.36 mm"')
    return (text.replace('dose_correction = "off"', table).rstrip() + "\n" + SOURCES).encode("utf-8")


@functools.cache
def correcting(case: str, days: int) -> Admitted:
    content = correcting_recipe(case)
    recipe = parse_recipe(content)
    prescription, ink, cartridge = load_demonstration(case, TODAY)
    prescription = prescription.model_copy(update={"days": days})
    order = DoseOrder.create("O-1", recipe=recipe, ink=ink, cartridge=cartridge, prescription=prescription)
    return admitted(
        demonstration_job(
            case,
            order=order,
            entered=signature("pharmacist", MEANING_ENTERED, order.sha256),
            confirmed=signature("operator", MEANING_CONFIRMED, order.sha256),
            recipe_bundle=signed_bundle(content),
        )
    )


def acceptance_value(found: list[float]) -> float:
    """|100 - mean| + 2.4 s, in the manner of Ph. Eur. 2.9.40 without its indifference zone."""
    return abs(100 - statistics.mean(found)) + 2.4 * statistics.stdev(found)


def test_a_flow_error_with_drift_is_corrected_by_the_third_unit(capsys: pytest.CaptureFixture[str]) -> None:
    case, days = "minoxidil", 28
    plain = cell_of(admitted(_plain(case, days)), flow=1.04, drift=0.0004)
    plain.run()
    corrected = cell_of(correcting(case, days), flow=1.04, drift=0.0004)
    corrected.run()
    assert plain.machine.plan.correction is None
    assert (plain.machine.ended, corrected.machine.ended) == ("FINISHED", "FINISHED")
    before, after = percents(plain), percents(corrected)
    assert len(before) == len(after) == days
    with capsys.disabled():
        sys.stdout.write(
            f"\nflow +4 % and drift: mean from unit 3 {statistics.mean(after[2:]):.2f} % (without {statistics.mean(before[2:]):.2f} %), "
            f"AV of all {acceptance_value(after):.2f} (without {acceptance_value(before):.2f}), "
            f"AV from unit 3 {acceptance_value(after[2:]):.2f} (without {acceptance_value(before[2:]):.2f})\n"
        )
    assert statistics.mean(before) > 103.5
    assert abs(statistics.mean(after[2:]) - 100) < 0.5
    # The first unit has no forerunner to learn from; from the third on the correction has to show.
    assert acceptance_value(after[2:]) < acceptance_value(before[2:]) / 2
    assert acceptance_value(after) < acceptance_value(before) * 0.6


def _plain(case: str, days: int) -> Job:
    prescription, ink, cartridge = load_demonstration(case, TODAY)
    prescription = prescription.model_copy(update={"days": days})
    recipe = parse_recipe(recipe_bytes(case))
    order = DoseOrder.create("O-1", recipe=recipe, ink=ink, cartridge=cartridge, prescription=prescription)
    return demonstration_job(
        case,
        order=order,
        entered=signature("pharmacist", MEANING_ENTERED, order.sha256),
        confirmed=signature("operator", MEANING_CONFIRMED, order.sha256),
    )


@pytest.fixture(scope="module")
def corrected() -> SimulatedCell:
    cell = cell_of(correcting("minoxidil", 4), flow=1.03)
    cell.run()
    return cell


def test_the_evidence_and_the_proof_are_on_record_before_the_unit_is_sent(corrected: SimulatedCell) -> None:
    assert corrected.machine.ended == "FINISHED"
    kinds = [(str(entry.kind), entry) for entry in corrected.entries]
    decided = [entry for kind, entry in kinds if kind == "dose.correction.decided"]
    assert [entry.new["unit_n"] for entry in decided] == [2, 3, 4]
    for entry in decided:
        n = int(str(entry.new["unit_n"]))
        intent = next(e for kind, e in kinds if kind == "unit.print.intended" and e.new["n"] == n)
        assert corrected.entries.index(entry) < corrected.entries.index(intent)
        gcode = entry.attachments[f"corrected/unit-{n:03d}.gcode"]
        assert sha256_hex(gcode) == entry.new["gcode_sha256"] == intent.new["gcode_sha256"] != entry.new["planned_gcode_sha256"]
        evidence = entry.new["evidence"]
        assert isinstance(evidence, list)
        assert [seen["n"] for seen in evidence if isinstance(seen, dict)] == list(range(1, n))
        assert b'"closure_percent"' in entry.attachments[f"corrected/unit-{n:03d}-proof.json"]
        assert intent.new["target_mass_mg"] == corrected.machine.plan.units[n - 1].target_mass.text
    assert not any(b"M221" in data for _, _, data, _ in corrected.written)


def test_a_corrected_run_is_replayed_from_its_journal_alone(corrected: SimulatedCell) -> None:
    journals = ("journal/preparation.jsonl", "journal/unit-", "journal/run.jsonl")
    segments = [data for entry in corrected.entries for name, data in entry.attachments.items() if name.startswith(journals)]
    assert replay(corrected.machine.plan, segments).sha256 == decisions_digest(corrected.entries)


@pytest.mark.parametrize("density", [0.85, 0.90, 1.09, 1.10, 1.15])
def test_another_ink_is_held_and_never_corrected_away(density: float) -> None:
    """Concentrated ink is denser, aerated ink lighter: the mass per volume tells, and the first unit is enough."""
    cell = cell_of(correcting("minoxidil", 4), density=density)
    cell.run()
    assert cell.machine.ended == "ABORTED"
    assert AlarmName.INK_IDENTITY in [alarm.definition.name for alarm in cell.machine.alarms.alarms]
    assert list(cell.verdicts().values()) == ["rejected"]
    assert cell.kinds("dose.correction.decided") == []


def test_a_change_of_ink_in_mid_run_is_held_though_its_mass_is_in_tolerance() -> None:
    cell = cell_of(correcting("minoxidil", 6), flow=1.03)
    cell.command(Operation.PREPARE)
    cell.until(lambda machine: machine.phase is Phase.START)
    cell.command(Operation.START)
    cell.until(lambda machine: machine.units.done == 3)
    cell.bench.plant.density *= 1.055
    cell.until(lambda machine: machine.phase is Phase.DONE)
    assert cell.verdicts()[4] == "rejected"
    reasons = cell.machine.cycle.verdicts[4][2]
    assert len(reasons) == 1
    assert reasons[0].startswith("ink identity")


def test_no_corrected_unit_without_its_proof() -> None:
    cell = cell_of(correcting("minoxidil", 4), flow=1.03)
    cell.program = None
    cell.run()
    assert cell.machine.ended == "ABORTED"
    assert cell.verdicts() == {1: "accepted"}
    assert [alarm.definition.name for alarm in cell.machine.alarms.alarms] == [AlarmName.CORRECTION_LIMIT]
    assert len(cell.bench.truth()) == 1


def test_a_stop_while_a_unit_is_compiled() -> None:
    cell = cell_of(correcting("minoxidil", 4), flow=1.03)
    answers: list[object] = []
    execute = cell._execute
    cell._execute = lambda effect: (answers.append(effect) or []) if type(effect).__name__ == "Compile" else execute(effect)  # type: ignore[method-assign, func-returns-value]
    cell.command(Operation.PREPARE)
    cell.until(lambda machine: machine.phase is Phase.START)
    cell.command(Operation.START)
    cell.until(lambda machine: machine.phase is Phase.COMPILING)
    for _ in range(100):
        cell.step()
    assert cell.machine.phase is Phase.COMPILING
    cell.command(Operation.STOP_KILL)
    assert cell.machine.phase is Phase.DONE
    assert cell.program is not None
    cell.give(compile_corrected(cell.program, 2, Decimal("0.97")))
    assert len(cell.bench.truth()) == 1


def test_a_compiler_that_never_answers_ends_the_run_in_order() -> None:
    cell = cell_of(correcting("minoxidil", 4), flow=1.03)
    execute = cell._execute
    cell._execute = lambda effect: [] if type(effect).__name__ == "Compile" else execute(effect)  # type: ignore[method-assign]
    cell.run()
    assert (cell.machine.ended, cell.verdicts()) == ("ABORTED", {1: "accepted"})


# The pure part and the compiler


def weighed(gain: str, *, uncertainty: str = "0", verdict: Verdict = Verdict.ACCEPTED, drifting: bool = False) -> Judgement:
    """A judged unit of 100 µL; the mass that was judged is far off the adjusted one, so that no test passes on the wrong one."""
    adjusted = Milligram(Decimal("110") * Decimal(gain))
    return Judgement(
        verdict,
        adjusted + Milligram(3),
        adjusted,
        Milligram(uncertainty),
        MilligramPerSecond(0),
        Milligram(0),
        Milligram(0),
        (Finding(Against.DRIFT, "drifts"),) if drifting else (),
    )


def control(*gains: str, uncertainty: str = "0") -> DoseControl:
    found = DoseControl(RULE)
    for n, gain in enumerate(gains, start=1):
        found.observe(n, weighed(gain, uncertainty=uncertainty), Microlitre(100))
    return found


def test_the_filter_gives_what_the_textbook_gives() -> None:
    """Prior 4 %, scatter 1 %, drift 0.3 %: K1 = 16 / 17; P1 = 16 / 17 (in %²); K2 = (P1 + 0.09) / (P1 + 0.09 + 1)."""
    assert control().factor == 1
    assert abs(control("1.04").estimate - (1 + Decimal("0.04") * 16 / 17)) < Decimal("1e-20")
    first = 1 + Decimal("0.04") * 16 / 17
    second = Decimal(16) / 17 + Decimal("0.09")
    expected = first + second / (second + 1) * (Decimal("1.02") - first)
    assert abs(control("1.04", "1.02").estimate - expected) < Decimal("1e-20")
    assert DoseControl(None).factor == 1


def test_many_units_agree_with_the_steady_state_of_the_filter() -> None:
    """The steady variance solves P = (P + q) r / (P + q + r); for q = 0.09 and r = 1 (in %²) P = (-q + sqrt(q² + 4 q r)) / 2."""
    found = control(*["1.04"] * 200)
    steady = (-Decimal("0.09") + (Decimal("0.0081") + Decimal("0.36")).sqrt()) / 2
    assert abs(found.variance * 10_000 - steady) < Decimal("1e-9")
    assert abs(found.estimate - Decimal("1.04")) < Decimal("1e-6")


def test_a_weighing_that_says_little_moves_little() -> None:
    """U of 22 mg in 110 mg is a standard uncertainty of 10 %: K = 16 / (16 + 1 + 100)."""
    found = control("1.04", uncertainty="22")
    assert abs(found.estimate - (1 + Decimal("0.04") * 16 / 117)) < Decimal("1e-20")
    assert found.observations[0].uncertainty == (Decimal("0.0001") + Decimal("0.01")).sqrt(EXACT)
    sharp, blunt = control("1.04").standard_uncertainty, found.standard_uncertainty
    assert sharp < Decimal("0.01") < blunt < Decimal("0.04")


@pytest.mark.parametrize(
    "unsound",
    [
        weighed("1.04", drifting=True),
        weighed("1.04", verdict=Verdict.REJECTED),
        weighed("1.04", verdict=Verdict.SCRAPPED),
    ],
)
def test_no_correction_is_drawn_from_a_weight_that_drifts_or_a_unit_that_is_not_accepted(unsound: Judgement) -> None:
    found = DoseControl(RULE)
    found.observe(1, unsound, Microlitre(100))
    assert (found.factor, found.observations) == (1, [])


@pytest.mark.parametrize("wet", [True, False])
def test_the_weight_behind_a_correction_has_its_drift_taken_off_whatever_the_stage(wet: bool) -> None:
    """0.1 mg/s over 60 s are 6 mg: they stand in the mass of a unit weighed dry, and never in what the correction follows."""
    criteria = Criteria(
        target=Milligram(110),
        tolerance=Percent(10),
        balance_uncertainty=Milligram("0.2"),
        readability=Milligram("0.1"),
        wet=wet,
        drift_limit=MilligramPerSecond("0.25"),
        volume_resolution=Microlitre(4),
        nozzle_low=Celsius(20),
        nozzle_high=Celsius(30),
        plate_low=Celsius(15),
        plate_high=Celsius(25),
    )
    before = Weighing(Milligram(1000), 0, Milligram("1000.4"), 4_000_000)
    after = Weighing(Milligram("1115.6"), 60_000_000, Milligram("1116.0"), 64_000_000)
    evidence = UnitEvidence(before, after, Microlitre(100), Microlitre(100), Celsius(25), Celsius(25), Celsius(20), Celsius(20))
    judgement = judge(criteria, evidence)
    assert (judgement.verdict, judgement.mass) == (Verdict.ACCEPTED, Milligram("109.6" if wet else "115.6"))
    found = DoseControl(RULE)
    found.observe(1, judgement, Microlitre(100))
    assert found.observations[0].mass == Milligram("109.6")


@pytest.mark.parametrize(("gain", "held"), [("1.0549", False), ("1.0551", True), ("0.9451", False), ("0.9449", True)])
def test_the_limit_of_identity_is_the_certificates_uncertainty_and_the_recipes_limit(gain: str, held: bool) -> None:
    reason = control().identity_reason(Milligram(Decimal(110) * Decimal(gain)), Microlitre(100))
    assert (reason is not None) is held


def test_a_factor_out_of_bounds_has_its_reason() -> None:
    assert control("0.95").bound_reason() is None
    assert "0.9382" in str(control("1.07").bound_reason())
    assert DoseControl(None).identity_reason(Milligram(1), Microlitre(100)) is None


@pytest.mark.parametrize("case", ["cyclophosphamide", "hydrocortisone", "minoxidil", "sildenafil"])
@pytest.mark.parametrize("factor", ["0.95", "1.05"])
def test_a_unit_compiled_anew_is_proved_with_the_scaled_volume(case: str, factor: str) -> None:
    program = correcting(case, 1).program
    unit = compile_unit(program, 1, Decimal(factor))
    planned = program.units[0]
    assert unit.target_volume.value == planned.target_volume.value * Decimal(factor)
    assert abs(unit.net_volume.value / planned.net_volume.value - Decimal(factor)) < Decimal("0.001")
    assert unit.target_mass == planned.target_mass
    assert unit.centre == planned.centre
    assert unit.sha256 != planned.sha256
    assert compile_unit(program, 1, Decimal(1)).gcode == planned.gcode


def test_what_the_compiler_refuses() -> None:
    program = correcting("minoxidil", 1).program
    with pytest.raises(CompileRefused, match="beyond 6 %"):
        compile_unit(program, 1, Decimal("1.061"))
    with pytest.raises(CompileRefused, match="no unit 2"):
        compile_unit(program, 2, Decimal(1))
    off = admitted(demonstration_job("minoxidil")).program
    with pytest.raises(CompileRefused, match="does not correct"):
        compile_unit(off, 1, Decimal("1.01"))
    assert isinstance(compile_corrected(off, 1, Decimal("1.01")), UnitRefused)


@pytest.mark.parametrize(
    "table",
    [
        TABLE.replace('prior = "4 %"', 'prior = "11 %"'),
        TABLE.replace('repeatability = "1 %"', 'repeatability = "0 %"'),
        TABLE.replace('largest = "6 %"', 'largest = "11 %"'),
        TABLE.replace("kalman", "guess"),
    ],
)
def test_a_recipe_with_an_unbounded_correction_is_refused(table: str) -> None:
    with pytest.raises(RecipeRefused, match="dose_correction"):
        parse_recipe(correcting_recipe("minoxidil", table))
