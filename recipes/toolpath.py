"""Tool path: slices become strokes, a stroke being one unbroken bead.

A slice is filled from its outline inwards by rings one bead apart. The bead width is moved inside its range so that a
whole number of beads spans the region at its widest; a disc is then covered exactly, ring by ring, with no travel. Where
only some rings are wanted, the rest is filled by parallel lines, turned by 90° from layer to layer. Layers run outwards-in
and inwards-out in turn, so that the next one begins where the last one ended.

Each layer carries its share of the volume (its area), and each stroke its share of the layer (its length): the sum is the
target by construction. Coordinates are whole micrometres relative to the unit's centre, so equal inputs give equal bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise

import numpy as np
import shapely
from shapely import LinearRing, LineString, Polygon
from shapely.geometry.base import BaseGeometry

from audit.quantities import Microlitre, MillimetrePerSecond
from recipes.errors import GeometryRefused
from recipes.shapes import Range, Slice
from recipes.strokes import XY, Layer, Stroke, UnitPath, joined, stroke_of

COMMANDS_PER_SECOND = 9.0
"""What a serial line streams with ease; chords are made long enough for it."""

CHORD_LOW, CHORD_HIGH = 0.8, 2.0
CORNER = math.radians(30)
_FEWEST_CHORDS = 6
_OUTLINE_TOLERANCE = 1e-4
_SLIVER = 1e-3


@dataclass(frozen=True, slots=True)
class Ring:
    """A ring to be walked: its line, its length in mm, and how far along it the corners are."""

    line: LinearRing
    length: float
    corners: Sequence[float]


@dataclass(frozen=True, slots=True)
class _Region:
    """A region to be filled, with what layers of one outline share: numbers of beads with their widths, rings by number and count."""

    shape: BaseGeometry
    candidates: Sequence[tuple[int, float]]
    rings: dict[tuple[int, int], list[Ring]] = field(default_factory=dict)


def plan_unit(
    slices: Sequence[Slice], volume: Microlitre, *, bead_width: Range, speed: MillimetrePerSecond, perimeters: int | None = None
) -> UnitPath:
    """Fill the slices. `speed` is the expected print speed, which sets the chord length; `perimeters` None means rings throughout.

    Raises GeometryRefused where no whole number of beads in range spans a layer.
    """
    chord = min(max(float(speed.value) / COMMANDS_PER_SECOND, CHORD_LOW), CHORD_HIGH)
    shares = _shares([entry.region.area * entry.thickness for entry in slices], volume)
    layers: list[Layer] = []
    regions: dict[bytes, _Region] = {}
    known: dict[tuple[bytes, bool, XY | None, int], tuple[Stroke, ...]] = {}
    at: XY | None = None
    for index, (entry, share) in enumerate(zip(slices, shares, strict=True)):
        inwards = index % 2 == 0
        cut = shapely.to_wkb(entry.region)
        if cut not in regions:
            outline = shapely.simplify(entry.region, _OUTLINE_TOLERANCE).normalize()
            regions[cut] = _Region(outline, _candidates(outline, bead_width))
        key = (cut, inwards, at, 0 if perimeters is None else index % 2)
        if key not in known:
            known[key] = _fill(regions[cut], index, bead_width, chord, inwards, at, perimeters)
        strokes = known[key]
        at = strokes[-1].points[-1]
        layer = Layer(z=int(entry.z.scaleb(3).to_integral_value()), thickness=entry.thickness, volume=share, strokes=strokes)
        _check_bead(layer, index, bead_width)
        layers.append(layer)
    radius = max(math.hypot(x, y) for layer in layers for stroke in layer.strokes for x, y in stroke.points)
    return UnitPath(volume=volume, layers=tuple(layers), radius=math.ceil(radius))


def plan_dispense(volume: Microlitre, *, increment: Microlitre) -> tuple[Fraction, ...]:
    """Cut a volume into equal increments of at most `increment`, in µL; the sum is the volume, exactly."""
    if volume.value <= 0 or increment.value <= 0:
        raise GeometryRefused([f"Cannot dispense {volume} in increments of {increment}"])
    count = math.ceil(Fraction(volume.value) / Fraction(increment.value))
    return (Fraction(volume.value) / count,) * count


def _shares(weights: Sequence[float], volume: Microlitre) -> list[Fraction]:
    """Share a volume by weight. Exact: the weights are taken as the fractions they are."""
    exact = [Fraction(weight) for weight in weights]
    total = sum(exact)
    return [Fraction(volume.value) * weight / total for weight in exact]


def _check_bead(layer: Layer, index: int, bead_width: Range) -> None:
    width = layer.bead_width
    if not bead_width.holds(width):
        raise GeometryRefused(
            [
                f"Layer {index + 1} would need a bead {width:.3f} mm wide, outside {bead_width.low} to {bead_width.high} mm;"
                " choose another strength or a recipe for this size"
            ]
        )


def _fill(
    region: _Region, index: int, bead_width: Range, chord: float, inwards: bool, at: XY | None, perimeters: int | None
) -> tuple[Stroke, ...]:
    """Fill a region with the number of beads whose width, as it comes out, is in range and nearest to the set point."""
    best: tuple[float, tuple[Stroke, ...]] | None = None
    for count, width in region.candidates:
        strokes = _fill_with(region, count, width, chord, inwards, at, perimeters, turned=index % 2 == 1)
        length = math.fsum(stroke.length for stroke in strokes)
        if not length:
            continue
        found = region.shape.area / length
        miss = abs(found - float(bead_width.set_point)) + (0 if bead_width.holds(found) else 1000)
        if best is None or miss < best[0]:
            best = (miss, strokes)
        if bead_width.holds(found):
            break
    if best is None:
        raise GeometryRefused([f"Layer {index + 1} is narrower than one bead"])
    return best[1]


def _fill_with(
    region: _Region,
    count: int,
    width: float,
    chord: float,
    inwards: bool,
    at: XY | None,
    perimeters: int | None,
    *,
    turned: bool,
) -> tuple[Stroke, ...]:
    wanted = (count + 1) // 2 if perimeters is None else min(perimeters, (count + 1) // 2)
    if (count, wanted) not in region.rings:
        region.rings[count, wanted] = _rings(region.shape, width, wanted, odd=count % 2 == 1 and wanted == (count + 1) // 2)
    rings = region.rings[count, wanted]
    inner = None if perimeters is None else shapely.buffer(region.shape, -width * wanted, join_style="mitre")
    lines = [] if inner is None or inner.area < _SLIVER else _parallel_lines(inner, width, turned=turned)
    pieces: list[list[XY]] = []
    here = at if inwards else _append_lines(pieces, lines, at, chord)
    for ring in rings if inwards else rings[::-1]:
        pieces.append(_walk_ring(ring, here, chord))
        here = pieces[-1][-1]
    if inwards:
        _append_lines(pieces, lines, here, chord)
    return tuple(stroke_of(points) for points in joined(pieces, gap=1.6 * width))


def _candidates(region: BaseGeometry, bead_width: Range) -> list[tuple[int, float]]:
    """Whole numbers of beads across the region and their widths, the width nearest the set point first.

    The number is even where a region has no hole: its rings have two sides.
    """
    span = max(_span(part) for part in _polygons(region))
    step = 1 if all(len(part.interiors) == 1 for part in _polygons(region)) else 2
    middle = max(step, step * round(span / float(bead_width.set_point) / step))
    counts = [count for count in (middle, middle - step, middle + step) if count > 0]
    widths = [(count, span / count) for count in counts]
    return sorted(widths, key=lambda entry: abs(entry[1] - float(bead_width.set_point)))


def _span(part: Polygon) -> float:
    """Width of a band around one hole, else twice the radius of the largest circle inside, in mm."""
    if len(part.interiors) == 1:
        return float(part.exterior.distance(part.interiors[0]))
    return 2 * float(shapely.maximum_inscribed_circle(part, tolerance=1e-4).length)


def _rings(region: BaseGeometry, width: float, wanted: int, *, odd: bool) -> list[Ring]:
    """Rings from the outline inwards, half a bead from it, then one bead apart; with a hole, on to the hole's edge.

    An odd number of beads across a band leaves one in its middle, where an inset has collapsed to nothing: the outline
    alone is moved in there.
    """
    distances = [width * (step + 0.5) for step in range(wanted)]
    insets = distances[:-1] if odd else distances
    outer: list[LinearRing] = []
    inner: list[LinearRing] = []
    for part in _polygons(shapely.buffer(region, np.negative(insets), join_style="mitre")):
        outer.append(part.exterior)
        inner.extend(part.interiors)
    if odd:
        outer.extend(_polygon_rings(Polygon(part.exterior).buffer(-distances[-1], join_style="mitre")) for part in _polygons(region))
    rings = outer + inner[::-1]
    return [Ring(*entry) for entry in zip(rings, shapely.length(rings).tolist(), _corners(rings), strict=True)]


def _polygon_rings(region: BaseGeometry) -> LinearRing:
    return _polygons(region)[0].exterior


def _polygons(regions: BaseGeometry | np.ndarray) -> list[Polygon]:
    return [part for part in shapely.get_parts(regions) if isinstance(part, Polygon) and part.area > 0]


def _walk_ring(ring: Ring, at: XY | None, chord: float) -> list[XY]:
    """Walk once around, beginning at the point nearest to where the nozzle is; corners are kept, arcs become chords."""
    length = ring.length
    start = 0.0 if at is None else float(shapely.line_locate_point(ring.line, shapely.points(at[0] / 1000, at[1] / 1000)))
    if ring.corners:
        breaks = [0.0, *sorted((mark - start) % length for mark in ring.corners if 1e-6 < (mark - start) % length < length - 1e-6), length]
    else:
        breaks = [0.0, length]
    fewest = _FEWEST_CHORDS if len(breaks) == 2 else 1
    marks = [_marks(low, high, max(fewest, round((high - low) / chord))) for low, high in pairwise(breaks)]
    positions = np.mod(np.concatenate(marks) + start, length)
    xy = shapely.get_coordinates(shapely.line_interpolate_point(ring.line, positions))
    if len(breaks) == 2:
        # Chords cut the arc short by two thirds of their sagitta on average; moved out by as much, they enclose its area.
        around = np.concatenate([xy[-1:], xy, xy[:1]])
        xy = xy - (around[:-2] + around[2:] - 2 * xy) / 12
    points = _micrometres(xy)
    return [*points, points[0]]


def _marks(low: float, high: float, parts: int) -> np.ndarray:
    return low + (high - low) * np.arange(parts) / parts


def _corners(rings: Sequence[LinearRing]) -> list[list[float]]:
    """Of each ring, the distances along it of the vertices where it turns by more than 30°."""
    xy, number = shapely.get_coordinates(rings, return_index=True)
    ahead = np.diff(xy, axis=0)
    first = np.searchsorted(number, np.arange(len(rings)))
    last = np.append(first[1:], len(xy)) - 1
    behind = np.concatenate([ahead[:1], ahead[:-1]])
    behind[first] = ahead[last - 1]
    turn = np.abs(np.arctan2(behind[:, 0] * ahead[:, 1] - behind[:, 1] * ahead[:, 0], (behind * ahead).sum(axis=1)))
    turned = turn > CORNER
    # Between one ring and the next there is no vertex.
    turned[last[:-1]] = False
    corners: list[list[float]] = [[] for _ in rings]
    for ring in np.unique(number[:-1][turned]):
        sides = ahead[first[ring] : last[ring]]
        along = np.concatenate([[0.0], np.cumsum(np.hypot(sides[:, 0], sides[:, 1]))[:-1]])
        corners[ring] = along[turned[first[ring] : last[ring]]].tolist()
    return corners


def _parallel_lines(region: BaseGeometry, width: float, *, turned: bool) -> list[list[XY]]:
    """Parallel lines a bead apart, every other one reversed."""
    low_x, low_y, high_x, high_y = region.bounds
    if turned:
        low_x, low_y, high_x, high_y = low_y, low_x, high_y, high_x
    count = max(1, round((high_y - low_y) / width))
    spacing = (high_y - low_y) / count
    lines: list[list[XY]] = []
    for row in range(count):
        across = low_y + (row + 0.5) * spacing
        ends = [(low_x - 1, across), (high_x + 1, across)]
        cut = region.intersection(LineString([(y, x) for x, y in ends] if turned else ends))
        parts = [_micrometres(shapely.get_coordinates(part)) for part in shapely.get_parts(cut) if part.length > _SLIVER]
        parts.sort()
        lines.extend([part[::-1] for part in parts[::-1]] if row % 2 else parts)
    return lines


def _append_lines(pieces: list[list[XY]], lines: list[list[XY]], here: XY | None, chord: float) -> XY | None:
    """Add infill from the end that is nearer to the nozzle, long lines cut into chords."""
    if not lines:
        return here
    if here is not None and math.dist(here, lines[-1][-1]) < math.dist(here, lines[0][0]):
        lines = [line[::-1] for line in lines[::-1]]
    for line in lines:
        pieces.append(_divided(line, chord))
    return pieces[-1][-1]


def _divided(line: Sequence[XY], chord: float) -> list[XY]:
    (x0, y0), (x1, y1) = line[0], line[-1]
    parts = max(1, round(math.dist(line[0], line[-1]) / 1000 / chord))
    return [(x0 + (x1 - x0) * part // parts, y0 + (y1 - y0) * part // parts) for part in range(parts + 1)]


def _micrometres(coordinates: np.ndarray) -> list[XY]:
    whole: list[XY] = [(x, y) for x, y in np.rint(coordinates * 1000).astype(int).tolist()]
    return whole
