"""The live feed: new entries of the workstation's trail, and what the cells say, as server-sent events.

An entry's event has its number as `id`, so that a client that lost its connection goes on where it was (`Last-Event-ID`); nothing is
lost in between, because it is read from the trail. What a cell says is a state: the last one counts, and it has no number.
Source: WHATWG HTML, 9.2 Server-sent events.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from starlette.concurrency import run_in_threadpool

from api.errors import WrongState
from api.security import Sessions
from api.wiring import Workstation

MOST_PER_PERSON = 4
INTERVAL_S = 0.25
SILENCE_S = 10.0
_PAGE = 200


class FeedPlaces:
    """How many feeds a person has open: a forgotten tab costs something. Concurrency: one lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, int] = {}

    def require(self, username: str) -> None:
        """Refuse a person who has as many as are allowed. Raises WrongState."""
        with self._lock:
            if self._open.get(username, 0) >= MOST_PER_PERSON:
                raise WrongState(f"{username} has {MOST_PER_PERSON} feeds open.", remedy="Close one of them.")

    @contextmanager
    def taken(self, username: str) -> Iterator[None]:
        """Hold a place for the block."""
        with self._lock:
            self._open[username] = self._open.get(username, 0) + 1
        try:
            yield
        finally:
            with self._lock:
                self._open[username] -= 1


def event(name: str, data: str, number: int | None = None) -> bytes:
    """Return one event; `data` is one line (JSON has no line feeds)."""
    identifier = "" if number is None else f"id: {number}\n"
    return f"{identifier}event: {name}\ndata: {data}\n\n".encode()


async def entries_and_cells(
    workstation: Workstation, sessions: Sessions, token: str, after: int | None, kind: str, *, once: bool
) -> AsyncIterator[bytes]:
    """Give events for as long as the session is open: `entry` (JSON of the entry), `cell` (its status), `end`.

    `after`: the number of the last entry that the client has; None begins at the end. `kind`: the beginning of the kinds wanted.
    `once`: give what is there and end, for a client that asks now and then.
    """
    store, feeds = workstation.store, workstation.feeds
    last = store.size - 1 if after is None else after
    shown: dict[str, str] = {}
    quiet = 0.0
    yield f"retry: {int(INTERVAL_S * 4000)}\n\n".encode()
    while sessions.find(token) is not None:
        sent = False
        found = await run_in_threadpool(store.search, kind=kind or None, after_seq=last, limit=_PAGE)
        for entry in found:
            last, sent = entry.seq, True
            yield event("entry", entry.canonical.decode(), entry.seq)
        for name, view in (await run_in_threadpool(feeds.views)).items():
            status = view.status.model_dump(mode="json", exclude={"trace", "at_us"})
            text = json.dumps({"cell": name, "problem": view.problem, "status": status}, ensure_ascii=True, sort_keys=True)
            if shown.get(name) != text:
                shown[name], sent = text, True
                yield event("cell", text)
        quiet = 0.0 if sent else quiet + INTERVAL_S
        if quiet >= SILENCE_S:
            quiet = 0.0
            yield b": still here\n\n"
        if once and len(found) < _PAGE:
            return
        if len(found) < _PAGE:
            await asyncio.sleep(INTERVAL_S)
    yield event("end", '{"reason": "the session has ended"}')
