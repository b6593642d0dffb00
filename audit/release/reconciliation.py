"""Reconciliation of the ink of one cartridge: issued = printed + purged + rejected + remaining, within a limit; pure, masses in mg.

A unit that was given up before it could be weighed took some ink, at most what was aimed at: it is counted with half of that, and the other
half widens what is accounted for, so that neither side is favoured.

Source: EU GMP Part I, chapter 5 (checks on yields and reconciliation of quantities).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from audit.canonical import JsonObject
from audit.quantities import EXACT, plain_text, round_to

_HUNDRED, _HALF = Decimal(100), Decimal("0.5")


@dataclass(frozen=True, slots=True)
class InkBalance:
    """Where the ink of a cartridge went, in mg; `unweighed`: what was aimed at in units that were never weighed."""

    serial: str
    issued: Decimal
    printed: Decimal
    purged: Decimal
    rejected: Decimal
    unweighed: Decimal
    remaining: Decimal

    @property
    def difference(self) -> Decimal:
        """Issued less all that is accounted for: positive where ink is missing, negative where there is more than was issued."""
        parts = (self.printed, self.purged, self.rejected, EXACT.multiply(self.unweighed, _HALF), self.remaining)
        found = self.issued
        for part in parts:
            found = EXACT.subtract(found, part)
        return found

    @property
    def unaccounted_percent(self) -> Decimal:
        """What cannot be explained by units that were not weighed, in % of the ink issued; never negative."""
        beyond = EXACT.subtract(abs(self.difference), EXACT.multiply(self.unweighed, _HALF))
        return EXACT.divide(EXACT.multiply(max(beyond, Decimal(0)), _HUNDRED), self.issued)

    def within(self, limit_percent: Decimal) -> bool:
        return self.unaccounted_percent <= limit_percent

    @property
    def text(self) -> str:
        given_up = f" + unweighed up to {_mg(self.unweighed)}" if self.unweighed else ""
        return (
            f"{self.serial}: issued {_mg(self.issued)} mg = printed {_mg(self.printed)} + purged {_mg(self.purged)} + rejected "
            f"{_mg(self.rejected)}{given_up} + remaining {_mg(self.remaining)} + difference {_mg(self.difference)}, "
            f"{plain_text(round_to(self.unaccounted_percent, 2))} % unaccounted for"
        )

    def as_record(self) -> JsonObject:
        return {
            "cartridge": self.serial,
            "issued_mg": _mg(self.issued),
            "printed_mg": _mg(self.printed),
            "purged_mg": _mg(self.purged),
            "rejected_mg": _mg(self.rejected),
            "unweighed_mg": _mg(self.unweighed),
            "remaining_mg": _mg(self.remaining),
            "difference_mg": _mg(self.difference),
            "unaccounted_percent": plain_text(round_to(self.unaccounted_percent, 2)),
        }


def balance(
    serial: str,
    *,
    issued: Decimal,
    accepted: Sequence[Decimal],
    rejected: Sequence[Decimal],
    purged: Sequence[Decimal],
    unweighed: Sequence[Decimal],
    remaining: Decimal,
) -> InkBalance:
    """Add up a cartridge. Raises ValueError where nothing was issued or a mass is negative."""
    if issued <= 0 or remaining < 0 or any(mass < 0 for mass in (*accepted, *rejected, *purged, *unweighed)):
        raise ValueError(f"the masses of cartridge {serial} cannot be added up: nothing issued, or a mass below zero")
    return InkBalance(serial, issued, _sum(accepted), _sum(purged), _sum(rejected), _sum(unweighed), remaining)


def _sum(masses: Sequence[Decimal]) -> Decimal:
    total = Decimal(0)
    for mass in masses:
        total = EXACT.add(total, mass)
    return total


def _mg(value: Decimal) -> str:
    return plain_text(round_to(value, 1))
