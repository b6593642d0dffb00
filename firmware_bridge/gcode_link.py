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
from typing import assert_never

from firmware_bridge.errors import LocalProtocolError
from firmware_bridge.firmware_profile import FirmwareProfile
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
)
from firmware_bridge.link_handshake import Handshake, HandshakeResult, IdentityDiffers, IdentityKnown, Numbered
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
from firmware_bridge.reply_reader import ReplyReader
from firmware_bridge.resend_requests import ResendRequests, ResendVerdict
from firmware_bridge.send_window import SendWindow

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

_PROBE = OutLine(b"M105", "")
_POLL = OutLine(b"M105", "")
_REPORTS = OutLine(b"M155 S1", "")
_MAX_EVENTS = 4096
_TERMINAL = (LinkState.STOPPED, LinkState.FAULTED)
_HANDSHAKE = (LinkState.IDENTIFYING, LinkState.SYNCHRONISING)
_RUNNING = (LinkState.READY, LinkState.STREAMING, LinkState.PROBING)


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
        self.unknown_lines = self.resends = self.probes = self.dropped_events = 0
        self._handshake = Handshake(profile)
        self._advanced = False
        self._identified = self._owes_drained = False
        self._queue: deque[OutLine] = deque()
        self._window = SendWindow(profile, exposure_limit_nl)
        self._flight = self._window.lines
        self._out = bytearray()
        self._events: deque[LinkEvent] = deque()
        self._reader = ReplyReader(profile.max_reply)
        self._deadline: int | None = None
        self._give_up = 0
        self._busy_since: int | None = None
        self._heat_until: int | None = None
        self._poll_at: int | None = None
        self._doubt = self._owed_ok = False
        self._requests = ResendRequests(profile.resend_settle_us)
        self._probe_count = self._waits = self._answer_from = 0

    # ---- what the caller does

    @property
    def pending(self) -> int:
        """Number of submitted lines that are not yet acknowledged."""
        return len(self._queue) + sum(not sent.internal for sent in self._flight)

    @property
    def window(self) -> int:
        """Number of lines that may be in flight."""
        return self._window.size

    @property
    def queued(self) -> int:
        """Number of submitted lines that are not yet sent."""
        return len(self._queue)

    @property
    def next_number(self) -> int:
        """The number that the next line will have."""
        return self._window.next_number

    @property
    def exposure_nl(self) -> int:
        """Volume in nL that is commanded and unacknowledged."""
        return self._window.exposure_nl

    @property
    def waiting(self) -> bool:
        """Whether a line is in flight that ends only with a motion or a temperature; some firmware says nothing meanwhile."""
        return self._window.slow_lines > 0

    def start(self, now: int) -> None:
        """Begin: ask who is there, then set line numbering. Call it once."""
        self._go(LinkInput.START)
        self._shake(self._handshake.begin(now), now)

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
        for reply in self._reader.feed(data):
            self._reply(reply, now)
        self._pump(now)

    def tick(self, now: int) -> None:
        """Let time pass: call it at `next_deadline`, or more often."""
        if self._requests.hold_until is not None and now >= self._requests.hold_until:
            self._retransmit(now)
        if self._heat_until is not None and now >= self._heat_until:
            limit = self.profile.heating_timeout_us // 1_000_000
            self._fail("FB-116", f"Heating has not ended within {limit} s; the firmware may wait for ever.")
        if self._deadline is None or now < self._deadline:
            return
        if self.state in _HANDSHAKE:
            self._shake(self._handshake.silent(now), now)
        elif self.state is LinkState.READY:
            self._go(LinkInput.SUBMITTED)
            self._ask_temperature(now)
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
        due = [at for at in (self._requests.hold_until, self._deadline, self._heat_until) if at is not None]
        return min(due) if due else None

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
        self._window.clear()
        self._out.clear()
        self._deadline = self._requests.hold_until = self._heat_until = None

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
                self._requests.last_line, self._owed_ok = last, True
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
                if self.state in _HANDSHAKE:
                    self._shake(self._handshake.identity(reply, now), now)
            case Information(text):
                # Without numbers, what the firmware echoes may be a damaged "Unknown command": the ok after it is not believed.
                self._doubt = self._doubt or (text.startswith("echo:") and not self._advanced and self.profile.numbered)
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
            self._handshake.restarted(now)
            self._deadline = self._handshake.deadline
        else:
            self._emit(Notice(text[:200]))

    # ---- handshake

    def _shake(self, result: HandshakeResult | None, now: int) -> None:
        """Do what the handshake found, and send what it wants sent."""
        match result:
            case None:
                pass
            case IdentityKnown():
                self._go(LinkInput.IDENTITY_MATCHES)
            case IdentityDiffers(differences):
                self._emit(IdentityRefused(differences))
                self._fail("FB-104", f"The firmware is not the one approved as {self.profile.name}: " + "; ".join(differences))
            case LinkFault(code, text):
                self._fail(code, text)
            case Numbered(window, advanced):
                self._window.size, self._advanced = window, advanced
                self._owed_ok = self._doubt = False
                self._go(LinkInput.NUMBERED)
                self._introduce(now)
            case _:  # pragma: no cover
                assert_never(result)
        if self.state in _HANDSHAKE:
            self._out += self._handshake.bytes_to_send()
            self._deadline = self._handshake.deadline

    def _introduce(self, now: int) -> None:
        """Send the link's own first lines; the printer counts as identified when they are acknowledged."""
        self._deadline = None
        first = OutLine(self.profile.ready_check, "") if self.profile.ready_check is not None else _REPORTS
        if first is _REPORTS and not self._handshake.capabilities.get("AUTOREPORT_TEMP"):
            self._ready(now)
        else:
            self._go(LinkInput.SUBMITTED)
            self._send(first, now, internal=True)

    # ---- acknowledgement

    def _ok(self, ok: Ok, now: int) -> None:
        if self.state in _HANDSHAKE:
            self._shake(self._handshake.ok(ok, now), now)
        elif self.state not in _RUNNING:
            return
        elif ok.number is None:
            self._plain_ok(ok, now)
        elif ok.number >= self._window.next_number:
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
        elif not self.profile.numbered:
            self._unnumbered_ok(now)
        elif self.state is LinkState.STREAMING and self._doubt:
            self._probe(now)
        elif self.state is LinkState.STREAMING:
            self._acknowledge(self._flight[0].number, now)

    def _unnumbered_ok(self, now: int) -> None:
        """Answers come in the order of the lines, so this one is the oldest line's, unless what came before it could not be read."""
        if self._doubt:
            self._fail("FB-105", "An answer that cannot be read came before an ok; this firmware does not say which line it took.")
        elif self._flight[0].line.command != b"M105":
            self._acknowledge(self._flight[0].number, now)

    def _temperature_ok(self, now: int) -> None:
        """The answer to M105 carries no number, but it can only answer the oldest M105 in flight whose time is not over."""
        if self.state in _HANDSHAKE:
            return
        if not self.profile.numbered and self._flight and self._flight[0].line.command != b"M105":
            self._fail(
                "FB-105", f"The printer answers, but not to {self._flight[0].line.command!r}: whether it took that line cannot be known."
            )
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
            sent = self._window.take()
            if not sent.internal:
                self._events.append(LineAcknowledged(sent.line.tag, sent.number))
        if self._owed_ok and number >= self._requests.number:
            self._owed_ok = False
        self._requests.acknowledged(number, not self._flight)
        self._probe_count = self._waits = self._answer_from = 0
        self._busy_since = self._heat_until = None
        self._arm(now)
        if self.state is LinkState.PROBING and not any(sent.line is _PROBE for sent in self._flight):
            self._go(LinkInput.RESOLVED)

    def _ready(self, now: int) -> None:
        if not self._identified:
            self._identified = True
            found = self._handshake
            self._events.append(Identified(tuple(found.fields.items()), tuple(sorted(found.capabilities.items()))))
            if self.profile.poll_temperature_us is not None:
                self._poll_at = now
        self._deadline = self._poll_at
        if self._owes_drained:
            self._owes_drained = False
            self._events.append(Drained())

    # ---- resend

    def _resend(self, number: int, now: int) -> None:
        self._owed_ok = True
        if self.state in _HANDSHAKE:
            self._shake(self._handshake.asked_again(now), now)
        if self.state not in _RUNNING:
            self._requests.last_line = None
            return
        first, after = self._window.first_number, self._window.next_number
        match self._requests.judge(number, first, after):
            case ResendVerdict.ONE_WITNESS:
                # The number may be damaged. Ask again instead of believing it.
                self._probe(now)
            case ResendVerdict.RESTARTED:
                self._fail("FB-114", "The printer's line counter is back at 0: it restarted by itself.", LinkInput.PRINTER_RESTARTED)
            case ResendVerdict.IMPOSSIBLE:
                self._fail("FB-103", f"The printer asks for line {number}; lines {first} to {after} are possible.")
            case ResendVerdict.REPEATED:
                if self._requests.repeated(now):
                    self._retransmit(now)
            case ResendVerdict.SEND_AGAIN:
                self._resend_from(number, now)
            case _ as never:  # pragma: no cover
                assert_never(never)

    def _resend_from(self, number: int, now: int) -> None:
        before = len(self._flight)
        self._acknowledge(number - 1, now)
        # An error overtakes the ok of a line that is still being run. Without numbers that late ok would be taken for
        # the next line's, so the next one is not believed.
        late_ok = not self._advanced and len(self._flight) < before
        self._doubt, self._owed_ok = late_ok, True
        behind = len(self._flight) - 1
        # The firmware has not taken the probes at the tail, so their numbers are free again.
        self._window.withdraw_last(_PROBE)
        if self.state is LinkState.PROBING:
            self._go(LinkInput.RESOLVED)
        if not self._flight:
            return
        at_once = self._requests.accept(number, behind, now)
        if self._requests.count > self.profile.max_resends:
            self._fail("FB-102", f"The printer asked {self._requests.count} times for line {number}.")
        elif at_once:
            self._retransmit(now)

    def _retransmit(self, now: int) -> None:
        self._requests.hold_until = None
        self.resends += len(self._flight)
        # A line cut off by the firmware's flush ends here, so that it cannot run into the first line sent again.
        self._out += b"\n" + b"".join(sent.wire for sent in self._flight)
        self._arm(now)

    # ---- silence

    def _arm(self, now: int) -> None:
        if not self._flight:
            self._deadline = None
            return
        if self._flight[0].heating and self._heat_until is None:
            self._heat_until = now + self.profile.heating_timeout_us
        slow = self._window.slow_lines > 0
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
        self._requests.hold_until = None
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
        if not self.profile.numbered:
            self._window.withdraw_last(_PROBE)
        elif not self._window.slow_lines:
            # Earlier probes had their time. What they asked is asked again, and an answer now is for the new one.
            self._answer_from = self._window.next_number
        self._probe(now)

    # ---- sending

    def _pump(self, now: int) -> None:
        if self.state is not LinkState.STREAMING or self._requests.hold_until is not None:
            return
        while self._queue and self._window.fits(self._queue[0]):
            if self._poll_at is not None and now >= self._poll_at:
                self._ask_temperature(now)
                continue
            self._send(self._queue.popleft(), now, internal=False)
        if not self._flight:
            if self._doubt and self._identified:
                self._probe(now)
            else:
                self._go(LinkInput.ALL_ACKNOWLEDGED)
                self._ready(now)

    def _ask_temperature(self, now: int) -> None:
        self._poll_at = now + (self.profile.poll_temperature_us or 0)
        self._send(_POLL, now, internal=True)

    def _send(self, line: OutLine, now: int, *, internal: bool) -> None:
        self._out += self._window.add(line, internal=internal).wire
        if len(self._flight) == 1:
            self._arm(now)
