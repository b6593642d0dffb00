"""A trail store as a file: how it is opened, created and refused, and what an SQLite error means to a person."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock

from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from audit.errors import RecordError, StoreExists, StoreMissing, StoreReadOnly
from audit.tables import create_schema

BUSY_SECONDS = 5.0
_MODE = 0o600
_LOG_PAGES = 4000
"""Pages of the write-ahead log before they move into the file: an append changes some six pages, most of them those of the one before."""

_RESTORE = "Keep the file as evidence and restore the store from the backup."

_MEANING: tuple[tuple[str, type[RecordError], str, str], ...] = (
    ("SQLITE_READONLY", StoreReadOnly, "refuses writes", "Check the owner and permissions of the file and its folder."),
    ("SQLITE_CANTOPEN", StoreReadOnly, "cannot be opened", "Check the owner and permissions of the file and its folder."),
    ("SQLITE_PERM", StoreReadOnly, "may not be opened", "Check the owner and permissions of the file and its folder."),
    ("SQLITE_FULL", RecordError, "has no room left", "Free space on the disk, then start again."),
    ("SQLITE_BUSY", RecordError, "is in use by another writer", "Stop the other process: a trail has one writer."),
    ("SQLITE_NOTADB", RecordError, "is not a trail store", "Give the path of the store, or restore it from the backup."),
    ("SQLITE_CORRUPT", RecordError, "is damaged", _RESTORE),
    ("SQLITE_CONSTRAINT", RecordError, "refused the row", "Run `dosewright verify` on the store before anything else."),
)


def record_error(path: Path, error: sqlite3.Error) -> RecordError:
    """Translate an SQLite error into the error tree: path, what happened, what to do."""
    name = getattr(error, "sqlite_errorname", "") or ""
    for prefix, kind, what, remedy in _MEANING:
        if name.startswith(prefix):
            return kind(f"The store {path} {what} ({error}); nothing was recorded.", remedy=remedy)
    return RecordError(
        f"The store {path} failed ({name or type(error).__name__}: {error}).", remedy="Check the disk, then open the store again."
    )


@contextmanager
def record_errors(path: Path) -> Iterator[None]:
    """Turn every sqlite3.Error in the block into a RecordError."""
    try:
        yield
    except UnicodeDecodeError as error:  # the driver's own message quotes a damaged name
        raise RecordError(f"The store {path} is damaged ({error}).", remedy=_RESTORE) from error
    except sqlite3.Error as error:
        raise record_error(path, error) from error


def require_file(path: Path) -> None:
    """Refuse a path without a store; no file is ever made on the way. Raises StoreMissing, RecordError."""
    if not path.is_file():
        raise StoreMissing(f"There is no store at {path}.", remedy="Check the path; make a new store only with the command that does so.")
    if path.stat().st_size == 0:
        raise RecordError(
            f"The store {path} is empty: its creation was cut off.", remedy="Remove the empty file and create the store again."
        )


def connect_writer(path: Path) -> sqlite3.Connection:
    """Open the one writing connection: WAL, every commit synced to the disk. Raises StoreMissing, StoreReadOnly, RecordError."""
    require_file(path)
    if not path.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH) or not os.access(path.parent, os.W_OK):
        raise StoreReadOnly(f"The store {path} is marked read-only.", remedy="Check the permissions of the file and its folder.")
    with record_errors(path):
        connection = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode=rw", uri=True, isolation_level=None, check_same_thread=False, timeout=BUSY_SECONDS
        )
        try:
            mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
            if mode != "wal":
                raise RecordError(f"The store {path} cannot use write-ahead logging.", remedy="Keep the store on a local disk.")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute(f"PRAGMA wal_autocheckpoint={_LOG_PAGES}")
            connection.execute("PRAGMA recursive_triggers=ON")
            connection.execute("PRAGMA trusted_schema=OFF")
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        except BaseException:
            connection.close()
            raise
    return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    """Open a connection that can only read. Raises StoreMissing, RecordError.

    A store on a medium that cannot be written has no room for the shared-memory file of WAL; without a pending
    log it is read as it stands.
    """
    require_file(path)
    address = f"{path.resolve().as_uri()}?mode=ro"
    if not os.access(path.parent, os.W_OK) and not path.with_name(path.name + "-wal").exists():
        address += "&immutable=1"
    with record_errors(path):
        connection = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False, timeout=BUSY_SECONDS)
        try:
            connection.execute("PRAGMA query_only=ON")
            connection.execute("PRAGMA trusted_schema=OFF")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except BaseException:
            connection.close()
            raise
    return connection


def rollback(connection: sqlite3.Connection) -> None:
    """Undo the open transaction, if any; a failing rollback adds nothing to the error that led to it."""
    if connection.in_transaction:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Give a path with an empty schema beside `path`; at the end of the block it becomes `path` in one step.

    Raises StoreExists where `path` is taken, StoreMissing where its folder is not there. A creation that fails leaves nothing.
    """
    if not path.parent.is_dir():
        raise StoreMissing(f"There is no folder {path.parent} for a new store.", remedy="Create the folder first, or correct the path.")
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _MODE))
    except FileExistsError as error:
        raise StoreExists(f"There is a file at {path} already.", remedy="Open it, or give another path for the new store.") from error
    except OSError as error:
        raise StoreReadOnly(
            f"No store can be created at {path}: {error.strerror}.", remedy="Check the permissions of the folder."
        ) from error
    draft = path.with_name(f".{path.name}.new")
    try:
        draft.unlink(missing_ok=True)
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _MODE))
        engine = create_engine(f"sqlite:///{draft}", poolclass=NullPool)
        create_schema(engine)
        engine.dispose()
        yield draft
        draft.replace(path)
        _sync_folder(path.parent)
    except BaseException:
        path.unlink(missing_ok=True)
        for leftover in (draft, draft.with_name(draft.name + "-wal"), draft.with_name(draft.name + "-shm")):
            leftover.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    """Make the new name durable, where the platform lets a folder be synced."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class ReaderPool:
    """Reading connections, so that a reader never waits for the writer's disk.

    Lifetime: connections are opened on demand and closed by `close`. Concurrency: any thread; each borrowed connection
    belongs to one thread at a time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._idle: list[sqlite3.Connection] = []
        self._closed = False

    @contextmanager
    def borrow(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection for the block. Raises RecordError after `close`."""
        with self._lock:
            if self._closed:
                raise RecordError(f"The store {self._path} is closed.", remedy="Open it again.")
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = connect_reader(self._path)
        try:
            with record_errors(self._path):
                yield connection
        finally:
            with self._lock:
                if self._closed:
                    connection.close()
                else:
                    self._idle.append(connection)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            while self._idle:
                self._idle.pop().close()
