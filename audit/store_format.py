"""What says which form a store has, and how the form that it has is asked of SQLite. Loads no schema: most who open a store make none."""

from __future__ import annotations

FORMAT = "dosewright-store/2"
REVISION = "0002"
SQLITE_SCHEMA_QUERY = "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"


def normal_sql(text: str | None) -> str:
    """Return a statement with its blanks evened out, to compare schemas."""
    return " ".join((text or "").split())
