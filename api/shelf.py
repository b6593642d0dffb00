"""What may be printed at this site and from what: effective recipes with their two signatures, ink lots, cartridges."""

from __future__ import annotations

import json

from api.errors import NotFound, WrongState
from api.people import DEVICE
from audit.canonical import JsonObject, canonical, sha256_hex
from audit.events import Actor, EntryDraft, EventKind, Subject
from audit.release.trail_view import count_of
from audit.store import TrailStore
from recipes.effectivity import signer_of
from recipes.errors import RecipeRefused
from recipes.figures import DEMONSTRATION_STATUS
from recipes.model import Cartridge, InkLot, Recipe, parse_recipe
from recipes.store import RecipeBundle

BUNDLE = "recipe-bundle.json"


def recipe_fields(recipe: Recipe, status: str) -> JsonObject:
    """Return what an entry says of a recipe version beside its signatures."""
    new: JsonObject = {
        "id": recipe.id,
        "version": recipe.version,
        "title": recipe.title,
        "digest": recipe.digest,
        "status": status,
        "moiety": recipe.active.moiety,
        "basis": recipe.active.basis,
        "process": recipe.process,
        "dosage_form": recipe.dosage_form,
        "route": recipe.route,
        "demonstration": recipe.status_text == DEMONSTRATION_STATUS,
    }
    if recipe.second_ink is not None:
        second = recipe.second_ink.active
        new |= {"second_moiety": second.moiety, "second_basis": second.basis}
    return new


def effective_entry(recipe: Recipe, bundle: RecipeBundle, by: Actor, reason: str | None = None) -> EntryDraft:
    """Return the entry that makes a version effective. Raises RecipeRefused where nothing in the bundle says that it is."""
    if bundle.effective is None:
        raise RecipeRefused(f"Nobody made recipe {recipe.reference} effective.", remedy="Have a person of quality sign that it is.")
    data, statement = canonical(bundle.as_record()), bundle.effective.statement
    author, approver = bundle.signatures
    new: JsonObject = {
        **recipe_fields(recipe, "effective"),
        "author": signer_of(author),
        "approver": signer_of(approver),
        "made_effective_by": signer_of(bundle.effective.signature),
        "effective_from": statement.effective_from,
        "review_by": statement.review_by,
        "confirmatory": [batch.batch for batch in statement.confirmatory],
        "exemption": statement.exemption,
        "bundle_sha256": sha256_hex(data),
    }
    subject = Subject("recipe", recipe.reference)
    kind = EventKind.RECIPE_VERSION_EFFECTIVE
    return EntryDraft(kind, subject, new, by, DEVICE, reason=reason, attachments={BUNDLE: data})


class Shelf:
    """Reads and receives recipes, ink lots and cartridges through the workstation's trail.

    Concurrency: safe for several threads, as the store is.
    """

    def __init__(self, store: TrailStore) -> None:
        self._store = store

    def make_effective(self, recipe: Recipe, bundle: RecipeBundle, by: Actor) -> None:
        """Record a signed recipe version as effective; the bundle (text and all signatures) is kept whole."""
        self._store.append(effective_entry(recipe, bundle, by))

    def receive_ink(self, ink: InkLot, by: Actor) -> None:
        """Record an ink lot with its certificate."""
        self._receive(EventKind.INK_LOT_RECEIVED, Subject("ink_lot", ink.lot), ink.as_record(), by)

    def receive_cartridge(self, cartridge: Cartridge, by: Actor) -> None:
        self._receive(EventKind.INK_CARTRIDGE_RECEIVED, Subject("cartridge", cartridge.serial), cartridge.as_record(), by)

    def _receive(self, kind: EventKind, subject: Subject, record: JsonObject, by: Actor) -> None:
        self._store.append(EntryDraft(kind=kind, subject=subject, new=record, actor=by, device=DEVICE))

    def recipes(self) -> list[JsonObject]:
        """Return id, version, title, digest and status of every recipe version."""
        return [state for _, state in self._store.objects("recipe")]

    def choices(self, *, development: bool) -> dict[str, str]:
        """Return what an order may name, with its title: effective recipes, and in development mode the versions opened for it."""
        states = self.recipes()
        found = {str(state["id"]): str(state["title"]) for state in states if state.get("status") == "effective"}
        for state in states if development else ():
            if state.get("development_sha256") is not None and state.get("status") in ("draft", "in review", "approved"):
                found[f"{state['id']}@{state['version']}"] = f"{state['title']}, version {state['version']} (not for patients)"
        return found

    def bundle(self, recipe_id: str) -> JsonObject:
        """Return the signed bundle of the effective version of a recipe. Raises NotFound."""
        effective = [state for state in self.recipes() if state.get("id") == recipe_id and state.get("status") == "effective"]
        if not effective:
            known = ", ".join(sorted({str(state.get("id")) for state in self.recipes() if state.get("status") == "effective"}))
            raise NotFound(f"There is no effective recipe {recipe_id!r}.", remedy=f"Choose one of: {known or 'none is effective yet'}.")
        newest = max(effective, key=lambda state: count_of(state.get("version")) or 0)
        found = newest.get("bundle_sha256")
        if not isinstance(found, str):
            raise NotFound(
                f"Recipe {recipe_id}@{newest.get('version')} has no signed bundle, though its row says effective.",
                remedy="Tell whoever looks after the workstation: the store has to be verified.",
            )
        bundle: JsonObject = json.loads(self._store.blob(found))
        return bundle

    def recipe(self, name: str) -> Recipe:
        """Return a recipe: by its id the effective version, by `id@version` one that is effective or open for development.

        Raises NotFound, WrongState.
        """
        return parse_recipe(str(self.printable(name)["recipe_toml"]).encode())

    def version(self, name: str, digest: str) -> Recipe:
        """Return the recipe version `id@version` with this digest, whatever has become of it since it was printed. Raises NotFound."""
        state = self._object("recipe", name, "recipe version")
        for signed in ("bundle_sha256", "development_sha256"):
            if isinstance(found := state.get(signed), str):
                recipe = parse_recipe(str(json.loads(self._store.blob(found))["recipe_toml"]).encode())
                if recipe.digest == digest:
                    return recipe
        raise NotFound(
            f"No signed content of recipe {name} has the digest {digest}.",
            remedy="Tell whoever looks after the workstation: the store has to be verified.",
        )

    def printable(self, name: str) -> JsonObject:
        """Return what a cell is handed of a recipe: the effective bundle, or what a process engineer signed for development."""
        if "@" not in name:
            return self.bundle(name)
        state = self._object("recipe", name, "recipe version")
        if state.get("status") == "effective":
            found = state.get("bundle_sha256")
        elif state.get("status") in ("superseded", "retired"):
            raise WrongState(f"Recipe {name} is {state.get('status')}.", remedy="Order from the version that is effective now.")
        else:
            found = state.get("development_sha256")
        if not isinstance(found, str):
            raise WrongState(
                f"Recipe {name} is {state.get('status')} and not open for development runs.",
                remedy="Have it made effective, or have a process engineer open it for development.",
            )
        printable: JsonObject = json.loads(self._store.blob(found))
        return printable

    def is_development(self, name: str) -> bool:
        """Whether what is printed under this name is made in development mode. Raises NotFound, WrongState."""
        return "development" in self.printable(name)

    def ink(self, lot: str) -> InkLot:
        """Return an ink lot. Raises NotFound."""
        return InkLot.model_validate(document_of(InkLot, self._object("ink_lot", lot, "ink lot")))

    def cartridge(self, serial: str) -> Cartridge:
        """Return a cartridge as it is now: what closed runs took from it is counted. Raises NotFound."""
        return Cartridge.model_validate(document_of(Cartridge, self._object("cartridge", serial, "cartridge")))

    def held(self, serial: str) -> str | None:
        """Say why a cartridge, or the ink lot in it, is held; None where neither is."""
        cartridge = self._store.state("cartridge", serial) or {}
        lot = str(cartridge.get("ink_lot", ""))
        found, of_lot = cartridge.get("held"), self.held_lot(lot)
        return found if isinstance(found, str) else None if of_lot is None else f"ink lot {lot}: {of_lot}"

    def held_lot(self, lot: str) -> str | None:
        """Say why an ink lot is held; None where it is not."""
        held = (self._store.state("ink_lot", lot) or {}).get("held")
        return held if isinstance(held, str) else None

    def inks(self) -> list[JsonObject]:
        return [state for _, state in self._store.objects("ink_lot")]

    def cartridges(self) -> list[JsonObject]:
        return [state for _, state in self._store.objects("cartridge")]

    def _object(self, type_: str, id_: str, word: str) -> JsonObject:
        state = self._store.state(type_, id_)
        if state is None:
            raise NotFound(f"There is no {word} {id_!r}.", remedy="Receive it first, or correct the number.")
        return state


def document_of(kind: type[InkLot] | type[Cartridge], state: JsonObject) -> JsonObject:
    """Return what of an object's state is the document itself; entries about it have more."""
    return {name: value for name, value in state.items() if name in kind.model_fields}
