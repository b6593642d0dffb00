"""A trail store as a file: how it is opened, created and refused, and what an SQLite error means to a person."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from audit.append_statements import SQLITE_STEP
from audit.database import Connection
from audit.errors import RecordError, StoreExists, StoreMissing, StoreReadOnly
from audit.store_format import SQLITE_SCHEMA_QUERY, normal_sql
from audit.writer_lock import WriterLock

BUSY_SECONDS = 5.0
_MODE = 0o600
_LOG_PAGES = 500
"""Pages of the write-ahead log before they move into the file. A log that is written over is synced sooner than one that still grows."""

_RESTORE = "Keep the file as evidence and restore the store from the backup."

_MEANING: tuple[tuple[str, type[RecordError], str, str], ...] = (
    ("SQLITE_READONLY", StoreReadOnly, "refuses writes", "Check the owner and permissions of the file and its folder."),
    ("SQLITE_CANTOPEN", StoreReadOnly, "cannot be opened", "Check the owner and permissions of the file and its folder."),
    ("SQLITE_PERM", StoreReadOnly, "may not be opened", "Check the owner and permissions of the file and its folder."),
    ("SQLITE_FULL", RecordError, "has no room left", "Free space on the disk, then start again."),
    ("SQLITE_BUSY", RecordError, "is in use by another writer", "Stop the other process: a trail has one writer."),
    ("SQLITE_NOTADB", RecordError, "is not a trail store", "Give the path of the store, or restore it from the backup."),
    ("SQLITE_CORRUPT", RecordError, "is damaged", _RESTORE),
    ("SQLITE_CONSTRAINT", RecordError, "refused the row", "Have the store verified before anything else."),
)


def record_error(path: Path, error: Exception) -> RecordError:
    """Translate an SQLite error into the error tree: path, what happened, what to do."""
    if isinstance(error, UnicodeDecodeError):  # the driver's own message quotes a damaged name
        return RecordError(f"The store {path} is damaged ({error}).", remedy=_RESTORE)
    name = getattr(error, "sqlite_errorname", "") or ""
    for prefix, kind, what, remedy in _MEANING:
        if name.startswith(prefix):
            return kind(f"The store {path} {what} ({error}); nothing was recorded.", remedy=remedy)
    return RecordError(
        f"The store {path} failed ({name or type(error).__name__}: {error}).", remedy="Check the disk, then open the store again."
    )


_ERRORS = (sqlite3.Error, UnicodeDecodeError)


@contextmanager
def record_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except _ERRORS as error:
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
            connection.execute("PRAGMA temp_store=MEMORY")
            for statement in SQLITE_STEP:
                connection.execute(statement)
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


@contextmanager
def new_store_file(path: Path) -> Iterator[Path]:
    """As `new_file`, with the empty schema of a store in it."""
    from sqlalchemy import create_engine  # a schema is made once in the life of a store: who opens one does not wait for it
    from sqlalchemy.pool import NullPool

    from audit.tables import create_schema

    with new_file(path) as draft:
        engine = create_engine(f"sqlite:///{draft}", poolclass=NullPool)
        with engine.begin() as connection:
            create_schema(connection)
        engine.dispose()
        yield draft


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Give an empty file beside `path`; at the end of the block it becomes `path` in one step.

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


class SqliteFile:
    """A trail store as a file of its own on a local disk."""

    begin = "BEGIN IMMEDIATE"
    takes_steps = True
    errors: tuple[type[Exception], ...] = _ERRORS

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def record_error(self, error: Exception) -> RecordError:
        return record_error(self.path, error)

    def connect_writer(self) -> sqlite3.Connection:
        return connect_writer(self.path)

    def connect_reader(self) -> sqlite3.Connection:
        return connect_reader(self.path)

    def connect_checker(self) -> sqlite3.Connection:
        connection = connect_reader(self.path)
        connection.execute("BEGIN")
        return connection

    def is_lost(self, connection: Connection) -> bool:
        return False

    def rollback(self, connection: Connection) -> None:
        if connection.in_transaction:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")

    def delete_patient(self, connection: Connection, id: str) -> None:
        """Delete the sealed row of a patient in the open transaction; the freed page is overwritten."""
        connection.execute("PRAGMA secure_delete=ON")
        connection.execute("DELETE FROM patients WHERE id = ?", (id,))

    def wipe(self, connection: Connection) -> bool:
        """Empty the write-ahead log, which still has the row as it was. It stays while a reader needs it, who is not waited for."""
        connection.execute("PRAGMA busy_timeout=0")
        try:
            row: tuple[int, int, int] | None = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            connection.execute(f"PRAGMA busy_timeout={int(BUSY_SECONDS * 1000)}")
        return row is not None and row[0] == 0

    def take_lock(self, writer: Connection) -> WriterLock:
        return WriterLock.take(self.path)

    @contextmanager
    def create(self, meta: Mapping[str, str], checkpoints: str) -> Iterator[SqliteFile]:
        with new_store_file(self.path) as draft:
            with closing(sqlite3.connect(draft)) as connection, connection:
                connection.executemany("INSERT INTO meta (key, value) VALUES (?, ?)", sorted(meta.items()))
                connection.execute("INSERT INTO head (id, checkpoints) VALUES (0, ?)", (checkpoints,))
            yield SqliteFile(draft)

    def schema(self, connection: Connection) -> dict[tuple[str, str], str]:
        return {(row[0], row[1]): normal_sql(row[2]) for row in connection.execute(SQLITE_SCHEMA_QUERY)}

    def expected_schema(self) -> dict[tuple[str, str], str]:
        from audit.tables import expected_schema

        return expected_schema()

    def check_files(self, connection: Connection) -> tuple[list[str], str]:
        lines = [str(line) for (line,) in connection.execute("PRAGMA integrity_check(20)")]
        return [f"SQLite reports: {line}" for line in lines if line != "ok"], "file: every page and index, by SQLite itself"

    def lossy_text(self, connection: Connection) -> bool:
        if not isinstance(connection, sqlite3.Connection):
            return False
        connection.rollback()
        connection.execute("BEGIN")
        connection.text_factory = lambda data: data.decode("utf-8", "replace")
        return True
