"""UTC against the steady clock: a record needs the right time, and a clock that is set moves one against the other.

The steady clock is the operating system's monotonic one. It is steered together with UTC, so that a clock which is disciplined
slowly does not part from it; a clock that is set, or a computer that slept, does.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from printer.messages import ClockCompared

STEP_MS = 500
"""A change below this is the reading of two clocks one after the other, and is not told."""
_EVERY_US = 1_000_000


def _steady() -> int:
    return time.monotonic_ns() // 1000


def _utc() -> int:
    return time.time_ns() // 1000


class ClockWatch:
    """Compares the two clocks once a second. `steady` and `utc` are in µs.

    Concurrency: owned by the controller thread.
    """

    def __init__(self, steady: Callable[[], int] = _steady, utc: Callable[[], int] = _utc) -> None:
        self._steady, self._utc = steady, utc
        self._look_at = 0
        self.begin()

    def begin(self) -> None:
        """Compare with what the two clocks show now: a run begins."""
        self._base = self._utc() - self._steady()
        self._told = 0

    def look(self) -> ClockCompared | None:
        """Return how far UTC has moved against the steady clock since `begin`, where that has changed since it was last told."""
        steady = self._steady()
        if steady < self._look_at:
            return None
        self._look_at = steady + _EVERY_US
        offset = (self._utc() - self._steady() - self._base) // 1000
        if abs(offset - self._told) < STEP_MS:
            return None
        before, self._told = self._told, offset
        return ClockCompared(offset, offset - before)
