"""Pictures of a unit as SVG text: the solid in three views with its dimensions, and the tool path of chosen layers.

Everything is drawn in whole micrometres from the outlines of the exact solid and from the path that is printed: equal inputs give
equal bytes. A picture shows and decides nothing. Only paths, rectangles, circles and plain ASCII text are written, without styles,
scripts or links: `audit.release.document_picture` lets nothing else onto paper.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from recipes.outlines import Outline
from recipes.toolpath import XY, Layer, UnitPath

_INK, _QUIET, _ACCENT = "#1b2a33", "#5c6b73", "#0b5d66"
_FACE, _TONES = "#eef4f4", ("#d3e1e2", "#c3d5d7", "#b1c8ca", "#9fbabd")
_BEAD, _TRAVEL, _START, _STOP = "#c9dddf", "#b4541a", "#226b3a", "#a8201a"
_COS, _SIN, _ONE = 866, 500, 1000
_MOST_FACETS = 64

Rings = Sequence[Sequence[XY]]


@dataclass(slots=True)
class _Sheet:
    """Elements with the extent that they need. `unit`: the size of small type in µm."""

    unit: int
    elements: list[str]
    right: int = 0
    bottom: int = 0

    def reach(self, x: int, y: int) -> None:
        self.right, self.bottom = max(self.right, x), max(self.bottom, y)

    def text(self, x: int, y: int, words: str, *, anchor: str = "middle", size: int = 100, fill: str = _INK, turned: bool = False) -> None:
        turn = f' transform="rotate(-90 {x} {y})"' if turned else ""
        self.elements.append(
            f'<text x="{x}" y="{y}" font-size="{self.unit * size // 100}" text-anchor="{anchor}" fill="{fill}"{turn}>{words}</text>'
        )

    def path(self, data: str, *, fill: str = "none", stroke: str = "none", width: int = 0, dash: str = "") -> None:
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self.elements.append(
            f'<path d="{data}" fill="{fill}" stroke="{stroke}" stroke-width="{width}" fill-rule="evenodd" stroke-linejoin="round"'
            f' stroke-linecap="round"{dashes}/>'
        )

    def dimension(self, start: XY, end: XY, words: str) -> None:
        """A dimension line with its ends marked; upright or level."""
        (x0, y0), (x1, y1) = start, end
        mark, level = self.unit // 3, y0 == y1
        ends = "".join(f"M{x - mark * (not level)} {y - mark * level}L{x + mark * (not level)} {y + mark * level}" for x, y in (start, end))
        self.path(f"M{x0} {y0}L{x1} {y1}{ends}", stroke=_QUIET, width=self.unit // 14)
        if level:
            self.text((x0 + x1) // 2, y0 + self.unit * 15 // 10, words, size=120)
        else:
            self.text(x0 + self.unit * 15 // 10, (y0 + y1) // 2, words, size=120, turned=True)

    def svg(self, title: str) -> bytes:
        width, height = self.right + self.unit, self.bottom + self.unit
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width * 4 // 1000}"'
            f' height="{height * 4 // 1000}" font-family="Libertinus Serif, Georgia, serif" role="img" aria-label="{title}">'
        )
        return "\n".join([head, *self.elements, "</svg>", ""]).encode("ascii")


def draw_unit(outlines: Sequence[Outline], shape: Mapping[str, str], label: str) -> bytes:
    """Draw a unit seen from above one corner, from above and from the front, with its dimensions in mm."""
    box = _box(outlines)
    height = outlines[-1].high
    sheet = _Sheet(max(box[2] - box[0], box[3] - box[1], height) // 9, [])
    edge = _perspective(sheet, outlines, sheet.unit)
    plan_x = edge + 2 * sheet.unit
    _plan_view(sheet, outlines, box, plan_x, shape)
    side_x = plan_x + box[2] - box[0] + 4 * sheet.unit
    _front_view(sheet, outlines, box, side_x, shape)
    return sheet.svg(f"{label}: {shape.get('family', 'unit')}")


def draw_layers(outlines: Sequence[Outline], path: UnitPath, label: str) -> bytes:
    """Draw the tool path of the first, second, middle and last layer: beads, travel, where the flow starts and stops."""
    box = _box(outlines)
    sheet = _Sheet(max(box[2] - box[0], box[3] - box[1]) // 11, [])
    chosen = sorted({0, min(1, len(path.layers) - 1), len(path.layers) // 2, len(path.layers) - 1})
    pitch = max(box[2] - box[0], 12 * sheet.unit) + 2 * sheet.unit
    for place, index in enumerate(chosen):
        before = path.layers[index - 1].strokes[-1].points[-1] if index else None
        middle = sheet.unit + pitch * place + (pitch - 2 * sheet.unit) // 2
        _layer_view(sheet, outlines[index].rings, path.layers[index], before, (middle - (box[0] + box[2]) // 2, 2 * sheet.unit + box[3]))
        _caption(sheet, path.layers[index], index, len(path.layers), middle, 2 * sheet.unit + box[3] - box[1])
    _legend(sheet, sheet.unit, sheet.bottom + 2 * sheet.unit)
    sheet.reach(sheet.unit + pitch * len(chosen) - 2 * sheet.unit, sheet.bottom)
    return sheet.svg(f"{label}: layers")


# the solid


def _box(outlines: Iterable[Outline]) -> tuple[int, int, int, int]:
    points = [point for outline in outlines for ring in outline.rings for point in ring]
    return min(x for x, _ in points), min(y for _, y in points), max(x for x, _ in points), max(y for _, y in points)


def _perspective(sheet: _Sheet, outlines: Sequence[Outline], left: int) -> int:
    """The solid from the front right, above: each run of equal layers as walls and a top, from below upwards. Returns its right edge."""
    corners = [(x, y, z) for outline in outlines for ring in outline.rings for x, y in ring for z in (outline.low, outline.high)]
    flat = [_seen(*corner) for corner in corners]
    shift_x, shift_y = left - min(x for x, _ in flat), 2 * sheet.unit - min(y for _, y in flat)

    def at(point: XY, z: int) -> str:
        x, y = _seen(point[0], point[1], z)
        return f"{x + shift_x} {y + shift_y}"

    for rings, run in groupby(outlines, key=lambda outline: outline.rings):
        layers = list(run)
        low, high = layers[0].low, layers[-1].high
        coarse = [_coarser(ring) for ring in rings]
        for ring in sorted(coarse, key=_area):
            _walls(sheet, ring, low, high, at)
        top = "".join("M" + "L".join(at(point, high) for point in ring) + "Z" for ring in coarse)
        sheet.path(top, fill=_FACE, stroke=_ACCENT, width=sheet.unit // 24)
    right, bottom = max(x for x, _ in flat) + shift_x, max(y for _, y in flat) + shift_y
    sheet.reach(right, bottom)
    return right


def _seen(x: int, y: int, z: int) -> XY:
    """Isometric: x runs to the lower right, y to the upper right, z up."""
    return (x + y) * _COS // _ONE, (x - y) * _SIN // _ONE - z


def _walls(sheet: _Sheet, ring: Sequence[XY], low: int, high: int, at: object) -> None:
    """The walls of a ring that face the onlooker, who stands at the side of x and against y; darker where they turn to the right."""
    if not callable(at):
        return
    quads: dict[int, list[str]] = {}
    for start, end in pairwise([*ring, ring[0]]):
        dx, dy = end[0] - start[0], end[1] - start[1]
        # The outward normal of an edge that has the body on its left is (dy, -dx).
        facing = dy + dx
        if facing <= 0:
            continue
        tone = min(len(_TONES) - 1, max(0, dy) * len(_TONES) // max(1, abs(dx) + abs(dy)))
        quads.setdefault(tone, []).append(f"M{at(start, low)}L{at(end, low)}L{at(end, high)}L{at(start, high)}Z")
    for tone in sorted(quads):
        sheet.path("".join(quads[tone]), fill=_TONES[tone], stroke=_TONES[tone], width=sheet.unit // 60)


def _area(ring: Sequence[XY]) -> int:
    """Twice the area, with the sign of its turn: holes come first."""
    return sum(a[0] * b[1] - b[0] * a[1] for a, b in pairwise([*ring, ring[0]]))


def _coarser(ring: Sequence[XY]) -> Sequence[XY]:
    return ring[:: 1 + len(ring) // _MOST_FACETS] if len(ring) > _MOST_FACETS else ring


def _outline_data(rings: Rings, shift: XY) -> str:
    return "".join("M" + "L".join(f"{shift[0] + x} {shift[1] - y}" for x, y in ring) + "Z" for ring in rings)


def _plan_view(sheet: _Sheet, outlines: Sequence[Outline], box: tuple[int, int, int, int], left: int, shape: Mapping[str, str]) -> None:
    top, width, depth = 2 * sheet.unit, box[2] - box[0], box[3] - box[1]
    shift = (left - box[0], top + box[3])
    seen: list[Rings] = []
    for outline in outlines:
        if outline.rings not in seen:
            seen.append(outline.rings)
    largest = max(seen, key=lambda rings: sum(_area(ring) for ring in rings))
    for rings in [largest, *(rings for rings in (seen[0], seen[len(seen) // 2], seen[-1]) if rings is not largest)]:
        first = rings is largest
        sheet.path(_outline_data(rings, shift), fill=_FACE if first else "none", stroke=_ACCENT, width=sheet.unit // (16 if first else 32))
    sheet.text(left + width // 2, sheet.unit, "from above", fill=_QUIET)
    below, beside = top + depth + sheet.unit, left + width + sheet.unit
    long, wide = shape.get("length_mm"), shape.get("width_mm")
    sheet.dimension((left, below), (left + width, below), f"{long or shape.get('diameter_mm', '')} mm")
    if wide is not None:
        sheet.dimension((beside, top), (beside, top + depth), f"{wide} mm")
    sheet.reach(beside + 2 * sheet.unit, below + 2 * sheet.unit)


def _front_view(sheet: _Sheet, outlines: Sequence[Outline], box: tuple[int, int, int, int], left: int, shape: Mapping[str, str]) -> None:
    height, top = outlines[-1].high, 2 * sheet.unit
    for outline in outlines:
        low = min(x for ring in outline.rings for x, _ in ring) - box[0]
        high = max(x for ring in outline.rings for x, _ in ring) - box[0]
        y0, y1 = top + height - outline.high, top + height - outline.low
        sheet.path(
            f"M{left + low} {y0}L{left + high} {y0}L{left + high} {y1}L{left + low} {y1}Z",
            fill=_FACE,
            stroke=_ACCENT,
            width=sheet.unit // 24,
        )
    width = box[2] - box[0]
    sheet.text(left + width // 2, sheet.unit, "from the front", fill=_QUIET)
    beside, below = left + width + sheet.unit, top + height
    sheet.dimension((beside, top), (beside, below), f"{shape.get('height_mm', '')} mm")
    each = (outlines[0].high - outlines[0].low + 5) // 10
    count = len(outlines)
    words = f"{count} layer{'' if count == 1 else 's'} of {each // 100}.{each % 100:02d} mm"
    sheet.text(left + width // 2, below + sheet.unit * 15 // 10, words, fill=_QUIET)
    sheet.reach(beside + 2 * sheet.unit, below + 2 * sheet.unit)


# the layers


def _layer_view(sheet: _Sheet, rings: Rings, layer: Layer, before: XY | None, shift: XY) -> None:
    def at(point: XY) -> str:
        return f"{shift[0] + point[0]} {shift[1] - point[1]}"

    sheet.path(_outline_data(rings, shift), fill="#f3f6f7", stroke=_QUIET, width=sheet.unit // 40)
    bead, thin = round(layer.bead_width * 1000), sheet.unit // 16
    beads = ["M" + "L".join(at(point) for point in stroke.points) for stroke in layer.strokes]
    sheet.path("".join(beads), stroke=_BEAD, width=bead * 85 // 100)
    sheet.path("".join(beads), stroke=_ACCENT, width=thin)
    ends = [
        *([before] if before is not None else []),
        *(point for stroke in layer.strokes for point in (stroke.points[0], stroke.points[-1])),
    ]
    travels = list(pairwise(ends))[0 if before is not None else 1 :: 2]
    moved = [f"M{at(start)}L{at(end)}" for start, end in travels if start != end]
    if moved:
        sheet.path("".join(moved), stroke=_TRAVEL, width=2 * thin, dash=f"{sheet.unit // 4} {sheet.unit // 4}")
    for stroke in layer.strokes:
        _mark_start(sheet, at(stroke.points[0]).split())
        _mark_stop(sheet, at(stroke.points[-1]).split())
    points = [point for ring in rings for point in ring]
    sheet.reach(shift[0] + max(x for x, _ in points), shift[1] - min(y for _, y in points))


def _mark_start(sheet: _Sheet, at: Sequence[str]) -> None:
    sheet.elements.append(f'<circle cx="{at[0]}" cy="{at[1]}" r="{sheet.unit // 4}" fill="{_START}"/>')


def _mark_stop(sheet: _Sheet, at: Sequence[str]) -> None:
    half = sheet.unit // 5
    sheet.elements.append(
        f'<rect x="{int(at[0]) - half}" y="{int(at[1]) - half}" width="{2 * half}" height="{2 * half}" fill="none" stroke="{_STOP}"'
        f' stroke-width="{sheet.unit // 12}"/>'
    )


def _caption(sheet: _Sheet, layer: Layer, index: int, count: int, middle: int, below: int) -> None:
    sheet.text(middle, below + sheet.unit * 18 // 10, f"Layer {index + 1} of {count}")
    top = f"{layer.z // 1000}.{layer.z % 1000:03d}"
    words = f"top at {top} mm, bead {layer.bead_width:.2f} mm, {float(layer.volume):.2f} uL"
    sheet.text(middle, below + sheet.unit * 31 // 10, words, fill=_QUIET, size=80)
    sheet.reach(middle + 6 * sheet.unit, below + sheet.unit * 31 // 10)


def _legend(sheet: _Sheet, x: int, y: int) -> None:
    unit = sheet.unit
    level = y - unit // 3
    sheet.path(f"M{x} {level}L{x + 2 * unit} {level}", stroke=_BEAD, width=unit // 2)
    sheet.path(f"M{x} {level}L{x + 2 * unit} {level}", stroke=_ACCENT, width=unit // 16)
    sheet.text(x + 3 * unit, y, "bead", anchor="start", fill=_QUIET)
    sheet.path(f"M{x + 7 * unit} {level}L{x + 9 * unit} {level}", stroke=_TRAVEL, width=unit // 8, dash=f"{unit // 4} {unit // 4}")
    sheet.text(x + 10 * unit, y, "travel", anchor="start", fill=_QUIET)
    _mark_start(sheet, (str(x + 15 * unit), str(level)))
    sheet.text(x + 16 * unit, y, "start", anchor="start", fill=_QUIET)
    _mark_stop(sheet, (str(x + 20 * unit), str(level)))
    sheet.text(x + 21 * unit, y, "stop", anchor="start", fill=_QUIET)
    sheet.reach(x + 24 * unit, y)
