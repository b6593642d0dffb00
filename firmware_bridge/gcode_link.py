"""The host's end of a G-code line: a deterministic machine without I/O.

Bytes, submitted lines and the time go in; events and bytes to send come out. Lines are numbered and checksummed and are
acknowledged by number where the firmware gives it (ADVANCED_OK); else there is one line in flight. What is not sure is
asked, never guessed: a probe is a *numbered* M105, so the firmware takes it once, after everything before it, or names
the line that it wants. A line is sent again only if two witnesses agree that the firmware has not taken it.

The transition table is `link_values.TRANSITIONS`. STOPPED and FAULTED are terminal; the first cause is kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from firmware_bridge.errors import LocalProtocolError
from firmware_bridge.firmware_profile import FirmwareProfile, parse_identity
from firmware_bridge.gcode_lines import (
    Busy,
    Capability,
    Fatal,
    Identity,
    Information,
    LineError,
    Ok,
    Position,
    Refused,
    Reply,
    Resend,
    Restarted,
    Temperatures,
    Unknown,
    Wait,
    check_command,
    number_line,
    parse_reply,
)
from firmware_bridge.link_values import (
    STOP_BYTES,
    TRANSITIONS,
    Drained,
    Fault,
    Identified,
    IdentityRefused,
    LineAcknowledged,
    LinkEvent,
    LinkFault,
    LinkInput,
    LinkState,
    Notice,
    OutLine,
    PositionReport,
    StopStrength,
    TemperatureReport,
    transition_table_markdown,
)

__all__ = [
    "Drained",
    "Fault",
    "GcodeLink",
    "Identified",
    "IdentityRefused",
    "LineAcknowledged",
    "LinkEvent",
    "LinkFault",
    "LinkInput",
    "LinkState",
    "Notice",
    "OutLine",
    "PositionReport",
    "StopStrength",
    "TemperatureReport",
    "transition_table_markdown",
]

_HELLO = b"\nM115\n"
_SET_NUMBER = b"N0 M110 N0*125\n"
_PROBE = OutLine(b"M105", "")
_REPORTS = OutLine(b"M155 S1", "")
_MAX_EVENTS = 4096
_TERMINAL = (LinkState.STOPPED, LinkState.FAULTED)
_HANDSHAKE = (LinkState.IDENTIFYING, LinkState.SYNCHRONISING)
_RUNNING = (LinkState.READY, LinkState.STREAMING, LinkState.PROBING)


@dataclass(slots=True)
class _Sent:
    number: int
    line: OutLine
    wire: bytes
    slow: bool
    internal: bool


class GcodeLink:
    """One connection to one printer, from the first byte to STOPPED or FAULTED.

    Times are process time in µs and never go back. `receive` and `tick` never raise for what the printer does;
    `start` and `submit` raise LocalProtocolError for what the caller may not do, and then nothing has happened.
    Lifetime: one opened port; a new connection is a new link. Concurrency: one thread.
    """

    def __init__(self, profile: FirmwareProfile, *, exposure_limit_nl: int) -> None:
        if exposure_limit_nl <= 0:
            raise LocalProtocolError(f"exposure_limit_nl must be positive, not {exposure_limit_nl}.")
        self.profile = profile
        self.exposure_limit_nl = exposure_limit_nl
        self.state = LinkState.NEW
        self.fault: LinkFault | None = None
        self.window = 1
        self.unknown_lines = self.resends = self.probes = self.dropped_events = 0
        self._advanced = False
        self._fields: dict[str, str] = {}
        self._capabilities: dict[str, bool] = {}
        self._tries = self._unanswered = 0
        self._answer: Ok | None = None
        self._identified = self._owes_drained = False
        self._queue: deque[OutLine] = deque()
        self._flight: deque[_Sent] = deque()
        self._next = 1
        self._flight_bytes = self._flight_nl = self._slow_lines = 0
        self._out = bytearray()
        self._events: deque[LinkEvent] = deque()
        self._buffer = b""
        self._skipping = False
        self._deadline: int | None = None
        self._give_up = 0
        self._busy_since: int | None = None
        self._hold_until: int | None = None
        self._repeats = self._stale = 0
        self._doubt = self._owed_ok = False
        self._witness: int | None = None
        self._claim: int | None = None
        self._resend_number = self._resend_count = self._probe_count = self._waits = self._answer_from = 0

    # ---- what the caller does

    @property
    def pending(self) -> int:
        """Number of submitted lines that are not yet acknowledged."""
        return len(self._queue) + sum(not sent.internal for sent in self._flight)

    @property
    def exposure_nl(self) -> int:
        """Volume in nL that is commanded and unacknowledged."""
        return self._flight_nl

    def start(self, now: int) -> None:
        """Begin: ask who is there, then set line numbering. Call it once."""
        self._go(LinkInput.START)
        self._say_hello(now)

    def submit(self, lines: Sequence[OutLine], now: int) -> None:
        """Queue lines in order; all or none. Raises LocalProtocolError unless the link is READY, STREAMING or PROBING."""
        if (self.state, LinkInput.SUBMITTED) not in TRANSITIONS:
            raise LocalProtocolError(f"Lines may not be submitted while the link is {self.state}.")
        for line in lines:
            check_command(line.command, self.profile.max_line)
            if line.exposure_nl < 0:
                raise LocalProtocolError(f"{line.command!r} has a negative exposure.")
        if lines:
            self._queue.extend(lines)
            self._owes_drained = True
            self._go(LinkInput.SUBMITTED)
            self._pump(now)

    def stop(self, strength: StopStrength, now: int) -> bytes:
        """Return the bytes to write at once, past every queue. Terminal: nothing else is ever sent. May be repeated, and stronger."""
        self._go(LinkInput.STOP)
        self._forget()
        return STOP_BYTES[strength]

    def lost(self, reason: str) -> None:
        """Say that the port is gone: FAULTED, unless the link has ended already. What the printer does now is not known."""
        self._fail("FB-109", f"The port is gone: {reason}")

    def receive(self, data: bytes, now: int) -> None:
        """Take bytes as they came. Never raises; what the protocol forbids leads to FAULTED."""
        if b"\r" in data or b"\x11" in data or b"\x13" in data:
            data = data.replace(b"\r", b"\n").translate(None, b"\x11\x13")
        *complete, rest = (self._buffer + data).split(b"\n")
        for line in complete:
            if self._skipping:
                self._skipping = False
            elif len(line) > self.profile.max_reply:
                self._unknown(f"a line of {len(line)} bytes, not read")
            elif line:
                self._reply(parse_reply(line), now)
        if len(rest) > self.profile.max_reply:
            if not self._skipping:
                self._unknown(f"a line of more than {self.profile.max_reply} bytes, not read")
            self._skipping = True
        self._buffer = b"" if self._skipping else rest
        self._pump(now)

    def tick(self, now: int) -> None:
        """Let time pass: call it at `next_deadline`, or more often."""
        if self._hold_until is not None and now >= self._hold_until:
            self._retransmit(now)
        if self._deadline is None or now < self._deadline:
            return
        if self.state in _HANDSHAKE:
            self._handshake_silent(now)
        elif self.state is LinkState.STREAMING:
            self._probe(now)
        else:  # no other state has a deadline
            self._probe_silent(now)

    def next_event(self) -> LinkEvent | None:
        """Return the oldest event not yet taken, or None."""
        return self._events.popleft() if self._events else None

    def bytes_to_send(self) -> bytes:
        """Return what is to be written now; it is then regarded as sent. Empty for ever once STOPPED or FAULTED."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def next_deadline(self) -> int | None:
        """Return the process time in µs at which `tick` is due, or None."""
        if self._hold_until is None or self._deadline is None:
            return self._deadline if self._hold_until is None else self._hold_until
        return min(self._hold_until, self._deadline)

    # ---- states

    def _go(self, given: LinkInput) -> None:
        target = TRANSITIONS.get((self.state, given))
        if target is None:
            raise LocalProtocolError(f"'{given}' is not possible while the link is {self.state}.")
        self.state = target

    def _fail(self, code: str, text: str, given: LinkInput = LinkInput.FAULT) -> None:
        self._go(given)
        if self.state is LinkState.FAULTED and self.fault is None:
            self.fault = LinkFault(code, text)
            self._events.append(Fault(self.fault))
            self._forget()

    def _forget(self) -> None:
        self._queue.clear()
        self._flight.clear()
        self._out.clear()
        self._flight_bytes = self._flight_nl = self._slow_lines = 0
        self._deadline = self._hold_until = None

    def _emit(self, event: LinkEvent) -> None:
        if len(self._events) < _MAX_EVENTS:
            self._events.append(event)
        else:
            self.dropped_events += 1

    def _unknown(self, text: str) -> None:
        self.unknown_lines += 1
        self._doubt = True
        self._emit(Notice(text[:200]))

    # ---- replies

    def _reply(self, reply: Reply, now: int) -> None:
        match reply:
            case Ok():
                self._ok(reply, now)
            case Temperatures(hotend, bed, ok):
                if hotend is None or bed is None:
                    self._emit(Notice("temperatures without hotend or bed"))
                else:
                    self._emit(TemperatureReport(*hotend, *bed))
                if ok:
                    self._temperature_ok(now)
            case Position(x, y, z, e, ok):
                self._emit(PositionReport(x, y, z, e))
                if ok:
                    self._ok(Ok(), now)
            case Resend(number):
                self._resend(number, now)
            case LineError(last, text):
                self._emit(Notice(text[:200]))
                self._witness, self._owed_ok = last, True
            case Fatal(code, text):
                self._serious(code, text)
            case Refused(text):
                self._refused(text)
            case Busy(text):
                self._busy(text, now)
            case Wait():
                self._wait(now)
            case Restarted(text):
                self._restarted(text, now)
            case Identity() | Capability():
                self._identity(reply, now)
            case Information(text):
                self._emit(Notice(text[:200]))
            case Unknown(text):
                self._unknown(text)
            case _:  # pragma: no cover
                assert_never(reply)

    def _serious(self, code: str, text: str) -> None:
        if self.state in _TERMINAL or self.state is LinkState.NEW:
            self._emit(Notice(text[:200]))
        else:
            self._fail(code, f"The printer reports: {text[:200]}")

    def _refused(self, text: str) -> None:
        if self.state in _RUNNING:
            self._fail("FB-115", f"The printer took a line but did not carry it out: {text[:200]}")
        else:
            self._emit(Notice(text[:200]))

    def _restarted(self, text: str, now: int) -> None:
        if self.state in _RUNNING:
            cause = f"The printer restarted by itself ({text[:80]}): position, heaters and queue are lost."
            self._fail("FB-114", cause, LinkInput.PRINTER_RESTARTED)
        elif self.state in _HANDSHAKE:
            self._go(LinkInput.PRINTER_RESTARTED)
            self._unanswered, self._answer, self._fields = 0, None, {}
            self._deadline = now + self.profile.resend_settle_us
        else:
            self._emit(Notice(text[:200]))

    # ---- handshake

    def _say_hello(self, now: int) -> None:
        self._fields, self._capabilities, self._answer = {}, {}, None
        self._say(_HELLO, now)

    def _say(self, data: bytes, now: int) -> None:
        self._tries += 1
        if self._tries > self.profile.hello_tries:
            self._fail("FB-107", f"No usable answer to {self.profile.hello_tries} requests for identity and line numbering.")
            return
        self._unanswered += 1
        self._out += data
        self._deadline = now + self.profile.hello_timeout_us

    def _handshake_silent(self, now: int) -> None:
        if self._answer is not None:
            self._handshake_step(self._answer, now)
        elif self.state is LinkState.IDENTIFYING:
            self._say_hello(now)
        else:
            self._say(_SET_NUMBER, now)

    def _handshake_ok(self, ok: Ok, now: int) -> None:
        if self._owed_ok and ok.number is None:
            self._owed_ok = False
            return
        if self.state is LinkState.IDENTIFYING and not self._fields:
            return  # the answer to rubbish that was in the line before us
        self._answer = ok
        self._unanswered = max(0, self._unanswered - 1)
        if self._unanswered:
            self._deadline = now + self.profile.hello_timeout_us
        else:
            self._handshake_step(ok, now)

    def _handshake_step(self, ok: Ok, now: int) -> None:
        """Every request of this step is answered, or long enough silent: judge it and go to the next."""
        self._answer, self._unanswered = None, 0
        if self.state is LinkState.IDENTIFYING:
            differences = self.profile.differences(self._fields, self._capabilities)
            if differences:
                self._refuse(differences)
                return
            self._go(LinkInput.IDENTITY_MATCHES)
            self._tries = 0
            self._say(_SET_NUMBER, now)
            return
        self._advanced = ok.slots is not None
        if self.profile.advanced_ok and not self._advanced:
            self._refuse(("ADVANCED_OK: approved yes, found no",))
            return
        if self.profile.advanced_ok and ok.slots is not None and self._capabilities.get("EMERGENCY_PARSER"):
            # Without an emergency parser every line in flight delays a stop; then one is enough.
            self.window = max(1, min(self.profile.command_slots, ok.slots + 1))
        self._deadline, self._owed_ok, self._doubt = None, False, False
        self._go(LinkInput.NUMBERED)
        if self._capabilities.get("AUTOREPORT_TEMP"):
            self._go(LinkInput.SUBMITTED)
            self._send(_REPORTS, now, internal=True)
        else:
            self._ready()

    def _refuse(self, differences: tuple[str, ...]) -> None:
        self._emit(IdentityRefused(differences))
        self._fail("FB-104", f"The firmware is not the one approved as {self.profile.name}: " + "; ".join(differences))

    def _identity(self, reply: Identity | Capability, now: int) -> None:
        if self.state is not LinkState.IDENTIFYING:
            return
        if isinstance(reply, Capability):
            self._capabilities[reply.name] = reply.present
            if len(self._capabilities) > 256:
                self._fail("FB-103", "More than 256 capabilities reported.")
            return
        self._fields = parse_identity(reply.text)
        if reply.ok:
            self._handshake_ok(Ok(), now)

    # ---- acknowledgement

    def _ok(self, ok: Ok, now: int) -> None:
        if self.state in _HANDSHAKE:
            self._handshake_ok(ok, now)
        elif self.state not in _RUNNING:
            return
        elif ok.number is None:
            self._plain_ok(ok, now)
        elif ok.number >= self._next:
            self._unknown(f"ok for line {ok.number}, which was not sent")
        elif self._flight and ok.number >= self._flight[0].number:
            # An ok that steps over a line may be a damaged number: believed, but proved before Drained.
            self._doubt = ok.number != self._flight[0].number
            self._acknowledge(ok.number, now)

    def _plain_ok(self, ok: Ok, now: int) -> None:
        if self._owed_ok:
            self._owed_ok = False
        elif self._advanced and ok.slots is not None:
            self._fail("FB-106", "The printer acknowledged a line without a number: it has run a fragment of a line.")
        elif self._advanced or not self._flight:
            self._doubt = True
        elif self.state is LinkState.STREAMING and self._doubt:
            self._probe(now)
        elif self.state is LinkState.STREAMING:
            self._acknowledge(self._flight[0].number, now)

    def _temperature_ok(self, now: int) -> None:
        """The answer to M105 carries no number, but it can only answer the oldest M105 in flight whose time is not over."""
        if self.state in _HANDSHAKE:
            return
        asked = (sent.number for sent in self._flight if sent.line.command[:4] == b"M105" and sent.number >= self._answer_from)
        number = next(asked, None)
        if number is None:
            self._doubt = True
        else:
            self._owed_ok = self._doubt = False
            self._acknowledge(number, now)

    def _acknowledge(self, number: int, now: int) -> None:
        while self._flight and self._flight[0].number <= number:
            sent = self._flight.popleft()
            self._flight_bytes -= len(sent.wire)
            self._flight_nl -= sent.line.exposure_nl
            self._slow_lines -= sent.slow
            if not sent.internal:
                self._events.append(LineAcknowledged(sent.line.tag, sent.number))
        if self._owed_ok and number >= self._resend_number:
            self._owed_ok = False
        if self._hold_until is not None and (not self._flight or number >= self._resend_number):
            self._hold_until = None
        self._probe_count = self._waits = self._answer_from = 0
        self._busy_since, self._claim = None, None
        self._arm(now)
        if self.state is LinkState.PROBING and not any(sent.line is _PROBE for sent in self._flight):
            self._go(LinkInput.RESOLVED)

    def _ready(self) -> None:
        if not self._identified:
            self._identified = True
            self._events.append(Identified(tuple(self._fields.items()), tuple(sorted(self._capabilities.items()))))
        if self._owes_drained:
            self._owes_drained = False
            self._events.append(Drained())

    # ---- resend

    def _resend(self, number: int, now: int) -> None:
        witness, self._witness, self._owed_ok = self._witness, None, True
        if self.state is LinkState.SYNCHRONISING:
            self._unanswered = max(0, self._unanswered - 1)
            self._say(_SET_NUMBER, now)
        if self.state not in _RUNNING:
            return
        if witness != number - 1 and self._claim != number:
            # One witness only: the number may be damaged. Ask again instead of believing it.
            self._claim = number
            self._probe(now)
            return
        first = self._flight[0].number if self._flight else self._next
        if number == 1 and first > 1:
            self._fail("FB-114", "The printer's line counter is back at 0: it restarted by itself.", LinkInput.PRINTER_RESTARTED)
        elif not first <= number <= self._next:
            self._fail("FB-103", f"The printer asks for line {number}; lines {first} to {self._next} are possible.")
        elif self._hold_until is not None and number == self._resend_number:
            self._repeated(now)
        else:
            self._resend_from(number, now)

    def _repeated(self, now: int) -> None:
        """The same request again, from lines that were already on the wire: wait until they are through."""
        self._repeats += 1
        self._hold_until = now + self.profile.resend_settle_us
        if self._repeats >= self._stale:
            self._retransmit(now)

    def _resend_from(self, number: int, now: int) -> None:
        before = len(self._flight)
        self._acknowledge(number - 1, now)
        # An error overtakes the ok of a line that is still being run. Without numbers that late ok would be taken for
        # the next line's, so the next one is not believed.
        late_ok = not self._advanced and len(self._flight) < before
        self._claim, self._doubt, self._owed_ok = None, late_ok, True
        self._stale, self._repeats = len(self._flight) - 1, 0
        # The firmware has not taken the probes at the tail, so their numbers are free again.
        while self._flight and self._flight[-1].line is _PROBE:
            self._flight_bytes -= len(self._flight.pop().wire)
            self._next -= 1
        if self.state is LinkState.PROBING:
            self._go(LinkInput.RESOLVED)
        if not self._flight:
            return
        self._resend_count = self._resend_count + 1 if number == self._resend_number else 1
        self._resend_number = number
        if self._resend_count > self.profile.max_resends:
            self._fail("FB-102", f"The printer asked {self._resend_count} times for line {number}.")
        elif self._stale > 0:
            self._hold_until = now + self.profile.resend_settle_us
        else:
            self._retransmit(now)

    def _retransmit(self, now: int) -> None:
        self._hold_until = None
        self.resends += len(self._flight)
        # A line cut off by the firmware's flush ends here, so that it cannot run into the first line sent again.
        self._out += b"\n" + b"".join(sent.wire for sent in self._flight)
        self._arm(now)

    # ---- silence

    def _arm(self, now: int) -> None:
        if not self._flight:
            self._deadline = None
            return
        slow = self._slow_lines > 0
        self._give_up = now + (self.profile.slow_timeout_us if slow else 0)
        self._deadline = now + (self.profile.slow_timeout_us if slow and not self.profile.keepalive else self.profile.ack_timeout_us)

    def _busy(self, text: str, now: int) -> None:
        if self._busy_since is None:
            self._busy_since = now
            if not text.startswith("processing"):
                self._emit(Notice(f"busy: {text}"))
        if self.state in (LinkState.STREAMING, LinkState.PROBING) and self._flight:
            if now - self._busy_since > self.profile.busy_limit_us:
                self._fail("FB-108", f"The printer has been busy for more than {self.profile.busy_limit_us // 1_000_000} s.")
            else:
                self._arm(now)

    def _wait(self, now: int) -> None:
        # One `wait` may cross a line on the wire; the second says that the line or its ok is lost.
        if self.state is LinkState.STREAMING and self._flight:
            self._waits += 1
            if self._waits >= 2:
                self._waits = 0
                self._probe(now)

    def _probe(self, now: int) -> None:
        if self.state is LinkState.READY:
            self._go(LinkInput.SUBMITTED)
        self._hold_until = None
        self._probe_count += 1
        if self._probe_count > self.profile.max_probes:
            self._fail("FB-101", f"The printer has not answered {self.profile.max_probes} probes; what it has carried out is not known.")
            return
        self._go(LinkInput.UNSURE)
        self.probes += 1
        self._out += b"\n"
        give_up = self._give_up if self._flight else now
        self._send(_PROBE, now, internal=True)
        self._give_up, self._deadline = give_up, now + self.profile.probe_timeout_us

    def _probe_silent(self, now: int) -> None:
        if self._probe_count >= self.profile.max_probes and now < self._give_up:
            self._deadline = self._give_up
            return
        if not self._slow_lines:
            # Earlier probes had their time. What they asked is asked again, and an answer now is for the new one.
            self._answer_from = self._next
        self._probe(now)

    # ---- sending

    def _pump(self, now: int) -> None:
        if self.state is not LinkState.STREAMING or self._hold_until is not None:
            return
        while self._queue and self._fits(self._queue[0]):
            line = self._queue.popleft()
            self._send(line, now, internal=False)
        if not self._flight:
            if self._doubt and self._identified:
                self._probe(now)
            else:
                self._go(LinkInput.ALL_ACKNOWLEDGED)
                self._ready()

    def _fits(self, line: OutLine) -> bool:
        if not self._flight:
            return True
        if len(self._flight) >= self.window or self._flight_nl + line.exposure_nl > self.exposure_limit_nl:
            return False
        size = len(str(self._next)) + len(line.command) + 7
        return self.profile.flow_control or self._flight_bytes + size <= self.profile.rx_bytes

    def _send(self, line: OutLine, now: int, *, internal: bool) -> None:
        wire = number_line(self._next, line.command)
        slow = line.slow or self.profile.is_slow(line.command)
        self._flight.append(_Sent(self._next, line, wire, slow, internal))
        self._slow_lines += slow
        self._next += 1
        self._flight_bytes += len(wire)
        self._flight_nl += line.exposure_nl
        self._out += wire
        if len(self._flight) == 1:
            self._arm(now)
