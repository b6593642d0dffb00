"""What may be printed at this site and from what: effective recipes with their two signatures, ink lots, cartridges."""

from __future__ import annotations

import json

from api.errors import NotFound
from api.people import DEVICE
from audit.canonical import JsonObject, JsonValue, canonical, sha256_hex
from audit.events import Actor, EntryDraft, EventKind, Subject
from audit.store import TrailStore
from recipes.model import Cartridge, InkLot, Recipe, parse_recipe

_BUNDLE = "recipe-bundle.json"


class Shelf:
    """Reads and receives recipes, ink lots and cartridges through the workstation's trail.

    Concurrency: safe for several threads, as the store is.
    """

    def __init__(self, store: TrailStore) -> None:
        self._store = store

    def make_effective(self, recipe: Recipe, bundle: JsonObject, by: Actor) -> None:
        """Record a signed recipe version as effective; the bundle (text and both signatures) is kept whole."""
        data = canonical(bundle)
        new: JsonObject = {
            "id": recipe.id,
            "version": recipe.version,
            "title": recipe.title,
            "digest": recipe.digest,
            "status": "effective",
            "moiety": recipe.active.moiety,
            "basis": recipe.active.basis,
            "process": recipe.process,
            "dosage_form": recipe.dosage_form,
            "route": recipe.route,
            "bundle_sha256": sha256_hex(data),
        }
        if recipe.second_ink is not None:
            second = recipe.second_ink.active
            new |= {"second_moiety": second.moiety, "second_basis": second.basis}
        self._store.append(
            EntryDraft(
                kind=EventKind.RECIPE_VERSION_EFFECTIVE,
                subject=Subject("recipe", recipe.reference),
                new=new,
                actor=by,
                device=DEVICE,
                attachments={_BUNDLE: data},
            )
        )

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

    def bundle(self, recipe_id: str) -> JsonObject:
        """Return the signed bundle of the effective version of a recipe. Raises NotFound."""
        effective = [state for state in self.recipes() if state.get("id") == recipe_id and state.get("status") == "effective"]
        if not effective:
            known = ", ".join(sorted({str(state.get("id")) for state in self.recipes()}))
            raise NotFound(f"There is no effective recipe {recipe_id!r}.", remedy=f"Choose one of: {known or 'none is effective yet'}.")
        newest = max(effective, key=lambda state: _whole(state.get("version")))
        bundle: JsonObject = json.loads(self._store.blob(str(newest["bundle_sha256"])))
        return bundle

    def recipe(self, recipe_id: str) -> Recipe:
        return parse_recipe(str(self.bundle(recipe_id)["recipe_toml"]).encode())

    def ink(self, lot: str) -> InkLot:
        """Return an ink lot. Raises NotFound."""
        return InkLot.model_validate(_of(InkLot, self._object("ink_lot", lot, "ink lot")))

    def cartridge(self, serial: str) -> Cartridge:
        """Return a cartridge as it is now: what closed runs took from it is counted. Raises NotFound."""
        return Cartridge.model_validate(_of(Cartridge, self._object("cartridge", serial, "cartridge")))

    def held(self, serial: str) -> str | None:
        """Say why a cartridge is held, None where it is not."""
        found = (self._store.state("cartridge", serial) or {}).get("held")
        return found if isinstance(found, str) else None

    def inks(self) -> list[JsonObject]:
        return [state for _, state in self._store.objects("ink_lot")]

    def cartridges(self) -> list[JsonObject]:
        return [state for _, state in self._store.objects("cartridge")]

    def _object(self, type_: str, id_: str, word: str) -> JsonObject:
        state = self._store.state(type_, id_)
        if state is None:
            raise NotFound(f"There is no {word} {id_!r}.", remedy="Receive it first, or correct the number.")
        return state


def _of(kind: type[InkLot] | type[Cartridge], state: JsonObject) -> JsonObject:
    """Return what of an object's state is the document itself; entries about it have more."""
    return {name: value for name, value in state.items() if name in kind.model_fields}


def _whole(value: JsonValue) -> int:
    return value if isinstance(value, int) else 0
