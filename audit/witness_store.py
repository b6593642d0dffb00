"""What a witness remembers: the logs it knows, the latest checkpoint of each, and what did not fit.

One transaction reads the latest checkpoint, judges the request against it and puts the new one in its place; only when that is on the
disk is the cosignature made. So of two requests at once one is refused, and a witness that is killed before it has replied has
kept what it would have cosigned: the client asks again with the size it is told, and gets its cosignature.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Self

from audit.checkpoint import Signer, VerifierKey
from audit.cosignature import cosign
from audit.errors import RecordError, StoreExists, StoreMissing
from audit.sqlite_file import BUSY_SECONDS, record_error
from audit.witness import Accepted, AddCheckpoint, Refused, Seen, judge

_Execute = Callable[..., sqlite3.Cursor]
_APPLICATION = 0x64777774  # "dwwt": a file with another number is no witness's
_SCHEMA = (
    "CREATE TABLE logs (origin TEXT NOT NULL, vkey TEXT NOT NULL, since INTEGER NOT NULL, PRIMARY KEY (origin, vkey)) STRICT",
    "CREATE TABLE latest (origin TEXT PRIMARY KEY NOT NULL, size INTEGER NOT NULL, root BLOB NOT NULL, note TEXT NOT NULL,"
    " at INTEGER NOT NULL) STRICT",
    "CREATE TABLE evidence (sha256 TEXT PRIMARY KEY NOT NULL, origin TEXT NOT NULL, at INTEGER NOT NULL, reason TEXT NOT NULL,"
    " note TEXT NOT NULL, against TEXT NOT NULL) STRICT",
    "CREATE TRIGGER evidence_no_update BEFORE UPDATE ON evidence BEGIN SELECT RAISE(ABORT, 'evidence is never changed'); END",
    "CREATE TRIGGER evidence_no_delete BEFORE DELETE ON evidence BEGIN SELECT RAISE(ABORT, 'evidence is never deleted'); END",
    "CREATE TRIGGER latest_no_delete BEFORE DELETE ON latest BEGIN SELECT RAISE(ABORT, 'a checkpoint is never forgotten'); END",
    "CREATE TRIGGER latest_grows BEFORE UPDATE ON latest WHEN NEW.size < OLD.size OR NEW.origin <> OLD.origin"
    " OR (NEW.size = OLD.size AND NEW.root <> OLD.root) BEGIN SELECT RAISE(ABORT, 'a trail never gets shorter'); END",
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a log signed that does not fit: its note, the one cosigned before, why, and the POSIX second."""

    origin: str
    at: int
    reason: str
    note: str
    against: str


@dataclass(frozen=True, slots=True)
class KnownLog:
    """A log that is witnessed: origin, trusted keys, the latest cosigned checkpoint and when (POSIX second, None before the first)."""

    origin: str
    keys: tuple[VerifierKey, ...]
    seen: Seen
    at: int | None


class WitnessStore:
    """The memory of one witness, in an SQLite file of its own.

    Lifetime: `create` or `open`, then `close`. Concurrency: any thread, one at a time under a lock; a second process waits for the
    first one's transaction, and finds what it kept.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        """Use `open` or `create`."""
        self.path = path
        self._connection = connection
        self._lock = Lock()

    @classmethod
    def create(cls, path: Path) -> Self:
        """Make an empty memory. Raises StoreExists, StoreMissing (no folder), RecordError."""
        if not path.parent.is_dir():
            raise StoreMissing(f"There is no folder {path.parent}.", remedy="Create it first.")
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            raise StoreExists(f"There is a file at {path} already.", remedy="Open it; a witness that forgets is none.") from None
        except OSError as error:
            raise RecordError(f"{path} cannot be made: {error.strerror}.", remedy="Check the permissions of the folder.") from error
        with _record_errors(path):
            connection = _connect(path)
            try:
                connection.execute("BEGIN IMMEDIATE")
                for statement in _SCHEMA:
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id={_APPLICATION}")
                connection.execute("COMMIT")
            finally:
                connection.close()
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open an existing memory. Raises StoreMissing, RecordError. None is ever made on the way: a new one would know nothing."""
        if not path.is_file():
            raise StoreMissing(f"There is no witness's memory at {path}.", remedy="Check the path; `dosewright witness add-log` makes it.")
        with _record_errors(path):
            connection = _connect(path)
            if connection.execute("PRAGMA application_id").fetchone() != (_APPLICATION,):
                connection.close()
                raise RecordError(f"{path} is not the memory of a witness.", remedy="Check the path.")
        return cls(path, connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def trust(self, key: VerifierKey, at: int, *, alone: bool = False) -> None:
        """Witness the log with this key, whose name is its origin. With `alone`, its other keys are no longer believed."""
        with self._transaction() as execute:
            if alone:
                execute("DELETE FROM logs WHERE origin = ?", (key.name,))
            execute("INSERT OR IGNORE INTO logs (origin, vkey, since) VALUES (?, ?, ?)", (key.name, key.text, at))

    def submit(self, request: AddCheckpoint, signer: Signer, at: int) -> str | Refused:
        """Judge a request; keep what is accepted, on the disk, and then return the cosignature line made at POSIX second `at`.

        Raises NoteInvalid (a bad request), RecordError (nothing is cosigned: the disk or the key failed).
        """
        origin = request.checkpoint.origin
        with self._transaction() as execute:
            seen = _seen(execute, origin)
            verdict = judge(request, _keys(execute, origin), seen)
            match verdict:
                case Accepted(stated, _):
                    _keep(execute, origin, seen, Seen(stated.size, stated.root, request.note), at)
                case Refused(evidence=True):
                    digest = hashlib.sha256(f"{seen.note}\n{request.note}".encode()).hexdigest()
                    row = (digest, origin, at, verdict.reason, request.note, seen.note)
                    execute("INSERT OR IGNORE INTO evidence (sha256, origin, at, reason, note, against) VALUES (?, ?, ?, ?, ?, ?)", row)
                case Refused():
                    pass
        return cosign(signer, verdict.text, at) if isinstance(verdict, Accepted) else verdict

    def logs(self) -> list[KnownLog]:
        """Return what is witnessed, by origin."""
        with self._lock, _record_errors(self.path):
            execute = self._connection.execute
            origins = [row[0] for row in execute("SELECT DISTINCT origin FROM logs ORDER BY origin").fetchall()]
            found = []
            for origin in origins:
                row = execute("SELECT at FROM latest WHERE origin = ?", (origin,)).fetchone()
                found.append(KnownLog(origin, tuple(_keys(execute, origin) or ()), _seen(execute, origin), row[0] if row else None))
        return found

    def evidence(self) -> list[Evidence]:
        """Return what did not fit, oldest first."""
        with self._lock, _record_errors(self.path):
            rows = self._connection.execute("SELECT origin, at, reason, note, against FROM evidence ORDER BY at, sha256").fetchall()
        return [Evidence(*row) for row in rows]

    @contextmanager
    def _transaction(self) -> Iterator[_Execute]:
        with self._lock, _record_errors(self.path):
            _rollback(self._connection)
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection.execute
                self._connection.execute("COMMIT")
            except BaseException:
                _rollback(self._connection)
                raise


@contextmanager
def _record_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise record_error(path, error) from error


def _rollback(connection: sqlite3.Connection) -> None:
    """Undo the open transaction, if any; a failing rollback adds nothing to the error that led to it."""
    if connection.in_transaction:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")


def _connect(path: Path) -> sqlite3.Connection:
    address = f"{path.resolve().as_uri()}?mode=rw"
    connection = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False, timeout=BUSY_SECONDS)
    connection.execute("PRAGMA synchronous=EXTRA")
    connection.execute("PRAGMA trusted_schema=OFF")
    return connection


def _seen(execute: _Execute, origin: str) -> Seen:
    row: tuple[int, bytes, str] | None = execute("SELECT size, root, note FROM latest WHERE origin = ?", (origin,)).fetchone()
    return Seen() if row is None else Seen(*row)


def _keys(execute: _Execute, origin: str) -> list[VerifierKey] | None:
    rows: list[tuple[str]] = execute("SELECT vkey FROM logs WHERE origin = ? ORDER BY since, vkey", (origin,)).fetchall()
    return [VerifierKey.parse(text) for (text,) in rows] or None


def _keep(execute: _Execute, origin: str, before: Seen, after: Seen, at: int) -> None:
    """Compare what is kept with what the verdict was given on, and swap it. Raises RecordError where it is another."""
    if not before.note:
        execute(
            "INSERT INTO latest (origin, size, root, note, at) VALUES (?, ?, ?, ?, ?)", (origin, after.size, after.root, after.note, at)
        )
        return
    swapped = execute(
        "UPDATE latest SET size = ?, root = ?, note = ?, at = ? WHERE origin = ? AND size = ? AND root = ?",
        (after.size, after.root, after.note, at, origin, before.size, before.root),
    )
    if swapped.rowcount != 1:
        raise RecordError(f"The latest checkpoint of {origin} was changed meanwhile.", remedy="Submit again.")
