"""The sending half of the printer link: its state, what waits, what is in flight, and what is asked when no answer comes. Pure.

`GcodeLink` is this with the half that reads. All that goes out passes through here, so that after STOPPED or FAULTED nothing does.
"""

from __future__ import annotations

from collections import deque

from firmware_bridge.errors import LocalProtocolError
from firmware_bridge.firmware_profile import FirmwareProfile
from firmware_bridge.link_silence import Silence
from firmware_bridge.link_values import TRANSITIONS, Fault, LinkEvent, LinkFault, LinkInput, LinkState, Notice, OutLine
from firmware_bridge.read_back import ReadBack
from firmware_bridge.resend_requests import ResendRequests
from firmware_bridge.send_window import SendWindow

PROBE = OutLine(b"M105", "")
POLL = OutLine(b"M105", "")
_MAX_EVENTS = 4096


class LinkSender:
    """State, queue, window and timers of one link. Times in µs. Concurrency: one thread."""

    def __init__(self, profile: FirmwareProfile, *, exposure_limit_nl: int) -> None:
        if exposure_limit_nl <= 0:
            raise LocalProtocolError(f"exposure_limit_nl must be positive, not {exposure_limit_nl}.")
        self.profile = profile
        self.exposure_limit_nl = exposure_limit_nl
        self.state = LinkState.NEW
        self.fault: LinkFault | None = None
        self.unknown_lines = self.resends = self.probes = self.dropped_events = 0
        self._queue: deque[OutLine] = deque()
        self._window = SendWindow(profile, exposure_limit_nl)
        self._flight = self._window.lines
        self._out = bytearray()
        self._events: deque[LinkEvent] = deque()
        self._silence = Silence(profile)
        self._requests = ResendRequests(profile.resend_settle_us)
        self._echoes = ReadBack()
        self._reading_back = False
        self._poll_at: int | None = None

    # ---- what can be asked

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

    @property
    def unproved_lines(self) -> int:
        """Number of lines, of the whole connection, that are acknowledged and whose echo did not come whole."""
        return self._echoes.unproved(self._window.first_number)

    @property
    def doubtful_lines(self) -> int:
        """Those of the unproved lines that had no echo, or one that differs from the line in more than one byte."""
        return self._echoes.doubtful(self._window.first_number)

    def next_event(self) -> LinkEvent | None:
        """Return the oldest event not yet taken, or None."""
        return self._events.popleft() if self._events else None

    def bytes_to_send(self) -> bytes:
        """Return what is to be written now; it is then regarded as sent. Empty for ever once STOPPED or FAULTED."""
        if not self._out:
            return b""
        data = bytes(self._out)
        self._out.clear()
        return data

    def next_deadline(self) -> int | None:
        """Return the process time in µs at which `tick` is due, or None."""
        due = [at for at in (self._requests.hold_until, self._silence.deadline, self._silence.heat_until) if at is not None]
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
        self._silence.clear()
        self._requests.hold_until = None

    def _emit(self, event: LinkEvent) -> None:
        if len(self._events) < _MAX_EVENTS:
            self._events.append(event)
        else:
            self.dropped_events += 1

    # ---- sending

    def _send(self, line: OutLine, now: int, *, internal: bool) -> None:
        sent = self._window.add(line, internal=internal)
        self._out += sent.wire
        if self._reading_back:
            self._echoes.sent(sent.number, sent.wire)
        if len(self._flight) == 1:
            self._silence.arm(self._window, now)

    def _send_what_fits(self, now: int) -> None:
        while self._queue and self._window.fits(self._queue[0]):
            if self._poll_at is not None and now >= self._poll_at:
                self._ask_temperature(now)
                continue
            self._send(self._queue.popleft(), now, internal=False)

    def _ask_temperature(self, now: int) -> None:
        self._poll_at = now + (self.profile.poll_temperature_us or 0)
        self._send(POLL, now, internal=True)

    def _retransmit(self, now: int) -> None:
        self._requests.hold_until = None
        self.resends += len(self._flight)
        # A line cut off by the firmware's flush ends here, so that it cannot run into the first line sent again.
        self._out += b"\n" + b"".join(sent.wire for sent in self._flight)
        self._silence.arm(self._window, now)

    def _withdraw_probes(self) -> None:
        """Take back the probes at the tail, which the firmware has not taken: their numbers are free again."""
        for sent in self._window.withdraw_last(PROBE):
            self._echoes.withdrawn(sent.wire)

    # ---- silence

    def _busy(self, text: str, now: int) -> None:
        if self._silence.busy(now) and not text.startswith("processing"):
            self._emit(Notice(f"busy: {text}"))
        if self.state in (LinkState.STREAMING, LinkState.PROBING) and self._flight:
            if self._silence.busy_too_long(now):
                self._fail("FB-108", f"The printer has been busy for more than {self.profile.busy_limit_us // 1_000_000} s.")
            else:
                self._silence.arm(self._window, now)

    def _wait(self, now: int) -> None:
        if self.state is LinkState.STREAMING and self._flight and self._silence.waits_again():
            self._probe(now)

    def _probe(self, now: int) -> None:
        if self.state is LinkState.READY:
            self._go(LinkInput.SUBMITTED)
        self._requests.hold_until = None
        deadline, give_up = self._silence.probing(now, in_flight=bool(self._flight))
        if self._silence.probes > self.profile.max_probes:
            self._fail("FB-101", f"The printer has not answered {self.profile.max_probes} probes; what it has carried out is not known.")
            return
        self._go(LinkInput.UNSURE)
        self.probes += 1
        self._out += b"\n"
        self._send(PROBE, now, internal=True)
        self._silence.give_up, self._silence.deadline = give_up, deadline

    def _probe_silent(self, now: int) -> None:
        silence = self._silence
        if silence.probes >= self.profile.max_probes and now < silence.give_up:
            silence.deadline = silence.give_up
            return
        if not self.profile.numbered:
            self._withdraw_probes()
        elif not self._window.slow_lines:
            # Earlier probes had their time. What they asked is asked again, and an answer now is for the new one.
            silence.answer_from = self._window.next_number
        self._probe(now)
