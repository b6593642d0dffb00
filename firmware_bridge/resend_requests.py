"""What the firmware asks to have again: whether to believe it, and when to answer. Pure.

The number in `Resend:` can itself be damaged, so it needs a second witness: `Last Line:` of the error before it, or the same
request twice. Lines that were already on the wire cause the same request again; they are let through first.
"""

from __future__ import annotations

from enum import StrEnum


class ResendVerdict(StrEnum):
    ONE_WITNESS = "one witness"
    RESTARTED = "the counter is back at 0"
    IMPOSSIBLE = "outside what is in flight"
    REPEATED = "asked for already"
    SEND_AGAIN = "send again"


class ResendRequests:
    """Keeps the state of requests. Times in µs. Concurrency: that of the link."""

    def __init__(self, settle_us: int) -> None:
        self.settle_us = settle_us
        self.last_line: int | None = None
        self.hold_until: int | None = None
        self.number = self.count = 0
        self._claim: int | None = None
        self._repeats = self._stale = 0

    def judge(self, number: int, first: int, after: int) -> ResendVerdict:
        """Judge a request while `first` is the oldest line in flight and `after` the next number not yet sent."""
        witness, self.last_line = self.last_line, None
        if witness != number - 1 and self._claim != number:
            self._claim = number
            return ResendVerdict.ONE_WITNESS
        if number == 1 and first > 1:
            return ResendVerdict.RESTARTED
        if not first <= number <= after:
            return ResendVerdict.IMPOSSIBLE
        if self.hold_until is not None and number == self.number:
            return ResendVerdict.REPEATED
        return ResendVerdict.SEND_AGAIN

    def accept(self, number: int, behind: int, now: int) -> bool:
        """Take a believed request with `behind` lines after it on the wire; tell whether to send at once."""
        self.count = self.count + 1 if number == self.number else 1
        self.number = number
        self._stale, self._repeats = behind, 0
        if behind > 0:
            self.hold_until = now + self.settle_us
        return behind <= 0

    def repeated(self, now: int) -> bool:
        """Take the same request again; tell whether all lines that were on the wire are through."""
        self._repeats += 1
        self.hold_until = now + self.settle_us
        return self._repeats >= self._stale

    def acknowledged(self, number: int, nothing_left: bool) -> None:
        """A line was acknowledged: doubts about a number are over, and so is waiting for the line asked for."""
        self._claim = None
        if nothing_left or number >= self.number:
            self.hold_until = None
