"""A unit of several inks: begun with its first part, accepted only with all of them.

A part that is not accepted is the end of its unit: what would stand upon it is never printed. A unit that is given up between two
parts is scrapped, however good the first one was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from audit.canonical import JsonValue
from audit.quantities import Milligram
from printer.acceptance import Verdict
from printer.plan import PlannedUnit


@dataclass(slots=True)
class WholeUnit:
    """The unit in progress: its number, and what came of each of its parts so far.

    Concurrency: owned by the run machine.
    """

    n: int
    parts: dict[int, tuple[Verdict, Milligram | None, tuple[str, ...]]] = field(default_factory=dict)
    complete: bool = False

    def judged(self, part: PlannedUnit, verdict: Verdict, mass: Milligram | None, reasons: tuple[str, ...]) -> None:
        """Take the verdict on a part."""
        self.parts[part.part] = (verdict, mass, reasons)
        self.complete = part.last

    @property
    def verdict(self) -> Verdict | None:
        """Accepted with all parts, rejected or scrapped with the first that is; None while parts are missing."""
        against = [verdict for verdict, _, _ in self.parts.values() if verdict is not Verdict.ACCEPTED]
        if against:
            return Verdict.SCRAPPED if Verdict.SCRAPPED in against else Verdict.REJECTED
        return Verdict.ACCEPTED if self.complete else None

    @property
    def mass(self) -> Milligram | None:
        """The masses of its parts together, as they are recorded; None where one is missing."""
        masses = [mass for _, mass, _ in self.parts.values()]
        if not self.complete or None in masses:
            return None
        return Milligram(sum((mass.rounded(2).value for mass in masses if mass is not None), Decimal(0)))

    @property
    def reasons(self) -> tuple[str, ...]:
        return tuple(f"part {part}: {reason}" for part, (_, _, reasons) in self.parts.items() for reason in reasons)


def whole_record(verdict: Verdict, mass: Milligram | None, reasons: Sequence[str]) -> dict[str, JsonValue]:
    """Return what is on record of a unit of several inks that has ended."""
    return {
        "state": "judged",
        "verdict": verdict.value,
        "mass_mg": None if mass is None else mass.rounded(2).text,
        "reasons": list(reasons),
    }
