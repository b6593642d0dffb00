"""Solids with an exact formula: caplet, film and grid, sized so that the volume is the target to 28 digits.

Sizes are decimals from the volume and the recipe's proportions; whole layers fit, and the width takes up what the height
was moved by. The body of trimesh stands beside the formula: it must be watertight and agree within the share that its facets cut off
the smooth body (`facet_bound`, stated with the solid). Lengths are mm, volumes µL.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Literal, assert_never

import numpy as np
import trimesh

from audit.quantities import EXACT, Microlitre
from recipes.errors import GeometryRefused
from recipes.shape_families import Caplet, Film, Grid
from recipes.shapes import Range

PI = Decimal("3.141592653589793238462643383")
HALF_TURN = 32
"""Facets of a half circle."""

CROWN_LEVELS = 12
_FLAT_BOUND = 2e-3
_CROWN_BOUND = 8e-3
_NO_FACETS = 1e-9
_MICROMETRE = Decimal("0.001")
_ENGINE_AGREES = Decimal("1e-20")


@dataclass(frozen=True, slots=True)
class Body:
    """An exact solid that stands on z = 0, the middle of its plan at the origin.

    `formula_volume` is that of the decimal sizes. `straight`: the straight part of a caplet's plan; `corner`: corner radius of a
    film; `crown`: domed height of a caplet; `strands` of a grid and their width `strand`; `plan_reach` of a
    solid from a file, and `longest`, the largest distance between two of its points.
    """

    family: Literal["caplet", "film", "grid", "stl"]
    volume: Microlitre
    formula_volume: Decimal
    mesh_volume: float
    facet_bound: float
    length: Decimal
    width: Decimal
    height: Decimal
    layers: int
    mesh: trimesh.Trimesh
    straight: Decimal = Decimal(0)
    corner: Decimal = Decimal(0)
    crown: Decimal = Decimal(0)
    strands: int = 0
    strand: Decimal = Decimal(0)
    plan_reach: float = 0.0
    longest: float = 0.0

    @property
    def sides(self) -> tuple[Decimal, Decimal, Decimal]:
        return self.length, self.width, self.height

    @property
    def layer_height(self) -> Decimal:
        return EXACT.divide(self.height, Decimal(self.layers))

    @property
    def reach(self) -> float:
        """The largest distance in plan from the middle."""
        if self.family == "stl":
            return self.plan_reach
        if self.family == "caplet":
            return float(self.length) / 2
        return math.hypot(float(self.length / 2 - self.corner), float(self.width / 2 - self.corner)) + float(self.corner)

    @property
    def largest_dimension(self) -> Decimal:
        """The largest side; of a solid from a file, which may lie in it at any angle, the largest distance between two points."""
        return Decimal(self.longest) if self.family == "stl" else max(self.sides)

    @property
    def smallest_feature(self) -> Decimal:
        return min(self.height, self.width)


def build_body(
    geometry: Caplet | Film | Grid, volume: Microlitre, *, layer_height: Range, bead_width: Range, widening: Decimal = Decimal(0)
) -> Body:
    """Size a solid to a volume so that whole layers fit; openings stay open should strands become wider by the share `widening`.

    Raises GeometryRefused with what to change.
    """
    if volume.value <= 0:
        raise GeometryRefused([f"A volume of {volume} has no shape; check the dose and the ink's strength"])
    match geometry:
        case Caplet():
            body = _caplet(geometry, volume, layer_height)
        case Film():
            body = _film(geometry, volume, layer_height)
        case Grid():
            body = _grid(geometry, volume, layer_height, bead_width, widening)
        case _:
            assert_never(geometry)
    _check(body)
    return body


def _check(body: Body) -> None:
    """The formula against the target, and trimesh against the formula."""
    target = body.volume.value
    if abs(EXACT.divide(body.formula_volume, target) - 1) > _ENGINE_AGREES:
        raise GeometryRefused([f"The {body.family} of {body.volume} cannot be sized exactly; report it with the recipe"])
    if not body.mesh.is_watertight:
        raise GeometryRefused([f"The {body.family} of {body.volume} is not watertight; the solid cannot be sliced"])
    if abs(body.mesh_volume / float(target) - 1) > body.facet_bound:
        raise GeometryRefused(
            [f"The {body.family} of {body.volume} measures {body.mesh_volume:.4f} uL in facets, more than {body.facet_bound:.2%} off"]
        )


def whole_layers(height: Decimal, wanted: Range) -> tuple[int, Decimal]:
    """Return the whole number of layers nearest to a height, and the layer height kept a micrometre inside its range."""
    layers = max(1, int(EXACT.divide(height, wanted.set_point).to_integral_value(rounding=ROUND_HALF_EVEN)))
    low, high = wanted.low + _MICROMETRE, wanted.high - _MICROMETRE
    each = EXACT.divide(height, Decimal(layers))
    return layers, min(max(each, low), high) if low < high else wanted.set_point


def _caplet_shape(geometry: Caplet) -> Decimal:
    """Volume over width² and height: π/4 + (a − 1) where it is straight, less below the dome (ellipsoid and elliptic cylinder)."""
    longer, quarter = geometry.length_to_width - 1, PI / 4
    dome = EXACT.add(EXACT.divide(2 * quarter, Decimal(3)), EXACT.multiply(quarter, longer))
    return EXACT.add(EXACT.multiply(1 - geometry.crown, quarter + longer), EXACT.multiply(geometry.crown, dome))


def _caplet(geometry: Caplet, volume: Microlitre, wanted: Range) -> Body:
    share = _caplet_shape(geometry)
    first = _cube_root(EXACT.divide(volume.value, EXACT.multiply(share, geometry.height_to_width)))
    layers, each = whole_layers(EXACT.multiply(first, geometry.height_to_width), wanted)
    height = EXACT.multiply(each, Decimal(layers))
    width = EXACT.sqrt(EXACT.divide(volume.value, EXACT.multiply(share, height)))
    length = EXACT.multiply(width, geometry.length_to_width)
    crown = EXACT.multiply(height, geometry.crown)
    mesh = _loft(_stadium_rings(float(width), float(length), float(height), float(crown)))
    formula = EXACT.multiply(EXACT.multiply(share, height), EXACT.multiply(width, width))
    return Body(
        family="caplet",
        volume=volume,
        formula_volume=formula,
        mesh_volume=float(mesh.volume),
        facet_bound=_CROWN_BOUND if crown else _FLAT_BOUND,
        length=length,
        width=width,
        height=height,
        layers=layers,
        mesh=mesh,
        straight=length - width,
        crown=crown,
    )


def _film(geometry: Film, volume: Microlitre, wanted: Range) -> Body:
    layers, each = whole_layers(geometry.thickness.value, wanted)
    height = EXACT.multiply(each, Decimal(layers))
    share = geometry.length_to_width - EXACT.multiply(4 - PI, EXACT.multiply(geometry.corner_to_width, geometry.corner_to_width))
    width = EXACT.sqrt(EXACT.divide(volume.value, EXACT.multiply(share, height)))
    length = EXACT.multiply(width, geometry.length_to_width)
    corner = EXACT.multiply(width, geometry.corner_to_width)
    ring = _rounded_rectangle(float(length), float(width), float(corner))
    mesh = _loft([np.column_stack([ring, np.full(len(ring), z)]) for z in (0.0, float(height))])
    return Body(
        family="film",
        volume=volume,
        formula_volume=EXACT.multiply(EXACT.multiply(share, height), EXACT.multiply(width, width)),
        mesh_volume=float(mesh.volume),
        facet_bound=_FLAT_BOUND,
        length=length,
        width=width,
        height=height,
        layers=layers,
        mesh=mesh,
        corner=corner,
    )


def _grid(geometry: Grid, volume: Microlitre, wanted: Range, bead_width: Range, widening: Decimal) -> Body:
    first = _cube_root(EXACT.divide(volume.value, EXACT.multiply(geometry.fill, geometry.height_to_width)))
    layers, each = whole_layers(EXACT.multiply(first, geometry.height_to_width), wanted)
    height = EXACT.multiply(each, Decimal(layers))
    side = EXACT.sqrt(EXACT.divide(volume.value, EXACT.multiply(geometry.fill, height)))
    strands, strand = _strands(geometry, side, bead_width, widening)
    mesh = _grid_boxes(float(side), float(strand), strands, float(each), layers)
    area = EXACT.multiply(strand, (strands + 1) * side - strands * strand)
    return Body(
        family="grid",
        volume=volume,
        formula_volume=EXACT.multiply(area, height),
        mesh_volume=float(mesh.volume),
        facet_bound=_NO_FACETS,
        length=side,
        width=side,
        height=height,
        layers=layers,
        mesh=mesh,
        strands=strands,
        strand=strand,
    )


def _strands(geometry: Grid, side: Decimal, bead_width: Range, widening: Decimal) -> tuple[int, Decimal]:
    """Number of strands and their width, so that strands and the turns between them cover `fill` of the square.

    n strands of width b over the side S, joined by n − 1 turns, cover b ((n + 1) S − n b); the smaller root is the width.
    """
    best: tuple[Decimal, int, Decimal] | None = None
    room = EXACT.divide(bead_width.high - bead_width.low, Decimal(100))
    for count in range(2, 200):
        inside = (count + 1) ** 2 - 4 * count * geometry.fill
        if inside < 0:
            continue
        width = EXACT.divide(EXACT.multiply(side, count + 1 - EXACT.sqrt(inside)), Decimal(2 * count))
        opening = EXACT.divide(side - width, Decimal(count - 1)) - width * (1 + widening)
        if opening < geometry.smallest_opening.value or not bead_width.low + room <= width <= bead_width.high - room:
            continue
        miss = abs(width - bead_width.set_point)
        if best is None or miss < best[0]:
            best = miss, count, width
    if best is None:
        raise GeometryRefused(
            [
                f"a grid {side:.2f} mm wide has no whole number of strands of {bead_width.low:.3f} to {bead_width.high:.3f} mm that fill "
                f"{geometry.fill} of it and leave openings of {geometry.smallest_opening}; choose another strength or recipe"
            ]
        )
    return best[1], best[2]


def _cube_root(value: Decimal) -> Decimal:
    """The cube root to the last digits: proportions follow from it, the volume does not rest on it."""
    return EXACT.power(value, EXACT.divide(Decimal(1), Decimal(3)))


def _stadium_rings(width: float, length: float, height: float, crown: float) -> list[np.ndarray]:
    levels = [(0.0, 1.0), (height - crown, 1.0)]
    if crown:
        turns = [step / CROWN_LEVELS * math.pi / 2 for step in range(1, CROWN_LEVELS)]
        levels += [(height - crown + crown * math.sin(turn), math.cos(turn)) for turn in turns]
    rings = [_stadium(length - width, width / 2 * narrow, z) for z, narrow in levels]
    if crown:
        # The dome ends in a line: the last level is drawn to it.
        rings.append(_stadium(length - width, 0.0, height))
    return rings


def _stadium(straight: float, radius: float, z: float) -> np.ndarray:
    turn = np.linspace(-math.pi / 2, math.pi / 2, HALF_TURN + 1)
    right = np.column_stack([straight / 2 + radius * np.cos(turn), radius * np.sin(turn)])
    left = -right
    return np.column_stack([np.vstack([right, left]), np.full(2 * len(turn), z)])


def _rounded_rectangle(length: float, width: float, corner: float) -> np.ndarray:
    if corner <= 0:
        return np.array([[-length, -width], [length, -width], [length, width], [-length, width]]) / 2
    points = []
    for quarter, (x, y) in enumerate(((1, 1), (-1, 1), (-1, -1), (1, -1))):
        turn = np.linspace(0, math.pi / 2, HALF_TURN // 2 + 1) + quarter * math.pi / 2
        centre = (x * (length / 2 - corner), y * (width / 2 - corner))
        points.append(np.column_stack([centre[0] + corner * np.cos(turn), centre[1] + corner * np.sin(turn)]))
    return np.vstack(points)


def _loft(rings: list[np.ndarray]) -> trimesh.Trimesh:
    """Join rings of equal counts, counter-clockwise, and close both ends by fans around their middle."""
    count = len(rings[0])
    ends = [np.append(ring[:, :2].mean(axis=0), ring[0, 2]) for ring in (rings[0], rings[-1])]
    vertices = np.vstack([*rings, *ends])
    this, following = np.arange(count), (np.arange(count) + 1) % count
    bottom, top = len(rings) * count, len(rings) * count + 1
    faces = [np.column_stack([np.full(count, bottom), following, this])]
    for level in range(len(rings) - 1):
        low, high = level * count, (level + 1) * count
        faces.append(np.column_stack([low + this, low + following, high + following]))
        faces.append(np.column_stack([low + this, high + following, high + this]))
    last = (len(rings) - 1) * count
    faces.append(np.column_stack([np.full(count, top), last + this, last + following]))
    return trimesh.Trimesh(vertices=vertices, faces=np.vstack(faces), process=False)


def _grid_boxes(side: float, strand: float, strands: int, each: float, layers: int) -> trimesh.Trimesh:
    """Boxes that touch and nowhere overlap: strands across the whole side, and the turns that join them at alternating ends."""
    pitch = (side - strand) / (strands - 1)
    spans = []
    for row in range(strands):
        across = -side / 2 + row * pitch
        spans.append((-side / 2, side / 2, across, across + strand))
        if row < strands - 1:
            right = row % 2 == 0
            spans.append(
                (side / 2 - strand if right else -side / 2, side / 2 if right else strand - side / 2, across + strand, across + pitch)
            )
    along = np.array(spans)
    corners = np.array([(i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    vertices = []
    for layer in range(layers):
        x, y = (along[:, :2], along[:, 2:]) if layer % 2 == 0 else (along[:, 2:], along[:, :2])
        z = np.tile([layer * each, (layer + 1) * each], (len(along), 1))
        vertices.append(np.stack([x[:, corners[:, 0]], y[:, corners[:, 1]], z[:, corners[:, 2]]], axis=-1).reshape(-1, 3))
    boxes = layers * len(along)
    faces = (_BOX[None, :, :] + 8 * np.arange(boxes)[:, None, None]).reshape(-1, 3)
    return trimesh.Trimesh(vertices=np.vstack(vertices), faces=faces, process=False)


_BOX = np.array(
    [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1], [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]]
)
"""The facets of a box whose corner 4 i + 2 j + k lies at the i-th x, j-th y and k-th z, seen from outside counter-clockwise."""
