"""Procedures: how a program moves on this machine, and its actions outside units: prepare, heat, home, prime, park, heat off."""

from __future__ import annotations

from collections.abc import Sequence

from audit.quantities import Celsius, Millimetre
from recipes.designs import line_increment
from recipes.gcode_writer import (
    Motion,
    ProcedureName,
    Written,
    heat_commands,
    offset_command,
    write_commands,
    write_park,
    write_prime,
)
from recipes.model import MachineProfile, Position, Recipe
from recipes.toolpath import plan_dispense


def plan_motion(recipe: Recipe, machine: MachineProfile, tallest: int, *, tool: int | None = None, base: int = 0) -> Motion:
    """Return how a program moves with one head: travel clears units `tallest` µm high.

    `recipe` and `machine` are those of one part and of its head; `base` is the height in µm of what its parts stand on.
    """
    parameters = recipe.parameters
    surface = micrometres(machine.plate.surface_z)
    return Motion(
        e_area=machine.e_area,
        flow=parameters.flow_rate.set_point,
        travel=min(parameters.travel_speed.set_point, machine.max_travel),
        z_travel=min(parameters.travel_speed.set_point, machine.max_z_travel),
        print_limit=machine.max_travel,
        retraction=parameters.retraction.set_point,
        retraction_rate=parameters.retraction_rate.set_point,
        increment=line_increment(machine),
        surface_z=surface + base,
        # Above the rim of a cavity too, from whatever stands in it.
        clear_z=surface + tallest + micrometres(machine.plate.rim) + micrometres(parameters.travel_lift.set_point),
        park=(micrometres(machine.park.x), micrometres(machine.park.y), micrometres(machine.park.z)),
        purge=(micrometres(machine.purge.x), micrometres(machine.purge.y), micrometres(machine.purge.z)),
        tool=tool,
    )


def write_actions(recipe: Recipe, machine: MachineProfile, motions: Sequence[Motion]) -> dict[ProcedureName, Written]:
    """Write each action outside units; `motions` has one entry for each part of a unit, and each head is primed."""
    parts, motion = recipe.parts, motions[0]
    reports = ["M155 S1"] if machine.firmware.reports_temperatures else []
    offsets = [] if machine.second_head is None else [offset_command(1, _micrometres_of(machine.second_head.offset))]
    heat = heat_commands([part.parameters.nozzle_temperature.set_point for part in parts], recipe.parameters.plate_temperature.set_point)
    primes = [
        write_prime(plan_dispense(part.parameters.prime_volume.set_point, increment=how.increment), how)
        for part, how in zip(parts, motions, strict=True)
    ]
    return {
        "prepare": write_commands("prepare", ["G21", "G90", "M83", *offsets, *reports], motion),
        "heat": write_commands("heat", heat, motion),
        "home": write_commands("home", ["G28"], motion),
        **dict(zip(_PRIMES, primes, strict=False)),
        "park": write_park(motion),
        "heat_off": write_commands("heat_off", heat_commands([Celsius(0)] * len(parts), Celsius(0)), motion),
    }


_PRIMES: tuple[ProcedureName, ...] = ("prime", "prime_2")


def _micrometres_of(spot: Position) -> tuple[int, int, int]:
    return micrometres(spot.x), micrometres(spot.y), micrometres(spot.z)


def micrometres(length: Millimetre) -> int:
    """Return a length in whole µm."""
    return int(length.value.scaleb(3).to_integral_value())
