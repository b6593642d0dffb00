"""Recipe versions as the workstation's trail holds them: state, content, signatures."""

from __future__ import annotations

import json
from dataclasses import dataclass

from api.errors import NotFound
from audit.canonical import JsonObject
from audit.reader import TrailReader
from audit.release.trail_view import count_of
from audit.signatures import Signature
from recipes.difference import Change, difference
from recipes.lifecycle import RecipeState, RecipeVersion
from recipes.model import Recipe, parse_recipe
from recipes.store import RecipeBundle, read_bundle

TOML, SOLID = "recipe.toml", "solid.stl"
_SETTLED = ("effective", "superseded", "retired")


@dataclass(frozen=True, slots=True)
class Version:
    """One version: its state as recorded, its file, and the STL file that it binds, if any."""

    state: JsonObject
    toml: bytes
    recipe: Recipe
    solid: bytes | None = None

    @property
    def reference(self) -> str:
        return self.recipe.reference

    @property
    def status(self) -> str:
        return str(self.state.get("status"))

    @property
    def submitted(self) -> bool:
        """Whether its author has signed it: from then on its number means this content and no other."""
        return self.state.get("author_signature") is not None or self.status in _SETTLED or self.state.get("bundle_sha256") is not None

    @property
    def standing(self) -> RecipeVersion:
        author, approver = self.state.get("author"), self.state.get("approver")
        return RecipeVersion(
            reference=self.reference,
            digest=str(self.state.get("digest")),
            state=RecipeState(self.status),
            author=author if isinstance(author, str) else None,
            approver=approver if isinstance(approver, str) else None,
        )

    def signature(self, field: str) -> Signature:
        return Signature.model_validate(self.state.get(field))


class Versions:
    """Reads recipe versions from the trail. Safe for several threads, as the store is."""

    def __init__(self, store: TrailReader) -> None:
        self._store = store

    def states(self, recipe_id: str | None = None) -> list[JsonObject]:
        """Return the state of every version, by name and number."""
        found = [state for _, state in self._store.objects("recipe") if recipe_id is None or state.get("id") == recipe_id]
        return sorted(found, key=lambda state: (str(state.get("id")), count_of(state.get("version")) or 0))

    def get(self, reference: str) -> Version:
        """Return a version with its file. Raises NotFound."""
        state = self._store.state("recipe", reference)
        if state is None:
            known = ", ".join(f"{item.get('id')}@{item.get('version')}" for item in self.states())
            raise NotFound(f"There is no recipe version {reference!r}.", remedy=f"Known are: {known or 'none'}.")
        toml = self._toml(state)
        sha256 = state.get("solid_sha256")
        solid = self._store.blob(sha256) if isinstance(sha256, str) else None
        return Version(state, toml, parse_recipe(toml, f"the file of {reference}"), solid)

    def find(self, reference: str) -> Version | None:
        return None if self._store.state("recipe", reference) is None else self.get(reference)

    def bundle(self, version: Version) -> RecipeBundle:
        """Return the signed bundle of an approved version. Raises NotFound."""
        sha256 = version.state.get("bundle_sha256")
        if not isinstance(sha256, str):
            raise NotFound(f"Recipe {version.reference} is {version.status}: it has no signed bundle.", remedy="Have it approved first.")
        return read_bundle(json.loads(self._store.blob(sha256)))

    def former(self, recipe: Recipe) -> Version | None:
        """Return what a version is compared with: the effective one, else the newest before it that was handed in; None for a first one."""
        before = [state for state in self.states(recipe.id) if (count_of(state.get("version")) or 0) < recipe.version]
        effective = [state for state in before if state.get("status") == "effective"]
        known = effective or [state for state in before if state.get("author") is not None]
        return self.get(f"{recipe.id}@{known[-1].get('version')}") if known else None

    def difference(self, version: Version, other: str | None = None) -> tuple[str | None, tuple[Change, ...]]:
        """Return with what a version was compared, and every field that differs; its own number is none. Raises NotFound."""
        old = self.former(version.recipe) if other is None else self.get(other)
        if old is None:
            return None, ()
        return old.reference, tuple(change for change in difference(old.recipe, version.recipe) if change.path != "version")

    def _toml(self, state: JsonObject) -> bytes:
        sha256 = state.get("toml_sha256")
        if isinstance(sha256, str):
            return self._store.blob(sha256)
        return str(json.loads(self._store.blob(str(state["bundle_sha256"])))["recipe_toml"]).encode("utf-8")
