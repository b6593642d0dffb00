"""What an open recall stops: batches it found, and new ones that it would find."""

from __future__ import annotations

from api.errors import WrongState
from audit.canonical import JsonObject
from audit.release.trail_view import as_list, as_object, text_of
from audit.store import TrailStore

_OF_A_BATCH = {
    "ink_lot": ("ink_lot", "second_ink_lot"),
    "cartridge": ("cartridge", "second_cartridge"),
    "recipe": ("recipe",),
    "cell": ("cell",),
    "printer": ("machine",),
}


class RecallHolds:
    """Reads recalls from the trail, each time anew. Concurrency: any thread."""

    def __init__(self, store: TrailStore) -> None:
        self._store = store

    def of_batch(self, batch_id: str) -> str | None:
        """Say which open recall holds a batch, None where none does."""
        state = self._store.state("batch", batch_id) or {}
        for name, recall in self._open():
            if batch_id in as_list(recall.get("batches")):
                return f"batch {batch_id} is recalled by {name}"
        return self.of_facts(state)

    def of_facts(self, facts: JsonObject) -> str | None:
        """Say which open recall would find a batch with these facts (`ink_lot`, `cartridge`, `recipe`, `cell`, `machine`).

        A recall over a time that is past, or by what is known only of a run, holds the batches that it found and no new ones.
        """
        for name, recall in self._open():
            criteria = recall.get("criteria")
            given = {key: value for key, value in criteria.items() if value is not None} if isinstance(criteria, dict) else {}
            if not given or "until" in given or not set(given) - {"since"} <= set(_OF_A_BATCH):
                continue
            asked = {key: value for key, value in given.items() if key != "since"}
            if asked and all(any(_same(key, facts.get(field), value) for field in _OF_A_BATCH[key]) for key, value in asked.items()):
                named = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in sorted(asked.items()))
                return f"{named}: held by recall {name}"
        return None

    def units_of(self, batch_id: str) -> frozenset[str] | None:
        """Return the units of a batch that any recall found, a closed one too; None: all of them, because which ones is not known."""
        found: set[str] = set()
        for _, recall in self._store.objects("recall"):
            tree = recall.get("found")
            for batch in as_list(as_object(tree).get("batches")):
                row = as_object(batch)
                if row.get("batch") != batch_id or row.get("origin") != self._store.origin:
                    continue
                if row.get("uncertain"):
                    return None
                found.update(text for unit in as_list(row.get("units")) if (text := text_of(unit)) is not None)
        return frozenset(found)

    def refuse_release(self, batch_id: str) -> None:
        """Raises WrongState where any recall found the batch: what was recalled is never released, also when the recall is over."""
        self.refuse_batch(batch_id, "Release")
        for name, recall in self._store.objects("recall"):
            if batch_id in as_list(recall.get("batches")):
                raise WrongState(f"Release is not open: batch {batch_id} was recalled by {name}.", remedy="Reject the batch.")

    def refuse_batch(self, batch_id: str, what: str) -> None:
        """Raises WrongState where a recall holds the batch."""
        if (reason := self.of_batch(batch_id)) is not None:
            raise WrongState(f"{what} is not open: {reason}.", remedy="Look at the recall; it is closed when everything is accounted for.")

    def refuse_new(self, facts: JsonObject, what: str) -> None:
        """Raises WrongState where a recall holds what a new batch would be made of."""
        if (reason := self.of_facts(facts)) is not None:
            raise WrongState(f"{what} is not open: {reason}.", remedy="Use what the recall does not hold.")

    def _open(self) -> list[tuple[str, JsonObject]]:
        return [(name, state) for name, state in self._store.objects("recall") if state.get("status") == "open"]


def _same(key: str, found: object, wanted: object) -> bool:
    """Compare as the search does: a recipe or a machine named without its version is every version of it."""
    if found == wanted:
        return True
    return key in ("recipe", "printer") and isinstance(found, str) and isinstance(wanted, str) and found.partition("@")[0] == wanted
