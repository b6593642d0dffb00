"""What the record asks of a database engine.

What differs between the engines is in one file each: `audit/sqlite_file.py`, `audit/postgres.py`. Statements are written once,
with `?` for a value, in the SQL that both speak.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, TypeAlias

from audit.errors import RecordError

Value: TypeAlias = str | int | bytes | None
Row: TypeAlias = tuple[Any, ...]
Schema: TypeAlias = Mapping[tuple[str, str], str]
"""{(kind, name): definition} of everything that a store's schema holds."""


class Cursor(Protocol):
    """What a statement gave."""

    @property
    def rowcount(self) -> int: ...

    def fetchone(self) -> Row | None: ...

    def fetchmany(self, size: int, /) -> list[Row]: ...

    def fetchall(self) -> list[Row]: ...

    def __iter__(self) -> Iterator[Row]: ...


class Connection(Protocol):
    """A connection of a driver. No transaction is open but between `Database.begin` and COMMIT or ROLLBACK."""

    @property
    def in_transaction(self) -> bool: ...

    def execute(self, sql: str, parameters: tuple[Value, ...] = ..., /) -> Cursor: ...

    def executemany(self, sql: str, rows: Iterable[tuple[Value, ...]], /) -> object: ...

    def close(self) -> None: ...


class Lock(Protocol):
    """The right to write one store."""

    def release(self) -> None: ...


class Database(Protocol):
    """One trail store's place in an engine; its text names it to a person."""

    begin: str
    """The statement that opens a writing transaction."""
    takes_steps: bool
    """Whether a writing connection takes INSERT_STEP: a whole transaction in one statement."""
    errors: tuple[type[Exception], ...]
    """What the driver raises."""

    def record_error(self, error: Exception) -> RecordError:
        """Translate an error of the driver into the error tree: place, what happened, what to do."""

    def connect_writer(self) -> Connection:
        """Open a writing connection on which every commit is on the disk. Raises StoreMissing, StoreReadOnly, RecordError."""

    def connect_reader(self) -> Connection:
        """Open a connection that can only read. Raises StoreMissing, RecordError."""

    def connect_checker(self) -> Connection:
        """Open a reading connection that shows one state of the whole store, and gives long answers in parts."""

    def is_lost(self, connection: Connection) -> bool:
        """Say whether a connection is gone for good, so that a new one must take its place."""

    def rollback(self, connection: Connection) -> None:
        """Undo the open transaction, if any; a failing rollback adds nothing to the error that led to it."""

    def delete_patient(self, connection: Connection, id: str) -> None:
        """Delete the sealed row of a patient in the open transaction."""

    def wipe(self, connection: Connection) -> bool:
        """After the commit of a deletion, leave nothing of the row where the engine can: what it cannot, the manual says.

        False where it has to be tried again, because somebody reads.
        """

    def take_lock(self, writer: Connection) -> Lock:
        """Take the right to write, which ends with the process at the latest. Raises StoreBusy, StoreReadOnly."""

    def create(self, meta: Mapping[str, str], checkpoints: str) -> AbstractContextManager[Database]:
        """Make a store with nothing but `meta` and the running digest of its checkpoints.

        At the end of the block it takes its place in one step, or nothing is left.

        Raises StoreExists, StoreMissing, StoreReadOnly, RecordError.
        """

    def schema(self, connection: Connection) -> Schema:
        """Return what the schema holds."""

    def expected_schema(self) -> Schema:
        """Return what the schema of a store must hold, and nothing else."""

    def check_files(self, connection: Connection) -> tuple[list[str], str]:
        """Have the engine check its own files; return what it says against them, and in words what it looked at."""

    def lossy_text(self, connection: Connection) -> bool:
        """Let text that is not UTF-8 be read with marks in its place; False where the engine never holds such text."""


@contextmanager
def record_errors(database: Database) -> Iterator[None]:
    """Turn every error of the driver in the block into a RecordError."""
    try:
        yield
    except database.errors as error:
        raise database.record_error(error) from error
