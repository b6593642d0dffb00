"""A solid from an STL file: what the recipe says of it against what it is, scaled to a volume, cut into layers.

The file is the one that the recipe binds by its SHA-256. Its measures must be those that the recipe states in mm: a file in inches or
centimetres is refused with the factor found. Layers are cut at their middle; each carries its share of the volume by area and
thickness, so that the sum is the target exactly, and `deviation` states how far the areas alone were from it.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import shapely
import trimesh
from shapely.geometry.base import BaseGeometry
from trimesh.intersections import mesh_multiplane

from audit.quantities import EXACT, Microlitre
from recipes.errors import GeometryRefused, SolidFileRefused
from recipes.shape_families import StlSolid
from recipes.shapes import Range, Slice
from recipes.solids import Body, whole_layers
from recipes.stl_checks import solid_of
from recipes.stl_file import read_stl

_AGREES = 0.001
_VOLUME_AGREES = 1e-9
_LARGEST_DEVIATION = 0.05
_NODE_DECIMALS = 6
_MICROMETRE = Decimal("0.001")
_SAME_POINT = 1e-12
_CUTS = (0.0, 0.01, -0.01, 0.03, -0.03)
"""Where a layer is cut beside its middle, in thicknesses, should the middle run along a facet."""

_OTHER_UNITS = ((25.4, "inches"), (10.0, "centimetres"), (1000.0, "metres"), (0.001, "micrometres"))
_PLAUSIBLE = (2.0, 60.0)
_BIND = "Export it in mm, and have the recipe state its measures and its SHA-256."


@dataclass(frozen=True, slots=True)
class Measures:
    """What a file holds: sides of its bounding box and reach in plan (mm), volume (µL), number of facets, SHA-256."""

    length: float
    width: float
    height: float
    reach: float
    volume: float
    facets: int
    sha256: str


@dataclass(frozen=True, slots=True)
class FileSolid:
    """The checked solid of a file, standing on z = 0 with the middle of its plan at the origin."""

    mesh: trimesh.Trimesh
    measures: Measures


def read_solid(content: bytes, name: str = "the STL file") -> FileSolid:
    """Read, check and measure a file. Raises SolidFileRefused."""
    mesh = solid_of(read_stl(content, name), name)
    low, high = mesh.bounds
    mesh.apply_translation([-(low[0] + high[0]) / 2, -(low[1] + high[1]) / 2, -low[2]])
    length, width, height = (float(side) for side in mesh.extents)
    reach = float(np.hypot(mesh.vertices[:, 0], mesh.vertices[:, 1]).max())
    sha256 = hashlib.sha256(content).hexdigest()
    return FileSolid(mesh, Measures(length, width, height, reach, float(mesh.volume), len(mesh.faces), sha256))


def implausible(found: Measures) -> list[str]:
    """Return why a file cannot be a dosage form in mm, where no recipe states its measures yet."""
    largest = max(found.length, found.width, found.height)
    if _PLAUSIBLE[0] <= largest <= _PLAUSIBLE[1]:
        return []
    guess = next((f"; in {unit} it would be {largest * by:.1f} mm" for by, unit in _OTHER_UNITS if 2 <= largest * by <= 60), "")
    return [f"the largest side is {largest:.3f} mm, {_PLAUSIBLE[0]:g} to {_PLAUSIBLE[1]:g} mm are plausible{guess}"]


def bound_solid(geometry: StlSolid, content: bytes | None) -> FileSolid:
    """Return the checked solid that a recipe binds. Raises SolidFileRefused: no file, another one, or other measures."""
    if content is None:
        raise SolidFileRefused(
            [f"the recipe prints the solid of an STL file, {geometry.sha256[:12]}…, which is not at hand"],
            remedy="Send it with the recipe.",
        )
    if (sha256 := hashlib.sha256(content).hexdigest()) != geometry.sha256:
        raise SolidFileRefused(
            [f"the STL file is not the one that the recipe binds: SHA-256 {sha256[:12]}… in place of {geometry.sha256[:12]}…"],
            remedy="Take the file that was signed with the recipe.",
        )
    solid = read_solid(content)
    found = solid.measures
    stated = (geometry.length, geometry.width, geometry.height, geometry.reach)
    ratios = [float(want.value) / have for want, have in zip(stated, (found.length, found.width, found.height, found.reach), strict=True)]
    if max(abs(ratio - 1) for ratio in ratios) > _AGREES:
        unit = next((f": it looks like a file in {unit}" for by, unit in _OTHER_UNITS if all(abs(r / by - 1) < 0.01 for r in ratios)), "")
        raise SolidFileRefused(
            [
                f"the STL file measures {found.length:.3f} x {found.width:.3f} x {found.height:.3f} mm, reach {found.reach:.3f} mm, the "
                f"recipe states {geometry.length.text} x {geometry.width.text} x {geometry.height.text} mm, reach {geometry.reach}{unit}"
            ],
            remedy=_BIND,
        )
    if abs(found.volume / float(geometry.volume.value) - 1) > _AGREES:
        raise SolidFileRefused([f"the STL file holds {found.volume:.3f} uL, the recipe states {geometry.volume}"], remedy=_BIND)
    return solid


def scale_solid(geometry: StlSolid, file: FileSolid, volume: Microlitre, *, layer_height: Range) -> Body:
    """Scale the file's solid to a volume, evenly or in height alone. Raises GeometryRefused where whole layers do not fit."""
    if volume.value <= 0:
        raise GeometryRefused([f"A volume of {volume} has no shape; check the dose and the ink's strength"])
    by = float(volume.value) / file.measures.volume
    x, z = (math.cbrt(by), math.cbrt(by)) if geometry.scale == "uniform" else (1.0, by)
    mesh = file.mesh.copy()
    mesh.apply_transform(np.diag([x, x, z, 1.0]))
    if abs(float(mesh.volume) / float(volume.value) - 1) > _VOLUME_AGREES:
        raise GeometryRefused([f"The solid cannot be scaled to {volume}"])
    length, width, height = (Decimal(float(side)) for side in mesh.extents)
    layers, each = whole_layers(height, layer_height)
    exact = EXACT.divide(height, Decimal(layers))
    if abs(each - exact) > _MICROMETRE * 2:
        raise GeometryRefused(
            [
                f"the solid would be {height:.3f} mm high: no whole number of layers of {layer_height.low} to {layer_height.high} mm fits; "
                "choose another strength"
            ]
        )
    return Body(
        family="stl",
        volume=volume,
        formula_volume=volume.value,
        mesh_volume=float(mesh.volume),
        facet_bound=_VOLUME_AGREES,
        length=length,
        width=width,
        height=height,
        layers=layers,
        mesh=mesh,
        plan_reach=float(np.hypot(mesh.vertices[:, 0], mesh.vertices[:, 1]).max()),
        longest=longest_distance(mesh),
    )


def longest_distance(mesh: trimesh.Trimesh) -> float:
    """Return the largest distance between two points of a solid, in mm.

    Only points of the hull count, and of these only such as lie far enough from the middle to be an end of a distance already found.
    """
    points = np.asarray(mesh.convex_hull.vertices, dtype=np.float64)
    radii = np.linalg.norm(points - (points.min(axis=0) + points.max(axis=0)) / 2, axis=1)
    longest = float(np.linalg.norm(points - points[radii.argmax()], axis=1).max())
    far = points[radii >= (longest - radii.max()) * (1 - _SAME_POINT)]
    for row in far:
        if longest >= 2 * float(radii.max()) * (1 - _SAME_POINT):
            break
        longest = max(longest, float(np.linalg.norm(far - row, axis=1).max()))
    return longest


def slice_body(body: Body, *, nozzle: float, overhang: float) -> tuple[tuple[Slice, ...], float]:
    """Cut a solid into its layers; return them and the relative deviation of their areas times thickness from the volume.

    Raises GeometryRefused: a layer that is not closed, finer than the nozzle, or reaches further than `overhang` (mm) beyond the one below.
    """
    thickness = float(body.layer_height)
    slices: list[Slice] = []
    below: BaseGeometry | None = None
    for index in range(body.layers):
        region = _region(body.mesh, index, thickness)
        _check_region(region, below, index, nozzle, overhang)
        z = EXACT.multiply(body.layer_height, Decimal(index + 1)).quantize(_MICROMETRE, context=EXACT)
        slices.append(Slice(z=z, thickness=thickness, region=region))
        below = region
    deviation = math.fsum(entry.region.area * thickness for entry in slices) / float(body.volume.value) - 1
    if abs(deviation) > _LARGEST_DEVIATION:
        raise GeometryRefused(
            [f"{body.layers} layers are {abs(deviation):.1%} off the solid's volume, {_LARGEST_DEVIATION:.0%} is allowed; use finer layers"]
        )
    return tuple(slices), deviation


def _region(mesh: trimesh.Trimesh, index: int, thickness: float) -> BaseGeometry:
    for beside in _CUTS:
        cuts, _frames, _faces = mesh_multiplane(  # type: ignore[no-untyped-call]  # trimesh leaves it untyped
            mesh, plane_origin=[0.0, 0.0, 0.0], plane_normal=[0.0, 0.0, 1.0], heights=[(index + 0.5 + beside) * thickness]
        )
        if not cuts:
            continue
        lines = shapely.multilinestrings(np.round(cuts[0], _NODE_DECIMALS))
        region: BaseGeometry = shapely.build_area(lines)
        # What is not part of a closed outline is dropped without a word: the lengths tell.
        whole = abs(region.length - lines.length) <= 1e-3 + lines.length * 1e-6
        if whole and not region.is_empty and region.is_valid:
            return region
    raise GeometryRefused([f"Layer {index + 1} of the solid has no closed outline; repair the solid and have the recipe signed anew"])


def _check_region(region: BaseGeometry, below: BaseGeometry | None, index: int, nozzle: float, overhang: float) -> None:
    opened = region.buffer(-nozzle / 2).buffer(nozzle / 2 * 1.001)
    if region.difference(opened).area > 0.02 * region.area:
        raise GeometryRefused(
            [f"Layer {index + 1} has parts finer than the nozzle of {nozzle} mm; choose a higher strength or another solid"]
        )
    if below is not None and region.difference(below.buffer(overhang)).area > 0.001 * region.area:
        raise GeometryRefused(
            [f"Layer {index + 1} reaches more than {overhang:.2f} mm beyond the one below and would hang in the air; choose another solid"]
        )
