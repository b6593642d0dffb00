"""The run machine: one run as a pure, deterministic function of its inputs.

`handle(input, now)` takes one input and returns the effects it calls for. Bytes of every port, what people ask, ticks
of the clock and the recorder's answers are the only inputs; the same inputs give the same effects, byte for byte.

Motion waits for its record: an intent is put out as `Record`, and only `Recorded` of that token lets the lines go.
A stop is the one exception: its bytes come first in the effects, the record of it after.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum

from audit.canonical import sha256_hex
from audit.events import Actor
from firmware_bridge.balance import BalanceEvent, BalanceFault, WeighFailed, WeighResult
from firmware_bridge.link_values import Drained, Fault, LineAcknowledged, LinkEvent, PositionReport, StopStrength
from printer.alarms import AlarmName
from printer.devices import Devices
from printer.drafts import Drafts
from printer.interlocks import blocked
from printer.journal import Journal
from printer.messages import (
    ON_ALARMS,
    STOPS,
    ClockCompared,
    Command,
    EmergencySend,
    GuardChanged,
    Operation,
    Port,
    PortBytes,
    PortLost,
    Recorded,
    RecordFailed,
    RecordLate,
    RunEffect,
    RunInput,
    SealWireLog,
    Tick,
    UnitCompiled,
    UnitRefused,
    WireSealed,
)
from printer.plan import PlannedUnit, RunPlan
from printer.procedures import CLOSING, PREPARATION, Procedures
from printer.readiness import Gate, device_gates, unmet
from printer.run_alarms import RunAlarms
from printer.run_record import RunRecord
from printer.states import ACTIVE, TRANSITIONS, RunState
from printer.unit_cycle import UnitCycle
from printer.unit_sequence import UnitSequence
from printer.watch import Watch


class Phase(StrEnum):
    """What the machine waits for inside its state."""

    IDLE = "idle"
    DEVICES = "devices answer"
    CREATION = "creation recorded"
    START = "a person starts"
    PROCEDURES = "procedures"
    COMPILING = "next unit compiled and proved"
    UNIT = "unit cycle"
    PAUSED = "a person resumes"
    WIRE = "wire log sealed"
    CLOSING = "closing recorded"
    DONE = "done"


_OVER = frozenset({Phase.WIRE, Phase.CLOSING, Phase.DONE})
_LOST = {Port.PRINTER: AlarmName.PRINTER_LOST, Port.BALANCE: AlarmName.BALANCE_LOST, Port.PRESSURE: AlarmName.PRESSURE_LOST}


class RunMachine:
    """One run, from CREATED to AWAITING_REVIEW.

    Lifetime: made for one run and never reused. Concurrency: owned by one thread; does no I/O.
    """

    def __init__(self, plan: RunPlan) -> None:
        self.plan = plan
        self.state = RunState.CREATED
        self.phase = Phase.IDLE
        self.watch = Watch(plan.limits, None if plan.second is None else plan.second.limits)
        self.devices = Devices(plan, self.watch)
        self.cycle = UnitCycle(self)
        self.units = UnitSequence(self)
        self.procedures = Procedures(self)
        self.alarms = RunAlarms(self)
        self.guard_open = False
        self.gates: tuple[Gate, ...] = plan.static_gates
        self.ended = "FINISHED"
        self.record = RunRecord(plan.run, plan.device, self.cycle.end_lost)
        self.journal = Journal()
        self._effects: list[RunEffect] = []
        self._urgent: Callable[[EmergencySend], None] | None = None
        self._deadline: int | None = None
        self._finish_after_unit: str | None = None
        self._actor: Actor | None = None
        self._wire_sha256: str | None = None

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
        if self.journal.full and not self.over:
            self.drafts.journal(self.journal.seal())
        if (record := self.record.commit(insist=self.over)) is not None:
            self.emit(record)
        return tuple(self._effects)

    @property
    def over(self) -> bool:
        """Whether the run has ended: nothing is sent any more, only its record is closed."""
        return self.phase in _OVER

    @property
    def active(self) -> bool:
        """Whether something may move or be hot: a stop goes to the wire first, and silence of a sensor is a fault."""
        return self.state in ACTIVE and not self.over

    @property
    def drafts(self) -> Drafts:
        return self.record.drafts

    def refusal(self, command: Command) -> tuple[str, ...]:
        """Return why a command would be refused now."""
        operation = command.operation
        if self.over and operation not in (Operation.ACKNOWLEDGE, Operation.RESET):
            return (f"the run has ended ({self.ended}); a stopped run never sends again; create a new run",)
        reasons = blocked(operation, self.state, guard_open=self.guard_open)
        if operation is Operation.ENTER_WEIGHT:
            return reasons or self.cycle.refusal(command)
        return reasons or (self.alarms.refusal(command) if operation in ON_ALARMS else ())

    # Inputs

    def _take(self, event: RunInput, now: int) -> None:
        match event:
            case PortBytes(port, data):
                self.devices.receive(port, data, now, self.cycle.commanded_nl)
            case PortLost(port, reason):
                self.devices.lost.add(port)
                self.fault(_LOST[port], f"{port} port: {reason}", now)
            case Tick():
                self._tick(now)
            case Command():
                self._command(event, now)
            case Recorded(token):
                if self.record.recorded(token):
                    self._go_on(now)
                self._close()
            case RecordFailed(token, reason):
                self.record.failed(token, reason)
                self.fault(AlarmName.RECORD_FAILURE, reason, now)
                self._close()
            case RecordLate(_, reason):
                self.record.late(reason)
                self.fault(AlarmName.RECORD_FAILURE, reason, now)
            case GuardChanged(is_open):
                self.guard_open = is_open
                if is_open and not self.alarms.is_suppressed(AlarmName.GUARD_OPEN, now):
                    self.fault(AlarmName.GUARD_OPEN, "the guard was opened", now)
            case ClockCompared():
                if not self.over:
                    self.alarms.clock_compared(event, now)
            case WireSealed(sha256):
                self._wire_sha256 = sha256
                self._close()
            case UnitCompiled():
                self.units.compiled(event, now)
            case UnitRefused():
                self.units.refused(event, now)

    def _tick(self, now: int) -> None:
        if self.over:
            return
        self.devices.tick(now)
        self._judge(now)
        if self.phase is Phase.UNIT:
            self.cycle.tick(now)
        if self.phase is Phase.DEVICES:
            self._check_devices(now)
        if self.phase is Phase.COMPILING:
            self.units.tick(now)
        if self.phase is Phase.PROCEDURES:
            self.procedures.tick(now)

    def _judge(self, now: int) -> None:
        """Judge the readings: what stands and is not suppressed by design stops the run; the rest of the moment follows the first."""
        conditions = self.watch.silent(now, blind=self.devices.blind) + self.watch.process(now)
        if conditions:
            conditions = [found for found in conditions if not self.alarms.is_suppressed(found.name, now)]
            unit_n = self.cycle.unit_n
            for nth, found in enumerate(conditions):
                if nth == 0:
                    self.fault(found.name, found.message, now)
                else:
                    self.alarm(found.name, found.message, unit_n, now)
        if not self.over:
            self.alarms.tick(now)

    def _command(self, command: Command, now: int) -> None:
        if self.refusal(command):
            return
        if command.operation in ON_ALARMS:
            self.alarms.command(command, now)
            return
        if command.operation is Operation.ENTER_WEIGHT:
            self.cycle.enter_weight(command, now)
            return
        self._actor = command.who
        if command.operation in STOPS:
            self._stop(command, now)
            return
        self.drafts.command(command)
        match command.operation:
            case Operation.PREPARE:
                self.alarms.prepared(now)
                self.drafts.created(self.plan, command.who)
                self._expect_record(Phase.CREATION)
            case Operation.START:
                self.set_state(RunState.PREPARING)
                self.watch.begin_watching(now)
                self.procedures.begin(PREPARATION, now)
            case Operation.PAUSE:
                self.set_state(RunState.PAUSING)
            case _:
                self.set_state(RunState.RESUMING)
                self.set_state(RunState.PRINTING)
                self.units.begin(now)

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

    def _expect_record(self, phase: Phase) -> None:
        """Wait in `phase` until what has been drafted in this step is committed."""
        self.phase = phase
        self.record.await_next()

    def _go_on(self, now: int) -> None:
        """The awaited record is committed."""
        if self.phase is Phase.CLOSING:
            self.state, self.phase = RunState.AWAITING_REVIEW, Phase.DONE
        elif self.phase is Phase.UNIT:
            self.cycle.recorded(now)
        elif self.phase is Phase.PROCEDURES:
            self.procedures.recorded(now)
        elif self.phase is Phase.CREATION:
            self._preflight(now)

    # Preflight

    def _preflight(self, now: int) -> None:
        self.set_state(RunState.PREFLIGHT)
        self.phase = Phase.DEVICES
        self._deadline = now + self.plan.limits.preflight_limit_us
        self.devices.identify(now)

    def _check_devices(self, now: int) -> None:
        late = self._deadline is not None and now >= self._deadline
        gates = device_gates(self.devices.findings(now))
        refused = self.devices.printer_refusal is not None
        if not late and not refused and (unmet(gates) or not self.devices.ready):
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

    # Procedures and units

    def await_procedure_record(self) -> None:
        self._expect_record(Phase.PROCEDURES)

    def procedures_done(self, now: int) -> None:
        """Go on after the last procedure: the first unit, or the end of the run."""
        if self.state is RunState.PREPARING:
            self.set_state(RunState.PRINTING, attachments={"journal/preparation.jsonl": self.journal.seal()})
            self.units.begin(now)
        elif self.state is RunState.FINISHING:
            self._end(None)
        else:
            self._end(RunState.ABORTED)

    def heating_late(self, now: int) -> None:
        self.fault(AlarmName.HEATING_TIMEOUT, "the set point was not reached in time", now)

    def head_taken(self, head: int) -> None:
        """The printer has said that this head is in use: its limits hold from now on."""
        self.watch.use_head(head)
        self.alarms.use(self.watch.limits)

    def wrong_head(self, wanted: int, now: int) -> None:
        """Stop: the printer has not said that the head is in use which the next lines are for."""
        said = "says nothing of it" if self.devices.tool is None else f"says T{self.devices.tool}"
        self.fault(AlarmName.PRINTER_FAULT, f"head T{wanted} was to be taken into use, the printer {said}", now)

    def await_compiled(self) -> None:
        self.phase = Phase.COMPILING

    def print_unit(self, unit: PlannedUnit, now: int) -> None:
        self.phase = Phase.UNIT
        self.cycle.begin(unit, now)

    def life_over(self, now: int) -> str | None:
        return self.alarms.life_over(now)

    def await_unit_record(self) -> None:
        self._expect_record(Phase.UNIT)

    def unit_judged(self, *, accepted: bool, now: int) -> None:
        """Go on after a unit, or a part of one: the next one, a pause, or the end of the run. No run pauses between two parts of a unit."""
        calibrating = self.units.calibrating
        self.units.judged()
        if self.cycle.unit is not None:
            self.alarms.unit_printed(self.cycle.unit, now)
        if self.cycle.unit is not None and not calibrating:
            self.alarms.unit_judged(self.cycle.unit, now)
        if not accepted:
            self._finish("ABORTED", "no calibration follows from the purge unit" if calibrating else "a unit was rejected", now)
        elif self._finish_after_unit is not None and not self.units.between_parts:
            self._finish("ABORTED", self._finish_after_unit, now)
        elif self.units.exhausted:
            self._finish("FINISHED", "all units are printed", now)
        elif (bound := self.units.bound_reason()) is not None:
            self.refuse_units(AlarmName.CORRECTION_LIMIT, bound, now)
        elif self.state is RunState.PAUSING and not self.units.between_parts:
            self.set_state(RunState.PAUSED)
            self.phase = Phase.PAUSED
        else:
            self.units.begin(now)

    def refuse_units(self, name: AlarmName, reason: str, now: int) -> None:
        """End the run in order: the next unit cannot be printed as it must be, or not be weighed."""
        self.alarm(name, reason, self.cycle.unit_n, now)
        self.cycle.give_up_whole([f"{name}: {reason}"])
        self._finish("ABORTED", f"{name}: {reason}", now)

    def _finish(self, ended: str, reason: str, now: int) -> None:
        self.ended = ended
        self.set_state(RunState.FINISHING if ended == "FINISHED" else RunState.ABORTING, reason)
        self.procedures.begin(CLOSING, now)

    # Devices

    def _pump(self, now: int) -> None:
        while (event := self.devices.next_event(now)) is not None:
            self._decide(event, now)
        if not self.over and (sends := self.devices.bytes_to_send()):
            self._effects += sends

    def _decide(self, event: LinkEvent | BalanceEvent, now: int) -> None:
        in_unit = self.phase is Phase.UNIT
        if isinstance(event, LineAcknowledged) and not self.over:
            self.alarms.line_taken(now)
        match event:
            case LineAcknowledged() if in_unit:
                self.cycle.acknowledged(now)
            case PositionReport() if in_unit:
                self.cycle.reported(event, now)
            case Drained() if in_unit:
                self.cycle.drained(now)
            case Drained() if self.phase is Phase.PROCEDURES:
                self.procedures.drained(now)
            case Fault() if self.devices.printer_refusal is None:
                self.fault(AlarmName.PRINTER_FAULT, str(event.cause.text), now)
            case WeighResult() if in_unit:
                self.cycle.weighed(event, now)
            case WeighFailed() if in_unit:
                self.cycle.weigh_failed(event.text, now)
            case BalanceFault() if in_unit:
                self.cycle.balance_fault(event.text, now)
            case BalanceFault() if self.state in (RunState.FINISHING, RunState.ABORTING):
                pass  # nothing is weighed any more: the printer parks and cools in order
            case BalanceFault() if self.active or self.phase is Phase.START:
                self.fault(AlarmName.BALANCE_FAULT, event.text, now)
            case _:
                pass

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
        active = self.active
        stop = self.devices.stop(strength, now)
        if not active or stop is None:
            return
        if self._urgent is not None:
            self._urgent(stop)
        else:
            self._effects.insert(0, stop)

    def _raise(self, name: AlarmName, message: str, now: int) -> None:
        self.alarm(name, message, self.cycle.unit_n, now)

    def alarm(self, name: AlarmName, message: str, unit_n: int | None, now: int) -> None:
        self.alarms.raise_(name, message, unit_n, now)

    def _end(self, state: RunState | None, reason: str = "") -> None:
        if state is not None:
            self.ended = state.value
            self.set_state(state, reason)
        self._deadline = None
        self.procedures.forget()
        self.units.forget()
        self.record.await_nothing()
        self.phase = Phase.WIRE
        self.alarms.end()
        self.emit(SealWireLog())

    def _close(self) -> None:
        """Close the record once the wire log is sealed and every record before it is answered, and committed where it is insisted on."""
        if self.phase is not Phase.WIRE or self._wire_sha256 is None or not (self.record.settled and self.drafts.empty):
            return
        program = self.devices.sent.sealed()
        attachments = {"program.gcode": program, "journal/run.jsonl": self.journal.seal()}
        self.drafts.closed(self.ended, self._wire_sha256, sha256_hex(program), attachments)
        self.phase = Phase.CLOSING
        self.record.await_next()

    def emit(self, effect: RunEffect) -> None:
        self._effects.append(effect)

    def set_state(self, state: RunState, reason: str = "", attachments: Mapping[str, bytes] | None = None) -> None:
        if state not in TRANSITIONS[self.state]:
            raise ValueError(f"a run does not go from {self.state} to {state}")
        self.state = state
        self.drafts.state(state, reason, self._actor, attachments or {})
        self._actor = None
