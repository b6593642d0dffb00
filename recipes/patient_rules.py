"""What a recipe asks of a prescription and its patient, of the pack, and of the unit that has to be swallowed."""

from __future__ import annotations

from typing import Annotated, Literal

from audit.quantities import Day, Millimetre, Year
from recipes.figures import Document, Name, NotNegative, Positive

Asked = Literal["age", "measured", "prescriber", "prescription number"]


class BodyRule(Document):
    """What must be on a prescription besides the dose, and how old height and weight may be on the day of printing.

    `longest_since_child` holds below 18 years and where no age is stated.
    """

    asks: tuple[Asked, ...]
    longest_since_child: Annotated[Day, Positive]
    longest_since_adult: Annotated[Day, Positive]


class SwallowBand(Document):
    """The largest dimension that a unit may have for a patient of `from_age` and more, up to the next band."""

    from_age: Annotated[Year, NotNegative]
    largest_dimension: Annotated[Millimetre, Positive]


class Pack(Document):
    """What the units are packed in, and how long they last in it from the day of printing."""

    description: Name
    unit_life: Annotated[Day, Positive]


def checked_swallowing(bands: tuple[SwallowBand, ...]) -> tuple[SwallowBand, ...]:
    """Return the bands. Raises ValueError unless their ages rise."""
    ages = [band.from_age.value for band in bands]
    if ages != sorted(set(ages)):
        raise ValueError("each band starts at a higher age than the one before")
    return bands


def largest_for(bands: tuple[SwallowBand, ...], age: Year) -> Millimetre | None:
    """Return the largest dimension for a patient of this age; None where the recipe states bands and none of them is for the age."""
    found = None
    for band in bands:
        if age >= band.from_age:
            found = band.largest_dimension
    return found
