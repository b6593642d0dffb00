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
    content = _read("demonstration case", case, files(__name__) / "prescriptions", CASES)
    document = read_toml(content, f"{case}.toml")
    day = date.fromisoformat(today)
    try:
        lot = _dated(document["ink_lot"], {"expires": "expires_in_days"}, day)
        opened = _dated(document["cartridge"], {"opened": "opened_days_ago", "in_use_until": "in_use_days"}, day)
        return Prescription.model_validate(document["prescription"]), InkLot.model_validate(lot), Cartridge.model_validate(opened)
    except ValidationError as error:
        raise RecipeRefused(f"{case}.toml is not a valid demonstration: {explain(error)}.", remedy="Install the product again.") from error


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
