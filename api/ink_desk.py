"""Inks and cartridges: received, prepared on site, weighed, and what each run took from them."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api.access import Credentials, actor_of
from api.errors import InputInvalid, WrongState
from api.people import DEVICE, People
from api.security import Permission, Session
from api.shelf import Shelf
from audit.canonical import JsonObject
from audit.events import Actor, EntryDraft, EventKind, Subject
from audit.quantities import Hour, Microlitre, Milligram, QuantityError, decimal_from_text, plain_text, round_to
from audit.release.ink_usage import Usage, usage_of
from audit.release.trail_view import TrailView
from audit.store import TrailStore
from recipes.figures import explain
from recipes.ink_account import reconcile
from recipes.model import Cartridge, DoseOrder, InkLot, Recipe

MEANING_CHECKED = "preparation checked"


class CartridgeWeighing(BaseModel):
    """The gross mass of a cartridge in mg as the balance shows it, with that balance's expanded uncertainty (k = 2) of one weighing."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    gross_mg: str = Field(max_length=20)
    uncertainty_mg: str = Field(max_length=20)
    balance: str = Field(min_length=1, max_length=200)


class InkDesk:
    """Takes what people enter about inks. Lifetime: that of the workstation. Concurrency: safe for several threads, as the store is."""

    def __init__(self, store: TrailStore, people: People, shelf: Shelf) -> None:
        self._store = store
        self._people = people
        self._shelf = shelf

    def receive_ink(self, session: Session, record: Mapping[str, object]) -> JsonObject:
        """Record an ink lot with its certificate of analysis. Raises InputInvalid, WrongState where the lot is known."""
        actor = actor_of(session, Permission.RECEIVE_INK)
        ink = _ink(record)
        if ink.preparation is not None:
            raise InputInvalid(
                f"Ink lot {ink.lot} has a preparation record, not a certificate.", remedy="Enter it as prepared, with its check."
            )
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
        self._unknown("ink_lot", ink.lot)
        subject = Subject("ink_lot", ink.lot)
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
        self._shelf.ink(cartridge.ink_lot)
        self._unknown("cartridge", cartridge.serial)
        self._shelf.receive_cartridge(cartridge, actor)
        return cartridge.as_record()

    def weigh_cartridge(self, session: Session, serial: str, weighing: CartridgeWeighing) -> JsonObject:
        """Record a weighing; from the second on, compare what was lost with what runs took. One that disagrees is held."""
        actor = actor_of(session, Permission.RECEIVE_INK)
        cartridge, state = self._shelf.cartridge(serial), self._store.state("cartridge", serial) or {}
        gross, uncertainty = _mass(weighing.gross_mg, "gross mass in mg"), _mass(weighing.uncertainty_mg, "uncertainty in mg")
        new: JsonObject = {
            "gross_mg": gross.text,
            "weighed_uncertainty_mg": uncertainty.text,
            "weighed_on": weighing.balance,
            "used_at_weighing": str(cartridge.used),
            "wasted_at_weighing": str(state.get("wasted", "0 uL")),
        }
        if isinstance(before := state.get("gross_mg"), str):
            most = cartridge.used - Microlitre.parse(str(state["used_at_weighing"]))
            wasted = Microlitre.parse(str(state.get("wasted", "0 uL"))) - Microlitre.parse(str(state["wasted_at_weighing"]))
            density = self._shelf.ink(cartridge.ink_lot).density
            found = reconcile(Milligram(before), gross, most - wasted, most, density, uncertainty)
            new |= {"reconciled": found.agrees, "reconciliation": found.text}
            if not found.agrees:
                new["held"] = found.text
        self._store.append(EntryDraft(EventKind.INK_CARTRIDGE_WEIGHED, Subject("cartridge", serial), new, actor, DEVICE))
        return {"serial": serial, **new}

    def cartridge(self, serial: str) -> JsonObject:
        """Return a cartridge as it is now, with what is left in it, and every entry about it."""
        cartridge, state = self._shelf.cartridge(serial), self._store.state("cartridge", serial) or {}
        lot = self._shelf.ink(cartridge.ink_lot)
        view = TrailView(list(self._store.lines()))
        history: list[JsonObject] = [
            {"at": entry.at, "kind": entry.kind, "by": entry.who["name"], "new": entry.new} for entry in view.of("cartridge", serial)
        ]
        return {
            **cartridge.as_record(),
            "remaining": str(cartridge.remaining),
            "strength": f"{lot.assay} ({lot.strength_text})",
            "held": state.get("held"),
            "history": list(history),
        }

    def note_usage(self, order: DoseOrder, recipe: Recipe, run: str, cell_trail: TrailView, by: Actor) -> None:
        """Count what a run that was closed took from each of its cartridges, and for how long they were at temperature."""
        parts = recipe.parts
        for head, (serial, part) in enumerate(zip(order.cartridges, parts, strict=False)):
            prime = part.parameters.prime_volume.set_point.value
            usage = usage_of(cell_trail, run, head=head, heads=len(parts), prime=prime)
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
