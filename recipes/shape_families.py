"""Shape families beside cylinder, torus and dispense: caplet, film, grid, and a solid from a validated STL file.

Each fixes the proportions of a unit, so that a volume has one size, and states the bounds that a size must keep.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, field_validator, model_validator

from audit.quantities import Microlitre, Millimetre
from recipes.figures import Count, Document, Hex256, PlainNumber, Positive


def _above_zero(value: Decimal) -> Decimal:
    if value <= 0:
        raise ValueError(f"must be above zero, found {value}")
    return value


def _share(value: Decimal) -> Decimal:
    if not 0 <= value < 1:
        raise ValueError(f"is a share, from 0 up to but not including 1, found {value}")
    return value


Proportion = Annotated[PlainNumber, AfterValidator(_above_zero)]
Share = Annotated[PlainNumber, AfterValidator(_share)]


class SizeBounds(Document):
    """What a unit may measure, whatever its dose.

    `smallest_side` and `largest_side` bound the smallest and the largest of length, width and height; `largest_aspect` their
    ratio. What a patient can swallow is `swallowability` of the recipe.
    """

    smallest_side: Annotated[Millimetre, Positive]
    largest_side: Annotated[Millimetre, Positive]
    largest_aspect: Proportion

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.smallest_side >= self.largest_side:
            raise ValueError(f"smallest_side {self.smallest_side} must be below largest_side {self.largest_side}")
        return self

    def reasons(self, sides: tuple[Decimal, Decimal, Decimal]) -> list[str]:
        """Return why a unit of these sides (length, width, height in mm) is out of bounds."""
        low, high = min(sides), max(sides)
        reasons = []
        if low < self.smallest_side.value:
            reasons.append(
                f"the unit is {low:.2f} mm at its smallest side, the recipe allows {self.smallest_side}; choose a higher strength"
            )
        if high > self.largest_side.value:
            reasons.append(f"the unit is {high:.2f} mm at its largest side, the recipe allows {self.largest_side}; choose a lower strength")
        if high > low * self.largest_aspect:
            reasons.append(f"the unit is {high / low:.1f} times as long as it is thin, the recipe allows {self.largest_aspect}")
        return reasons


class Caplet(Document):
    """A unit with a stadium as its plan: two half discs of the width, joined by a straight part.

    `crown` is the share of the height that is domed: 0 is a flat top; above it every width narrows along an ellipse. `perimeters`
    does not apply: a stadium is filled by rings throughout.
    """

    family: Literal["caplet"]
    length_to_width: Proportion
    height_to_width: Proportion
    crown: Share
    bounds: SizeBounds

    @field_validator("length_to_width")
    @classmethod
    def _longer_than_wide(cls, value: Decimal) -> Decimal:
        if not 1 < value <= 6:
            raise ValueError(f"a caplet is longer than wide, at most six times; found {value}")
        return value


class Film(Document):
    """A thin plate with rounded corners whose area follows the dose: `thickness` is fixed, to the nearest whole layer.

    `corner_to_width` is corner radius over width. Filled by `perimeters` outlines and parallel lines, by outlines alone where none
    are stated.
    """

    family: Literal["film"]
    thickness: Annotated[Millimetre, Positive]
    length_to_width: Proportion
    corner_to_width: Share
    perimeters: Count | None = None
    bounds: SizeBounds

    @model_validator(mode="after")
    def _shaped(self) -> Self:
        if not 1 <= self.length_to_width <= 6:
            raise ValueError(f"length_to_width lies between 1 and 6, found {self.length_to_width}")
        if self.corner_to_width > Decimal("0.45"):
            raise ValueError(f"corner_to_width may be 0.45 at most, found {self.corner_to_width}")
        return self


class Grid(Document):
    """A square of crossing strands with open pores, which liquid enters: layers of strands, turned by 90° from one to the next.

    `fill` is the share of the square that a layer covers; the pores between strands are at least `smallest_opening` wide.
    """

    family: Literal["grid"]
    height_to_width: Proportion
    fill: Proportion
    smallest_opening: Annotated[Millimetre, Positive]
    bounds: SizeBounds

    @field_validator("fill")
    @classmethod
    def _open(cls, value: Decimal) -> Decimal:
        if not Decimal("0.2") <= value <= Decimal("0.85"):
            raise ValueError(f"fill lies between 0.2 and 0.85, found {value}")
        return value


class StlSolid(Document):
    """A solid from an STL file, which this recipe binds by its SHA-256 and describes by its measures in mm and µL.

    `length`, `width` (x, y), `height` and `volume` are those of the file; they must agree with it, so that a file in other units is
    refused. `reach` is the largest distance in plan from the middle of its bounding box. `scale`: `uniform` scales all sides
    alike, `height` leaves the plan as it is. A layer has `perimeters` outlines and parallel lines between.
    """

    family: Literal["stl"]
    sha256: Hex256
    length: Annotated[Millimetre, Positive]
    width: Annotated[Millimetre, Positive]
    height: Annotated[Millimetre, Positive]
    volume: Annotated[Microlitre, Positive]
    reach: Annotated[Millimetre, Positive]
    scale: Literal["uniform", "height"]
    perimeters: Count
    bounds: SizeBounds
