"""Whether what is at hand is what the order names: recipe, ink lots, cartridges and machine, by name and by digest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from audit.quantities import Quantity
from recipes.model import Cartridge, DoseOrder, InkLot, MachineProfile, Recipe


@dataclass(frozen=True, slots=True)
class Source:
    """What one ink of a unit is printed from."""

    ink: InkLot
    cartridge: Cartridge


def binding_reasons(order: DoseOrder, recipe: Recipe, sources: Sequence[Source], machine: MachineProfile) -> list[str]:
    """Return where what is at hand is not what the order names; `sources` in the order of the heads."""
    reasons = []
    if (order.recipe, order.recipe_version) != (recipe.id, recipe.version):
        reasons.append(f"the order is for recipe {order.recipe}@{order.recipe_version}, found {recipe.reference}; take the recipe ordered")
    named = [(order.ink_lot, order.ink_lot_digest, order.cartridge, order.cartridge_digest)]
    if (second := order.second) is not None:
        named.append((second.ink_lot, second.ink_lot_digest, second.cartridge, second.cartridge_digest))
    bound = [(f"recipe {recipe.reference}", recipe.id, recipe.id, order.recipe_digest, recipe.digest)]
    for which, (lot, lot_digest, serial, serial_digest), source in zip(("", "second "), named, sources, strict=False):
        bound += [
            (f"{which}ink lot", lot, source.ink.lot, lot_digest, source.ink.digest),
            (f"{which}cartridge", serial, source.cartridge.serial, serial_digest, source.cartridge.digest),
        ]
    for what, name, found, digest, actual in bound:
        if name != found:
            reasons.append(f"the order names {what} {name}, found {found}; take the one ordered, or write a new order")
        elif digest != actual:
            reasons.append(f"{what} is not as it was when the order was written; write the order again and have it confirmed again")
    if not len(named) == len(sources) == len(recipe.parts):
        reasons.append(
            f"recipe {recipe.reference} prints {len(recipe.parts)} inks, the order names {len(named)}, {len(sources)} are at hand; "
            "write an order for each ink of the recipe"
        )
    return reasons + _machine_reasons(recipe, machine)


def _machine_reasons(recipe: Recipe, machine: MachineProfile) -> list[str]:
    if recipe.machine != machine.id or recipe.process != machine.process:
        return [f"recipe {recipe.reference} is for machine {recipe.machine}, this is {machine.id}; print on a cell with that machine"]
    if recipe.machine_digest != machine.digest:
        return [
            f"the profile of machine {machine.reference} is not the one that recipe {recipe.reference} was signed for; "
            "restore that profile, or have a new version of the recipe signed"
        ]
    return [reason for part, head in zip(recipe.parts, machine.heads, strict=False) for reason in _limit_reasons(part, head)]


def _limit_reasons(recipe: Recipe, head: MachineProfile) -> list[str]:
    """Return which set points are beyond what the machine may do, whatever range the recipe states for them."""
    parameters = recipe.parameters
    limited: tuple[tuple[str, Quantity, Quantity], ...] = (
        ("nozzle_temperature", parameters.nozzle_temperature.set_point, head.max_nozzle_temperature),
        ("plate_temperature", parameters.plate_temperature.set_point, head.max_plate_temperature),
        ("flow_rate", parameters.flow_rate.set_point, head.max_volumetric_rate),
        ("retraction_rate", parameters.retraction_rate.set_point, head.max_volumetric_rate),
    )
    found = [
        f"recipe {recipe.reference}: {name} {found} is beyond the {largest} of machine {head.reference}; choose a set point inside it"
        for name, found, largest in limited
        if found.value > largest.value
    ]
    limit, sensor = recipe.alarms.pressure_high, head.pressure
    if not sensor.low < limit < sensor.high:
        found.append(
            f"recipe {recipe.reference}: pressure_high {limit} is not inside what the sensor of machine {head.reference} measures, "
            f"{sensor.low} to {sensor.high}; it would never be seen: choose another limit or another sensor"
        )
    return found
