"""Which engine an address names: a path is SQLite, a URL is PostgreSQL."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypeAlias

from audit.database import Database
from audit.sqlite_file import SqliteFile

Place: TypeAlias = Path | str
"""Where a store lies: a file, or `postgresql://user@host/database?schema=name`."""

_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def is_url(text: str) -> bool:
    """Say whether an address is a URL rather than a path."""
    return _URL.match(text) is not None


def database_at(place: Place) -> Database:
    """Return the database that an address names. Raises RecordError for an address that cannot be read."""
    if isinstance(place, str) and is_url(place):
        from audit.postgres import PostgresSchema  # its driver is loaded where it is used, and need not be there otherwise

        return PostgresSchema.at(place)
    return SqliteFile(Path(place))
