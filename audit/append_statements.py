"""The statements that write an entry and the state of its object: one by one, or as one that is a transaction of its own.

They are said once, in the SQL that both engines speak. An entry that brings nothing else with it is most of a trail: SQLite takes it as
one row for a view of the writing connection, whose trigger carries out these same statements. So the row is committed by the statement
that gives it, and what it costs beside a bare commit is less.

That no other wrote meanwhile, `CLAIM` asks at the beginning of a transaction; of the one statement, the guard of the entries, which
refuses a number that is not the next.
"""

from __future__ import annotations

CLAIM = "UPDATE head SET checkpoints = ? WHERE id = 0 AND checkpoints = ? AND (SELECT coalesce(max(seq) + 1, 0) FROM entries) = ?"
"""The running digest of the checkpoints after and before, and how many entries there are."""
INSERT_ENTRY = "INSERT INTO entries (seq, canonical) VALUES (?, ?)"
INSERT_INDEX = "INSERT INTO entry_index (term, block) VALUES (?, ?) ON CONFLICT (term, block) DO NOTHING"
PUT_OBJECT = (
    "INSERT INTO objects (type, id, version, last_seq, digest, state) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (type, id) DO UPDATE SET "
    "version = excluded.version, last_seq = excluded.last_seq, digest = excluded.digest, state = excluded.state"
)

_STEP = ("seq", "canonical", "type", "id", "version", "digest", "state")
INSERT_STEP = "INSERT INTO step VALUES (?, ?, ?, ?, ?, ?, ?)"
"""An entry's number and bytes, and its object with the entry's digest."""


def _filled(statement: str, *columns: str) -> str:
    """Return a statement with columns of the given row in the place of its values."""
    for column in columns:
        statement = statement.replace("?", f"NEW.{column}", 1)
    return statement


SQLITE_STEP: tuple[str, ...] = (
    f"CREATE TEMP VIEW step AS SELECT {', '.join(f'NULL AS {column}' for column in _STEP)}",
    "CREATE TEMP TRIGGER step_taken INSTEAD OF INSERT ON step BEGIN "
    f"{_filled(INSERT_ENTRY, 'seq', 'canonical')}; "
    f"{_filled(PUT_OBJECT, 'type', 'id', 'version', 'seq', 'digest', 'state')}; END",
)
"""What the writing connection needs for INSERT_STEP; it is gone with the connection, and no part of the store."""
