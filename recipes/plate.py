"""The plate: which unit stands where. Strengths are kept apart by rows."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from recipes.errors import CompileRefused
from recipes.model import Plate

Place = tuple[Decimal, Decimal]


def lay_out(plate: Plate, counts: Sequence[int]) -> tuple[tuple[Place, ...], ...]:
    """Give each group of units its places (centres in mm), in order of printing; every group begins a new row.

    Raises CompileRefused where the plate has too few rows.
    """
    places = plate.positions
    groups = []
    row = 0
    for count in counts:
        start = row * plate.columns
        groups.append(places[start : start + count])
        row += -(-count // plate.columns)
    if row > plate.rows:
        room = plate.columns * plate.rows
        raise CompileRefused(
            [
                f"{sum(counts)} units in {len(counts)} strength(s) need {row} rows of the plate, it has {plate.rows} "
                f"({room} places; each strength begins a row); split the course into runs"
            ]
        )
    return tuple(groups)
