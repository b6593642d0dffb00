"""The gate on the ink of a run: whether lots and cartridges are in date for as long as the run takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal

from audit.quantities import EXACT, Hour, Microlitre
from printer.plan import PlannedUnit, Supply
from printer.readiness import Gate
from printer.supply import minutes, time_needed_us
from recipes.order import Cartridge, InkLot

PREPARING_US = 300_000_000
"""How long heating, homing and priming take, at most about."""
_DAY_S = 86_400
_NAME = "ink lot and cartridge"


def supply_of(
    ink: InkLot,
    cartridge: Cartridge,
    *,
    heel: Microlitre,
    prime: Microlitre,
    rate: str,
    today: str,
    left_of_day_s: int,
    longest_warm: Hour | None = None,
) -> Supply:
    """Return what a cartridge can give, and until when: the last day of use is the earlier of its own and its ink's, and counts whole.

    `left_of_day_s` is how much of `today` is left at the site, in seconds; `rate` that of process time.
    `longest_warm` is how long the ink may be at temperature, over all runs of the cartridge; what earlier runs took of it is gone.
    """
    last = min(cartridge.in_use_until, ink.expires)
    what = f"cartridge {cartridge.serial} may be used" if last == cartridge.in_use_until else f"ink lot {ink.lot} may be used"
    days = (date.fromisoformat(last) - date.fromisoformat(today)).days
    life = EXACT.multiply(Decimal(max(0, days * _DAY_S + left_of_day_s)), Decimal(rate))
    what = f"{what} until {last}"
    if longest_warm is not None:
        left = EXACT.multiply(max(Decimal(0), longest_warm.value - (cartridge.warm or Hour(0)).value), Decimal(3600))
        if left < life:
            life, what = left, f"cartridge {cartridge.serial} may be at temperature for {longest_warm} over all runs"
    return Supply(
        what=what,
        give_nl=int((cartridge.remaining - heel).value * 1000),
        prime_nl=int(prime.value * 1000),
        life_us=int(life * 1_000_000),
    )


def supply_gate(sources: Sequence[tuple[InkLot, Cartridge]], supplies: Sequence[Supply], units: Iterable[PlannedUnit]) -> Gate:
    """Judge whether ink and cartridge are in date for as long as the run takes. That there is enough ink was proved with the program.

    `sources` in the order of the heads; `supplies` likewise, or empty where the time of day is not known.
    """
    evidence = "; ".join(f"lot {ink.lot}, expires {ink.expires}; cartridge {cartridge.serial}" for ink, cartridge in sources)
    if not supplies:
        return Gate(_NAME, True, evidence)
    needed = PREPARING_US + time_needed_us(units)
    short = [f"{supply.what}, which is {minutes(supply.life_us)} more" for supply in supplies if needed > supply.life_us]
    if short:
        text = f"{' and '.join(short)}, and the run needs about {minutes(needed)}"
        return Gate(_NAME, False, f"{text}; take a cartridge of a lot that may be used longer, or have a shorter course prescribed")
    return Gate(_NAME, True, f"{evidence}; the run needs about {minutes(needed)}, {' and '.join(supply.what for supply in supplies)}")
