"""Who may ask what: sessions, permissions by role, and the frontier every request passes.

Deny by default, twice: the frontier refuses every path outside a short public list without a session, and the
application does not start when a route of the interface names no permission. A session is a random token, held here as
its SHA-256 only, in an http-only SameSite=strict cookie or as a bearer token. Requests that change something and carry
a cookie must name this host as their origin; so must every websocket.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from urllib.parse import urlsplit

from fastapi import Request
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import CrossOrigin, NotLoggedIn
from api.problems import problem, problem_of
from audit.clock import Clock
from audit.errors import RoleMissing
from audit.events import EventKind
from audit.identity import Role

COOKIE = "dosewright_session"
API = "/api/v1"
_ANYONE = frozenset(Role)
_GMP = _ANYONE - {Role.ADMINISTRATOR}
_PUBLIC = frozenset({("GET", "/login"), ("POST", f"{API}/session"), ("GET", f"{API}/health"), ("GET", f"{API}/ready")})


class Permission(StrEnum):
    """What a route asks for."""

    SEE = "see"
    ENTER_ORDER = "enter an order"
    CONFIRM_ORDER = "confirm an order"
    CREATE_BATCH = "create a batch"
    RUN = "run a batch"
    CARE = "check or clean a cell"
    RECEIVE_INK = "receive, prepare or weigh ink"
    STOP = "stop a cell"
    ACKNOWLEDGE = "acknowledge an alarm"
    SHELVE = "shelve an alarm"
    CONFIRM_REMOVAL = "confirm a removal"
    CONFIRM_WEIGHT = "weigh a unit as the second person"
    REVIEW = "review a batch"
    RESOLVE = "resolve an exception"
    TAKE_BACK = "take a cartridge back"
    DISPOSE = "sign a disposition"
    EXPORT = "export a package"
    SEARCH_TRAIL = "search the trail"
    MANAGE_PEOPLE = "manage people"
    LOOK_AFTER_STORES = "look after stores and backups"
    HOLD = "hold the documents of a batch"
    ERASE = "erase a patient's identity"
    CHANGE_RECIPES = "take a step of a recipe's life cycle"
    AUTHOR_RECIPES = "write a recipe"
    APPROVE_RECIPES = "approve a recipe or make it effective"
    DEVELOP = "open a recipe for development runs"
    CHANGE_EQUIPMENT = "sign an equipment register"
    CHANGE_MODELS = "take a step of a process model's life cycle"
    AUTHOR_MODELS = "write or test a process model"
    APPROVE_MODELS = "approve a process model, make it effective or reinstate it"
    SUSPEND_MODELS = "suspend a process model"
    MEASURE = "record spectra or a reference check, or have models predict"
    PACK = "pack, label and account for labels"
    REPRINT = "approve a further copy of a label"
    DISPENSE = "dispense a pack or take one back"
    DESTROY_PACK = "destroy a pack"
    RECORD_PATIENT = "record who a patient is"
    OPEN_PATIENT = "read who a patient is"
    SEARCH_RECALL = "search for a recall"
    RECALL = "open, follow or close a recall"


GRANTS: Mapping[Permission, frozenset[Role]] = {
    Permission.SEE: _ANYONE,
    # a process engineer's are for development runs alone; `api.production` holds them to that
    Permission.ENTER_ORDER: frozenset({Role.PHARMACIST, Role.OPERATOR, Role.PROCESS_ENGINEER}),
    Permission.CONFIRM_ORDER: frozenset({Role.PHARMACIST, Role.OPERATOR}),
    Permission.CREATE_BATCH: frozenset({Role.OPERATOR, Role.PHARMACIST, Role.PROCESS_ENGINEER}),
    Permission.RUN: frozenset({Role.OPERATOR, Role.PROCESS_ENGINEER}),
    Permission.CARE: frozenset({Role.OPERATOR, Role.PHARMACIST}),
    Permission.RECEIVE_INK: frozenset({Role.OPERATOR, Role.PHARMACIST, Role.QUALITY_ASSURANCE}),
    Permission.STOP: _ANYONE,
    Permission.ACKNOWLEDGE: frozenset({Role.OPERATOR, Role.PHARMACIST, Role.PROCESS_ENGINEER}),
    Permission.SHELVE: frozenset({Role.OPERATOR, Role.PHARMACIST, Role.PROCESS_ENGINEER}),
    Permission.CONFIRM_REMOVAL: frozenset({Role.OPERATOR, Role.PHARMACIST, Role.QUALITY_ASSURANCE, Role.QUALIFIED_PERSON}),
    Permission.CONFIRM_WEIGHT: frozenset({Role.OPERATOR, Role.PHARMACIST, Role.QUALITY_ASSURANCE, Role.QUALIFIED_PERSON}),
    Permission.REVIEW: _GMP,
    Permission.RESOLVE: frozenset({Role.PHARMACIST, Role.QUALITY_ASSURANCE, Role.QUALIFIED_PERSON}),
    Permission.TAKE_BACK: frozenset({Role.OPERATOR, Role.PHARMACIST}),
    Permission.DISPOSE: frozenset({Role.QUALIFIED_PERSON, Role.PHARMACIST, Role.QUALITY_ASSURANCE}),
    Permission.EXPORT: frozenset({Role.PHARMACIST, Role.QUALIFIED_PERSON, Role.QUALITY_ASSURANCE}),
    Permission.SEARCH_TRAIL: _ANYONE,
    Permission.MANAGE_PEOPLE: frozenset({Role.ADMINISTRATOR}),
    Permission.LOOK_AFTER_STORES: frozenset({Role.ADMINISTRATOR}),
    Permission.HOLD: frozenset({Role.QUALITY_ASSURANCE, Role.QUALIFIED_PERSON}),
    Permission.ERASE: frozenset({Role.PHARMACIST, Role.QUALITY_ASSURANCE, Role.QUALIFIED_PERSON}),
    # which step is whose is for the life cycle to say, which puts a refusal on record
    Permission.CHANGE_RECIPES: _GMP,
    Permission.AUTHOR_RECIPES: frozenset({Role.PROCESS_ENGINEER, Role.PHARMACIST}),
    Permission.APPROVE_RECIPES: frozenset({Role.QUALITY_ASSURANCE, Role.QUALIFIED_PERSON}),
    Permission.DEVELOP: frozenset({Role.PROCESS_ENGINEER}),
    Permission.CHANGE_EQUIPMENT: frozenset({Role.QUALITY_ASSURANCE}),
    Permission.CHANGE_MODELS: _GMP,
    Permission.AUTHOR_MODELS: frozenset({Role.PROCESS_ENGINEER, Role.PHARMACIST}),
    Permission.APPROVE_MODELS: frozenset({Role.QUALITY_ASSURANCE, Role.QUALIFIED_PERSON}),
    Permission.SUSPEND_MODELS: _GMP,
    Permission.MEASURE: _GMP,
    Permission.PACK: frozenset({Role.OPERATOR, Role.PHARMACIST}),
    Permission.REPRINT: frozenset({Role.OPERATOR, Role.PHARMACIST, Role.QUALITY_ASSURANCE}),
    Permission.DISPENSE: frozenset({Role.PHARMACIST}),
    Permission.DESTROY_PACK: frozenset({Role.PHARMACIST, Role.QUALITY_ASSURANCE}),
    Permission.RECORD_PATIENT: frozenset({Role.PHARMACIST}),
    Permission.OPEN_PATIENT: frozenset({Role.PHARMACIST, Role.QUALIFIED_PERSON}),
    Permission.SEARCH_RECALL: frozenset({Role.PHARMACIST, Role.QUALIFIED_PERSON, Role.QUALITY_ASSURANCE}),
    Permission.RECALL: frozenset({Role.PHARMACIST, Role.QUALIFIED_PERSON}),
}


@dataclass(frozen=True, slots=True)
class Session:
    """One log-in. `expires` is process time in microseconds."""

    username: str
    name: str
    roles: frozenset[Role]
    expires: int

    def role_for(self, permission: Permission) -> Role:
        """Return the role under which this person acts, or raise RoleMissing."""
        granted = self.roles & GRANTS[permission]
        if not granted:
            raise RoleMissing(
                f"{self.username} may not {permission.value}.",
                remedy=f"It takes one of the roles: {', '.join(sorted(role.value for role in GRANTS[permission]))}.",
            )
        return min(granted, key=lambda role: list(Role).index(role))


class Sessions:
    """The open sessions of this process; none survives a restart.

    Lifetime: that of the process. Concurrency: one lock; safe for several threads.
    """

    def __init__(self, clock: Clock, minutes: int) -> None:
        self._clock = clock
        self._span = minutes * 60 * 1_000_000
        self._open: dict[str, Session] = {}
        self._lock = threading.Lock()

    def open(self, username: str, name: str, roles: Iterable[Role]) -> str:
        """Open a session and return its token, which is shown this once."""
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._open[_fingerprint(token)] = Session(username, name, frozenset(roles), self._clock.now() + self._span)
        return token

    def find(self, token: str) -> Session | None:
        with self._lock:
            session = self._open.get(_fingerprint(token))
            if session is not None and session.expires <= self._clock.now():
                del self._open[_fingerprint(token)]
                return None
            return session

    def close(self, token: str) -> None:
        with self._lock:
            self._open.pop(_fingerprint(token), None)

    def close_person(self, username: str) -> None:
        """End all sessions of one person."""
        with self._lock:
            for key in [key for key, session in self._open.items() if session.username == username]:
                del self._open[key]


def _fingerprint(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def token_of(connection: HTTPConnection) -> tuple[str, bool]:
    """Return the token a request carries and whether it came in a cookie."""
    scheme, _, value = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value:
        return value.strip(), False
    return connection.cookies.get(COOKIE, ""), True


def session_of(connection: HTTPConnection) -> Session:
    """Return the session the frontier found for this request, or raise NotLoggedIn."""
    session: object = connection.scope.get("dosewright_session")
    if not isinstance(session, Session):
        raise NotLoggedIn("There is no open session.", remedy="Log in first.")
    return session


@dataclass(frozen=True, slots=True)
class Guard:
    """A route's declaration: the permission it asks for and the kinds of entry it may write (none for a reading route)."""

    permission: Permission
    kinds: tuple[EventKind, ...] = ()

    def __call__(self, request: Request) -> Session:
        session = session_of(request)
        session.role_for(self.permission)
        return session


def guard(permission: Permission, *kinds: EventKind) -> Guard:
    return Guard(permission, kinds)


class Frontier:
    """ASGI middleware: host, origin and log-in of every request and websocket; security headers on every answer."""

    def __init__(self, app: ASGIApp, *, sessions: Sessions, hosts: frozenset[str]) -> None:
        self._app = app
        self._sessions = sessions
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        token, from_cookie = token_of(connection)
        session = self._sessions.find(token) if token else None
        scope["dosewright_session"] = session
        if scope["type"] == "websocket":
            if session is None or not self._own_origin(connection, needed=True):
                await send({"type": "websocket.close", "code": 1008, "reason": "log in first"})
                return
            await self._app(scope, receive, send)
            return
        await self._http(connection, session, from_cookie, receive, send)

    async def _http(self, connection: HTTPConnection, session: Session | None, from_cookie: bool, receive: Receive, send: Send) -> None:
        scope = connection.scope
        path, method = str(scope["path"]), str(scope["method"])
        sealed = _with_headers(send, path)
        if _host_name(connection.headers.get("host", "")) not in self._hosts:
            answer: ASGIApp = problem(HTTPStatus.MISDIRECTED_REQUEST, "AP-021", "This is not the name of this workstation.")
        elif method not in {"GET", "HEAD"} and from_cookie and not self._own_origin(connection, needed=session is not None):
            foreign = CrossOrigin("The request comes from a page of another site.", remedy="Use the workstation's own page.")
            answer = problem_of(foreign, connection)
        elif session is None and (method, path) not in _PUBLIC:
            if method in {"GET", "HEAD"} and not path.startswith(("/api", "/_nicegui")):
                answer = RedirectResponse("/login", status_code=HTTPStatus.SEE_OTHER)
            else:
                answer = problem_of(NotLoggedIn("There is no open session.", remedy="Log in first."), connection)
        else:
            answer = self._app
        await answer(scope, receive, sealed)

    def _own_origin(self, connection: HTTPConnection, *, needed: bool) -> bool:
        """True where the Origin header names the host that was asked; without the header, where none is needed."""
        host = connection.headers.get("host", "")
        origin = connection.headers.get("origin")
        if connection.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
            return False
        if origin is None:
            return not needed
        return bool(host) and urlsplit(origin).netloc == host and _host_name(host) in self._hosts


def _host_name(host: str) -> str:
    name, _, port = host.rpartition(":")
    return name if name and port.isdigit() else host


# NiceGUI compiles its templates in the browser and injects style and script elements: that is what the two "unsafe"
# words are for. They hold for its pages alone; the interface and the log-in page have none.
_PAGE_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'none'"
)
_STRICT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    # not "no-referrer": with that a browser sends "Origin: null" with a form, and the origin check would refuse STOP
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=()"),
)


def _with_headers(send: Send, path: str) -> Send:
    strict = path.startswith("/api") or path == "/login"

    async def sealed(message: Message) -> None:
        if message["type"] == "http.response.start":
            policy = _STRICT_POLICY if strict else _PAGE_POLICY
            headers = [*message.get("headers", []), *_HEADERS, (b"content-security-policy", policy.encode())]
            if strict or path in ("/", "/trail"):
                headers.append((b"cache-control", b"no-store"))
            message = {**message, "headers": headers}
        await send(message)

    return sealed
