"""When checkpoints are to leave: at once after a run or a disposition, daily, and again after a failure, less and less often.

Times are process time in microseconds, and `now` comes from outside.
"""

from __future__ import annotations

from dataclasses import dataclass

_SECOND_US = 1_000_000
DAILY_US = 24 * 3600 * _SECOND_US
FIRST_RETRY_US = 60 * _SECOND_US
LONGEST_RETRY_US = 3600 * _SECOND_US


@dataclass(slots=True)
class AnchorSchedule:
    """When the next attempt is due. The first is due when the process starts: the day may have passed while it was down.

    Concurrency: owned by one thread, or used under its owner's lock.
    """

    due_us: int
    failures: int = 0

    def wanted(self, now_us: int) -> None:
        """Something happened that should leave at once; after a failure in a minute, so that nobody is asked all the time."""
        self.due_us = min(self.due_us, now_us + FIRST_RETRY_US if self.failures else now_us)

    def is_due(self, now_us: int) -> bool:
        return now_us >= self.due_us

    def succeeded(self, now_us: int) -> None:
        """Everything that was to leave has left, or was refused for good until somebody acts."""
        self.failures = 0
        self.due_us = now_us + DAILY_US

    def failed(self, now_us: int) -> None:
        """Somebody could not be reached: after a minute, then twice as long each time, an hour at most."""
        self.due_us = now_us + min(FIRST_RETRY_US << min(self.failures, 16), LONGEST_RETRY_US)
        self.failures += 1
