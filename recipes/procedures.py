"""Procedures: how a program moves on this machine, and its actions outside units: prepare, heat, home, prime, park, heat off."""

from __future__ import annotations

from audit.quantities import Millimetre
from recipes.designs import line_increment
from recipes.gcode_writer import Motion, ProcedureName, Written, heat_commands, write_commands, write_park, write_prime
from recipes.model import MachineProfile, Recipe
from recipes.toolpath import plan_dispense


def plan_motion(recipe: Recipe, machine: MachineProfile, tallest: int) -> Motion:
    """Return how a program moves: travel clears units `tallest` µm high."""
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
        surface_z=surface,
        clear_z=surface + tallest + micrometres(parameters.travel_lift.set_point),
        park=(micrometres(machine.park.x), micrometres(machine.park.y), micrometres(machine.park.z)),
        purge=(micrometres(machine.purge.x), micrometres(machine.purge.y), micrometres(machine.purge.z)),
    )


def write_actions(recipe: Recipe, machine: MachineProfile, motion: Motion) -> dict[ProcedureName, Written]:
    """Write each action outside units."""
    parameters = recipe.parameters
    reports = ["M155 S1"] if machine.firmware.reports_temperatures else []
    prime = plan_dispense(parameters.prime_volume.set_point, increment=motion.increment)
    heat = heat_commands(parameters.nozzle_temperature.set_point, parameters.plate_temperature.set_point)
    return {
        "prepare": write_commands("prepare", ["G21", "G90", "M83", *reports], motion),
        "heat": write_commands("heat", heat, motion),
        "home": write_commands("home", ["G28"], motion),
        "prime": write_prime(prime, motion),
        "park": write_park(motion),
        "heat_off": write_commands("heat_off", ["M104 S0", "M140 S0"], motion),
    }


def micrometres(length: Millimetre) -> int:
    """Return a length in whole µm."""
    return int(length.value.scaleb(3).to_integral_value())
