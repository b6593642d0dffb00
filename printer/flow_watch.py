"""Watch the flow through its pressure: an expectation learned from the accepted units of the run, and what leaves it.

At a steady flow the nozzle asks for a steady pressure: a clog asks for more, air, an empty cartridge, a leak or a slipping
drive for less, all of them seconds after they begin and long before the unit is weighed. The expectation is the mean
pressure of the steady part of the accepted units; in the first unit it is that of the unit's own first steady second.
Where the link or the firmware starves the drive, less is pushed than the set point and less pressure is right: the volume
taken by the printer tells, and the pressure is left to build up again. A sensor whose value never changes while ink is
pushed is not a sensor.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from decimal import Decimal

from audit.quantities import EXACT, plain_text, round_to

BAND = Decimal("0.10")
"""How far from its expectation the pressure may be; the steady part of a good unit stays within 2 %."""

WINDOW_US = 500_000
"""The stretch of extrusion of one mean: 50 readings of a hub, ten of a transmitter that is polled every 50 ms."""

_FEWEST = 4
"""Readings that a mean must have: where fewer come, its window lasts longer."""
_LASTS = 4
_STEADY = Decimal("0.03")
_RAMP_US = 6_000_000
_STUCK_US = 3_000_000
_STUCK_READINGS = 20
_OWN = 3
_WEIGHT = Decimal("0.3")
_HEARD = 8
_STARVED, _STOPPED = 40, 20
"""Percent of the flow set point over eight and over four means; travels and changes of layer take their share of a good unit too."""


class FlowWatch:
    """The expectation of one run and the deviations of the unit in progress. Pressures in kPa.

    Concurrency: owned by the run machine.
    """

    def __init__(self, floor: Decimal, flow_nl_per_s: int) -> None:
        """`floor`: the alarm limit below which pressure is low anyway. `flow_nl_per_s`: the flow set point."""
        self._floor = floor
        self._flow = flow_nl_per_s
        self.expected: Decimal | None = None
        self._learned = 0
        self.begin_unit()

    def begin_unit(self) -> None:
        self.deviation: str | None = None
        self.stuck: str | None = None
        self._sum, self._count = Decimal(0), 0
        self._from = 0
        self._before: Decimal | None = None
        self._steady = False
        self._ramp_from = 0
        self._taken: deque[tuple[int, int]] = deque(maxlen=_HEARD + 1)
        self._own: list[Decimal] = []
        self._level_sum, self._level_count = Decimal(0), 0
        self._high = self._low = 0
        self._last: Decimal | None = None
        self._same = self._same_from = 0

    def unit_accepted(self) -> None:
        """Learn the steady level of a unit that was accepted."""
        if self._level_count == 0:
            return
        level = EXACT.divide(self._level_sum, Decimal(self._level_count))
        self._learned += 1
        weight = max(_WEIGHT, EXACT.divide(Decimal(1), Decimal(self._learned)))
        known = level if self.expected is None else self.expected
        self.expected = EXACT.add(known, EXACT.multiply(weight, EXACT.subtract(level, known)))

    def readings(self, values: Sequence[Decimal], extruding_us: int, commanded_nl: int) -> None:
        """Take readings made while ink is pushed; `extruding_us` is for how long without a pause, `commanded_nl` taken by now."""
        if extruding_us < self._from:
            self._from = 0  # extrusion began anew since the last reading
        first = values[0]
        if first == self._last and values.count(first) == len(values):
            self._same += len(values)
            lasts = extruding_us - self._same_from
            if lasts >= _STUCK_US and self._same >= _STUCK_READINGS and first >= self._floor:
                self.stuck = f"{plain_text(first)} kPa in {self._same} readings while extruding"
        else:
            self._same, self._same_from = 0, extruding_us
        self._last = values[-1]
        self._sum = sum(values, self._sum)
        self._count += len(values)
        if extruding_us - self._from >= WINDOW_US and self._count >= _FEWEST:
            mean = EXACT.divide(self._sum, Decimal(self._count))
            self._sum, self._count, self._from = Decimal(0), 0, extruding_us
            self._taken.append((extruding_us, commanded_nl))
            self._window(mean, extruding_us)
            self._before = mean

    def paused(self) -> None:
        """Nothing is pushed: what was begun of a mean does not count."""
        self._sum, self._count, self._from = Decimal(0), 0, 0
        self._last, self._same, self._same_from = None, 0, 0

    def _window(self, mean: Decimal, extruding_us: int) -> None:
        expected = self.expected if self.expected is not None else self._own_level()
        if expected is not None and mean > expected * (1 + BAND):
            self._high += 1
        else:
            self._high = 0
        if self._starved():
            self._steady, self._ramp_from = False, extruding_us
        elif not self._steady:
            self._steady = extruding_us - self._ramp_from >= _RAMP_US or self._settled(mean, expected)
        if self._steady and expected is not None and mean < expected * (1 - BAND):
            self._low += 1
        else:
            self._low = 0
        if self._steady and self._high == self._low == 0:
            self._learn(mean)
        if max(self._high, self._low) >= _LASTS and expected is not None:
            shown, wanted = plain_text(round_to(mean, 1)), plain_text(round_to(expected, 1))
            self.deviation = f"{shown} kPa where {wanted} kPa is expected, for {_LASTS * WINDOW_US // 1_000_000} s of extrusion"

    def _starved(self) -> bool:
        """Whether the printer has taken clearly less than the flow set point over the last seconds."""
        return any(len(self._taken) > means and self._share(means) < percent for means, percent in ((_LASTS, _STOPPED), (_HEARD, _STARVED)))

    def _share(self, means: int) -> int:
        """Percent of the flow set point that was taken over the last means."""
        (since, before), (until, after) = self._taken[-1 - means], self._taken[-1]
        return (after - before) * 100_000_000 // (self._flow * max(1, until - since))

    def _settled(self, mean: Decimal, expected: Decimal | None) -> bool:
        if self._before is None or mean < self._floor:
            return False
        if expected is not None:
            return mean >= expected * (1 - BAND)
        return abs(mean - self._before) <= mean * _STEADY

    def _learn(self, mean: Decimal) -> None:
        if len(self._own) < _OWN:
            self._own.append(mean)
        self._level_sum += mean
        self._level_count += 1

    def _own_level(self) -> Decimal | None:
        return EXACT.divide(sum(self._own, Decimal(0)), Decimal(_OWN)) if len(self._own) == _OWN else None
