"""Reading connections, so that a reader never waits for the writer's disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from audit.database import Connection, Database, record_errors
from audit.errors import RecordError


class ReaderPool:
    """The reading connections of one store.

    Lifetime: connections are opened on demand and closed by `close`; one that was lost is not lent again. Concurrency: any
    thread; each borrowed connection belongs to one thread at a time.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = Lock()
        self._idle: list[Connection] = []
        self._closed = False

    @contextmanager
    def borrow(self) -> Iterator[Connection]:
        """Lend a connection for the block. Raises RecordError after `close`."""
        with self._lock:
            if self._closed:
                raise RecordError(f"The store {self._database} is closed.", remedy="Open it again.")
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = self._database.connect_reader()
        try:
            with record_errors(self._database):
                yield connection
        finally:
            self._take_back(connection)

    def _take_back(self, connection: Connection) -> None:
        lost = self._database.is_lost(connection)
        with self._lock:
            if not self._closed and not lost:
                self._idle.append(connection)
                return
            gone = [connection, *(self._idle if lost else [])]  # what ended one connection ended those that lay beside it
            if lost:
                self._idle.clear()
        for one in gone:
            one.close()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            while self._idle:
                self._idle.pop().close()
