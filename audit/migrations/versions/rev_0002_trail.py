"""The schema of a trail store. It has no way from an earlier one: the digests of entries are others, and they are signed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision: str | None = None

_COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
_SQLITE = (
    *(
        f"CREATE TRIGGER {table}_no_{operation.lower()} BEFORE {operation} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{table}: rows are never changed or deleted'); END"
        for table in ("entries", "blobs", "checkpoints")
        for operation in ("UPDATE", "DELETE")
    ),
    "CREATE TRIGGER entries_guard BEFORE INSERT ON entries "
    "WHEN NEW.seq IS NOT (SELECT coalesce(max(seq) + 1, 0) FROM entries) "
    "BEGIN SELECT RAISE(ABORT, 'entries: seq must be the next number'); END",
    "CREATE TRIGGER blobs_guard BEFORE INSERT ON blobs WHEN EXISTS (SELECT 1 FROM blobs WHERE sha256 = NEW.sha256) "
    "BEGIN SELECT RAISE(ABORT, 'blobs: a blob is stored once'); END",
    "CREATE TRIGGER checkpoints_guard BEFORE INSERT ON checkpoints "
    "WHEN NEW.size <= (SELECT coalesce(max(size), -1) FROM checkpoints) "
    "BEGIN SELECT RAISE(ABORT, 'checkpoints: sizes only grow'); END",
)


_CHANGELESS = ("entries", "blobs", "checkpoints")
_ALL = (*_CHANGELESS, "alembic_version", "credentials", "entry_index", "head", "meta", "objects", "patients")
_REFUSE = "RAISE EXCEPTION USING MESSAGE = TG_TABLE_NAME || ': {}', ERRCODE = 'integrity_constraint_violation';"
_FIND = "EXECUTE 'SELECT coalesce(max({}), {}) FROM ' || quote_ident(TG_TABLE_SCHEMA) || '.' || quote_ident(TG_TABLE_NAME) INTO found; "


def _function(name: str, body: str, declare: str = "") -> str:
    return f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ {declare}BEGIN {body} END $$"


def _guard(name: str, greatest: str, empty: int, condition: str, message: str) -> str:
    body = f"{_FIND.format(greatest, empty)}IF {condition} THEN {_REFUSE.format(message)} END IF; RETURN NEW;"
    return _function(name, body, "DECLARE found bigint; ")


_TRIGGERS = (
    *(
        (table, f"{table}_no_{what.lower()}", f"{what} ON {table} FOR EACH ROW", "refuse_change")
        for table in _CHANGELESS
        for what in ("UPDATE", "DELETE")
    ),
    *((table, f"{table}_no_truncate", f"TRUNCATE ON {table} FOR EACH STATEMENT", "refuse_change") for table in _ALL),
    ("entries", "entries_guard", "INSERT ON entries FOR EACH ROW", "guard_entries"),
    ("checkpoints", "checkpoints_guard", "INSERT ON checkpoints FOR EACH ROW", "guard_checkpoints"),
)
_POSTGRESQL = (
    _function("refuse_change", _REFUSE.format("rows are never changed or deleted")),
    _guard("guard_entries", "seq + 1", 0, "NEW.seq IS DISTINCT FROM found", "seq must be the next number"),
    _guard("guard_checkpoints", "size", -1, "NEW.size <= found", "sizes only grow"),
    *(f"CREATE TRIGGER {name} BEFORE {event} EXECUTE FUNCTION {function}()" for _, name, event, function in _TRIGGERS),
    *(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}" for table, name, _, _ in _TRIGGERS),
)


def _keyed(name: str, *columns: sa.Column[str] | sa.Column[bytes] | sa.Column[int], with_rowid: bool = True) -> None:
    op.create_table(name, *columns, sqlite_strict=True, sqlite_with_rowid=with_rowid)


def upgrade() -> None:
    """Create every table and trigger."""
    text, blob = _TEXT, sa.LargeBinary()
    _keyed(
        "entries",
        sa.Column("seq", _COUNT, primary_key=True, autoincrement=False),
        sa.Column("canonical", blob, nullable=False),
    )
    _keyed(
        "entry_index",
        sa.Column("term", text, primary_key=True, nullable=False),
        sa.Column("block", _COUNT, primary_key=True, autoincrement=False, nullable=False),
        with_rowid=False,
    )
    _keyed(
        "objects",
        sa.Column("type", text, primary_key=True, nullable=False),
        sa.Column("id", text, primary_key=True, nullable=False),
        sa.Column("version", _COUNT, nullable=False),
        sa.Column("last_seq", _COUNT, nullable=False),
        sa.Column("digest", text, nullable=False),
        sa.Column("state", text, nullable=False),
        with_rowid=False,
    )
    _keyed(
        "blobs",
        sa.Column("sha256", text, primary_key=True, nullable=False),
        sa.Column("bytes", _COUNT, nullable=False),
        sa.Column("data", blob, nullable=False),
    )
    for name in ("credentials", "patients"):
        _keyed(name, sa.Column("id", text, primary_key=True, nullable=False), sa.Column("sealed", blob, nullable=False))
    _keyed(
        "checkpoints",
        sa.Column("size", _COUNT, primary_key=True, autoincrement=False),
        sa.Column("note", text, nullable=False),
    )
    _keyed("meta", sa.Column("key", text, primary_key=True, nullable=False), sa.Column("value", text, nullable=False))
    _keyed(
        "head",
        sa.Column("id", _COUNT, primary_key=True, autoincrement=False),
        sa.Column("checkpoints", text, nullable=False),
    )
    for statement in _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    """Refuse: a record is never taken apart."""
    raise NotImplementedError("a trail store has no way back to an empty database")
