"""Temperatures that are judged while a unit is printed: those of the plate as those of the nozzle."""

from __future__ import annotations

from decimal import Decimal

import pytest

from printer.alarms import AlarmName
from printer.planned_units import limits_of
from printer.watch import Watch
from recipes.library import load_recipe

LIMITS = limits_of(load_recipe("hydrocortisone"))
SECOND = 1_000_000


def reported(plate: str | None, *, seconds: int, begin: int = 0, watch: Watch | None = None) -> Watch:
    """A report each second, the nozzle at its set point."""
    watch = watch or Watch(LIMITS)
    for second in range(begin, begin + seconds + 1):
        watch.temperature((LIMITS.nozzle_set.value,), None if plate is None else Decimal(plate), second * SECOND)
    return watch


def named(watch: Watch, second: int) -> list[AlarmName]:
    return [condition.name for condition in watch.process(second * SECOND)]


@pytest.mark.parametrize("plate", ["54.9", "65.1"])
def test_a_plate_outside_its_range_is_an_alarm_after_the_recipes_delay(plate: str) -> None:
    delay = LIMITS.temperature_delay_us // SECOND
    watch = reported(plate, seconds=delay)
    assert named(watch, delay - 1) == []
    assert named(watch, delay) == [AlarmName.PLATE_TEMPERATURE]
    assert f"{plate} degC, validated 55 to 65 degC" in watch.process(delay * SECOND)[0].message


@pytest.mark.parametrize("plate", ["55", "60.3", "65"])
def test_a_plate_inside_its_range_is_none(plate: str) -> None:
    assert named(reported(plate, seconds=60), 60) == []


def test_a_plate_that_came_back_begins_anew() -> None:
    delay = LIMITS.temperature_delay_us // SECOND
    watch = reported("54", seconds=delay - 1)
    reported("60", seconds=0, begin=delay, watch=watch)
    reported("54", seconds=delay - 1, begin=delay + 1, watch=watch)
    assert named(watch, 2 * delay) == []


def test_reports_that_leave_the_plate_out_are_no_reports_of_it() -> None:
    limit = LIMITS.temperature_stale_us // SECOND
    watch = reported("60", seconds=1)
    watch.begin_watching(0)
    reported(None, seconds=limit + 1, begin=2, watch=watch)
    stale = [condition for condition in watch.silent((limit + 3) * SECOND) if condition.name is AlarmName.TEMPERATURE_STALE]
    assert [condition.message for condition in stale] == ["no temperature of the plate in the reports"]


def test_the_lowest_and_the_highest_of_a_unit_are_kept() -> None:
    watch = reported("60", seconds=1)
    watch.begin_unit(2 * SECOND)
    for second, plate in enumerate(("60.4", "59.2", "60.9"), start=3):
        reported(plate, seconds=0, begin=second, watch=watch)
    assert (watch.plate_min, watch.plate_max) == (Decimal("59.2"), Decimal("60.9"))
