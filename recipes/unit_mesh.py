"""The solid of a unit as facets, to be looked at: the one that its design is sliced from, built anew from the same figures.

Nothing is decided from it. A dispensed unit has no solid.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import assert_never

from audit.quantities import Microlitre
from recipes.designs import exact_ranges, smooth_solid
from recipes.dose import StrengthPlan
from recipes.errors import GeometryRefused
from recipes.machine import MachineProfile
from recipes.model import Caplet, Cylinder, Dispense, Film, Grid, Recipe, StlSolid, Torus
from recipes.shapes import Solid
from recipes.solids import Body, build_body
from recipes.stl_solid import bound_solid, scale_solid

_CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class UnitMesh:
    """A solid that stands on z = 0, its middle at the origin: binary STL in mm, and its sides in mm to two decimals."""

    family: str
    volume: Microlitre
    length: Decimal
    width: Decimal
    height: Decimal
    facets: int
    stl: bytes


def unit_mesh(plan: StrengthPlan, recipe: Recipe, machine: MachineProfile, file: bytes | None = None) -> UnitMesh | None:
    """Return the solid of one strength (of one part, where a unit has two), None where it is dispensed; `file` as in compiling.

    Raises GeometryRefused where the recipe gives no solid of this volume.
    """
    solid = _solid(plan, recipe, machine, file)
    if solid is None:
        return None
    length, width, height = (
        (Decimal(solid.diameter), Decimal(solid.diameter), Decimal(solid.height)) if isinstance(solid, Solid) else solid.sides
    )
    content = solid.mesh.export(file_type="stl")
    if not isinstance(content, bytes):
        raise GeometryRefused(["trimesh wrote the solid as something else than binary STL; report it with the recipe"])
    return UnitMesh(
        family=solid.family,
        volume=plan.target_volume,
        length=length.quantize(_CENT),
        width=width.quantize(_CENT),
        height=height.quantize(_CENT),
        facets=len(solid.mesh.faces),
        stl=content,
    )


def _solid(plan: StrengthPlan, recipe: Recipe, machine: MachineProfile, file: bytes | None) -> Solid | Body | None:
    geometry, ranges = recipe.geometry, exact_ranges(recipe)
    match geometry:
        case Dispense():
            return None
        case Cylinder() | Torus():
            return smooth_solid(plan, recipe, machine)
        case Caplet() | Film() | Grid():
            return build_body(
                geometry,
                plan.target_volume,
                layer_height=ranges.layer_height,
                bead_width=ranges.bead_width,
                widening=ranges.correction,
            )
        case StlSolid():
            return scale_solid(geometry, bound_solid(geometry, file), plan.target_volume, layer_height=ranges.layer_height)
        case _:
            assert_never(geometry)
