"""The frontier: host, perimeter, origin and log-in of every request and websocket; security headers on every answer."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import CrossOrigin, NotLoggedIn, RemoteRefused
from api.perimeter import Origin, Perimeter
from api.problems import problem, problem_of, unforeseen
from api.security import API, Session, Sessions, token_of
from api.workstation.places import CELL, PLACES

PUBLIC = frozenset(
    {
        ("GET", "/login"),
        ("GET", "/set-up"),
        ("GET", "/passkey.js"),
        ("POST", "/language"),
        ("POST", f"{API}/session"),
        ("POST", f"{API}/session/passkey"),
        ("POST", f"{API}/set-up"),
        ("GET", f"{API}/health"),
        ("GET", f"{API}/ready"),
    }
)
"""What is open without a session; none of it shows anything of the site but that it is there."""


class Frontier:
    """ASGI middleware: host, origin and log-in of every request and websocket; security headers on every answer."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        sessions: Sessions,
        hosts: frozenset[str],
        perimeter: Perimeter,
        record_ends: Callable[[], object] = lambda: None,
    ) -> None:
        self._app = app
        self._sessions = sessions
        self._hosts = hosts
        self._perimeter = perimeter
        self._record_ends = record_ends

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        token, from_cookie = token_of(connection)
        session = self._sessions.find(token) if token else None
        origin = self._perimeter.judge(connection)
        if session is not None and origin.remote and not session.remote:
            session = None  # a session that began inside is worth nothing outside: it never showed a second factor
        scope["dosewright_session"], scope["dosewright_origin"] = session, origin
        if scope["type"] == "websocket":
            if session is None or not _private(origin) or not self._own_origin(connection, needed=True):
                await send({"type": "websocket.close", "code": 1008, "reason": "log in first"})
                return
            await self._watched(scope, receive, send, token)
            return
        await self._http(connection, session, from_cookie, origin, receive, send)
        if self._sessions.ends():
            await run_in_threadpool(self._record_ends)

    async def _watched(self, scope: Scope, receive: Receive, send: Send, token: str) -> None:
        """Let a websocket live as long as its session: with the first message after its end, either way, it is closed."""
        closed = False

        async def receiving() -> Message:
            nonlocal closed
            message = await receive()
            if message["type"] == "websocket.receive" and self._sessions.find(token) is None:
                if not closed:
                    closed = True
                    await send({"type": "websocket.close", "code": 1008, "reason": "the session has ended"})
                return {"type": "websocket.disconnect", "code": 1008}
            return message

        async def sending(message: Message) -> None:
            nonlocal closed
            if closed:
                return
            if message["type"] == "websocket.send" and self._sessions.find(token) is None:
                closed = True
                message = {"type": "websocket.close", "code": 1008, "reason": "the session has ended"}
            await send(message)

        await self._app(scope, receiving, sending)

    async def _http(
        self, connection: HTTPConnection, session: Session | None, from_cookie: bool, origin: Origin, receive: Receive, send: Send
    ) -> None:
        scope, begun = connection.scope, False
        path, method = str(scope["path"]), str(scope["method"])
        with_headers = _with_headers(send, path, encrypted=origin.encrypted)

        async def sealed(message: Message) -> None:
            nonlocal begun
            begun = True
            await with_headers(message)

        if _host_name(connection.headers.get("host", "")) not in self._hosts:
            answer: ASGIApp = problem(HTTPStatus.MISDIRECTED_REQUEST, "AP-021", "This is not the name of this workstation.")
        elif not _private(origin):
            answer = _to_https(connection)
        elif method not in {"GET", "HEAD"} and from_cookie and not self._own_origin(connection, needed=session is not None):
            foreign = CrossOrigin("The request comes from a page of another site.", remedy="Use the workstation's own page.")
            answer = problem_of(foreign, connection)
        elif session is None and (method, path) not in PUBLIC:
            if method in {"GET", "HEAD"} and not path.startswith(("/api", "/_nicegui")):
                answer = RedirectResponse("/login", status_code=HTTPStatus.SEE_OTHER)
            else:
                answer = problem_of(NotLoggedIn("There is no open session.", remedy="Log in first."), connection)
        else:
            answer = self._app
            if session is not None and _is_a_persons(connection):
                self._sessions.touch(token_of(connection)[0])
        try:
            await answer(scope, receive, sealed)
        except Exception:  # it goes on to the server's log; who asked is answered here, under the same headers as always
            if not begun:
                await unforeseen()(scope, receive, sealed)
            raise

    def _own_origin(self, connection: HTTPConnection, *, needed: bool) -> bool:
        """True where the Origin header names the host that was asked; without the header, where none is needed."""
        host = connection.headers.get("host", "")
        origin = connection.headers.get("origin")
        if connection.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
            return False
        if origin is None:
            return not needed
        return bool(host) and urlsplit(origin).netloc == host and _host_name(host) in self._hosts


def _private(origin: Origin) -> bool:
    """Whether nobody on the way can read along: it is encrypted, or it never left this machine."""
    return origin.encrypted or origin.here


def _to_https(connection: HTTPConnection) -> ASGIApp:
    """Lead a page to its encrypted address; refuse everything else, so that no program goes on in the clear."""
    path, method = str(connection.scope["path"]), str(connection.scope["method"])
    if method in {"GET", "HEAD"} and not path.startswith(("/api", "/_nicegui")):
        return RedirectResponse(str(connection.url.replace(scheme="https")), status_code=HTTPStatus.PERMANENT_REDIRECT)
    return problem_of(RemoteRefused("The way here is not encrypted.", remedy="Use the site's https address."), connection)


def _is_a_persons(connection: HTTPConnection) -> bool:
    """True for what a person does: a change, or a page that a browser says a person asked for. Polling is neither."""
    path, method = str(connection.scope["path"]), str(connection.scope["method"])
    if path.startswith("/_nicegui"):
        return False
    return method not in {"GET", "HEAD"} or connection.headers.get("sec-fetch-user") == "?1"


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
# the log-in page asks for a passkey with one script of its own, which is a file
_LOGIN_POLICY = f"{_STRICT_POLICY}; script-src 'self'; connect-src 'self'"
_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    # not "no-referrer": with that a browser sends "Origin: null" with a form, and the origin check would refuse STOP
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=()"),
)
# for this host alone: other hosts of its domain are for others to decide
_PAGES = frozenset(place.path for place in (CELL, *PLACES))
"""Pages, which no browser and no proxy keeps."""
_ONLY_ENCRYPTED = (b"strict-transport-security", b"max-age=31536000")


def _with_headers(send: Send, path: str, *, encrypted: bool) -> Send:
    by_hand = path in ("/login", "/set-up", f"{API}/session")  # a refused log-in shows its page again there
    strict = path.startswith("/api") or by_hand

    async def sealed(message: Message) -> None:
        if message["type"] == "http.response.start":
            policy = _LOGIN_POLICY if by_hand else _STRICT_POLICY if strict else _PAGE_POLICY
            headers = [*message.get("headers", []), *_HEADERS, (b"content-security-policy", policy.encode())]
            if encrypted:
                headers.append(_ONLY_ENCRYPTED)
            if strict or path in _PAGES:
                headers.append((b"cache-control", b"no-store"))
            message = {**message, "headers": headers}
        await send(message)

    return sealed
