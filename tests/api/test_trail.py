"""The trail through the interface and the command: questions, pages, history, exports on record, and errors that name the field."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from api import cli
from api.errors import InputInvalid
from api.trail_question import read_filter
from api.workstation.trail_page import asked, filter_of, form_html
from api.workstation.trail_tables import changes_html, entries_html, history_html, link
from audit.canonical import sha256_hex
from audit.checkpoint import SigningKey
from audit.clock import SystemClock
from audit.events import Actor, Entry, EntryDraft, EventKind, Subject
from audit.object_history import object_history
from audit.store import TrailStore
from audit.trail_search import PRESETS, TrailFilter, TrailPage

_SPEC = importlib.util.spec_from_file_location("orders_for_the_trail", Path(__file__).with_name("test_production.py"))
assert _SPEC is not None and _SPEC.loader is not None
_PRODUCTION = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_PRODUCTION)

MARKUP = "<img src=x onerror=alert(1)>"


def ordered(bench: Any) -> str:
    order: str = _PRODUCTION.enter(bench).json()["order"]
    assert _PRODUCTION.confirm(bench, order).status_code == 200
    return order


def test_an_order_shows_who_signed_it_and_that_it_stands(bench: Any) -> None:
    order = ordered(bench)
    found = bench.ask("qp", "GET", f"/trail/objects/order/{order}").json()
    assert [(row["field"], row["signed"], row["standing"]) for row in found["signatures"]] == [
        ("entered", True, "signed"), ("confirmed", True, "signed"),
    ]  # fmt: skip
    first = found["entries"][0]
    assert {"actor", "name", "role", "at", "zone", "reason"} <= first.keys()
    assert {"field": "status", "old": None, "new": "entered", "unit": None} in first["changes"]
    assert any(change["field"].startswith("order.prescription.") for change in first["changes"])


def test_an_order_changed_after_its_signatures_is_shown_as_not_signed(bench: Any) -> None:
    order = ordered(bench)
    store: TrailStore = bench.workstation.store
    state: Any = store.state("order", order)
    changed = {"order": {**state["order"], "prescription": {**state["order"]["prescription"], "days": 99}}}
    kind = EventKind.ORDER_PRESCRIPTION_ENTERED
    (entry,) = store.append(EntryDraft(kind, Subject("order", order), changed, Actor("x", "X", "pharmacist"), "ws"))
    found = bench.ask("qp", "GET", f"/trail/objects/order/{order}").json()
    assert {row["standing"] for row in found["signatures"]} == {f"not signed: changed by entry {entry.seq}"}
    html = history_html(object_history(Subject("order", order), store.search(subject_type="order", subject_id=order)), 10)
    assert html.count(f"not signed: changed by entry {entry.seq}") == 2
    assert "✓" not in html


def test_every_recipe_of_a_new_site_is_signed(bench: Any) -> None:
    for reference, state in bench.workstation.store.objects("recipe"):
        found = bench.ask("qp", "GET", f"/trail/objects/recipe/{reference}").json()
        assert all(row["signed"] in (True, None) for row in found["signatures"]), (reference, state)


def test_pages_of_the_interface_join(bench: Any) -> None:
    ordered(bench)
    seen: list[int] = []
    path = "/trail?limit=3&order=oldest"
    while True:
        answer = bench.ask("qp", "GET", path).json()
        seen += [entry["seq"] for entry in answer["entries"]]
        if answer["cursor"] is None:
            break
        path = f"/trail?limit=3&order=oldest&cursor={answer['cursor']}"
    assert seen == list(range(bench.workstation.store.size))


def test_the_access_log_is_a_preset(bench: Any) -> None:
    bench.token("qp")
    bench.client.post("/api/v1/session", json={"username": "olga-who-is-not", "password": "x"})
    bench.client.post("/api/v1/session", json={"username": "operator", "password": "wrong"})
    found = bench.ask("quality", "GET", "/trail?preset=access").json()["entries"]
    assert {"person.session.opened", "person.session.refused"} <= {entry["kind"] for entry in found}
    assert all(entry["kind"].startswith(("person.session.", "person.account.")) for entry in found)
    mine = bench.ask("quality", "GET", "/trail?preset=access&person=operator").json()["entries"]
    assert "person.session.refused" in {entry["kind"] for entry in mine}


def test_the_trail_of_a_cell_is_searched_as_well(bench: Any) -> None:
    bench.cell.record(EventKind.RUN_STATE_CHANGED, "run", "R9", {"state": "PRINTING"})
    found = bench.ask("qp", "GET", "/trail?trail=cell-1&object=run/R9").json()
    assert [entry["new"] for entry in found["entries"]] == [{"state": "PRINTING"}]
    history = bench.ask("qp", "GET", "/trail/objects/run/R9?trail=cell-1").json()
    assert history["entries"][0]["changes"] == [{"field": "state", "old": None, "new": "PRINTING", "unit": None}]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("since=yesterday", "since: 'yesterday' is neither a day nor a time"),
        ("until=2026-11-20T10:00:00", "until: '2026-11-20T10:00:00' is neither a day nor a time"),
        ("since=2026-11-21&until=2026-11-19", "since is not before until"),
        ("kind=nonsense", "There is no kind of entry 'nonsense'"),
        ("preset=nonsense", "There is no preset 'nonsense'"),
        ("trail=cell-9", "There is no trail 'cell-9'"),
        ("text=%00", "The field text takes up to 200 printable characters"),
        ("limit=0", "limit"),
        ("cursor=-1", "cursor"),
        (f"text={'x' * 201}", "text"),
    ],
)
def test_a_wrong_question_is_refused_by_name(bench: Any, query: str, said: str) -> None:
    answer = bench.ask("qp", "GET", f"/trail?{query}")
    assert answer.status_code in (404, 422)
    assert said in answer.json()["detail"]
    assert answer.json()["remedy"]


def test_an_object_that_the_trail_does_not_know_is_not_found(bench: Any) -> None:
    assert bench.ask("qp", "GET", "/trail/objects/order/O99999").status_code == 404


@pytest.mark.parametrize("file_format", ["csv", "json"])
def test_an_export_is_an_entry_with_its_reason_and_digest(bench: Any, file_format: str) -> None:
    ordered(bench)
    body = {"format": file_format, "reason": "inspection 2026/7", "fields": {"object": "order"}}
    answer = bench.ask("qp", "POST", "/trail/export", body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-disposition"].startswith("attachment; ")
    (entry,) = bench.workstation.store.search(kind="record.selection.exported")
    assert (entry.reason, entry.actor.username) == ("inspection 2026/7", "qp")
    assert entry.new["sha256"] == sha256_hex(answer.content)
    assert entry.new["filter"] == {"object_type": "order"}
    if file_format == "csv":
        rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8"), newline="")))
        assert {row["object type"] for row in rows} == {"order"}
        assert entry.new["entries"] == len({row["seq"] for row in rows}) == 2
    else:
        assert [item["entry"]["kind"] for item in answer.json()["entries"]] == [
            "order.prescription.entered",
            "order.prescription.confirmed",
        ]


def test_an_export_without_a_reason_or_the_right_is_refused_and_not_on_record(bench: Any) -> None:
    assert bench.ask("qp", "POST", "/trail/export", {"format": "csv", "reason": "  "}).status_code == 422
    assert bench.ask("qp", "POST", "/trail/export", {"format": "xml", "reason": "a reason"}).status_code == 422
    assert bench.ask("qp", "POST", "/trail/export", {"format": "csv", "reason": "why", "fields": {"colour": "x"}}).status_code == 422
    assert bench.ask("operator", "POST", "/trail/export", {"format": "csv", "reason": "a reason"}).status_code == 403
    assert bench.workstation.store.search(kind="record.selection.exported") == []


def test_a_day_as_the_end_of_a_search_is_meant_with_all_of_it() -> None:
    wanted = read_filter({"since": "2026-11-20", "until": "2026-11-20"})
    assert (wanted.since, wanted.until) == ("2026-11-20T00:00:00.000000Z", "2026-11-21T00:00:00.000000Z")
    assert read_filter({"since": "2026-11-20T10:30:00+02:00"}).since == "2026-11-20T08:30:00.000000Z"


def new_trail(path: Path) -> TrailStore:
    key = SigningKey.generate("x")
    return TrailStore.create(path, origin="x", key=key, clock=SystemClock(), software="s", demonstration=True)


def evil_entry(tmp_path: Path) -> Entry:
    who, kind = Actor(MARKUP, MARKUP, MARKUP), EventKind.RUN_STATE_CHANGED
    with new_trail(tmp_path / "e.db") as store:
        return store.append(EntryDraft(kind, Subject("run", MARKUP), {MARKUP: MARKUP}, who, MARKUP, reason=MARKUP))[0]


def test_nothing_of_a_record_becomes_markup(tmp_path: Path) -> None:
    entry = evil_entry(tmp_path)
    query = asked(dict.fromkeys(("trail", "person", "kind", "text", "since", "preset"), f'">{MARKUP}'))
    for html in (
        entries_html(TrailPage((entry,), None, 1), query),
        history_html(object_history(entry.subject, [entry]), 5),
        form_html(query, ("workstation", MARKUP)),
        changes_html(()),
        link(query),
    ):
        assert "<img" not in html
        assert not re.search(r'="[^"]*<', html)


def test_the_page_offers_the_presets_that_there_are() -> None:
    html = form_html(asked({}), ("workstation",))
    assert all(f'<option value="{name}"' in html for name in PRESETS)
    assert filter_of(asked({"preset": "access"})) == TrailFilter(kinds=PRESETS["access"])
    with pytest.raises(InputInvalid, match="text takes up to 200"):
        filter_of(asked({"text": "x" * 5000}))


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = cli.run(list(arguments))
    out, err = capsys.readouterr()
    return status, out, err


def test_the_command_searches_and_shows_a_history(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    order = ordered(bench)
    store = str(bench.workstation.store.path)
    status, text, error = run(capsys, "trail", store, "--object", "order")
    assert (status, error) == (0, "")
    assert "order.prescription.confirmed" in text
    assert text.strip().endswith(f"2 of {bench.workstation.store.size} entries")
    status, text, _ = run(capsys, "trail", store, "--limit", "1")
    assert "there are more" in text
    status, text, _ = run(capsys, "trail", store, "--object", f"order/{order}", "--history")
    assert status == 0
    assert ": SIGNED" in text
    tree = json.loads(run(capsys, "trail", store, "--object", f"order/{order}", "--history", "--json")[1])
    assert tree["object"] == {"type": "order", "id": order}
    tree = json.loads(run(capsys, "trail", store, "--preset", "access", "--json", "--oldest-first")[1])
    assert {item["entry"]["kind"] for item in tree["entries"]} <= {kind.value for kind in EventKind if kind.startswith("person.")}
    text = run(capsys, "trail", store, "--object", "order", "--csv")[1]
    assert {row["object id"] for row in csv.DictReader(io.StringIO(text))} == {order}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--since", "soon"], "since: 'soon' is neither a day nor a time"),
        (["--kind", "x"], "There is no kind of entry 'x'"),
        (["--preset", "x"], "There is no preset 'x'"),
        (["--history"], "A history is of one object"),
        (["--history", "--object", "order/none"], "The trail says nothing of order/none"),
        (["--json", "--csv"], "Give --json or --csv, not both"),
    ],
)
def test_a_wrong_command_says_what_is_wrong(bench: Any, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    status, text, error = run(capsys, "trail", str(bench.workstation.store.path), *arguments)
    assert (status, text) == (2, "")
    assert said in error


def test_a_file_that_is_no_store_and_one_that_is_missing_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.db").write_text("not a store, but long enough to be looked at " * 50)
    assert run(capsys, "trail", str(tmp_path / "none.db"))[0] == 2
    status, _, error = run(capsys, "trail", str(tmp_path / "text.db"))
    assert status == 2
    assert "is not a trail store" in error


def test_nothing_in_a_record_commands_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "t.db"
    with new_trail(path) as store:
        who = Actor("eve", "\x1b]0;owned\x07[bold]Eve", "operator")
        store.append(EntryDraft(EventKind.RUN_STATE_CHANGED, Subject("run", "R1"), {"a": "\x1b[2J"}, who, "x", reason="\x1b[31mred"))
    _, text, _ = run(capsys, "trail", str(path), "--object", "run")
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[bold]Eve" in text.replace("\n", "")
