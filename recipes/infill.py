"""Infill of the solids that have a formula: rings of a caplet or a film, strands of a grid; every layer one bead without a stop.

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
from recipes.strokes import XY, Layer, UnitPath, stroke_of
from recipes.toolpath import CHORD_HIGH, CHORD_LOW, COMMANDS_PER_SECOND

_FEWEST_CHORDS = 6
_MOST_BEADS = 60

Point = tuple[float, float]


def plan_body(body: Body, *, bead_width: Range, speed: MillimetrePerSecond, perimeters: int | None = None) -> UnitPath:
    """Fill a caplet, film or grid; `speed` is the expected print speed, which sets the length of chords.

    A film has `perimeters` outlines and lines between, or outlines throughout (None); where no line has room, outlines throughout.

    Raises GeometryRefused where no whole number of beads in range spans a layer.
    """
    chord = min(max(float(speed.value) / COMMANDS_PER_SECOND, CHORD_LOW), CHORD_HIGH)
    weights = layer_weights(body)
    total = sum(map(Fraction, weights))
    layers: list[Layer] = []
    at: XY | None = None
    for index, weight in enumerate(weights):
        if body.family == "grid":
            points = _grid_layer(body, index, at, chord)
        elif body.family == "film":
            points = _film_layer(body, index, bead_width, chord, perimeters)
        else:
            points = _caplet_layer(body, index, bead_width, chord)
        if index % 2 and body.family != "grid":
            points = points[::-1]
        if at is not None and body.family == "caplet" and math.dist(points[0], at) > abs(points[0][0]):
            # Layers of a dome have odd and even numbers of beads: they end on the other side.
            points = [(-x, y) for x, y in points]
        stroke = stroke_of(points)
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
    straight = float(body.straight)
    count = _beads(width, bead_width, index)
    bead = width / count
    points: list[XY] = []
    for ring in range(count // 2):
        points.extend(_stadium(straight, width / 2 - bead * (ring + 0.5), chord))
    if count % 2:
        # The half discs at the ends of the middle bead are as long, as a bead, as a quarter of a turn is wide.
        half = straight / 2 + bead * math.pi / 8
        points.extend(_divided([(half, 0.0), (-half, 0.0)], chord))
    return points


def _beads(width: float, bead_width: Range, index: int) -> int:
    """The whole number of beads across a width whose bead is in range and nearest to the set point."""
    wanted = float(bead_width.set_point)
    nearest = max(1, round(width / wanted))
    if nearest > _MOST_BEADS:
        raise GeometryRefused(
            [f"Layer {index + 1} is {nearest} beads wide, {_MOST_BEADS} are the most; the recipe's bead is too fine for it"]
        )
    return min(
        range(max(1, nearest - 2), nearest + 3), key=lambda beads: (not bead_width.holds(width / beads), abs(width / beads - wanted))
    )


def _film_layer(body: Body, index: int, bead_width: Range, chord: float, perimeters: int | None) -> list[XY]:
    """Outlines from the edge inwards, each begun at its lower right corner, where lines begin too; or outlines to the middle line."""
    length, width, corner = float(body.length), float(body.width), float(body.corner)
    count = _beads(width, bead_width, index)
    bead = width / count
    rings = count // 2 if perimeters is None else min(perimeters, count // 2)
    points: list[XY] = []
    for ring in range(rings):
        inset = bead * (ring + 0.5)
        points.extend(_rounded(length - 2 * inset, width - 2 * inset, max(corner - inset, 0.0), chord))
    inset = bead * rings
    x, y, rest = length / 2 - inset, width / 2 - inset, count - 2 * rings
    if rest == 1:
        points.extend(_divided([(x, 0.0), (-x, 0.0)], chord))
    elif rest > 1:
        points.extend(_lines(x, y, max(corner - inset, 0.0), rest, index, bead, chord))
    return points


def _lines(x: float, y: float, corner: float, rows: int, index: int, bead: float, chord: float) -> list[XY]:
    """Lines to and fro in a rounded rectangle of half sides x and y, along it and across it in turn; turns go along its edge."""
    across = index // 2 % 2 == 1
    if across:
        x, y, rows = y, x, max(1, round(2 * x / bead))
    found: list[Point] = []
    for row in range(rows):
        at = -y + (row + 0.5) * 2 * y / rows
        beyond = max(0.0, abs(at) - (y - corner))
        end = x - corner + math.sqrt(max(0.0, corner**2 - beyond**2)) - bead / 2
        found.extend([(end, at), (-end, at)] if row % 2 == 0 else [(-end, at), (end, at)])
    # Across, the lines begin at the same corner.
    return _divided([(-b, -a) for a, b in found] if across else found, chord)


def _rounded(length: float, width: float, corner: float, chord: float) -> list[XY]:
    """Once around a rounded rectangle, from the lower end of its right side; chords of its corners enclose the area of the arcs."""
    x, y = length / 2, width / 2
    before: Point = (x, corner - y)
    found: list[XY] = _micrometres([before])
    turns = max(2, round(math.pi / 2 * corner / chord))
    step = math.pi / 2 / turns
    outer = corner * math.sqrt(step / math.sin(step))
    for quarter, (right, up) in enumerate(((1, 1), (-1, 1), (-1, -1), (1, -1))):
        middle = (right * (x - corner), up * (y - corner))
        angles = [quarter * math.pi / 2 + step * k for k in range(turns + 1 if corner else 1)]
        arc = [(middle[0] + outer * math.cos(angle), middle[1] + outer * math.sin(angle)) for angle in angles]
        found.extend(_divided([before, arc[0]], chord)[1:])
        found.extend(_micrometres(arc)[1:])
        before = arc[-1]
    return found


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
