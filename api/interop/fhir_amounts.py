"""Amounts and times of a FHIR dosage, read exactly or not at all: UCUM quantities to milligrams, timing to times of the day; pure.

A value is never guessed: a unit that is not in the table, a range, a rate or a timing that is not the same every day is refused, with
what to do. Sources: UCUM 2.2; HL7 FHIR R4 and R5, datatypes Quantity, Timing and Dosage; HL7 v3 TimingEvent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
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
_TIMES_A_DAY = {"QD": 1, "BID": 2, "TID": 3, "QID": 4, "Q8H": 3, "Q6H": 4, "Q4H": 6}
# Where the codes of a timing are from: another system's code says nothing here, an unknown one of this system does change the meaning.
_TIMING_CODES = "http://terminology.hl7.org/CodeSystem/v3-GTSAbbreviation"
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh", "twelfth")
_DAYS_IN = {"d": 1, "wk": 7}
# Members of Timing.repeat that are read; any other one (a range, a weekday, an offset) changes the meaning, and is refused.
_READ = frozenset({"boundsDuration", "boundsPeriod", "frequency", "period", "periodUnit", "timeOfDay", "when", "count"})
_BOUNDS = frozenset({"boundsDuration", "boundsPeriod", "count"})


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
    by_code = _times_of_code(_object(timing.get("code")))
    if not repeat.keys() - _BOUNDS:
        if by_code is None:
            raise refuse("it does not say how often a day it is to be taken", "Enter the prescription by hand.")
        return _numbered(by_code)
    times = _times_of_repeat(repeat)
    if by_code not in (None, len(times)):
        raise refuse(f"its code says {by_code} times a day and its timing {len(times)}", "Ask the prescriber.")
    return times


def _times_of_repeat(repeat: Mapping[str, object]) -> tuple[str, ...]:
    a_day = _times_a_day(repeat)
    named = [f"at {str(moment)[:5]}" for moment in _list(repeat.get("timeOfDay"))]
    for event in _list(repeat.get("when")):
        if event not in EVENTS:
            raise refuse(f"{event!r} is no time of the day that is known here", "Enter the prescription by hand.")
        named.append(EVENTS[str(event)])
    if not named:
        return _numbered(a_day)
    if len(named) != a_day and ("frequency" in repeat or a_day != 1):
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


def _times_of_code(code: Mapping[str, object]) -> int | None:
    """Return how often a day a code says, None where there is none that is known here. Raises InputInvalid."""
    found: set[int] = set()
    for coding in map(_object, _list(code.get("coding"))):
        word = coding.get("code")
        if (times := _TIMES_A_DAY.get(str(word))) is not None:
            found.add(times)
        elif word and coding.get("system", _TIMING_CODES) == _TIMING_CODES:
            raise refuse(f"its timing is {word}, which is not known here", "Only a schedule that is the same every day can be taken over.")
    if len(found) > 1:
        raise refuse("its codes say different times a day", "Ask the prescriber.")
    return found.pop() if found else None


def _numbered(count: int) -> tuple[str, ...]:
    return ("once daily",) if count == 1 else tuple(f"{name} dose" for name in _ORDINALS[:count])


def days_of(timing: Mapping[str, object]) -> int | None:
    """Return for how many days a dosage is to be taken, None where it does not say. Raises InputInvalid where it says it in two ways."""
    repeat = _object(timing.get("repeat"))
    stated: set[int] = set()
    if duration := _object(repeat.get("boundsDuration")):
        stated.add(whole_days(duration, "its duration"))
    start, end = period_of(timing)
    if start and end:
        stated.add(_days_between(start, end))
    if (count := repeat.get("count")) is not None:
        times = len(times_of_day(timing))
        if not isinstance(count, int) or count % times:
            raise refuse(f"{count} doses at {times} a day are no whole number of days", "Ask the prescriber.")
        stated.add(count // times)
    if len(stated) > 1:
        shown = " and ".join(map(str, sorted(stated)))
        raise refuse(f"it is for {shown} days, by its duration, period and number of doses", "Ask the prescriber.")
    return stated.pop() if stated else None


def _days_between(start: str, end: str) -> int:
    """Return the days of a period, its first and its last among them. Raises InputInvalid."""
    try:
        count = (date.fromisoformat(end) - date.fromisoformat(start)).days + 1
    except ValueError:
        raise refuse(f"its period from {start} to {end} is not stated in days", "Enter the number of days by hand.") from None
    if count < 1:
        raise refuse("its period ends before it begins", "Ask the prescriber.")
    return count


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


def bounded_number(text: str) -> Decimal:
    """Return a number of a JSON text with every digit. Raises InputInvalid for one that can be no amount, size or count."""
    with suppress(InvalidOperation):  # an exponent that no decimal has
        number = Decimal(text)
        if len(number.as_tuple().digits) <= EXACT.prec and abs(number.adjusted()) < EXACT.prec:
            return number
    raise refuse(f"the number {text[:20]} is out of range", "Have the sending system corrected.")


def exact_number(value: object) -> Decimal | None:
    """Return a number of a JSON tree that was read with exact decimals, None for anything else."""
    if isinstance(value, bool):
        return None
    return Decimal(value) if isinstance(value, int) else value if isinstance(value, Decimal) else None


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, (list, tuple)) else ()
