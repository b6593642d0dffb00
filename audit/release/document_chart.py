"""The pictures of the record's document as plain data: masses against their limits, and the shape of a unit.

Figures here only place marks on paper; nothing is decided from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_CEILING, Decimal
from itertools import groupby

from audit.canonical import JsonObject, JsonValue
from audit.quantities import EXACT, plain_text, round_to
from audit.release.trail_view import number_of, text_of

_SMALLEST_SPAN = Decimal(6)
_LARGEST_SPAN = Decimal(24)
_LARGEST_LABELS = 34


def chart(units: Sequence[JsonObject]) -> JsonObject | None:
    """Return points, ticks and groups for the mass chart (percent deviation from each unit's target); None for no units."""
    if not units:
        return None
    points = [_point(unit) for unit in units]
    reach = [abs(value) for low, high, at, _ in points for value in (low, high, at) if value is not None]
    span = _span(max(reach, default=_SMALLEST_SPAN))
    targets = {text_of(unit.get("target_mass_mg")) for unit in units}
    target = number_of(next(iter(targets))) if len(targets) == 1 else None
    return {
        "span": _milli(span),
        "right": None if target is None else "mg",
        "ticks": [_tick(EXACT.multiply(span, Decimal(part)) / 2, target) for part in (-2, -1, 0, 1, 2)],
        "points": [_drawn(unit, point, span) for unit, point in zip(units, points, strict=True)],
        "groups": _groups(units),
        "label_every": 1 + len(units) // _LARGEST_LABELS,
        "legend": _legend(units, points),
        "described": _described(points),
    }


def shape(strengths: Sequence[JsonObject]) -> JsonObject | None:
    """Return the shape of the first strength that states one, with its dimensions in mm; None where none does."""
    for row in strengths:
        stated = row.get("shape")
        if not isinstance(stated, dict) or stated.get("family") not in ("cylinder", "torus", "dispense"):
            continue
        diameter, height = number_of(stated.get("diameter_mm")), number_of(stated.get("height_mm"))
        if stated["family"] == "cylinder" and (not diameter or not height or min(diameter, height) <= 0):
            continue
        return {
            "family": stated["family"],
            "diameter": None if diameter is None else _milli(diameter),
            "height": None if height is None else _milli(height),
            "diameter_text": None if diameter is None else plain_text(round_to(diameter, 1)),
            "height_text": None if height is None else plain_text(round_to(height, 1)),
        }
    return None


def _milli(value: Decimal) -> int:
    """Return thousandths: the data for the template hold no floats."""
    return int(EXACT.multiply(value, Decimal(1000)).to_integral_value())


_Point = tuple[Decimal | None, Decimal | None, Decimal | None, str]


def _point(unit: JsonObject) -> _Point:
    target = number_of(unit.get("target_mass_mg"))

    def deviation(name: str) -> Decimal | None:
        value = number_of(unit.get(name))
        if value is None or target is None or target <= 0:
            return None
        return EXACT.divide(EXACT.multiply(EXACT.subtract(value, target), Decimal(100)), target)

    return deviation("low_mg"), deviation("high_mg"), deviation("mass_mg"), text_of(unit.get("verdict")) or ""


def _span(reach: Decimal) -> Decimal:
    wanted = min(max(EXACT.multiply(reach, Decimal("1.2")), _SMALLEST_SPAN), _LARGEST_SPAN)
    return EXACT.multiply(EXACT.divide(wanted, Decimal(2)).to_integral_value(rounding=ROUND_CEILING), Decimal(2))


def _tick(at: Decimal, target: Decimal | None) -> JsonValue:
    sign = "+" if at > 0 else "−" if at < 0 else ""
    mass = "" if target is None else plain_text(round_to(EXACT.multiply(target, 1 + at / 100), 1)) + " mg"
    return {"at": _milli(at), "text": f"{sign}{plain_text(round_to(abs(at), 0))} %", "mass": mass}


def _drawn(unit: JsonObject, point: _Point, span: Decimal) -> JsonValue:
    low, high, at, verdict = point
    beyond = None if at is None or abs(at) <= span else plain_text(round_to(at, 0)).replace("-", "−") + " %"
    limits = low is not None and high is not None
    return {
        "at": None if at is None else _milli(at),
        "low": _milli(low) if limits and low is not None else None,
        "high": _milli(high) if limits and high is not None else None,
        "verdict": verdict,
        "beyond": beyond,
        "label": str(unit.get("n")),
    }


def _groups(units: Sequence[JsonObject]) -> list[JsonValue]:
    found: list[JsonValue] = []
    start = 0
    for (moiety, strength), members in groupby(units, key=lambda unit: (text_of(unit.get("moiety")), text_of(unit.get("strength_mg")))):
        count = len(list(members))
        found.append({"name": " ".join(text for text in (moiety, f"{strength} mg") if text), "start": start, "count": count})
        start += count
    return found


def _described(points: Sequence[_Point]) -> str:
    """Say in words what the chart shows, for whoever does not see it."""
    found = [at for _, _, at, _ in points if at is not None]
    accepted = sum(verdict == "accepted" for *_, verdict in points)
    span = f"deviations from {_signed(min(found))} to {_signed(max(found))} of the target" if found else "no weight"
    return f"Chart of the mass of {len(points)} units or parts of units, {accepted} accepted: {span}. The figures are in the full record."


def _signed(value: Decimal) -> str:
    return f"{plain_text(round_to(value, 1)).replace('-', '−')} %"


def _legend(units: Sequence[JsonObject], points: Sequence[_Point]) -> str:
    parts = ["Dots: accepted"]
    if any(point[3] != "accepted" and point[2] is not None for point in points):
        parts.append("crosses: not accepted")
    if any(point[2] is None for point in points):
        parts.append("hatched: no weight")
    if any(point[0] is not None for point in points):
        parts.append("green band: tolerance on the unit's mass")
    if any(unit.get("part") is not None for unit in units):
        whole = len({text_of(unit.get("unit")) or str(unit.get("n")) for unit in units})
        return "; ".join(parts) + f". {len(units)} parts of {whole} units, each judged by itself; one ink after the other."
    return "; ".join(parts) + f". {len(units)} unit{'' if len(units) == 1 else 's'}, in the order of printing."
