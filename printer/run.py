"""The run machine: one run as a pure, deterministic function of its inputs.

`handle(input, now)` takes one input and returns the effects it calls for. Bytes of every port, what people ask, ticks
of the clock and the recorder's answers are the only inputs; the same inputs give the same effects, byte for byte.

Motion waits for its record: an intent is put out as `Record`, and only `Recorded` of that token lets the lines go.
A stop is the one exception: its bytes come first in the effects, the record of it after.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import StrEnum

from audit.canonical import sha256_hex
from audit.events import Actor, EntryDraft, EventKind
from firmware_bridge.balance import BalanceFault, BalanceIdentified, WeighFailed, WeighResult
from firmware_bridge.gcode_link import GcodeLink
from firmware_bridge.link_values import (
    Drained,
    Fault,
    Identified,
    IdentityRefused,
    LineAcknowledged,
    LinkState,
    OutLine,
    PositionReport,
    StopStrength,
    TemperatureReport,
)
from firmware_bridge.pressure import PressureHub, PressureReading
from printer.alarms import AlarmName, AlarmRegister
from printer.dose_control import DoseControl
from printer.drafts import Drafts
from printer.instruments import balance_driver
from printer.interlocks import blocked
from printer.journal import Journal
from printer.messages import (
    STOPS,
    Command,
    Compile,
    EmergencySend,
    GuardChanged,
    Operation,
    Port,
    PortBytes,
    PortLost,
    Record,
    Recorded,
    RecordFailed,
    RunEffect,
    RunInput,
    SealWireLog,
    Send,
    Tick,
    UnitCompiled,
    UnitRefused,
    WireSealed,
)
from printer.plan import RunPlan, recompiled
from printer.readiness import DeviceFindings, Gate, device_gates, unmet
from printer.sent_program import SentProgram
from printer.states import ACTIVE, TRANSITIONS, RunState
from printer.unit_cycle import UnitCycle
from printer.watch import Watch


class Phase(StrEnum):
    """What the machine waits for inside its state."""

    IDLE = "idle"
    DEVICES = "devices answer"
    START = "a person starts"
    INTENT = "intent recorded"
    ACTION = "procedure executed"
    TEMPERATURE = "temperature reached"
    COMPILING = "next unit compiled and proved"
    UNIT = "unit cycle"
    PAUSED = "a person resumes"
    WIRE = "wire log sealed"
    CLOSING = "closing recorded"
    DONE = "done"


_PREPARATION = ("prepare", "heat", "home", "prime")
_CLOSING = ("park", "heat_off")
_UNIT_ENDS = (EventKind.UNIT_WEIGHT_JUDGED, EventKind.UNIT_PRINT_SCRAPPED)
_COMPILE_LIMIT_US = 60_000_000
_TOTAL = OutLine(command=b"M114", tag="total")


class RunMachine:
    """One run, from CREATED to AWAITING_REVIEW.

    Lifetime: made for one run and never reused. Concurrency: owned by one thread; does no I/O.
    """

    def __init__(self, plan: RunPlan) -> None:
        self.plan = plan
        self.state = RunState.CREATED
        self.phase = Phase.IDLE
        self.alarms = AlarmRegister(plan.run)
        self.watch = Watch(plan.limits)
        self.link = GcodeLink(plan.firmware, exposure_limit_nl=plan.exposure_limit_nl)
        self.balance = balance_driver(plan.balance_driver, plan.limits.weighing_timeout_us)
        self.hub = PressureHub()
        self.dose = DoseControl(plan.correction)
        self.cycle = UnitCycle(self)
        self.guard_open = False
        self.gates: tuple[Gate, ...] = plan.static_gates
        self.ended = "FINISHED"
        self.identity: str | None = None
        self.identity_refusal: str | None = None
        self.balance_serial: str | None = None
        self.balance_name: str | None = None
        self.lost: set[Port] = set()
        self.hot = False
        self.next_unit = 0
        self.drafts = Drafts(plan.run, plan.device)
        self.journal = Journal()
        self.sent = SentProgram(plan.header)
        self._effects: list[RunEffect] = []
        self._urgent: Callable[[EmergencySend], None] | None = None
        self._actions: list[str] = []
        self._awaited: int | None = None
        self._await_next_record = False
        self._ends: dict[int, tuple[EntryDraft, ...]] = {}
        self._lost_ends: dict[str, EntryDraft] = {}
        self._deadline: int | None = None
        self._finish_after_unit: str | None = None
        self._actor: Actor | None = None

    def handle(self, event: RunInput, now: int, urgent: Callable[[EmergencySend], None] | None = None) -> tuple[RunEffect, ...]:
        """Take one input at process time `now` (µs); return the effects in the order they are to be carried out.

        Where `urgent` is given, the bytes of a stop are handed to it at once, before alarm, scrapping and sealing are
        worked out, and are not among the effects returned.
        """
        self._effects, self._urgent = [], urgent
        if self.phase is not Phase.DONE:
            self.journal.add(event, now)
        self._take(event, now)
        self._pump(now)
        self._commit()
        return tuple(self._effects)

    @property
    def over(self) -> bool:
        """Whether the run has ended: nothing is sent any more, only its record is closed."""
        return self.phase in (Phase.WIRE, Phase.CLOSING, Phase.DONE)

    @property
    def active(self) -> bool:
        """Whether something may move or be hot: a stop goes to the wire first, and silence of a sensor is a fault."""
        return self.state in ACTIVE and not self.over

    def refusal(self, operation: Operation) -> tuple[str, ...]:
        """Return why a command would be refused now."""
        if self.over and operation is not Operation.ACKNOWLEDGE:
            return (f"the run has ended ({self.ended}); a stopped run never sends again; create a new run",)
        return blocked(operation, self.state, guard_open=self.guard_open)

    # Inputs

    def _take(self, event: RunInput, now: int) -> None:
        match event:
            case PortBytes(port, data):
                self._bytes(port, data, now)
            case PortLost(port, reason):
                self._port_lost(port, reason, now)
            case Tick():
                self._tick(now)
            case Command():
                self._command(event, now)
            case Recorded(token):
                self._recorded(token, now)
            case RecordFailed(token, reason):
                self._record_failed(token, reason, now)
            case GuardChanged(is_open):
                self.guard_open = is_open
                if is_open and self.active:
                    self.fault(AlarmName.GUARD_OPEN, "the guard was opened", now)
            case WireSealed(sha256):
                self._close(sha256)
            case UnitCompiled():
                self._compiled(event, now)
            case UnitRefused(n, reason):
                if self.phase is Phase.COMPILING and n == self.plan.units[self.next_unit].n:
                    self._not_corrected(f"unit {n} could not be compiled: {reason}", now)

    def _bytes(self, port: Port, data: bytes, now: int) -> None:
        match port:
            case Port.PRINTER:
                self.watch.link_heard(now)
                self.link.receive(data, now)
            case Port.BALANCE:
                self.balance.receive(data, now)
            case Port.PRESSURE:
                self.hub.receive(data, now)
                self._pressure_events(now)

    def _port_lost(self, port: Port, reason: str, now: int) -> None:
        self.lost.add(port)
        name = {Port.PRINTER: AlarmName.PRINTER_LOST, Port.BALANCE: AlarmName.BALANCE_LOST, Port.PRESSURE: AlarmName.PRESSURE_LOST}[port]
        self.fault(name, f"{port} port: {reason}", now)

    def _tick(self, now: int) -> None:
        if self.over:
            return
        self.link.tick(now)
        self.balance.tick(now)
        if self.active:
            for condition in self.watch.silent(now) + self.watch.process(now, hot=self.hot):
                self.fault(condition.name, condition.message, now)
        if self.phase is Phase.TEMPERATURE and self.watch.at_temperature():
            self.hot = True
            self._action_done(now)
        if self.phase is Phase.UNIT:
            self.cycle.tick(now)
        if self.phase is Phase.DEVICES:
            self._check_devices(now)
        if self._deadline is not None and now >= self._deadline and self.phase is Phase.COMPILING:
            self._not_corrected("the next unit was not compiled in time", now)
        if self._deadline is not None and now >= self._deadline and self.phase is Phase.TEMPERATURE:
            self._deadline = None
            self.fault(AlarmName.HEATING_TIMEOUT, "the set point was not reached in time", now)

    def _command(self, command: Command, now: int) -> None:
        if self.refusal(command.operation):
            return
        if command.operation is Operation.ACKNOWLEDGE:
            alarm = self.alarms.acknowledge(command.target, command.reason)
            if alarm is not None:
                self.drafts.alarm(EventKind.ALARM_CONDITION_ACKNOWLEDGED, alarm, command.who)
            return
        self._actor = command.who
        if command.operation in STOPS:
            self._stop(command, now)
            return
        self.drafts.command(command)
        match command.operation:
            case Operation.PREPARE:
                self.drafts.created(self.plan, command.who)
                self.expect_record(Phase.INTENT)
            case Operation.START:
                self.set_state(RunState.PREPARING)
                self.watch.begin_watching(now)
                self._actions = list(_PREPARATION)
                self._next_action(now)
            case Operation.PAUSE:
                self.set_state(RunState.PAUSING)
            case _:
                self.set_state(RunState.RESUMING)
                self.set_state(RunState.PRINTING)
                self.begin_unit(now)

    def _stop(self, command: Command, now: int) -> None:
        if command.operation is Operation.STOP_FINISH_UNIT and self._stop_in_order(command, now):
            return
        strength = StopStrength.QUICKSTOP if command.operation is Operation.STOP_QUICK else StopStrength.KILL
        self._emergency(strength, now)
        self.drafts.command(command)
        self._raise(AlarmName.OPERATOR_STOP, command.reason or "no reason given yet", now)
        self.cycle.scrap([f"stopped by {command.who.name}"])
        self._end(RunState.ABORTED, f"stopped by {command.who.name}")

    def _stop_in_order(self, command: Command, now: int) -> bool:
        """Stop without scrapping what is in progress, where the state knows such a way."""
        reason = f"stopped by {command.who.name}"
        if self.state in (RunState.PRINTING, RunState.PAUSING):
            self._finish_after_unit = reason
        elif self.state is RunState.PAUSED:
            self._finish("ABORTED", reason, now)
        elif self.state not in (RunState.FINISHING, RunState.ABORTING):
            return False
        self.drafts.command(command)
        return True

    # Records

    def expect_record(self, phase: Phase) -> None:
        """Wait in `phase` until what has been drafted in this step is committed."""
        self.phase = phase
        self._await_next_record = True

    def _commit(self) -> None:
        drafts = self.drafts.take()
        if not drafts:
            return
        token = self.drafts.next_token()
        self._effects.append(Record(token, drafts))
        self._ends[token] = tuple(draft for draft in drafts if draft.kind in _UNIT_ENDS)
        if self._await_next_record:
            self._awaited, self._await_next_record = token, False

    def _recorded(self, token: int, now: int) -> None:
        for draft in self._ends.pop(token, ()):
            self._lost_ends.pop(draft.subject.id, None)
        if token != self._awaited:
            return
        self._awaited = None
        if self.phase is Phase.CLOSING:
            self.state, self.phase = RunState.AWAITING_REVIEW, Phase.DONE
        elif self.phase is Phase.UNIT:
            self.cycle.recorded(now)
        elif self.phase is Phase.INTENT and self.state is RunState.CREATED:
            self._preflight(now)
        elif self.phase is Phase.INTENT:
            self._run_action(now)

    def _record_failed(self, token: int, reason: str, now: int) -> None:
        for draft in self._ends.pop(token, ()):
            self._lost_ends[draft.subject.id] = self.cycle.end_lost(draft, reason)
        self.fault(AlarmName.RECORD_FAILURE, reason, now)

    # Preflight

    def _preflight(self, now: int) -> None:
        self.set_state(RunState.PREFLIGHT)
        self.phase = Phase.DEVICES
        self._deadline = now + self.plan.limits.preflight_limit_us
        self.link.start(now)
        self.balance.identify(now)

    def _check_devices(self, now: int) -> None:
        late = self._deadline is not None and now >= self._deadline
        pressure = self.watch.snapshot.pressure.quality(now)
        found = DeviceFindings(
            self.identity, self.identity_refusal, self.balance_name, pressure, self.balance_serial, self.plan.balance_serial
        )
        gates = device_gates(found)
        if unmet(gates) and not late and self.identity_refusal is None:
            return
        if self.link.state is not LinkState.READY and not late and self.identity_refusal is None:
            return
        self._deadline = None
        self.gates = (*self.plan.static_gates, *gates)
        reasons = unmet(self.gates)
        self.drafts.gates(self.gates, passed=not reasons)
        if reasons:
            self._end(RunState.ABORTED, "; ".join(reasons))
        else:
            self.set_state(RunState.READY)
            self.phase = Phase.START

    # Actions outside units

    def _next_action(self, now: int) -> None:
        if self._actions:
            self.drafts.action_intended(self.plan.actions[self._actions[0]])
            self.expect_record(Phase.INTENT)
        elif self.state is RunState.PREPARING:
            self.set_state(RunState.PRINTING, attachments={"journal/preparation.jsonl": self.journal.seal()})
            self.begin_unit(now)
        elif self.state is RunState.FINISHING:
            self._end(None)
        else:
            self._end(RunState.ABORTED)

    def _run_action(self, now: int) -> None:
        action = self.plan.actions[self._actions[0]]
        self.phase = Phase.ACTION
        if action.lines:
            self.submit(action.lines, f"ACTION {action.name}", now)
        else:
            self._drained(now)

    def _drained(self, now: int) -> None:
        if self.phase is Phase.UNIT:
            self.cycle.drained(now)
        elif self.phase is Phase.ACTION and self._actions[0] == "heat":
            self.phase = Phase.TEMPERATURE
            self._deadline = now + self.plan.limits.heating_limit_us
        elif self.phase is Phase.ACTION:
            self._action_done(now)

    def _action_done(self, now: int) -> None:
        self._deadline = None
        self.sent.finished()
        done = self._actions.pop(0)
        if done == "heat_off":
            self.hot = False
        self.drafts.action_completed(self.plan.actions[done])
        self._next_action(now)

    # Units

    def begin_unit(self, now: int) -> None:
        """Begin the next unit as planned, or ask for it to be compiled anew with the flow factor that its forerunners call for."""
        unit = self.plan.units[self.next_unit]
        if self.dose.factor == 1:
            self.phase = Phase.UNIT
            self.cycle.begin(unit, now)
            return
        self.phase = Phase.COMPILING
        self._deadline = now + _COMPILE_LIMIT_US
        self._effects.append(Compile(unit.n, self.dose.factor))

    def _compiled(self, compiled: UnitCompiled, now: int) -> None:
        planned = self.plan.units[self.next_unit] if self.phase is Phase.COMPILING else None
        if planned is None or compiled.n != planned.n:
            return
        if compiled.factor != self.dose.factor:
            self._not_corrected(f"unit {planned.n} was compiled with another flow factor", now)
            return
        self._deadline = None
        unit = recompiled(planned, compiled, self.plan.e_area)
        self.drafts.corrected(compiled, planned, self.dose)
        self.phase = Phase.UNIT
        self.cycle.begin(unit, now)

    def _not_corrected(self, reason: str, now: int) -> None:
        self._deadline = None
        self.alarm(AlarmName.CORRECTION_LIMIT, reason, None, now)
        self._finish("ABORTED", reason, now)

    def unit_judged(self, *, accepted: bool, now: int) -> None:
        """Go on after a unit: the next one, a pause, or the end of the run."""
        self.next_unit += 1
        if not accepted:
            self._finish("ABORTED", "a unit was rejected", now)
        elif self._finish_after_unit is not None:
            self._finish("ABORTED", self._finish_after_unit, now)
        elif self.next_unit == len(self.plan.units):
            self._finish("FINISHED", "all units are printed", now)
        elif (bound := self.dose.bound_reason()) is not None:
            self._not_corrected(bound, now)
        elif self.state is RunState.PAUSING:
            self.set_state(RunState.PAUSED)
            self.phase = Phase.PAUSED
        else:
            self.begin_unit(now)

    def _finish(self, ended: str, reason: str, now: int) -> None:
        self.ended = ended
        self.set_state(RunState.FINISHING if ended == "FINISHED" else RunState.ABORTING, reason)
        self._actions = list(_CLOSING)
        self._next_action(now)

    def weighing_refused(self, name: AlarmName, message: str, now: int) -> None:
        """End the run in order: the next unit cannot be weighed, so it is not printed."""
        self.alarm(name, message, None, now)
        self._finish("ABORTED", f"{name}: {message}", now)

    def await_unit_record(self) -> None:
        self.expect_record(Phase.UNIT)

    # Devices

    def submit(self, lines: tuple[OutLine, ...], title: str, now: int) -> None:
        self.sent.begin(title)
        self.link.submit(lines, now)

    def ask_total(self, now: int) -> None:
        """Ask the printer for its extruder total; the answer is a PositionReport."""
        self.sent.begin("")
        self.link.submit((_TOTAL,), now)

    def _pump(self, now: int) -> None:
        while (event := self.link.next_event()) is not None:
            self._link_event(event, now)
        while (weighed := self.balance.next_event()) is not None:
            self._balance_event(weighed, now)
        if self.over:
            return
        data = self.link.bytes_to_send()
        if data and Port.PRINTER not in self.lost:
            self.sent.sent(data)
            self._effects.append(Send(Port.PRINTER, data))
        request = self.balance.bytes_to_send()
        if request and Port.BALANCE not in self.lost:
            self._effects.append(Send(Port.BALANCE, request))

    def _link_event(self, event: object, now: int) -> None:
        match event:
            case Identified():
                self.identity = next((value for name, value in event.firmware if name == "FIRMWARE_NAME"), "printer")
            case IdentityRefused():
                self.identity_refusal = "; ".join(event.differences)
            case TemperatureReport():
                self.watch.temperature(event.hotend, event.bed, now)
            case LineAcknowledged():
                if self.phase is Phase.UNIT:
                    self.cycle.acknowledged(now)
            case PositionReport():
                if self.phase is Phase.UNIT:
                    self.cycle.total(event.e, now)
            case Drained():
                self._drained(now)
            case Fault():
                if self.identity_refusal is None:
                    self.fault(AlarmName.PRINTER_FAULT, str(event.cause.text), now)
            case _:
                pass

    def _balance_event(self, event: object, now: int) -> None:
        match event:
            case BalanceIdentified():
                self.balance_serial = event.serial
                self.balance_name = f"{event.model}, serial number {event.serial}"
            case WeighResult():
                self.watch.weighed(event.value.value, now)
                if self.phase is Phase.UNIT:
                    self.cycle.weighed(event, now)
            case WeighFailed():
                if self.phase is Phase.UNIT:
                    self.cycle.weigh_failed(event.text, now)
            case BalanceFault():
                if self.phase is Phase.UNIT:
                    self.cycle.balance_fault(event.text, now)
                elif self.active:
                    self.fault(AlarmName.BALANCE_FAULT, event.text, now)
            case _:
                pass

    def _pressure_events(self, now: int) -> None:
        values: list[Decimal] = []
        while (event := self.hub.next_event()) is not None:
            if isinstance(event, PressureReading):
                values.append(event.value.value)
        self.watch.pressures(values, now, self.cycle.commanded_nl)

    # Ends

    def fault(self, name: AlarmName, message: str, now: int) -> None:
        """Stop at once: the stop bytes first, then the alarm, the scrapped unit and the end of the run."""
        if self.over:
            return
        self._emergency(StopStrength.KILL, now)
        message = message.rstrip(".")
        self._raise(name, message, now)
        self.cycle.scrap([f"{name}: {message}"])
        self._end(RunState.FAULTED, f"{name}: {message}")

    def _emergency(self, strength: StopStrength, now: int) -> None:
        data = self.link.stop(strength, now)
        if self.active and Port.PRINTER not in self.lost:
            stop = EmergencySend(Port.PRINTER, data)
            if self._urgent is not None:
                self._urgent(stop)
            else:
                self._effects.insert(0, stop)

    def _raise(self, name: AlarmName, message: str, now: int) -> None:
        self.alarm(name, message, self.cycle.unit_n, now)

    def alarm(self, name: AlarmName, message: str, unit_n: int | None, now: int) -> None:
        alarm = self.alarms.raise_(name, message, unit_n, now)
        if alarm is None:
            return
        self.drafts.alarm(EventKind.ALARM_CONDITION_RAISED, alarm)
        if unit_n is not None:
            self.drafts.deviation(alarm)

    def _end(self, state: RunState | None, reason: str = "") -> None:
        if state is not None:
            self.ended = state.value
            self.set_state(state, reason)
        self._deadline = None
        self._actions = []
        self._awaited = None
        self._await_next_record = False
        self.phase = Phase.WIRE
        self._effects.append(SealWireLog())

    def _close(self, wire_sha256: str) -> None:
        if self.phase is not Phase.WIRE:
            return
        program = self.sent.sealed()
        attachments = {"program.gcode": program, "journal/run.jsonl": self.journal.seal()}
        for draft in self._lost_ends.values():
            self.drafts.again(draft)
        self.drafts.closed(self.ended, wire_sha256, sha256_hex(program), attachments)
        self.expect_record(Phase.CLOSING)

    def set_state(self, state: RunState, reason: str = "", attachments: Mapping[str, bytes] | None = None) -> None:
        if state not in TRANSITIONS[self.state]:
            raise ValueError(f"a run does not go from {self.state} to {state}")
        self.state = state
        self.drafts.state(state, reason, self._actor, attachments or {})
        self._actor = None
