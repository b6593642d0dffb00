"""The packs of a batch as all pages show them, read once for each size of the trail however many look."""

from __future__ import annotations

import threading

from api.pack_desk import PackDesk
from audit.canonical import JsonObject
from audit.store import TrailStore

_RELEASED = frozenset({"released", "partly released"})


class PackViews:
    """Lifetime: that of the workstation. Concurrency: any thread; one reads at a time, and blocks while it does."""

    def __init__(self, store: TrailStore, packs: PackDesk) -> None:
        self._store = store
        self._packs = packs
        self._lock = threading.Lock()
        self._size = -1
        self._known: dict[str, JsonObject | None] = {}

    @property
    def size(self) -> int:
        """How much is on record now; what `of` returned before is of now as long as this is the same."""
        return self._store.size

    def of(self, batch: str) -> JsonObject | None:
        """Return the overview of a batch, None where it has no disposition under which anything may be packed.

        Raises what reading its signed record may.
        """
        with self._lock:
            if (size := self._store.size) != self._size:
                self._size, self._known = size, {}
            if batch not in self._known:
                released = (self._store.state("batch", batch) or {}).get("disposition") in _RELEASED
                self._known[batch] = self._packs.overview(batch) if released else None
            return self._known[batch]
