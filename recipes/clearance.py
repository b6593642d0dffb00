"""Clearance: whether units of these sizes can stand at the places of a plate, one printed beside the other.

A unit is printed to its full height before the next begins. The nozzle comes as near to a finished neighbour as the path
goes; what stands above the nozzle comes near only to neighbours that are higher than the nozzle is free. In a blister the
walls of the cavity are such a neighbour.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from recipes.designs import Design
from recipes.machine import Cavity, MachineProfile
from recipes.strokes import UnitPath


@dataclass(frozen=True, slots=True)
class _Extent:
    """Half sides of a path in mm, half its widest bead, and its height."""

    x: float
    y: float
    bead: float
    height: float


def clearance_reasons(designs: Sequence[Design], machine: MachineProfile) -> list[str]:
    """Return why units of these designs cannot stand on this plate; each reason says what would fit."""
    paths = [(design, _extent(design.body)) for design in designs if isinstance(design.body, UnitPath)]
    reasons: list[str] = []
    cavity = machine.plate.cavity
    if cavity is not None:
        reasons.extend(reason for design, extent in paths for reason in _cavity_reasons(str(design.plan.label), extent, cavity))
    reasons.extend(_neighbour_reasons([extent for _, extent in paths], machine))
    return reasons


def _extent(path: UnitPath) -> _Extent:
    points = [point for layer in path.layers for stroke in layer.strokes for point in stroke.points]
    bead = max(layer.bead_width for layer in path.layers) / 2
    return _Extent(max(abs(x) for x, _ in points) / 1000, max(abs(y) for _, y in points) / 1000, bead, path.height / 1000)


def _cavity_reasons(label: str, extent: _Extent, cavity: Cavity) -> list[str]:
    room = (float(cavity.length.value) / 2 - float(cavity.wall.value), float(cavity.width.value) / 2 - float(cavity.wall.value))
    reasons = []
    if extent.x > room[0] or extent.y > room[1]:
        reasons.append(
            f"{label}: the path is {2 * extent.x:.2f} x {2 * extent.y:.2f} mm, the nozzle has {2 * room[0]:.2f} x {2 * room[1]:.2f} mm "
            "in a cavity: choose a lower strength, or a blister with larger cavities"
        )
    if extent.height > cavity.depth.value:
        reasons.append(f"{label}: the unit is {extent.height:.2f} mm high, the cavity {cavity.depth} deep; choose a lower strength")
    return reasons


def _neighbour_reasons(extents: Sequence[_Extent], machine: MachineProfile) -> list[str]:
    """Two units side by side, whichever they are: the nozzle over the edge of one, the finished other beside it."""
    clearance = machine.clearance
    if clearance is None or not extents:
        return []
    high = max(extent.height for extent in extents)
    above = Decimal(high) > clearance.free_length.value
    around = float(clearance.reach_above.value if above else clearance.outside_diameter.value / 2)
    what = "what stands above the nozzle" if above else "the nozzle"
    reasons = []
    sides = (("x", machine.plate.pitch_x, machine.plate.columns, 0), ("y", machine.plate.pitch_y, machine.plate.rows, 1))
    for axis, pitch, places, side in sides:
        reach = max((extent.x, extent.y)[side] for extent in extents)
        material = max((extent.x, extent.y)[side] + extent.bead for extent in extents)
        needed = reach + material + around
        if places > 1 and needed > float(pitch.value):
            other = math.ceil(needed / float(pitch.value))
            reasons.append(
                f"along {axis} the places are {pitch} apart, units of this size need {needed:.1f} mm, so that {what} does not meet a "
                f"finished neighbour; {-(-places // other)} of {places} places would do: "
                "choose a lower strength, or a plate with wider places"
            )
    return reasons
