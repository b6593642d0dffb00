"""Units that the plate balance cannot judge, weighed elsewhere by two people: gates, entries, verdicts, trouble."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import external_case as case
import pytest
from simulated_cell import OPERATOR, STANDING

from audit.canonical import canonical
from audit.events import Actor
from audit.quantities import Celsius, Microlitre, Milligram
from printer.acceptance import UnitEvidence, Weighing, judge_external
from printer.admission import ADMISSION, admit_again, read_admission
from printer.alarms import AlarmName
from printer.equipment import EquipmentRegister
from printer.messages import Operation
from printer.replay import decisions_digest, replay
from printer.run import Phase
from printer.unit_cycle import Step
from printer.view import run_view
from recipes.errors import CompileRefused, RecipeRefused
from recipes.library import load_recipe, recipe_bytes, recipe_ids
from recipes.model import parse_recipe

JUDGES, CALIBRATED = "balance can judge the tolerance", "external balance calibrated"


def gates(standing=None):  # type: ignore[no-untyped-def]
    return {gate.name: gate for gate in case.admitted(standing).plan.static_gates}


def reasons_of(hand: case.Hand, n: int = 1) -> str:
    return "; ".join(hand.cell.machine.cycle.verdicts[n][2])


# The recipe and the gate


def test_a_recipe_that_does_not_permit_it_is_refused_at_compile_as_before() -> None:
    with pytest.raises(CompileRefused) as refused:
        case.admitted(permitted=False)
    assert any("may take a quarter" in reason for reason in refused.value.reasons)


def test_recipes_without_it_keep_their_digests() -> None:
    for name in recipe_ids():
        assert "external" not in canonical(load_recipe(name).as_record()).decode()
    assert "external_balance" in canonical(parse_recipe(case.recipe_text()).as_record()).decode()
    assert "external_balance" not in case.register_with(None).as_record()
    again = EquipmentRegister.model_validate(case.register_with().as_record())
    assert again.digest == case.register_with().digest != case.register_with(None).digest


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ((b'stage = "dry"', b'stage = "wet"'), "would not be known"),
        ((b'stage = "dry"', b'stage = "filled capsule"'), "would not be known"),
        ((b'external_timeout = "600 s"\n', b""), "belong together"),
        ((b'"600 s"', b'"1801 s"'), "1800 s at most"),
        ((b'"permitted"', b'"always"'), "permitted"),
    ],
)
def test_a_recipe_whose_weight_elsewhere_would_mean_nothing_is_refused(change: tuple[bytes, bytes], words: str) -> None:
    assert change[0] in case.recipe_text()
    with pytest.raises(RecipeRefused, match=words):
        parse_recipe(case.recipe_text().replace(*change))


def test_purge_units_are_never_weighed_elsewhere() -> None:
    content = recipe_bytes("sildenafil").replace(b'stage = "wet"', b'stage = "dry"').replace(b'drift_window = "4 s"\n', case.PERMITTED)
    with pytest.raises(RecipeRefused, match="start_up_calibration"):
        parse_recipe(content)


def test_the_gate_is_met_by_the_external_balance_and_says_so() -> None:
    found = gates()
    assert found[JUDGES].met and case.SERIAL in found[JUDGES].text and "0.10 mg" in found[JUDGES].text
    assert found[CALIBRATED].met and "2027-11-19" in found[CALIBRATED].text


def test_the_uncertainty_on_record_is_that_of_the_balance_that_judges() -> None:
    plan = case.admitted().plan
    stated = plan.created["release"]["uncertainty"]  # type: ignore[index, call-overload]
    masses = {unit.strength.text: unit.target_mass.value for unit in plan.units}
    assert {row["strength_mg"] for row in stated} == masses.keys()
    for row in stated:
        share = case.ENTRY.expanded_uncertainty.value / 2 / masses[row["strength_mg"]] * 100
        assert float(row["standard"]["balance_percent"]) == pytest.approx(float(share), abs=0.0006)


def test_without_an_external_balance_in_the_register_it_is_not_met_and_the_run_is_refused_at_its_gates() -> None:
    hand = case.simulated(standing=case.standing_with(None))
    found = {gate.name: gate for gate in hand.cell.machine.plan.static_gates}
    assert not found[JUDGES].met and "names no external balance" in found[JUDGES].text and "may take a quarter" in found[JUDGES].text
    assert not found[CALIBRATED].met
    hand.to_weighing()
    assert hand.cell.machine.ended == "ABORTED"
    assert not [item for item in hand.cell.entries if "intended" in item.kind]


def test_its_calibration_and_its_uncertainty_are_judged() -> None:
    late = gates(case.standing_with(case.ENTRY.model_copy(update={"calibrated_until": "2026-11-19"})))
    assert late[JUDGES].met and not late[CALIBRATED].met and "ended on 2026-11-19" in late[CALIBRATED].text
    coarse = gates(case.standing_with(case.ENTRY.model_copy(update={"expanded_uncertainty": Milligram("0.47")})))
    assert not coarse[JUDGES].met and "the external balance takes 0.47 mg" in coarse[JUDGES].text
    assert gates(case.standing_with(case.ENTRY.model_copy(update={"expanded_uncertainty": Milligram("0.46")})))[JUDGES].met
    rough = gates(case.standing_with(case.ENTRY.model_copy(update={"readability": Milligram("0.5")})))
    assert not rough[JUDGES].met


def test_where_the_plate_balance_can_judge_it_does() -> None:
    from simulated_cell import demonstration_job, plan_of

    plan = plan_of(demonstration_job("hydrocortisone"))
    found = {gate.name: gate for gate in plan.static_gates}
    assert found[JUDGES].met and "0.35 mg" in found[JUDGES].text and CALIBRATED not in found
    assert plan.external is None


# A whole run


@pytest.fixture(scope="module")
def whole() -> case.Hand:
    hand = case.simulated()
    hand.whole_run()
    return hand


def test_a_whole_run_is_judged_by_the_weights_that_two_people_entered(whole: case.Hand) -> None:
    assert whole.cell.machine.ended == "FINISHED"
    assert set(whole.cell.verdicts().values()) == {"accepted"} and len(whole.cell.verdicts()) == 3
    for entry in whole.cell.kinds("unit.weight.judged"):
        weighing = entry.new["external_weighing"]
        assert isinstance(weighing, dict)
        (attempt,) = weighing["attempts"]  # type: ignore[misc, union-attr]
        assert entry.new["weighed_on"] == "external" and weighing["balance_serial"] == case.SERIAL
        assert attempt["first"]["username"] == "operator" and attempt["second"]["username"] == "pharmacist"  # type: ignore[index, call-overload]
        assert attempt["first"]["value_mg"] == attempt["second"]["value_mg"] == entry.new["mass_mg"]  # type: ignore[index, call-overload]
        assert attempt["second"]["signature"]["signer"] == "pharmacist"  # type: ignore[index, call-overload]
        assert entry.new["expanded_uncertainty_mg"] == "0.10" and entry.new["balance_serial"] == "B000000001"
    entered = whole.cell.kinds("unit.weight.entered")
    assert [entry.actor.username for entry in entered] == ["operator", "pharmacist"] * 3


def test_it_replays_to_the_same_decisions_from_its_own_admission(whole: case.Hand) -> None:
    plan = whole.cell.machine.plan
    again = admit_again(read_admission(plan.attachments[ADMISSION])).plan
    assert again == plan
    journals = ("journal/preparation.jsonl", "journal/unit-", "journal/run.jsonl")
    segments = [data for entry in whole.cell.entries for name, data in entry.attachments.items() if name.startswith(journals)]
    assert replay(again, segments).sha256 == decisions_digest(whole.cell.entries)


def test_the_plate_is_weighed_anew_before_every_unit(whole: case.Hand) -> None:
    """Who takes a unit off touches the plate: no weight from before that serves the next unit."""
    for entry in whole.cell.kinds("unit.weight.judged"):
        weighings = entry.new["weighings"]
        assert isinstance(weighings, list) and len(weighings) == 4


# Entries


@pytest.fixture
def waiting() -> case.Hand:
    hand = case.simulated()
    hand.to_weighing()
    assert hand.weighing
    return hand


def shown(hand: case.Hand) -> str:
    return canonical(run_view(hand.cell.machine, hand.cell.now, frozenset(), 0)).decode()


def test_the_first_value_is_in_no_answer_until_both_are_in(waiting: case.Hand) -> None:
    value = waiting.weigh()
    before = len(waiting.cell.entries)
    assert waiting.enter(value) == ()
    assert value not in shown(waiting)
    assert all(value not in canonical(dict(entry.new)).decode() for entry in waiting.cell.entries[before:])
    assert '"entry":2' in shown(waiting) and '"first_by":"operator"' in shown(waiting)
    assert waiting.enter(value) == ()
    assert value in shown(waiting)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"serial": "B000000001"}, "is not that of the registered external balance"),
        ({"entry": 2}, "entry 1 of attempt 1 is awaited"),
        ({"attempt": 2}, "entry 1 of attempt 1 is awaited"),
        ({"target": "B-1-R1/002"}, "B-1-R1/001 waits"),
    ],
)
def test_an_entry_that_does_not_fit_changes_nothing(waiting: case.Hand, changes: dict[str, object], words: str) -> None:
    entries = len(waiting.cell.entries)
    assert words in "; ".join(waiting.enter(waiting.weigh(), **changes))
    assert len(waiting.cell.entries) == entries and waiting.weighing
    assert waiting.cell.machine.cycle.external is not None and waiting.cell.machine.cycle.external.awaited == 1


@pytest.mark.parametrize(
    "value", ["", "49.9", "49.912", "49,91", "-49.91", "+49.91", "4.991E1", "0.00", "NaN", "٤٩.٩١", "49.91 ", "9" * 30]
)
def test_a_value_that_the_balance_cannot_show_is_refused(waiting: case.Hand, value: str) -> None:
    assert "2 decimals" in "; ".join(waiting.enter(value))


def test_the_same_person_cannot_make_both_entries(waiting: case.Hand) -> None:
    value = waiting.weigh()
    assert waiting.enter(value) == ()
    assert "a second person" in "; ".join(waiting.enter(value, who=OPERATOR))
    assert waiting.weighing
    other = Actor("operator", "Another Name", "pharmacist")
    assert "a second person" in "; ".join(waiting.enter(value, who=other)), "a person is known by the user name"


def test_entries_that_differ_are_both_asked_again_and_may_then_agree(waiting: case.Hand) -> None:
    value = waiting.weigh()
    waiting.both(value, str(Decimal(value) + Decimal("0.01")))
    external = waiting.cell.machine.cycle.external
    assert waiting.weighing and external is not None and (external.awaited, external.attempt) == (1, 2)
    waiting.both(value)
    (judged,) = waiting.cell.kinds("unit.weight.judged")
    assert judged.new["verdict"] == "accepted" and len(judged.new["external_weighing"]["attempts"]) == 2  # type: ignore[index, call-overload, arg-type]


def test_a_unit_whose_entries_differ_three_times_is_rejected(waiting: case.Hand) -> None:
    for _ in range(3):
        value = waiting.weigh()
        waiting.both(value, str(Decimal(value) + Decimal("0.01")))
    assert not waiting.weighing
    assert "differed 3 times" in reasons_of(waiting)
    waiting.to_weighing()
    assert waiting.cell.machine.ended == "ABORTED" and waiting.cell.verdicts() == {1: "rejected"}


def test_a_unit_that_nobody_weighs_is_rejected_after_the_recipes_time(waiting: case.Hand) -> None:
    began = waiting.cell.now
    waiting.cell.until(lambda m: m.cycle.step is not Step.EXTERNAL_WEIGHING)
    assert abs(waiting.cell.now - began - 600_000_000) <= 200_000
    assert "not weighed: no weight of the external balance was entered in time" in reasons_of(waiting)
    assert [alarm.definition.name for alarm in waiting.cell.machine.alarms.alarms] == [AlarmName.BALANCE_FAULT]


@pytest.mark.parametrize(
    ("share", "words"),
    [
        ("1.10", "outside"),
        ("0.90", "outside"),
    ],
)
def test_a_mass_outside_the_tolerance_is_rejected(waiting: case.Hand, share: str, words: str) -> None:
    unit = waiting.cell.machine.cycle.unit
    assert unit is not None
    waiting.both(str((unit.target_mass.value * Decimal(share)).quantize(Decimal("0.01"))))
    assert waiting.cell.verdicts() == {1: "rejected"} and words in reasons_of(waiting)


def test_the_uncertainty_of_the_external_balance_is_the_guard_band(waiting: case.Hand) -> None:
    """Tolerance 7.5 % of 49.603 mg: the upper limit is 53.323 mg, less 0.10 mg."""
    waiting.both("53.23")
    assert "nearer to a limit than its uncertainty of 0.10 mg" in reasons_of(waiting)


def test_another_unit_weighed_by_mistake_is_seen_by_the_plate_balance(waiting: case.Hand) -> None:
    """The plate saw 50 mg come; U of the plate 3.5 mg: 7 mg and more are no longer noise. Within tolerance is not enough."""
    external = waiting.cell.machine.cycle.external
    assert external is not None
    waiting.cell.machine.cycle._after = None if waiting.cell.machine.cycle._after is None else _lighter(waiting)
    waiting.both("49.60")
    assert "the plate balance saw 40.0 mg come on the plate" in reasons_of(waiting) and "outside" not in reasons_of(waiting)


def _lighter(hand: case.Hand):  # type: ignore[no-untyped-def]
    after = hand.cell.machine.cycle._after
    assert after is not None
    return replace(after, first=Milligram(40), second=Milligram(40))


# Trouble


@pytest.mark.parametrize("entered", [0, 1])
@pytest.mark.parametrize("operation", [Operation.STOP_KILL, Operation.STOP_QUICK])
def test_stop_while_a_unit_waits_stops_first_and_scraps_it(waiting: case.Hand, operation: Operation, entered: int) -> None:
    if entered:
        assert waiting.enter(waiting.weigh()) == ()
    written = len(waiting.cell.written)
    waiting.cell.command(operation)
    assert waiting.cell.written[written][3], "the stop is the first that goes out"
    assert waiting.cell.verdicts() == {1: "scrapped"} and waiting.cell.machine.phase is Phase.DONE
    late = waiting.cell.machine.cycle.external
    assert late is not None
    refused = waiting.cell.machine.refusal(waiting.entry("49.60"))
    assert refused and "never sends again" in refused[0]


def test_a_stop_in_order_and_a_pause_wait_for_the_weight(waiting: case.Hand) -> None:
    waiting.cell.command(Operation.PAUSE)
    assert waiting.weighing
    waiting.both(waiting.weigh())
    waiting.cell.until(lambda m: m.phase is Phase.PAUSED)
    waiting.cell.command(Operation.STOP_FINISH_UNIT)
    waiting.cell.until(lambda m: m.phase is Phase.DONE)
    assert waiting.cell.machine.ended == "ABORTED" and waiting.cell.verdicts() == {1: "accepted"}


def test_a_weight_that_nobody_waits_for_is_refused() -> None:
    hand = case.simulated()
    hand.cell.command(Operation.PREPARE)
    hand.cell.until(lambda m: m.phase is Phase.START)
    external_entry = case.simulated()
    external_entry.to_weighing()
    command = external_entry.entry("49.60")
    assert "while a printed unit waits" in "; ".join(hand.cell.machine.refusal(command))
    hand.cell.command(Operation.START)
    hand.cell.until(lambda m: m.cycle.step is Step.PRINT)
    assert hand.cell.machine.refusal(command) == ("no unit waits to be weighed on the external balance",)
    entries = len(hand.cell.entries)
    hand.cell.give(command)
    assert len(hand.cell.entries) == entries


def test_a_record_failure_while_a_unit_waits_ends_the_run() -> None:
    hand = case.simulated()
    hand.to_weighing()
    hand.cell.refuse_record = lambda record: any(draft.kind == "unit.weight.entered" for draft in record.drafts)
    hand.enter(hand.weigh())
    assert hand.cell.machine.ended == "FAULTED" and hand.cell.verdicts() == {1: "scrapped"}
    assert any(emergency for _, _, _, emergency in hand.cell.written)


def test_the_register_of_the_demonstration_names_no_external_balance() -> None:
    assert "external_balance" not in (STANDING.register_file or "")


def test_what_could_not_be_read_back_speaks_against_a_unit_weighed_elsewhere_too() -> None:
    evidence = UnitEvidence(
        before=Weighing(Milligram(0), 0, Milligram(0), 4_000_000),
        after=Weighing(Milligram(50), 60_000_000, Milligram(50), 64_000_000),
        commanded=Microlitre(42),
        reported=Microlitre(42),
        nozzle_min=Celsius(170),
        nozzle_max=Celsius(170),
        plate_min=Celsius(60),
        plate_max=Celsius(60),
        unread_lines=1,
    )
    criteria = replace(case.admitted().plan.units[0].criteria, end=())
    found = judge_external(criteria, evidence, Milligram("49.60"), Milligram("0.10"))
    assert any("read back" in reason for reason in found.reasons)
