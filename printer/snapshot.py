"""Every reading with its age and quality. A stale reading is a fault, never a value."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple


class Quality(StrEnum):
    GOOD = "good"
    STALE = "stale"
    UNKNOWN = "unknown"


class Reading(NamedTuple):
    """The last value of one sensor. `at` is process time in µs of its receipt; older than `limit_us` it is stale."""

    unit: str
    limit_us: int
    value: Decimal | None = None
    at: int | None = None

    def taken(self, value: Decimal, now: int) -> Reading:
        return Reading(self.unit, self.limit_us, value, now)

    def age_us(self, now: int) -> int | None:
        return None if self.at is None else now - self.at

    def quality(self, now: int) -> Quality:
        age = self.age_us(now)
        if age is None:
            return Quality.UNKNOWN
        return Quality.STALE if age > self.limit_us else Quality.GOOD


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that is measured on a cell, one reading per sensor."""

    pressure: Reading
    nozzle: Reading
    plate: Reading
    balance: Reading
    link: Reading
