"""First-run set-up: the first administrator, made once, by whoever has the token that `dosewright site create` showed.

No password comes with the product. The token is kept as its SHA-256, in a file that its owner alone can read, and goes
with its use. Once there is an administrator, nothing here opens again.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

from api.certificates import write_private
from api.errors import SiteExists, WrongState
from audit.canonical import JsonObject
from audit.clock import utc_text
from audit.errors import LoginFailed
from audit.events import SYSTEM
from audit.identity import Identity, Role

TOKEN_HOURS = 72
_TRIES = 10


def write_token(path: Path, now: str) -> str:
    """Make a token, keep its digest and its end in a new file, and return it. `now` as in the trail."""
    token = secrets.token_urlsafe(24)
    until = datetime.fromisoformat(now).replace(tzinfo=UTC) + timedelta(hours=TOKEN_HOURS)
    kept = {"sha256": hashlib.sha256(token.encode()).hexdigest(), "until": utc_text(until)}
    write_private(path, json.dumps(kept).encode())
    return token


class SetUp:
    """The set-up of one site. Concurrency: any thread; of two who answer at once, one makes the account."""

    def __init__(self, identity: Identity, token_file: Path) -> None:
        self._identity = identity
        self._token_file = token_file
        self._wrong = 0
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        """True while the site has no administrator and a token waits."""
        return self._token_file.exists() and not self._has_administrator()

    def create_administrator(self, token: str, username: str, full_name: str, password: str) -> JsonObject:
        """Make the first administrator. Raises WrongState where that was done, LoginFailed for a wrong token, AccessDenied."""
        with self._lock:
            if self._has_administrator():
                raise SiteExists("This site is set up: it has an administrator.", remedy="Log in; an administrator makes further accounts.")
            self._check(token)
            person = self._identity.create_person(username, full_name, [Role.ADMINISTRATOR], password, SYSTEM)
            self._token_file.unlink()
        return {"username": person.username, "name": person.name, "roles": [role.value for role in person.roles]}

    def _has_administrator(self) -> bool:
        return any(person.has(Role.ADMINISTRATOR) for person in self._identity.people())

    def _check(self, token: str) -> None:
        if self._wrong >= _TRIES:
            raise WrongState("Too many wrong tokens.", remedy="Start the workstation again to try again.")
        try:
            kept = json.loads(self._token_file.read_text(encoding="ascii"))
        except FileNotFoundError:
            raise WrongState("No set-up token waits.", remedy="Make one: dosewright site token FOLDER.") from None
        given = hashlib.sha256(token.strip().encode()).hexdigest()
        if not hmac.compare_digest(given, str(kept["sha256"])):
            self._wrong += 1
            raise LoginFailed("This is not the set-up token.", remedy="Type it as it was shown in the terminal.")
        if str(kept["until"]) <= self._identity.clock.utc().at:
            raise WrongState("The set-up token is too old.", remedy="Make another: dosewright site token FOLDER.")
