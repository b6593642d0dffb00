"""The thread that owns the cell's store: `Record` effects in, `Recorded` or `RecordFailed` inputs out.

A commit may take long (a slow disk); it must never delay a stop, so it happens here and the controller goes on.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from audit.events import Entry, EntryDraft
from audit.store import TrailStore
from printer.messages import Record, Recorded, RecordFailed

AGAIN_S = 10.0


@dataclass(frozen=True, slots=True)
class _Job:
    drafts: tuple[EntryDraft, ...]
    token: int | None = None
    future: Future[list[Entry]] | None = None
    insist: bool = False


class Recorder:
    """Appends to the cell's trail in order; what is insisted on, and failed, is tried again every `again_s` and at the end.

    No record of a run overtakes one that is insisted on and not yet committed.

    Lifetime: from the cell's start to its end; `close` finishes what is queued. Concurrency: `record` and `append` may
    be called from any thread; answers to `record` come through `deliver` on the recorder's thread.
    """

    def __init__(self, store: TrailStore, deliver: Callable[[Recorded | RecordFailed], None], again_s: float = AGAIN_S) -> None:
        self._store = store
        self._deliver = deliver
        self._again_s = again_s
        self._owed: list[_Job] = []
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def record(self, effect: Record) -> None:
        self._jobs.put(_Job(effect.drafts, token=effect.token, insist=effect.insist))

    def append(self, *drafts: EntryDraft, timeout_s: float = 10.0) -> list[Entry]:
        """Append outside a run and wait for the commit. Raises what the store raises."""
        future: Future[list[Entry]] = Future()
        self._jobs.put(_Job(drafts, future=future))
        return future.result(timeout_s)

    def close(self) -> None:
        self._jobs.put(None)
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=self._again_s if self._owed else None)
            except queue.Empty:
                self._pay()
                continue
            if job is None:
                self._pay()
                return
            self._pay()
            if self._owed and job.token is not None:
                self._behind(job)
            else:
                self._append(job)

    def _pay(self) -> None:
        """Try once more what is insisted on, in its order, as far as it is committed."""
        owed, self._owed = self._owed, []
        for at, job in enumerate(owed):
            self._append(job)
            if self._owed:
                self._owed += owed[at + 1 :]
                return

    def _behind(self, job: _Job) -> None:
        """Keep a record from overtaking one before it that is not committed."""
        if job.insist:
            self._owed.append(job)
        self._failed(job, OSError("a record before it is not committed yet"))

    def _append(self, job: _Job) -> None:
        try:
            entries = self._store.append(*job.drafts)
        except Exception as error:
            if job.insist:
                self._owed.append(job)
            self._failed(job, error)
            return
        if job.future is not None:
            job.future.set_result(entries)
        elif job.token is not None:
            self._deliver(Recorded(job.token))

    def _failed(self, job: _Job, error: Exception) -> None:
        if job.future is not None:
            job.future.set_exception(error)
        elif job.token is not None:
            self._deliver(RecordFailed(job.token, str(error)))
