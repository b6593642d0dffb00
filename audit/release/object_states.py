"""The states of the objects of a trail while it is walked: those met lately in memory, the rest in a temporary file.

A trail of a million entries may be about half a million objects; whoever checks it must not need the memory for all of them at once.
"""

from __future__ import annotations

import sqlite3
from types import TracebackType
from typing import Self

import orjson

from audit.canonical import JsonObject

_HELD = 20_000


class ObjectStates:
    """Object → state, bounded in memory. Lifetime: until `close`, also as a context manager. Concurrency: one thread."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str], JsonObject] = {}
        self._put_by: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        if self._put_by is not None:
            self._put_by.close()

    def of(self, type_: str, id_: str) -> JsonObject:
        """Return the state of an object, to be changed in place; empty where it was not met before."""
        key = (type_, id_)
        state = self._held.pop(key, None)
        if state is None:
            state = self._recall(key)
        self._held[key] = state
        if len(self._held) > _HELD:
            self._put_some_by()
        return state

    def _recall(self, key: tuple[str, str]) -> JsonObject:
        if self._put_by is None:
            return {}
        row: tuple[bytes] | None = self._put_by.execute("SELECT state FROM states WHERE type = ? AND id = ?", key).fetchone()
        return {} if row is None else orjson.loads(row[0])

    def _put_some_by(self) -> None:
        """Move those met longest ago, half of all, to the file."""
        if self._put_by is None:
            # SQLite keeps a database without a name in a temporary file that is gone with the connection.
            self._put_by = sqlite3.connect("", isolation_level=None)
            self._put_by.execute("PRAGMA journal_mode=OFF")
            self._put_by.execute("CREATE TABLE states (type TEXT, id TEXT, state BLOB, PRIMARY KEY (type, id)) WITHOUT ROWID")
        oldest = list(self._held)[: _HELD // 2]
        self._put_by.execute("BEGIN")
        self._put_by.executemany(
            "INSERT OR REPLACE INTO states VALUES (?, ?, ?)", ((*key, orjson.dumps(self._held.pop(key))) for key in oldest)
        )
        self._put_by.execute("COMMIT")
