"""The middle of the printer link: what an answer says of the lines in flight. Acknowledged, asked for again, read back. Pure.

Lines are acknowledged by number where the firmware gives it; else one line is in flight, and its `ok` is believed only if nothing
unread came before it and, where lines are read back, the line itself was seen.
"""

from __future__ import annotations

from typing import assert_never

from firmware_bridge.firmware_profile import FirmwareProfile
from firmware_bridge.gcode_lines import Ok
from firmware_bridge.link_sender import PROBE, LinkSender
from firmware_bridge.link_values import RUNNING, LineAcknowledged, LinkInput, LinkState, Notice
from firmware_bridge.read_back import CarriedOutOther, CarriedOutTwice, Damaged, Finding, Fragment
from firmware_bridge.resend_requests import ResendVerdict


class LinkAcknowledgement(LinkSender):
    """Takes answers while the link is READY, STREAMING or PROBING. Concurrency: one thread."""

    def __init__(self, profile: FirmwareProfile, *, exposure_limit_nl: int) -> None:
        super().__init__(profile, exposure_limit_nl=exposure_limit_nl)
        self._advanced = self._identified = False
        self._doubt = self._owed_ok = False

    def _unknown(self, text: str) -> None:
        self.unknown_lines += 1
        self._doubt = True
        self._emit(Notice(text[:200]))

    # ---- acknowledgement

    def _ok(self, ok: Ok, now: int) -> None:
        if ok.number is None:
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
        elif self.state is LinkState.STREAMING and (self._doubt or self._unseen()):
            self._probe(now)
        elif self.state is LinkState.STREAMING:
            self._acknowledge(self._flight[0].number, now)

    def _unseen(self) -> bool:
        """Tell whether the line in flight should have been seen in the read-back by now and was not: the ok may be another's."""
        return self._identified and self._echoes.is_awaited(self._flight[0].wire)

    def _unnumbered_ok(self, now: int) -> None:
        """Answers come in the order of the lines, so this one is the oldest line's, unless what came before it could not be read."""
        if self._doubt:
            self._fail("FB-105", "An answer that cannot be read came before an ok; this firmware does not say which line it took.")
        elif self._flight[0].line.command != b"M105":
            self._acknowledge(self._flight[0].number, now)

    def _temperature_ok(self, now: int) -> None:
        """The answer to M105 carries no number, but it can only answer the oldest M105 in flight whose time is not over."""
        if not self.profile.numbered and self._flight and self._flight[0].line.command != b"M105":
            self._fail(
                "FB-105", f"The printer answers, but not to {self._flight[0].line.command!r}: whether it took that line cannot be known."
            )
            return
        asked = (sent.number for sent in self._flight if sent.line.command[:4] == b"M105" and sent.number >= self._silence.answer_from)
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
        self._silence.acknowledged()
        self._silence.arm(self._window, now)
        if self.state is LinkState.PROBING and not any(sent.line is PROBE for sent in self._flight):
            self._go(LinkInput.RESOLVED)

    # ---- read-back

    def _judged(self, line: bytes) -> bool:
        """Tell whether the line is the echo of a command, damaged or not; what it says is acted on."""
        waiting = len(self._echoes.expected)
        finding = self._echoes.judge(line)
        self._found(finding)
        return finding is not None or len(self._echoes.expected) < waiting

    def _found(self, finding: Finding | None) -> None:
        if finding is None or self.state not in RUNNING:
            return
        match finding:
            case CarriedOutOther(number, sent, found):
                self._fail("FB-117", f"Line {number} was sent as {_shown(sent)}; the printer carried out {_shown(found)}.")
            case CarriedOutTwice(number, found):
                self._fail("FB-117", f"The printer carried out line {number} more than once: {_shown(found)}.")
            case Fragment(found):
                self._fail("FB-106", f"The printer carried out {_shown(found)}, which was not sent as a line.")
            case Damaged():
                pass
            case _:  # pragma: no cover
                assert_never(finding)

    # ---- resend

    def _resend(self, number: int, now: int) -> None:
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
        before, slow = len(self._flight), self._window.slow_lines
        self._acknowledge(number - 1, now)
        # An error overtakes the ok of a line that is still being run. Without numbers that late ok would be taken for
        # the next line's, so the next one is not believed. A slow line may still be run, whatever is numbered.
        late_ok = len(self._flight) < before and (not self._advanced or self._window.slow_lines < slow)
        self._doubt, self._owed_ok = late_ok, True
        behind = len(self._flight) - 1
        self._withdraw_probes()
        if self.state is LinkState.PROBING:
            self._go(LinkInput.RESOLVED)
        if not self._flight:
            return
        at_once = self._requests.accept(number, behind, now)
        if self._requests.count > self.profile.max_resends:
            self._fail("FB-102", f"The printer asked {self._requests.count} times for line {number}.")
        elif at_once:
            self._retransmit(now)


def _shown(line: bytes) -> str:
    return ascii(line[:96].decode("latin-1"))
