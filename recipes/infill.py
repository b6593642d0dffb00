"""Infill of the solids that have a formula: rings of a caplet, strands of a grid; every layer one bead without a stop.

Points come from the formula of the plan, not from its facets, in whole micrometres about the unit's middle. A layer is walked
backwards where the one below ended, so that the next begins there. Bead by bead, length times width is the layer's area.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise

from audit.quantities import EXACT, MillimetrePerSecond
from recipes.errors import GeometryRefused
from recipes.shapes import Range
from recipes.solids import Body
from recipes.toolpath import CHORD_HIGH, CHORD_LOW, COMMANDS_PER_SECOND, XY, Layer, Stroke, UnitPath

_FEWEST_CHORDS = 6
_MOST_BEADS = 60

Point = tuple[float, float]


def plan_body(body: Body, *, bead_width: Range, speed: MillimetrePerSecond) -> UnitPath:
    """Fill a caplet or a grid; `speed` is the expected print speed, which sets the length of chords.

    Raises GeometryRefused where no whole number of beads in range spans a layer.
    """
    chord = min(max(float(speed.value) / COMMANDS_PER_SECOND, CHORD_LOW), CHORD_HIGH)
    weights = layer_weights(body)
    total = sum(map(Fraction, weights))
    layers: list[Layer] = []
    at: XY | None = None
    for index, weight in enumerate(weights):
        points = _grid_layer(body, index, at, chord) if body.family == "grid" else _caplet_layer(body, index, bead_width, chord)
        if index % 2 and body.family == "caplet":
            points = points[::-1]
        stroke = _stroke(points)
        volume = Fraction(body.volume.value) * Fraction(weight) / total
        z = (body.layer_height * (index + 1)).scaleb(3).to_integral_value(context=EXACT)
        layer = Layer(z=int(z), thickness=float(body.layer_height), volume=volume, strokes=(stroke,))
        _check(layer, index, bead_width)
        layers.append(layer)
        at = stroke.points[-1]
    reach = max(math.hypot(x, y) for layer in layers for stroke in layer.strokes for x, y in stroke.points)
    return UnitPath(volume=body.volume, layers=tuple(layers), radius=math.ceil(reach))


def layer_weights(body: Body) -> list[float]:
    """Return the volume of each layer of the exact body, in µL: equal ones, but for a dome, whose layers are its integrals."""
    if not body.crown:
        return [float(body.volume.value) / body.layers] * body.layers
    each = float(body.layer_height)
    marks = [_below(body, each * index) for index in range(body.layers + 1)]
    return [high - low for low, high in pairwise(marks)]


def width_at(body: Body, z: float) -> float:
    """Return the width of a caplet at a height."""
    crown, height, width = float(body.crown), float(body.height), float(body.width)
    above = z - (height - crown)
    return width if above <= 0 or not crown else width * math.sqrt(max(0.0, 1 - (above / crown) ** 2))


def _below(body: Body, z: float) -> float:
    """The volume of a caplet below a height: prism, then half an ellipsoid with half an elliptic cylinder between its halves."""
    width, straight, crown = float(body.width), float(body.straight), float(body.crown)
    foot = float(body.height) - crown
    flat = (math.pi / 4 * width**2 + straight * width) * min(z, foot)
    u = min(max(0.0, (z - foot) / crown), 1.0)
    ends = math.pi / 4 * width**2 * crown * (u - u**3 / 3)
    middle = straight * width * crown * (u * math.sqrt(1 - u * u) + math.asin(u)) / 2
    return flat + ends + middle


def _check(layer: Layer, index: int, bead_width: Range) -> None:
    if not bead_width.holds(layer.bead_width):
        raise GeometryRefused(
            [
                f"Layer {index + 1} would need a bead {layer.bead_width:.3f} mm wide, outside {bead_width.low:.3f} to "
                f"{bead_width.high:.3f} mm; choose another strength or a recipe for this size"
            ]
        )


def _caplet_layer(body: Body, index: int, bead_width: Range, chord: float) -> list[XY]:
    """Rings from the outline to the middle line, each begun where it meets the long axis; an odd number of beads ends on that line."""
    width = width_at(body, float(body.layer_height) * (index + 0.5))
    straight, wanted = float(body.straight), float(bead_width.set_point)
    nearest = max(1, round(width / wanted))
    count = min(
        range(max(1, nearest - 2), nearest + 3), key=lambda beads: (not bead_width.holds(width / beads), abs(width / beads - wanted))
    )
    if count > _MOST_BEADS:
        raise GeometryRefused(
            [f"Layer {index + 1} is {count} beads wide, {_MOST_BEADS} are the most; the recipe's bead is too fine for it"]
        )
    bead = width / count
    points: list[XY] = []
    for ring in range(count // 2):
        points.extend(_stadium(straight, width / 2 - bead * (ring + 0.5), chord))
    if count % 2:
        # The half discs at the ends of the middle bead are as long, as a bead, as a quarter of a turn is wide.
        half = straight / 2 + bead * math.pi / 8
        points.extend(_divided([(half, 0.0), (-half, 0.0)], chord))
    return points


def _stadium(straight: float, radius: float, chord: float) -> list[XY]:
    """Once around, from the right end of the long axis. Chords of the arcs are moved out so that they enclose the area of the arc."""
    turns = max(_FEWEST_CHORDS, 2 * round(math.pi * radius / chord / 2))
    step = math.pi / turns
    outer = radius * math.sqrt(step / math.sin(step))

    def arc(start: float, middle: float, steps: int) -> list[Point]:
        return [(middle + outer * math.cos(start + step * k), outer * math.sin(start + step * k)) for k in range(steps + 1)]

    right = arc(0.0, straight / 2, turns // 2)
    left = arc(math.pi / 2, -straight / 2, turns)
    end = arc(-math.pi / 2, straight / 2, turns // 2)
    found = [*_micrometres(right), *_divided([right[-1], left[0]], chord)[1:], *_micrometres(left)[1:]]
    return [*found, *_divided([left[-1], end[0]], chord)[1:], *_micrometres(end)[1:]]


def _grid_layer(body: Body, index: int, at: XY | None, chord: float) -> list[XY]:
    """Strands to and fro with the turns between them, from the corner nearest to where the nozzle is; every other layer across.

    The first and the last strand go to the edge of the square, the turns stay half a strand inside: as the body does.
    """
    side, strand, count = float(body.width), float(body.strand), body.strands
    pitch, inner = (side - strand) / (count - 1), (side - strand) / 2
    corners: list[Point] = []
    for row in range(count):
        across = -inner + row * pitch
        ends = [(-inner, across), (inner, across)]
        corners.extend(ends if row % 2 == 0 else ends[::-1])
    corners[0] = (-side / 2, corners[0][1])
    corners[-1] = (math.copysign(side / 2, corners[-1][0]), corners[-1][1])
    flips: list[Callable[[Point], Point]] = [
        lambda p: p,
        lambda p: (-p[0], p[1]),
        lambda p: (p[0], -p[1]),
        lambda p: (-p[0], -p[1]),
    ]
    turned = [(y, x) for x, y in corners] if index % 2 else corners
    ways = [_divided([flip(point) for point in turned], chord) for flip in flips]
    return ways[0] if at is None else min(ways, key=lambda way: round(math.dist(way[0], at)))


def _divided(corners: Sequence[Point], chord: float) -> list[XY]:
    points = _micrometres(corners[:1])
    for start, end in pairwise(corners):
        parts = max(1, round(math.dist(start, end) / chord))
        between = [(start[0] + (end[0] - start[0]) * k / parts, start[1] + (end[1] - start[1]) * k / parts) for k in range(1, parts + 1)]
        points.extend(_micrometres(between))
    return points


def _micrometres(points: Sequence[Point]) -> list[XY]:
    return [(round(x * 1000), round(y * 1000)) for x, y in points]


def _stroke(points: Sequence[XY]) -> Stroke:
    kept = [points[0]]
    for point in points[1:]:
        if point != kept[-1]:
            kept.append(point)
    return Stroke(points=tuple(kept), length=math.fsum(math.dist(a, b) for a, b in pairwise(kept)) / 1000)
