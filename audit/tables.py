"""The tables of a trail store: metadata, what each table is, and the triggers that keep the trail append-only.

Every table is declared: *trail* (the record itself), *projection* (rebuilt from the trail by `verify`), *committed*
(its digest is in the trail, or it carries its own signature and the head counts it) or *volatile* (says nothing that
matters). There is no volatile table here. Triggers stop mistakes, not the owner of the disk or of the database:
against him stand the chain and the checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    create_engine,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.pool import StaticPool

from audit.store_format import REVISION, SQLITE_SCHEMA_QUERY, normal_sql

METADATA = MetaData()
_COUNT = BigInteger().with_variant(Integer(), "sqlite")
# Compared and sorted by its bytes on both engines, whatever the language of the server.
_TEXT = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")

ENTRIES = Table(
    "entries",
    METADATA,
    Column("seq", _COUNT, primary_key=True, autoincrement=False),
    Column("canonical", LargeBinary, nullable=False),
    sqlite_strict=True,
)
ENTRY_INDEX = Table(
    "entry_index",
    METADATA,
    Column("term", _TEXT, primary_key=True, nullable=False),
    Column("block", _COUNT, primary_key=True, autoincrement=False, nullable=False),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)
OBJECTS = Table(
    "objects",
    METADATA,
    Column("type", _TEXT, primary_key=True, nullable=False),
    Column("id", _TEXT, primary_key=True, nullable=False),
    Column("version", _COUNT, nullable=False),
    Column("last_seq", _COUNT, nullable=False),
    Column("digest", _TEXT, nullable=False),
    Column("state", _TEXT, nullable=False),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)
BLOBS = Table(
    "blobs",
    METADATA,
    Column("sha256", _TEXT, primary_key=True, nullable=False),
    Column("bytes", _COUNT, nullable=False),
    Column("data", LargeBinary, nullable=False),
    sqlite_strict=True,
)
CREDENTIALS = Table(
    "credentials",
    METADATA,
    Column("id", _TEXT, primary_key=True, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    sqlite_strict=True,
)
PATIENTS = Table(
    "patients",
    METADATA,
    Column("id", _TEXT, primary_key=True, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    sqlite_strict=True,
)
CHECKPOINTS = Table(
    "checkpoints",
    METADATA,
    Column("size", _COUNT, primary_key=True, autoincrement=False),
    Column("note", _TEXT, nullable=False),
    sqlite_strict=True,
)
META = Table(
    "meta",
    METADATA,
    Column("key", _TEXT, primary_key=True, nullable=False),
    Column("value", _TEXT, nullable=False),
    sqlite_strict=True,
)
HEAD = Table(
    "head",
    METADATA,
    Column("id", _COUNT, primary_key=True, autoincrement=False),
    Column("checkpoints", _TEXT, nullable=False),
    sqlite_strict=True,
)
ALEMBIC_VERSION = Table(
    "alembic_version",
    METADATA,
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)


class TableKind(StrEnum):
    """What a table is to the record."""

    TRAIL = "trail"
    PROJECTION = "projection"
    COMMITTED = "committed"
    VOLATILE = "volatile"


DECLARATIONS: Mapping[str, TableKind] = MappingProxyType(
    {
        "entries": TableKind.TRAIL,
        "entry_index": TableKind.PROJECTION,
        "objects": TableKind.PROJECTION,
        "head": TableKind.PROJECTION,
        "meta": TableKind.PROJECTION,
        "alembic_version": TableKind.PROJECTION,
        "blobs": TableKind.COMMITTED,
        "credentials": TableKind.COMMITTED,
        "patients": TableKind.COMMITTED,
        "checkpoints": TableKind.COMMITTED,
    }
)


def _refuse_change(table: str, operation: str) -> str:
    return (
        f"CREATE TRIGGER {table}_no_{operation.lower()} BEFORE {operation} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{table}: rows are never changed or deleted'); END"
    )


def _guard_insert(table: str, condition: str, message: str) -> str:
    return f"CREATE TRIGGER {table}_guard BEFORE INSERT ON {table} WHEN {condition} BEGIN SELECT RAISE(ABORT, '{table}: {message}'); END"


# The guards also stop INSERT OR REPLACE, which deletes without firing DELETE triggers. They fire before the row goes.
SQLITE_TRIGGERS: tuple[str, ...] = (
    *(_refuse_change(table, operation) for table in ("entries", "blobs", "checkpoints") for operation in ("UPDATE", "DELETE")),
    _guard_insert("entries", "NEW.seq IS NOT (SELECT coalesce(max(seq) + 1, 0) FROM entries)", "seq must be the next number"),
    _guard_insert("blobs", "EXISTS (SELECT 1 FROM blobs WHERE sha256 = NEW.sha256)", "a blob is stored once"),
    _guard_insert("checkpoints", "NEW.size <= (SELECT coalesce(max(size), -1) FROM checkpoints)", "sizes only grow"),
)


def _postgres_function(name: str, body: str, declare: str = "") -> str:
    return f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ {declare}BEGIN {body} END $$"


def _postgres_trigger(table: str, operation: str, function: str) -> tuple[str, str]:
    """Return the statements of a trigger that fires in every session, also where a role turns triggers off (`replica`)."""
    name = f"{table}_{'guard' if operation == 'INSERT' else f'no_{operation.lower()}'}"
    each = "STATEMENT" if operation == "TRUNCATE" else "ROW"
    return (
        f"CREATE TRIGGER {name} BEFORE {operation} ON {table} FOR EACH {each} EXECUTE FUNCTION {function}()",
        f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}",
    )


def _refuse(message: str) -> str:
    return f"RAISE EXCEPTION USING MESSAGE = TG_TABLE_NAME || ': {message}', ERRCODE = 'integrity_constraint_violation';"


# The table is named by the trigger itself: a search path cannot put another in its place.
_NEXT = "EXECUTE 'SELECT coalesce(max({0}), {1}) FROM ' || quote_ident(TG_TABLE_SCHEMA) || '.' || quote_ident(TG_TABLE_NAME) INTO found; "
POSTGRES_FUNCTIONS: Mapping[str, str] = MappingProxyType(
    {
        "refuse_change": _postgres_function("refuse_change", _refuse("rows are never changed or deleted")),
        "guard_entries": _postgres_function(
            "guard_entries",
            f"{_NEXT.format('seq + 1', 0)}IF NEW.seq IS DISTINCT FROM found THEN {_refuse('seq must be the next number')} END IF; "
            "RETURN NEW;",
            "DECLARE found bigint; ",
        ),
        "guard_checkpoints": _postgres_function(
            "guard_checkpoints",
            f"{_NEXT.format('size', -1)}IF NEW.size <= found THEN {_refuse('sizes only grow')} END IF; RETURN NEW;",
            "DECLARE found bigint; ",
        ),
    }
)
# PostgreSQL has no INSERT OR REPLACE: a second blob of the same name meets the primary key.
POSTGRES_TRIGGERS: tuple[str, ...] = (
    *POSTGRES_FUNCTIONS.values(),
    *(
        statement
        for table in ("entries", "blobs", "checkpoints")
        for operation in ("UPDATE", "DELETE")
        for statement in _postgres_trigger(table, operation, "refuse_change")
    ),
    *(statement for table in sorted(DECLARATIONS) for statement in _postgres_trigger(table, "TRUNCATE", "refuse_change")),
    *_postgres_trigger("entries", "INSERT", "guard_entries"),
    *_postgres_trigger("checkpoints", "INSERT", "guard_checkpoints"),
)


def memory_engine() -> Engine:
    """Return an engine on a new in-memory SQLite database with the whole schema: the reference for `schema_of`."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    with engine.begin() as connection:
        create_schema(connection)
    return engine


def create_schema(connection: Connection) -> None:
    """Create tables, triggers and the schema revision where there are none."""
    METADATA.create_all(connection, checkfirst=False)
    for statement in SQLITE_TRIGGERS if connection.dialect.name == "sqlite" else POSTGRES_TRIGGERS:
        connection.exec_driver_sql(statement)
    connection.execute(ALEMBIC_VERSION.insert().values(version_num=REVISION))


def expected_schema() -> dict[tuple[str, str], str]:
    """Return {(type, name): statement} of every table, index and trigger that a store must have, and no other."""
    engine = memory_engine()
    try:
        with engine.connect() as connection:
            return {(row[0], row[1]): normal_sql(row[2]) for row in connection.exec_driver_sql(SQLITE_SCHEMA_QUERY)}
    finally:
        engine.dispose()
