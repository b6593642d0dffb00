"""Read a prescription from what a person typed: each field is text, each refusal says which field and what to write.

Numbers are in the unit of their field, with a decimal point or comma. `1,250` and `1.250` are refused: each may mean either of two amounts.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, TypeVar

from pydantic import ValidationError

from audit.quantities import (
    Centimetre,
    Kilogram,
    Milligram,
    MilligramPerKilogram,
    MilligramPerSquareMetre,
    QuantityError,
    Year,
    typed_decimal,
)
from recipes.errors import PrescriptionRefused
from recipes.figures import explain
from recipes.order import Prescribed, Prescription, SecondActive, Sex
from recipes.times_of_day import read_schedule

_UNITS: dict[str, Callable[[Decimal], Prescribed]] = {
    "mg/m2": MilligramPerSquareMetre,
    "mg/kg": MilligramPerKilogram,
    "mg": Milligram,
}
_OLDEST = Year(120)
_WHOLE = re.compile(r"[0-9]{1,4}\Z")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class PrescriptionEntry:
    """A prescription form as typed. Empty `height_cm`, `weight_kg`, `sex` or `age_years` means not stated.

    `schedule` lists the times of the day, separated by semicolons, each with its part of the daily amount where the
    parts differ: `morning 2; midday 1; evening 1` (see `recipes.times_of_day`). The fields of the second active are empty
    where one is prescribed.
    `measured` is the ISO date of height and weight; `body_confirmed` names who measured an unusual patient again.
    """

    patient: str
    moiety: str
    basis: str
    height_cm: str
    weight_kg: str
    prescribed: str
    unit: str
    per: str
    schedule: str
    days: str
    sex: str = ""
    age_years: str = ""
    second_moiety: str = ""
    second_basis: str = ""
    second_prescribed: str = ""
    second_unit: str = ""
    second_per: str = ""
    measured: str = ""
    prescriber: str = ""
    number: str = ""
    body_confirmed: str = ""


def read_prescription(entry: PrescriptionEntry) -> Prescription:
    """Return the prescription that was typed. Raises PrescriptionRefused with every field that cannot be read."""
    problems: dict[str, str] = {}

    def read(field: str, reader: Callable[[], _T]) -> _T | None:
        try:
            return reader()
        except QuantityError as error:
            problems[field] = str(error)
            return None

    height = read("height_cm", lambda: Centimetre(_positive(entry.height_cm, "height in cm"))) if entry.height_cm.strip() else None
    weight = read("weight_kg", lambda: Kilogram(_positive(entry.weight_kg, "weight in kg"))) if entry.weight_kg.strip() else None
    sex = read("sex", lambda: _sex(entry.sex)) if entry.sex.strip() else None
    age = read("age_years", lambda: _age(entry.age_years)) if entry.age_years.strip() else None
    prescribed = read("prescribed", lambda: _prescribed(entry.prescribed, entry.unit))
    per = read("per", lambda: _per(entry.per))
    schedule = read("schedule", lambda: read_schedule(entry.schedule))
    days = read("days", lambda: _whole(entry.days, "days"))
    stated = entry.second_moiety.strip() or entry.second_prescribed.strip()
    second = read("second_prescribed", lambda: _second(entry)) if stated else None
    if problems or prescribed is None or per is None or schedule is None or days is None:
        raise PrescriptionRefused(list(problems.values()), fields=problems)
    try:
        return Prescription(
            patient=entry.patient.strip(),
            moiety=entry.moiety.strip(),
            basis=entry.basis.strip(),
            height=height,
            weight=weight,
            sex=sex,
            age=age,
            prescribed=prescribed,
            per=per,
            schedule=schedule,
            days=days,
            second=second,
            measured=entry.measured.strip() or None,
            prescriber=entry.prescriber.strip() or None,
            number=entry.number.strip() or None,
            body_confirmed=entry.body_confirmed.strip() or None,
        )
    except ValidationError as error:
        raise PrescriptionRefused([explain(error) + "; correct the field named"], fields=_places(error)) from error


def _places(error: ValidationError) -> dict[str, str]:
    """Return what the model says of a field, by its name in the form."""
    forms = {"height": "height_cm", "weight": "weight_kg", "age": "age_years"}
    places = ((str(item["loc"][0]) if item["loc"] else "", item["msg"]) for item in error.errors(include_url=False))
    return {forms.get(name, name): message for name, message in places if name}


def _second(entry: PrescriptionEntry) -> SecondActive:
    """Read the second active. Raises QuantityError."""
    if not entry.second_moiety.strip() or not entry.second_basis.strip():
        raise QuantityError("second active: its name and basis are missing; enter both, or leave its amount out")
    maker = _UNITS.get(entry.second_unit.strip())
    if maker is None:
        raise QuantityError(f"unit of the second active: {entry.second_unit!r} is not one of {', '.join(_UNITS)}; choose one of these")
    what = f"prescribed amount of {entry.second_moiety.strip()} in {entry.second_unit.strip()}"
    prescribed = maker(_positive(entry.second_prescribed, what))
    return SecondActive(
        moiety=entry.second_moiety.strip(), basis=entry.second_basis.strip(), prescribed=prescribed, per=_per(entry.second_per)
    )


def _positive(text: str, what: str) -> Decimal:
    value = typed_decimal(text, what)
    if value <= 0:
        raise QuantityError(f"{what}: {text.strip()} is not above zero; enter the value as it was measured or prescribed")
    return value


def _prescribed(text: str, unit: str) -> Prescribed:
    maker = _UNITS.get(unit.strip())
    if maker is None:
        raise QuantityError(f"unit: {unit!r} is not one of {', '.join(_UNITS)}; choose one of these")
    return maker(_positive(text, f"prescribed amount in {unit.strip()}"))


def _sex(text: str) -> Sex:
    match text.strip():
        case "female":
            return "female"
        case "male":
            return "male"
        case other:
            raise QuantityError(f"sex: {other!r} is neither 'female' nor 'male'; a formula by sex knows these two")


def _age(text: str) -> Year:
    age = Year(_positive(text, "age in years"))
    if age > _OLDEST:
        raise QuantityError(f"age in years: {age} is above {_OLDEST}; enter the age in years, for a child in decimals, for example 0.5")
    return age


def _per(text: str) -> Literal["day", "dose"]:
    match text.strip():
        case "day":
            return "day"
        case "dose":
            return "dose"
        case other:
            raise QuantityError(f"per: {other!r} is neither 'day' nor 'dose'; choose one of the two")


def _whole(text: str, what: str) -> int:
    stripped = text.strip()
    if not _WHOLE.match(stripped) or int(stripped) == 0:
        raise QuantityError(f"{what}: {text!r} is not a whole number above zero; write for example 14")
    return int(stripped)
