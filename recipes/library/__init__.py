"""The demonstration recipes and machine profiles, as files a person can read. Not for clinical use.

A demonstration case is a recipe, its machine profile, and a made-up prescription with ink lot and cartridge, whose
dates are relative to the day of use so that the demonstration does not expire.
"""

from __future__ import annotations

from datetime import date, timedelta
from importlib.resources import files
from importlib.resources.abc import Traversable

from pydantic import ValidationError

from recipes.errors import RecipeRefused, RecipeUnknown
from recipes.figures import explain, read_toml
from recipes.machine import MachineProfile, parse_machine
from recipes.model import Recipe, parse_recipe
from recipes.order import Cartridge, InkLot, Prescription

CASES = ("cyclophosphamide", "sildenafil", "hydrocortisone", "minoxidil")
"""The cases of one ink."""

TWO_INK_CASES = ("polypill",)
"""The cases of two inks in one unit."""


def recipe_ids() -> tuple[str, ...]:
    """Return the ids of the recipes in the library, in alphabetical order."""
    return _names(files(__name__))


def machine_ids() -> tuple[str, ...]:
    """Return the ids of the machine profiles in the library, in alphabetical order."""
    return _names(files(__name__) / "machines")


def recipe_bytes(recipe_id: str) -> bytes:
    """Return the file of a recipe as it is. Raises RecipeUnknown."""
    return _read("recipe", recipe_id, files(__name__), recipe_ids())


def load_recipe(recipe_id: str) -> Recipe:
    """Return a recipe of the library. Raises RecipeUnknown, RecipeRefused."""
    return parse_recipe(recipe_bytes(recipe_id), f"{recipe_id}.toml")


def load_machine(machine_id: str) -> MachineProfile:
    """Return a machine profile of the library. Raises RecipeUnknown, RecipeRefused."""
    content = _read("machine profile", machine_id, files(__name__) / "machines", machine_ids())
    return parse_machine(content, f"{machine_id}.toml")


def load_demonstration(case: str, today: str) -> tuple[Prescription, InkLot, Cartridge]:
    """Return the made-up prescription, ink lot and cartridge of a case, dated from `today` (ISO date).

    Raises RecipeUnknown where there is no such case.
    """
    document = _demonstration(case)
    lot, opened = _dated_source(document, "", today)
    prescription = document.get("prescription")
    if isinstance(prescription, dict) and "measured_days_ago" in prescription:
        prescription = _dated(prescription, {"measured": "measured_days_ago"}, date.fromisoformat(today))
    try:
        return Prescription.model_validate(prescription), InkLot.model_validate(lot), Cartridge.model_validate(opened)
    except ValidationError as error:
        raise _invalid(case, error) from error


def load_second(case: str, today: str) -> tuple[InkLot, Cartridge] | None:
    """Return the made-up ink lot and cartridge of the second ink of a case, None where it has one ink. Raises RecipeUnknown."""
    if case not in TWO_INK_CASES:
        return None
    lot, opened = _dated_source(_demonstration(case), "second_", today)
    try:
        return InkLot.model_validate(lot), Cartridge.model_validate(opened)
    except ValidationError as error:
        raise _invalid(case, error) from error


def _demonstration(case: str) -> dict[str, object]:
    content = _read("demonstration case", case, files(__name__) / "prescriptions", (*CASES, *TWO_INK_CASES))
    return read_toml(content, f"{case}.toml")


def _dated_source(document: dict[str, object], which: str, today: str) -> tuple[dict[str, object], dict[str, object]]:
    day = date.fromisoformat(today)
    lot = _dated(document.get(f"{which}ink_lot"), {"expires": "expires_in_days"}, day)
    return lot, _dated(document.get(f"{which}cartridge"), {"opened": "opened_days_ago", "in_use_until": "in_use_days"}, day)


def _invalid(case: str, error: ValidationError) -> RecipeRefused:
    return RecipeRefused(f"{case}.toml is not a valid demonstration: {explain(error)}.", remedy="Install the product again.")


def _dated(table: object, fields: dict[str, str], day: date) -> dict[str, object]:
    if not isinstance(table, dict):
        raise RecipeRefused("A demonstration file lacks one of its tables.", remedy="Install the product again.")
    dated = dict(table)
    for name, relative in fields.items():
        days = int(dated.pop(relative))
        dated[name] = (day + timedelta(days=-days if relative.endswith("_ago") else days)).isoformat()
    return dated


def _names(folder: Traversable) -> tuple[str, ...]:
    return tuple(sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml")))


def _read(what: str, name: str, folder: Traversable, known: tuple[str, ...]) -> bytes:
    if name not in known:
        raise RecipeUnknown(f"There is no {what} {name!r}.", remedy=f"Choose one of: {', '.join(known)}.")
    return (folder / f"{name}.toml").read_bytes()
