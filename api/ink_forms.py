"""What people type about inks, as the documents that the desk takes: every field that cannot be read is named at once.

A number is plain digits with a decimal point; its unit stands in the label of its field. A label names a field in the message just as it
stands on the page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import ROUND_CEILING

from pydantic import ValidationError

from api.errors import InputInvalid
from audit.canonical import JsonObject, JsonValue
from audit.quantities import QuantityError, decimal_from_text, plain_text, round_to
from recipes.figures import explain
from recipes.preparation import Preparation

Typed = Mapping[str, str]

NUMBERS = {
    "assay": ("Assay, mg/g", "mg/g"),
    "assay_uncertainty": ("± assay (k = 2), mg/g", "mg/g"),
    "density": ("Density, g/mL", "g/mL"),
    "density_uncertainty": ("± density (k = 2), g/mL", "g/mL"),
    "concentration_rsd": ("RSD, % (if stated)", "%"),
    "filled": ("Filled, µL", "uL"),
    "mass": ("Mass, mg", "mg"),
    "mass_uncertainty": ("± mass (k = 2), mg", "mg"),
    "content": ("Content of active, %", "%"),
    "content_uncertainty": ("± content (k = 2), %", "%"),
}
TEXTS = {
    "lot": "Lot",
    "ink": "Ink",
    "moiety": "Active",
    "basis": "Strength stated as",
    "certificate": "Certificate of analysis",
    "serial": "Serial number",
    "ink_lot": "Ink lot",
    "procedure": "Procedure and version",
    "name": "Component",
    "balance": "Balance",
    "weighed_by": "Weighed and mixed by",
    "method": "Mixing",
}
DATES = {"expires": "Expires", "opened": "Opened on", "in_use_until": "In use until"}
MINUTES = "Mixing time, minutes"
_STRENGTH_PLACES, _UNCERTAINTY_PLACES = 2, 4


class _Reader:
    """Reads fields one by one and keeps what is wrong with each. Lifetime: one form."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def text(self, typed: Typed, name: str, where: str = "") -> str:
        found = typed.get(name, "").strip()
        if not found:
            self.problems.append(f"{where}{TEXTS[name]}: nothing is entered")
        return found

    def number(self, typed: Typed, name: str, where: str = "") -> str:
        """Return a number with its unit, as documents hold it."""
        (label, unit), found = NUMBERS[name], typed.get(name, "").strip()
        if not found:
            self.problems.append(f"{where}{label}: nothing is entered")
            return ""
        try:
            return f"{plain_text(decimal_from_text(found, where + label))} {unit}"
        except QuantityError as error:
            self.problems.append(str(error))
            return ""

    def day(self, typed: Typed, name: str, where: str = "") -> str:
        found = typed.get(name, "").strip()
        try:
            whole = date.fromisoformat(found).isoformat() == found
        except ValueError:
            whole = False
        if not whole:
            self.problems.append(f"{where}{DATES[name]}: {found!r} is not a date; write it as 2027-06-30")
        return found

    def done(self, what: str) -> None:
        """Raise InputInvalid with everything that is wrong."""
        if self.problems:
            raise InputInvalid(f"{what}: {'; '.join(self.problems)}.", remedy="Correct these fields; the others stay as they are.")


def received_lot(typed: Typed) -> JsonObject:
    """Return an ink lot as its certificate of analysis states it. Raises InputInvalid."""
    reader = _Reader()
    record = _identity(reader, typed) | {name: reader.number(typed, name) for name in ("assay", "assay_uncertainty")}
    record |= _density(reader, typed) | {"certificate": reader.text(typed, "certificate")}
    reader.done("The ink lot is not received")
    return record


def received_cartridge(typed: Typed) -> JsonObject:
    """Return a filled cartridge that is opened on the day stated. Raises InputInvalid."""
    reader = _Reader()
    record: JsonObject = {name: reader.text(typed, name) for name in ("serial", "ink_lot")}
    record |= {"filled": reader.number(typed, "filled")} | {name: reader.day(typed, name) for name in ("opened", "in_use_until")}
    reader.done("The cartridge is not received")
    return record


def prepared_lot(typed: Typed, components: Sequence[Typed], *, day: str, checker: str) -> JsonObject:
    """Return an ink prepared on site, its strength and uncertainty as the weighings give them; `checker` checked each step.

    The first component is the active. Raises InputInvalid.
    """
    reader = _Reader()
    record = _identity(reader, typed) | _density(reader, typed)
    by, procedure, method = (reader.text(typed, name) for name in ("weighed_by", "procedure", "method"))
    minutes = typed.get("minutes", "").strip()
    if not (minutes.isascii() and minutes.isdigit()):
        reader.problems.append(f"{MINUTES}: {minutes!r} is not a whole number; write plain digits, for example 10")
    if not checker:
        reader.problems.append("Second person: nothing is entered")
    weighings: list[JsonValue] = [_weighing(reader, item, n, by, checker) for n, item in enumerate(components, 1)]
    reader.done("The preparation is not recorded")
    made: JsonObject = {
        "strength_basis": "theoretical strength",
        "procedure": procedure,
        "prepared": day,
        "components": weighings,
        "mixing": {"method": method, "minutes": int(minutes[:6]), "done_by": by, "checked_by": checker},
    }
    try:
        found = Preparation.model_validate(made)
    except ValidationError as error:
        raise InputInvalid(f"The preparation is not recorded: {explain(error)}.", remedy="Correct the fields named.") from error
    uncertainty = round_to(found.strength_uncertainty.value, _UNCERTAINTY_PLACES, ROUND_CEILING)
    stated: JsonObject = {
        "assay": str(found.strength.rounded(_STRENGTH_PLACES)),
        "assay_uncertainty": f"{plain_text(uncertainty)} mg/g",
        "preparation": made,
    }
    return record | stated


def _identity(reader: _Reader, typed: Typed) -> JsonObject:
    record: JsonObject = {name: reader.text(typed, name) for name in ("lot", "ink", "moiety", "basis")}
    return record | {"expires": reader.day(typed, "expires")}


def _density(reader: _Reader, typed: Typed) -> JsonObject:
    record: JsonObject = {name: reader.number(typed, name) for name in ("density", "density_uncertainty")}
    stated = typed.get("concentration_rsd", "").strip()
    return record | ({"concentration_rsd": reader.number(typed, "concentration_rsd")} if stated else {})


def _weighing(reader: _Reader, typed: Typed, n: int, by: str, checker: str) -> JsonObject:
    where = f"component {n}, "
    record: JsonObject = {name: reader.text(typed, name, where) for name in ("name", "lot", "balance")}
    record |= {"expires": reader.day(typed, "expires", where), "weighed_by": by, "checked_by": checker}
    figures = ("mass", "mass_uncertainty", *(("content", "content_uncertainty") if n == 1 else ()))
    return record | {name: reader.number(typed, name, where) for name in figures}
