"""A store file read without a trace, beside the process that writes it or at rest.

A store at rest has no log beside it; an ordinary reader would make one, with an owner and rights of its own, which may be in the way of
the process that starts next. So a file at rest is read as it stands.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path


def is_at_rest(path: Path) -> bool:
    """Say whether no process has the store open; one that was killed leaves its log, too."""
    return not path.with_name(f"{path.name}-wal").exists()


def connect_quietly(path: Path, patience_s: float) -> sqlite3.Connection:
    """Open a connection that can only read. Raises sqlite3.Error, also where there is no file."""
    address = f"{path.resolve().as_uri()}?mode=ro{'&immutable=1' if is_at_rest(path) else ''}"
    connection = sqlite3.connect(address, uri=True, isolation_level=None, timeout=patience_s, check_same_thread=False)
    try:
        connection.execute("PRAGMA query_only=ON")
        connection.execute("PRAGMA trusted_schema=OFF")
    except BaseException:
        connection.close()
        raise
    return connection
