"""The tables of a trail store: metadata, what each table is, and the triggers that keep the trail append-only.

Every table is declared: *trail* (the record itself), *projection* (rebuilt from the trail by `verify`), *committed*
(its digest is in the trail, or it carries its own signature and the head counts it) or *volatile* (says nothing that
matters). There is no volatile table here. Triggers are for SQLite; they stop mistakes, not the owner of the disk:
against him stand the chain and the checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from sqlalchemy import (
    BigInteger,
    Column,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    create_engine,
)
from sqlalchemy.pool import StaticPool

FORMAT = "dosewright-store/1"
REVISION = "0001"

METADATA = MetaData()
_COUNT = BigInteger().with_variant(Integer(), "sqlite")

ENTRIES = Table(
    "entries",
    METADATA,
    Column("seq", _COUNT, primary_key=True, autoincrement=False),
    Column("canonical", LargeBinary, nullable=False),
    Column("digest", Text, nullable=False),
    sqlite_strict=True,
)
ENTRY_INDEX = Table(
    "entry_index",
    METADATA,
    Column("seq", _COUNT, primary_key=True, autoincrement=False),
    Column("at", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("subject_type", Text, nullable=False),
    Column("subject_id", Text, nullable=False),
    Index("entry_index_subject", "subject_type", "subject_id", "seq"),
    Index("entry_index_kind", "kind", "seq"),
    sqlite_strict=True,
)
OBJECTS = Table(
    "objects",
    METADATA,
    Column("type", Text, primary_key=True, nullable=False),
    Column("id", Text, primary_key=True, nullable=False),
    Column("version", _COUNT, nullable=False),
    Column("last_seq", _COUNT, nullable=False),
    Column("state", Text, nullable=False),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)
BLOBS = Table(
    "blobs",
    METADATA,
    Column("sha256", Text, primary_key=True, nullable=False),
    Column("bytes", _COUNT, nullable=False),
    Column("data", LargeBinary, nullable=False),
    sqlite_strict=True,
)
CREDENTIALS = Table(
    "credentials",
    METADATA,
    Column("id", Text, primary_key=True, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    sqlite_strict=True,
)
PATIENTS = Table(
    "patients",
    METADATA,
    Column("id", Text, primary_key=True, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    sqlite_strict=True,
)
CHECKPOINTS = Table(
    "checkpoints",
    METADATA,
    Column("size", _COUNT, primary_key=True, autoincrement=False),
    Column("note", Text, nullable=False),
    sqlite_strict=True,
)
META = Table(
    "meta",
    METADATA,
    Column("key", Text, primary_key=True, nullable=False),
    Column("value", Text, nullable=False),
    sqlite_strict=True,
)
HEAD = Table(
    "head",
    METADATA,
    Column("id", _COUNT, primary_key=True, autoincrement=False),
    Column("size", _COUNT, nullable=False),
    Column("digest", Text, nullable=False),
    Column("checkpoints", Text, nullable=False),
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


def memory_engine() -> Engine:
    """Return an engine on a new in-memory SQLite database with the whole schema: the reference for `schema_of`."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    create_schema(engine)
    return engine


def create_schema(engine: Engine) -> None:
    """Create tables, triggers and the schema revision in an empty SQLite database."""
    with engine.begin() as connection:
        METADATA.create_all(connection)
        for trigger in SQLITE_TRIGGERS:
            connection.exec_driver_sql(trigger)
        connection.execute(ALEMBIC_VERSION.insert().values(version_num=REVISION))


SCHEMA_QUERY = "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"


def normal_sql(text: str | None) -> str:
    """Return a statement with its blanks evened out, to compare schemas."""
    return " ".join((text or "").split())


def expected_schema() -> dict[tuple[str, str], str]:
    """Return {(type, name): statement} of every table, index and trigger that a store must have, and no other."""
    engine = memory_engine()
    try:
        with engine.connect() as connection:
            return {(row[0], row[1]): normal_sql(row[2]) for row in connection.exec_driver_sql(SCHEMA_QUERY)}
    finally:
        engine.dispose()
