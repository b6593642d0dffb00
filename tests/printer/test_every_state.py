"""Stop, guard, lost ports, silent sensors and record failure have an answer in every state of a run."""

from __future__ import annotations

import copy
from collections.abc import Callable

import external_case
import pytest
from simulated_cell import OPERATOR, SimulatedCell, simulated

from printer.alarms import DEFINITIONS, AlarmName
from printer.interlocks import blocked
from printer.messages import (
    STOPS,
    ClockCompared,
    Command,
    EmergencySend,
    GuardChanged,
    Operation,
    Port,
    PortBytes,
    PortLost,
    Record,
    Recorded,
    RecordFailed,
    RecordLate,
    RunEffect,
    RunInput,
    SealWireLog,
    Send,
    Tick,
    WireSealed,
)
from printer.procedures import ProcedureStep
from printer.run import Phase, RunMachine
from printer.states import ACTIVE, ALLOWED, ENDED, TRANSITIONS, RunState, mermaid
from printer.unit_cycle import Step

Moment = Callable[[RunMachine], bool]

MOMENTS: dict[str, Moment] = {
    "created": lambda m: m.state is RunState.CREATED or m.state is RunState.PREFLIGHT,
    "ready": lambda m: m.state is RunState.READY,
    "heating": lambda m: m.procedures.step is ProcedureStep.TEMPERATURE,
    "priming": lambda m: m.procedures.step is ProcedureStep.ACTION and m.state is RunState.PREPARING,
    "weighing before": lambda m: m.cycle.step is Step.WEIGH_BEFORE,
    "printing": lambda m: m.cycle.step is Step.PRINT and m.cycle.commanded_nl > 5_000,
    "settling": lambda m: m.cycle.step is Step.SETTLE,
    "weighing after": lambda m: m.cycle.step is Step.WEIGH_AFTER,
    "external weighing": lambda m: m.cycle.step is Step.EXTERNAL_WEIGHING,
    "pausing": lambda m: m.state is RunState.PAUSING,
    "paused": lambda m: m.state is RunState.PAUSED,
    "finishing": lambda m: m.state is RunState.FINISHING,
    "ended": lambda m: m.state is RunState.AWAITING_REVIEW,
}

EVENTS: dict[str, RunInput] = {
    "kill": Command(Operation.STOP_KILL, OPERATOR, "test"),
    "quickstop": Command(Operation.STOP_QUICK, OPERATOR, "test"),
    "guard": GuardChanged(open=True),
    "printer lost": PortLost(Port.PRINTER, "unplugged"),
    "balance lost": PortLost(Port.BALANCE, "unplugged"),
    "pressure lost": PortLost(Port.PRESSURE, "unplugged"),
    "record failure": RecordFailed(999_999, "disk full"),
    "record late": RecordLate(999_999, "no commit within 10 s"),
    "printer reset": PortBytes(Port.PRINTER, b"start\n"),
}
HARMLESS_WHEN_NOT_ACTIVE = {"guard", "printer reset"}


@pytest.fixture(scope="module")
def snapshots() -> dict[str, tuple[RunMachine, int]]:
    """The machine of one run, copied at each moment."""
    cell = simulated("minoxidil")
    taken: dict[str, tuple[RunMachine, int]] = {}

    def look(cell: SimulatedCell) -> None:
        for name, moment in MOMENTS.items():
            if name not in taken and moment(cell.machine):
                taken[name] = (copy.deepcopy(cell.machine), cell.now)

    cell.command(Operation.PREPARE)
    while cell.machine.phase is not Phase.DONE:
        look(cell)
        if cell.machine.phase is Phase.START:
            cell.command(Operation.START)
        elif cell.machine.state is RunState.PRINTING and cell.machine.units.done == 3 and "paused" not in taken:
            cell.command(Operation.PAUSE)
        elif cell.machine.state is RunState.PAUSED and "paused" in taken:
            cell.command(Operation.RESUME)
        else:
            cell.step()
    look(cell)
    elsewhere = external_case.simulated()
    elsewhere.to_weighing()
    look(elsewhere.cell)
    assert set(taken) == set(MOMENTS)
    return taken


def settle(machine: RunMachine, effects: tuple[RunEffect, ...], now: int) -> list[RunEffect]:
    """Answer records and the sealing of the wire log until nothing is asked for."""
    seen, pending = list(effects), list(effects)
    while pending:
        effect = pending.pop(0)
        answers: list[RunInput] = []
        if isinstance(effect, SealWireLog):
            answers = [WireSealed("0" * 64)]
        elif isinstance(effect, Record):
            answers = [Recorded(effect.token)]
        for answer in answers:
            more = machine.handle(answer, now)
            seen += more
            pending += more
    return seen


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("event", EVENTS)
def test_every_event_has_its_answer_in_every_state(snapshots: dict[str, tuple[RunMachine, int]], moment: str, event: str) -> None:
    machine, now = copy.deepcopy(snapshots[moment])
    active = machine.active
    effects = settle(machine, machine.handle(EVENTS[event], now), now)
    to_printer = [e for e in effects if isinstance(e, (Send, EmergencySend)) and e.port is Port.PRINTER]
    if moment == "ended" or (not active and event in HARMLESS_WHEN_NOT_ACTIVE and machine.phase is not Phase.DONE):
        assert not [e for e in to_printer if isinstance(e, EmergencySend)]
        return
    assert machine.phase is Phase.DONE
    assert machine.state is RunState.AWAITING_REVIEW
    assert machine.ended in ("ABORTED", "FAULTED")
    if active and event != "printer lost":
        assert isinstance(effects[0], EmergencySend), "the stop goes out before all else"
        assert len(to_printer) == 1
    else:
        assert not to_printer
    for later in range(1, 200):
        assert machine.handle(Tick(), now + later * 100_000) == ()
    if moment in ("printing", "settling", "weighing after", "external weighing"):
        assert machine.cycle.verdicts[machine.units.done + 1][0].value == "scrapped"


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_clock_that_was_set_stops_nothing_and_is_told_in_every_state(snapshots: dict[str, tuple[RunMachine, int]], moment: str) -> None:
    machine, now = copy.deepcopy(snapshots[moment])
    before = machine.state, machine.phase, machine.ended
    effects = settle(machine, machine.handle(ClockCompared(-7_200_000, -7_200_000), now), now)
    assert (machine.state, machine.phase, machine.ended) == before
    assert not [effect for effect in effects if isinstance(effect, (Send, EmergencySend))]
    raised = [alarm.definition.name.value for alarm in machine.alarms.alarms]
    assert raised == ([] if machine.over else ["clock was set"])


@pytest.mark.parametrize("moment", MOMENTS)
def test_silence_of_every_sensor_ends_an_active_run(snapshots: dict[str, tuple[RunMachine, int]], moment: str) -> None:
    machine, now = copy.deepcopy(snapshots[moment])
    active = machine.active
    effects: list[RunEffect] = []
    for later in range(1, 120):
        effects += settle(machine, machine.handle(Tick(), now + later * 100_000), now + later * 100_000)
        if machine.phase is Phase.DONE:
            break
    assert (machine.phase is Phase.DONE) is (active or moment in ("ended",)) or moment in ("created", "ready")
    if active:
        assert machine.ended == "FAULTED"
        assert any(isinstance(effect, EmergencySend) for effect in effects)


RESTARTED = PortBytes(Port.BALANCE, b'I4 A "B000000001"\r\n')
"""What a balance says unasked when it was without power for a moment: tare and zero are gone."""


@pytest.mark.parametrize("moment", sorted(set(MOMENTS) - {"created", "ended"}))
def test_a_balance_that_restarts_has_its_answer_in_every_state(snapshots: dict[str, tuple[RunMachine, int]], moment: str) -> None:
    machine, now = copy.deepcopy(snapshots[moment])
    active = machine.active
    effects = settle(machine, machine.handle(RESTARTED, now), now)
    if moment == "finishing":
        assert (machine.state, machine.alarms.alarms) == (RunState.FINISHING, ()), "nothing is weighed any more"
        return
    assert AlarmName.BALANCE_FAULT in [alarm.definition.name for alarm in machine.alarms.alarms]
    stopped = [effect for effect in effects if isinstance(effect, EmergencySend)]
    if moment.startswith("weighing"):
        assert (machine.state, stopped) == (RunState.ABORTING, []), "nothing moves: the unit has no weight, and the run ends in order"
        return
    assert (machine.phase, machine.ended) == (Phase.DONE, "FAULTED")
    assert stopped == ([effects[0]] if active else [])


def cell_at(step: Step) -> SimulatedCell:
    """A cell whose unit goes through this step."""
    if step is Step.EXTERNAL_WEIGHING:
        return external_case.simulated().cell
    return simulated("polypill" if step is Step.HEAD else "minoxidil")


@pytest.mark.parametrize("step", sorted(set(Step) - {Step.NONE}))
def test_a_balance_that_restarts_in_any_step_of_a_unit_ends_the_run_cold(step: Step) -> None:
    cell = cell_at(step)
    machine, recorded, struck = cell.machine, cell._recorded, False

    def strike() -> None:
        nonlocal struck
        if machine.cycle.step is step and not struck:
            struck = True
            cell.give(RESTARTED)

    def before_its_answer(record: Record) -> Recorded | RecordFailed:
        strike()
        return recorded(record)

    cell._recorded = before_its_answer  # type: ignore[method-assign]
    cell.command(Operation.PREPARE)
    cell.until(lambda machine: machine.phase is Phase.START)
    cell.command(Operation.START)

    def ended(machine: RunMachine) -> bool:
        strike()
        return machine.phase is Phase.DONE

    cell.until(ended, limit_s=1_000)
    assert struck
    weighing = step in (Step.WEIGH_BEFORE, Step.WEIGH_AFTER)
    assert machine.ended == ("ABORTED" if weighing else "FAULTED")
    assert any(urgent for *_, urgent in cell.written) is not weighing
    assert [alarm.definition.name for alarm in machine.alarms.alarms] == [AlarmName.BALANCE_FAULT]
    assert "accepted" not in cell.verdicts().values() or step is Step.RECORD
    cell.step()
    assert (cell.bench.printer.nozzle.target, cell.bench.printer.bed.target) == (0.0, 0.0)


@pytest.mark.parametrize("step", [Step.WEIGH_BEFORE, Step.WEIGH_AFTER])
def test_a_balance_that_falls_silent_while_it_weighs_ends_the_run_in_order(step: Step) -> None:
    """The driver gives up in the moment in which the time for the weight is over: one alarm, no stop."""
    cell = simulated("minoxidil")
    cell.command(Operation.PREPARE)
    cell.until(lambda machine: machine.phase is Phase.START)
    cell.command(Operation.START)
    cell.until(lambda machine: machine.cycle.step is step)
    said = cell.bench.step
    cell.bench.step = lambda to: {**said(to), "balance": b""}  # type: ignore[method-assign]
    cell.until(lambda machine: machine.phase is Phase.DONE, limit_s=1_000)
    assert cell.machine.ended == "ABORTED"
    assert not any(urgent for *_, urgent in cell.written)
    names = [alarm.definition.name for alarm in cell.machine.alarms.alarms]
    assert names == [AlarmName.BALANCE_SLOW, AlarmName.BALANCE_FAULT]


@pytest.mark.parametrize("moment", ["settling", "weighing before", "weighing after"])
def test_a_balance_in_fault_is_not_asked_for_a_weight(snapshots: dict[str, tuple[RunMachine, int]], moment: str) -> None:
    machine, now = copy.deepcopy(snapshots[moment])
    machine.devices.balance.receive(RESTARTED.data, now)
    machine.devices.balance.next_event()
    machine.cycle._wake = now
    settle(machine, machine.handle(Tick(), now), now)
    assert machine.state is RunState.ABORTING
    assert [alarm.definition.name for alarm in machine.alarms.alarms] == [AlarmName.BALANCE_FAULT]


def test_a_balance_that_restarts_in_preflight_is_not_identified() -> None:
    cell = simulated("minoxidil")
    cell.command(Operation.PREPARE)
    cell.until(lambda machine: machine.devices.balance_serial is not None)
    assert cell.machine.phase is Phase.DEVICES
    cell.give(RESTARTED)
    cell.until(lambda machine: machine.phase in (Phase.DONE, Phase.START))
    assert (cell.machine.state, cell.machine.ended) == (RunState.AWAITING_REVIEW, "ABORTED")
    assert "balance identified" in [gate.name for gate in cell.machine.gates if not gate.met]


def test_the_table_is_total_and_every_end_can_be_signed() -> None:
    assert set(TRANSITIONS) == set(ALLOWED) == set(RunState)
    for state in set(RunState) - {RunState.AWAITING_REVIEW}:
        reached, frontier = set(), {state}
        while frontier:
            reached |= frontier
            frontier = {target for s in frontier for target in TRANSITIONS[s]} - reached
        assert RunState.AWAITING_REVIEW in reached
    assert not TRANSITIONS[RunState.AWAITING_REVIEW]
    for state in RunState:
        for operation in Operation:
            assert bool(blocked(operation, state)) is (operation not in ALLOWED[state])
        if state not in ENDED:
            assert ALLOWED[state] >= STOPS
        else:
            assert not {Operation.START, Operation.RESUME} & ALLOWED[state]
    assert ACTIVE.isdisjoint(ENDED)
    assert mermaid().count("-->") == sum(len(targets) for targets in TRANSITIONS.values()) + 2


def test_an_open_guard_blocks_start_and_resume_with_its_reason() -> None:
    assert blocked(Operation.START, RunState.READY, guard_open=True) == ("the guard is open; close it",)
    assert blocked(Operation.STOP_KILL, RunState.PRINTING, guard_open=True) == ()


def test_every_alarm_is_rationalised() -> None:
    assert set(DEFINITIONS) == set(AlarmName)
    for definition in DEFINITIONS.values():
        assert definition.cause
        assert definition.consequence
        assert definition.action.endswith(".")
        assert definition.respond_within_s > 0
