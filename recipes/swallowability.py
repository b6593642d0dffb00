"""What a patient can swallow: the largest dimension of a unit by age band, for every family of shapes.

The largest dimension is that of the exact solid: the largest of length (or diameter), width and height; of a solid from a file the largest
distance between two of its points, however it lies in the file; of a filled capsule its closed length; of two inks that of the whole unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_CEILING, Decimal
from typing import Annotated

from audit.quantities import EXACT, Milligram, Millimetre, Year
from recipes.figures import Document, NotNegative, Positive

_SHOWN = Decimal("0.01")


class SwallowBand(Document):
    """The largest dimension that a unit may have for a patient of `from_age` and more, up to the next band."""

    from_age: Annotated[Year, NotNegative]
    largest_dimension: Annotated[Millimetre, Positive]


def checked_swallowing(bands: tuple[SwallowBand, ...]) -> tuple[SwallowBand, ...]:
    """Return the bands. Raises ValueError unless their ages rise."""
    ages = [band.from_age.value for band in bands]
    if ages != sorted(set(ages)):
        raise ValueError("each band starts at a higher age than the one before")
    return bands


def largest_for(bands: Sequence[SwallowBand], age: Year) -> Millimetre | None:
    """Return the largest dimension for a patient of this age; None where no band is for the age."""
    return next((band.largest_dimension for band in reversed(bands) if age >= band.from_age), None)


def age_reasons(bands: Sequence[SwallowBand], age: Year | None) -> list[str]:
    """Return why no size can be judged for this patient (None: the age is not stated)."""
    if not bands:
        return []
    if age is None:
        return ["the recipe bounds the size of a unit by the patient's age, and no age is stated; state it"]
    if largest_for(bands, age) is None:
        youngest = bands[0].from_age
        return [f"the recipe's units are for patients from {youngest}, the patient is {age} old; choose another dosage form"]
    return []


def size_reasons(bands: Sequence[SwallowBand], age: Year | None, unit: Milligram, largest: Decimal) -> list[str]:
    """Return why a patient of this age should not be asked to swallow a unit whose largest dimension is `largest` mm.

    What `age_reasons` refuses is not refused again. A size is shown rounded up: one that is over its limit never looks like it.
    """
    allowed = None if age is None else largest_for(bands, age)
    if allowed is None or largest <= allowed.value:
        return []
    shown = largest.quantize(_SHOWN, rounding=ROUND_CEILING, context=EXACT)
    return [
        f"a unit of {unit} would be {shown} mm at its largest, and a patient of {age} is given {allowed} at most; "
        "divide the dose over more units, or choose another dosage form"
    ]
