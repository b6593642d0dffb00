"""Which recipe version an order is for, and who may make what is not for patients."""

from __future__ import annotations

from api.errors import WrongState
from api.shelf import Shelf
from audit.canonical import JsonObject
from audit.errors import RoleMissing
from audit.events import Actor
from audit.identity import Role
from recipes.model import Recipe
from recipes.order import DoseOrder


def recipe_name(order: DoseOrder, state: JsonObject) -> str:
    """Return by which name the shelf finds the recipe of an order: a version of its own where the order is for development."""
    return order.recipe if state.get("purpose") is None else f"{order.recipe}@{order.recipe_version}"


def recipe_ordered(shelf: Shelf, order_id: str, state: JsonObject) -> Recipe:
    """Return the recipe version that an order is written for. Raises WrongState where it is not the one that is printed now."""
    order = DoseOrder.model_validate(state["order"])
    recipe = shelf.recipe(recipe_name(order, state))
    if (recipe.version, recipe.digest) != (order.recipe_version, order.recipe_digest):
        raise WrongState(
            f"Order {order_id} is for recipe {order.recipe}@{order.recipe_version}, effective now is {recipe.reference}.",
            remedy="Write a new order.",
        )
    return recipe


def recipe_printed(shelf: Shelf, state: JsonObject) -> Recipe:
    """Return the recipe version that an order was printed from, though another may be effective by now. Raises NotFound."""
    order = DoseOrder.model_validate(state["order"])
    return shelf.version(f"{order.recipe}@{order.recipe_version}", order.recipe_digest)


def keep_to_development(actor: Actor, development: bool) -> None:
    """Refuse a process engineer what is for patients. Raises RoleMissing."""
    if actor.role == Role.PROCESS_ENGINEER and not development:
        raise RoleMissing(
            f"{actor.username} acts as process engineer: development runs only.",
            remedy="Let an operator or a pharmacist make what is for patients.",
        )
