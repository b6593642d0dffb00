"""The host's end of a G-code line: a deterministic machine without I/O.

Bytes, submitted lines and the time go in; events and bytes to send come out. Lines are numbered and checksummed and are
acknowledged by number where the firmware gives it (ADVANCED_OK); else there is one line in flight. What is not sure is
asked, never guessed: a probe is a *numbered* M105, so the firmware takes it once, after everything before it, or names
the line that it wants. A line is sent again only if two witnesses agree that the firmware has not taken it.

Where the firmware reads back what it carries out (`M111 S1`), every line is compared with what was sent: eight bits of
checksum are not enough to rely on.

The transition table is `link_values.TRANSITIONS`. STOPPED and FAULTED are terminal; the first cause is kept. What goes out is in
`link_sender`; here is what comes in.
"""

from __future__ import annotations

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
    Tool,
    Unknown,
    Wait,
    check_command,
    parse_reply,
)
from firmware_bridge.link_acknowledgement import LinkAcknowledgement
from firmware_bridge.link_handshake import Handshake, HandshakeResult, IdentityDiffers, IdentityKnown, Numbered
from firmware_bridge.link_values import (
    HANDSHAKE,
    RUNNING,
    TERMINAL,
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
    ToolReport,
    transition_table_markdown,
)
from firmware_bridge.reply_reader import FLOW_CONTROL, ReplyReader

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
    "ToolReport",
    "transition_table_markdown",
]

_REPORTS = OutLine(b"M155 S1", "")
_READ_BACK = OutLine(b"M111 S1", "")
_READ_BACK_TRIES = 4


class GcodeLink(LinkAcknowledgement):
    """One connection to one printer, from the first byte to STOPPED or FAULTED.

    Times are process time in µs and never go back. `receive` and `tick` never raise for what the printer does;
    `start` and `submit` raise LocalProtocolError for what the caller may not do, and then nothing has happened.
    Lifetime: one opened port; a new connection is a new link. Concurrency: one thread.
    """

    def __init__(self, profile: FirmwareProfile, *, exposure_limit_nl: int) -> None:
        super().__init__(profile, exposure_limit_nl=exposure_limit_nl)
        self._handshake = Handshake(profile)
        self._reader = ReplyReader(profile.max_reply)
        self._introduced = self._owes_drained = False
        self._read_back_lines: list[bytes] = []

    # ---- what the caller does

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
        return self.profile.stop_bytes(strength)

    def lost(self, reason: str) -> None:
        """Say that the port is gone: FAULTED, unless the link has ended already. What the printer does now is not known."""
        self._fail("FB-109", f"The port is gone: {reason}")

    def receive(self, data: bytes, now: int) -> None:
        """Take bytes as they came. Never raises; what the protocol forbids leads to FAULTED."""
        expected = self._echoes.expected
        for line in self._reader.feed(data):
            if isinstance(line, Unknown):
                self._unknown(line.text)
            elif line in expected:
                self._found(self._echoes.proved(line))
            else:
                self._line(line, now)
        self._pump(now)

    def tick(self, now: int) -> None:
        """Let time pass: call it at `next_deadline`, or more often."""
        silence = self._silence
        if self._requests.hold_until is not None and now >= self._requests.hold_until:
            self._retransmit(now)
        if silence.heat_until is not None and now >= silence.heat_until:
            limit = self.profile.heating_timeout_us // 1_000_000
            self._fail("FB-116", f"Heating has not ended within {limit} s; the firmware may wait for ever.")
        if silence.deadline is None or now < silence.deadline:
            return
        if self.state in HANDSHAKE:
            self._shake(self._handshake.silent(now), now)
        elif self.state is LinkState.READY:
            self._go(LinkInput.SUBMITTED)
            self._ask_temperature(now)
        elif self.state is LinkState.STREAMING:
            self._probe(now)
        else:  # no other state has a deadline
            self._probe_silent(now)

    def _pump(self, now: int) -> None:
        if self.state is not LinkState.STREAMING or self._requests.hold_until is not None:
            return
        self._send_what_fits(now)
        if self._flight:
            return
        if not self._identified:
            self._introduce(now)
        elif self._doubt:
            self._probe(now)
        else:
            self._go(LinkInput.ALL_ACKNOWLEDGED)
            self._ready(now)

    # ---- replies

    def _line(self, line: bytes, now: int) -> None:
        """Read one line that is no expected echo."""
        if b"\x11" in line or b"\x13" in line:
            if self._reading_back and self.state in RUNNING and self._judged(line):
                return
            line = line.translate(None, FLOW_CONTROL)
            if not line:
                return
        reply = parse_reply(line)
        if isinstance(reply, Ok):
            self._answered(reply, now)
        elif not (isinstance(reply, Information | Unknown) and self._reading_back and self.state in RUNNING and self._judged(line)):
            self._reply(reply, now)

    def _reply(self, reply: Reply, now: int) -> None:
        match reply:
            case Ok():
                self._answered(reply, now)
            case Temperatures(hotend, bed, ok, hotends):
                if hotend is None or bed is None:
                    self._emit(Notice("temperatures without hotend or bed"))
                else:
                    self._emit(TemperatureReport(*hotend, *bed, tuple(actual for actual, _ in hotends)))
                if ok and self.state in RUNNING:
                    self._temperature_ok(now)
            case Tool(number):
                self._emit(ToolReport(number))
            case Position(x, y, z, e, ok):
                self._emit(PositionReport(x, y, z, e))
                if ok:
                    self._answered(Ok(), now)
            case Resend(number):
                self._asked_again(number, now)
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
                if self.state in HANDSHAKE:
                    self._shake(self._handshake.identity(reply, now), now)
            case Information(text):
                self._information(text)
            case Unknown(text):
                self._unknown(text)
            case _:  # pragma: no cover
                assert_never(reply)

    def _answered(self, ok: Ok, now: int) -> None:
        if self.state in RUNNING:
            self._ok(ok, now)
        elif self.state in HANDSHAKE:
            self._shake(self._handshake.ok(ok, now), now)

    def _asked_again(self, number: int, now: int) -> None:
        self._owed_ok = True
        if self.state in HANDSHAKE:
            self._shake(self._handshake.asked_again(now), now)
        if self.state in RUNNING:
            self._resend(number, now)
        else:
            self._requests.last_line = None

    def _information(self, text: str) -> None:
        # Without numbers, what the firmware echoes may be a damaged "Unknown command": the ok after it is not believed.
        # With the lines read back, an ok is believed for the line that was seen alone, and what else is said does not matter.
        if (
            text.startswith("echo:")
            and self.profile.numbered
            and not (self._advanced or self._reading_back or text.startswith("echo:DEBUG:"))
        ):
            self._doubt = True
        self._emit(Notice(text[:200]))

    def _serious(self, code: str, text: str) -> None:
        if self.state in TERMINAL or self.state is LinkState.NEW:
            self._emit(Notice(text[:200]))
        else:
            self._fail(code, f"The printer reports: {text[:200]}")

    def _refused(self, text: str) -> None:
        if self.state not in RUNNING:
            self._emit(Notice(text[:200]))
        elif self._read_back_lines and not self._identified and "M111" in text:
            self._refuse_identity(("read-back: approved yes, found no (M111 is unknown)",))
        else:
            self._fail("FB-115", f"The printer took a line but did not carry it out: {text[:200]}")

    def _restarted(self, text: str, now: int) -> None:
        if self.state in RUNNING:
            cause = f"The printer restarted by itself ({text[:80]}): position, heaters and queue are lost."
            self._fail("FB-114", cause, LinkInput.PRINTER_RESTARTED)
        elif self.state in HANDSHAKE:
            self._go(LinkInput.PRINTER_RESTARTED)
            self._handshake.restarted(now)
            self._silence.deadline = self._handshake.deadline
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
                self._refuse_identity(differences)
            case LinkFault(code, text):
                self._fail(code, text)
            case Numbered(window, advanced):
                self._window.size, self._advanced = window, advanced
                self._owed_ok = self._doubt = False
                self._go(LinkInput.NUMBERED)
                self._silence.deadline = None
                self._introduce(now)
            case _:  # pragma: no cover
                assert_never(result)
        if self.state in HANDSHAKE:
            self._out += self._handshake.bytes_to_send()
            self._silence.deadline = self._handshake.deadline

    def _refuse_identity(self, differences: tuple[str, ...]) -> None:
        self._emit(IdentityRefused(differences))
        self._fail("FB-104", f"The firmware is not the one approved as {self.profile.name}: " + "; ".join(differences))

    def _introduce(self, now: int) -> None:
        """Send the link's own first lines, one at a time; when all are acknowledged the printer counts as identified.

        The first `M111 S1` cannot be seen, since the echo is still off. That the second is seen proves both.
        """
        following: OutLine | None = None
        if self.profile.read_back and not self._read_back_is_proved():
            if len(self._read_back_lines) > _READ_BACK_TRIES:
                self._refuse_identity(("read-back: approved yes, found no",))
                return
            following = _READ_BACK
        elif not self._introduced:
            self._introduced = True
            if self.profile.ready_check is not None:
                following = OutLine(self.profile.ready_check, "")
            elif self._handshake.capabilities.get("AUTOREPORT_TEMP"):
                following = _REPORTS
        if following is None:
            if self.state is LinkState.STREAMING:
                self._go(LinkInput.ALL_ACKNOWLEDGED)
            self._ready(now)
            return
        if self.state is LinkState.READY:
            self._go(LinkInput.SUBMITTED)
        self._reading_back = bool(self._read_back_lines)
        self._send(following, now, internal=True)
        if following is _READ_BACK:
            self._read_back_lines.append(self._flight[-1].wire)

    def _read_back_is_proved(self) -> bool:
        """Tell whether the last `M111 S1` was seen; those before it then count for nothing, since it has set the flags anew."""
        lines = self._read_back_lines
        if len(lines) < 2 or self._echoes.is_awaited(lines[-1]):
            return False
        for wire in lines[1:-1]:
            self._echoes.withdrawn(wire)
        return True

    def _ready(self, now: int) -> None:
        if not self._identified:
            self._identified = True
            found = self._handshake
            self._events.append(Identified(tuple(found.fields.items()), tuple(sorted(found.capabilities.items()))))
            if self.profile.poll_temperature_us is not None:
                self._poll_at = now
        self._silence.deadline = self._poll_at
        if self._owes_drained:
            self._owes_drained = False
            self._events.append(Drained())
