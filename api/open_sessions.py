"""The sessions that are open, kept for the workstation process that comes after this one.

A process that is killed in the middle of a print comes back within seconds, and so do the pages that show the print; who looked at one
need not log in first to see it. What comes back is *locked*: nobody here knows who stands at the page now, so it shows what it showed,
STOP works, and the password opens it again, with the roles that the person holds then.

A session is known by the SHA-256 of its token, as in memory: the file opens no session. What is kept of it is sealed (AES-256-GCM) under
a key that follows from that of the patients' table, so that who can write the file and nothing else cannot make one up. The file says
nothing that matters to the record; it can be deleted at any time, and then everybody logs in again.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from api.side_file import open_side_file
from audit.roles import Role

SESSIONS_FILE = Path("sessions.db")
_NONCE = 12
_TABLE = "CREATE TABLE IF NOT EXISTS sessions (key TEXT PRIMARY KEY, sealed BLOB NOT NULL)"


@dataclass(frozen=True, slots=True)
class KeptSession:
    """What is kept of a session. `key`: SHA-256 of its token, hex. `until`: when it ends, UTC."""

    key: str
    username: str
    name: str
    roles: frozenset[Role]
    remote: bool
    must_change: str
    until: datetime


class OpenSessions:
    """The file of open sessions.

    A disk that takes nothing now costs a log-in after the next start, or brings back, locked, a session that was closed; it is no reason
    to refuse either act. Lifetime: that of the process. Concurrency: one lock; safe for several threads.
    """

    def __init__(self, path: Path, secret: bytes) -> None:
        """`secret`: the site's key of patients' data, as its file has it. A file that is damaged is begun anew."""
        self._cipher = AESGCM(HKDF(SHA256(), 32, None, b"dosewright open sessions").derive(secret))
        self._lock = threading.Lock()
        self._connection = open_side_file(path, _TABLE)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def keep(self, session: KeptSession) -> None:
        """Keep a session that was opened, or opened again."""
        text = {
            "username": session.username,
            "name": session.name,
            "roles": sorted(role.value for role in session.roles),
            "remote": session.remote,
            "must_change": session.must_change,
            "until": session.until.isoformat(),
        }
        nonce = os.urandom(_NONCE)
        sealed = nonce + self._cipher.encrypt(nonce, json.dumps(text).encode(), session.key.encode())
        with self._lock, suppress(sqlite3.Error):
            self._connection.execute("INSERT OR REPLACE INTO sessions VALUES (?, ?)", (session.key, sealed))

    def forget(self, keys: Iterable[str]) -> None:
        """Forget sessions that have ended."""
        with self._lock, suppress(sqlite3.Error):
            self._connection.executemany("DELETE FROM sessions WHERE key = ?", [(key,) for key in keys])

    def read(self) -> tuple[KeptSession, ...]:
        """Return what was kept. What was not sealed here, or is of another version, is passed over."""
        with self._lock:
            rows = self._connection.execute("SELECT key, sealed FROM sessions ORDER BY key").fetchall()
        found = (self._unsealed(str(key), bytes(sealed)) for key, sealed in rows)
        return tuple(session for session in found if session is not None)

    def _unsealed(self, key: str, sealed: bytes) -> KeptSession | None:
        try:
            text = json.loads(self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], key.encode()))
            return KeptSession(
                key=key,
                username=text["username"],
                name=text["name"],
                roles=frozenset(Role(role) for role in text["roles"]),
                remote=text["remote"],
                must_change=text["must_change"],
                until=datetime.fromisoformat(text["until"]).astimezone(UTC),
            )
        except (InvalidTag, ValueError, KeyError):
            return None
