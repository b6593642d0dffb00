"""What an open recall stops: batches it found, and new ones that it would find."""

from __future__ import annotations

from collections.abc import Mapping

from api.errors import WrongState
from audit.canonical import JsonObject
from audit.events import EventKind
from audit.release.recall import TIMES, meets
from audit.release.trail_view import as_list, as_object, text_of
from audit.store import TrailStore

_OF_A_RUN = frozenset({"equipment", "operator"})


class RecallHolds:
    """Reads recalls from the trail, each time anew. Concurrency: any thread."""

    def __init__(self, store: TrailStore) -> None:
        self._store = store

    def of_batch(self, batch_id: str) -> str | None:
        """Say which open recall holds a batch, None where none does."""
        state: JsonObject = {**self._state("batch", batch_id), "batch": batch_id}
        for name, recall in self._open():
            if batch_id in as_list(recall.get("batches")):
                return f"batch {batch_id} is recalled by {name}"
            asked = _asked(recall)
            if self._meets(asked, state) and (not TIMES & asked.keys() or self._made_within(asked, name, batch_id)):
                return _held(asked, name)
        return None

    def of_facts(self, facts: JsonObject) -> str | None:
        """Say which open recall would find a batch with these facts (`ink_lot`, `cartridge`, `recipe`, `cell`, `machine`), made now.

        A recall of a time that is past, or by what is known only of a run, holds the batches that it found and no new ones.
        """
        now = self._store.clock.utc().at
        for name, recall in self._open():
            asked = _asked(recall)
            if asked.get("until", now) >= now and self._meets(asked, facts):
                return _held(asked, name)
        return None

    def _meets(self, asked: Mapping[str, str], facts: JsonObject) -> bool:
        """Whether a batch with these facts meets all that is asked but times."""
        if not asked or _OF_A_RUN & asked.keys():
            return False
        return all(meets(key, value, [facts], self._state) for key, value in asked.items() if key not in TIMES)

    def _made_within(self, asked: Mapping[str, str], recall: str, batch_id: str) -> bool:
        """Whether a batch that a recall did not find may have been made in its time: one that was not closed when it was opened."""
        (opened,) = self._store.search(kind=EventKind.RECALL_RECORD_OPENED.value, subject_type="recall", subject_id=recall, limit=1)
        created, closed = (
            self._store.search(kind=kind.value, subject_type="batch", subject_id=batch_id, newest_first=True, limit=1)
            for kind in (EventKind.BATCH_RECORD_CREATED, EventKind.BATCH_RUN_CLOSED)
        )
        if closed and (closed[0].seq < opened.seq or closed[0].at < asked.get("since", "")):
            return False
        return created[0].at <= asked.get("until", created[0].at)

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

    def _state(self, type_: str, id_: str) -> JsonObject:
        return self._store.state(type_, id_) or {}


def _asked(recall: JsonObject) -> dict[str, str]:
    return {key: text for key, value in as_object(recall.get("criteria")).items() if (text := text_of(value)) is not None}


def _held(asked: Mapping[str, str], recall: str) -> str:
    named = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in sorted(asked.items()))
    return f"{named}: held by recall {recall}"
