"""The process that owns one printer and its instruments: the only place where decisions become effects.

One controller thread reads a single inbox and does no I/O of its own but to hand bytes to the ports' threads; one
thread per port; one recorder thread. On a demonstration bench process time is granted step by step: the controller
takes a step when every byte that the bench has sent has arrived, and acknowledges it when every record it asked for is
committed.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from audit.canonical import JsonObject, JsonValue
from audit.clock import Clock, GrantedClock
from audit.events import Actor, EntryDraft
from audit.store import TrailStore
from firmware_bridge.port_owner import PortBytes as WireBytes
from firmware_bridge.port_owner import PortLost as WireLost
from firmware_bridge.reconnect import Question
from firmware_bridge.wire_log import LogFailed, LogSealed
from printer.at_rest import at_rest, weighed_elsewhere
from printer.bench_time import BenchGone, BenchTime, Grant
from printer.check_desk import CheckDesk
from printer.check_session import CheckSession
from printer.clock_watch import ClockWatch
from printer.errors import CellRefused, RunMissing
from printer.messages import (
    Command,
    Compile,
    EmergencySend,
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
    UnitCompiled,
    UnitRefused,
    WireSealed,
)
from printer.plan import RunPlan
from printer.ports import STOP, Ports
from printer.priority import step_down
from printer.reconnection import Looked, Reconnection
from printer.recorder import AGAIN_S, Recorder
from printer.recovery import clock_stepped, device_returned, printer_stopped
from printer.run import Phase, RunMachine
from printer.standing import local_day
from printer.view import idle_view, recorded_view, run_view

_TICK_S = 0.05
_LOOK_S = 0.5
_OUTSIDE = 0
"""The token of entries that no run waits for; those of a run are positive, those of a check negative."""
_RECORD_LIMIT_S = 10.0
_PORT_ORDER = (Port.PRESSURE, Port.BALANCE, Port.PRINTER)


@dataclass(frozen=True, slots=True)
class _Ask:
    """A call from another thread, answered on the controller thread."""

    call: Callable[[], JsonObject]
    answer: Future[JsonObject]


Compiler = Callable[[int, Decimal, bool, int], UnitCompiled | UnitRefused]


class _End:
    pass


@dataclass(slots=True)
class _Step:
    """What has arrived for the step that the bench granted, until it can be taken."""

    grant: Grant | None = None
    handled: bool = False
    waiting: dict[Port, bytearray] = field(default_factory=lambda: {port: bytearray() for port in Port})
    received: dict[Port, int] = field(default_factory=lambda: dict.fromkeys(Port, 0))
    lost: dict[Port, str] = field(default_factory=dict)


class Cell:
    """The controller of one cell.

    Lifetime: `run` returns after `end`. Concurrency: `run` is the controller thread; the public methods may be called
    from any thread and are answered by the controller.
    """

    def __init__(
        self,
        *,
        store: TrailStore,
        clock: Clock,
        ports: Ports,
        bench: BenchTime | None,
        data_dir: Path,
        name: str = "cell",
        question: Callable[[Port], Question | None] = lambda port: None,
        tidy: Callable[[], None] = lambda: None,
        clocks: ClockWatch | None = None,
    ) -> None:
        self._inbox: queue.SimpleQueue[object] = queue.SimpleQueue()
        self.store = store
        self.clock = clock
        self.ports = ports
        self.name = name
        self._looking = Reconnection(question, clock=clock.now, deliver=self._inbox.put)
        self._bench = bench
        self._tidy = tidy
        self._data_dir = data_dir
        self.recorder = Recorder(store, self._inbox.put)
        self._machine: RunMachine | None = None
        self._check = CheckDesk()
        self._clocks = ClockWatch() if clocks is None else clocks
        self._run_ended_at: str | None = None
        self._shown_run: str | None = None
        self._removed: frozenset[str] = frozenset()
        self._outstanding: dict[int, float] = {}
        self._step = _Step()
        self._ended = False
        self._compiler: Compiler | None = None
        self._compiling = False
        self._sealing = False
        self._log_trouble: str | None = None
        self._look_at = 0.0

    # Called from any thread

    def open_ports(self) -> None:
        """Open the ports: a printer that is owed a stop is told so, whatever becomes of its record."""
        self.ports.open_all(self._inbox.put)

    def begin(self, recovered_run: str | None) -> None:
        """Show the run that was closed at the start, and, on a bench, start taking time."""
        self._shown_run = recovered_run
        if self._bench is not None:
            self._bench.begin(self._inbox.put)

    def end(self) -> None:
        self._inbox.put(_End())

    def create(self, plan: RunPlan, command: Command, compiler: Compiler) -> JsonObject:
        """Begin a run from its plan; `compiler` compiles one of its units anew. Raises CellRefused while another run is open."""

        def call() -> JsonObject:
            self._refuse_if_busy()
            if self._bench is None:
                self.ports.reopen(self._inbox.put, self._looking.busy)
            missing = self.ports.missing()
            if missing:
                reasons = [f"{port} port: {reason}" for port, reason in missing.items()]
                raise CellRefused(reasons, remedy="Connect the device and try again.")
            self._begin_wire_log(plan.run)
            self._machine, self._run_ended_at = RunMachine(plan), None
            self._clocks.begin()
            self._compiler = compiler
            self._shown_run = plan.run
            self._handle(command)
            return {"run": plan.run, "state": self._machine.state.value}

        return self._ask(call)

    def command(self, run: str, command: Command) -> JsonObject:
        """Give a person's command to the run; refusals are raised with their reasons."""

        def call() -> JsonObject:
            machine = self._machine
            if machine is None or machine.plan.run != run:
                raise RunMissing(f"Run {run!r} is not live on this cell.", remedy="Ask for the cell's status to see which run is.")
            reasons = machine.refusal(command)
            if reasons:
                raise CellRefused(reasons)
            self._handle(command)
            return {"run": run, "state": machine.state.value}

        return self._ask(call)

    def refusals(self, commands: Callable[[RunMachine], Mapping[str, Command]]) -> JsonObject:
        """Return the run that is shown, and of a live one for each command by its name why it would be refused now; nothing is done."""

        def call() -> JsonObject:
            machine = self._machine
            if machine is None:
                return {"run": self._shown_run, "reasons": None}
            reasons: JsonObject = {name: [*machine.refusal(command)] for name, command in commands(machine).items()}
            return {"run": machine.plan.run, "reasons": reasons}

        return self._ask(call)

    def check_refusals(self, who: Actor | None) -> JsonObject:
        """Return why a check or a cleaning may not begin now, and why this person may not go on with the check that is under way."""

        def call() -> JsonObject:
            return {
                "begin": _refused_by(self._refuse_if_busy),
                "abandon": _refused_by(self._check.refuse_if_none),
                "confirm": _refused_by(lambda: self._check.refuse_to_confirm(who)),
            }

        return self._ask(call)

    def begin_check(self, session: CheckSession) -> JsonObject:
        """Begin the daily check of the balance. Raises CellRefused while a run is open, a check is under way, or the balance is missing."""

        def call() -> JsonObject:
            self._refuse_if_busy()
            if self._bench is None:
                self.ports.reopen(self._inbox.put, self._looking.busy)
            missing = self.ports.missing().get(Port.BALANCE.value)
            if missing is not None:
                raise CellRefused([f"balance port: {missing}"], remedy="Connect the device and try again.")
            self._do(self._check.open(session))
            return session.view()

        return self._ask(call)

    def confirm_check(self, who: Actor, step: str) -> JsonObject:
        """A person has done what the check's instruction says. Raises CellRefused."""
        return self._ask(lambda: self._checked(self._check.confirm(who, step, self.clock.now())))

    def abandon_check(self, who: Actor, reason: str) -> JsonObject:
        """Give the check up; it is on record as abandoned. Raises CellRefused where none is under way."""
        return self._ask(lambda: self._checked(self._check.abandon(who, reason, self._day())))

    def refuse_if_busy(self) -> None:
        """Raise CellRefused while a run is open or a check is under way."""

        def call() -> JsonObject:
            self._refuse_if_busy()
            return {}

        self._ask(call)

    def check_view(self) -> JsonObject:
        """Return the check that is under way or was the last of this process, as a page shows it."""
        return self._ask(self._check.view)

    def _day(self) -> str:
        return local_day(self.clock.utc())

    def status(self, trace_since_us: int) -> JsonObject:
        def call() -> JsonObject:
            view = self._view(self.clock.now(), trace_since_us)
            if self._machine is None or self._machine.over:
                view |= at_rest(view, self._machine, self._run_ended_at, self.ports.missing(), checking=self._check.is_open)
            else:
                view |= weighed_elsewhere(view, self._machine)
            return {**view, "ports": self._ports_in_words(), "check": self._check.view() or None, "notices": self._unwritten()}

        return self._ask(call)

    def _view(self, now: int, trace_since_us: int) -> JsonObject:
        if self._machine is not None:
            return run_view(self._machine, now, self._removed, trace_since_us)
        if self._shown_run is not None:
            return recorded_view(self.store, self._shown_run, now)
        return idle_view(now)

    def _ports_in_words(self) -> JsonObject:
        """Say which devices are away, which are there again, and whether a printer that is owed a stop has not confirmed it."""
        found = {port: words for port, words in self._looking.words.items() if self.ports.is_open(port)}
        if self.ports.stop_owed is not None:
            found[Port.PRINTER] = "was told to stop and has not confirmed it; switch it off"
        return {port.value: words for port, words in {**found, **self.ports.away()}.items()}

    def _unwritten(self) -> list[JsonValue]:
        """Say that the end of the run is not on record yet, and why."""
        machine = self._machine
        unwritten = None if machine is None else machine.record.unwritten or self._log_trouble
        if machine is None or unwritten is None:
            return []
        why = unwritten.rstrip(".")
        return [f"the end of run {machine.plan.run} is not on record yet ({why}); make room, it is tried again every {AGAIN_S:.0f} s"]

    def _refuse_if_busy(self) -> None:
        open_run = self._machine
        if open_run is not None and open_run.phase is not Phase.DONE:
            remedy = "Finish or stop it first. If its record could not be written, make the store writable: it is tried again by itself."
            raise CellRefused([f"run {open_run.plan.run} is {open_run.state}, its record is not closed"], remedy=remedy)
        self._check.refuse_if_open()

    def unit_removed(self, unit: str) -> None:
        """Show that the removal of a unit is on record."""
        self._removed |= {unit}

    def _ask(self, call: Callable[[], JsonObject]) -> JsonObject:
        ask = _Ask(call, Future())
        self._inbox.put(ask)
        return ask.answer.result(timeout=30)

    # The controller thread

    def run(self) -> None:
        """Take what comes, one at a time, until `end`. However it ends, nothing moves or stays hot after it."""
        try:
            self._take_all()
        finally:
            self._leave_stopped()

    def _take_all(self) -> None:
        while not self._ended:
            try:
                item = self._inbox.get(timeout=_TICK_S)
            except queue.Empty:
                item = None
            self._take(item)
            self._watch_recorder()
            self._record_stop()
            if self._machine is None or not self._machine.active:
                self._tidy()
            self._compare_clocks()
            if self._bench is None:
                self._look_for_devices()

    def _leave_stopped(self) -> None:
        """Stop the printer where something may move or be hot: nobody watches it from now on. The run is closed at the next start."""
        machine = self._machine
        if machine is not None and machine.active:
            self.ports.emergency_write(Port.PRINTER, STOP)
            reason = f"the cell process ended while run {machine.plan.run} was open"
            self.recorder.record(Record(_OUTSIDE, (printer_stopped(self.name, reason),)))

    def close(self) -> None:
        self.ports.close()
        if self._bench is not None:
            self._bench.close()
        self.recorder.close()

    def _take(self, item: object) -> None:
        match item:
            case None:
                if self._bench is None:
                    self._handle(Tick())
            case Looked():
                self._looked(item)
            case WireBytes(port, data):
                self._arrived(Port(port), data)
            case WireLost(port, reason):
                self._lost(Port(port), reason)
            case Grant():
                self._step.grant, self._step.handled = item, False
            case UnitCompiled() | UnitRefused():
                self._compiling = False
                self._handle(item)
            case Recorded(token) | RecordFailed(token, _):
                self._outstanding.pop(token, None)
                if token != _OUTSIDE:
                    self._handle(item)
            case LogSealed(sha256):
                self._sealing, self._log_trouble = False, None
                self._handle(WireSealed(sha256))
            case LogFailed(reason):
                self._log_failed(reason)
            case _Ask(call, answer):
                self._answer(call, answer)
            case BenchGone(reason):
                for port in Port:
                    self._handle(PortLost(port, reason))
            case _End():
                self._ended = True
            case _:
                raise TypeError(f"the cell's inbox does not take {type(item).__name__}")
        self._take_step()

    def _answer(self, call: Callable[[], JsonObject], answer: Future[JsonObject]) -> None:
        try:
            answer.set_result(call())
        except Exception as error:
            answer.set_exception(error)

    def _arrived(self, port: Port, data: bytes) -> None:
        self._step.received[port] += len(data)
        if self._bench is None:
            self._handle(PortBytes(port, data))
            self._handle(Tick())
        else:
            self._step.waiting[port] += data

    def _lost(self, port: Port, reason: str) -> None:
        self._step.lost[port] = reason
        if self._bench is None:
            self._port_lost(port, reason)

    def _take_step(self) -> None:
        """Take the granted step once all of it has arrived; acknowledge it once all it asked for is on record."""
        step = self._step
        grant = step.grant
        if grant is None or self._bench is None or not isinstance(self.clock, GrantedClock):
            return
        if not step.handled:
            if not all(self._complete(port, grant) for port in Port):
                return
            step.handled = True
            self.clock.grant(grant.now)
            for port in _PORT_ORDER:
                data = bytes(step.waiting[port])
                step.waiting[port].clear()
                if data:
                    self._handle(PortBytes(port, data))
                if port in step.lost and port in grant.closed:
                    self._port_lost(port, step.lost[port])
            self._handle(Tick())
        if not self._outstanding and not self._compiling and not self._sealing:
            step.grant = None
            self._bench.acknowledge(grant.now, self.ports.queued())

    def _complete(self, port: Port, grant: Grant) -> bool:
        if not self.ports.is_open(port):
            return True
        if port in grant.closed:
            return port in self._step.lost
        return self._step.received[port] >= grant.sent.get(port, 0)

    def _checked(self, effects: list[RunEffect]) -> JsonObject:
        self._do(effects)
        return self._check.view()

    def _do(self, effects: list[RunEffect]) -> None:
        for effect in effects:
            self._execute(effect)

    def _handle(self, event: RunInput) -> None:
        """Give an input to whom it concerns: while a check is under way the devices and the clock speak to it, people to the run."""
        match event:
            case Recorded(token) | RecordFailed(token, _) | RecordLate(token, _) if token < _OUTSIDE:
                self._do(self._check.handle(event, self.clock.now(), self._day))
            case PortBytes() | PortLost() | Tick() if self._check.is_open:
                self._do(self._check.handle(event, self.clock.now(), self._day))
            case _:
                self._to_run(event)

    def _to_run(self, event: RunInput) -> None:
        machine = self._machine
        if machine is None:
            return
        for effect in machine.handle(event, self.clock.now(), urgent=self._execute):
            self._execute(effect)
        if machine.over and self._run_ended_at is None:
            self._run_ended_at = f"{self.clock.utc().at[:19].replace('T', ' ')} UTC"

    def _execute(self, effect: RunEffect) -> None:
        match effect:
            case EmergencySend(port, data):
                self.ports.emergency_write(port, data)
            case Send(port, data):
                refused = self.ports.write(port, data)
                if refused is not None:
                    self._inbox.put(_Ask(lambda: self._not_sent(port, refused), Future()))
            case Record(token):
                self._outstanding[token] = time.monotonic()
                self.recorder.record(effect)
            case Compile():
                self._compiling = True
                threading.Thread(target=self._compile, args=(self._compiler, effect), name="compiler", daemon=True).start()
            case SealWireLog():
                self._sealing = True
                self.ports.seal_wire_log()

    def _compile(self, compiler: Compiler | None, asked: Compile) -> None:
        """Compile and prove on a thread of its own: a stop does not wait for it."""
        step_down()
        answer: UnitCompiled | UnitRefused = UnitRefused(asked.n, "this run has no compiler", asked.purge, asked.part)
        try:
            if compiler is not None:
                answer = compiler(asked.n, asked.factor, asked.purge, asked.part)
        except Exception as error:
            answer = UnitRefused(asked.n, f"the compiler failed ({type(error).__name__}: {error})", asked.purge, asked.part)
        self._inbox.put(answer)

    def _port_lost(self, port: Port, reason: str) -> None:
        """A printer that is lost while something may move or be hot, or before it confirms its stop, is told to stop when it is back."""
        machine = self._machine
        if port is Port.PRINTER and machine is not None and (machine.active or self.ports.stop_waits(port)):
            self.ports.owe_stop(f"it was lost in run {machine.plan.run}: {reason}")
        self._handle(PortLost(port, reason))

    def _look_for_devices(self) -> None:
        """Look for what is away while no run is live: in a run, a lost device is the end of it."""
        if time.monotonic() < self._look_at or (self._machine is not None and not self._machine.over):
            return
        self._look_at = time.monotonic() + _LOOK_S
        for port in self.ports.away():
            self._looking.look(port, self.ports.places[port], stop=self.ports.stop_owed is not None)

    def _looked(self, looked: Looked) -> None:
        self._looking.done(looked)
        if looked.transport is None:
            self.ports.not_there(looked.port, looked.words)
            return
        self.ports.adopt(looked.port, looked.transport, self._inbox.put)
        if not looked.unasked:
            self._record_outside(device_returned(self.name, looked.port, looked.words))

    def _record_stop(self) -> None:
        """A printer that was owed a stop, and has confirmed it, is owed it no more."""
        reason = self.ports.take_stop_confirmed()
        if reason is not None:
            self._record_outside(printer_stopped(self.name, reason))

    def _record_outside(self, draft: EntryDraft) -> None:
        """Record what no run waits for: it has happened, so it is tried until it is committed."""
        self.recorder.record(Record(_OUTSIDE, (draft,), insist=True))

    def _not_sent(self, port: Port, reason: str) -> JsonObject:
        self._port_lost(port, reason)
        return {}

    def _begin_wire_log(self, run: str) -> None:
        try:
            self.ports.begin_wire_log(self._data_dir / f"wire-{run}.log", self._inbox.put, AGAIN_S)
        except OSError as error:
            remedy = "Make room on the cell's disk, or make its folder writable, and try again."
            raise CellRefused([f"the wire log cannot be begun: {error.strerror}"], remedy=remedy) from error
        self._log_trouble = None

    def _log_failed(self, reason: str) -> None:
        """What the wire log cannot keep is a record that failed: it stops a run, once. Of one that is over, the sealing is tried again."""
        self._sealing, self._log_trouble = False, f"the wire log cannot be written: {reason}"
        if self._machine is not None and not self._machine.over:
            self._handle(RecordFailed(_OUTSIDE, self._log_trouble))

    def _compare_clocks(self) -> None:
        """A clock that was set is on record whether a run is on or not."""
        compared = self._clocks.look()
        if compared is not None:
            self._record_outside(clock_stepped(self.name, compared))
            self._handle(compared)

    def _watch_recorder(self) -> None:
        """A record that does not come in time stops the run, whatever holds it; so does a wire log that the disk does not take."""
        late = [token for token, asked in self._outstanding.items() if time.monotonic() - asked > _RECORD_LIMIT_S]
        for token in late:
            del self._outstanding[token]
            self._handle(RecordLate(token, f"no commit within {_RECORD_LIMIT_S:.0f} s"))
        if self._log_trouble is None and self.ports.wire_log_is_late(_RECORD_LIMIT_S):
            self._log_failed(f"the disk has not answered for {_RECORD_LIMIT_S:.0f} s")


def _refused_by(check: Callable[[], None]) -> list[JsonValue]:
    """Return the reasons with which a check refuses; none where it does not."""
    try:
        check()
    except CellRefused as refused:
        return [*refused.reasons]
    return []
