"""Shapes: solids scaled so that their volume is the fill volume, and sliced into layers that fit exactly.

A solid is a faceted body of trimesh. It is the faceted body whose volume equals the target, not the smooth one that it
approximates: what is sliced is what is printed. Sizes follow from the volume and the recipe's aspect ratio, so a dose
has one shape. The number of layers is whole; their height is the solid's height divided by it.

`dispense` has no solid: a volume is put into a capsule.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, assert_never

import numpy as np
import shapely
import trimesh
from shapely.geometry.base import BaseGeometry
from trimesh.intersections import mesh_multiplane

from audit.quantities import EXACT, Microlitre
from recipes.errors import GeometryRefused

SolidFamily = Literal["cylinder", "torus"]

SECTIONS = 96
"""Facets around the axis: the chord of a 16 mm unit is 0.52 mm, below the chords of the tool path."""

TUBE_SECTIONS = 48
_MICROMETRE = Decimal("0.001")
_VOLUME_AGREES = 1e-9
_NODE_DECIMALS = 6
_ROUNDING_ROOM = 0.008


@dataclass(frozen=True, slots=True)
class Range:
    """A set point in mm inside its proven acceptable range, both ends included."""

    set_point: Decimal
    low: Decimal
    high: Decimal

    def holds(self, value: float) -> bool:
        """Say whether a computed value lies in the range, with room for coordinates rounded to 1 µm."""
        room = min(value * _ROUNDING_ROOM, float(self.high - self.low) / 4)
        return float(self.low) + room <= value <= float(self.high) - room


@dataclass(frozen=True, slots=True)
class Solid:
    """A watertight faceted solid that stands on z = 0, its axis at the origin. Lengths in mm, volumes in µL."""

    family: SolidFamily
    volume: Microlitre
    mesh_volume: float
    analytic_volume: float
    diameter: float
    height: float
    smallest_feature: float
    layers: int
    mesh: trimesh.Trimesh

    @property
    def layer_height(self) -> float:
        """The height of one layer in mm: the solid's height divided by a whole number."""
        return self.height / self.layers


@dataclass(frozen=True, slots=True)
class Slice:
    """One layer: the nozzle's height in mm (top of the layer, exact to 1 µm), its thickness, and its areas."""

    z: Decimal
    thickness: float
    region: BaseGeometry


def build_solid(family: SolidFamily, volume: Microlitre, *, aspect: Decimal, layer_height: Range) -> Solid:
    """Scale a solid to a volume so that whole layers fit.

    `aspect` is height / diameter of a cylinder, and ring radius / tube radius of a torus (above 1). The solid is scaled
    evenly to the volume; then its height is moved to the nearest whole number of layers whose height is in range, and
    its width so that the volume stays. Raises GeometryRefused.
    """
    if volume.value <= 0:
        raise GeometryRefused([f"A volume of {volume} has no shape; check the dose and the ink's strength"])
    mesh = _proportioned(family, float(aspect))
    _scale_to(mesh, float(volume.value))
    height = float(mesh.extents[2])
    layers = _whole_layers(height, layer_height)
    flatten = _clamped(height / layers, layer_height) * layers / height
    mesh.apply_transform(np.diag([flatten**-0.5, flatten**-0.5, flatten, 1.0]))
    _scale_to(mesh, float(volume.value))
    if not mesh.is_watertight:
        raise GeometryRefused([f"The {family} of {volume} is not watertight; the solid cannot be sliced"])
    mesh.apply_translation([0.0, 0.0, -float(mesh.bounds[0][2])])
    diameter, height = float(mesh.extents[0]), float(mesh.extents[2])
    tube = height if family == "torus" else min(diameter, height)
    return Solid(
        family=family,
        volume=volume,
        mesh_volume=float(mesh.volume),
        analytic_volume=_analytic(family, mesh),
        diameter=diameter,
        height=height,
        smallest_feature=tube,
        layers=layers,
        mesh=mesh,
    )


def slice_solid(solid: Solid) -> tuple[Slice, ...]:
    """Cut the solid at the middle of each layer. The region of a layer is a polygon, possibly with holes, in mm.

    A prism is cut once: its layers are alike.
    """
    thickness = solid.layer_height
    prism = solid.family == "cylinder"
    heights = [(index + 0.5) * thickness for index in range(1 if prism else solid.layers)]
    cuts, _frames, _faces = mesh_multiplane(  # type: ignore[no-untyped-call]  # trimesh leaves it untyped
        solid.mesh, plane_origin=[0.0, 0.0, 0.0], plane_normal=[0.0, 0.0, 1.0], heights=heights
    )
    if len(cuts) != len(heights):
        raise GeometryRefused([f"The {solid.family} has {solid.layers} layers but {len(cuts)} of them cut the solid"])
    regions = []
    for index, lines in enumerate(cuts):
        regions.append(shapely.build_area(shapely.multilinestrings(np.round(lines, _NODE_DECIMALS))))
        if regions[-1].is_empty or not regions[-1].is_valid:
            raise GeometryRefused([f"Layer {index + 1} of the {solid.family} has no closed outline"])
    if prism:
        regions *= solid.layers
    tops = [Decimal((index + 1) * thickness).quantize(_MICROMETRE, context=EXACT) for index in range(solid.layers)]
    return tuple(Slice(z=z, thickness=thickness, region=region) for z, region in zip(tops, regions, strict=True))


def _proportioned(family: SolidFamily, aspect: float) -> trimesh.Trimesh:
    match family:
        case "cylinder":
            if aspect <= 0:
                raise GeometryRefused([f"A cylinder needs an aspect (height / diameter) above 0, found {aspect}"])
            cylinder: trimesh.Trimesh = trimesh.creation.cylinder(radius=0.5, height=aspect, sections=SECTIONS)
            return cylinder
        case "torus":
            if aspect <= 1:
                raise GeometryRefused([f"A torus needs an aspect (ring radius / tube radius) above 1, found {aspect}"])
            torus: trimesh.Trimesh = trimesh.creation.torus(aspect, 1.0, major_sections=SECTIONS, minor_sections=TUBE_SECTIONS)
            return torus
        case _:
            assert_never(family)


def _scale_to(mesh: trimesh.Trimesh, volume: float) -> None:
    """Scale evenly until the faceted volume is the target; once is enough but for the last bits."""
    for _ in range(3):
        if abs(mesh.volume / volume - 1) <= _VOLUME_AGREES:
            return
        factor = math.cbrt(volume / mesh.volume)
        mesh.apply_transform(np.diag([factor, factor, factor, 1.0]))
    raise GeometryRefused([f"The solid cannot be scaled to {volume} uL"])


def _whole_layers(height: float, wanted: Range) -> int:
    return max(1, round(height / float(wanted.set_point)))


def _clamped(height: float, wanted: Range) -> float:
    """The layer height, kept a micrometre inside its range so that rounding of z cannot leave it."""
    low, high = float(wanted.low) + 0.001, float(wanted.high) - 0.001
    return min(max(height, low), high) if low < high else float(wanted.set_point)


def _analytic(family: SolidFamily, mesh: trimesh.Trimesh) -> float:
    """The volume of the faceted solid by formula, from its extents.

    A prism over a regular n-gon; and a regular m-gon swept around n planes, where each wedge is scaled by
    cos(π/n)/cos φ, so that its volume is that of the smooth sweep times sin(2π/n)·n/(2π) (Pappus).
    """
    outer, height = float(mesh.extents[0]) / 2, float(mesh.extents[2])
    ring = SECTIONS / 2 * math.sin(2 * math.pi / SECTIONS)
    match family:
        case "cylinder":
            return ring * outer**2 * height
        case "torus":
            half_height = height / 2
            half_width = (outer - float(np.hypot(mesh.vertices[:, 0], mesh.vertices[:, 1]).min())) / 2
            tube = TUBE_SECTIONS / 2 * math.sin(2 * math.pi / TUBE_SECTIONS) * half_width * half_height
            return 2 * ring * tube * (outer - half_width)
        case _:
            assert_never(family)
