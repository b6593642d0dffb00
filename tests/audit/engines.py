"""The two engines that a trail store can lie in, as the tests use them: places, copies of a store, and the hands of an owner.

The owner of a database can do what the store refuses: `tampering` gives a connection for which the triggers are down, with `?` for a
value on both engines.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from audit import tables
from audit.database import Connection
from audit.places import Place
from audit.postgres import _Session
from audit.store import TrailStore

TABLES = sorted(tables.DECLARATIONS)
KEYS = {table.name: [column.name for column in table.primary_key] for table in tables.METADATA.sorted_tables}


class SqliteEngine:
    """Stores as files in a folder."""

    name = "sqlite"
    error: type[Exception] = sqlite3.OperationalError
    refusals: tuple[type[Exception], ...] = (sqlite3.Error,)

    def __init__(self, folder: Path, templates: dict[tuple[str, str], Place]) -> None:
        self.folder, self._templates = folder, templates

    def place(self, name: str) -> Path:
        return self.folder / f"{name}.db"

    def template(self, name: str, make: Callable[[Place], None], folder: Path) -> Place:
        key = (self.name, name)
        if key not in self._templates:
            make(folder / f"{name}.db")
            self._templates[key] = folder / f"{name}.db"
        return self._templates[key]

    def copy(self, source: Place, name: str) -> Place:
        """Write a copy of a closed store, over one that has this name."""
        return Path(shutil.copyfile(source, self.place(name)))

    @contextmanager
    def raw(self, place: Place) -> Iterator[Connection]:
        connection = sqlite3.connect(place, isolation_level=None)
        try:
            yield connection
        finally:
            connection.close()

    @contextmanager
    def tampering(self, place: Place) -> Iterator[Connection]:
        """Give a connection of the file's owner: triggers are dropped, and put back as they were."""
        with self.raw(place) as connection:
            triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
            connection.execute("BEGIN")
            for name, _ in triggers:
                connection.execute(f"DROP TRIGGER {name}")
            yield connection
            for _, sql in triggers:
                connection.execute(sql)
            connection.execute("COMMIT")

    def let_in_another(self, store: TrailStore) -> None:
        """Take the lock out of a second writer's way: its file was deleted, or the file system does not lock."""
        store.path.with_name(f"{store.path.name}.writer").unlink()

    def close(self) -> None:
        pass


class PostgresEngine:
    """Stores as schemas of one database."""

    name = "postgresql"
    error: type[Exception] = psycopg.OperationalError
    refusals: tuple[type[Exception], ...] = (psycopg.Error,)
    _count = 0

    def __init__(self, url: str, templates: dict[tuple[str, str], Place]) -> None:
        self.url, self._templates = url, templates
        PostgresEngine._count += 1
        self._mark = PostgresEngine._count
        self._made: set[str] = set()

    def place(self, name: str) -> str:
        self._made.add(f"{name}_{self._mark}")
        return f"{self.url}&schema={name}_{self._mark}"

    def template(self, name: str, make: Callable[[Place], None], folder: Path) -> Place:
        key = (self.name, name)
        if key not in self._templates:
            make(f"{self.url}&schema=template_{name}")
            self._templates[key] = f"{self.url}&schema=template_{name}"
        return self._templates[key]

    def copy(self, source: Place, name: str) -> Place:
        """Write a copy of a store, over one that has this name."""
        place = self.place(name)
        to, rows = schema_of(place), "".join(f"INSERT INTO {table} SELECT * FROM {schema_of(source)}.{table};" for table in TABLES)
        script = f"DROP SCHEMA IF EXISTS {to} CASCADE; CREATE SCHEMA {to}; SET search_path TO {to}; {DEFINITIONS}; {rows} {TRIGGERS}"
        with psycopg.connect(self.url) as connection:
            connection.execute(script)
        return place

    @contextmanager
    def raw(self, place: Place) -> Iterator[Connection]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"SET search_path TO {schema_of(place)}")
            yield _Session(connection)

    @contextmanager
    def tampering(self, place: Place) -> Iterator[Connection]:
        """Give a connection of the database's owner: the triggers are off, and put back as they were."""
        with self.raw(place) as connection:
            for table in TABLES:
                connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
            yield connection
            connection.execute(ALWAYS)

    def let_in_another(self, store: TrailStore) -> None:
        """Take the lock out of a second writer's way: a pooler gave its session to somebody else."""
        store._writer.execute("SELECT pg_advisory_unlock_all()")

    def close(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            for schema in self._made:
                connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


Engine = SqliteEngine | PostgresEngine

_DIALECT = postgresql.dialect()
DEFINITIONS = ";".join(
    str(statement.compile(dialect=_DIALECT))
    for table in tables.METADATA.sorted_tables
    for statement in (CreateTable(table), *(CreateIndex(index) for index in table.indexes))
)
TRIGGERS = ";".join(tables.POSTGRES_TRIGGERS)
ALWAYS = ";".join(statement for statement in tables.POSTGRES_TRIGGERS if statement.startswith("ALTER"))


def schema_of(place: Place) -> str:
    return str(place).rpartition("schema=")[2]


def rows(connection: Connection, table: str) -> list[dict[str, object]]:
    """Return the rows of a table in the order of its key, as {column: value}."""
    names = [column.name for column in tables.METADATA.tables[table].columns]
    found = connection.execute(f"SELECT {', '.join(names)} FROM {table} ORDER BY {', '.join(KEYS[table])}")
    return [dict(zip(names, row, strict=True)) for row in found]


def everything(engine: Engine, place: Place) -> dict[str, list[dict[str, object]]]:
    """Return all rows of all tables."""
    with engine.raw(place) as connection:
        return {table: rows(connection, table) for table in TABLES}
