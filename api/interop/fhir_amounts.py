"""Amounts and times of a FHIR dosage, read exactly or not at all: UCUM quantities to milligrams, timing to times of the day; pure.

A value is never guessed: a unit that is not in the table, a range, a rate or a timing that is not the same every day is refused, with
what to do. Sources: UCUM 2.2; HL7 FHIR R4 and R5, datatypes Quantity, Timing and Dosage; HL7 v3 TimingEvent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from math import gcd, lcm
from types import MappingProxyType

from api.errors import InputInvalid
from audit.quantities import EXACT, plain_text

UCUM = "http://unitsofmeasure.org"

_PREFIXED = (("mg", Decimal(1)), ("ug", Decimal("0.001")), ("g", Decimal(1000)))
_PER_BODY = {"": "mg", "/m2": "mg/m2", "/kg": "mg/kg"}


def _units() -> dict[str, tuple[str, str, Decimal]]:
    """UCUM code → unit of a prescription, per dose or day, factor."""
    found: dict[str, tuple[str, str, Decimal]] = {}
    for mass, factor in _PREFIXED:
        for body, unit in _PER_BODY.items():
            found[f"{mass}{body}"] = (unit, "dose", factor)
            found[f"{mass}{body}/d"] = (unit, "day", factor)
            if body:
                found[f"{mass}/({body[1:]}.d)"] = (unit, "day", factor)
    return found


UNITS: Mapping[str, tuple[str, str, Decimal]] = MappingProxyType(_units())

# HL7 v3 TimingEvent and FHIR EventTiming, as a pharmacist says them.
EVENTS: Mapping[str, str] = MappingProxyType(
    {
        "MORN": "morning",
        "MORN.early": "early morning",
        "MORN.late": "late morning",
        "NOON": "midday",
        "AFT": "afternoon",
        "AFT.early": "early afternoon",
        "AFT.late": "late afternoon",
        "EVE": "evening",
        "EVE.early": "early evening",
        "EVE.late": "late evening",
        "NIGHT": "night",
        "HS": "at bedtime",
        "WAKE": "on waking",
        "ACM": "before breakfast",
        "CM": "with breakfast",
        "PCM": "after breakfast",
        "ACD": "before lunch",
        "CD": "with lunch",
        "PCD": "after lunch",
        "ACV": "before dinner",
        "CV": "with dinner",
        "PCV": "after dinner",
    }
)
_TIMES_A_DAY = {"QD": 1, "BID": 2, "TID": 3, "QID": 4}
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh", "twelfth")
_DAYS_IN = {"d": 1, "wk": 7}
# Members of Timing.repeat that are read; any other one (a range, a weekday, an offset) changes the meaning, and is refused.
_READ = frozenset({"boundsDuration", "boundsPeriod", "frequency", "period", "periodUnit", "timeOfDay", "when", "count"})


@dataclass(frozen=True, slots=True)
class Amount:
    """What is prescribed: value in `unit` (`mg`, `mg/m2` or `mg/kg`), `per` dose or day."""

    value: Decimal
    unit: str
    per: str


def refuse(what: str, remedy: str) -> InputInvalid:
    return InputInvalid(f"The request cannot be taken over: {what}.", remedy=remedy)


def amount(quantity: Mapping[str, object], what: str) -> Amount:
    """Return the amount of a FHIR Quantity. Raises InputInvalid for a comparator, another system than UCUM, an unknown unit, or none."""
    code, value = quantity.get("code"), quantity.get("value")
    if quantity.get("comparator") is not None:
        raise refuse(f"{what} is {quantity['comparator']} {value}, a bound and no amount", "Enter the prescription by hand.")
    exact = exact_number(value)
    if exact is None or exact <= 0:
        raise refuse(f"{what} has no value above zero", "Enter the prescription by hand.")
    if quantity.get("system") != UCUM or not isinstance(code, str) or code not in UNITS:
        shown = code or quantity.get("unit")
        raise refuse(f"{what} is in {shown!r}, which is not one of {', '.join(sorted(UNITS))} (UCUM)", "Enter the prescription by hand.")
    unit, per, factor = UNITS[code]
    return Amount(EXACT.multiply(exact, factor), unit, per)


def length_cm(quantity: Mapping[str, object]) -> Decimal:
    """Return a body height in cm. Raises InputInvalid."""
    return _body(quantity, "the height", {"cm": Decimal(1), "m": Decimal(100), "mm": Decimal("0.1")})


def mass_kg(quantity: Mapping[str, object]) -> Decimal:
    """Return a body weight in kg. Raises InputInvalid."""
    return _body(quantity, "the weight", {"kg": Decimal(1), "g": Decimal("0.001")})


def _body(quantity: Mapping[str, object], what: str, units: Mapping[str, Decimal]) -> Decimal:
    code, value = quantity.get("code"), quantity.get("value")
    if quantity.get("system") != UCUM or not isinstance(code, str) or code not in units or quantity.get("comparator") is not None:
        raise refuse(f"{what} is in {code or quantity.get('unit')!r}, not in {' or '.join(units)} (UCUM)", "Enter it by hand.")
    exact = exact_number(value)
    if exact is None or exact <= 0:
        raise refuse(f"{what} has no value above zero", "Enter it by hand.")
    return EXACT.multiply(exact, units[code])


def times_of_day(timing: Mapping[str, object]) -> tuple[str, ...]:
    """Return the times of the day at which a dosage is taken, the same every day. Raises InputInvalid."""
    repeat = _object(timing.get("repeat"))
    if timing.get("event"):
        raise refuse("it names single moments, not times of the day", "Enter the prescription by hand.")
    if unread := sorted(repeat.keys() - _READ):
        raise refuse(f"its timing states {', '.join(unread)}", "Only a schedule that is the same every day can be taken over.")
    if not repeat.keys() - {"boundsDuration", "boundsPeriod", "count"}:
        return _numbered(_times_of_code(_object(timing.get("code"))))
    a_day = _times_a_day(repeat)
    named = [f"at {str(moment)[:5]}" for moment in _list(repeat.get("timeOfDay"))]
    for event in _list(repeat.get("when")):
        if event not in EVENTS:
            raise refuse(f"{event!r} is no time of the day that is known here", "Enter the prescription by hand.")
        named.append(EVENTS[str(event)])
    if not named:
        return _numbered(a_day)
    if len(named) != a_day and "frequency" in repeat and not (a_day == 1 and "timeOfDay" not in repeat):
        raise refuse(f"it is to be taken {a_day} times a day and names {len(named)} times", "Ask the prescriber.")
    if len(set(named)) != len(named):
        raise refuse("it names a time of the day twice", "Ask the prescriber.")
    return tuple(named)


def _times_a_day(repeat: Mapping[str, object]) -> int:
    frequency, period, unit = repeat.get("frequency", 1), exact_number(repeat.get("period", 1)), repeat.get("periodUnit", "d")
    if not isinstance(frequency, int) or period is None:
        raise refuse("its frequency is no whole number", "Enter the prescription by hand.")
    in_days = {"d": Fraction(1), "h": Fraction(1, 24)}.get(str(unit))
    if in_days is None or period <= 0:
        raise refuse(f"it is to be taken every {period} {unit}", "Only a schedule that is the same every day can be taken over.")
    a_day = Fraction(frequency) / (Fraction(period) * in_days)
    if a_day.denominator != 1 or not 1 <= a_day <= len(_ORDINALS):
        raise refuse(
            f"it is to be taken {frequency} times every {plain_text(period)} {unit}",
            "Only a schedule that is the same every day can be taken over.",
        )
    return int(a_day)


def _times_of_code(code: Mapping[str, object]) -> int:
    for coding in _list(code.get("coding")):
        if (found := _TIMES_A_DAY.get(str(_object(coding).get("code")))) is not None:
            return found
    raise refuse("it does not say how often a day it is to be taken", "Enter the prescription by hand.")


def _numbered(count: int) -> tuple[str, ...]:
    return ("once daily",) if count == 1 else tuple(f"{name} dose" for name in _ORDINALS[:count])


def days_of(timing: Mapping[str, object]) -> int | None:
    """Return for how many days a dosage is to be taken, None where it does not say. Raises InputInvalid."""
    repeat = _object(timing.get("repeat"))
    if duration := _object(repeat.get("boundsDuration")):
        return whole_days(duration, "its duration")
    if period := _object(repeat.get("boundsPeriod")):
        start, end = period.get("start"), period.get("end")
        if start is None or end is None:
            return None
        count = (date.fromisoformat(str(end)[:10]) - date.fromisoformat(str(start)[:10])).days + 1
        if count < 1:
            raise refuse("its period ends before it begins", "Ask the prescriber.")
        return count
    if (count_of_doses := repeat.get("count")) is not None:
        times = len(times_of_day(timing))
        if not isinstance(count_of_doses, int) or count_of_doses % times:
            raise refuse(f"{count_of_doses} doses at {times} a day are no whole number of days", "Ask the prescriber.")
        return count_of_doses // times
    return None


def period_of(timing: Mapping[str, object]) -> tuple[str, str]:
    """Return the first and the last day of a dosage as they are stated, each empty where it is not."""
    period = _object(_object(timing.get("repeat")).get("boundsPeriod"))
    return str(period.get("start") or "")[:10], str(period.get("end") or "")[:10]


def whole_days(duration: Mapping[str, object], what: str) -> int:
    """Return a FHIR Duration as whole days. Raises InputInvalid."""
    value, unit = exact_number(duration.get("value")), _DAYS_IN.get(str(duration.get("code")))
    if value is None or unit is None or value * unit != int(value * unit) or value <= 0:
        raise refuse(f"{what} is not a whole number of days or weeks", "Enter the number of days by hand.")
    return int(value * unit)


def shares(amounts: Sequence[Decimal]) -> tuple[int, ...]:
    """Return the smallest whole numbers that stand to each other as these amounts do (2.5, 1.25, 1.25 → 2, 1, 1)."""
    fractions = [Fraction(value) for value in amounts]
    common = lcm(*(fraction.denominator for fraction in fractions))
    whole = [int(fraction * common) for fraction in fractions]
    divisor = gcd(*whole)
    return tuple(number // divisor for number in whole)


def exact_number(value: object) -> Decimal | None:
    """Return a number of a JSON tree that was read with exact decimals, None for anything else."""
    if isinstance(value, bool):
        return None
    return Decimal(value) if isinstance(value, int) else value if isinstance(value, Decimal) else None


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, (list, tuple)) else ()
