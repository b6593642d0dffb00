"""The ink of a run, watched: what its cartridge can give and for how long it may be used, against what the batch still needs.

Before the start this is a gate (`printer/supply_gate.py`); in the run it is watched, because a pause takes time and a correction takes
ink. Volumes are whole nL, times µs of process time. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from audit.quantities import EXACT, plain_text, round_to
from printer.alarms import DEFINITIONS, AlarmName
from printer.early_warnings import Crossing, Level
from printer.plan import PlannedUnit, Supply

WEIGHING_US = 12_000_000
"""How long settling and both weighings of a unit take, about."""
_LOOK_US = 10_000_000


def time_needed_us(units: Iterable[PlannedUnit]) -> int:
    """Return about how long units take: printing as it was proved, and weighing."""
    return sum(unit.duration_us + WEIGHING_US for unit in units)


class SupplyWatch:
    """Follows ink and its life through one run; with two heads, each has its own. What ends first counts.

    Concurrency: owned by the run machine.
    """

    def __init__(self, supplies: Sequence[Supply]) -> None:
        """`supplies` in the order of the heads; empty where the time of day is not known."""
        setting = DEFINITIONS[AlarmName.INK_SHORT].setting
        self._first_over = min(supplies, key=lambda supply: supply.life_us, default=None)
        self._inks = [_Ink(supply, Level(setting)) for supply in supplies]
        self._life = Level(DEFINITIONS[AlarmName.LIFE_ENDS].setting)
        self._setting = setting
        self._began: int | None = None
        self._look_at = 0

    def begin(self, now: int) -> None:
        """Count the life of the ink from now: the run is prepared."""
        if self._began is None:
            self._began = now

    def life_over(self, now: int) -> str | None:
        """Return why no further unit may be begun, None while the ink may be used."""
        supply = self._first_over
        if supply is None or self._began is None or now - self._began <= supply.life_us:
            return None
        return f"{supply.what}, and that day is over"

    def due(self, now: int) -> bool:
        """Whether it is time to look again: every ten seconds."""
        return now >= self._look_at and self._first_over is not None

    def look(self, left: Iterable[PlannedUnit], now: int) -> Crossing | None:
        """Look whether the life of the ink ends before the run; `left` are the units still to be printed."""
        supply = self._first_over
        if supply is None or self._began is None:
            return None
        self._look_at = now + _LOOK_US
        needed, life = time_needed_us(left), self._began + supply.life_us - now
        if not self._life.judge(now, beyond=needed > life, inside=needed <= life):
            return None
        text = f"{supply.what}, which is {minutes(max(0, life))} more; the units that remain need about {minutes(needed)}"
        return Crossing(AlarmName.LIFE_ENDS, text if self._life.stands else None)

    def used(self, unit: PlannedUnit, left: Iterable[PlannedUnit], factor: Decimal, now: int) -> Crossing | None:
        """Take a unit that was printed; `factor` is the flow factor of the next, `left` are the units still to be printed, as planned."""
        if unit.head >= len(self._inks):
            return None
        ink = self._inks[unit.head]
        ink.pushed_nl += unit.cumulative_nl[-1] if unit.cumulative_nl else 0
        mine = [one for one in left if one.head == unit.head]
        give = ink.supply.give_nl - ink.supply.prime_nl - ink.pushed_nl
        planned = sum((one.target_volume.value for one in mine), Decimal(0))
        need = int(EXACT.multiply(EXACT.multiply(planned, factor), Decimal(1000)).to_integral_value(rounding=ROUND_CEILING))
        beyond, inside = need * 100 > give * self._setting.level, need * 100 <= give * self._setting.back
        if not ink.level.judge(now, beyond=beyond and bool(mine), inside=inside or not mine):
            return None
        which = f" in head {unit.part}" if unit.part else ""
        ink.text = f"the cartridge{which} has {_microlitres(give)} to give, the {len(mine)} units that remain need {_microlitres(need)}"
        short = [one.text for one in self._inks if one.level.stands]
        return Crossing(AlarmName.INK_SHORT, "; ".join(short) or None)


@dataclass(slots=True)
class _Ink:
    """What one head has, what it has pushed, and whether that is short."""

    supply: Supply
    level: Level
    pushed_nl: int = 0
    text: str = ""


def minutes(span_us: int) -> str:
    """Return a span of time as people say it, rounded up to a minute."""
    whole = -(-span_us // 60_000_000)
    return f"{whole} min" if whole < 120 else f"{whole // 60} h {whole % 60:02d} min"


def _microlitres(volume_nl: int) -> str:
    return f"{plain_text(round_to(EXACT.divide(Decimal(volume_nl), Decimal(1000)), 1))} uL"
