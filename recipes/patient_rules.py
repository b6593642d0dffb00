"""What a recipe asks of a prescription and its patient, and of the pack."""

from __future__ import annotations

from typing import Annotated, Literal

from audit.quantities import Day
from recipes.figures import Document, Name, Positive

Asked = Literal["age", "measured", "prescriber", "prescription number"]


class BodyRule(Document):
    """What must be on a prescription besides the dose, and how old height and weight may be on the day of printing.

    `longest_since_child` holds below 18 years and where no age is stated.
    """

    asks: tuple[Asked, ...]
    longest_since_child: Annotated[Day, Positive]
    longest_since_adult: Annotated[Day, Positive]


class Pack(Document):
    """What the units are packed in, and how long they last in it from the day of printing."""

    description: Name
    unit_life: Annotated[Day, Positive]
