"""The table of detection: what measures it works, and the page has a row for every fault and severity."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import pytest
from simulation import rate_and_bound

from tests.benchmarks.detection import FAULTS, PAGE, strike


def named(fault: str, severity: str) -> int:
    return next(index for index, item in enumerate(FAULTS) if (item.fault, item.severity) == (fault, severity))


def test_a_sudden_clog_is_noticed_in_seconds_and_costs_its_unit() -> None:
    struck = strike(FAULTS[named("clog, sudden", "nothing passes")], "hydrocortisone", 2, 11)
    assert struck is not None
    assert struck.seconds is not None
    assert struck.seconds < 3.5
    assert (struck.lost, struck.bad_accepted) == (1, 0)


def test_another_strength_is_not_noticed_and_the_table_says_what_was_accepted() -> None:
    struck = strike(FAULTS[named("wrong strength", "+15 %, same mass and flow")], "hydrocortisone", 1, 11)
    assert struck is not None
    assert (struck.alarm, struck.seconds, struck.lost) == (None, None, 0)
    assert struck.bad_accepted > 0
    assert struck.accepted_error is not None
    assert struck.accepted_error > 10


def test_the_page_has_every_severity_once() -> None:
    rows = [line.split("|")[1:3] for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")][1:]
    assert [(fault.strip(), severity.strip()) for fault, severity in rows] == [(item.fault, item.severity) for item in FAULTS]


@pytest.mark.parametrize(("events", "units"), [(0, 10), (1, 1000), (3, 400)])
def test_the_bound_is_where_as_few_events_come_with_five_percent(events: int, units: int) -> None:
    rate, bound = rate_and_bound(events, units)
    p = Fraction(bound / 1000)
    few = sum(comb(units, k) * p**k * (1 - p) ** (units - k) for k in range(events + 1))
    assert rate == 1000 * events / units
    assert float(few) == pytest.approx(0.05, rel=1e-6)


def test_no_event_in_many_units_is_the_rule_of_three() -> None:
    assert rate_and_bound(0, 3000)[1] == pytest.approx(1.0, rel=0.002)
