"""Can this machine's balance, and the totals of its firmware, judge the units of this recipe.

A weighing whose expanded uncertainty exceeds a quarter of the tolerance cannot tell a good unit from a bad one well
enough (decision rule with a test uncertainty ratio of 4:1, as JCGM 106 and ISO 14253-1 discuss it).
"""

from __future__ import annotations

from collections.abc import Sequence

from audit.quantities import Microlitre, Milligram, Millimetre
from recipes.model import MachineProfile, Recipe

SHARE_OF_TOLERANCE = 4
_VALIDATED_STEP = Millimetre("0.01")


def balance_reasons(recipe: Recipe, machine: MachineProfile, targets: Sequence[Milligram]) -> tuple[str, ...]:
    """Return why the balance cannot judge units of these target masses; empty if it can."""
    balance = machine.balance
    reasons = []
    if not recipe.parameters.plate_temperature.low <= balance.plate_temperature <= recipe.parameters.plate_temperature.high:
        reasons.append(
            f"the uncertainty of the balance of {machine.id} is known at a plate of {balance.plate_temperature}, "
            f"recipe {recipe.reference} prints at {recipe.parameters.plate_temperature.set_point}; establish it at that temperature"
        )
    for target in sorted(set(targets)):
        tolerance = target * recipe.tolerance(target).fraction
        largest = max(balance.expanded_uncertainty, balance.readability)
        if largest * SHARE_OF_TOLERANCE > tolerance:
            reasons.append(
                f"units of {target.rounded(2)} have a tolerance of ± {tolerance.rounded(2)}, of which the balance of {machine.id} "
                f"may take a quarter, {(tolerance / SHARE_OF_TOLERANCE).rounded(2)}; its expanded uncertainty is {largest}: "
                "weigh on an external balance, guided, where the recipe permits it, or use a cell with a finer one"
            )
    return tuple(reasons)


def external_reasons(recipe: Recipe, readability: Milligram, uncertainty: Milligram, targets: Sequence[Milligram]) -> tuple[str, ...]:
    """Return why an external balance of this readability and expanded uncertainty (k = 2) of a net weighing cannot judge such units."""
    largest = max(uncertainty, readability)
    return tuple(
        f"units of {target.rounded(2)} have a tolerance of ± {tolerance.rounded(2)}, of which a balance may take a quarter, "
        f"{(tolerance / SHARE_OF_TOLERANCE).rounded(2)}; the external balance takes {largest}"
        for target, tolerance in ((target, target * recipe.tolerance(target).fraction) for target in sorted(set(targets)))
        if largest * SHARE_OF_TOLERANCE > tolerance
    )


def total_resolution(machine: MachineProfile) -> Microlitre:
    """Return by how much two totals of the extruder may differ from the truth: two steps of the last digit that is reported."""
    return Microlitre(machine.e_area.value * machine.firmware.total_step.value * 2)


def total_reasons(recipe: Recipe, machine: MachineProfile, units: Sequence[tuple[Milligram, Microlitre]]) -> tuple[str, ...]:
    """Return why the firmware's extruder total cannot witness units of these masses and volumes; empty if it can.

    Two decimals, as Marlin has them, are what recipes are validated with. A coarser total that exceeds the tolerance on a unit
    would pass any unit: it is no second witness beside the balance.
    """
    if machine.firmware.total_step <= _VALIDATED_STEP:
        return ()
    step = total_resolution(machine)
    return tuple(
        f"the firmware of {machine.id} reports its extruder total to {machine.firmware.total_step}, which is {step.rounded(2)}; "
        f"units of {volume.rounded(2)} have a tolerance of ± {(volume * recipe.tolerance(mass).fraction).rounded(2)}: "
        "use a finer head or another firmware"
        for mass, volume in sorted(set(units))
        if step > volume * recipe.tolerance(mass).fraction
    )
