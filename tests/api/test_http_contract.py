"""What holds for every route: keys that make a repeat harmless, bounds on bodies and attempts, figures, readiness, the live feed."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from api import routes_process
from api.app import create_app
from api.body_limits import BodyLimits
from api.feed import MOST_PER_PERSON, FeedPlaces, entries_and_cells
from api.idempotency import ANSWERS_FILE, KeptAnswers, fingerprint_of
from api.log_in_rate import FAILURES, SPAN_US, FailedLogIns
from api.wiring import build_workstation
from audit.clock import SystemClock, UtcReading

KEY = "0123456789abcdef-a"
FORMS_REFUSED = {("post", "/api/v1/session", "401"), ("post", "/api/v1/session", "403")}
"""What the log-in page's own form shows as a page."""


@dataclass
class SetClock:
    """A clock that stands until it is set."""

    at_us: int = 0
    rate: Decimal = Decimal(1)

    def now(self) -> int:
        return self.at_us

    def utc(self) -> UtcReading:
        return UtcReading(datetime.fromtimestamp(self.at_us / 1_000_000, UTC).isoformat(), "UTC", "unknown")


def order(bench: Any, **changes: str) -> dict[str, Any]:
    body = {
        "recipe": "cyclophosphamide",
        "ink_lot": "CYC-DEMO-01",
        "cartridge": "CYC-DEMO-01-A",
        "patient": "demonstration-001",
        "moiety": "cyclophosphamide",
        "basis": "anhydrous",
        "height_cm": "110",
        "weight_kg": "18",
        "age_years": "5",
        "prescribed": "25",
        "unit": "mg/m2",
        "per": "day",
        "schedule": "once daily",
        "days": "3",
        "measured": datetime.now(UTC).date().isoformat(),
        "prescriber": "test prescriber",
        "number": "RX-1",
        **changes,
    }
    return {"order": body, "signature": bench.signature("pharmacist")}


def post(bench: Any, body: object, key: str = KEY, username: str = "pharmacist", path: str = "/orders") -> Any:
    headers = {"Authorization": f"Bearer {bench.token(username)}", "Idempotency-Key": key}
    return bench.client.post(f"/api/v1{path}", json=body, headers=headers)


def orders(bench: Any) -> list[str]:
    return [name for name, _ in bench.workstation.store.objects("order")]


def test_a_request_sent_again_is_answered_again_and_done_once(bench: Any) -> None:
    first, again = post(bench, order(bench)), post(bench, order(bench))
    assert first.status_code == again.status_code == 201, first.text
    assert first.json() == again.json() and again.headers["idempotency-replayed"] == "true"
    assert orders(bench) == ["O00001"]


def test_the_answer_outlives_the_process(bench: Any) -> None:
    first = post(bench, order(bench))
    workstation = bench.workstation
    workstation.store.close()
    reopened = build_workstation(workstation.settings.folder, connector=bench.cell.connect)
    try:
        client = type(bench.client)(create_app(reopened, page=False), base_url="http://localhost:8080", client=("127.0.0.1", 50000))
        token = client.post("/api/v1/session", json={"username": "pharmacist", "password": bench.site.passwords["pharmacist"]}).json()[
            "token"
        ]
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": KEY}
        again = client.post("/api/v1/orders", json=order(bench), headers=headers)
        assert again.json() == first.json() and again.headers["idempotency-replayed"] == "true"
    finally:
        reopened.close()


def test_two_who_press_at_once_with_one_key_make_one_order(bench: Any) -> None:
    bench.token("pharmacist")
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: post(bench, order(bench)), range(4)))
    assert len(orders(bench)) == 1
    assert {answer.status_code for answer in answers} <= {201, 409} and 201 in {answer.status_code for answer in answers}


def test_a_key_is_of_one_request_and_one_person(bench: Any) -> None:
    assert post(bench, order(bench)).status_code == 201
    other = post(bench, order(bench, height_cm="111"))
    assert other.status_code == 422 and "another request" in other.json()["detail"]
    body = {**order(bench, number="RX-2", patient="demonstration-002"), "signature": bench.signature("operator")}
    assert "idempotency-replayed" not in post(bench, body, username="operator").headers


def test_a_key_is_of_one_query_and_a_file_keeps_its_name(bench: Any) -> None:
    asked = {"reason": "asked for by the inspector", "format": "csv"}
    first, again, other = (post(bench, asked, username="quality", path=f"/trail/export{query}") for query in ("?a=1", "?a=1", "?a=2"))
    assert first.status_code == 200, first.text
    assert again.headers["idempotency-replayed"] == "true" and again.content == first.content
    assert again.headers["content-disposition"] == first.headers["content-disposition"]
    assert other.status_code == 422 and "another request" in other.json()["detail"]


def test_a_locked_session_is_given_no_kept_answer(bench: Any) -> None:
    assert post(bench, order(bench)).status_code == 201
    (opened,) = bench.workstation.sessions._open.values()
    for changed in ({"locked": True}, {"must_change": "it was issued"}):
        before, opened.session = opened.session, replace(opened.session, **changed)
        refused = post(bench, order(bench))
        assert refused.status_code in (423, 403) and "idempotency-replayed" not in refused.headers
        assert post(bench, order(bench), key=KEY + "2").status_code in (423, 403)
        opened.session = before
    assert post(bench, order(bench)).headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in post(bench, order(bench), key=KEY + "2").headers, "a refusal was kept"


def test_a_password_that_was_issued_is_in_no_kept_answer(bench: Any) -> None:
    made = {"username": "newone", "full_name": "New One", "roles": ["operator"]}
    for path, body in (("/people", made), ("/people/newone/password", {"reason": "forgotten"})):
        first, again = (post(bench, body, username="administrator", path=path) for _ in range(2))
        assert "issued_password" in first.json(), first.text
        assert again.json().get("issued_password") != first.json()["issued_password"]
    rows = bench.workstation.answers._connection.execute("SELECT count(*) FROM answers").fetchone()
    assert rows == (0,)


def test_what_was_refused_may_be_corrected_under_its_key(bench: Any) -> None:
    assert post(bench, order(bench, height_cm="eleven")).status_code == 422
    assert post(bench, order(bench)).status_code == 201


def test_a_request_that_was_cut_off_is_not_carried_out_again(bench: Any) -> None:
    answers = sqlite3.connect(bench.workstation.settings.path(ANSWERS_FILE))
    fingerprint = fingerprint_of("POST", "/api/v1/orders", json.dumps(order(bench)).encode())
    now = int(datetime.now(UTC).timestamp() * 1_000_000)
    answers.execute("INSERT INTO answers VALUES ('pharmacist', ?, ?, ?, NULL, '', x'')", (KEY, fingerprint, now))
    answers.commit()
    answers.close()
    answer = post(bench, order(bench))
    assert answer.status_code == 409 and "Look at the object" in answer.json()["remedy"]
    assert orders(bench) == []


def test_a_disk_that_takes_no_key_refuses_the_request_before_it_is_done(bench: Any) -> None:
    bench.token("pharmacist")
    bench.workstation.answers._connection.execute("PRAGMA query_only=1")
    answer = post(bench, order(bench))
    assert answer.status_code == 503 and "nothing was done" in answer.json()["detail"] and orders(bench) == []
    bench.workstation.answers._connection.execute("PRAGMA query_only=0")
    assert post(bench, order(bench)).status_code == 201


def test_an_answer_that_the_disk_does_not_keep_goes_out_and_nothing_is_done_twice(bench: Any, monkeypatch: Any) -> None:
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(bench.workstation.answers, "finish", full)
    assert post(bench, order(bench)).status_code == 201
    assert post(bench, order(bench)).status_code == 409 and orders(bench) == ["O00001"]


@pytest.mark.parametrize("key", ["short", "x" * 129, "with a blank in the middle"])
def test_a_key_that_is_none_is_refused(bench: Any, key: str) -> None:
    assert post(bench, order(bench), key=key).status_code == 422
    assert orders(bench) == []


def test_no_password_is_in_what_is_kept(bench: Any) -> None:
    post(bench, order(bench))
    with_other = {**order(bench), "signature": {**bench.signature("pharmacist"), "password": "another"}}
    one, other = (fingerprint_of("POST", "/x", json.dumps(body).encode()) for body in (order(bench), with_other))
    assert one == other
    kept = bench.workstation.settings.path(ANSWERS_FILE).read_bytes()
    wal = Path(f"{bench.workstation.settings.path(ANSWERS_FILE)}-wal")
    assert bench.site.passwords["pharmacist"].encode() not in kept + (wal.read_bytes() if wal.exists() else b"")


def test_kept_answers_end_after_a_day(tmp_path: Path) -> None:
    clock = SetClock(10**15)
    answers = KeptAnswers(tmp_path / "answers.db", clock, b"k" * 32)
    assert answers.begin("p", KEY, "f") is None
    answers.finish("p", KEY, 201, "application/json", b"{}")
    clock.at_us += 24 * 3600 * 1_000_000
    assert answers.begin("p", KEY, "f") is not None
    clock.at_us += 1
    assert answers.begin("p", KEY, "f") is None
    answers.close()


def test_a_kept_answer_is_sealed_and_opens_with_its_key_alone(tmp_path: Path) -> None:
    path, clock = tmp_path / "answers.db", SetClock(10**15)
    answers = KeptAnswers(path, clock, b"k" * 32)
    answers.begin("p", KEY, "f")
    answers.finish("p", KEY, 201, "application/json", b'{"patient": "a name"}')
    known = answers.begin("p", KEY, "f")
    assert known is not None and (known.status, known.body) == (201, b'{"patient": "a name"}')
    answers.close()
    assert b"a name" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())
    other = KeptAnswers(path, clock, b"x" * 32)
    known = other.begin("p", KEY, "f")
    assert known is not None and (known.status, known.body) == (None, b"")
    other.close()
    with closing(sqlite3.connect(path)) as changed:
        changed.execute("UPDATE answers SET body = ?", (b"{}",))
        changed.commit()
    again = KeptAnswers(path, clock, b"k" * 32)
    known = again.begin("p", KEY, "f")
    assert known is not None and (known.status, known.body) == (None, b"")
    again.close()


async def _through(limits: BodyLimits, messages: list[dict[str, Any]], headers: list[tuple[bytes, bytes]], silent: bool = False) -> int:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if not messages:
            await (asyncio.Event().wait() if silent else asyncio.sleep(0))
            return {"type": "http.disconnect"}
        return messages.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await limits({"type": "http", "method": "POST", "path": "/x", "headers": headers}, receive, send)
    return int(sent[0]["status"])


async def _reads_all(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


BLOCK = {"type": "http.request", "body": b"x" * 10, "more_body": True}
LAST = {"type": "http.request", "body": b"", "more_body": False}


@pytest.mark.parametrize(
    ("messages", "headers", "silent", "status"),
    [
        ([BLOCK, LAST], [], False, 200),
        ([BLOCK, BLOCK, BLOCK, LAST], [], False, 413),
        ([LAST], [(b"content-length", b"26")], False, 413),
        ([LAST], [(b"content-length", b"-1")], False, 413),
        ([BLOCK], [], True, 408),
    ],
)
def test_a_body_is_bounded_in_size_and_time(messages: list[Any], headers: list[Any], silent: bool, status: int) -> None:
    limits = BodyLimits(_reads_all, largest=25, slowest_s=0.05)
    assert asyncio.run(_through(limits, [dict(message) for message in messages], headers, silent)) == status


def test_a_large_body_is_one_problem(bench: Any) -> None:
    headers = {"Authorization": f"Bearer {bench.token('pharmacist')}"}
    answer = bench.client.post("/api/v1/doses", content=b"x" * ((8 << 20) + 1), headers=headers)
    assert answer.status_code == 413 and answer.headers["content-type"] == "application/problem+json"


def test_an_address_that_fails_too_often_waits_and_others_do_not() -> None:
    clock = SetClock()
    failed = FailedLogIns(clock)
    for _ in range(FAILURES):
        assert failed.wait_us("a") == 0
        failed.failed("a")
    assert failed.wait_us("a") == SPAN_US and failed.wait_us("b") == 0
    clock.at_us = SPAN_US - 1
    assert failed.wait_us("a") == 1
    clock.at_us = SPAN_US
    assert failed.wait_us("a") == 0


def test_log_in_says_when_to_come_again(bench: Any) -> None:
    wrong = {"username": "nobody", "password": "not the password"}
    statuses = [bench.client.post("/api/v1/session", json=wrong).status_code for _ in range(FAILURES + 1)]
    assert statuses == [401] * FAILURES + [429]
    right = {"username": "operator", "password": bench.site.passwords["operator"]}
    answer = bench.client.post("/api/v1/session", json=right)
    assert answer.status_code == 429 and 0 < int(answer.headers["retry-after"]) <= 60


def test_figures_are_read_by_prometheus_and_name_nobody(bench: Any) -> None:
    post(bench, order(bench))
    text = bench.ask("operator", "GET", "/metrics").text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    counted = {sample.labels["route"] for sample in families["dosewright_http_requests"].samples}
    assert "/api/v1/orders" in counted
    (entries,) = families["dosewright_trail_entries"].samples
    assert entries.value == bench.workstation.store.size
    assert "pharmacist" not in text and "demonstration-001" not in text and "O00001" not in text


def test_ready_is_said_to_anybody_and_says_nothing_else(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bench.client.get("/api/v1/ready").json() == {"status": "ready"}
    with monkeypatch.context() as patch:
        patch.setattr(routes_process, "LEAST_FREE", 1 << 62)
        full = bench.client.get("/api/v1/ready")
        assert full.json()["code"] == "AU-002", "the record refuses writes soon; no cell is the matter"
        assert full.status_code == 503 and str(bench.workstation.settings.folder) not in full.text

    store = bench.workstation.store
    with closing(sqlite3.connect(store.path)) as vandal:
        vandal.execute("ALTER TABLE entries RENAME TO gone")
        vandal.commit()
    broken = bench.client.get("/api/v1/ready")
    assert broken.status_code == 503 and "The record cannot be read." in broken.text and str(store.path) not in broken.text


def events_of(text: str) -> list[dict[str, str]]:
    blocks = [block for block in text.split("\n\n") if block and not block.startswith(":")]
    return [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]


def test_the_feed_goes_on_where_a_client_was(bench: Any) -> None:
    post(bench, order(bench))
    last = bench.workstation.store.size - 1
    headers = {"Authorization": f"Bearer {bench.token('operator')}", "Last-Event-ID": str(last - 2)}
    found = events_of(bench.client.get("/api/v1/feed?once=true", headers=headers).text)
    numbers = [int(event["id"]) for event in found if event.get("event") == "entry"]
    assert numbers[:2] == [last - 1, last] and numbers == sorted(numbers), "the log-in of the operator comes after them"
    assert [json.loads(event["data"])["seq"] for event in found if event.get("event") == "entry"] == numbers
    assert [json.loads(event["data"])["cell"] for event in found if event.get("event") == "cell"] == ["cell-1"]


@pytest.mark.parametrize("value", ["-1", "x", "٣", "1" * 20])
def test_a_place_in_the_feed_that_is_none_is_refused(bench: Any, value: str) -> None:
    headers = {"Authorization": f"Bearer {bench.token('operator')}", "Last-Event-ID": value.encode()}
    assert bench.client.get("/api/v1/feed?once=true", headers=headers).status_code == 422


def test_the_feed_ends_with_the_session(bench: Any) -> None:
    token = bench.token("operator")
    workstation = bench.workstation

    async def run() -> list[bytes]:
        blocks = []
        async for block in entries_and_cells(workstation, workstation.sessions, token, None, "", once=False):
            blocks.append(block)
            if block.startswith(b"event: cell"):
                workstation.sessions.close_person("operator")
        return blocks

    assert asyncio.run(run())[-1].startswith(b"event: end")


def test_a_person_has_a_few_feeds_and_gets_their_places_back(bench: Any) -> None:
    places = FeedPlaces()
    with pytest.raises(Exception, match="feeds open"), places.taken("p"), places.taken("p"), places.taken("p"), places.taken("p"):
        places.require("p")
    places.require("p")
    assert MOST_PER_PERSON == 4


def test_every_route_says_which_problems_it_may_answer_with(bench: Any) -> None:
    document = bench.ask("operator", "GET", "/openapi.json").json()
    assert document["components"]["schemas"]["Problem"]["required"] == ["type", "title", "status", "code", "detail"]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert {"401", "403", "409", "422", "503"} <= operation["responses"].keys(), f"{method} {path}"
            for status, answer in operation["responses"].items():
                if status.startswith(("4", "5")):
                    forms = ["text/html"] if (method, path, status) in FORMS_REFUSED else []
                    assert list(answer["content"]) == ["application/problem+json", *forms], f"{method} {path} {status}"


def test_system_clock_and_threads_do_not_matter_to_kept_answers(tmp_path: Path) -> None:
    answers = KeptAnswers(tmp_path / "answers.db", SystemClock(), b"k" * 32)
    begun: list[bool] = []
    threads = [threading.Thread(target=lambda: begun.append(answers.begin("p", KEY, "f") is None)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers.close()
    assert sorted(begun) == [False] * 7 + [True]
