"""The lock: which recipe a cell prints today, for patients or in development mode, on whose word.

In locked mode only what is effective by three signatures, in its time, and not older than what the cell knows. A development run
needs a process engineer's signature over this content and a cell that quality assurance has opened for it by its equipment register.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from printer.equipment import Standing
from printer.errors import CellRefused
from printer.known_recipes import stale_reasons
from printer.readiness import Gate
from printer.register_file import judge_register
from recipes.model import Recipe
from recipes.store import DevelopmentRecipe, RecipeBundle, verify_development, verify_effective

DEVELOPMENT = "development, not for patients"
"""What a development run, its units and its batch are marked with, from the first entry on."""
NOT_EFFECTIVE = "Nothing was printed. Order from the version that is effective now."


def printable_recipe(
    bundle: RecipeBundle | DevelopmentRecipe, trusted: Mapping[str, Collection[str]], standing: Standing, device: str
) -> Recipe:
    """Return the recipe that may be printed on this cell today.

    Raises RecipeRefused, or CellRefused where the cell knows of a newer version or of a withdrawal, or is locked.
    """
    if isinstance(bundle, RecipeBundle):
        recipe = verify_effective(bundle, trusted, standing.today)
        if reasons := stale_reasons(recipe, standing.recipes):
            raise CellRefused(reasons, remedy=NOT_EFFECTIVE)
        return recipe
    register = judge_register(standing.register_file, cell=device, trusted=trusted).register
    if register is None or register.development is None:
        raise CellRefused(
            [f"{device} is locked: its equipment register permits no development runs"],
            remedy='Print an effective recipe, or have quality assurance sign a register with development = "permitted".',
        )
    return verify_development(bundle, trusted)


def recipe_gate(bundle: RecipeBundle | DevelopmentRecipe, recipe: Recipe) -> Gate:
    """Return the gate of a recipe that may be printed, with its evidence."""
    if isinstance(bundle, DevelopmentRecipe):
        text = f"{recipe.reference}, opened by {bundle.development.name}, digest {recipe.digest[:12]}: not for patients"
        return Gate("recipe opened for development", True, text)
    until = "" if bundle.effective is None else f", effective until {bundle.effective.statement.review_by}"
    return Gate("recipe effective", True, f"{recipe.reference}, signed by author and approver{until}, digest {recipe.digest[:12]}")
