"""Clocks: process time for decisions, UTC for records.

Process time is an integer of microseconds that never goes back; every decision, time-out and journal stamp uses it.
`at` in a record is always real UTC. On a demonstration bench process time is granted by the bench and runs at a rate;
UTC stays real.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple, Protocol

MICROSECONDS = 1_000_000
_REAL = Decimal(1)


def seconds(value: Decimal | int | str) -> int:
    """Return a span in seconds as integer microseconds of process time."""
    return int(Decimal(value) * MICROSECONDS)


class UtcReading(NamedTuple):
    """Real UTC with what is known of it: IANA zone of the site and whether the clock is synchronised."""

    at: str
    zone: str
    sync: str


class Clock(Protocol):
    """What a shell hands to pure modules: process time in microseconds, and UTC for the record."""

    @property
    def rate(self) -> Decimal: ...

    def now(self) -> int: ...

    def utc(self) -> UtcReading: ...


def utc_text(moment: datetime) -> str:
    """Return RFC 3339 in UTC with microseconds, as in trail entries."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


@lru_cache(maxsize=4)
def _second_text(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat().removesuffix("+00:00")


def utc_now() -> str:
    """Return the time of the machine's clock as `utc_text` does. An append asks for it each time, most often in the same second."""
    second, nanosecond = divmod(time.time_ns(), 1_000_000_000)
    return f"{_second_text(second)}.{nanosecond // 1000:06}Z"


@dataclass(frozen=True, slots=True)
class SystemClock:
    """The machine's own clocks, at rate 1. `zone` and `sync` are stated by the deployment, not guessed."""

    zone: str = "UTC"
    sync: str = "unknown"

    @property
    def rate(self) -> Decimal:
        return _REAL

    def now(self) -> int:
        return time.monotonic_ns() // 1000

    def utc(self) -> UtcReading:
        return UtcReading(utc_now(), self.zone, self.sync)


@dataclass(slots=True)
class GrantedClock:
    """Process time that a bench grants (virtual time at a rate); UTC is real.

    Concurrency: `grant` is called by the one controller thread; `now` may be read from any thread.
    """

    granted_rate: Decimal
    zone: str = "UTC"
    sync: str = "unknown"
    _now: int = 0

    @property
    def rate(self) -> Decimal:
        return self.granted_rate

    def grant(self, now: int) -> None:
        if now < self._now:
            raise ValueError(f"process time cannot go back from {self._now} to {now}")
        self._now = now

    def now(self) -> int:
        return self._now

    def utc(self) -> UtcReading:
        return UtcReading(utc_now(), self.zone, self.sync)
