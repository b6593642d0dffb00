"""Strokes, layers and the path of a unit: what a tool path is made of, whatever solid it fills. Points are in µm, lengths in mm."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from audit.quantities import Microlitre

XY = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Stroke:
    """One unbroken bead: points in µm relative to the unit's centre; `length` in mm is that of the rounded points."""

    points: tuple[XY, ...]
    length: float


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: nozzle height in µm, thickness in mm, exact volume in µL, strokes in order of printing."""

    z: int
    thickness: float
    volume: Fraction
    strokes: tuple[Stroke, ...]

    @property
    def length(self) -> float:
        return math.fsum(stroke.length for stroke in self.strokes)

    @property
    def bead_area(self) -> float:
        """Cross-section of the bead in mm²: volume over length."""
        return float(self.volume) / self.length

    @property
    def bead_width(self) -> float:
        """Width in mm of a bead of that cross-section and the layer's thickness."""
        return self.bead_area / self.thickness


@dataclass(frozen=True, slots=True)
class UnitPath:
    """The path of one unit and the volume it lays down."""

    volume: Microlitre
    layers: tuple[Layer, ...]
    radius: int
    """Largest distance in µm of a point from the centre."""

    @property
    def height(self) -> int:
        """Height of the last layer in µm."""
        return self.layers[-1].z


def joined(pieces: Iterable[list[XY]], gap: float) -> list[list[XY]]:
    """Join pieces whose ends lie within a bead or so: the nozzle goes on without stopping the flow."""
    strokes: list[list[XY]] = []
    for piece in pieces:
        if strokes and math.dist(strokes[-1][-1], piece[0]) / 1000 <= gap:
            strokes[-1].extend(piece)
        else:
            strokes.append(list(piece))
    return strokes


def stroke_of(points: Sequence[XY]) -> Stroke:
    """Leave out points that rounding has made equal."""
    kept = [points[0]]
    for point in points[1:]:
        if point != kept[-1]:
            kept.append(point)
    length = math.fsum(math.dist(a, b) for a, b in pairwise(kept)) / 1000
    return Stroke(points=tuple(kept), length=length)
