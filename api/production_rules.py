"""What stands against an act on an order or a batch: asked by the act itself, and by the views that list what is open to a person."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from pydantic import JsonValue

from api.access import actor_of, actor_record
from api.allowed import Acts, Against, against
from api.cells import CellDirectory
from api.errors import CellUnsuitable, WrongState
from api.machine_fit import machine_of, machine_reasons
from api.order_checks import OrderChecks, not_held
from api.order_recipe import keep_to_development
from api.ordered import Ordered, signer
from api.recall_holds import RecallHolds
from api.security import Permission, Session
from api.shelf import Shelf
from api.standing_scans import standing
from api.status import CellStatus
from audit.canonical import JsonObject
from audit.store import TrailStore
from printer.errors import CellRefused
from recipes.model import DoseOrder, Recipe

COMMANDS = ("start", "pause", "resume")


class ProductionRules:
    """Judges acts on orders and batches.

    `demonstration`: no run of a site for patients is asked for before every cartridge has been scanned in its head.
    Lifetime: that of the workstation. Concurrency: any thread; an act judges under the lock under which it is carried out.
    """

    def __init__(
        self, store: TrailStore, ordered: Ordered, shelf: Shelf, cells: CellDirectory, holds: RecallHolds, *, demonstration: bool
    ) -> None:
        self._demonstration = demonstration
        self._ordered = ordered
        self._shelf = shelf
        self._cells = cells
        self._holds = holds
        self._lock = threading.RLock()
        self._mounting: dict[str, str] = {}
        self.checks = OrderChecks(store, ordered.batches)

    # Orders

    def confirm(self, session: Session, order_id: str, who: str) -> Against:
        """`who` would sign: the person of the session, or a second person there."""
        return against(lambda: session.role_for(Permission.CONFIRM_ORDER), lambda: self._waits_for(order_id, who))

    def batch(
        self, session: Session, order_id: str, cell: str | None = None, description: Mapping[str, JsonValue] | None = None
    ) -> Against:
        """Opening a batch: on the cell that describes itself so, or on any."""
        state = self._ordered.order(order_id)
        found = against(lambda: _made_by(session, Permission.CREATE_BATCH, state), lambda: _confirmed(order_id, state))
        if state.get("status") != "confirmed":
            return found
        order = DoseOrder.model_validate(state["order"])
        return found + against(
            lambda: self._printed_once(order, state),
            lambda: self._none_stands(order_id),
            lambda: self._fits(order_id, order, cell, description),
        )

    def cartridge(self, session: Session, order_id: str) -> Against:
        """Scanning the cartridge in a head."""
        state = self._ordered.order(order_id)
        return against(lambda: session.role_for(Permission.CREATE_BATCH), lambda: _confirmed(order_id, state))

    def order_acts(self, session: Session, order_id: str) -> Acts:
        return {
            "confirm": self.confirm(session, order_id, session.username),
            "cartridge": self.cartridge(session, order_id),
            "batches": self.batch(session, order_id),
        }

    # Batches

    def run(self, session: Session, batch_id: str) -> Against:
        batch = self._ordered.batch(batch_id)
        found = against(lambda: _made_by(session, Permission.RUN, batch), lambda: self._may_be_asked(batch_id, batch))
        if batch.get("status") not in ("created", "running"):
            return found
        state, cell = self._ordered.order(str(batch["order"])), str(batch["cell"])
        order = DoseOrder.model_validate(state["order"])
        return found + against(
            lambda: self._scanned(order),
            lambda: self._printed_once(order, batch, but=batch_id),
            lambda: not_held(order.cartridges, self._shelf.held),
            lambda: self._holds.refuse_batch(batch_id, "A run"),
            *(self._free_check(cartridge, cell) for cartridge in order.cartridges),
        )

    def standing(self, order_id: str) -> tuple[str, ...]:
        """Return the serials that were scanned for an order and still say what is in the heads; empty text where none does."""
        return standing(self._ordered.underway.look(), order_id, self._cells.names)

    def _scanned(self, order: DoseOrder) -> None:
        """An order is bound to its cartridges; that they are the ones in the printer, only a scan says, and only the newest of a head."""
        if self._demonstration or (known := self.standing(order.id)) == order.cartridges:
            return
        missing = [serial for serial in order.cartridges if serial not in known]
        found = self._ordered.underway.look().orders[order.id]
        if {scan.serial for scan in found.scans}.isdisjoint(missing):
            raise WrongState(
                f"Cartridge {', '.join(missing)} of order {order.id} has not been scanned in its head.",
                remedy="Scan the code on it: page New batch, step 4.",
            )
        raise WrongState(
            f"The scan of cartridge {', '.join(missing)} of order {order.id} does not count any more: another one was scanned in its head "
            "since, or a run was closed.",
            remedy="Put the cartridge of the order in and scan it again: page New batch, step 4.",
        )

    def command(self, session: Session, batch_id: str) -> Against:
        """A command to the run of a batch, as far as the workstation judges it; the cell judges the rest."""
        batch = self._ordered.batch(batch_id)
        return against(lambda: _made_by(session, Permission.RUN, batch), lambda: self._ordered.running(batch_id))

    def run_acts(self, session: Session, batch_id: str) -> Acts:
        batch = self._ordered.batch(batch_id)
        commands = {name: self.command(session, batch_id) for name in COMMANDS}
        if isinstance(batch.get("run"), str):
            heard = dict[str, tuple[str, ...]]()
            unheard = against(lambda: heard.update(self._heard(session, batch)))
            commands = {name: found + unheard + against(_refusing(heard.get(name, ()))) for name, found in commands.items()}
        return {"run": self.run(session, batch_id), **commands}

    def _heard(self, session: Session, batch: JsonObject) -> dict[str, tuple[str, ...]]:
        """Return what the cell has against each command of this person to the run of a batch."""
        role = against(lambda: session.role_for(Permission.RUN))
        actor = None if role else actor_record(actor_of(session, Permission.RUN))
        answer = self._cells.client(str(batch["cell"])).allowed(actor)
        if answer.get("run") != batch.get("run"):
            return dict.fromkeys(COMMANDS, (f"run {batch.get('run')} is not on {batch.get('cell')} any more",))
        return reasons_by_name(answer.get("run_actions"))

    def held_elsewhere(self, cartridge: str, cell: str) -> str | None:
        """Say where a cartridge is if a batch on another cell runs from it: one cartridge is in one cell."""
        with self._lock:
            if self._mounting.get(cartridge, cell) != cell:
                return f"cartridge {cartridge} is being put to use on {self._mounting[cartridge]}"
            for name, batch in self._ordered.underway.look().batches.items():
                if batch.status == "running" and cartridge in batch.cartridges and batch.cell != cell:
                    return f"cartridge {cartridge} is in {batch.cell}, for batch {name}"
        return None

    @contextmanager
    def mounted(self, cartridge: str, cell: str) -> Iterator[None]:
        """Hold a cartridge for a cell until its run is on record. Raises CellUnsuitable where another cell has it."""
        with self._lock:
            self._free(cartridge, cell)
            self._mounting[cartridge] = cell
        try:
            yield
        finally:
            with self._lock:
                del self._mounting[cartridge]

    # What each is made of

    def _waits_for(self, order_id: str, who: str) -> None:
        state = self._ordered.order(order_id)
        if state.get("status") != "entered":
            raise WrongState(f"Order {order_id} is {state.get('status')}, not waiting for a second person.", remedy="Look at the order.")
        if signer(state, "entered") == who:
            raise WrongState("The same person cannot enter and confirm an order.", remedy="Let a second person confirm it.")

    def _printed_once(self, order: DoseOrder, state: JsonObject, but: str = "") -> None:
        if state.get("purpose") is None:
            self.checks.printed_once(order.prescription, but=but)

    def _none_stands(self, order_id: str) -> None:
        """An order is made in one batch at a time: two that wait would have two people print it."""
        for batch in self._ordered.underway.look().of(order_id):
            if batch.is_open:
                raise WrongState(
                    f"Order {order_id} has a batch already: {batch.batch} on {batch.cell} is {batch.status}.",
                    remedy="Go on with that batch; or, where its run was not asked for, cancel it on page Batches and open another.",
                )

    def _fits(self, order_id: str, order: DoseOrder, cell: str | None, description: Mapping[str, JsonValue] | None) -> None:
        recipe = self._ordered.recipe_of(order_id)
        if description is not None and (reasons := machine_reasons(recipe, machine_of(description))):
            raise CellUnsuitable(f"{cell} cannot take order {order_id}: {'; '.join(reasons)}.", remedy="Choose another cell.")
        self._holds.refuse_new(batch_facts(order, recipe, cell), "A new batch")

    def _may_be_asked(self, batch_id: str, batch: JsonObject) -> None:
        if batch.get("status") == "cancelled":
            raise WrongState(f"Batch {batch_id} is cancelled.", remedy="Open another batch for its order.")
        if batch.get("status") != "created" and not self._refused_at_its_gates(batch):
            remedy = "A run is requested once; again only where the gates before the print refused it."
            raise WrongState(f"Batch {batch_id} is {batch.get('status')}.", remedy=remedy)

    def _refused_at_its_gates(self, batch: JsonObject) -> bool:
        """Return whether the batch's run was ended by a gate: nothing was printed, and the cell may be asked again."""
        if batch.get("status") != "running":
            return False
        status = CellStatus.model_validate(self._cells.client(str(batch["cell"])).status())
        return status.run == batch.get("run") and status.ended and bool(status.unmet)

    def _free(self, cartridge: str, cell: str) -> None:
        if (held := self.held_elsewhere(cartridge, cell)) is not None:
            raise CellUnsuitable(f"{cell} cannot run this batch: {held}.", remedy="Close that run first, or order from another cartridge.")

    def _free_check(self, cartridge: str, cell: str) -> Callable[[], None]:
        return lambda: self._free(cartridge, cell)


def batch_facts(order: DoseOrder, recipe: Recipe, cell: str | None) -> JsonObject:
    """Return what a batch of an order is made of and on; a recall finds it by these. Without a cell, what it is made of."""
    second: JsonObject = {}
    if order.second is not None:
        second = {"second_ink_lot": order.second.ink_lot, "second_cartridge": order.second.cartridge}
    facts: JsonObject = {"recipe": recipe.reference, "ink_lot": order.ink_lot, "cartridge": order.cartridge, **second}
    return {**facts, **({} if cell is None else {"cell": cell}), "machine": recipe.machine}


def reasons_by_name(tree: object) -> dict[str, tuple[str, ...]]:
    """Read `{act: [reason, …]}` as a cell gives it."""
    found = tree if isinstance(tree, dict) else {}
    return {str(name): tuple(str(reason) for reason in reasons) for name, reasons in found.items() if isinstance(reasons, list)}


def _refusing(reasons: tuple[str, ...]) -> Callable[[], None]:
    def check() -> None:
        if reasons:
            raise CellRefused(reasons)

    return check


def _made_by(session: Session, permission: Permission, state: JsonObject) -> None:
    keep_to_development(actor_of(session, permission), state.get("purpose") is not None)


def _confirmed(order_id: str, state: JsonObject) -> None:
    if state.get("status") != "confirmed":
        raise WrongState(
            f"Order {order_id} is {state.get('status')}.", remedy="A second person confirms it first; an order makes one batch."
        )
