"""The first schema of a trail store."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None

_COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TRIGGERS = (
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


def _keyed(name: str, *columns: sa.Column[str] | sa.Column[bytes] | sa.Column[int], with_rowid: bool = True) -> None:
    op.create_table(name, *columns, sqlite_strict=True, sqlite_with_rowid=with_rowid)


def upgrade() -> None:
    """Create every table and trigger."""
    text, blob = sa.Text(), sa.LargeBinary()
    _keyed(
        "entries",
        sa.Column("seq", _COUNT, primary_key=True, autoincrement=False),
        sa.Column("canonical", blob, nullable=False),
        sa.Column("digest", text, nullable=False),
    )
    _keyed(
        "entry_index",
        sa.Column("seq", _COUNT, primary_key=True, autoincrement=False),
        *(sa.Column(name, text, nullable=False) for name in ("at", "kind", "actor", "subject_type", "subject_id")),
    )
    op.create_index("entry_index_subject", "entry_index", ["subject_type", "subject_id", "seq"])
    op.create_index("entry_index_kind", "entry_index", ["kind", "seq"])
    _keyed(
        "objects",
        sa.Column("type", text, primary_key=True, nullable=False),
        sa.Column("id", text, primary_key=True, nullable=False),
        sa.Column("version", _COUNT, nullable=False),
        sa.Column("last_seq", _COUNT, nullable=False),
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
        sa.Column("size", _COUNT, nullable=False),
        sa.Column("digest", text, nullable=False),
        sa.Column("checkpoints", text, nullable=False),
    )
    for trigger in _TRIGGERS:
        op.execute(trigger)


def downgrade() -> None:
    """Refuse: a record is never taken apart."""
    raise NotImplementedError("a trail store has no way back to an empty database")
