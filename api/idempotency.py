"""Idempotency keys: a request that is sent again because its answer was lost is answered again, and done once.

A client that changes something may send `Idempotency-Key` (a value of its own, 16 to 128 characters). The first answer is kept for a day
in a file of its own, beside the store, and given again to the same person, method, path, query and body. A request whose first try was cut
off by the end of the process is not carried out again: nobody here knows how far it came, and the answer says so. A session that is locked,
or whose password has to be changed, is given nothing from memory: its requests go to their routes, which refuse them.

The file says nothing that matters to the record; it can be deleted at any time. Passwords are in no fingerprint. An answer may name a
patient (a label does), so the bodies are sealed (AES-256-GCM) under a key that follows from that of the patients' table.
Source: IETF draft-ietf-httpapi-idempotency-key-header-06.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sqlite3
import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem
from api.security import API, STOP_PATH, Session
from api.side_file import open_side_file
from audit.clock import Clock

HEADER = "idempotency-key"
ANSWERS_FILE = Path("answers.db")
KEPT_US = 24 * 3600 * 1_000_000
_FORM = re.compile(r"[\x21-\x7e]{16,128}\Z")
_SECRET = frozenset({"password", "new_password", "code", "pin"})
_LARGEST_KEPT = 1 << 20
_NONCE = 12
_END_OF_LINE = b"\n"  # no header has one
_TABLE = (
    "CREATE TABLE IF NOT EXISTS answers (person TEXT, key TEXT, fingerprint TEXT NOT NULL, at_us INTEGER NOT NULL, "
    "status INTEGER, media_type TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (person, key))"
)
_REFUSED_FIRST = frozenset({HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS})
"""Answers that come before anything is done: the request may be corrected and sent again under its key."""
# Log-in, passwords and STOP are never answered from memory; nor is what shows a password that was issued, this once.
_NEVER = re.compile(rf"{API}/session(/.*)?\Z|{API}/people(/[^/]+/password)?\Z|{STOP_PATH.pattern}")


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is known of a key: the fingerprint of its request, and its answer, None while there is none.

    `disposition`: how a file is to be taken and what it is called (Content-Disposition), empty where the answer is none.
    """

    fingerprint: str
    status: int | None
    media_type: str = ""
    disposition: str = ""
    body: bytes = b""


class KeptAnswers:
    """The answers by person and key.

    Lifetime: that of the process; `close` lets go of the file. Concurrency: one lock; safe for several threads.
    """

    def __init__(self, path: Path, clock: Clock, secret: bytes) -> None:
        """`secret`: the site's key of patients' data, as its file has it. A file that is damaged is begun anew."""
        self._clock = clock
        self._cipher = AESGCM(HKDF(SHA256(), 32, None, b"dosewright kept answers and their names").derive(secret))
        self._lock = threading.Lock()
        self._connection = open_side_file(path, _TABLE)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def begin(self, person: str, key: str, fingerprint: str) -> _Kept | None:
        """Note that a request begins; return what is known of its key already, None where it is the first.

        Raises sqlite3.Error where it cannot be noted, as on a full disk.
        """
        now = self._now_us()
        with self._lock:
            self._connection.execute("DELETE FROM answers WHERE at_us < ?", (now - KEPT_US,))
            added = self._connection.execute(
                "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, NULL, '', x'')", (person, key, fingerprint, now)
            )
            if added.rowcount:
                return None
            row = self._connection.execute(
                "SELECT fingerprint, status, media_type, body FROM answers WHERE person = ? AND key = ?", (person, key)
            ).fetchone()
        known, status, media_type, sealed = row
        try:
            kept = self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], known.encode()) if sealed else b""
        except (InvalidTag, ValueError):  # another key, or a changed file: what was answered is not known any more
            return _Kept(known, None)
        disposition, _, body = kept.partition(_END_OF_LINE)
        return _Kept(known, status, media_type, disposition.decode("latin-1"), body)

    def finish(self, person: str, key: str, status: int, media_type: str, body: bytes, disposition: str = "") -> None:
        """Keep the answer of a request that has begun. Raises sqlite3.Error."""
        with self._lock:
            (fingerprint,) = self._connection.execute(
                "SELECT fingerprint FROM answers WHERE person = ? AND key = ?", (person, key)
            ).fetchone() or ("",)
            nonce = os.urandom(_NONCE)
            kept = disposition.encode("latin-1") + _END_OF_LINE + body
            sealed = nonce + self._cipher.encrypt(nonce, kept, fingerprint.encode())
            self._connection.execute(
                "UPDATE answers SET status = ?, media_type = ?, body = ? WHERE person = ? AND key = ?",
                (status, media_type, sealed, person, key),
            )

    def forget(self, person: str, key: str) -> None:
        """Take a key back whose request was refused before anything was done, so that it may be corrected and sent again.

        Raises sqlite3.Error.
        """
        with self._lock:
            self._connection.execute("DELETE FROM answers WHERE person = ? AND key = ? AND status IS NULL", (person, key))

    def _now_us(self) -> int:
        return int(datetime.fromisoformat(self._clock.utc().at).timestamp() * 1_000_000)


class Idempotency:
    """ASGI middleware inside the frontier, so that only a person who is logged in has keys."""

    def __init__(self, app: ASGIApp, *, answers: KeptAnswers) -> None:
        self._app = app
        self._answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        session = scope.get("dosewright_session")
        key = Headers(scope=scope).get(HEADER) if scope["type"] == "http" else None
        if key is None or not isinstance(session, Session) or scope["method"] in {"GET", "HEAD", "OPTIONS"} or _NEVER.match(scope["path"]):
            await self._app(scope, receive, send)
            return
        if session.locked or session.must_change:
            await self._app(scope, receive, send)
            return
        if not _FORM.match(key):
            refused = problem(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "AP-014",
                "Idempotency-Key has 16 to 128 printable ASCII characters.",
                remedy="Send a random value of your own, for example a UUID.",
            )
            await refused(scope, receive, send)
            return
        await self._once(session.username, key, scope, receive, send)

    async def _once(self, person: str, key: str, scope: Scope, receive: Receive, send: Send) -> None:
        body, again = await _body(receive)
        fingerprint = fingerprint_of(str(scope["method"]), _target(scope), body)
        try:
            known = await run_in_threadpool(self._answers.begin, person, key, fingerprint)
        except sqlite3.Error as error:  # nothing is done under a key that nobody would know again
            await _not_noted(error)(scope, receive, send)
            return
        if known is not None:
            await _answer_again(known, fingerprint)(scope, receive, send)
            return
        answer = _Captured(send)
        try:
            await self._app(scope, again, answer.send)
        finally:
            if answer.status is not None and answer.whole and answer.size <= _LARGEST_KEPT:
                await self._keep(person, key, answer.status, answer)

    async def _keep(self, person: str, key: str, status: int, answer: _Captured) -> None:
        # The answer has gone out. What is not kept of it, on a full disk, is not done again: the key has begun, and says so.
        with suppress(sqlite3.Error):
            if status in _REFUSED_FIRST:
                await run_in_threadpool(self._answers.forget, person, key)
            else:
                await run_in_threadpool(
                    self._answers.finish, person, key, status, answer.media_type, b"".join(answer.body), answer.disposition
                )


def _target(scope: Scope) -> str:
    """Return path and query as they were asked for."""
    query = bytes(scope["query_string"]).decode("latin-1")
    return f"{scope['path']}?{query}" if query else str(scope["path"])


def fingerprint_of(method: str, target: str, body: bytes) -> str:
    """Return SHA-256 hex of method, target and body, secrets left out: a digest of a password would be a way to guess it."""
    try:
        shown = json.dumps(_without_secrets(json.loads(body)), sort_keys=True).encode() if body else b""
    except (ValueError, RecursionError):
        shown = b"not json"
    return hashlib.sha256(b"\0".join((method.encode(), target.encode(), shown))).hexdigest()


def _without_secrets(value: object) -> object:
    if isinstance(value, dict):
        return {name: _without_secrets(item) for name, item in value.items() if name not in _SECRET}
    return [_without_secrets(item) for item in value] if isinstance(value, list) else value


def _answer_again(known: _Kept, fingerprint: str) -> Response:
    if known.fingerprint != fingerprint:
        return problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "AP-014",
            "This Idempotency-Key was used for another request.",
            remedy="Take a new key for a new request.",
        )
    if known.status is None:
        return problem(
            HTTPStatus.CONFLICT,
            "AP-011",
            "A request with this key has begun and has not been answered; it may be under way, or was cut off.",
            remedy="Look at the object before you ask again with a new key.",
        )
    named = {"Content-Disposition": known.disposition} if known.disposition else {}
    headers = {"Idempotency-Replayed": "true", **named}
    return Response(known.body, status_code=known.status, media_type=known.media_type or None, headers=headers)


def _not_noted(error: sqlite3.Error) -> Response:
    return problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "HTTP-503",
        f"The workstation cannot note the Idempotency-Key now ({error}); nothing was done.",
        remedy="Look whether the disk is full, and send the request again.",
    )


async def _body(receive: Receive) -> tuple[bytes, Receive]:
    """Read the whole body and return it, with a `receive` that gives it once more."""
    blocks: list[bytes] = []
    more = True
    while more:
        message = await receive()
        blocks.append(message.get("body", b""))
        more = message["type"] == "http.request" and message.get("more_body", False)
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": b"".join(blocks), "more_body": False}

    return b"".join(blocks), again


class _Captured:
    """Sends an answer on and keeps what is needed to give it again."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status: int | None = None
        self.media_type = ""
        self.disposition = ""
        self.body: list[bytes] = []
        self.size = 0
        self.whole = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = Headers(raw=message.get("headers", []))
            self.media_type, self.disposition = headers.get("content-type", ""), headers.get("content-disposition", "")
        elif message["type"] == "http.response.body":
            self.size += len(message.get("body", b""))
            if self.size <= _LARGEST_KEPT:
                self.body.append(message.get("body", b""))
            self.whole = not message.get("more_body", False)
        await self._send(message)
