"""Whether the machine of a cell is the one that a recipe was signed for."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue, ValidationError

from api.status import MachineStatus
from recipes.model import Recipe


def machine_reasons(recipe: Recipe, machine: MachineStatus | None) -> tuple[str, ...]:
    """Return why a machine cannot print a recipe: it is another, or its profile is not the one that the recipe was signed for."""
    if machine is None:
        return ("it does not say which machine it has",)
    if machine.id != recipe.machine:
        return (f"it has machine {machine.id}, and recipe {recipe.reference} needs {recipe.machine}",)
    if machine.digest != recipe.machine_digest:
        return (f"its profile of machine {machine.id} is not the one that recipe {recipe.reference} was signed for",)
    return ()


def machine_of(description: Mapping[str, JsonValue]) -> MachineStatus | None:
    """Return the machine that a cell describes itself with; None where it cannot be read."""
    try:
        return MachineStatus.model_validate(description.get("machine"))
    except ValidationError:
        return None
