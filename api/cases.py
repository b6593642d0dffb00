"""A demonstration's prescription, ink and cartridge: those of a case, with what the command line changes in them."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from datetime import date

from pydantic import ValidationError

from api.errors import InputInvalid
from audit.quantities import Microlitre, MilligramPerGram, QuantityError, decimal_from_text
from recipes.figures import explain
from recipes.library import load_demonstration, load_recipe, load_second
from recipes.model import Recipe
from recipes.order import Cartridge, InkLot, Prescription, SecondActive
from recipes.prescription import PrescriptionEntry, read_prescription

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")


@dataclass(frozen=True, slots=True)
class Changes:
    """What a person gives on the command line, as typed; None leaves the value of the case."""

    recipe: str | None = None
    height: str | None = None
    weight: str | None = None
    dose: str | None = None
    units: str | None = None
    basis: str | None = None
    ink_assay: str | None = None
    ink_expires: str | None = None
    cartridge_ml: str | None = None

    @property
    def given(self) -> bool:
        return any(getattr(self, item.name) is not None for item in fields(self))


@dataclass(frozen=True, slots=True)
class Demonstration:
    """One demonstration: the form as it is typed, the ink and cartridge that are received for it, the recipe."""

    recipe: Recipe
    entry: PrescriptionEntry
    ink: InkLot
    cartridge: Cartridge
    second: tuple[InkLot, Cartridge] | None = None

    @property
    def sources(self) -> tuple[tuple[InkLot, Cartridge], ...]:
        """Ink lot and cartridge of each ink, in the order of the heads."""
        return ((self.ink, self.cartridge), *([self.second] if self.second is not None else []))

    @property
    def prescription(self) -> Prescription:
        """Read the form. Raises PrescriptionRefused."""
        return read_prescription(self.entry)


def load_case(case: str, changes: Changes, today: date) -> Demonstration:
    """Return the demonstration of a case. Raises RecipeUnknown, InputInvalid; the prescription is read only when asked for."""
    prescription, ink, cartridge = load_demonstration(case, today.isoformat())
    recipe = load_recipe(case if changes.recipe is None else changes.recipe)
    second = load_second(case, today.isoformat())
    return Demonstration(recipe, _entry(prescription, changes), _ink(ink, changes), _cartridge(cartridge, changes), second)


def _entry(first: Prescription, changes: Changes) -> PrescriptionEntry:
    days = str(first.days)
    if changes.units is not None:
        days = _days(changes.units, len(first.schedule))
    return PrescriptionEntry(
        patient=first.patient,
        moiety=first.moiety,
        basis=_given(changes.basis, first.basis),
        height_cm=_given(changes.height, first.height.text if first.height else ""),
        weight_kg=_given(changes.weight, first.weight.text if first.weight else ""),
        sex=first.sex or "",
        age_years=first.age.text if first.age else "",
        prescribed=_given(changes.dose, first.prescribed.text),
        unit=type(first.prescribed).unit,
        per=first.per,
        schedule="; ".join(f"{intake.time} {intake.parts}" for intake in first.schedule),
        days=days,
        measured=first.measured or "",
        prescriber=first.prescriber or "",
        number=first.number or "",
        body_confirmed=first.body_confirmed or "",
        **({} if first.second is None else second_fields(first.second)),
    )


def second_fields(second: SecondActive) -> dict[str, str]:
    """Return the fields of the second active as they are typed."""
    return {
        "second_moiety": second.moiety,
        "second_basis": second.basis,
        "second_prescribed": second.prescribed.text,
        "second_unit": type(second.prescribed).unit,
        "second_per": second.per,
    }


def _given(value: str | None, otherwise: str) -> str:
    return otherwise if value is None else value


def _days(units: str, per_day: int) -> str:
    """Return the days of a course with this number of units; a course has whole days."""
    if not (units.isascii() and units.isdigit()) or int(units) == 0:
        raise InputInvalid(f"units: {units!r} is not a whole number above zero.", remedy="Write for example 14.")
    if int(units) % per_day:
        raise InputInvalid(
            f"units: {units} is not a multiple of the {per_day} units a day of this prescription.",
            remedy=f"Write for example {per_day * 2}.",
        )
    return str(int(units) // per_day)


def _number(text: str, what: str) -> str:
    try:
        number = decimal_from_text(text, what)
    except QuantityError as error:
        raise InputInvalid(f"{error}.", remedy="Nothing was done.") from None
    if number <= 0:
        raise InputInvalid(f"{what}: {text} is not above zero.", remedy="Write the value of the certificate.")
    return text.strip()


def _ink(ink: InkLot, changes: Changes) -> InkLot:
    values: dict[str, object] = dict(ink.as_record())
    if changes.ink_assay is not None:
        assay = MilligramPerGram(_number(changes.ink_assay, "ink assay in mg/g"))
        # the certificate's uncertainty is relative; a demonstration with another assay keeps the relation
        values |= {"assay": str(assay), "assay_uncertainty": str(MilligramPerGram(assay.value / 100).rounded(3))}
    if changes.ink_expires is not None:
        values["expires"] = _date(changes.ink_expires)
    try:
        return InkLot.model_validate(values)
    except ValidationError as error:
        raise InputInvalid(f"The ink lot cannot be read: {explain(error)}.", remedy="Correct the option.") from None


def _date(text: str) -> str:
    if not _DATE.match(text):
        raise InputInvalid(f"ink expiry: {text[:40]!r} is not a date of the form YYYY-MM-DD.", remedy="Write for example 2026-11-20.")
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise InputInvalid(f"ink expiry: {text!r} is not a day of the calendar.", remedy="Write for example 2026-11-20.") from None


def _cartridge(cartridge: Cartridge, changes: Changes) -> Cartridge:
    if changes.cartridge_ml is None:
        return cartridge
    filled = Microlitre(_number(changes.cartridge_ml, "cartridge in mL")) * 1000
    try:
        return Cartridge.model_validate({**cartridge.as_record(), "filled": str(filled)})
    except ValidationError as error:
        raise InputInvalid(f"The cartridge cannot be read: {explain(error)}.", remedy="Correct the option.") from None
