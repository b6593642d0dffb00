"""Height and weight against age: what is usual, what is not believed without confirmation, and which slip of a unit is likely.

Pure; ages in years, heights in cm, weights in kg. Sources: WHO Child Growth Standards (2006), -3 to +3 standard deviations, below
two years; CDC growth charts 2000 (Vital Health Stat 11(246)), 3rd to 97th percentile, from two years. Each row spans both sexes.
What is accepted is wider by `HEIGHT_MARGIN` and `WEIGHT_MARGIN`, which are illustrative: ill children are small, and a needless stop
is a harm too. Beyond 20 years nothing is judged by age.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from audit.quantities import EXACT, Centimetre, Kilogram, Year

HEIGHT_MARGIN, WEIGHT_MARGIN = Decimal("0.10"), Decimal("0.30")
"""Shares by which the accepted range is wider than the usual one, at both ends (illustrative)."""

ROWS: tuple[tuple[str, str, str, str, str], ...] = (
    ("0", "43.6", "55.6", "2.0", "5.0"),
    ("0.25", "53.5", "67.6", "4.0", "9.0"),
    ("0.5", "58.9", "74.0", "5.1", "10.9"),
    ("1", "66.3", "82.9", "6.3", "13.3"),
    ("2", "78.4", "93.0", "10.0", "15.6"),
    ("3", "86.9", "102.9", "11.4", "18.0"),
    ("4", "93.1", "110.5", "12.6", "21.3"),
    ("5", "99.9", "117.8", "14.3", "24.9"),
    ("7", "111.9", "132.7", "17.7", "33.4"),
    ("8", "117.3", "139.4", "19.5", "38.5"),
    ("10", "126.0", "151.5", "24.0", "51.4"),
    ("12", "135.7", "165.2", "29.5", "65.9"),
    ("14", "148.1", "178.8", "36.7", "77.7"),
    ("16", "150.4", "187.1", "41.8", "89.0"),
    ("18", "150.9", "189.5", "44.2", "97.2"),
    ("20", "151.1", "190.2", "45.0", "100.8"),
)
"""Age in years, height from and to in cm, weight from and to in kg."""

_FROM_POUNDS, _FROM_INCHES = Decimal("0.45359237"), Decimal("2.54")


@dataclass(frozen=True, slots=True)
class Usual:
    """The usual range of height and of weight at one age, both sexes."""

    height: tuple[Centimetre, Centimetre]
    weight: tuple[Kilogram, Kilogram]

    @property
    def accepted_height(self) -> tuple[Centimetre, Centimetre]:
        return self.height[0] * (1 - HEIGHT_MARGIN), self.height[1] * (1 + HEIGHT_MARGIN)

    @property
    def accepted_weight(self) -> tuple[Kilogram, Kilogram]:
        return self.weight[0] * (1 - WEIGHT_MARGIN), self.weight[1] * (1 + WEIGHT_MARGIN)


def usual(age: Year) -> Usual | None:
    """Return the usual ranges at an age, interpolated between the rows; None above the oldest row."""
    rows = [tuple(Decimal(figure) for figure in row) for row in ROWS]
    if age.value > rows[-1][0]:
        return None
    upper = next(n for n, row in enumerate(rows) if age.value <= row[0])
    lower = max(0, upper - 1)
    span = EXACT.subtract(rows[upper][0], rows[lower][0])
    share = EXACT.divide(EXACT.subtract(age.value, rows[lower][0]), span) if span else Decimal(0)

    def between(column: int) -> Decimal:
        rise = EXACT.subtract(rows[upper][column], rows[lower][column])
        return EXACT.add(rows[lower][column], EXACT.multiply(share, rise))

    return Usual((Centimetre(between(1)), Centimetre(between(2))), (Kilogram(between(3)), Kilogram(between(4))))


def against_age(height: Centimetre | None, weight: Kilogram | None, age: Year) -> tuple[str, ...]:
    """Return what is not believed of height and weight at this age without confirmation, each with the likely slip."""
    found = usual(age)
    if found is None:
        return ()
    reasons = []
    if height is not None:
        low, high = found.accepted_height
        if not low <= height <= high:
            accepted = f"{low.rounded(0).text} to {high.rounded(0)} is accepted"
            reasons.append(f"height {height} is not believed at {age} ({accepted}){_said_height(height, *found.height)}")
    if weight is not None:
        least, most = found.accepted_weight
        if not least <= weight <= most:
            accepted = f"{least.rounded(1).text} to {most.rounded(1)} is accepted"
            reasons.append(f"weight {weight} is not believed at {age} ({accepted}){_said_weight(weight, *found.weight)}")
    return tuple(reasons)


def height_slip(height: Centimetre) -> str:
    """Return which unit a height was likely measured in where it cannot be in centimetres; empty where nothing is likely."""
    return _said_height(height, Centimetre(40), Centimetre(230))


def weight_slip(weight: Kilogram) -> str:
    """Return which unit a weight was likely measured in where it cannot be in kilograms; empty where nothing is likely."""
    return _said_weight(weight, Kilogram("1.5"), Kilogram(250))


def _said_height(height: Centimetre, low: Centimetre, high: Centimetre) -> str:
    for unit, factor in (("m", Decimal(100)), ("inches", _FROM_INCHES), ("mm", Decimal("0.1"))):
        if low <= (meant := height * factor) <= high:
            return f"; it may be in {unit}: {height.text} {unit} are {meant.rounded(1)}"
    return ""


def _said_weight(weight: Kilogram, low: Kilogram, high: Kilogram) -> str:
    for unit, factor in (("pounds", _FROM_POUNDS), ("g", Decimal("0.001"))):
        if low <= (meant := weight * factor) <= high:
            return f"; it may be in {unit}: {weight.text} {unit} are {meant.rounded(2)}"
    return ""
