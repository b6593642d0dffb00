"""Ph. Eur. 2.9.47: uniformity of dosage units with large samples, n ≥ 100; pure.

The chapter's table is licensed text. Held here are the rows that are published outside it; for any other n nothing is evaluated: a row is
never interpolated, and none is used beyond the sample sizes for which it is known to be the right one.

Source: Ph. Eur. 2.9.47 (04/2013:20947), alternative 1, and its examples for n = 400, 450 and 500.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from audit.release.uniformity import Statistic, outside_l2, statistic_with

SMALLEST_SAMPLE = 100
_HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True)
class Row:
    """From which n to which a row holds, its k, and how many units may lie outside L2 (c2)."""

    first: int
    last: int
    k: Decimal
    c2: int


PUBLISHED = (Row(385, 400, Decimal("2.23"), 3), Row(407, 450, Decimal("2.24"), 3), Row(490, 500, Decimal("2.24"), 4))
"""The rows of the chapter's worked examples, each up to the n for which the example uses it."""


@dataclass(frozen=True, slots=True)
class LargeSample:
    """The outcome of alternative 1: the acceptance value, what was counted and what was allowed."""

    row: Row
    statistic: Statistic
    outside_l2: int
    met: bool


def row_for(n: int) -> Row:
    """Return the row with the largest tabulated n that is not above n. Raises ValueError below 100 and where it is not held."""
    if n < SMALLEST_SAMPLE:
        raise ValueError(f"2.9.47 is for 100 units and more, not {n}")
    found = max((row for row in PUBLISHED if row.first <= n), key=lambda row: row.first, default=None)
    if found is None or n > found.last:
        raise ValueError(f"the row of table 2.9.47-1 for n = {n} is not held; read the table from a licensed copy")
    return found


def parametric(contents: Sequence[Decimal], target: Decimal = _HUNDRED) -> LargeSample:
    """Evaluate alternative 1: |M − mean| + k·s ≤ L1, and at most c2 contents outside (1 ± L2/100)·M. Contents in % of label."""
    row = row_for(len(contents))
    statistic = statistic_with(contents, row.k, target)
    outside = outside_l2(contents, statistic.reference)
    met = statistic.within_l1 and outside <= row.c2
    return LargeSample(row, statistic, outside, met)
