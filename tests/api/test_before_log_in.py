"""Before log-in nothing of the site is told: every route, every page, every method; and every answer carries the strict headers."""

from __future__ import annotations

import re
from typing import Any

import pytest
from released import PRODUCTION, release
from test_security import WITHOUT, _routes

from api.frontier import PUBLIC

PAGES = ("/", "/people", "/account", "/recipes", "/inks", "/models", "/trail", "/recall", "/nothing", "/?cell=cell-1", "/favicon.ico")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
STRICT = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=()",
}


@pytest.fixture
def secrets(bench: Any) -> set[str]:
    """Words that only somebody of the site may read."""
    release(bench)
    people = list(bench.workstation.people.people())
    words = {str(person["username"]) for person in people if person["username"] not in ("qp", "second")}
    words |= {str(person["name"]) for person in people} | {str(person["verifier_key"]) for person in people}
    words |= {"cell-1", "cyclophosphamide", "CYC-DEMO", "O00001", "B00001", "test-1", bench.workstation.store.origin}
    return words | {str(bench.workstation.settings.folder), bench.token("operator")}


def told(text: str, secrets: set[str]) -> set[str]:
    return {word for word in secrets if re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text)}


def test_no_route_and_no_page_tells_anything_of_the_site(bench: Any, secrets: set[str]) -> None:
    asked = [(method, path) for method, path, _ in _routes(bench)]
    filled = [(method, path.replace("B9", "B00001").replace("O9", "O00001").replace("cell-9", "cell-1")) for method, path in asked]
    for method, path in {*asked, *filled, *((method, page) for method in METHODS for page in PAGES)}:
        answer = bench.client.request(method, path, headers={"Accept": "text/html"} if path in PAGES else {}, follow_redirects=False)
        shown = answer.text + " ".join(value for name, value in answer.headers.items() if name != "location")
        what = f"{method} {path}: {answer.status_code}"
        assert told(shown, secrets) == set(), what
        if (method, path.partition("?")[0]) not in WITHOUT:
            assert answer.status_code in (303, 401, 405), what
        assert answer.headers.get("location", "/login") == "/login", what


def test_what_is_open_is_what_is_listed(bench: Any) -> None:
    assert PUBLIC == WITHOUT


def test_the_words_that_are_looked_for_are_there_for_who_is_logged_in(bench: Any, secrets: set[str]) -> None:
    """The test above would find them: here they are."""
    text = "".join(bench.ask("operator", "GET", path).text for path in ("/people", "/batches", "/orders", "/cells", "/trail/checkpoint"))
    assert {"operator", "cell-1", "B00001", "O00001", bench.workstation.store.origin} <= told(text, secrets)


@pytest.mark.parametrize("logged_in", [False, True])
def test_every_answer_has_the_strict_headers(bench: Any, logged_in: bool) -> None:
    headers = {"Authorization": f"Bearer {bench.token('operator')}"} if logged_in else {}
    paths = ("/login", "/api/v1/health", "/api/v1/orders", "/api/v1/nothing", "/api/v1/openapi.json", "/api/v1/metrics")
    for path in paths:
        answer = bench.client.get(path, headers=headers)
        assert {name: answer.headers[name] for name in STRICT} == STRICT, path
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe-eval" not in policy, path
        assert answer.headers["cache-control"] == "no-store", path
        assert "server" not in answer.headers and "strict-transport-security" not in answer.headers, "in the clear, browsers ignore it"
        assert "access-control-allow-origin" not in answer.headers, path


def test_a_refused_log_in_shows_its_page_and_not_what_was_typed(bench: Any) -> None:
    form = {"username": "<script>alert(1)</script>", "password": "secret-that-was-typed"}
    answer = bench.client.post("/api/v1/session", data=form, headers={"Accept": "text/html"})
    assert answer.status_code == 401 and "<script>alert" not in answer.text and "secret-that-was-typed" not in answer.text


def test_errors_of_ours_say_nothing_of_the_inside(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ValueError(f"/secret/place {PRODUCTION.ORDER}")

    monkeypatch.setattr(bench.workstation.production, "orders", fails)
    bench.client._transport.raise_server_exceptions = False
    answer = bench.ask("operator", "GET", "/orders")
    assert answer.status_code == 500 and answer.json()["code"] == "DW-000"
    assert "/secret/place" not in answer.text and "Traceback" not in answer.text and "ValueError" not in answer.text
