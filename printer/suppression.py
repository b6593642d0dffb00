"""Suppression by design (ISA-18.2 clause 12, state H): which alarms the situation of a run makes meaningless, in one place."""

from __future__ import annotations

from typing import NamedTuple, assert_never

from printer.alarms import Suppression


class Situation(NamedTuple):
    """What suppression depends on. `extruding_us`: for how long ink has been pushed without a pause, None where it is not.

    `column_us` is the time that the ink column has to build its pressure, `settled` that the nozzle has been near its set
    point since it was heated, `moving` that a unit is being printed.
    """

    active: bool
    hot: bool
    settled: bool
    moving: bool
    extruding_us: int | None
    column_us: int


def suppressed(rule: Suppression, situation: Situation) -> bool:
    """Return whether an alarm of this rule is suppressed now."""
    match rule:
        case Suppression.NEVER:
            return False
        case Suppression.AT_REST | Suppression.NOT_EXTRUDING:
            # What was seen while ink was pushed stands, also where the last push has just ended.
            return not situation.active
        case Suppression.COLUMN:
            return not situation.active or situation.extruding_us is None or situation.extruding_us < situation.column_us
        case Suppression.NOT_HOT:
            return not situation.active or not situation.hot
        case Suppression.NOT_SETTLED:
            return not situation.active or not situation.settled
        case Suppression.AXES_MOVE:
            return not situation.active or situation.moving
        case _:
            assert_never(rule)
