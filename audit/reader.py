"""Reading a trail: entries, object states, attachments, search. Needs no key and never waits for the writer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from audit.canonical import JsonObject
from audit.errors import RecordError
from audit.events import Entry
from audit.sqlite_file import ReaderPool

_PAGE = 512


@dataclass(frozen=True, slots=True)
class Head:
    """Where a trail ends: number of entries, digest of the last one, running digest of the checkpoints."""

    size: int
    digest: str
    checkpoints: str


class TrailReader:
    """A trail store opened for reading.

    Lifetime: opens connections on demand, until `close`. Concurrency: any thread, at the same time as the writer.
    """

    def __init__(self, path: Path) -> None:
        """Open the store at `path`. Raises StoreMissing, RecordError."""
        self.path = path
        self._pool = ReaderPool(path)
        try:
            with self._pool.borrow() as connection:
                self._meta: dict[str, str] = dict(connection.execute("SELECT key, value FROM meta"))
        except BaseException:
            self._pool.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._pool.close()

    @property
    def origin(self) -> str:
        return self._meta["origin"]

    @property
    def verifier_key(self) -> str:
        """The key that signs this trail's checkpoints now: that of entry 0, or of the last rotation."""
        stated = (self.state("store", self.origin) or {}).get("verifier_key")
        return stated if isinstance(stated, str) else self._meta["verifier_key"]

    @property
    def demonstration(self) -> bool:
        return self._meta["demonstration"] == "true"

    @property
    def head(self) -> Head:
        """The committed end of the trail."""
        with self._pool.borrow() as connection:
            row = connection.execute("SELECT size, digest, checkpoints FROM head WHERE id = 0").fetchone()
        if row is None:
            raise RecordError(f"The store {self.path} has no head.", remedy="Run `dosewright verify` on it.")
        return Head(*row)

    @property
    def size(self) -> int:
        return self.head.size

    def state(self, type: str, id: str) -> JsonObject | None:
        """Return the present state of an object (the merge of all `new` of its entries), or None."""
        with self._pool.borrow() as connection:
            row = connection.execute("SELECT state FROM objects WHERE type = ? AND id = ?", (type, id)).fetchone()
        return None if row is None else _object(row[0])

    def objects(self, type: str) -> Iterator[tuple[str, JsonObject]]:
        """Give (id, state) of every object of a type, by id; one snapshot."""
        with self._pool.borrow() as connection:
            rows: list[tuple[str, str]] = connection.execute("SELECT id, state FROM objects WHERE type = ? ORDER BY id", (type,)).fetchall()
        return ((id_, _object(state)) for id_, state in rows)

    def lines(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Give the canonical bytes of the entries start ≤ seq < stop, in order."""
        end = self.size if stop is None else stop
        while start < end:
            with self._pool.borrow() as connection:
                rows: list[tuple[bytes]] = connection.execute(
                    "SELECT canonical FROM entries WHERE seq >= ? AND seq < ? ORDER BY seq", (start, min(end, start + _PAGE))
                ).fetchall()
            yield from (row[0] for row in rows)
            start += _PAGE

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[Entry]:
        """Give the entries start ≤ seq < stop, in order."""
        return (Entry(line) for line in self.lines(start, stop))

    def search(
        self,
        *,
        kind: str | None = None,
        actor: str | None = None,
        subject_type: str | None = None,
        subject_id: str | None = None,
        after_seq: int | None = None,
        before_seq: int | None = None,
        since: str | None = None,
        until: str | None = None,
        limit: int = 200,
        newest_first: bool = False,
    ) -> list[Entry]:
        """Return the entries that meet every condition given.

        `kind` is a kind or the beginning of one (`alarm.` gives all alarm entries); `after_seq` < seq < `before_seq`;
        `since` ≤ at < `until` compare RFC 3339 text in UTC.
        """
        conditions: list[tuple[str, str | int | None]] = [
            ("substr(i.kind, 1, length(?1)) = ?1", kind),
            ("i.actor = ?2", actor),
            ("i.subject_type = ?3", subject_type),
            ("i.subject_id = ?4", subject_id),
            ("i.seq > ?5", after_seq),
            ("i.seq < ?6", before_seq),
            ("i.at >= ?7", since),
            ("i.at < ?8", until),
        ]
        where = " AND ".join(["?9 = ?9", *(text for text, value in conditions if value is not None)])
        order = "DESC" if newest_first else "ASC"
        # Only the fixed texts above go into the statement; every value is bound.
        query = f"SELECT e.canonical FROM entry_index i JOIN entries e ON e.seq = i.seq WHERE {where} ORDER BY i.seq {order} LIMIT ?9"  # noqa: S608
        with self._pool.borrow() as connection:
            rows: list[tuple[bytes]] = connection.execute(query, (*(value for _, value in conditions), limit)).fetchall()
        return [Entry(row[0]) for row in rows]

    def blob(self, sha256: str) -> bytes:
        """Return an attachment by its SHA-256 hex. Raises RecordError where the store does not hold it."""
        return self._single("SELECT data FROM blobs WHERE sha256 = ?", sha256, "attachment")

    def sealed(self, table: str, id: str) -> bytes:
        """Return the sealed row of a committed table (`credentials` or `patients`). Raises RecordError where there is none."""
        queries = {"credentials": "SELECT sealed FROM credentials WHERE id = ?", "patients": "SELECT sealed FROM patients WHERE id = ?"}
        return self._single(queries[table], id, f"row in {table}")

    def last_checkpoint(self) -> str | None:
        """Return the latest signed checkpoint note, or None."""
        with self._pool.borrow() as connection:
            row: tuple[str] | None = connection.execute("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1").fetchone()
        return row[0] if row else None

    def _single(self, query: str, key: str, what: str) -> bytes:
        with self._pool.borrow() as connection:
            row: tuple[bytes] | None = connection.execute(query, (key,)).fetchone()
        if row is None:
            raise RecordError(f"The store {self.path} holds no {what} {key}.", remedy="Run `dosewright verify` on the store.")
        return row[0]


def _object(text: str) -> JsonObject:
    state: JsonObject = json.loads(text)
    return state
