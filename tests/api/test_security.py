"""Deny by default: every route, every role, origin, websocket, headers."""

from __future__ import annotations

import asyncio
from ipaddress import ip_network
from typing import Any

import pytest
from anyio.to_thread import current_default_thread_limiter
from fastapi import APIRouter

from api import app as application
from api import routes_devices, routes_stores
from api.app import create_app, guards
from api.dependencies import today_of
from api.errors import WorkstationError
from api.frontier import Frontier
from api.perimeter import Perimeter
from api.security import COOKIE, GRANTS, Permission, Sessions
from audit.clock import SystemClock, UtcReading
from audit.identity import Role
from audit.restore_test import Due

INSIDE_ALL = Perimeter((ip_network("127.0.0.0/8"),))
READING = {"GET", "HEAD"}
# what is open before log-in, written out once more: log-in itself, its question for a passkey, first-run set-up, their pages and language
WITHOUT = {
    ("POST", "/api/v1/session"),
    ("POST", "/api/v1/session/passkey"),
    ("POST", "/api/v1/set-up"),
    ("GET", "/login"),
    ("GET", "/set-up"),
    ("GET", "/passkey.js"),
    ("POST", "/language"),
    ("GET", "/api/v1/health"),
    ("GET", "/api/v1/ready"),
}
# routes that compute from what is sent, or hand out a challenge: none of them writes
WITHOUT_ENTRY = {"/api/v1/doses", "/api/v1/session/signing-challenge", "/api/v1/fhir/prescription", "/api/v1/recalls/search"}
ACCOUNTS = {
    Role.ADMINISTRATOR: "administrator",
    Role.PROCESS_ENGINEER: "engineer",
    Role.QUALITY_ASSURANCE: "quality",
    Role.PHARMACIST: "pharmacist",
    Role.OPERATOR: "operator",
    Role.QUALIFIED_PERSON: "qp",
}


def _routes(bench: Any) -> list[tuple[str, str, Any]]:
    found = []
    for route, guard in guards(bench.client.app.app if hasattr(bench.client.app, "app") else bench.client.app):
        path = route.path.replace("{order}", "O9").replace("{batch}", "B9").replace("{cell}", "cell-9").replace("{number}", "1")
        path = path.replace("{username}", "nobody").replace("{recipe}", "none").replace("{version}", "none@1")
        path = path.replace("/feed", "/feed?once=true")  # a feed that goes on would be waited for
        found += [(method, path, guard) for method in sorted(route.methods or ())]
    return found


def test_every_mutating_route_declares_permission_and_kind_of_entry(bench: Any) -> None:
    mutating = [(method, path, guard) for method, path, guard in _routes(bench) if method not in READING and (method, path) not in WITHOUT]
    assert len(mutating) >= 15
    for method, path, guard in mutating:
        assert guard is not None, f"{method} {path} declares no permission"
        assert guard.kinds or path in WITHOUT_ENTRY, f"{method} {path} declares no kind of entry"


def test_application_with_an_undeclared_route_does_not_start(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    router = APIRouter()

    @router.post("/api/v1/open")
    def open_door() -> None: ...

    monkeypatch.setattr(application, "_ROUTERS", (*application._ROUTERS, router))
    with pytest.raises(WorkstationError, match="/api/v1/open"):
        create_app(bench.workstation, page=False)


def test_without_session_every_route_is_closed(bench: Any) -> None:
    for method, path, _ in _routes(bench):
        if (method, path) in WITHOUT:
            continue
        answer = bench.client.request(method, path)
        assert answer.status_code == 401, f"{method} {path}"
        assert answer.json()["code"] == "AP-020"
    for path in ("/api/v1/openapi.json", "/api/v1/nothing", "/_nicegui/anything"):
        assert bench.client.get(path).status_code == 401
    assert bench.client.get("/", follow_redirects=False).headers["location"] == "/login"


@pytest.mark.parametrize("role", list(Role))
def test_role_by_route(bench: Any, role: Role) -> None:
    """403 exactly where the table does not grant the permission; elsewhere anything but 401 and 403."""
    for method, path, guard in _routes(bench):
        if guard is None or path.startswith("/api/v1/session"):
            continue
        answer = bench.ask(ACCOUNTS[role], method, path.removeprefix("/api/v1"))
        if role in GRANTS[guard.permission]:
            assert answer.status_code not in (401, 403), f"{role} {method} {path}: {answer.text}"
        else:
            assert answer.status_code == 403 and answer.json()["code"] == "AU-022", f"{role} {method} {path}"


def test_table_of_grants() -> None:
    """The whole table, written out once more: a change of it must be made twice."""
    everyone = set(Role)
    production = {Role.OPERATOR, Role.PHARMACIST}
    expected = {
        Permission.SEE: everyone,
        Permission.SEARCH_TRAIL: everyone,
        Permission.STOP: everyone,
        Permission.ENTER_ORDER: production | {Role.PROCESS_ENGINEER},
        Permission.CONFIRM_ORDER: production,
        Permission.CREATE_BATCH: production | {Role.PROCESS_ENGINEER},
        Permission.CANCEL_BATCH: production | {Role.PROCESS_ENGINEER},
        Permission.RUN: {Role.OPERATOR, Role.PROCESS_ENGINEER},
        Permission.CARE: production,
        Permission.ACKNOWLEDGE: production | {Role.PROCESS_ENGINEER},
        Permission.SHELVE: production | {Role.PROCESS_ENGINEER},
        Permission.CONFIRM_REMOVAL: production | {Role.QUALITY_ASSURANCE, Role.QUALIFIED_PERSON},
        Permission.CONFIRM_WEIGHT: production | {Role.QUALITY_ASSURANCE, Role.QUALIFIED_PERSON},
        Permission.REVIEW: everyone - {Role.ADMINISTRATOR},
        Permission.RESOLVE: {Role.QUALIFIED_PERSON, Role.PHARMACIST, Role.QUALITY_ASSURANCE},
        Permission.TAKE_BACK: production,
        Permission.RECEIVE_INK: production | {Role.QUALITY_ASSURANCE},
        Permission.DISPOSE: {Role.QUALIFIED_PERSON, Role.PHARMACIST, Role.QUALITY_ASSURANCE},
        Permission.EXPORT: {Role.QUALIFIED_PERSON, Role.PHARMACIST, Role.QUALITY_ASSURANCE},
        Permission.MANAGE_PEOPLE: {Role.ADMINISTRATOR},
        Permission.PACK: production,
        Permission.REPRINT: production | {Role.QUALITY_ASSURANCE},
        Permission.DISPENSE: {Role.PHARMACIST},
        Permission.DESTROY_PACK: {Role.PHARMACIST, Role.QUALITY_ASSURANCE},
        Permission.RECORD_PATIENT: {Role.PHARMACIST},
        Permission.OPEN_PATIENT: {Role.PHARMACIST, Role.QUALIFIED_PERSON},
        Permission.SEARCH_RECALL: {Role.PHARMACIST, Role.QUALIFIED_PERSON, Role.QUALITY_ASSURANCE},
        Permission.RECALL: {Role.PHARMACIST, Role.QUALIFIED_PERSON},
        Permission.LOOK_AFTER_STORES: {Role.ADMINISTRATOR},
        Permission.HOLD: {Role.QUALIFIED_PERSON, Role.QUALITY_ASSURANCE},
        Permission.ERASE: {Role.QUALIFIED_PERSON, Role.QUALITY_ASSURANCE, Role.PHARMACIST},
        Permission.SEE_ACCESS: {Role.ADMINISTRATOR, Role.QUALITY_ASSURANCE},
        Permission.REVIEW_ACCESS: {Role.QUALITY_ASSURANCE},
        Permission.CHANGE_MODELS: everyone - {Role.ADMINISTRATOR},
        Permission.AUTHOR_MODELS: {Role.PROCESS_ENGINEER, Role.PHARMACIST},
        Permission.APPROVE_MODELS: {Role.QUALITY_ASSURANCE, Role.QUALIFIED_PERSON},
        Permission.SUSPEND_MODELS: everyone - {Role.ADMINISTRATOR},
        Permission.MEASURE: everyone - {Role.ADMINISTRATOR},
        Permission.CHANGE_RECIPES: everyone - {Role.ADMINISTRATOR},
        Permission.AUTHOR_RECIPES: {Role.PROCESS_ENGINEER, Role.PHARMACIST},
        Permission.APPROVE_RECIPES: {Role.QUALITY_ASSURANCE, Role.QUALIFIED_PERSON},
        Permission.DEVELOP: {Role.PROCESS_ENGINEER},
        Permission.CHANGE_EQUIPMENT: {Role.QUALITY_ASSURANCE},
        Permission.MAINTAIN: production | {Role.PROCESS_ENGINEER, Role.QUALITY_ASSURANCE},
        Permission.TRAIN: {Role.PHARMACIST, Role.PROCESS_ENGINEER, Role.QUALITY_ASSURANCE},
    }
    assert {permission: set(roles) for permission, roles in GRANTS.items()} == expected


def _cookie(bench: Any, username: str = "operator") -> dict[str, str]:
    return {COOKIE: bench.token(username)}


def test_log_in_by_form_sets_a_strict_cookie(bench: Any) -> None:
    form = {"username": "operator", "password": bench.site.passwords["operator"]}
    answer = bench.client.post("/api/v1/session", data=form, headers={"Origin": "http://localhost:8080"}, follow_redirects=False)
    assert answer.status_code == 303 and answer.headers["location"] == "/today"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie and COOKIE in cookie


def test_cookie_needs_own_origin_for_changes(bench: Any) -> None:
    bench.client.cookies = _cookie(bench)
    bench.cell.status_now = {**bench.cell.status_now, "run": "B00001-R1"}
    for headers in (
        {},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:8080", "Sec-Fetch-Site": "cross-site"},
    ):
        assert bench.client.post("/api/v1/cells/cell-1/stop", headers=headers).status_code == 403, headers
    assert bench.cell.asked == []
    answer = bench.client.post("/api/v1/cells/cell-1/stop", headers={"Origin": "http://localhost:8080"})
    assert answer.status_code == 200 and bench.cell.asked == [("stop.quickstop", "operator")]


def test_stop_as_a_form_leads_back_to_the_page(bench: Any) -> None:
    bench.client.cookies = _cookie(bench, "quality")
    bench.cell.status_now = {**bench.cell.status_now, "run": "B00001-R1"}
    headers = {"Origin": "http://localhost:8080", "Accept": "text/html"}
    answer = bench.client.post("/api/v1/cells/cell-1/stop", data={"strength": "kill"}, headers=headers, follow_redirects=False)
    assert answer.status_code == 303 and bench.cell.asked == [("stop.kill", "quality")]


@pytest.mark.parametrize("body", [b"", b"{", b"strength=nonsense", b"x" * 10_000])
def test_stop_that_cannot_be_read_still_stops(bench: Any, body: bytes) -> None:
    bench.cell.status_now = {**bench.cell.status_now, "run": "B00001-R1"}
    headers = {"Authorization": f"Bearer {bench.token('operator')}", "Content-Type": "application/json"}
    assert bench.client.post("/api/v1/cells/cell-1/stop", content=body, headers=headers).status_code == 200
    assert bench.cell.asked == [("stop.quickstop", "operator")]


async def asked_to_stop(bench: Any, messages: list[Any], *headers: tuple[bytes, bytes]) -> list[Any]:
    """Ask for STOP as a server hands it over; after the messages, nothing comes. Returns the answer's messages."""
    sent: list[Any] = []

    async def receive() -> Any:
        if not messages:
            await asyncio.Event().wait()
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/api/v1/cells/cell-1/stop",
        "query_string": b"",
        "headers": [(b"host", b"localhost:8080"), (b"authorization", f"Bearer {bench.token('operator')}".encode()), *headers],
        "client": ("127.0.0.1", 5),
        "server": ("localhost", 8080),
    }
    await bench.client.app(scope, receive, send)
    return sent


LAST = {"type": "http.request", "body": b"", "more_body": False}
FORM = (b"content-type", b"application/x-www-form-urlencoded")


@pytest.mark.parametrize(
    ("messages", "header"),
    [
        ([{"type": "http.request", "body": b"strength=ki", "more_body": True}, {"type": "http.disconnect"}], FORM),
        ([{"type": "http.request", "body": b"", "more_body": True}], FORM),
        ([{"type": "http.request", "body": b"", "more_body": True}], (b"content-length", b"9000000")),
        ([{"type": "http.request", "body": b"x" * 5000, "more_body": True}], FORM),
    ],
    ids=["cut off", "never whole", "announced too long", "too long"],
)
def test_stop_whose_body_does_not_come_still_stops(bench: Any, monkeypatch: Any, messages: list[Any], header: tuple[bytes, bytes]) -> None:
    monkeypatch.setattr(routes_devices, "_PATIENCE_S", 0.01)
    bench.cell.status_now = {**bench.cell.status_now, "run": "B00001-R1"}
    assert asyncio.run(asyncio.wait_for(asked_to_stop(bench, messages, header), 20))[0]["status"] == 200
    assert bench.cell.asked == [("stop.quickstop", "operator")]


def test_a_long_reason_does_not_make_a_stop_weaker(bench: Any, monkeypatch: Any) -> None:
    reasons: list[str] = []
    monkeypatch.setattr(bench.cell, "stop", lambda run, strength, actor, reason: reasons.append(f"{strength} {reason}"))
    bench.cell.status_now = {**bench.cell.status_now, "run": "B00001-R1"}
    body = {"strength": "kill", "reason": "x" * 501}
    assert bench.ask("operator", "POST", "/cells/cell-1/stop", body).status_code == 200
    headers = {"Authorization": f"Bearer {bench.token('operator')}"}
    assert bench.client.post("/api/v1/cells/cell-1/stop", data=body, headers=headers).status_code == 200
    assert reasons == ["kill " + "x" * 500] * 2


@pytest.mark.parametrize(("run", "status"), [("B00001-R1", 200), (None, 409)])
def test_stop_waits_for_no_thread_that_other_requests_keep(bench: Any, run: str | None, status: int) -> None:
    bench.token("operator")
    bench.cell.status_now = {**bench.cell.status_now, "run": run}

    async def with_all_threads_taken() -> None:
        threads = current_default_thread_limiter()
        for _ in range(int(threads.total_tokens)):
            threads.acquire_on_behalf_of_nowait(object())
        sent = await asked_to_stop(bench, [LAST])
        assert sent[0]["status"] == status

    asyncio.run(asyncio.wait_for(with_all_threads_taken(), 20))
    assert bench.cell.asked == ([("stop.quickstop", "operator")] if run else [])


def test_foreign_host_name_is_refused(bench: Any) -> None:
    assert bench.client.get("/login", headers={"Host": "evil.example"}).status_code == 421


def test_headers_of_every_answer(bench: Any) -> None:
    for path in ("/login", "/api/v1/health", "/api/v1/nothing"):
        headers = bench.client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"
        assert "unsafe-eval" not in headers["content-security-policy"] and "default-src 'none'" in headers["content-security-policy"]
        assert headers["cache-control"] == "no-store" and headers["referrer-policy"] == "same-origin"


def test_an_error_that_nobody_foresaw_has_the_headers_of_every_answer(bench: Any, monkeypatch: Any) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a fault of our own")

    monkeypatch.setattr(bench.workstation.people, "people", broken)
    https = type(bench.client)(bench.client.app, base_url="https://localhost", client=("127.0.0.1", 5), raise_server_exceptions=False)
    answer = https.get("/api/v1/people", headers={"Authorization": f"Bearer {bench.token('operator')}"})
    assert answer.status_code == 500 and answer.json()["code"] == "DW-000" and "our own" not in answer.text
    assert answer.headers["cache-control"] == "no-store" and answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"] and "strict-transport-security" in answer.headers
    with pytest.raises(ZeroDivisionError):  # and the server's log has it
        bench.ask("operator", "GET", "/people")


@pytest.mark.parametrize(("zone", "day"), [("UTC", "2026-11-30"), ("Europe/Berlin", "2026-12-01"), ("America/New_York", "2026-11-30")])
def test_the_day_of_a_route_is_that_of_the_site(bench: Any, monkeypatch: Any, zone: str, day: str) -> None:
    bench.token("operator")
    monkeypatch.setattr(SystemClock, "utc", lambda self: UtcReading("2026-11-30T23:30:00.000000Z", zone, "unknown"))
    asked: list[str] = []
    monkeypatch.setattr(routes_stores, "restore_due", lambda store, today: asked.append(today.isoformat()) or Due(None, False, "none"))
    assert bench.ask("operator", "GET", "/stores/restore-test").status_code == 200
    assert asked == [day] == [today_of(bench.workstation).isoformat()]


def test_log_out_ends_the_session(bench: Any) -> None:
    assert bench.ask("operator", "GET", "/session").json()["username"] == "operator"
    assert bench.ask("operator", "DELETE", "/session").status_code == 204
    assert bench.ask("operator", "GET", "/session").status_code == 401
    assert [entry.kind for entry in bench.workstation.store.entries()][-1] == "person.session.closed"


def test_session_ends_by_time() -> None:
    class Clock(SystemClock):
        at = 0

        def now(self) -> int:
            return type(self).at

    sessions = Sessions(Clock(), minutes=1)
    token = sessions.open("a", "A", [Role.OPERATOR])
    Clock.at = 59_999_999
    assert sessions.find(token) is not None
    Clock.at = 60_000_000
    assert sessions.find(token) is None


def test_failed_log_in_is_an_entry_and_says_nothing_of_the_account(bench: Any) -> None:
    known = bench.client.post("/api/v1/session", json={"username": "operator", "password": "wrong"})
    unknown = bench.client.post("/api/v1/session", json={"username": "nobody", "password": "wrong"})
    assert known.status_code == unknown.status_code == 401
    assert known.json()["detail"] == unknown.json()["detail"]
    assert [entry.kind for entry in bench.workstation.store.entries()][-2:] == ["person.session.refused"] * 2


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ([(b"host", b"localhost:8080"), (b"origin", b"http://localhost:8080")], True),
        ([(b"host", b"localhost:8080"), (b"origin", b"http://evil.example")], False),
        ([(b"host", b"localhost:8080")], False),
    ],
)
@pytest.mark.parametrize("logged_in", [True, False])
def test_websocket_needs_session_and_own_origin(headers: list[tuple[bytes, bytes]], passes: bool, logged_in: bool) -> None:
    sessions = Sessions(SystemClock(), minutes=5)
    token = sessions.open("operator", "Operator", [Role.OPERATOR])
    reached: list[str] = []
    sent: list[Any] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["path"])

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    cookie = [(b"cookie", f"{COOKIE}={token}".encode())] if logged_in else []
    scope = {
        "type": "websocket",
        "scheme": "ws",
        "client": ("127.0.0.1", 5),
        "path": "/_nicegui_ws/socket.io/",
        "headers": [*headers, *cookie],
        "query_string": b"",
    }
    asyncio.run(Frontier(inner, sessions=sessions, hosts=frozenset({"localhost"}), perimeter=INSIDE_ALL)(scope, receive, send))
    if passes and logged_in:
        assert reached and not sent
    else:
        assert not reached and sent[0]["type"] == "websocket.close"
