"""From a prescription to a running batch: orders that two people sign, batches, runs on a cell.

Every method is one act of one person; the entry that says so is written in the workstation's trail. What the cell does
with a request is in the cell's own trail: the workstation can only ask.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from pydantic import BaseModel, ConfigDict, Field
from pydantic import JsonValue as Json

from api.access import Credentials, actor_of, actor_record
from api.allowed import allowed_actions, refuse
from api.cells import CellDirectory, CellPort
from api.errors import EntriesDiffer, WrongState
from api.order_checks import not_held
from api.order_recipe import keep_to_development, recipe_name
from api.ordered import Ordered, order_shown, substance_shown
from api.people import DEVICE, People, Shown
from api.production_rules import ProductionRules, batch_facts
from api.recall_holds import RecallHolds
from api.security import Permission, Session
from api.shelf import Shelf
from audit.canonical import JsonObject, canonical, sha256_hex
from audit.events import Actor, EntryDraft, EventKind, Subject
from audit.store import TrailStore
from printer.errors import CellUnreachable
from printer.recipe_lock import DEVELOPMENT
from recipes.dose import DoseResult, calculate
from recipes.model import Cartridge, DoseOrder, InkLot, Prescription, Recipe
from recipes.order import SecondActive
from recipes.prescription import PrescriptionEntry, read_prescription
from recipes.times_of_day import same_times

# What the two signatures on an order mean; a cell refuses an order signed with other words.
MEANING_ENTERED = "prescription entered"
MEANING_CONFIRMED = "prescription confirmed"
_COMPARED = (
    "patient", "number", "moiety", "height", "weight", "sex", "age", "prescribed", "per", "schedule", "days", "second",
)  # fmt: skip
"""Fields of a prescription in which the entries of two people have to agree."""


class OrderRequest(BaseModel):
    """A prescription as one person types it, and the recipe, ink lot and cartridge it is to be made from.

    Every field is text as typed; numbers are plain decimals in the unit of their field. The `second_` fields are those of a recipe
    with two inks, and empty for any other.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: str = Field(max_length=64)
    ink_lot: str = Field(max_length=64)
    cartridge: str = Field(max_length=64)
    patient: str = Field(max_length=64)
    moiety: str = Field(max_length=200)
    basis: str = Field(max_length=200)
    height_cm: str = Field(default="", max_length=40)
    weight_kg: str = Field(default="", max_length=40)
    sex: str = Field(default="", max_length=10)
    age_years: str = Field(default="", max_length=40)
    prescribed: str = Field(max_length=40)
    unit: str = Field(max_length=10)
    per: str = Field(max_length=10)
    schedule: str = Field(max_length=200)
    days: str = Field(max_length=10)
    second_ink_lot: str = Field(default="", max_length=64)
    second_cartridge: str = Field(default="", max_length=64)
    second_moiety: str = Field(default="", max_length=200)
    second_basis: str = Field(default="", max_length=200)
    second_prescribed: str = Field(default="", max_length=40)
    second_unit: str = Field(default="", max_length=10)
    second_per: str = Field(default="", max_length=10)
    measured: str = Field(default="", max_length=10)
    prescriber: str = Field(default="", max_length=200)
    number: str = Field(default="", max_length=64)
    body_confirmed: str = Field(default="", max_length=200)

    def prescription(self) -> Prescription:
        """Read the fields. Raises PrescriptionRefused with every field that cannot be read."""
        typed = self.model_dump(exclude={"recipe", "ink_lot", "cartridge", "second_ink_lot", "second_cartridge"})
        return read_prescription(PrescriptionEntry(**typed))


class SecondEntry(BaseModel):
    """What the second person types from the prescription, without sight of the first entry.

    Every field that decides what is printed, and for whom, is typed again. `moiety` is the substance as it was shown to this person
    beside the order; `number` is empty where the order has none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    patient: str = Field(max_length=64)
    number: str = Field(default="", max_length=64)
    moiety: str = Field(max_length=200)
    height_cm: str = Field(default="", max_length=40)
    weight_kg: str = Field(default="", max_length=40)
    sex: str = Field(default="", max_length=10)
    age_years: str = Field(default="", max_length=40)
    prescribed: str = Field(max_length=40)
    unit: str = Field(max_length=10)
    per: str = Field(max_length=10)
    schedule: str = Field(max_length=200)
    days: str = Field(max_length=10)
    second_prescribed: str = Field(default="", max_length=40)

    def beside(self, first: Prescription) -> Prescription:
        """Return this person's entry with the rest of the first one: basis, day, prescriber, who measured. Raises PrescriptionRefused.

        Sex counts where the first entry states it, as it does wherever a formula needs it.
        """
        typed = self.model_dump(exclude={"sex", "second_prescribed"})
        return read_prescription(
            PrescriptionEntry(
                **typed,
                basis=first.basis,
                sex=self.sex if first.sex is not None else "",
                measured=first.measured or "",
                prescriber=first.prescriber or "",
                body_confirmed=first.body_confirmed or "",
                **({} if first.second is None else _second_fields(first.second, self.second_prescribed)),
            )
        )


def _second_fields(second: SecondActive, prescribed: str) -> dict[str, str]:
    return {
        "second_moiety": second.moiety,
        "second_basis": second.basis,
        "second_prescribed": prescribed,
        "second_unit": type(second.prescribed).unit,
        "second_per": second.per,
    }


class Production(Ordered):
    """Orders, batches and runs.

    Lifetime: that of the workstation. Concurrency: one lock for the numbers of orders and batches and for every change of
    state, so that two people who press at once get one order each. A run is asked for under the turn of its cell: a cell that
    compiles or hangs does not hold up the others.
    """

    def __init__(
        self, store: TrailStore, people: People, shelf: Shelf, cells: CellDirectory, holds: RecallHolds, *, demonstration: bool
    ) -> None:
        super().__init__(store, shelf)
        self._people = people
        self._cells = cells
        self._demonstration = demonstration
        self._lock = threading.RLock()
        self.rules = ProductionRules(store, self, shelf, cells, holds, demonstration=demonstration)
        self._checks = self.rules.checks

    def preview(self, request: OrderRequest) -> JsonObject:
        """Return the dose with its arithmetic; nothing is entered. Raises PrescriptionRefused, DoseRefused, NotFound."""
        recipe, ink = self._shelf.recipe(request.recipe), self._shelf.ink(request.ink_lot)
        second = self._shelf.ink(request.second_ink_lot) if request.second_ink_lot else None
        prescription = request.prescription()
        self._checks.believe(recipe, prescription)
        result = calculate(recipe, prescription, ink, second)
        return {"dose": result.as_record(), "arithmetic": list(result.arithmetic), "shown_sha256": _shown(recipe, result)}

    def enter_order(self, session: Session, request: OrderRequest, credentials: Credentials) -> JsonObject:
        """Enter and sign an order. Raises what `preview` raises, and what a signature may."""
        actor = actor_of(session, Permission.ENTER_ORDER)
        development = self._shelf.is_development(request.recipe)
        keep_to_development(actor, development)
        recipe, ink = self._shelf.recipe(request.recipe), self._shelf.ink(request.ink_lot)
        cartridge, prescription = self._shelf.cartridge(request.cartridge), request.prescription()
        second = self._second_source(request.second_ink_lot, request.second_cartridge)
        self._checks.believe(recipe, prescription)
        result = calculate(recipe, prescription, ink, None if second is None else second[0])
        not_held([request.cartridge, *([request.second_cartridge] if second else [])], self._shelf.held)
        self._checks.fit_in_time(recipe, [(ink, cartridge), *([] if second is None else [second])], prescription.days)
        with self._lock:
            if not development:
                self._checks.printed_once(prescription)
            order_id = self._next("order", "O")
            order = DoseOrder.create(order_id, recipe=recipe, ink=ink, cartridge=cartridge, prescription=prescription, second=second)
            subject = Subject("order", order_id)
            signature = self._people.sign(
                session,
                credentials,
                permission=Permission.ENTER_ORDER,
                meaning=MEANING_ENTERED,
                digest=order.sha256,
                subject=subject,
                shown=Shown(_shown(recipe, result), "Show the dose on the page", "POST /api/v1/doses"),
            )
            new: JsonObject = {
                "status": "entered",
                "order": order.as_record(),
                "order_sha256": order.sha256,
                "entered": signature.as_record(),
                **({"purpose": DEVELOPMENT} if development else {}),
            }
            self._store.append(EntryDraft(EventKind.ORDER_PRESCRIPTION_ENTERED, subject, new, actor, DEVICE))
        return {"order": order_id, "status": "entered", "dose": result.as_record(), "arithmetic": list(result.arithmetic)}

    def confirm_order(self, session: Session, order_id: str, entry: SecondEntry, credentials: Credentials) -> JsonObject:
        """Compare a second person's blind entry and sign. Raises EntriesDiffer (naming fields, never the first values)."""
        actor = actor_of(session, Permission.CONFIRM_ORDER)
        with self._lock:
            state = self.order(order_id)
            refuse(self.rules.confirm(session, order_id, credentials.username or session.username))
            order = DoseOrder.model_validate(state["order"])
            again = entry.beside(order.prescription)
            differing = [name for name in _COMPARED if not _same(order.prescription, again, name)]
            if differing:
                raise EntriesDiffer(
                    f"The two entries differ in: {', '.join(differing)}.",
                    remedy="Compare both entries with the prescription; the order stays unconfirmed.",
                    fields=tuple(differing),
                )
            signature = self._people.sign(
                session,
                credentials,
                permission=Permission.CONFIRM_ORDER,
                meaning=MEANING_CONFIRMED,
                digest=order.sha256,
                subject=Subject("order", order_id),
            )
            new: JsonObject = {"status": "confirmed", "confirmed": signature.as_record()}
            self._store.append(EntryDraft(EventKind.ORDER_PRESCRIPTION_CONFIRMED, Subject("order", order_id), new, actor, DEVICE))
        return {"order": order_id, "status": "confirmed"}

    def create_batch(self, session: Session, order_id: str, cell: str) -> JsonObject:
        """Open a batch for a confirmed order on a cell. Raises NotFound, WrongState, CellUnreachable, CellUnsuitable."""
        actor = actor_of(session, Permission.CREATE_BATCH)
        description = self._cells.client(cell).describe()
        with self._lock:
            state = self.order(order_id)
            refuse(self.rules.batch(session, order_id, cell, description))
            order, recipe = DoseOrder.model_validate(state["order"]), self.recipe_of(order_id)
            batch_id = self._next("batch", "B")
            new: JsonObject = {
                "status": "created",
                "order": order_id,
                **batch_facts(order, recipe, cell),
                "recipe_digest": order.recipe_digest,
                "dose": self._dose(recipe, order).as_record(),
                "demonstration": self._demonstration or description.get("demonstration") is True,
                **({} if state.get("purpose") is None else {"purpose": state["purpose"]}),
            }
            self._store.append(
                EntryDraft(EventKind.BATCH_RECORD_CREATED, Subject("batch", batch_id), new, actor, DEVICE),
            )
        return {"batch": batch_id, **new}

    def _second_source(self, lot: str, serial: str) -> tuple[InkLot, Cartridge] | None:
        """Return the second ink lot and cartridge, None where neither is named. Raises NotFound."""
        return (self._shelf.ink(lot), self._shelf.cartridge(serial)) if lot or serial else None

    def _dose(self, recipe: Recipe, order: DoseOrder) -> DoseResult:
        second = None if order.second is None else self._shelf.ink(order.second.ink_lot)
        return calculate(recipe, order.prescription, self._shelf.ink(order.ink_lot), second)

    def dose_of(self, order_id: str) -> DoseResult:
        """Return the dose of an order with its arithmetic. Raises NotFound, WrongState, DoseRefused."""
        return self._dose(self.recipe_of(order_id), DoseOrder.model_validate(self.order(order_id)["order"]))

    def request_run(self, session: Session, batch_id: str, mounted: Sequence[str] = ()) -> Mapping[str, object]:
        """Ask the cell for a run: it checks, compiles, proves and goes through the gates. Raises CellRefused with reasons.

        `mounted`: serials of the cartridges as they were scanned in the heads, in their order; needed where there are two heads.
        """
        actor = actor_of(session, Permission.RUN)
        with self._cells.turn(str(self.batch(batch_id)["cell"])):
            batch = self.batch(batch_id)
            state = self.order(str(batch["order"]))
            order = DoseOrder.model_validate(state["order"])
            with ExitStack() as held:
                with self._lock:
                    refuse(self.rules.run(session, batch_id))
                    if state.get("purpose") is None:
                        held.enter_context(self.rules.checks.asking(batch_id, order.prescription))
                for cartridge in order.cartridges:
                    held.enter_context(self.rules.mounted(cartridge, str(batch["cell"])))
                answer = self._cell(batch).create_run(json_tree({**self._job(batch_id, state, order, actor), "mounted": list(mounted)}))
                scanned = max((scan.number for scan in self.underway.look().orders[order.id].scans), default=None)
                new: JsonObject = {"status": "running", "run": str(answer["run"]), **({} if scanned is None else {"scanned": scanned})}
                self._store.append(EntryDraft(EventKind.BATCH_RUN_REQUESTED, Subject("batch", batch_id), new, actor, DEVICE))
        return answer

    def _job(self, batch_id: str, state: JsonObject, order: DoseOrder, actor: Actor) -> JsonObject:
        """Return what a cell is handed for one batch; it believes nothing of it that it can check."""
        second: JsonObject = {}
        if order.second is not None:
            second = {
                "second_ink_lot": self._shelf.ink(order.second.ink_lot).as_record(),
                "second_cartridge": self._shelf.cartridge(order.second.cartridge).as_record(),
            }
        return {
            **second,
            "batch": batch_id,
            "order": state["order"],
            "entered": state["entered"],
            "confirmed": state["confirmed"],
            "recipe_bundle": self._shelf.printable(recipe_name(order, state)),
            "ink_lot": self._shelf.ink(order.ink_lot).as_record(),
            "cartridge": self._shelf.cartridge(order.cartridge).as_record(),
            "line_clearance": {"done_by": actor.username, "signature": None},
            "actor": actor_record(actor),
        }

    def held_elsewhere(self, cartridge: str, cell: str) -> str | None:
        """Say where a cartridge is if a batch on another cell runs from it: one cartridge is in one cell."""
        return self.rules.held_elsewhere(cartridge, cell)

    def start(self, session: Session, batch_id: str) -> JsonObject:
        actor = actor_of(session, Permission.RUN)
        batch, run = self._commanded(session, batch_id)
        self._cell(batch).start(run, actor_record(actor))
        return {"batch": batch_id, "run": run, "asked": "start"}

    def pause(self, session: Session, batch_id: str, reason: str) -> JsonObject:
        actor = actor_of(session, Permission.RUN)
        batch, run = self._commanded(session, batch_id)
        self._cell(batch).pause(run, actor_record(actor), reason)
        return {"batch": batch_id, "run": run, "asked": "pause"}

    def resume(self, session: Session, batch_id: str, reason: str) -> JsonObject:
        actor = actor_of(session, Permission.RUN)
        batch, run = self._commanded(session, batch_id)
        self._cell(batch).resume(run, actor_record(actor), reason)
        return {"batch": batch_id, "run": run, "asked": "resume"}

    def _commanded(self, session: Session, batch_id: str) -> tuple[JsonObject, str]:
        """Return a batch and its run, which this person may command. Raises NotFound, RoleMissing, WrongState."""
        refuse(self.rules.command(session, batch_id))
        return self.running(batch_id)

    def stop(self, session: Session, cell: str, strength: str, reason: str) -> JsonObject:
        """Stop whatever a cell does. Takes no lock and writes no entry here: the cell stops first and records it."""
        actor = actor_of(session, Permission.STOP)
        client, run = self._run_on(cell)
        if not isinstance(run, str):
            raise WrongState(f"No run is on {cell}.", remedy="There is nothing to stop.")
        client.stop(run, strength, actor_record(actor), reason)
        return {"cell": cell, "run": run, "asked": f"stop: {strength}"}

    def _run_on(self, cell: str) -> tuple[CellPort, Json]:
        """Return the connection of STOP and the run on a cell. Raises NotFound, CellUnreachable.

        Where the connection is lost as it is asked, it is asked once more: a question changes nothing, and no press of STOP is lost by it.
        """
        client = self._cells.client(cell, urgent=True)
        try:
            return client, client.status().get("run")
        except CellUnreachable:
            client = self._cells.client(cell, urgent=True)  # it may have come back elsewhere
            return client, client.status().get("run")

    def acknowledge(self, session: Session, cell: str, alarm: str, comment: str) -> JsonObject:
        actor = actor_of(session, Permission.ACKNOWLEDGE)
        self._cells.client(cell).alarm("acknowledge", alarm, actor_record(actor), comment)
        return {"alarm": alarm, "asked": "acknowledge"}

    def shelve(self, session: Session, cell: str, alarm: str, reason: str, minutes: int) -> JsonObject:
        """Put an early warning away for a while. Raises CellRefused where it may not be, or without a reason."""
        actor = actor_of(session, Permission.SHELVE)
        self._cells.client(cell).alarm("shelve", alarm, actor_record(actor), reason, minutes)
        return {"alarm": alarm, "asked": "shelve", "minutes": minutes}

    def unshelve(self, session: Session, cell: str, alarm: str) -> JsonObject:
        actor = actor_of(session, Permission.SHELVE)
        self._cells.client(cell).alarm("unshelve", alarm, actor_record(actor), "")
        return {"alarm": alarm, "asked": "unshelve"}

    def reset_alarm(self, session: Session, cell: str, alarm: str, comment: str) -> JsonObject:
        """End a latched alarm that was acknowledged and whose condition has gone. Raises CellRefused."""
        actor = actor_of(session, Permission.ACKNOWLEDGE)
        self._cells.client(cell).alarm("reset", alarm, actor_record(actor), comment)
        return {"alarm": alarm, "asked": "reset"}

    def allowed_order(self, session: Session, order_id: str) -> JsonObject:
        """Return what anybody may see of an order, its batches, and what this person may do to it.

        Substance and recipe are among it: the second person has to see what is confirmed. Figures, patient and number are not.
        """
        state = self.order(order_id)
        acts = allowed_actions(self.rules.order_acts(session, order_id))
        return {**order_shown(order_id, state), **substance_shown(state), "batches": self.batches_of(order_id), "allowed_actions": acts}

    def _cell(self, batch: JsonObject) -> CellPort:
        return self._cells.client(str(batch["cell"]))

    def _next(self, type_: str, letter: str) -> str:
        return f"{letter}{sum(1 for _ in self._store.objects(type_)) + 1:05d}"


def json_tree(value: Mapping[str, object]) -> dict[str, Json]:
    """Return a record as plain lists and dicts, as a cell takes it."""
    tree: dict[str, Json] = json.loads(canonical(value))
    return tree


def _shown(recipe: Recipe, result: DoseResult) -> str:
    """Return the digest of what a person is shown before an order is signed: the recipe version and the dose."""
    return sha256_hex(canonical({"recipe": recipe.digest, "dose": result.as_record()}))


def _same(first: Prescription, second: Prescription, name: str) -> bool:
    if name == "schedule":
        return same_times(first.schedule, second.schedule)
    one: object = getattr(first, name)
    other: object = getattr(second, name)
    return one == other
