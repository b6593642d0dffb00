"""Ph. Eur. 2.9.47: uniformity of dosage units with large samples, n ≥ 100; pure.

The chapter's table of k, c1 and c2 is licensed text. Held here are the rows that are published outside it; for any other n a site reads the
table from its own copy (`read_table`), and without it nothing is evaluated: a row is never interpolated, and none is used beyond
the sample sizes for which it is known to be the right one.

Source: Ph. Eur. 2.9.47 (04/2013:20947), alternatives 1 and 2, and its examples for n = 400, 450 and 500.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from audit.quantities import EXACT, decimal_from_text
from audit.release.uniformity import L1, Statistic, outside_l2, statistic_with

SMALLEST_SAMPLE = 100
_HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True)
class Row:
    """From which n to which a row holds, its k, and how many units may lie outside L1 (c1, None where unknown) and L2 (c2)."""

    first: int
    last: int | None
    k: Decimal
    c1: int | None
    c2: int


PUBLISHED = (Row(385, 400, Decimal("2.23"), None, 3), Row(407, 450, Decimal("2.24"), None, 3), Row(490, 500, Decimal("2.24"), None, 4))
"""The rows of the chapter's worked examples, each up to the n for which the example uses it."""


class Alternative(StrEnum):
    PARAMETRIC = "alternative 1"
    COUNTING = "alternative 2"


@dataclass(frozen=True, slots=True)
class LargeSample:
    """The outcome of one alternative: what was counted and allowed, and the acceptance value of the parametric one."""

    alternative: Alternative
    n: int
    row: Row
    statistic: Statistic | None
    outside_l1: int
    outside_l2: int
    met: bool


def row_for(n: int, table: Sequence[Row] = PUBLISHED) -> Row:
    """Return the row with the largest tabulated n that is not above n. Raises ValueError below 100 and where it is not held."""
    if n < SMALLEST_SAMPLE:
        raise ValueError(f"2.9.47 is for 100 units and more, not {n}")
    found = max((row for row in table if row.first <= n), key=lambda row: row.first, default=None)
    if found is None or (found.last is not None and n > found.last):
        raise ValueError(f"the row of table 2.9.47-1 for n = {n} is not held; read the table from a licensed copy")
    return found


def parametric(contents: Sequence[Decimal], target: Decimal = _HUNDRED, table: Sequence[Row] = PUBLISHED) -> LargeSample:
    """Evaluate alternative 1: |M − mean| + k·s ≤ L1, and at most c2 contents outside (1 ± L2/100)·M. Contents in % of label."""
    row = row_for(len(contents), table)
    statistic = statistic_with(contents, row.k, target)
    outside = outside_l2(contents, statistic.reference)
    met = statistic.within_l1 and outside <= row.c2
    return LargeSample(Alternative.PARAMETRIC, len(contents), row, statistic, _outside(contents, target, L1), outside, met)


def counting(contents: Sequence[Decimal], target: Decimal = _HUNDRED, table: Sequence[Row] = PUBLISHED) -> LargeSample:
    """Evaluate alternative 2: at most c1 contents outside (1 ± L1/100)·T and at most c2 outside (1 ± L2/100)·T.

    Raises ValueError where the row's c1 is not held.
    """
    row = row_for(len(contents), table)
    if row.c1 is None:
        raise ValueError(f"c1 of table 2.9.47-1 for n = {len(contents)} is not held; read the table from a licensed copy")
    one, two = _outside(contents, target, L1), outside_l2(contents, target)
    return LargeSample(Alternative.COUNTING, len(contents), row, None, one, two, one <= row.c1 and two <= row.c2)


def _outside(contents: Sequence[Decimal], target: Decimal, limit: Decimal) -> int:
    allowed = EXACT.divide(EXACT.multiply(target, limit), _HUNDRED)
    return sum(abs(EXACT.subtract(content, target)) > allowed for content in contents)


def read_table(text: str) -> tuple[Row, ...]:
    """Read table 2.9.47-1 from CSV with the columns n, k, c1, c2, from n = 100 upwards; the last row holds for all larger n.

    Raises ValueError naming the line that cannot be one of that table: n, c1 and c2 never fall, k neither.
    """
    rows: list[Row] = []
    for line, cells in enumerate(csv.DictReader(io.StringIO(text)), start=2):
        try:
            found = Row(int(cells["n"]), None, decimal_from_text(cells["k"]), int(cells["c1"]), int(cells["c2"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"line {line} of the table is not n, k, c1, c2") from error
        if rows:
            before = rows[-1]
            if found.first <= before.first or found.k < before.k or (found.c1 or 0) < (before.c1 or 0) or found.c2 < before.c2:
                raise ValueError(f"line {line} of the table goes back: n, k, c1 and c2 never fall")
            rows[-1] = Row(before.first, found.first - 1, before.k, before.c1, before.c2)
        rows.append(found)
    if not rows or rows[0].first != SMALLEST_SAMPLE:
        raise ValueError("the table begins with n = 100")
    return tuple(rows)
