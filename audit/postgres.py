"""A trail store as a schema of a PostgreSQL database: how it is opened, created, locked and refused, and what its errors mean.

A trail has a schema of its own; several (of several sites) lie side by side in one database. The right to write is an advisory lock
of the writer's session: it ends with the session, so with the process, and while a session lives that may still commit nobody else
holds it. The driver (psycopg 3) is loaded by this module alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, cast

from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from audit.database import Connection, Cursor, Value, record_errors
from audit.errors import RecordError, StoreBusy, StoreExists, StoreMissing, StoreReadOnly
from audit.postgres_schema import SCHEMA_QUERY, expected_schema
from audit.postgres_url import PostgresUrl, parse_postgres_url
from audit.tables import create_schema

try:
    import psycopg
    from psycopg.pq import TransactionStatus
    from psycopg.rows import TupleRow
except ImportError as error:
    raise RecordError(
        f"A store in PostgreSQL needs the driver psycopg, which is not installed here ({error}).",
        remedy="Install it: pip install 'dosewright[postgresql]'.",
    ) from error

WAIT_SECONDS = 5
_TYPO = "Check the schema's name; make a new store only with the command that does so."
_KEEP = "Keep the database as evidence and restore it from the backup."
_MEANING: tuple[tuple[str, type[RecordError], str, str], ...] = (
    ("25006", StoreReadOnly, "refuses writes", "Connect to the primary server, not to a standby; see that the database is not read-only."),
    ("42501", StoreReadOnly, "may not be used so by this role", "Grant what docs/integrator.md lists to the role."),
    ("53", RecordError, "has no room left on its server", "Free space or memory on the server, then start again."),
    ("55P03", RecordError, "is in use by another writer", "Stop the other process: a trail has one writer."),
    ("3F", RecordError, "is not a trail store", "Give the schema of the store, or restore it from the backup."),
    ("42", RecordError, "is not a trail store", "Give the schema of the store, or restore it from the backup."),
    ("XX", RecordError, "is damaged", _KEEP),
    ("23", RecordError, "refused the row", "Have the store verified before anything else."),
)
# The session sees the trail's schema alone; temporary tables, which any role can make, come last instead of first.
_OPTIONS = (
    "-c search_path={schema},pg_temp -c client_encoding=UTF8 -c lock_timeout={wait}s -c tcp_keepalives_idle=10 -c tcp_keepalives_count=3"
)
_PARTS = 4096


class _Session:
    """A connection on which statements are written as for SQLite. With `in_parts`, long answers stay on the server until they are read."""

    def __init__(self, raw: psycopg.Connection[TupleRow], *, in_parts: bool = False) -> None:
        self.raw = raw
        self._in_parts = in_parts
        self._open: list[psycopg.ServerCursor[TupleRow]] = []

    @property
    def in_transaction(self) -> bool:
        return self.raw.info.transaction_status not in (TransactionStatus.IDLE, TransactionStatus.UNKNOWN)

    @property
    def is_lost(self) -> bool:
        return self.raw.closed

    def execute(self, sql: str, parameters: tuple[Value, ...] = (), /) -> Cursor:
        text = sql.replace("?", "%s") if parameters else sql
        if self._in_parts and sql.startswith("SELECT"):
            reader = self.raw.cursor(name=f"answer_{len(self._open)}")
            self._open.append(reader)
            reader.itersize = _PARTS
            return cast("Cursor", reader.execute(text, parameters or None))
        cursor = self.raw.execute(text, parameters or None)
        if sql == "COMMIT" and cursor.statusmessage != "COMMIT":
            raise psycopg.OperationalError("the server answered COMMIT by undoing the transaction")
        return cast("Cursor", cursor)

    def executemany(self, sql: str, rows: Iterable[tuple[Value, ...]], /) -> None:
        """Carry out a statement for each row; all of them go to the server in one way there and back."""
        with self.raw.cursor() as cursor:
            cursor.executemany(sql.replace("?", "%s"), rows)

    def close(self) -> None:
        for reader in self._open:
            with suppress(psycopg.Error):
                reader.close()
        self.raw.close()


class _SessionLock:
    """The advisory lock of a session. Lifetime: to `release`, or to the end of the session."""

    def __init__(self, session: _Session, key: int) -> None:
        self._session, self._key = session, key

    def release(self) -> None:
        """Let go of the lock. Safe to call twice, and after the session."""
        with suppress(psycopg.Error):
            if not self._session.is_lost:
                self._session.execute("SELECT pg_advisory_unlock(?)", (self._key,))


class PostgresSchema:
    """A trail store as a schema."""

    begin = "BEGIN"
    takes_steps = False
    errors: tuple[type[Exception], ...] = (psycopg.Error, UnicodeDecodeError)

    def __init__(self, url: PostgresUrl) -> None:
        self.url = url

    @classmethod
    def at(cls, text: str) -> PostgresSchema:
        """Return the store that a URL names. Raises RecordError."""
        return cls(parse_postgres_url(text))

    def __str__(self) -> str:
        return str(self.url)

    def record_error(self, error: Exception) -> RecordError:
        state = getattr(error, "sqlstate", None) or ""
        text = " ".join(str(error).split())
        for prefix, kind, what, remedy in _MEANING:
            if state.startswith(prefix):
                return kind(f"The store {self} {what} ({text}); nothing was recorded.", remedy=remedy)
        return RecordError(
            f"The store {self} failed ({state or type(error).__name__}: {text}).", remedy="Check the server and the way to it."
        )

    def connect_writer(self) -> Connection:
        session = self._connect()
        try:
            with record_errors(self):
                self._require_durable(session)
        except BaseException:
            session.close()
            raise
        return session

    def connect_reader(self) -> Connection:
        return self._connect(read_only=True)

    def connect_checker(self) -> Connection:
        session = self._connect(in_parts=True, read_only=True)
        with record_errors(self):
            session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        return session

    def is_lost(self, connection: Connection) -> bool:
        return bool(getattr(connection, "is_lost", False))

    def rollback(self, connection: Connection) -> None:
        if connection.in_transaction:
            with suppress(psycopg.Error):
                connection.execute("ROLLBACK")

    def delete_patient(self, connection: Connection, id: str) -> None:
        """Delete the sealed row of a patient in the open transaction."""
        connection.execute("DELETE FROM patients WHERE id = ?", (id,))

    def wipe(self, connection: Connection) -> bool:
        """Have the server clear the row's space; its write-ahead log and its backups are its administrator's to let go."""
        connection.execute("VACUUM patients")
        return True

    def take_lock(self, writer: Connection) -> _SessionLock:
        """Wait a little: the session of a writer that was lost may still be ending on the server."""
        session, key = cast("_Session", writer), _lock_key(self.url.schema)
        try:
            session.execute("SELECT pg_advisory_lock(?)", (key,))
        except psycopg.errors.LockNotAvailable:
            raise StoreBusy(
                f"{self} is being written by another process.",
                remedy="A trail has one writer: end that process (a workstation that still runs), then start this one.",
            ) from None
        except psycopg.Error as error:
            raise self.record_error(error) from error
        return _SessionLock(session, key)

    @contextmanager
    def create(self, meta: Mapping[str, str], checkpoints: str) -> Iterator[PostgresSchema]:
        draft = PostgresSchema(self.url.draft())
        session = self._connect(needs_schema=False)
        try:
            self._require_free(session)
            lock = self.take_lock(session)
            self._require_free(session)
            try:
                # What a creation that was cut off left under the name that is kept for it.
                self._run(session, f"DROP SCHEMA IF EXISTS {draft.url.schema} CASCADE")
                draft._fill(meta, checkpoints)
                yield draft
                self._run(session, f"ALTER SCHEMA {draft.url.schema} RENAME TO {self.url.schema}")
            except BaseException:
                with suppress(psycopg.Error, RecordError):
                    self._run(session, f"DROP SCHEMA IF EXISTS {draft.url.schema} CASCADE")
                raise
            lock.release()
        finally:
            session.close()

    def schema(self, connection: Connection) -> dict[tuple[str, str], str]:
        return {(row[0], row[1]): " ".join(row[2].split()) for row in connection.execute(SCHEMA_QUERY)}

    def expected_schema(self) -> dict[tuple[str, str], str]:
        return expected_schema()

    def check_files(self, connection: Connection) -> tuple[list[str], str]:
        """PostgreSQL checks its pages as it reads them, where it was set up so; there is no more to ask of it from here."""
        checksums = connection.execute("SELECT current_setting('data_checksums')").fetchall()[0][0]
        return [], f"file: read by PostgreSQL, page checksums {checksums}"

    def lossy_text(self, connection: Connection) -> bool:
        return False

    def _connect(self, *, in_parts: bool = False, needs_schema: bool = True, read_only: bool = False) -> _Session:
        """Open a session. Raises StoreMissing, RecordError."""
        options = _OPTIONS.format(schema=self.url.schema, wait=WAIT_SECONDS)
        settings: dict[str, Any] = {
            "options": f"{options} -c default_transaction_read_only=on" if read_only else options,
            "target_session_attrs": "any" if read_only else "read-write",
            "connect_timeout": WAIT_SECONDS,
            "tcp_user_timeout": 1000 * WAIT_SECONDS,
            "keepalives_idle": WAIT_SECONDS,
            "application_name": "dosewright",
        }
        try:
            raw = psycopg.connect(self.url.conninfo, autocommit=True, **settings)
        except psycopg.Error as error:
            raise RecordError(
                f"The store {self} cannot be reached ({' '.join(str(error).split())}).",
                remedy="Check server, database, user and password (PGPASSWORD or PGPASSFILE), then try again.",
            ) from error
        session = _Session(raw)
        try:
            with record_errors(self):
                if needs_schema and not self._exists(session):
                    raise StoreMissing(f"There is no store at {self}.", remedy=_TYPO)
                if raw.info.parameter_status("server_encoding") != "UTF8":
                    raise RecordError(f"The database of {self} does not keep text as UTF-8.", remedy="Create it with ENCODING 'UTF8'.")
        except BaseException:
            session.close()
            raise
        return _Session(raw, in_parts=in_parts)

    def _require_free(self, session: _Session) -> None:
        with record_errors(self):
            if self._exists(session):
                raise StoreExists(f"There is a schema {self.url.schema} already.", remedy="Open it, or name another schema for the store.")

    def _exists(self, session: _Session) -> bool:
        found = session.execute("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = ?", (self.url.schema,))
        return found.fetchone() is not None

    def _require_durable(self, session: _Session) -> None:
        """Refuse a server that may lose what it has said is committed, and hold this session to it. Raises RecordError."""
        for name, allowed in _DURABLE.items():
            value = session.execute("SELECT current_setting(?)", (name,)).fetchall()[0][0]
            if value not in allowed:
                raise RecordError(
                    f"The server of {self} has {name} = {value}: it may lose entries that it has said are committed.",
                    remedy=f"Set {name} = on for server, database and role (ALTER SYSTEM, ALTER DATABASE, ALTER ROLE), then start again.",
                )
            if name == "synchronous_commit":
                session.execute("SELECT set_config(?, ?, false)", (name, value))

    def _fill(self, meta: Mapping[str, str], checkpoints: str) -> None:
        """Make the schema with all its tables, in one transaction."""
        raw = self._connect(needs_schema=False).raw
        raw.autocommit = False
        engine = create_engine("postgresql+psycopg://", creator=lambda: raw, poolclass=StaticPool)
        try:
            with engine.begin() as connection:
                connection.exec_driver_sql(f"CREATE SCHEMA {self.url.schema}")
                create_schema(connection)
                for row in sorted(meta.items()):
                    connection.exec_driver_sql("INSERT INTO meta (key, value) VALUES (%s, %s)", row)
                connection.exec_driver_sql("INSERT INTO head (id, checkpoints) VALUES (0, %s)", (checkpoints,))
        finally:
            engine.dispose()

    def _run(self, session: _Session, sql: str) -> None:
        try:
            session.execute(sql)
        except psycopg.Error as error:
            raise self.record_error(error) from error


_DURABLE: Mapping[str, frozenset[str]] = {
    "fsync": frozenset({"on"}),
    "full_page_writes": frozenset({"on"}),
    "synchronous_commit": frozenset({"on", "remote_apply"}),
}


def _lock_key(schema: str) -> int:
    """Return the number of the advisory lock of a trail; such locks are of one database."""
    return int.from_bytes(hashlib.sha256(f"dosewright trail {schema}".encode()).digest()[:8], "big", signed=True)
