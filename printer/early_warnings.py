"""Early warnings: what a person should know before a limit stops the run. Set point, deadband and delays are the definitions'.

A condition stands once it has been beyond its set point for the delay, and is gone once it has been inside the deadband for
the off-delay (ISA-18.2 clause 10); between the two nothing changes, so that a value that hovers does not chatter.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from audit.quantities import EXACT, plain_text, round_to
from printer.acceptance import Criteria, Judgement
from printer.alarms import DEFINITIONS, AlarmName, Setting
from printer.plan import Limits

LINES_PER_WINDOW = 500
_RESENDS_PER_WINDOW = 10


@dataclass(frozen=True, slots=True)
class Crossing:
    """A warning's condition has begun to stand, with what was seen, or has gone (None)."""

    name: AlarmName
    message: str | None


class Level:
    """One condition with its deadband and delays.

    Concurrency: owned by the run machine.
    """

    def __init__(self, setting: Setting) -> None:
        self._on_us, self._off_us = setting.delay_us, setting.off_delay_us
        self.stands = False
        self._since: int | None = None

    def judge(self, now: int, *, beyond: bool, inside: bool) -> bool:
        """Take one look; return whether the condition has begun to stand or has gone with it."""
        wanted = inside if self.stands else beyond
        if not wanted:
            self._since = None
            return False
        if self._since is None:
            self._since = now
        if now - self._since < (self._off_us if self.stands else self._on_us):
            return False
        self.stands, self._since = not self.stands, None
        return True

    def pause(self) -> None:
        """Nothing can be judged now: a delay that has begun counts anew."""
        self._since = None


class EarlyWarnings:
    """The levels of one run. Each method returns what has crossed.

    Concurrency: owned by the run machine.
    """

    def __init__(self, limits: Limits) -> None:
        self._levels = {name: Level(d.setting) for name, d in DEFINITIONS.items() if d.is_warning}
        self._near_pressure, self._near_band = self._levels[AlarmName.PRESSURE_NEAR_LIMIT], self._levels[AlarmName.NOZZLE_NEAR_LIMIT]
        self.use(limits)
        self._settling = tuple(int(part) for part in _thresholds(AlarmName.BALANCE_SLOW, Decimal(limits.weighing_timeout_us)))
        self._lines = self._resends = 0
        self._weighing_us: int | None = None
        self._trends: dict[int, int] = {}

    def use(self, limits: Limits) -> None:
        """Judge by the limits of the head that is in use from now on."""
        self._limits = limits
        self._pressure = _thresholds(AlarmName.PRESSURE_NEAR_LIMIT, limits.pressure_high.value)
        self._nozzle = _thresholds(AlarmName.NOZZLE_NEAR_LIMIT, EXACT.subtract(limits.nozzle_high.value, limits.nozzle_set.value))
        self._near_pressure.pause()
        self._near_band.pause()

    def pause(self, name: AlarmName) -> None:
        """A warning is suppressed by design: it is not judged."""
        self._levels[name].pause()

    def pressure(self, value: Decimal | None, now: int) -> Crossing | None:
        if value is None:
            return None
        beyond, inside = self._pressure
        if not self._near_pressure.judge(now, beyond=value >= beyond, inside=value < inside):
            return None
        return self._crossing(AlarmName.PRESSURE_NEAR_LIMIT, f"{value} kPa, limit {self._limits.pressure_high.text} kPa")

    def nozzle(self, value: Decimal | None, now: int) -> Crossing | None:
        limits = self._limits
        if value is None:
            return None
        beyond, inside = self._nozzle
        away = abs(value - limits.nozzle_set.value)
        if not self._near_band.judge(now, beyond=away >= beyond, inside=away < inside):
            return None
        text = f"{value} degC, validated {limits.nozzle_low.text} to {limits.nozzle_high.text} degC"
        return self._crossing(AlarmName.NOZZLE_NEAR_LIMIT, text)

    def near_set_point(self, value: Decimal | None) -> bool:
        """Whether the nozzle is inside the deadband of its warning."""
        return value is not None and abs(value - self._limits.nozzle_set.value) < self._nozzle[1]

    def weighing(self, lasted_us: int | None, now: int) -> Crossing | None:
        """Take for how long a weighing has lasted by now, None where none is under way."""
        before, self._weighing_us = self._weighing_us, lasted_us
        if lasted_us is None and before is None:
            return None
        beyond, inside = self._settling
        if lasted_us is not None:
            text = f"no weight after {lasted_us // 1_000_000} s, the weighing ends at {self._limits.weighing_timeout_us // 1_000_000} s"
            return self._cross(AlarmName.BALANCE_SLOW, now, lasted_us >= beyond, False, text)
        done = before is not None and before < inside
        return self._cross(AlarmName.BALANCE_SLOW, now, False, done, "")

    def line_taken(self, resends: int, now: int) -> Crossing | None:
        """Count a line that the printer has taken; `resends` is the count of lines sent again since the link was opened."""
        self._lines += 1
        if self._lines < LINES_PER_WINDOW:
            return None
        again, self._lines, self._resends = resends - self._resends, 0, resends
        back = _RESENDS_PER_WINDOW * DEFINITIONS[AlarmName.LINK_RESENDS].setting.back // 100
        text = f"{again} lines sent again among the last {LINES_PER_WINDOW}"
        return self._cross(AlarmName.LINK_RESENDS, now, again >= _RESENDS_PER_WINDOW, again <= back, text)

    def unit(self, n: int, criteria: Criteria, judgement: Judgement, now: int, head: int = 0) -> Crossing | None:
        """Take the judgement of a unit: two in succession of one head beyond half the tolerance on the same side are a trend."""
        allowed = criteria.target * criteria.tolerance.fraction
        away = judgement.mass - criteria.target
        half = EXACT.divide(EXACT.multiply(allowed.value, Decimal(_setting(AlarmName.MASS_TREND).level)), Decimal(100))
        side = 0 if abs(away.value) <= half else (1 if away.value > 0 else -1)
        trend = self._trends.get(head, 0)
        self._trends[head] = trend = 0 if side == 0 else (trend + side if trend * side >= 0 else side)
        gone = not any(self._trends.values())
        share = plain_text(round_to(EXACT.divide(EXACT.multiply(away.value, Decimal(100)), allowed.value), 0))
        text = f"unit {n} is at {share} % of its tolerance, the one before it on the same side"
        return self._cross(AlarmName.MASS_TREND, now, abs(trend) >= 2, gone, text)

    def _cross(self, name: AlarmName, now: int, beyond: bool, inside: bool, text: str) -> Crossing | None:
        return self._crossing(name, text) if self._levels[name].judge(now, beyond=beyond, inside=inside) else None

    def _crossing(self, name: AlarmName, text: str) -> Crossing:
        return Crossing(name, text if self._levels[name].stands else None)


def _setting(name: AlarmName) -> Setting:
    return DEFINITIONS[name].setting


def _thresholds(name: AlarmName, limit: Decimal) -> tuple[Decimal, Decimal]:
    """Return where a warning is raised and below what it has gone, in the unit of its limit."""
    setting = _setting(name)
    return (
        EXACT.divide(EXACT.multiply(limit, Decimal(setting.level)), Decimal(100)),
        EXACT.divide(EXACT.multiply(limit, Decimal(setting.back)), Decimal(100)),
    )
