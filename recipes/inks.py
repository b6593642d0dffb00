"""Ink lots and cartridges: may this ink serve this recipe today, and is there enough of it.

Each check returns reasons; nothing is converted, capped or assumed. Dates are ISO texts (`2026-11-20`); the last day of
use is the day named.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR

from audit.quantities import EXACT, Microlitre
from audit.release.legal_routes import REAL_TIME
from recipes.civil_days import added, days_between
from recipes.figures import Q
from recipes.model import Cartridge, InkLot, MachineProfile, Parameter, Recipe

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")


def active_mismatches(recipe: Recipe, moiety: str, basis: str, what: str) -> tuple[str, ...]:
    """Return why the active named on `what` is not the one of the recipe.

    A strength in salt, hydrate or another basis is never converted: 1 mg of one form is not 1 mg of the other.
    """
    reasons = []
    if moiety != recipe.active.moiety:
        reasons.append(
            f"{what} names {moiety}, recipe {recipe.reference} is for {recipe.active.moiety}; choose the recipe or the item that fits"
        )
    elif basis != recipe.active.basis:
        reasons.append(
            f"{what} states {moiety} as {basis}, recipe {recipe.reference} as {recipe.active.basis}; "
            f"have it restated as {recipe.active.basis} at its origin, it is not converted here"
        )
    return tuple(reasons)


def specification_mismatches(recipe: Recipe, ink: InkLot) -> tuple[str, ...]:
    """Return why the ink lot's certificate does not meet the recipe's ink specification; empty if it does."""
    what = f"ink lot {ink.lot}"
    reasons = list(active_mismatches(recipe, ink.moiety, ink.basis, what))
    specification = recipe.ink
    if ink.ink != specification.ink:
        reasons.append(f"{what} is ink {ink.ink}, the recipe needs {specification.ink}; choose another lot")
    if ink.preparation is not None and specification.on_site is None:
        reasons.append(
            f"{what} was prepared on site and its strength is theoretical, which recipe {recipe.reference} does not permit; "
            "take a lot with a certificate of analysis"
        )
    if ink.preparation is not None:
        reasons.extend(f"{what}: {reason}; discard the lot" for reason in ink.preparation.expired)
    reasons.extend(_outside(what, "strength", ink.assay, specification.strength))
    reasons.extend(_outside(what, "density", ink.density, specification.density))
    for name, uncertainty, value, largest in (
        ("strength", ink.assay_uncertainty.value, ink.assay.value, specification.largest_assay_uncertainty),
        ("density", ink.density_uncertainty.value, ink.density.value, specification.largest_density_uncertainty),
    ):
        if EXACT.divide(uncertainty, value) > largest.fraction:
            reasons.append(f"{what}: the uncertainty of its {name} is above {largest}; have the {name} determined again")
    return tuple(reasons)


def ink_reasons(recipe: Recipe, ink: InkLot, today: str) -> tuple[str, ...]:
    """Return why the ink lot may not be used today for this recipe; empty if it may."""
    reasons = list(specification_mismatches(recipe, ink))
    if _iso(today) > ink.expires:
        reasons.append(f"ink lot {ink.lot} expired on {ink.expires}, today is {today}; quarantine it and choose a lot in date")
    return tuple(reasons)


def release_reasons(recipe: Recipe, inks: Sequence[InkLot]) -> tuple[str, ...]:
    """Return why units of these inks could not be released as the recipe says: theoretical strength is not for real-time release."""
    if REAL_TIME not in recipe.authorised:
        return ()
    return tuple(
        f"ink lot {ink.lot} has a theoretical strength, and recipe {recipe.reference} is for real-time release; take an assayed lot"
        for ink in inks
        if ink.preparation is not None
    )


@dataclass(frozen=True, slots=True)
class UseBy:
    """The last day on which the units of a batch may be used, and what sets it."""

    day: str
    because: str


def use_by(recipe: Recipe, sources: Sequence[tuple[InkLot, Cartridge]], today: str) -> UseBy | None:
    """Return the use-by of units printed today: the earliest of their life in the pack, the inks' expiry and the cartridges' in-use life.

    None where the recipe states no pack: how long its units last is then not known, and the batch has no use-by.
    """
    if recipe.pack is None:
        return None
    ends = [
        UseBy(added(_iso(today), recipe.pack.unit_life), f"a unit lasts {recipe.pack.unit_life.text} days in {recipe.pack.description}")
    ]
    for ink, cartridge in sources:
        ends.append(UseBy(ink.expires, f"ink lot {ink.lot} expires"))
        ends.append(UseBy(cartridge.in_use_until, f"cartridge {cartridge.serial} is in use until then"))
    return min(ends, key=lambda end: end.day)


def course_reasons(recipe: Recipe, sources: Sequence[tuple[InkLot, Cartridge]], days: int, today: str) -> tuple[str, ...]:
    """Return why a course of this many days, begun on the day of printing, cannot be printed today; empty if it can."""
    end = use_by(recipe, sources, today)
    if end is None:
        return ()
    fitting = days_between(today, end.day) + 1
    if days <= fitting:
        return ()
    rest = f"have at most {fitting} days prescribed" if fitting > 0 else "nothing can be printed from it"
    return (f"a course of {days} days runs past the use-by of the batch, {end.day} ({end.because}); {rest}, or take a fresher cartridge",)


def batch_need(recipe: Recipe, units: Sequence[Microlitre]) -> Microlitre:
    """Return the volume of ink a run takes: priming at its set point, purge units, and the net volume of every unit."""
    total = _before_units(recipe)
    for volume in units:
        total = total + volume
    return total


def cartridge_reasons(
    recipe: Recipe, ink: InkLot, cartridge: Cartridge, machine: MachineProfile, units: Sequence[Microlitre], today: str
) -> tuple[str, ...]:
    """Return why the cartridge may not serve a run of these unit volumes today; empty if it may.

    One cartridge serves one run, so the whole need, priming included, must be there above the heel that the head
    cannot push out.
    """
    what = f"cartridge {cartridge.serial}"
    reasons = []
    if cartridge.ink_lot != ink.lot:
        reasons.append(f"{what} holds ink lot {cartridge.ink_lot}, the order names {ink.lot}; take a cartridge of that lot")
    if _iso(today) > cartridge.in_use_until:
        reasons.append(f"{what} was to be used until {cartridge.in_use_until}, today is {today}; discard it and open another")
    if cartridge.opened > today:
        reasons.append(f"{what} is entered as opened on {cartridge.opened}, which is after today, {today}; correct the date")
    in_use = recipe.ink.longest_in_use
    if in_use is not None and days_between(cartridge.opened, cartridge.in_use_until) > in_use.value:
        reasons.append(
            f"{what} was opened on {cartridge.opened} and is entered as in use until {cartridge.in_use_until}, recipe {recipe.reference} "
            f"allows {in_use}; correct the entry"
        )
    if cartridge.filled > machine.cartridge_capacity:
        reasons.append(
            f"{what} is entered with {cartridge.filled}, the head {machine.id} takes {machine.cartridge_capacity.text} at most; "
            "correct the entry"
        )
    longest = recipe.ink.longest_at_temperature
    if cartridge.warm is not None and cartridge.warm >= longest:
        reasons.append(f"{what} was at temperature for {cartridge.warm.rounded(2)}, {longest} are allowed; discard it and open another")
    usable = cartridge.remaining - machine.cartridge_heel
    need = batch_need(recipe, units)
    if need > usable:
        reasons.append(_too_small(what, recipe, usable, need, units))
    return tuple(reasons)


def _too_small(what: str, recipe: Recipe, usable: Microlitre, need: Microlitre, units: Sequence[Microlitre]) -> str:
    prime = _before_units(recipe)
    before = "priming" if recipe.control.start_up_calibration is None else "priming and purge units"
    largest = max(units, default=Microlitre(1))
    room = usable - prime
    fitting = int(room.ratio(largest).to_integral_value(rounding=ROUND_FLOOR)) if room.value > 0 else 0
    split = f", or have a course of at most {fitting} units prescribed" if fitting else ""
    return (
        f"{what} has {usable.rounded(1)} to give, {len(units)} units and {prime} of {before} need {need.rounded(1)}; "
        f"one cartridge serves one run: take a fuller cartridge{split}"
    )


def _before_units(recipe: Recipe) -> Microlitre:
    """What priming and the purge units take, each purge unit with the largest correction."""
    total, start = recipe.parameters.prime_volume.set_point, recipe.control.start_up_calibration
    if start is None:
        return total
    return total + start.volume * (start.units * (1 + start.largest.fraction))


def _outside(what: str, name: str, value: Q, allowed: Parameter[Q]) -> tuple[str, ...]:
    if allowed.holds(value):
        return ()
    return (f"{what}: {name} {value} is outside {allowed.low.text} to {allowed.high}; choose a lot within the specification",)


def _iso(today: str) -> str:
    if not _DATE.match(today):
        raise ValueError(f"today must be a date such as 2026-11-20, not {today!r}")
    return today
