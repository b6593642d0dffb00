"""What a cell has on record of recipes: which versions it was told, with signatures, are effective or withdrawn.

A cell that has once seen a version effective prints no older one, whoever sends it; nor one that it was told is withdrawn. The web
process can keep a notice back, it cannot take one back; what a cell was never told ends with the date of review in the statement.
"""

from __future__ import annotations

from collections.abc import Sequence

from audit.canonical import JsonObject, JsonValue
from audit.events import Actor, EntryDraft, EventKind, Subject
from audit.reader import TrailReader
from printer.equipment import KnownRecipe
from recipes.model import Recipe


def known_recipes(store: TrailReader) -> tuple[KnownRecipe, ...]:
    """Return the recipe versions that a cell's own trail holds, in the order of their names."""
    found = [state for _, state in store.objects("recipe") if state.get("status") in ("effective", "retired")]
    known = [
        KnownRecipe(
            id=str(state["id"]),
            version=_whole(state["version"]),
            recipe_digest=str(state["digest"]),
            status="effective" if state["status"] == "effective" else "retired",
        )
        for state in found
    ]
    return tuple(sorted(known, key=lambda item: (item.id, item.version)))


def _whole(value: JsonValue) -> int:
    return value if isinstance(value, int) else 0


def stale_reasons(recipe: Recipe, known: Sequence[KnownRecipe]) -> list[str]:
    """Return why a version that is signed as effective may not be printed on a cell that knows these. Empty where it may."""
    reasons = []
    own = [item for item in known if item.id == recipe.id]
    newest = max((item.version for item in own if item.status == "effective"), default=0)
    if newest > recipe.version:
        reasons.append(f"recipe {recipe.reference} is stale: this cell knows {recipe.id}@{newest} to be effective")
    for item in own:
        if item.version == recipe.version and item.status == "retired":
            reasons.append(f"recipe {recipe.reference} was withdrawn")
        elif item.version == recipe.version and item.recipe_digest != recipe.digest:
            reasons.append(f"recipe {recipe.reference} had other content when this cell first saw it: a version number is never used again")
    return reasons


def effective_draft(recipe: Recipe, statement_sha256: str, review_by: str, actor: Actor, device: str) -> EntryDraft:
    """Return the entry by which a cell remembers that a version is effective."""
    new: JsonObject = {
        "id": recipe.id,
        "version": recipe.version,
        "digest": recipe.digest,
        "status": "effective",
        "statement_sha256": statement_sha256,
        "review_by": review_by,
    }
    return EntryDraft(EventKind.RECIPE_VERSION_EFFECTIVE, Subject("recipe", recipe.reference), new, actor, device)


def retired_draft(reference: str, digest: str, reason: str, actor: Actor, device: str) -> EntryDraft:
    """Return the entry by which a cell remembers that a version was withdrawn. `reference` is `id@version`."""
    id_, _, version = reference.rpartition("@")
    new: JsonObject = {"id": id_, "version": int(version), "digest": digest, "status": "retired"}
    return EntryDraft(EventKind.RECIPE_VERSION_RETIRED, Subject("recipe", reference), new, actor, device, reason=reason)
