"""What is on record of orders and batches."""

from __future__ import annotations

from api.errors import NotFound, WrongState
from api.order_recipe import recipe_ordered, recipe_printed
from api.shelf import Shelf
from api.underway import Underway
from audit.canonical import JsonObject, JsonValue
from audit.store import TrailStore
from recipes.model import DoseOrder, Recipe


class Ordered:
    """Reads orders and batches from the workstation's trail. Lifetime and concurrency: as the store."""

    def __init__(self, store: TrailStore, shelf: Shelf) -> None:
        self.underway = Underway(store)
        self._store = store
        self._shelf = shelf

    def order(self, order_id: str) -> JsonObject:
        state = self._store.state("order", order_id)
        if state is None:
            raise NotFound(f"There is no order {order_id!r}.", remedy="Look at the list of orders.")
        return state

    def batch(self, batch_id: str) -> JsonObject:
        state = self._store.state("batch", batch_id)
        if state is None:
            raise NotFound(f"There is no batch {batch_id!r}.", remedy="Look at the list of batches.")
        return state

    def running(self, batch_id: str) -> tuple[JsonObject, str]:
        """Return a batch and its run. Raises NotFound, WrongState."""
        batch = self.batch(batch_id)
        run = batch.get("run")
        if not isinstance(run, str):
            raise WrongState(f"Batch {batch_id} has no run yet.", remedy="Request its run first.")
        return batch, run

    def orders(self) -> list[JsonObject]:
        """Return number, status and people of every order; the figures stay hidden until it is confirmed (blind second entry)."""
        return [order_shown(name, state) for name, state in self._store.objects("order")]

    def batches(self) -> list[JsonObject]:
        return [{"batch": name, **state} for name, state in self._store.objects("batch")]

    def batches_of(self, order_id: str) -> list[JsonValue]:
        """Return the numbers of the batches that were opened for an order."""
        return [batch.batch for batch in self.underway.look().of(order_id)]

    def recipe_of(self, order_id: str) -> Recipe:
        """Return the recipe version that an order is written for. Raises WrongState where it is not the one that is printed now."""
        return recipe_ordered(self._shelf, order_id, self.order(order_id))

    def recipe_printed(self, order_id: str) -> Recipe:
        """Return the recipe version that an order was printed from, effective or not. Raises NotFound."""
        return recipe_printed(self._shelf, self.order(order_id))

    def asked_again(self, order_id: str) -> frozenset[str]:
        """Return which of the fields that an order may leave out a second person has to enter: those that it states."""
        written = DoseOrder.model_validate(self.order(order_id)["order"]).prescription
        stated = {"number": written.number, "sex": written.sex, "age_years": written.age, "second_prescribed": written.second}
        return frozenset(name for name, value in stated.items() if value is not None)


def order_shown(name: str, state: JsonObject) -> JsonObject:
    """Return what anybody may see of an order."""
    return {
        "order": name,
        "status": state.get("status"),
        "purpose": state.get("purpose"),
        "entered_by": signer(state, "entered"),
        "confirmed_by": signer(state, "confirmed"),
    }


def substance_shown(state: JsonObject) -> JsonObject:
    """Return what an order is for: whoever confirms it has to see it. No figure is in it, and no patient."""
    order = DoseOrder.model_validate(state["order"])
    second = order.prescription.second
    return {
        "recipe": f"{order.recipe}@{order.recipe_version}",
        "moiety": order.prescription.moiety,
        "basis": order.prescription.basis,
        "second_moiety": None if second is None else second.moiety,
        "second_basis": None if second is None else second.basis,
    }


def signer(state: JsonObject, field: str) -> str | None:
    """Return the user name of who gave a signature, None where there is none."""
    signature = state.get(field)
    found: JsonValue = signature.get("signer") if isinstance(signature, dict) else None
    return found if isinstance(found, str) else None
