"""Which cells can take a batch, and why the others cannot.

A recipe is signed for one machine profile: only a cell with exactly that profile can print it. The cell itself refuses all
else; here it is said before a batch is opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from api.cell_feed import CellView
from api.errors import WorkstationError
from api.machine_fit import machine_reasons
from api.production import Production
from audit.store import TrailStore
from recipes.model import DoseOrder, Recipe


@dataclass(frozen=True, slots=True)
class Offer:
    """One cell for one order: it can take it where there is no reason against it."""

    cell: str
    reasons: tuple[str, ...]

    @property
    def open(self) -> bool:
        return not self.reasons


class Allocation:
    """Looks at the cells of a site for an order. Asks no cell; safe for several threads."""

    def __init__(self, store: TrailStore, production: Production) -> None:
        self._store = store
        self._production = production

    def offers(self, order_id: str, cells: Mapping[str, CellView]) -> tuple[Offer, ...]:
        """Return each of these cells with the reasons against it, as it was seen last. Raises NotFound."""
        order = DoseOrder.model_validate(self._production.order(order_id)["order"])
        try:
            recipe = self._production.recipe_of(order_id)
        except WorkstationError as error:
            return tuple(Offer(name, (error.message,)) for name in cells)
        return tuple(Offer(name, self._reasons(order, recipe, name, view)) for name, view in cells.items())

    def _reasons(self, order: DoseOrder, recipe: Recipe, name: str, view: CellView) -> tuple[str, ...]:
        status = view.status
        if view.problem:
            return (f"what it does is not known: {view.problem}",)
        reasons = machine_reasons(recipe, status.machine)
        for cartridge in order.cartridges:
            if (held := self._production.held_elsewhere(cartridge, name)) is not None:
                reasons = (*reasons, held)
        if status.run is not None and not status.ended:
            return (*reasons, f"run {status.run} is on it")
        if status.batch is not None and "disposition" not in (self._store.state("batch", status.batch) or {}):
            return (*reasons, f"batch {status.batch}, printed on it, has no disposition yet")
        return reasons
