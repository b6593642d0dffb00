"""Sessions and where requests come from: fixation, requests of other sites, websockets, guessing, borrowed names, sent-again signatures."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from ipaddress import ip_network
from types import SimpleNamespace
from typing import Any

import pytest
from released import PRODUCTION
from starlette.testclient import TestClient
from test_security import WITHOUT, _routes

from api.app import create_app
from api.frontier import Frontier
from api.log_in_rate import FAILURES
from api.perimeter import Perimeter
from api.security import COOKIE, Sessions
from audit.clock import SystemClock
from audit.identity import Role

HERE = "http://localhost:8080"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def log_in_by_form(bench: Any, who: str = "operator", **headers: str) -> Any:
    form = {"username": who, "password": bench.site.passwords[who]}
    return bench.client.post("/api/v1/session", data=form, headers={"Origin": HERE, **headers}, follow_redirects=False)


def who_is(bench: Any, token: str) -> int:
    return int(bench.client.get("/api/v1/session", headers={"Authorization": f"Bearer {token}"}).status_code)


@pytest.fixture(autouse=True)
def _fresh(bench: Any) -> Iterator[None]:
    yield
    bench.client.cookies.clear()


# -- fixation --------------------------------------------------------------------------------------------------------


def test_a_token_chosen_before_log_in_is_worth_nothing_after_it(bench: Any) -> None:
    bench.client.cookies.set(COOKIE, "chosen-by-another")
    answer = log_in_by_form(bench)
    assert answer.status_code == 303
    given = answer.cookies[COOKIE]
    assert given != "chosen-by-another" and len(given) >= 43
    assert who_is(bench, "chosen-by-another") == 401 and who_is(bench, given) == 200


def test_log_in_takes_the_place_of_the_session_that_the_browser_had(bench: Any) -> None:
    former = log_in_by_form(bench).cookies[COOKIE]
    assert who_is(bench, former) == 200
    following = log_in_by_form(bench, "pharmacist").cookies[COOKIE]
    assert who_is(bench, former) == 401 and who_is(bench, following) == 200
    kinds = [(entry.kind, entry.subject.id) for entry in bench.workstation.store.search(kind="person.session.", limit=50)]
    assert kinds[-2:] == [("person.session.opened", "pharmacist"), ("person.session.closed", "operator")]


def test_a_failed_log_in_leaves_the_session_that_was_there(bench: Any) -> None:
    former = log_in_by_form(bench).cookies[COOKIE]
    wrong = bench.client.post("/api/v1/session", data={"username": "qp", "password": "wrong"}, headers={"Origin": HERE})
    assert wrong.status_code == 401 and who_is(bench, former) == 200


def test_log_out_kills_the_token_and_takes_the_cookie_back(bench: Any) -> None:
    token = log_in_by_form(bench).cookies[COOKIE]
    answer = bench.client.post("/api/v1/session/close", headers={"Origin": HERE}, follow_redirects=False)
    assert answer.status_code == 303 and 'dosewright_session=""' in answer.headers["set-cookie"]
    assert who_is(bench, token) == 401


def test_a_new_password_ends_every_other_session_of_the_person(bench: Any) -> None:
    tokens = [log_in_by_form(bench).cookies[COOKIE]]
    bench.client.cookies.clear()
    tokens.append(log_in_by_form(bench).cookies[COOKIE])
    bench.client.cookies.clear()
    body = {"password": bench.site.passwords["operator"], "new_password": "a sentence of mine, 47 words"}
    answer = bench.client.put("/api/v1/session/password", json=body, headers={"Authorization": f"Bearer {tokens[1]}"})
    assert answer.status_code == 200, answer.text
    assert [who_is(bench, token) for token in tokens] == [401, 200]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("PUT /people/operator/roles", {"roles": ["pharmacist"], "reason": "moved"}),
        ("POST /people/operator/deactivate", {"reason": "left"}),
        ("POST /people/operator/password", {"reason": "lost"}),
    ],
)
def test_what_an_administrator_changes_ends_the_sessions_at_once(bench: Any, path: str, body: object) -> None:
    token = bench.token("operator")
    method, _, where = path.partition(" ")
    assert bench.ask("administrator", method, where, body).status_code == 200
    assert who_is(bench, token) == 401


# -- requests of other sites -----------------------------------------------------------------------------------------

FOREIGN = (
    {},
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost:8081"},
    {"Origin": "http://localhost:8080.evil.example"},
    {"Origin": HERE, "Sec-Fetch-Site": "cross-site"},
    {"Origin": HERE, "Sec-Fetch-Site": "same-site"},
)


def test_no_route_that_changes_anything_takes_a_request_of_another_site(bench: Any) -> None:
    bench.client.cookies.set(COOKIE, bench.token("administrator"))
    before = bench.workstation.store.size
    mutating = {(method, path) for method, path, _ in _routes(bench) if method not in ("GET", "HEAD")} - WITHOUT
    mutating |= {("POST", "/api/v1/session/close"), ("POST", "/api/v1/cells/cell-1/stop")}
    assert len(mutating) > 70
    for method, path in sorted(mutating):
        for headers in FOREIGN:
            answer = bench.client.request(method, path, headers={**FORM, **headers}, content=b"strength=kill")
            assert (answer.status_code, answer.json()["code"]) == (403, "AP-021"), f"{method} {path} {headers}"
    assert bench.workstation.store.size == before and bench.cell.asked == []


@pytest.mark.parametrize("headers", [headers for headers in FOREIGN if headers])
@pytest.mark.parametrize("path", ["/api/v1/session", "/api/v1/set-up"])
def test_nobody_is_logged_in_or_set_up_by_the_page_of_another_site(bench: Any, headers: dict[str, str], path: str) -> None:
    form = {"username": "operator", "password": bench.site.passwords["operator"]}
    answer = bench.client.post(path, data=form, headers=headers, follow_redirects=False)
    assert answer.status_code == 403 and "set-cookie" not in answer.headers


# -- websockets ------------------------------------------------------------------------------------------------------


class Socket:
    """An open websocket: messages in from a queue, what is sent noted."""

    def __init__(self, sessions: Sessions, token: str, origin: bytes | None = b"http://localhost:8080") -> None:
        headers = [(b"host", b"localhost:8080"), (b"cookie", f"{COOKIE}={token}".encode())]
        headers += [] if origin is None else [(b"origin", origin)]
        path = "/_nicegui_ws/socket.io/"
        self.scope = {
            "type": "websocket", "scheme": "ws", "client": ("127.0.0.1", 5), "path": path, "headers": headers, "query_string": b"",
        }  # fmt: skip
        self.sessions = sessions
        self.incoming: asyncio.Queue[Any] = asyncio.Queue()
        self.sent: list[Any] = []
        self.events: list[Any] = []

    async def page(self, scope: Any, receive: Any, send: Any) -> None:
        """What stands behind the frontier: takes events, and answers each."""
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] != "websocket.disconnect":
            if message["type"] == "websocket.receive":
                self.events.append(message["text"])
                await send({"type": "websocket.send", "text": f"seen {message['text']}"})
        self.events.append("disconnected")

    async def run(self) -> None:
        async def send(message: Any) -> None:
            self.sent.append(message)

        perimeter = Perimeter(tuple(MACHINE))
        frontier = Frontier(self.page, sessions=self.sessions, hosts=frozenset({"localhost"}), perimeter=perimeter)
        await frontier(self.scope, self.incoming.get, send)


MACHINE = [ip_network("127.0.0.0/8")]


def test_an_event_of_a_page_after_log_out_is_not_heard_and_the_socket_is_closed() -> None:
    sessions = Sessions(SystemClock(), minutes=5)
    token = sessions.open("operator", "Operator", [Role.OPERATOR])
    socket = Socket(sessions, token)

    async def story() -> None:
        running = asyncio.ensure_future(socket.run())
        await socket.incoming.put({"type": "websocket.connect"})
        await socket.incoming.put({"type": "websocket.receive", "text": "first"})
        while socket.events != ["first"]:
            await asyncio.sleep(0)
        sessions.close(token)
        await socket.incoming.put({"type": "websocket.receive", "text": "second"})
        await asyncio.wait_for(running, 5)

    asyncio.run(story())
    assert socket.events == ["first", "disconnected"]
    assert socket.sent[-1] == {"type": "websocket.close", "code": 1008, "reason": "the session has ended"}


def test_nothing_is_pushed_to_a_page_whose_session_was_revoked() -> None:
    sessions = Sessions(SystemClock(), minutes=5)
    token = sessions.open("operator", "Operator", [Role.OPERATOR])
    sent: list[Any] = []

    async def page(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "before"})
        sessions.close_person("operator")
        await send({"type": "websocket.send", "text": "who the patient is"})
        await send({"type": "websocket.send", "text": "and more"})

    async def send(message: Any) -> None:
        sent.append(message)

    frontier = Frontier(page, sessions=sessions, hosts=frozenset({"localhost"}), perimeter=Perimeter(tuple(MACHINE)))
    scope = Socket(sessions, token).scope
    asyncio.run(frontier(scope, lambda: asyncio.sleep(0), send))
    assert [message.get("text", message["type"]) for message in sent] == ["websocket.accept", "before", "websocket.close"]


@pytest.mark.parametrize("origin", [None, b"null", b"http://evil.example", b"https://localhost:8080.evil.example"])
def test_a_socket_that_another_site_opens_is_closed_before_it_is_accepted(origin: bytes | None) -> None:
    sessions = Sessions(SystemClock(), minutes=5)
    socket = Socket(sessions, sessions.open("operator", "Operator", [Role.OPERATOR]), origin)
    asyncio.run(socket.run())
    assert [message["type"] for message in socket.sent] == ["websocket.close"] and socket.events == []


def test_the_polling_way_of_the_socket_takes_a_session_too(bench: Any) -> None:
    path = "/_nicegui_ws/socket.io/?EIO=4&transport=polling"
    assert bench.client.get(path).status_code == 401
    assert bench.client.post(path, content=b"40").status_code == 401
    bench.client.cookies.set(COOKIE, bench.token("operator"))
    assert bench.client.post(path, content=b"40", headers={"Origin": "http://evil.example"}).status_code == 403


# -- guessing --------------------------------------------------------------------------------------------------------


def test_no_header_makes_another_address_of_one(bench: Any) -> None:
    for place in range(FAILURES + 1):
        spoofed = {"X-Forwarded-For": f"203.0.113.{place}", "X-Real-IP": f"203.0.113.{place}", "Forwarded": f"for=203.0.113.{place}"}
        answer = bench.client.post("/api/v1/session", json={"username": "nobody", "password": "x"}, headers={**spoofed})
    assert answer.status_code in (403, 429)
    plain = [bench.client.post("/api/v1/session", json={"username": "nobody", "password": "x"}).status_code for _ in range(FAILURES + 1)]
    assert plain[-1] == 429 and set(plain[:-1]) <= {401, 429}


def test_an_account_is_locked_after_so_many_failures_from_wherever_they_come(bench: Any) -> None:
    attempts = bench.workstation.people.policy.attempts
    assert attempts <= 10
    for _ in range(attempts):
        with pytest.raises(Exception, match="after 5 failures only an administrator"):
            bench.workstation.people.log_in("operator", "a guess that is wrong")
    right = {"username": "operator", "password": bench.site.passwords["operator"]}
    assert bench.client.post("/api/v1/session", json=right).status_code == 401, "also with the right password"
    assert bench.ask("administrator", "POST", "/people/operator/unlock", {"reason": "it was him"}).status_code == 200
    assert bench.client.post("/api/v1/session", json=right).status_code == 200


# -- borrowed names --------------------------------------------------------------------------------------------------


def test_nobody_gives_themselves_a_role(bench: Any) -> None:
    body = {"roles": ["administrator", "operator"], "reason": "I need it"}
    for who in ("operator", "qp", "quality", "engineer", "pharmacist"):
        assert bench.ask(who, "PUT", f"/people/{who}/roles", body).status_code == 403
    for path, change in (("roles", {"roles": ["qualified_person"]}), ("deputy", {"role": "qualified_person", "until": "2026-12-31"})):
        answer = bench.ask(
            "administrator", "PUT" if path == "roles" else "POST", f"/people/administrator/{path}", {**change, "reason": "x"}
        )
        assert answer.status_code == 403 and answer.json()["code"] in ("AU-020",), answer.text
    person = bench.ask("operator", "GET", "/people/operator").json()
    assert person["roles"] == ["operator"]


def test_nobody_signs_with_another_s_name_and_their_own_password(bench: Any) -> None:
    order = PRODUCTION.enter(bench).json()["order"]
    borrowed = {"username": "second", "password": bench.site.passwords["operator"], "scripted": True}
    answer = bench.ask("operator", "POST", f"/orders/{order}/confirm", {"entry": PRODUCTION.AGAIN, "signature": borrowed})
    assert answer.status_code == 401
    assert bench.ask("operator", "GET", f"/orders/{order}").json()["confirmed_by"] is None


@pytest.mark.parametrize("field", ["actor", "role", "username", "name", "at"])
def test_a_request_cannot_say_who_acts(bench: Any, field: str) -> None:
    answer = bench.ask("operator", "POST", "/cells/cell-1/cleaning", {"method": "CL-1", field: "qp"})
    assert answer.status_code == 422 and bench.cell.asked == []


SPOOFED = {"X-Forwarded-User": "qp", "X-Remote-User": "qp", "Remote-User": "qp", "X-Role": "administrator", "X-HTTP-Method-Override": "PUT"}


def test_headers_that_name_a_person_or_a_role_are_not_heard(bench: Any) -> None:
    token = bench.token("operator")
    answer = bench.client.get("/api/v1/session", headers={"Authorization": f"Bearer {token}", **SPOOFED})
    assert (answer.json()["username"], answer.json()["roles"]) == ("operator", ["operator"])
    assert bench.client.get("/api/v1/session", headers=SPOOFED).status_code == 401


def test_a_forwarded_address_never_brings_anybody_inside(bench: Any) -> None:
    """From outside it stays outside; from inside, whoever names a proxy that is not declared counts as outside."""
    inside = {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "localhost:8080"}
    token = bench.token("operator")
    body = {"username": "operator", "password": bench.site.passwords["operator"]}
    app = create_app(bench.workstation, page=False)
    with TestClient(app, base_url="https://localhost:8080", client=("203.0.113.9", 5)) as outside:
        for headers in ({}, inside):
            assert outside.get("/api/v1/session", headers={"Authorization": f"Bearer {token}", **headers}).status_code == 401
            answer = outside.post("/api/v1/session", json=body, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (403, "AP-024"), answer.text
    answer = bench.client.get("/api/v1/session", headers={"Authorization": f"Bearer {token}", **inside})
    assert answer.status_code in (401, 403)


# -- signatures sent again -------------------------------------------------------------------------------------------


def orders(bench: Any) -> list[str]:
    return [row["order"] for row in bench.ask("qp", "GET", "/orders").json()]


@pytest.fixture
def request_to_sign(bench: Any) -> SimpleNamespace:
    """A request that a person signs: with a challenge, and the digest of what was shown; not scripted."""
    shown = bench.ask("pharmacist", "POST", "/doses", PRODUCTION.ORDER).json()["shown_sha256"]
    challenge = bench.ask("pharmacist", "POST", "/session/signing-challenge").json()["challenge"]
    password = bench.site.passwords["pharmacist"]
    signature = {"username": "pharmacist", "password": password, "challenge": challenge, "digest": shown}
    return SimpleNamespace(body={"order": PRODUCTION.ORDER, "signature": signature}, token=bench.token("pharmacist"))


def send(bench: Any, asked: SimpleNamespace, key: str | None, token: str = "") -> Any:
    headers = {"Authorization": f"Bearer {token or asked.token}", **({} if key is None else {"Idempotency-Key": key})}
    return bench.client.post("/api/v1/orders", json=asked.body, headers=headers)


def test_a_signed_request_sent_again_signs_once(bench: Any, request_to_sign: SimpleNamespace) -> None:
    first = send(bench, request_to_sign, "key-of-the-request-1")
    assert first.status_code == 201, first.text
    again = send(bench, request_to_sign, "key-of-the-request-1")
    assert again.json() == first.json() and again.headers["idempotency-replayed"] == "true"
    other = send(bench, request_to_sign, "key-of-the-request-2")
    assert (other.status_code, other.json()["code"]) == (403, "AU-023")
    assert send(bench, request_to_sign, None).json()["code"] == "AU-023"
    assert orders(bench) == ["O00001"]
    given = bench.workstation.store.search(kind="person.signature.", limit=100)
    assert len([entry for entry in given if entry.actor.username == "pharmacist" and entry.kind == "person.signature.given"]) == 1


def test_a_signed_request_is_worth_nothing_after_log_out(bench: Any, request_to_sign: SimpleNamespace) -> None:
    assert bench.ask("pharmacist", "DELETE", "/session").status_code == 204
    assert send(bench, request_to_sign, "key-of-the-request-3").status_code == 401
    bench._tokens.pop("pharmacist")
    answer = send(bench, request_to_sign, "key-of-the-request-3", bench.token("pharmacist"))
    assert answer.json()["code"] == "AU-023", "the challenge was for the session that has ended"
    assert orders(bench) == []


def test_another_person_s_key_gives_no_answer_of_mine(bench: Any, request_to_sign: SimpleNamespace) -> None:
    assert send(bench, request_to_sign, "key-of-the-request-4").status_code == 201
    answer = send(bench, request_to_sign, "key-of-the-request-4", bench.token("second"))
    assert "idempotency-replayed" not in answer.headers and answer.json()["code"] == "AU-023"
    assert orders(bench) == ["O00001"]
