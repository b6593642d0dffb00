"""The statements that write an entry, the state of its object and the head: one by one, or as one that is a transaction of its own.

They are said once, in the SQL that both engines speak. An entry that brings nothing else with it is most of a trail: SQLite takes it as
one row for a view of the writing connection, whose trigger carries out these same statements. So the row is committed by the statement
that gives it, and what it costs beside a bare commit is less.
"""

from __future__ import annotations

SWAP_HEAD = "UPDATE head SET size = ?, digest = ?, checkpoints = ? WHERE id = 0 AND size = ? AND digest = ? AND checkpoints = ?"
INSERT_ENTRY = "INSERT INTO entries (seq, canonical) VALUES (?, ?)"
INSERT_INDEX = "INSERT INTO entry_index (term, block) VALUES (?, ?) ON CONFLICT (term, block) DO NOTHING"
PUT_OBJECT = (
    "INSERT INTO objects (type, id, version, last_seq, state) VALUES (?, ?, ?, ?, ?) ON CONFLICT (type, id) DO UPDATE SET "
    "version = excluded.version, last_seq = excluded.last_seq, state = excluded.state"
)

_STEP = ("size", "digest", "checkpoints", "seq", "prev", "checkpoints_before", "canonical", "type", "id", "version", "state")
INSERT_STEP = "INSERT INTO step VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
"""The new head, the head before (its size is the entry's number), the entry's bytes, and its object."""


def _filled(statement: str, *columns: str) -> str:
    """Return a statement with columns of the given row in the place of its values."""
    for column in columns:
        statement = statement.replace("?", f"NEW.{column}", 1)
    return statement


SQLITE_STEP: tuple[str, ...] = (
    f"CREATE TEMP VIEW step AS SELECT {', '.join(f'NULL AS {column}' for column in _STEP)}",
    "CREATE TEMP TRIGGER step_taken INSTEAD OF INSERT ON step BEGIN "
    f"{_filled(SWAP_HEAD, *_STEP[:6])}; "
    "SELECT RAISE(ABORT, 'the head is another') WHERE changes() <> 1; "
    f"{_filled(INSERT_ENTRY, 'seq', 'canonical')}; "
    f"{_filled(PUT_OBJECT, 'type', 'id', 'version', 'seq', 'state')}; END",
)
"""What the writing connection needs for INSERT_STEP; it is gone with the connection, and no part of the store."""
