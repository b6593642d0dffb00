"""Days of the civil calendar, as ISO dates: differences and ends, without a clock.

Pure modules may not load `datetime`, which knows the time of day. Proleptic Gregorian calendar.
"""

from __future__ import annotations

import re

from audit.quantities import Day

_DATE = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])\Z")
_BEFORE = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)


def days_between(first: str, last: str) -> int:
    """Return the days from one ISO date to another (proleptic Gregorian calendar). Raises ValueError for anything else."""
    return ordinal(last) - ordinal(first)


def ordinal(day: str) -> int:
    """Return the number of an ISO date in the calendar, 0001-01-01 being 1."""
    match = _DATE.match(day)
    if match is None:
        raise ValueError(f"a date is of the form 2026-11-20, not {day!r}")
    year, month, date = (int(part) for part in match.groups())
    before = year - 1
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return before * 365 + before // 4 - before // 100 + before // 400 + _BEFORE[month - 1] + (leap and month > 2) + date


def iso_date(number: int) -> str:
    """Return the ISO date with this number, as `ordinal` counts."""
    year = number * 400 // 146097 + 2
    while ordinal(f"{year:04}-01-01") > number:
        year -= 1
    month = 12
    while ordinal(f"{year:04}-{month:02}-01") > number:
        month -= 1
    return f"{year:04}-{month:02}-{number - ordinal(f'{year:04}-{month:02}-01') + 1:02}"


def added(day: str, life: Day) -> str:
    """Return the last ISO date on which something made on `day` may be used, where it lasts this long (whole days, rounded down)."""
    return iso_date(ordinal(day) + int(life.value))
