"""Infill of outlines that have no formula: the layers of a solid from a file.

A layer has `perimeters` rings one bead apart, from its outline inwards, and parallel lines in what remains, turned by 90° from layer to
layer. The bead that comes out is area over length; of several distances between beads the one is taken whose bead is in range and
nearest to the set point. Points are whole micrometres. A layer carries its share of the volume by area, a stroke by length.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import numpy as np
import shapely
from shapely import Polygon
from shapely.geometry.base import BaseGeometry

from audit.quantities import Microlitre, MillimetrePerSecond
from recipes.errors import GeometryRefused
from recipes.shapes import Range, Slice
from recipes.strokes import XY, Layer, Stroke, UnitPath, joined, stroke_of
from recipes.toolpath import CHORD_HIGH, CHORD_LOW, COMMANDS_PER_SECOND

_TRIES = (1.0, 0.96, 1.04, 0.92, 1.08, 0.88, 1.12)
_OUTLINE_TOLERANCE = 5e-3
_SLIVER = 1e-3
_GAP = 1.6


def plan_outlines(
    slices: Sequence[Slice], volume: Microlitre, *, bead_width: Range, speed: MillimetrePerSecond, perimeters: int
) -> UnitPath:
    """Fill the slices. Raises GeometryRefused where no distance between beads gives a bead in range."""
    chord = min(max(float(speed.value) / COMMANDS_PER_SECOND, CHORD_LOW), CHORD_HIGH)
    weights = [Fraction(entry.region.area * entry.thickness) for entry in slices]
    total = sum(weights)
    layers: list[Layer] = []
    known: dict[tuple[bytes, bool], tuple[Stroke, ...]] = {}
    for index, (entry, weight) in enumerate(zip(slices, weights, strict=True)):
        share = Fraction(volume.value) * weight / total
        region = shapely.simplify(entry.region, _OUTLINE_TOLERANCE).normalize()
        key = (shapely.to_wkb(region), index % 2 == 1)
        if key not in known:
            known[key] = _fill(region, float(share) / entry.thickness, index, bead_width, chord, perimeters)
        strokes = known[key]
        layers.append(Layer(z=int(entry.z.scaleb(3).to_integral_value()), thickness=entry.thickness, volume=share, strokes=strokes))
    radius = max(math.hypot(x, y) for layer in layers for stroke in layer.strokes for x, y in stroke.points)
    return UnitPath(volume=volume, layers=tuple(layers), radius=math.ceil(radius))


def _fill(region: BaseGeometry, area: float, index: int, bead_width: Range, chord: float, perimeters: int) -> tuple[Stroke, ...]:
    best: tuple[float, tuple[Stroke, ...]] | None = None
    found = 0.0
    for factor in _TRIES:
        width = float(bead_width.set_point) * factor
        strokes = _fill_with(region, width, index, chord, perimeters)
        length = math.fsum(stroke.length for stroke in strokes)
        if not length:
            continue
        found = area / length
        if bead_width.holds(found) and (best is None or abs(found / width - 1) < best[0]):
            best = abs(found / width - 1), strokes
        if best is not None and best[0] < 0.02:
            break
    if best is None:
        raise GeometryRefused(
            [
                f"Layer {index + 1} would need a bead {found:.3f} mm wide, outside {bead_width.low:.3f} to {bead_width.high:.3f} mm; "
                "choose another strength or a recipe for this size"
            ]
        )
    return best[1]


def _fill_with(region: BaseGeometry, width: float, index: int, chord: float, perimeters: int) -> tuple[Stroke, ...]:
    pieces: list[list[XY]] = []
    for ring in range(perimeters):
        inset = shapely.buffer(region, -width * (ring + 0.5), join_style="mitre")
        for part in _polygons(inset):
            pieces.extend(_walked(line, pieces, chord) for line in (part.exterior, *part.interiors))
    inner = shapely.buffer(region, -width * perimeters, join_style="mitre")
    pieces.extend(_lines(inner, width, chord, turned=index % 2 == 1))
    return tuple(stroke_of(points) for points in joined(pieces, _GAP * width))


def _polygons(region: BaseGeometry) -> list[Polygon]:
    return [part for part in shapely.get_parts(region) if isinstance(part, Polygon) and part.area > _SLIVER]


def _walked(ring: BaseGeometry, before: Sequence[Sequence[XY]], chord: float) -> list[XY]:
    """Once around a ring, begun at the corner that is nearest to where the last piece ended."""
    xy = shapely.get_coordinates(shapely.simplify(ring, _OUTLINE_TOLERANCE))[:-1]
    if before:
        at = np.array(before[-1][-1]) / 1000
        xy = np.roll(xy, -int(np.argmin(((xy - at) ** 2).sum(axis=1))), axis=0)
    return _divided(_micrometres([*xy, xy[0]]), chord)


def _lines(region: BaseGeometry, width: float, chord: float, *, turned: bool) -> list[list[XY]]:
    """Parallel lines a bead apart, half a bead inside the region, every other one reversed."""
    if region.is_empty or region.area < _SLIVER:
        return []
    low_x, low_y, high_x, high_y = region.bounds
    if turned:
        low_x, low_y, high_x, high_y = low_y, low_x, high_y, high_x
    count = max(1, round((high_y - low_y) / width))
    rows = low_y + (np.arange(count) + 0.5) * (high_y - low_y) / count
    ends = np.stack([np.full((count, 2), (low_x - 1, high_x + 1)), np.column_stack([rows, rows])], axis=-1)
    cuts = np.asarray(shapely.intersection(shapely.linestrings(ends[:, :, ::-1] if turned else ends), region))
    found: list[list[XY]] = []
    for row, cut in enumerate(cuts):
        parts = []
        for part in shapely.get_parts(cut):
            if part.length > 1.5 * width:
                first, last = shapely.get_coordinates(shapely.line_interpolate_point(part, [width / 2, part.length - width / 2]))
                parts.append(sorted(_micrometres([first, last])))
        parts.sort()
        found.extend(_divided(part[::-1], chord) for part in parts[::-1]) if row % 2 else found.extend(
            _divided(part, chord) for part in parts
        )
    return found


def _divided(points: Sequence[XY], chord: float) -> list[XY]:
    found = [points[0]]
    for (x0, y0), (x1, y1) in pairwise(points):
        parts = max(1, round(math.dist((x0, y0), (x1, y1)) / 1000 / chord))
        found.extend((x0 + (x1 - x0) * part // parts, y0 + (y1 - y0) * part // parts) for part in range(1, parts + 1))
    return found


def _micrometres(coordinates: Sequence[np.ndarray]) -> list[XY]:
    whole = np.rint(np.array(coordinates) * 1000).astype(int)
    return [(int(x), int(y)) for x, y in whole]
