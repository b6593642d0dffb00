"""Alarms in runs: what touches a unit rejects it, early warnings come before the stop and never without cause, shelves end."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import pytest
from simulated_cell import OPERATOR, SimulatedCell, simulated
from simulation import CASES, Scenario, build

from audit.events import EntryDraft
from audit.quantities import Milligram
from printer import unit_cycle
from printer.acceptance import Against, Criteria, Finding, Judgement, UnitEvidence, Verdict, judge
from printer.alarm_register import from_record
from printer.alarm_states import AlarmState
from printer.alarms import DEFINITIONS, AlarmClass, AlarmName, Priority
from printer.dose_control import DoseControl
from printer.early_warnings import LINES_PER_WINDOW, EarlyWarnings, Level
from printer.messages import Command, Operation
from printer.replay import decisions_digest, replay
from printer.run import Phase, RunMachine
from printer.unit_cycle import Step

TOUCHING = (Step.INTENT, Step.PRINT, Step.TOTAL_AFTER, Step.SETTLE, Step.WEIGH_AFTER)
CRITICAL = [d for d in DEFINITIONS.values() if d.priority is Priority.CRITICAL]
STOPS = [d.name for d in CRITICAL if d.alarm_class is AlarmClass.STOP]
VERDICTS = [d.name for d in CRITICAL if d.alarm_class is AlarmClass.VERDICT]


@pytest.fixture(scope="module")
def steps() -> dict[Step, tuple[RunMachine, int]]:
    """One run, copied in each step in which an alarm touches the first unit."""
    cell = simulated("minoxidil")
    taken: dict[Step, tuple[RunMachine, int]] = {}
    handle = cell.machine.handle

    def look(event: object, now: int) -> object:
        effects = handle(event, now)  # type: ignore[arg-type]
        step = cell.machine.cycle.step
        if step in TOUCHING and step not in taken:
            del cell.machine.handle  # type: ignore[attr-defined]
            taken[step] = copy.deepcopy(cell.machine), now
            cell.machine.handle = look  # type: ignore[assignment, method-assign]
        return effects

    cell.machine.handle = look  # type: ignore[assignment, method-assign]
    cell.command(Operation.PREPARE)
    cell.until(lambda machine: machine.phase is Phase.START)
    cell.command(Operation.START)
    cell.until(lambda machine: len(taken) == len(TOUCHING))
    return taken


@pytest.mark.parametrize("step", TOUCHING)
@pytest.mark.parametrize("name", STOPS)
def test_a_critical_alarm_scraps_the_unit_it_touches_and_opens_a_deviation(
    steps: dict[Step, tuple[RunMachine, int]], step: Step, name: AlarmName
) -> None:
    machine, now = copy.deepcopy(steps[step])
    machine.drafts.take()
    machine.fault(name, "seen in the test", now)
    assert machine.cycle.verdicts[1][0] is Verdict.SCRAPPED
    assert_touched(list(machine.drafts.take()), name)


@pytest.mark.parametrize("name", VERDICTS)
def test_a_critical_verdict_rejects_the_unit_and_opens_a_deviation(name: AlarmName, monkeypatch: pytest.MonkeyPatch) -> None:
    basis = {
        AlarmName.VOLUME_MISMATCH: Against.REPORT,
        AlarmName.PRINT_TIME: Against.TIME,
        AlarmName.BALANCE_DRIFT: Against.DRIFT,
    }.get(name, Against.MASS)

    def against(criteria: Criteria, evidence: UnitEvidence) -> Judgement:
        return replace(judge(criteria, evidence), verdict=Verdict.REJECTED, findings=(Finding(basis, "found in the test"),))

    cell = small("minoxidil", None)
    cell.command(Operation.PREPARE)
    cell.until(lambda machine: machine.phase is Phase.START)
    cell.command(Operation.START)
    cell.until(lambda machine: machine.cycle.step is Step.WEIGH_AFTER)
    if name is AlarmName.BALANCE_FAULT:
        cell.machine.cycle.balance_fault("overload", cell.now)
    else:
        monkeypatch.setattr(unit_cycle, "judge", against)
        if name is AlarmName.INK_IDENTITY:
            monkeypatch.setattr(DoseControl, "identity_reason", lambda *_: "ink identity: another ink")
    cell.until(lambda machine: machine.phase is Phase.DONE)
    assert cell.machine.cycle.verdicts[1][0] is Verdict.REJECTED
    assert_touched(cell.entries, name)


def assert_touched(entries: list[EntryDraft], name: AlarmName) -> None:
    raised = [entry for entry in entries if entry.kind == "alarm.condition.raised"]
    assert [(entry.new["name"], entry.new["unit_n"], entry.new["first_out"]) for entry in raised] == [(name, 1, True)]
    deviations = [entry.new for entry in entries if entry.kind == "deviation.record.opened"]
    assert [(new["alarm"], new["unit_n"], new["status"]) for new in deviations] == [(raised[0].subject.id, 1, "open")]


@pytest.mark.parametrize("case", CASES)
def test_a_clean_run_has_no_alarm_at_all(case: str) -> None:
    cell = small(case, None)
    cell.run()
    assert cell.machine.ended == "FINISHED"
    assert [alarm.message for alarm in cell.machine.alarms.alarms] == []


WARNED: dict[str, AlarmName] = {"runaway": AlarmName.NOZZLE_NEAR_LIMIT, "balance_silent": AlarmName.BALANCE_SLOW}


@pytest.mark.parametrize("fault", WARNED)
def test_a_warning_comes_before_the_stop_and_is_not_the_first_out(fault: str) -> None:
    cell = small("sildenafil", f"{fault}:2")
    cell.run()
    alarms = cell.machine.alarms.alarms
    assert alarms[0].definition.name is WARNED[fault] and not alarms[0].first_out
    stop = next(alarm for alarm in alarms if alarm.first_out)
    assert stop.raised_at - alarms[0].raised_at >= 2_000_000
    assert not [entry for entry in cell.kinds("deviation.record.opened") if entry.new["alarm"] == alarms[0].key]


def small(case: str, fault: str | None) -> SimulatedCell:
    scenario = next(s for s in scenarios() if s.case == case)
    return build(Scenario(scenario.seed, case, scenario.days, fault, (), warm=True))


def scenarios() -> Iterator[Scenario]:
    return map(Scenario.of, range(1000))


def test_a_shelf_ends_by_the_clock_and_with_the_run() -> None:
    """Every state of the warnings is passed through in one run; the trail gives the register back, and so does the replay."""
    cell = small("sildenafil", None)
    machine = cell.machine
    machine.alarms._warnings._pressure = (machine.alarms._warnings._pressure[0] / 4, machine.alarms._warnings._pressure[1] / 4)
    cell.command(Operation.PREPARE)
    cell.until(lambda m: m.phase is Phase.START)
    cell.command(Operation.START)
    cell.until(lambda m: m.alarms.alarms != ())
    key = machine.alarms.alarms[0].key
    refused = [
        Command(Operation.SHELVE, OPERATOR, "", key, 1),
        Command(Operation.SHELVE, OPERATOR, "known", key, 0),
        Command(Operation.SHELVE, OPERATOR, "known", key, 481),
        Command(Operation.UNSHELVE, OPERATOR, "", key),
        Command(Operation.RESET, OPERATOR, "", key),
        Command(Operation.SHELVE, OPERATOR, "known", "B-1-R1/A09", 1),
    ]
    for command in refused:
        assert machine.refusal(command) != ()
        cell.give(command)
    assert machine.alarms.alarms[0].state is AlarmState.UNACKNOWLEDGED
    shelve = Command(Operation.SHELVE, OPERATOR, "thick ink, known", key, 1)
    assert machine.refusal(shelve) == ()
    cell.give(shelve)
    shelved_at = cell.now
    assert machine.refusal(shelve) == ("the alarm is shelved already",)
    cell.until(lambda m: m.alarms.register.get(key).state is not AlarmState.SHELVED)  # type: ignore[union-attr]
    assert cell.now - shelved_at == 60_000_000
    cell.until(lambda m: m.alarms.register.get(key).state is AlarmState.UNACKNOWLEDGED)  # type: ignore[union-attr]
    cell.command(Operation.ACKNOWLEDGE, "seen", key)
    cell.until(lambda m: m.alarms.register.get(key).state is AlarmState.SUPPRESSED)  # type: ignore[union-attr]
    cell.give(Command(Operation.SHELVE, OPERATOR, "until the end", key, 480))
    cell.until(lambda m: m.phase is Phase.DONE)
    assert machine.ended == "FINISHED"
    assert machine.alarms.alarms[0].state is not AlarmState.SHELVED
    ended = cell.kinds("alarm.condition.unshelved")
    assert [entry.reason for entry in ended] == ["its time on the shelf is over", "the run has ended"]
    assert machine.refusal(shelve) != ()
    states: dict[str, dict[str, object]] = {}
    for entry in cell.entries:
        if entry.subject.type == "alarm":
            states.setdefault(entry.subject.id, {}).update(entry.new)
    assert [from_record(name, state) for name, state in states.items()] == list(machine.alarms.alarms)  # type: ignore[arg-type]


def test_a_run_with_shelves_replays() -> None:
    cell = small("sildenafil", "runaway:2")
    cell.command(Operation.PREPARE)
    cell.until(lambda m: m.phase is Phase.START)
    cell.command(Operation.START)
    cell.until(lambda m: m.alarms.alarms != ())
    key = cell.machine.alarms.alarms[0].key
    cell.give(Command(Operation.SHELVE, OPERATOR, "seen", key, 5))
    cell.command(Operation.UNSHELVE, "", key)
    assert cell.machine.alarms.alarms[0].state is AlarmState.UNACKNOWLEDGED
    cell.give(Command(Operation.SHELVE, OPERATOR, "seen again", key, 5))
    cell.until(lambda m: m.phase is Phase.DONE)
    assert cell.kinds("alarm.condition.shelved") and cell.kinds("alarm.condition.unshelved")
    journals = ("journal/preparation.jsonl", "journal/purge-", "journal/unit-", "journal/run.jsonl")
    segments = [data for entry in cell.entries for name, data in entry.attachments.items() if name.startswith(journals)]
    assert replay(cell.machine.plan, segments).sha256 == decisions_digest(cell.entries)


def test_a_value_that_hovers_does_not_chatter() -> None:
    """Deadband and delays: between the two levels nothing changes, and neither a short visit nor a short return counts."""
    level = Level(DEFINITIONS[AlarmName.PRESSURE_NEAR_LIMIT].setting)
    changes = []
    values = [90] * 15 + [80] * 5 + [90] * 30 + [80, 90] * 100 + [70] * 30 + [90] * 10 + [70] * 60
    for nth, value in enumerate(values):
        if level.judge(nth * 100_000, beyond=value >= 85, inside=value < 75):
            changes.append((nth, level.stands))
    assert changes == [(40, True), (340, False)]


def test_the_rest_of_a_moment_follows_the_first_and_stops_nothing_twice() -> None:
    cell = small("minoxidil", None)
    cell.command(Operation.PREPARE)
    cell.until(lambda machine: machine.phase is Phase.START)
    cell.command(Operation.START)
    cell.until(lambda machine: machine.cycle.step is Step.PRINT and machine.watch.extruding_since is not None)
    cell.machine.watch.flow.deviation, cell.machine.watch.flow.stuck = "too high", "always the same"
    cell.until(lambda machine: machine.phase is Phase.DONE)
    first, second = cell.machine.alarms.alarms
    assert (first.first_out, second.first_out, second.follows) == (True, False, first.key)
    assert sum(emergency for _, _, _, emergency in cell.written) == 1
    assert [entry.new["alarm"] for entry in cell.kinds("deviation.record.opened")] == [first.key, second.key]


def test_two_units_beyond_half_the_tolerance_on_one_side_are_a_trend() -> None:
    cell = small("minoxidil", None)
    cell.run()
    unit = cell.machine.plan.units[0]
    judged = cell.machine.cycle.weighings[unit.n]
    allowed = unit.criteria.target * unit.criteria.tolerance.fraction

    def crossings(*shares: str) -> list[bool]:
        warnings, found = EarlyWarnings(cell.machine.plan.limits), []
        for share in shares:
            mass = unit.criteria.target + Milligram(allowed.value * Decimal(share))
            crossing = warnings.unit(1, unit.criteria, replace(judged, mass=mass), 0)
            if crossing is not None:
                found.append(crossing.message is not None)
        return found

    assert crossings("0.6", "0.6") == [True]
    assert crossings("-0.6", "-0.6", "-0.4") == [True, False]
    assert crossings("0.6", "-0.6", "0.6", "-0.6") == []
    assert crossings("0.6", "0.4", "0.6") == []
    assert crossings("0.49", "0.49", "0.49") == []


def test_lines_sent_again_are_counted_in_windows() -> None:
    warnings = EarlyWarnings(small("minoxidil", None).machine.plan.limits)

    def window(resends: int) -> list[bool]:
        found = [warnings.line_taken(resends, 0) for _ in range(LINES_PER_WINDOW)]
        return [crossing.message is not None for crossing in found if crossing is not None]

    assert window(9) == []
    assert window(19) == [True], "ten more in five hundred lines"
    assert window(24) == [], "five more: inside the deadband"
    assert window(26) == [False]


@pytest.mark.parametrize(
    ("found", "name"),
    [
        ((Against.READ_BACK,), AlarmName.VOLUME_MISMATCH),
        ((Against.MASS, Against.TIME), AlarmName.MASS_OUT_OF_TOLERANCE),
        ((Against.TEMPERATURE, Against.TIME), AlarmName.PRINT_TIME),
        ((Against.MASS, Against.DRIFT), AlarmName.BALANCE_DRIFT),
        ((Against.MASS, Against.IDENTITY), AlarmName.INK_IDENTITY),
        ((Against.GUARD_BAND,), AlarmName.MASS_OUT_OF_TOLERANCE),
    ],
)
def test_the_alarm_names_what_explains_the_rejection(found: tuple[Against, ...], name: AlarmName, monkeypatch: pytest.MonkeyPatch) -> None:
    def against(criteria: Criteria, evidence: UnitEvidence) -> Judgement:
        findings = tuple(Finding(one, one.value) for one in found)
        return replace(judge(criteria, evidence), verdict=Verdict.REJECTED, findings=findings)

    cell = small("minoxidil", None)
    monkeypatch.setattr(unit_cycle, "judge", against)
    cell.run()
    (raised,) = (entry for entry in cell.entries if entry.kind == "alarm.condition.raised")
    assert raised.new["name"] == name.value
    assert cell.machine.cycle.verdicts[1][2] == tuple(one.value for one in found)
