"""Purge units of the start-up calibration: what one is to be, and whether the balance can judge it."""

from __future__ import annotations

from dataclasses import replace

from audit.quantities import EXACT, Milligram
from recipes.capability import SHARE_OF_TOLERANCE
from recipes.dose import DoseResult, StrengthPlan
from recipes.model import InkLot, MachineProfile, Recipe


def plan_purge(recipe: Recipe, dose: DoseResult, ink: InkLot) -> StrengthPlan | None:
    """Return what a purge unit is to be, None where the recipe has no start-up calibration. Its mass is that of its volume of ink."""
    start = recipe.control.start_up_calibration
    if start is None:
        return None
    mass = Milligram(EXACT.multiply(start.volume.value, ink.density.value))
    return replace(dose.strengths[0], units=start.units, intakes=(), target_mass=mass, target_volume=start.volume)


def purge_reasons(purge: StrengthPlan | None, recipe: Recipe, machine: MachineProfile) -> list[str]:
    """Return why the balance cannot tell whether a purge unit is within its tolerance."""
    start = recipe.control.start_up_calibration
    if purge is None or start is None:
        return []
    tolerance = purge.target_mass * start.tolerance.fraction
    if machine.balance.expanded_uncertainty * SHARE_OF_TOLERANCE <= tolerance:
        return []
    return [
        f"purge units of {purge.target_mass.rounded(2)} have a tolerance of ± {tolerance.rounded(2)}; the expanded uncertainty of the "
        f"balance of {machine.id}, {machine.balance.expanded_uncertainty}, is more than a quarter of it: use a cell with a finer balance"
    ]
