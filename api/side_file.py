"""Small SQLite files beside the record, which say nothing that matters to it: a damaged one keeps no site from starting."""

from __future__ import annotations

import sqlite3
from pathlib import Path


def open_side_file(path: Path, table: str) -> sqlite3.Connection:
    """Open a file, readable by its account alone, and make its table where it has none. One that is damaged anywhere is begun anew.

    `table`: CREATE TABLE IF NOT EXISTS. Raises sqlite3.OperationalError where the disk or its rights are the matter, and not the file.
    """
    try:
        return _opened(path, table)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:
        for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
            name.unlink(missing_ok=True)
        return _opened(path, table)


def _opened(path: Path, table: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        path.chmod(0o600)
        connection.execute("PRAGMA journal_mode=WAL")
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise sqlite3.DatabaseError(str(found))
        connection.execute(table)
    except BaseException:
        connection.close()
        raise
    return connection
