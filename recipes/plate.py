"""The plate: which unit stands where. Strengths are kept apart by rows."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from recipes.errors import CompileRefused
from recipes.model import Plate

Place = tuple[Decimal, Decimal]


def purge_places(plate: Plate, count: int) -> tuple[Place, ...]:
    """Return the places kept free for purge units: the last of the plate, whatever the order."""
    return plate.positions[len(plate.positions) - count :]


def lay_out(plate: Plate, counts: Sequence[int], kept_free: int = 0) -> tuple[tuple[Place, ...], ...]:
    """Give each group of units its places (centres in mm), in order of printing; every group begins a new row.

    The last `kept_free` places are not given. Raises CompileRefused where the plate has too few rows or places.
    """
    places = plate.positions
    groups = []
    row = used = 0
    for count in counts:
        start = row * plate.columns
        used = start + count
        groups.append(places[start:used])
        row += -(-count // plate.columns)
    fits = _fitting(plate, counts, kept_free)
    if row > plate.rows:
        room = plate.columns * plate.rows
        raise CompileRefused(
            [
                f"{sum(counts)} units in {len(counts)} strength(s) need {row} rows of the plate, it has {plate.rows} "
                f"({room} places; each strength begins a row); {fits} of them fit: have a shorter course prescribed"
            ]
        )
    if used > len(places) - kept_free:
        raise CompileRefused(
            [
                f"the units reach place {used} of {len(places)} on the plate, of which the last {kept_free} are kept free for purge units; "
                f"{fits} of the units fit: have a shorter course prescribed"
            ]
        )
    return tuple(groups)


def _fitting(plate: Plate, counts: Sequence[int], kept_free: int) -> int:
    """How many of the units, in order, have a place in one run."""
    fitting = row = 0
    last = plate.rows * plate.columns - kept_free
    for count in counts:
        fitting += min(count, max(0, last - row * plate.columns))
        row += -(-count // plate.columns)
    return fitting
