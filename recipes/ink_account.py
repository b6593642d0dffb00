"""A cartridge's account: what runs took from it against what it lost on the balance.

Pure. Both limits are illustrative: a share for what drips, evaporates and sticks, and a mass below which no balance of this kind tells.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from audit.quantities import EXACT, GramPerMillilitre, Microlitre, Milligram

LARGEST_SHARE = Decimal("0.05")
"""Of the largest mass that runs can have taken (illustrative)."""

SMALLEST_MASS = Milligram(100)
"""Differences up to this are not judged (illustrative)."""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What was lost on the balance, what runs can have taken, and how far the one is outside the other."""

    lost: Milligram
    least: Milligram
    most: Milligram
    outside: Milligram
    limit: Milligram

    @property
    def agrees(self) -> bool:
        return self.outside <= self.limit

    @property
    def text(self) -> str:
        taken = f"{self.least.rounded(1)} to {self.most.rounded(1)}"
        apart = f"{self.outside.rounded(1)} outside, {self.limit.rounded(1)} allowed"
        return f"lost {self.lost.rounded(1)} on the balance, runs took {taken}: {apart}"


def reconcile(
    before: Milligram, after: Milligram, least: Microlitre, most: Microlitre, density: GramPerMillilitre, balance: Milligram
) -> Reconciled:
    """Compare two weighings of a cartridge with what was taken between them.

    `balance` is the expanded uncertainty of one weighing (k = 2); two of them are combined by the root sum of squares.
    """
    lost = before - after
    low, high = (Milligram(EXACT.multiply(volume.value, density.value)) for volume in (least, most))
    outside = max(low - lost, lost - high, Milligram(0))
    of_balance = Milligram(EXACT.multiply(balance.value, EXACT.sqrt(Decimal(2))))
    return Reconciled(lost, low, high, outside, max(high * LARGEST_SHARE, SMALLEST_MASS) + of_balance)
