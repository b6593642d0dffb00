"""Inks and cartridges: received, prepared on site, weighed, and what each run took from them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from decimal import Decimal
from typing import TypedDict

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api.access import Credentials, actor_of
from api.allowed import Acts, Against, against, allowed_actions, refuse
from api.cartridge_returns import CartridgeReturns, known_empty, remaining_mass
from api.errors import InputInvalid, WrongState
from api.order_checks import not_held
from api.people import DEVICE, People
from api.security import Permission, Session
from api.shelf import Shelf, document_of
from audit.canonical import JsonObject
from audit.events import Actor, EntryDraft, EventKind, Subject
from audit.quantities import EXACT, Hour, Microlitre, Milligram, QuantityError, decimal_from_text, plain_text, round_to
from audit.release.ink_usage import Usage, usage_of
from audit.release.trail_view import TrailView
from audit.store import TrailStore
from printer.standing import local_day
from recipes.civil_days import days_between
from recipes.figures import explain
from recipes.ink_account import reconcile
from recipes.model import Cartridge, DoseOrder, InkLot, Recipe

MEANING_CHECKED = "preparation checked"


class Overview(TypedDict):
    """Lots and cartridges of a site on one day."""

    today: str
    inks: list[JsonObject]
    cartridges: list[JsonObject]


class CartridgeWeighing(BaseModel):
    """The gross mass of a cartridge in mg as the balance shows it, with that balance's expanded uncertainty (k = 2) of one weighing.

    `empty_mg`: the mass of the empty cartridge, where it is known and was not stated before.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    gross_mg: str = Field(max_length=20)
    uncertainty_mg: str = Field(max_length=20)
    balance: str = Field(min_length=1, max_length=200)
    empty_mg: str = Field(default="", max_length=20)


class InkDesk:
    """Takes what people enter about inks.

    Lifetime: that of the workstation. Concurrency: safe for several threads; one lock for every change, so that of two who enter the same
    lot or cartridge at once, the second is told, and no use and no weighing is lost to another.
    """

    def __init__(self, store: TrailStore, people: People, shelf: Shelf) -> None:
        self._store = store
        self._people = people
        self._shelf = shelf
        self._returns = CartridgeReturns(store)
        self._lock = threading.Lock()

    def receive_ink(self, session: Session, record: Mapping[str, object]) -> JsonObject:
        """Record an ink lot with its certificate of analysis. Raises InputInvalid, WrongState where the lot is known."""
        actor = actor_of(session, Permission.RECEIVE_INK)
        ink = _ink(record)
        if ink.preparation is not None:
            raise InputInvalid(
                f"Ink lot {ink.lot} has a preparation record, not a certificate.", remedy="Enter it as prepared, with its check."
            )
        with self._lock:
            self._unknown("ink_lot", ink.lot)
            self._shelf.receive_ink(ink, actor)
        return ink.as_record()

    def prepare_ink(self, session: Session, record: Mapping[str, object], checker: Credentials) -> JsonObject:
        """Record an ink prepared on site; the person named in every check signs. Raises InputInvalid, WrongState, what a signature may."""
        actor = actor_of(session, Permission.RECEIVE_INK)
        ink = _ink(record)
        made = ink.preparation
        if made is None:
            raise InputInvalid(f"Ink lot {ink.lot} has no preparation record.", remedy="Enter it as received, with its certificate.")
        signer = checker.username or session.username
        checks = {component.checked_by for component in made.components} | {made.mixing.checked_by}
        if checks != {signer}:
            raise InputInvalid(
                f"The record names {', '.join(sorted(checks))} as who checked, and {signer} would sign.",
                remedy="One second person checks every weighing and the mixing, and signs.",
            )
        if signer == session.username:
            raise WrongState("Who prepared an ink cannot check it.", remedy="Let a second person sign the check: checker.")
        subject = Subject("ink_lot", ink.lot)
        with self._lock:
            self._unknown("ink_lot", ink.lot)
            signature = self._people.sign(
                session, checker, permission=Permission.RECEIVE_INK, meaning=MEANING_CHECKED, digest=ink.digest, subject=subject
            )
            new: JsonObject = {**ink.as_record(), "checked": signature.as_record()}
            self._store.append(EntryDraft(EventKind.INK_LOT_PREPARED, subject, new, actor, DEVICE))
        return {"lot": ink.lot, "strength": str(ink.assay), "strength_basis": made.strength_basis, "checked_by": signer}

    def receive_cartridge(self, session: Session, record: Mapping[str, object]) -> JsonObject:
        """Record a filled cartridge of a known ink lot. Raises InputInvalid, NotFound, WrongState where the serial is known."""
        actor = actor_of(session, Permission.RECEIVE_INK)
        try:
            cartridge = Cartridge.model_validate(dict(record))
        except ValidationError as error:
            raise InputInvalid(f"The cartridge cannot be read: {explain(error)}.", remedy="Correct the fields named.") from error
        if cartridge.used.value or cartridge.warm is not None:
            raise InputInvalid("A new cartridge has nothing used.", remedy="Leave out `used` and `warm`; runs are counted here.")
        refuse(self._against_filling(session, cartridge.ink_lot))
        with self._lock:
            self._unknown("cartridge", cartridge.serial)
            self._shelf.receive_cartridge(cartridge, actor)
        return cartridge.as_record()

    def weigh_cartridge(self, session: Session, serial: str, weighing: CartridgeWeighing, batch: str | None = None) -> JsonObject:
        """Record a weighing, once, for all that rests on it: what runs took since the one before, and what a batch left in the cartridge.

        From the second on, what was lost is compared with what runs took; one that disagrees is held. Where a batch printed from it last
        and awaits review, the first weighing since says what it left. `batch`: it is weighed back from this one. Raises NotFound,
        WrongState (weighed back already, used since), InputInvalid.
        """
        actor = actor_of(session, Permission.RECEIVE_INK)
        with self._lock:
            cartridge, state = self._shelf.cartridge(serial), self._store.state("cartridge", serial) or {}
            gross, uncertainty = _mass(weighing.gross_mg, "gross mass in mg"), _mass(weighing.uncertainty_mg, "uncertainty in mg")
            settled = self._returns.settled_by(serial, batch)
            density = self._shelf.ink(cartridge.ink_lot).density
            empty = known_empty(serial, state, weighing.empty_mg)
            remaining = remaining_mass(cartridge, state, gross, empty, density)
            if batch is not None and remaining is None:
                raise InputInvalid(
                    f"How much ink is left in {serial} does not follow from its gross mass: it was never weighed before, or lost too much.",
                    remedy="Enter the mass of the empty cartridge.",
                )
            new: JsonObject = {
                "gross_mg": gross.text,
                "weighed_uncertainty_mg": uncertainty.text,
                "weighed_on": weighing.balance,
                "used_at_weighing": str(cartridge.used),
                "wasted_at_weighing": str(state.get("wasted", "0 uL")),
                **({} if empty is None else {"empty_mg": empty.text}),
                "remaining_mg": None if remaining is None else remaining.text,
                "settles": settled if remaining is not None else None,
            }
            if isinstance(before := state.get("gross_mg"), str):
                most = cartridge.used - Microlitre.parse(str(state["used_at_weighing"]))
                wasted = Microlitre.parse(str(state.get("wasted", "0 uL"))) - Microlitre.parse(str(state["wasted_at_weighing"]))
                found = reconcile(Milligram(before), gross, most - wasted, most, density, uncertainty)
                new |= {"reconciled": found.agrees, "reconciliation": found.text}
                if not found.agrees:
                    new["held"] = found.text
            self._store.append(EntryDraft(EventKind.INK_CARTRIDGE_WEIGHED, Subject("cartridge", serial), new, actor, DEVICE))
        return {"serial": serial, **new}

    def lot_for(self, session: Session, lot: str) -> JsonObject:
        """Return an ink lot as it is now, with what this person may do with it. Raises NotFound."""
        state = self._shelf.ink(lot).as_record()
        acts: Acts = {"cartridges": self._against_filling(session, lot)}
        return {**state, "held": self._shelf.held_lot(lot), "allowed_actions": allowed_actions(acts)}

    def cartridge_for(self, session: Session, serial: str) -> JsonObject:
        """Return a cartridge as `cartridge` does, with what this person may do with it. Raises NotFound."""
        acts: Acts = {
            "weight": against(lambda: session.role_for(Permission.RECEIVE_INK)),
            "orders": against(
                lambda: session.role_for(Permission.ENTER_ORDER),
                lambda: not_held([serial], self._shelf.held),
            ),
        }
        return {**self.cartridge(serial), "allowed_actions": allowed_actions(acts)}

    def _against_filling(self, session: Session, lot: str) -> Against:
        return against(lambda: session.role_for(Permission.RECEIVE_INK), lambda: self._shelf.ink(lot))

    def cartridge(self, serial: str) -> JsonObject:
        """Return a cartridge as it is now, with what is left in it, and every entry about it."""
        cartridge, state = self._shelf.cartridge(serial), self._store.state("cartridge", serial) or {}
        lot = self._shelf.ink(cartridge.ink_lot)
        entries = self._store.search(subject_type="cartridge", subject_id=serial, limit=self._store.size)
        history: list[JsonObject] = [{"at": entry.at, "kind": entry.kind, "by": entry.actor.name, "new": entry.new} for entry in entries]
        return {
            **cartridge.as_record(),
            "remaining": str(cartridge.remaining),
            "strength": f"{lot.assay} ({lot.strength_text})",
            "held": state.get("held"),
            "history": list(history),
        }

    def overview(self) -> Overview:
        """Return all lots and cartridges as they are today, with what a person has to know of each."""
        today = local_day(self._store.clock.utc())
        lots = {state["lot"]: InkLot.model_validate(document_of(InkLot, state)) for state in self._shelf.inks()}
        cartridges: list[JsonObject] = []
        for state in self._shelf.cartridges():
            cartridge = Cartridge.model_validate(document_of(Cartridge, state))
            lot = lots.get(cartridge.ink_lot)
            cartridges.append(_shown_cartridge(cartridge, lot, state.get("held") is not None, today))
        return {"today": today, "inks": [_shown_lot(lot, today) for lot in lots.values()], "cartridges": cartridges}

    def note_usage(self, order: DoseOrder, recipe: Recipe, run: str, cell_trail: TrailView, by: Actor) -> None:
        """Count what a run that was closed took from each of its cartridges, and for how long they were at temperature."""
        parts = recipe.parts
        for head, (serial, part) in enumerate(zip(order.cartridges, parts, strict=False)):
            prime = part.parameters.prime_volume.set_point.value
            usage = usage_of(cell_trail, run, head=head, heads=len(parts), prime=prime)
            with self._lock:
                self._count(serial, usage, by)

    def _count(self, serial: str, usage: Usage, by: Actor) -> None:
        cartridge, state = self._shelf.cartridge(serial), self._store.state("cartridge", serial) or {}
        last = state.get("usage")
        if (not usage.most and not usage.warm) or (isinstance(last, dict) and last.get("run") == usage.run):
            return
        wasted = Microlitre.parse(str(state.get("wasted", "0 uL"))) + _microlitre(usage.wasted)
        warm = (cartridge.warm or Hour(0)) + Hour(plain_text(round_to(usage.warm, 4)))
        # The most that can have been taken counts: a cartridge must not be promised to hold what may be gone.
        used = min(cartridge.used + _microlitre(usage.most), cartridge.filled)
        new: JsonObject = {"used": str(used), "wasted": str(wasted), "warm": str(warm), "usage": usage.as_record()}
        self._store.append(EntryDraft(EventKind.INK_CARTRIDGE_USED, Subject("cartridge", serial), new, by, DEVICE))

    def _unknown(self, type_: str, id_: str) -> None:
        if self._store.state(type_, id_) is not None:
            raise WrongState(f"There is a {type_.replace('_', ' ')} {id_} already.", remedy="Correct the number; what was entered stays.")


def _shown_lot(lot: InkLot, today: str) -> JsonObject:
    return {
        "lot": lot.lot,
        "ink": lot.ink,
        "strength": f"{lot.assay} ± {lot.assay_uncertainty}",
        "known_by": f"certificate: {lot.certificate}" if lot.preparation is None else "theoretical strength, prepared on site",
        "expires": lot.expires,
        "expired": today > lot.expires,
    }


def _clock(days: int) -> str:
    """Say how long a cartridge may still be used."""
    if days <= 0:
        return "its in-use life is over"
    return f"{days} day left, today included" if days == 1 else f"{days} days left, today included"


def _shown_cartridge(cartridge: Cartridge, lot: InkLot | None, held: bool, today: str) -> JsonObject:
    left = days_between(today, cartridge.in_use_until) + 1
    over = left <= 0 or lot is None or today > lot.expires
    mass = None if lot is None else EXACT.multiply(cartridge.remaining.value, lot.density.value)
    return {
        "serial": cartridge.serial,
        "ink_lot": cartridge.ink_lot,
        "remaining": f"{plain_text(round_to(cartridge.remaining.value, 1))} of {cartridge.filled.text} µL",
        "remaining_mass": None if mass is None else f"{plain_text(round_to(mass, 1))} mg",
        "opened": cartridge.opened,
        "in_use_until": cartridge.in_use_until,
        "clock": _clock(left),
        "warm": None if cartridge.warm is None else f"{plain_text(round_to(cartridge.warm.value, 2))} h",
        "state": "held" if held else "in-use life over" if left <= 0 else "its ink expired" if over else "in use",
        "usable": not held and not over,
    }


def _ink(record: Mapping[str, object]) -> InkLot:
    try:
        return InkLot.model_validate(dict(record))
    except ValidationError as error:
        raise InputInvalid(f"The ink lot cannot be read: {explain(error)}.", remedy="Correct the fields named.") from error


def _mass(text: str, what: str) -> Milligram:
    value = decimal_from_text(text, what)
    if value <= 0:
        raise QuantityError(f"{what}: {text} is not above zero; enter it as the balance shows it")
    return Milligram(value)


def _microlitre(value: Decimal) -> Microlitre:
    return Microlitre(round_to(value, 3))
