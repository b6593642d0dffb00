"""Reading a trail: entries, object states, attachments, search. Needs no key and never waits for the writer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from audit.canonical import JsonObject, canonical
from audit.chain import GENESIS, entry_digest
from audit.database import Connection, Database
from audit.errors import RecordError
from audit.events import Entry
from audit.places import Place, database_at
from audit.reader_pool import ReaderPool
from audit.search_index import BLOCK, LAST, NEXT, hour_term, id_term, kind_term, type_term
from audit.sqlite_file import SqliteFile

_PAGE = 512
_READ_HEAD = (
    "SELECT e.seq, e.canonical, h.checkpoints FROM head h LEFT JOIN entries e ON e.seq = (SELECT max(seq) FROM entries) WHERE h.id = 0"
)


class Head(NamedTuple):
    """Where a trail ends: number of entries, digest of the last one, running digest of the checkpoints."""

    size: int
    digest: str
    checkpoints: str


def read_head(connection: Connection) -> Head | None:
    """Return where the trail of a store ends; None where the row is missing that every store has."""
    row = connection.execute(_READ_HEAD).fetchone()
    if row is None:
        return None
    seq, line, checkpoints = row
    return Head(0, GENESIS, checkpoints) if seq is None else Head(seq + 1, entry_digest(line), checkpoints)


@dataclass(frozen=True, slots=True)
class SearchConditions:
    """What an entry must meet to be found. The search index says in which blocks to look for those before the last checkpoint."""

    kind: str | None
    subject_type: str | None
    subject_id: str | None
    after_seq: int | None
    before_seq: int | None
    since: str | None
    until: str | None

    def look_up(self, connection: Connection, reach: int, limit: int, newest_first: bool) -> list[Entry]:
        """Return the entries before `reach` that are met, at most `limit`."""
        first = 0 if self.after_seq is None else self.after_seq + 1
        end = reach if self.before_seq is None else min(reach, self.before_seq)
        order = "DESC" if newest_first else "ASC"
        # Only fixed texts go into the statements; every value is bound.
        terms = self._terms()
        if not terms:
            page = f"SELECT canonical FROM entries WHERE seq >= ? AND seq < ? ORDER BY seq {order} LIMIT ?"  # noqa: S608
            return [Entry(row[0]) for row in connection.execute(page, (first, end, limit))]
        having = " INTERSECT ".join(["SELECT block FROM entry_index WHERE term >= ? AND term < ?"] * len(terms))
        within = f"SELECT DISTINCT block FROM ({having}) AS found WHERE block >= ? AND block <= ? ORDER BY block {order}"  # noqa: S608
        bounds = [bound for pair in terms for bound in pair]
        blocks = connection.execute(within, (*bounds, first // BLOCK, (end - 1) // BLOCK)).fetchall()
        found: list[Entry] = []
        lines = f"SELECT canonical FROM entries WHERE seq >= ? AND seq < ? ORDER BY seq {order}"  # noqa: S608
        parts = self._parts()
        for (block,) in blocks:
            rows = connection.execute(lines, (max(first, block * BLOCK), min(end, (block + 1) * BLOCK))).fetchall()
            for part in parts:
                rows = [row for row in rows if part in row[0]]
            found += [entry for (line,) in rows if self._meets(entry := Entry(line))]
            if len(found) >= limit:
                break
        return found[:limit]

    def scan(self, connection: Connection, reach: int) -> list[Entry]:
        """Return the entries from `reach` on that are met, oldest first."""
        first = reach if self.after_seq is None else max(reach, self.after_seq + 1)
        rows = connection.execute("SELECT canonical FROM entries WHERE seq >= ? ORDER BY seq", (first,)).fetchall()
        return [entry for entry in (Entry(row[0]) for row in rows) if self._meets(entry)]

    def _terms(self) -> list[tuple[str, str]]:
        """Return for each condition that the index knows the term from which, and the term before which a block must have one."""
        found: list[tuple[str, str]] = []
        if self.kind is not None:
            found.append((kind_term(self.kind), kind_term(self.kind) + LAST))
        if self.subject_type is not None:
            found.append((type_term(self.subject_type), type_term(self.subject_type) + NEXT))
        if self.subject_id is not None:
            found.append((id_term(self.subject_id), id_term(self.subject_id) + NEXT))
        if self.since is not None or self.until is not None:
            found.append((hour_term(self.since or ""), hour_term(self.until or "") + LAST))
        return found

    def _parts(self) -> list[bytes]:
        """Return what stands in the bytes of every entry that is met, among others: most that are not need not be read then."""
        parts = []
        if self.subject_id is not None:
            parts.append(b'"id":' + canonical(self.subject_id))
        if self.subject_type is not None:
            parts.append(b'"type":' + canonical(self.subject_type))
        if self.kind is not None:
            parts.append(b'"kind":' + canonical(self.kind)[:-1])
        return parts

    def _meets(self, entry: Entry) -> bool:
        body = entry.body
        return (
            (self.kind is None or body["kind"].startswith(self.kind))
            and (self.subject_type is None or body["subject"]["type"] == self.subject_type)
            and (self.subject_id is None or body["subject"]["id"] == self.subject_id)
            and (self.before_seq is None or body["seq"] < self.before_seq)
            and (self.since is None or body["at"] >= self.since)
            and (self.until is None or body["at"] < self.until)
        )


class TrailReader:
    """A trail store opened for reading.

    Lifetime: opens connections on demand, until `close`. Concurrency: any thread, at the same time as the writer.
    """

    def __init__(self, place: Place | Database) -> None:
        """Open the store at `place`. Raises StoreMissing, RecordError."""
        self.database: Database = database_at(place) if isinstance(place, (str, Path)) else place
        self._pool = ReaderPool(self.database)
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
    def path(self) -> Path:
        """The file of the store. Raises RecordError for a store in PostgreSQL, which has none."""
        if not isinstance(self.database, SqliteFile):
            raise RecordError(f"The store {self.database} is no file.", remedy="Use PostgreSQL's own tools for its files and backups.")
        return self.database.path

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
            head = read_head(connection)
        if head is None:
            raise RecordError(f"The store {self.database} has no head.", remedy="Have it verified before anything else.")
        return head

    @property
    def size(self) -> int:
        with self._pool.borrow() as connection:
            ((size,),) = connection.execute("SELECT coalesce(max(seq) + 1, 0) FROM entries").fetchall()
        return int(size)

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
        conditions = SearchConditions(kind, subject_type, subject_id, after_seq, before_seq, since, until)
        with self._pool.borrow() as connection:
            ((reach,),) = connection.execute("SELECT coalesce(max(size), 0) FROM checkpoints").fetchall()
            tail = conditions.scan(connection, reach)
            found = tail[::-1][:limit] if newest_first else []
            if len(found) < limit:
                found += conditions.look_up(connection, reach, limit - len(found), newest_first)
        return found if newest_first else [*found, *tail][:limit]

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
            raise RecordError(f"The store {self.database} holds no {what} {key}.", remedy="Have the store verified before anything else.")
        return row[0]


def _object(text: str) -> JsonObject:
    state: JsonObject = json.loads(text)
    return state
