"""Who gets in, from where, for how long, and what a signature takes: perimeter, second factors, locks, challenges, reviews."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import HTTPConnection
from starlette.testclient import TestClient

from api import challenges
from api import cli as command
from api.app import create_app, guards
from api.demo_desk import Desk, Refused
from api.people import issued_password
from api.perimeter import Origin, Perimeter
from api.security import GRANTS, MINUTE, Permission, Sessions
from api.site import Site
from api.wiring import build_workstation
from audit.access_policy import AccessPolicy
from audit.clock import MICROSECONDS, SystemClock, UtcReading
from audit.errors import RecordError
from audit.identity import Role
from audit.second_factor import code_at
from tests.api.authenticator import Authenticator
from tests.api.conftest import Bench, fake_cell

OUTSIDE = "198.51.100.7"
HTTPS = "https://ward.example"
STANDING = {"POST /api/v1/cells/{cell}/stop"}
# what a locked session may do for itself; all of it asks for the password again, or ends the session, or is worth nothing without it
OWN = "/api/v1/session"


class Virtual(SystemClock):
    """Process time that stands still; UTC is the machine's."""

    at = 0

    def now(self) -> int:
        return type(self).at


@dataclass
class Outside:
    """The same workstation, asked from outside the perimeter over https."""

    client: TestClient
    bench: Any

    def log_in(self, username: str, **given: object) -> Any:
        body = {"username": username, "password": self.bench.site.passwords[username], **given}
        return self.client.post("/api/v1/session", json=body)

    def ask(self, token: str, method: str, path: str, body: object = None) -> Any:
        return self.client.request(method, f"/api/v1{path}", json=body, headers={"Authorization": f"Bearer {token}"})


@pytest.fixture
def outside(passkey_bench: Any) -> Iterator[Outside]:
    app = create_app(passkey_bench.workstation, page=False)
    with TestClient(app, base_url=HTTPS, client=(OUTSIDE, 50000)) as client:
        yield Outside(client, passkey_bench)


@pytest.fixture
def passkey_bench(laid_out: Site, tmp_path: Path) -> Iterator[Bench]:
    """A site that takes passkeys, asked from inside."""
    folder = tmp_path / "passkeys"
    shutil.copytree(laid_out.folder, folder)
    settings = folder / "workstation.toml"
    hosts = 'allowed_hosts = ["ward.example", "localhost"]'
    settings.write_text(f'passkey_rp_id = "ward.example"\npasskey_origins = ["{HTTPS}"]\n{hosts}\n{settings.read_text()}')
    cell = fake_cell.FakeCell(folder)
    workstation = build_workstation(folder, connector=cell.connect)
    with TestClient(create_app(workstation, page=False), base_url="http://localhost:8080", client=("127.0.0.1", 50000)) as client:
        yield Bench(laid_out, cell, workstation, client, {})
    workstation.close()
    cell.store.close()


@dataclass
class Ended:
    """What came of a command."""

    status: int
    output: str
    error: str


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    def run(*arguments: str) -> Ended:
        status = command.run(list(arguments))
        return Ended(status, *capsys.readouterr())

    return run


def step() -> int:
    return int(datetime.now(UTC).timestamp()) // 30


def enrol_totp(bench: Any, username: str) -> tuple[str, list[str]]:
    """Enrol with the code of the step before now, so that the present one is still good."""
    begun = bench.ask(username, "POST", "/session/factors/totp", {"password": bench.site.passwords[username]})
    assert begun.status_code == 200, begun.text
    made = begun.json()
    assert made["qr_svg"].startswith("<svg") and made["address"].startswith("otpauth://totp/")
    confirmed = bench.ask(username, "POST", "/session/factors/totp/confirm", {"code": code_at(made["secret"], step() - 1)})
    assert confirmed.status_code == 200, confirmed.text
    return made["secret"], made["recovery_codes"]


def enrol_passkey(bench: Any, username: str, origin: str = HTTPS, rp_id: str | None = None) -> tuple[Authenticator, Any]:
    device = Authenticator(origin)
    options = bench.ask(username, "POST", "/session/factors/passkey", {"password": bench.site.passwords[username]}).json()
    body = {"label": "key on the ring", "credential": device.create(options, rp_id)}
    return device, bench.ask(username, "POST", "/session/factors/passkey/confirm", body)


def kinds(bench: Any) -> list[str]:
    return [entry.kind for entry in bench.workstation.store.entries()]


# The perimeter


@pytest.mark.parametrize(
    ("peer", "headers", "expected"),
    [
        ("10.1.2.3", {}, Origin(False, False)),
        ("::ffff:10.1.2.3", {}, Origin(False, False)),
        ("192.0.2.1", {}, Origin(True, False)),
        ("not an address", {}, Origin(True, False)),
        # a proxy that is not declared, on a trusted machine
        ("10.1.2.3", {"x-forwarded-for": "10.1.2.4"}, Origin(True, False)),
        ("10.1.2.3", {"forwarded": "for=10.1.2.4"}, Origin(True, False)),
        # a declared one
        ("10.9.0.1", {"x-forwarded-for": "10.1.2.4", "x-forwarded-proto": "https"}, Origin(False, True)),
        ("10.9.0.1", {"x-forwarded-for": "192.0.2.1", "x-forwarded-proto": "https"}, Origin(True, True)),
        ("10.9.0.1", {"x-forwarded-for": "10.1.2.4, 192.0.2.1, 10.9.0.2"}, Origin(True, False)),  # the left is the client's own word
        ("10.9.0.1", {"x-forwarded-for": "10.1.2.4, nonsense"}, Origin(True, False)),
        ("10.9.0.1", {}, Origin(True, False)),
    ],
)
def test_where_a_request_comes_from(peer: str, headers: dict[str, str], expected: Origin) -> None:
    perimeter = Perimeter((ip_network("10.1.0.0/16"),), (ip_network("10.9.0.0/24"),))
    raw = [(name.encode(), value.encode()) for name, value in {"host": "ward.example", **headers}.items()]
    scope = {"type": "http", "scheme": "http", "path": "/", "query_string": b"", "headers": raw, "client": (peer, 1)}
    assert perimeter.judge(HTTPConnection(scope)) == expected


def test_from_outside_a_password_alone_does_not_open(outside: Outside, passkey_bench: Any) -> None:
    answer = outside.log_in("qp")
    assert (answer.status_code, answer.json()["code"]) == (403, "AP-024")
    secret, codes = enrol_totp(passkey_bench, "qp")
    assert outside.log_in("qp", code="123456x").status_code == 401
    assert outside.log_in("qp", code=code_at(secret, step())).status_code == 200
    assert outside.log_in("qp", code=code_at(secret, step())).status_code == 401, "a code was taken twice"
    assert outside.log_in("qp", code=codes[0]).status_code == 200
    # a session that began inside is worth nothing outside
    assert outside.ask(passkey_bench.token("qp"), "GET", "/session").status_code == 401


def test_from_outside_the_way_has_to_be_encrypted(passkey_bench: Any) -> None:
    secret, _ = enrol_totp(passkey_bench, "qp")
    with TestClient(create_app(passkey_bench.workstation, page=False), base_url="http://ward.example", client=(OUTSIDE, 5)) as client:
        answer = Outside(client, passkey_bench).log_in("qp", code=code_at(secret, step()))
    assert (answer.status_code, answer.json()["code"]) == (403, "AP-024") and "not encrypted" in answer.json()["detail"]


def test_second_factors_are_changed_at_the_site_only(outside: Outside, passkey_bench: Any) -> None:
    secret, _ = enrol_totp(passkey_bench, "qp")
    token = outside.log_in("qp", code=code_at(secret, step())).json()["token"]
    password = {"password": passkey_bench.site.passwords["qp"]}
    for path, body in (
        ("/session/factors/totp", password),
        ("/session/factors/passkey", password),
        ("/session/factors/revoke", {**password, "factor": "qp/totp-1", "reason": "x"}),
    ):
        assert outside.ask(token, "POST", path, body).json()["code"] == "AP-024", path


def test_a_password_that_was_issued_enrols_no_second_factor(passkey_bench: Any) -> None:
    """Who issued it knows it: what it enrolled would outlive its change."""
    body = {"username": "newqp", "full_name": "New QP", "roles": ["qualified_person"]}
    issued = passkey_bench.ask("administrator", "POST", "/people", body).json()["issued_password"]
    passkey_bench.site.passwords["newqp"] = issued
    device = Authenticator(HTTPS)
    try:
        for path, given in factor_changes(issued, device):
            answer = passkey_bench.ask("newqp", "POST", path, given)
            assert (answer.status_code, answer.json()["code"]) == (403, "AP-023"), path
        own = {"password": issued, "new_password": "seven quiet lanterns over the harbour"}
        assert passkey_bench.ask("newqp", "PUT", "/session/password", own).status_code == 200
        assert passkey_bench.ask("newqp", "GET", "/session/factors").json() == []
        passkey_bench.site.passwords["newqp"] = own["new_password"]
        enrol_totp(passkey_bench, "newqp")
    finally:
        del passkey_bench.site.passwords["newqp"]


def factor_changes(password: str, device: Authenticator) -> list[tuple[str, dict[str, Any]]]:
    """Every change of an own second factor, with a body that can be read."""
    made = device.create({"challenge": "A" * 43, "rp": {"id": "ward.example"}, "user": {"id": "AA"}})
    return [
        ("/session/factors/totp", {"password": password}),
        ("/session/factors/totp/confirm", {"code": "000000"}),
        ("/session/factors/passkey", {"password": password}),
        ("/session/factors/passkey/confirm", {"credential": made}),
        ("/session/factors/revoke", {"password": password, "factor": "newqp/totp-1", "reason": "x"}),
    ]


def test_a_locked_session_changes_no_second_factor(passkey_bench: Any) -> None:
    enrol_totp(passkey_bench, "qp")
    for opened in passkey_bench.workstation.sessions._open.values():
        opened.seen -= 16 * MINUTE
    for path, given in factor_changes(passkey_bench.site.passwords["qp"], Authenticator(HTTPS)):
        answer = passkey_bench.ask("qp", "POST", path, given)
        assert (answer.status_code, answer.json()["code"]) == (423, "AP-022"), path


# Passkeys, with an authenticator written from the specification


def test_a_passkey_opens_from_outside_and_only_once(outside: Outside, passkey_bench: Any) -> None:
    device, made = enrol_passkey(passkey_bench, "qp")
    assert made.status_code == 200, made.text
    options = outside.client.post("/api/v1/session/passkey", json={"username": "qp"}).json()
    answer = device.get(options)
    assert outside.log_in("qp", passkey=answer).status_code == 200
    assert outside.log_in("qp", passkey=answer).status_code == 401, "an answer was taken twice"
    assert kinds(passkey_bench).count("person.factor.used") == 1


@pytest.mark.parametrize("wrong", ["origin", "rp", "challenge", "person", "key", "count", "nonsense"])
def test_a_passkey_that_is_not_right_is_refused(outside: Outside, passkey_bench: Any, wrong: str) -> None:
    device, _ = enrol_passkey(passkey_bench, "qp")
    other, _ = enrol_passkey(passkey_bench, "quality")
    options = outside.client.post("/api/v1/session/passkey", json={"username": "quality" if wrong == "person" else "qp"}).json()
    assert outside.log_in(
        "qp", passkey=device.get(outside.client.post("/api/v1/session/passkey", json={"username": "qp"}).json())
    ).is_success
    answers = {
        "origin": lambda: Authenticator("https://evil.example", device.count, device.id, device.key).get(options),
        "rp": lambda: device.get(options, "evil.example"),
        "challenge": lambda: device.get({**options, "challenge": "A" * 43}),
        "person": lambda: other.get(options),
        "key": lambda: Authenticator(HTTPS, device.count, device.id).get(options),
        "count": lambda: device.get(options, step=-1),
        "nonsense": lambda: {"id": 7, "response": {"clientDataJSON": "%%%"}},
    }
    assert outside.log_in("qp", passkey=answers[wrong]()).status_code == 401
    assert ("access.misuse.suspected" in kinds(passkey_bench)) is (wrong == "count")


@pytest.mark.parametrize(("origin", "rp_id"), [("https://evil.example", None), (HTTPS, "evil.example")])
def test_a_passkey_of_another_site_is_not_enrolled(passkey_bench: Any, origin: str, rp_id: str | None) -> None:
    _, made = enrol_passkey(passkey_bench, "qp", origin, rp_id)
    assert made.status_code == 422 and passkey_bench.ask("qp", "GET", "/session/factors").json() == []


def test_the_question_for_a_passkey_does_not_tell_who_has_one(outside: Outside, passkey_bench: Any) -> None:
    enrol_passkey(passkey_bench, "qp")
    asked = [
        outside.client.post("/api/v1/session/passkey", json={"username": name}).json() for name in ("qp", "operator", "nobody", "nobody")
    ]
    assert [{**item, "challenge": "", "allowCredentials": len(item["allowCredentials"])} for item in asked] == [
        {**asked[0], "challenge": "", "allowCredentials": 1}
    ] * 4
    assert asked[2]["allowCredentials"] == asked[3]["allowCredentials"] and asked[1]["allowCredentials"] != asked[2]["allowCredentials"]


def test_a_lost_passkey_is_revoked_by_an_administrator(outside: Outside, passkey_bench: Any) -> None:
    device, _ = enrol_passkey(passkey_bench, "qp")
    body = {"factor": "qp/passkey-1", "reason": "key lost"}
    assert passkey_bench.ask("quality", "POST", "/people/qp/factors/revoke", body).status_code == 403
    assert passkey_bench.ask("administrator", "POST", "/people/operator/factors/revoke", body).status_code == 422
    assert passkey_bench.ask("administrator", "POST", "/people/qp/factors/revoke", body).json()["active"] is False
    options = outside.client.post("/api/v1/session/passkey", json={"username": "qp"}).json()
    assert outside.log_in("qp", passkey=device.get(options)).status_code == 401


# Sessions


def test_nobody_used_it_so_it_is_locked_and_polling_is_no_use() -> None:
    Virtual.at = 0
    sessions = Sessions(Virtual(), 480, lambda: AccessPolicy(inactivity_minutes=10))
    token = sessions.open("operator", "Operator", [Role.OPERATOR])
    for minute in range(10):
        Virtual.at = minute * MINUTE
        assert (found := sessions.find(token)) is not None and not found.locked
    sessions.touch(token)
    Virtual.at = 19 * MINUTE - 1
    assert (found := sessions.find(token)) is not None and not found.locked
    Virtual.at = 19 * MINUTE
    assert (found := sessions.find(token)) is not None and found.locked
    sessions.touch(token)
    assert (found := sessions.find(token)) is not None and found.locked, "a touch opened a locked session"
    assert [end.kind for end in sessions.ends()] == ["person.session.locked"]
    Virtual.at = 480 * MINUTE
    assert sessions.find(token) is None and [end.kind for end in sessions.ends()][-1] == "person.session.closed"


@pytest.fixture
def locked(bench: Any) -> Any:
    """A bench whose open sessions are all locked; `ask` still has their tokens."""
    bench.cell.status_now = {**bench.cell.status_now, "run": "B00001-R1"}
    for username in ("operator", "quality", "administrator", "pharmacist", "engineer", "qp"):
        bench.token(username)
    for opened in bench.workstation.sessions._open.values():
        opened.seen -= 16 * MINUTE
    return bench


def test_a_locked_session_shows_and_stops_and_does_nothing_else(locked: Any) -> None:
    """Walked from the routes: every route that changes something, for everyone whose role would allow it."""
    walked = 0
    for route, guard in guards(locked.client.app):
        for method in sorted(set(route.methods or ()) - {"GET", "HEAD"}):
            if guard is None or route.path.startswith(OWN) or f"{method} {route.path}" in STANDING:
                continue
            path = route.path.replace("{cell}", "cell-1").replace("{number}", "1")
            for part in ("order", "batch", "username", "recipe", "version", "cartridge", "serial", "notice", "name"):
                path = path.replace(f"{{{part}}}", "none")
            role = sorted(role for role in Role if _open_to(guard.permission, role))[0]
            answer = locked.ask(ACCOUNT[role], method, path.removeprefix("/api/v1"))
            assert answer.status_code == 423 and answer.json()["code"] == "AP-022", f"{method} {path}: {answer.text}"
            walked += 1
    assert walked > 30
    assert locked.ask("quality", "GET", "/cells/cell-1/status").status_code == 200
    assert locked.ask("quality", "POST", "/cells/cell-1/stop", {}).status_code == 200
    assert locked.cell.asked == [("stop.quickstop", "quality")]
    assert kinds(locked).count("person.session.locked") >= 2


ACCOUNT = {
    Role.ADMINISTRATOR: "administrator", Role.OPERATOR: "operator", Role.PHARMACIST: "pharmacist", Role.PROCESS_ENGINEER: "engineer",
    Role.QUALITY_ASSURANCE: "quality", Role.QUALIFIED_PERSON: "qp",
}  # fmt: skip


def _open_to(permission: Permission, role: Role) -> bool:
    return role in GRANTS[permission]


def test_the_password_opens_a_locked_session_again(locked: Any) -> None:
    assert locked.ask("operator", "POST", "/session/resume", {"password": "wrong"}).status_code == 401
    assert locked.ask("operator", "GET", "/session").json()["locked"] is True
    assert locked.ask("operator", "POST", "/session/resume", {"password": locked.site.passwords["operator"]}).status_code == 200
    assert locked.ask("operator", "GET", "/session").json()["locked"] is False
    assert "person.session.resumed" in kinds(locked)
    form = {"password": locked.site.passwords["quality"], "back": "//evil.example"}
    headers = {"Authorization": f"Bearer {locked.token('quality')}"}
    answer = locked.client.post("/api/v1/session/resume", data=form, headers=headers, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    form["back"] = "/new?order=O00012"
    answer = locked.client.post("/api/v1/session/resume", data=form, headers=headers, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/new?order=O00012")


def test_a_desk_that_was_locked_goes_on_with_its_password(locked: Any) -> None:
    headers = {"Authorization": f"Bearer {locked.token('pharmacist')}"}
    client = httpx.Client(base_url="http://localhost:8080/api/v1", transport=_Through(locked.client), headers=headers)
    with client:
        desk = Desk("pharmacist", locked.site.passwords["pharmacist"], client)
        with pytest.raises(Refused, match="There is no order"):
            desk.post("/batches", {"order": "O9", "cell": "cell-1"})
    assert "person.session.resumed" in kinds(locked)


class _Through(httpx.BaseTransport):
    """Hands requests of one client to the test's own."""

    def __init__(self, client: TestClient) -> None:
        self._client = client

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._client.request(
            request.method, str(request.url.raw_path.decode()), content=request.read(), headers=dict(request.headers)
        )
        return httpx.Response(answer.status_code, headers=dict(answer.headers), content=answer.content)


def test_a_lock_holds_where_it_cannot_be_recorded(locked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    people = locked.workstation.people

    def refuse(*_: object, **__: object) -> None:
        raise RecordError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(people._identity, "close_session", refuse)
        assert locked.ask("quality", "POST", "/cells/cell-1/stop", {}).status_code == 200, "STOP waited for the record"
        assert locked.ask("operator", "GET", "/session").json()["locked"] is True
        assert any("not on record yet" in item["text"] for item in locked.ask("quality", "GET", "/attention").json())
    locked.ask("operator", "GET", "/session")
    assert locked.workstation.sessions.ends() == () and "person.session.locked" in kinds(locked)


def test_what_was_locked_is_recorded_once_however_many_ask(locked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    people, sessions = locked.workstation.people, locked.workstation.sessions
    for opened in list(sessions._open):
        sessions._open[opened].seen -= 16 * MINUTE
    close = people._identity.close_session
    others: list[bool] = []

    def with_another(*arguments: Any) -> None:
        monkeypatch.setattr(people._identity, "close_session", close)
        with ThreadPoolExecutor(1) as pool:
            others.append(pool.submit(people.record_ends).result(30))
        close(*arguments)

    monkeypatch.setattr(people._identity, "close_session", with_another)
    for username in ("operator", "quality", "qp"):
        assert sessions.find(locked.token(username)).locked
    waiting = len(sessions.ends())
    assert people.record_ends() is True
    assert waiting == 3 == kinds(locked).count("person.session.locked") and others == [False]


def test_a_role_that_was_lent_ends_with_its_day_in_open_sessions_too() -> None:
    class Days(Virtual):
        day = "2026-11-30"

        def utc(self) -> UtcReading:
            return UtcReading(f"{type(self).day}T22:59:59.000000Z", "Europe/Berlin", "unknown")

    sessions = Sessions(Days(), 60)
    lent = ((Role.QUALITY_ASSURANCE, "2026-11-30"), (Role.PHARMACIST, "2026-12-01"))
    token = sessions.open("operator", "An operator", [Role.OPERATOR, Role.QUALITY_ASSURANCE, Role.PHARMACIST], lent=lent)
    held = []
    for Days.day in ("2026-11-30", "2026-12-01", "2026-12-02"):
        found = sessions.find(token)
        assert found is not None
        held.append((found.may(Permission.HOLD), found.may(Permission.PACK), found.may(Permission.DISPENSE), found.may(Permission.RUN)))
    assert held == [(True, True, True, True), (False, True, True, True), (False, True, False, True)]


def test_a_lent_role_is_in_a_session_until_the_day_that_the_account_says(bench: Any) -> None:
    until = bench.workstation.people._identity.today().isoformat()
    for role in ("quality_assurance", "pharmacist"):  # the second is the person's own, which does not end
        body = {"role": role, "until": until, "reason": "leave"}
        assert bench.ask("administrator", "POST", "/people/second/deputy", body).status_code == 200
    found = bench.workstation.sessions.find(bench.token("second"))
    assert Role.QUALITY_ASSURANCE in found.roles and found.lent == ((Role.QUALITY_ASSURANCE, until),)
    bench.workstation.sessions.resume(bench.token("second"), bench.workstation.people._identity.person("second"))
    assert bench.workstation.sessions.find(bench.token("second")).lent == found.lent


def test_no_password_is_issued_that_the_policy_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three that were drawn by chance: the letters of each are the beginning of the alphabet."""
    drawn = iter(["9a182811589b87c783540de9", "440869a86530b144888416cd", "31a89b9c597d125406e7f759", "f3b1c07a95d2e8640bac11de"])
    monkeypatch.setattr("api.people.secrets.token_hex", lambda count: next(drawn))
    assert issued_password() == "f3b1c0-7a95d2-e8640b-ac11de"
    assert not list(drawn)


def test_an_issued_password_opens_nothing_but_its_change(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    body = {"username": "mara", "full_name": "Test Account", "roles": ["operator"]}
    made = bench.ask("administrator", "POST", "/people", body).json()
    monkeypatch.setitem(bench.site.passwords, "mara", made["issued_password"])
    assert "issued" in bench.ask("mara", "GET", "/session").json()["must_change_password"]
    refused = bench.ask("mara", "POST", "/batches", {"order": "O9", "cell": "cell-1"})
    assert (refused.status_code, refused.json()["code"]) == (403, "AP-023")
    change = {"password": made["issued_password"], "new_password": "seven grey herons wade"}
    assert bench.ask("mara", "PUT", "/session/password", change).status_code == 200
    assert bench.ask("mara", "POST", "/batches", {"order": "O9", "cell": "cell-1"}).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/people/operator/deactivate", {"reason": "left"}),
        ("POST", "/people/operator/password", {"reason": "forgotten"}),
        ("PUT", "/people/operator/roles", {"roles": ["pharmacist"], "reason": "new post"}),
        ("POST", "/people/operator/deputy", {"role": "pharmacist", "until": datetime.now(UTC).date().isoformat(), "reason": "ill"}),
    ],
)
def test_what_is_taken_from_an_account_ends_its_sessions(bench: Any, method: str, path: str, body: dict[str, object]) -> None:
    assert bench.ask("operator", "GET", "/session").status_code == 200
    answer = bench.ask("administrator", method, path, body)
    assert answer.status_code == 200, answer.text
    assert bench.ask("operator", "GET", "/session").status_code == 401


# Signing


def review(bench: Any, username: str = "quality", **more: object) -> Any:
    """Sign the access review: the smallest act that takes a whole signature."""
    shown = bench.ask("quality", "GET", "/access-review").json()["shown_sha256"]
    challenge = bench.ask("quality", "POST", "/session/signing-challenge").json()["challenge"]
    given = {"username": username, "password": bench.site.passwords["quality"], "challenge": challenge, "digest": shown}
    body = {name: value for name, value in {**given, **more}.items() if value is not None}
    return bench.ask("quality", "POST", "/access-review", {"signature": body})


def test_a_review_is_signed_and_says_by_whom_and_what_it_means(bench: Any) -> None:
    bench.token("quality")
    answer = review(bench)
    assert answer.status_code == 200, answer.text
    line = answer.json()["signed"]
    assert line.startswith("Demonstration quality assurance (quality), quality_assurance: accounts, roles and second factors reviewed, 20")
    assert line.endswith("Z [UTC]")
    entry = next(iter(bench.workstation.store.search(kind="access.review.signed")))
    report = json.loads(bench.workstation.store.blob(entry.attachments[0]["sha256"]))
    assert {item["username"] for item in report["accounts"]} == set(bench.site.passwords)


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        ({"challenge": None}, 403, "no open challenge"),
        ({"challenge": "x" * 43}, 403, "no open challenge"),
        ({"digest": None}, 403, "Nothing says what you were shown"),
        ({"digest": "0" * 64}, 403, "not what was shown"),
        ({"username": None}, 403, "needs user name and password"),
        ({"password": "wrong"}, 401, "password is wrong"),
        ({"username": "qp"}, 422, "signed by the person who is logged in"),
    ],
)
def test_a_signature_that_lacks_something_is_refused(bench: Any, change: dict[str, object], status: int, says: str) -> None:
    bench.token("quality")
    answer = review(bench, **change)
    assert answer.status_code == status and says in answer.json()["detail"], answer.text
    assert "access.review.signed" not in kinds(bench)


def test_what_changed_under_the_signer_is_not_signed(bench: Any) -> None:
    shown = bench.ask("quality", "GET", "/access-review").json()["shown_sha256"]
    bench.ask("administrator", "PUT", "/people/operator/roles", {"roles": ["pharmacist"], "reason": "new post"})
    assert "changed since" in review(bench, digest=shown).json()["detail"]


def test_a_request_for_a_signature_that_is_sent_again_signs_nothing(bench: Any) -> None:
    challenge = bench.ask("quality", "POST", "/session/signing-challenge").json()["challenge"]
    assert review(bench, challenge=challenge).status_code == 200
    assert "no open challenge" in review(bench, challenge=challenge).json()["detail"]
    # nor is one session's challenge good at another
    foreign = bench.ask("qp", "POST", "/session/signing-challenge").json()["challenge"]
    assert "no open challenge" in review(bench, challenge=foreign).json()["detail"]
    assert kinds(bench).count("access.review.signed") == 1


def test_signing_in_sequence_by_password_alone_is_a_choice_of_the_policy(bench: Any) -> None:
    assert review(bench).status_code == 200
    assert review(bench, username=None).status_code == 403
    policy = {**bench.ask("quality", "GET", "/access-policy").json()["policy"], "sequence_minutes": 5}
    changed = bench.ask("administrator", "PUT", "/access-policy", {"policy": policy, "reason": "draft 13.3"})
    assert changed.status_code == 200, changed.text
    assert review(bench).status_code == 200
    assert review(bench, username=None).status_code == 200
    for opened in bench.workstation.sessions._open.values():
        opened.signed = None if opened.signed is None else opened.signed - 5 * MINUTE
    assert review(bench, username=None).status_code == 403


def test_from_outside_each_signature_takes_the_second_factor_again(outside: Outside, passkey_bench: Any) -> None:
    secret, codes = enrol_totp(passkey_bench, "quality")
    token = outside.log_in("quality", code=code_at(secret, step())).json()["token"]

    def sign(**given: object) -> Any:
        shown = outside.ask(token, "GET", "/access-review").json()["shown_sha256"]
        challenge = outside.ask(token, "POST", "/session/signing-challenge").json()["challenge"]
        password = passkey_bench.site.passwords["quality"]
        body = {"username": "quality", "password": password, "challenge": challenge, "digest": shown, **given}
        return outside.ask(token, "POST", "/access-review", {"signature": body})

    assert sign().json()["code"] == "AP-024"
    assert sign(code=codes[0]).status_code == 200
    assert sign(code=codes[0]).status_code == 401


def test_of_two_who_judge_at_once_one_is_told(bench: Any) -> None:
    for _ in range(5):
        bench.client.post("/api/v1/session", json={"username": "operator", "password": "wrong"})
    [notice] = bench.ask("quality", "GET", "/attention").json()
    assert "operator: 5 failed attempts" in notice["text"]
    assert bench.ask("pharmacist", "GET", "/attention").json() == []
    bench.token("administrator")
    with ThreadPoolExecutor(2) as pool:
        answers = list(
            pool.map(
                lambda who: bench.ask(who, "POST", f"/attention/{notice['id']}/judge", {"outcome": f"found by {who}"}),
                ("quality", "administrator"),
            )
        )
    assert sorted(answer.status_code for answer in answers) == [200, 403]
    assert kinds(bench).count("access.misuse.judged") == 1


# First-run set-up


def test_a_site_is_set_up_once_with_the_token_of_the_terminal(tmp_path: Path, cli: Any) -> None:
    folder = tmp_path / "ward"
    shown = cli("site", "create", str(folder), "--site", "ward-3", "--zone", "Europe/Vienna")
    assert shown.status == 0, shown.error
    token = next(line.strip() for line in shown.output.splitlines() if line.startswith("  ") and "ward-3" not in line)
    for path in [*folder.glob("keys/*"), *folder.glob("tls/*.key"), folder / "workstation.toml", folder / "cell-1" / "cell.key"]:
        assert path.stat().st_mode & 0o777 == 0o600, path
    assert folder.stat().st_mode & 0o777 == 0o700
    again = cli("site", "create", str(folder), "--site", "ward-3", "--zone", "Europe/Vienna")
    assert again.status == 2 and "AP-003" in again.error
    workstation = build_workstation(folder)
    answer = {"token": token, "username": "mara", "full_name": "Test Administrator", "password": "seven grey herons wade"}
    try:
        assert not workstation.store.demonstration and list(workstation.people.people()) == []
        with TestClient(create_app(workstation, page=False), base_url="http://localhost:8080", client=("127.0.0.1", 5)) as client:
            assert client.get("/login", follow_redirects=False).headers["location"] == "/set-up"
            assert "Set-up token" in client.get("/set-up").text
            for change, status in (({"token": "x"}, 401), ({"password": "password12345"}, 403), ({"again": "other"}, 422)):
                assert client.post("/api/v1/set-up", json={**answer, **change}).status_code == status
            with ThreadPoolExecutor(2) as pool:
                both = list(pool.map(lambda name: client.post("/api/v1/set-up", json={**answer, "username": name}), ("mara", "other")))
            assert sorted(item.status_code for item in both) == [201, 400]
            assert client.get("/set-up").status_code == 404
            assert client.post("/api/v1/set-up", json=answer).json()["code"] == "AP-003"
            name = next(item.json()["username"] for item in both if item.status_code == 201)
            assert client.post("/api/v1/session", json={"username": name, "password": answer["password"]}).status_code == 200
    finally:
        workstation.close()
    assert cli("site", "token", str(folder)).status == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--site", "Ward 3", "--zone", "UTC"), "no name for a site"),
        (("--site", "ward-3", "--zone", "Mars/Base"), "no time zone"),
        (("--site", "ward-3", "--zone", "UTC", "--administrator", "mara"), "a user name and a full name"),
    ],
)
def test_a_site_that_cannot_be_made_leaves_nothing(tmp_path: Path, cli: Any, arguments: tuple[str, ...], says: str) -> None:
    answer = cli("site", "create", str(tmp_path / "ward"), *arguments)
    assert answer.status == 2 and says in answer.error
    assert list(tmp_path.iterdir()) == []


def test_questions_that_anybody_may_ask_push_out_no_challenge_of_a_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(challenges, "_MOST", 3)
    Virtual.at = 0
    asked = challenges.Challenges(Virtual())
    of_signature = asked.issue("signature", "qp")
    passkeys = [asked.issue("passkey", "nobody") for _ in range(5)]
    assert [asked.take(text, "passkey", "nobody") for text in passkeys] == [False, False, True, True, True]
    assert not asked.take(of_signature, "passkey", "qp"), "a challenge serves one purpose"
    assert asked.take(of_signature, "signature", "qp") and not asked.take(of_signature, "signature", "qp")
    late = asked.issue("signature", "qp")
    Virtual.at = challenges.LIFETIME_S * MICROSECONDS
    assert not asked.take(late, "signature", "qp")


def test_nobody_judges_a_notice_about_themselves(bench: Any) -> None:
    for _ in range(5):
        bench.client.post("/api/v1/session", json={"username": "operator", "password": "wrong"})
    identity = bench.workstation.people._identity
    bench.workstation.store.append(identity._misuse("the last administrator was unlocked at the machine itself", "administrator"))
    for notice in bench.ask("quality", "GET", "/attention").json():
        own = "administrator" in notice["text"]
        judged = bench.ask("administrator", "POST", f"/attention/{notice['id']}/judge", {"outcome": "looked at"})
        assert judged.status_code == (403 if own else 200)
        if own:
            assert bench.ask("quality", "POST", f"/attention/{notice['id']}/judge", {"outcome": "looked at"}).status_code == 200
    assert kinds(bench).count("access.misuse.judged") == 2
