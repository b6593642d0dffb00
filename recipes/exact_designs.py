"""Designs of caplets, films, grids and solids from a file: sized, checked against bounds, nozzle and plate, and given their path.

`ProvenRanges` is what a recipe allows of layers and beads, with room for the largest correction of its dose.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType

from audit.quantities import EXACT, Microlitre, MillimetrePerSecond
from recipes.errors import GeometryRefused
from recipes.infill import plan_body
from recipes.machine import MachineProfile
from recipes.outline_infill import plan_outlines
from recipes.shape_families import Caplet, Film, Grid, StlSolid
from recipes.shapes import Range
from recipes.solids import Body, build_body
from recipes.stl_solid import FileSolid, scale_solid, slice_body
from recipes.strokes import UnitPath

_STATED = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class ProvenRanges:
    """Ranges of layer height and bead width in mm, expected print speed, and the largest correction of the dose as a share."""

    layer_height: Range
    bead_width: Range
    speed: MillimetrePerSecond
    correction: Decimal


@dataclass(frozen=True, slots=True)
class Printed:
    """A solid with its path, and its family and dimensions as text."""

    body: Body
    path: UnitPath
    shape: Mapping[str, str]


def plan_exact(
    geometry: Caplet | Film | Grid | StlSolid,
    volume: Microlitre,
    machine: MachineProfile,
    ranges: ProvenRanges,
    *,
    file: FileSolid | None,
) -> Printed:
    """Design a unit of a volume; `file` is the checked solid of an STL geometry. Raises GeometryRefused with every reason."""
    layer_height, bead_width = ranges.layer_height, ranges.bead_width
    if isinstance(geometry, StlSolid):
        if file is None:
            raise GeometryRefused(["the recipe prints the solid of an STL file, which is not at hand; send it with the recipe"])
        body = scale_solid(geometry, file, volume, layer_height=layer_height)
    else:
        body = build_body(geometry, volume, layer_height=layer_height, bead_width=bead_width, widening=ranges.correction)
    if reasons := geometry.bounds.reasons(body.sides) + _machine_reasons(body, machine):
        raise GeometryRefused(reasons)
    deviation = 0.0
    if isinstance(geometry, StlSolid):
        slices, deviation = slice_body(body, nozzle=float(machine.nozzle_diameter.value), overhang=float(bead_width.set_point) / 2)
        path = plan_outlines(slices, volume, bead_width=bead_width, speed=ranges.speed, perimeters=geometry.perimeters)
    else:
        perimeters = geometry.perimeters if isinstance(geometry, Film) else None
        path = plan_body(body, bead_width=bead_width, speed=ranges.speed, perimeters=perimeters)
    return Printed(body, path, _shape(body, deviation))


def _machine_reasons(body: Body, machine: MachineProfile) -> list[str]:
    across, feature = 2 * body.reach, body.smallest_feature
    reasons = []
    if across > machine.plate.largest_unit_diameter.value:
        reasons.append(
            f"the unit is {across:.2f} mm across, the plate takes {machine.plate.largest_unit_diameter}; choose a lower strength"
        )
    if feature < machine.nozzle_diameter.value and body.family != "film":
        reasons.append(f"the unit is {feature:.2f} mm at its thinnest, finer than the nozzle; choose a higher strength")
    return reasons


def _shape(body: Body, deviation: float) -> Mapping[str, str]:
    """Return family and dimensions as text; `layers_deviation_percent`: how far areas times thickness were from the volume."""
    sides = {
        f"{name}_mm": f"{side.quantize(_STATED, context=EXACT)}"
        for name, side in zip(("length", "width", "height"), body.sides, strict=True)
    }
    found = {"family": body.family, **sides}
    if body.family == "grid":
        found |= {"strands": str(body.strands), "strand_mm": f"{body.strand.quantize(_STATED, context=EXACT)}"}
    if body.family == "stl":
        found |= {"layers_deviation_percent": f"{deviation * 100:.3f}"}
    return MappingProxyType(found)
