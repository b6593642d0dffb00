"""What both trails say of the batches that await their review, read in the background: a cell's trail is fetched whole for it.

Who looks at a page waits for none of that; what was read last is shown, and None until it was read for the first time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection

from api.release_desk import ReleaseDesk
from api.today import Judged
from audit.errors import DosewrightError
from audit.release.evidence_further import open_exceptions

_REST_S = 5.0
"""At least so long between two readings of one batch."""


class ReviewWatch:
    """Reads a batch again when something was recorded since. One thread, only while there is something to read.

    Lifetime: that of the workstation; `close` waits for a reading that is under way. Concurrency: any thread may look.
    """

    def __init__(self, release: ReleaseDesk, size: Callable[[], int], monotonic: Callable[[], float] = time.monotonic) -> None:
        """`size`: how many entries the workstation's trail has now."""
        self._release = release
        self._size = size
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._found: dict[str, Judged | None] = {}
        self._read: dict[str, tuple[int, float]] = {}
        self._worker: threading.Thread | None = None
        self._closed = False

    def look(self, batches: Collection[str], *, wait: bool = False) -> dict[str, Judged | None]:
        """Return what was read last of these batches, and have read anew what is out of date. `wait`: for that first."""
        with self._lock:
            for gone in self._read.keys() - set(batches):
                self._read.pop(gone)
                self._found.pop(gone, None)
            stale = [batch for batch in batches if self._is_stale(batch)]
            if stale and not self._closed and (self._worker is None or not self._worker.is_alive()):
                self._worker = threading.Thread(target=self._read_all, args=(stale,), name="review watch", daemon=True)
                self._worker.start()
            worker = self._worker
        if wait and worker is not None:
            worker.join()
        with self._lock:
            return {batch: self._found.get(batch) for batch in batches}

    def close(self) -> None:
        """Read nothing more, and wait for a reading that is under way."""
        with self._lock:
            self._closed, worker = True, self._worker
        if worker is not None:
            worker.join()

    def _is_stale(self, batch: str) -> bool:
        read = self._read.get(batch)
        return read is None or (read[0] != self._size() and self._monotonic() - read[1] >= _REST_S)

    def _read_all(self, batches: Collection[str]) -> None:
        for batch in batches:
            with self._lock:
                if self._closed:
                    return
            size = self._size()
            found = self._judge(batch)
            with self._lock:
                self._found[batch], self._read[batch] = found, (size, self._monotonic())

    def _judge(self, batch: str) -> Judged | None:
        """Read one batch; None where its cell does not answer or its trail cannot be relied on: its own page says why."""
        try:
            entries = self._release.entries(batch)
            return Judged(len(open_exceptions(entries)), entries.operators, entries.entered_by, entries.releasing_roles)
        except DosewrightError:
            return None
