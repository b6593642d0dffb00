"""Outlines: the layers of the exact solid as rings of whole micrometres, for pictures; built anew when asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import assert_never

import numpy as np
import shapely
from shapely import Polygon
from shapely.geometry.base import BaseGeometry

from recipes.designs import Design, exact_ranges, smooth_solid
from recipes.infill import width_at
from recipes.machine import MachineProfile
from recipes.model import Caplet, Cylinder, Dispense, Film, Grid, Recipe, StlSolid, Torus
from recipes.shapes import slice_solid
from recipes.solids import Body, build_body
from recipes.stl_solid import FileSolid, scale_solid, slice_body
from recipes.toolpath import XY

_QUARTER = 12
_TOLERANCE = 0.004


@dataclass(frozen=True, slots=True)
class Outline:
    """One layer: where it begins and ends (µm above the surface), and its rings, outer ones counter-clockwise, holes clockwise."""

    low: int
    high: int
    rings: tuple[tuple[XY, ...], ...]


def outlines_of(design: Design, recipe: Recipe, machine: MachineProfile, file: FileSolid | None = None) -> tuple[Outline, ...]:
    """Return the layers of the design's solid; none of a dispensed unit. `file` as in `design_unit`."""
    geometry, volume = recipe.geometry, design.plan.target_volume
    ranges = exact_ranges(recipe)
    match geometry:
        case Dispense():
            return ()
        case Cylinder() | Torus():
            solid = smooth_solid(design.plan, recipe, machine)
            return _stacked([entry.region for entry in slice_solid(solid)], solid.layer_height)
        case Caplet() | Film() | Grid():
            body = build_body(geometry, volume, layer_height=ranges.layer_height, bead_width=ranges.bead_width, widening=ranges.correction)
            return _stacked([_plan(body, index) for index in range(body.layers)], float(body.layer_height))
        case StlSolid():
            if file is None:
                return ()
            body = scale_solid(geometry, file, volume, layer_height=ranges.layer_height)
            slices, _ = slice_body(body, nozzle=float(machine.nozzle_diameter.value), overhang=float(ranges.bead_width.set_point) / 2)
            return _stacked([entry.region for entry in slices], float(body.layer_height))
        case _:
            assert_never(geometry)


def _plan(body: Body, index: int) -> BaseGeometry:
    length, width, corner, strand = float(body.length), float(body.width), float(body.corner), float(body.strand)
    if body.family == "film":
        core = shapely.box(corner - length / 2, corner - width / 2, length / 2 - corner, width / 2 - corner)
        return core.buffer(corner, quad_segs=_QUARTER) if corner else core
    if body.family == "caplet":
        half = float(body.straight) / 2
        return shapely.linestrings([(-half, 0.0), (half, 0.0)]).buffer(
            width_at(body, float(body.layer_height) * (index + 0.5)) / 2, quad_segs=_QUARTER
        )
    inner, pitch = (width - strand) / 2, (width - strand) / (body.strands - 1)
    corners = [(x, -inner + row * pitch) for row in range(body.strands) for x in ((-inner, inner) if row % 2 == 0 else (inner, -inner))]
    corners[0], corners[-1] = (-width / 2, corners[0][1]), (corners[-1][0] * width / 2 / inner, corners[-1][1])
    line = shapely.linestrings([(y, x) for x, y in corners] if index % 2 else corners)
    return line.buffer(strand / 2, cap_style="flat", join_style="mitre")


def _stacked(regions: Iterable[BaseGeometry], thickness: float) -> tuple[Outline, ...]:
    return tuple(
        Outline(round(index * thickness * 1000), round((index + 1) * thickness * 1000), _rings(region))
        for index, region in enumerate(regions)
    )


def _rings(region: BaseGeometry) -> tuple[tuple[XY, ...], ...]:
    rings: list[tuple[XY, ...]] = []
    for part in shapely.get_parts(shapely.simplify(region, _TOLERANCE)):
        if isinstance(part, Polygon):
            turned = shapely.orient_polygons(part)
            rings.extend(_micrometres(ring) for ring in (turned.exterior, *turned.interiors))
    return tuple(rings)


def _micrometres(ring: BaseGeometry) -> tuple[XY, ...]:
    """A ring to 10 µm, from its first point on, so that equal layers have equal rings."""
    points = [(int(x), int(y)) for x, y in np.rint(shapely.get_coordinates(ring)[:-1] * 100) * 10]
    first = points.index(min(points))
    return (*points[first:], *points[:first])
