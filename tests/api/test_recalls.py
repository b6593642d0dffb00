"""Recalls through the interface: what is found is stopped in one act, followed, and closed only when everything is accounted for."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from released import PRODUCTION, RUN, code_of, release
from test_packs import JANE, labelled, pack_all, print_label

from api import recall_desk
from audit.events import SYSTEM, EntryDraft, EventKind, Subject
from audit.signatures import verify_signature

LOT, CARTRIDGE = "CYC-DEMO-01", "CYC-DEMO-01-A"


@pytest.fixture
def dispensed(bench: Any) -> tuple[str, str]:
    """A batch of three units, its pack with a carer."""
    batch = release(bench)
    assert bench.ask("pharmacist", "POST", "/patients/test-1/identity", JANE).status_code == 201
    pack = labelled(bench, batch)
    given = {"scanned": code_of(bench, pack), "to": "carer"}
    assert bench.ask("pharmacist", "POST", f"/packs/{pack}/dispense", given).status_code == 200
    return batch, pack


def open_recall(bench: Any, username: str = "qp", **search: str) -> Any:
    body = {"search": search or {"ink_lot": LOT}, "reason": "assay out of specification", "signature": bench.signature(username)}
    return bench.ask(username, "POST", "/recalls", body)


@pytest.mark.parametrize(
    ("search", "units"),
    [
        ({"ink_lot": LOT}, 3),
        ({"cartridge": CARTRIDGE}, 3),
        ({"recipe": "cyclophosphamide"}, 3),
        ({"cell": "cell-1"}, 3),
        ({"printer": "sse-20g-10ml"}, 3),
        ({"equipment": "BAL-7"}, 3),
        ({"operator": "operator"}, 3),
        ({"batch": "B00001"}, 3),
        ({"since": "2020-01-01T00:00:00Z", "until": "2099-01-01T00:00:00Z"}, 3),
        ({"equipment": "BAL-70"}, 0),
        ({"until": "2020-01-01T00:00:00Z"}, 0),
        ({"ink_lot": "another"}, 0),
    ],
)
def test_a_search_leads_from_anything_to_units_packs_and_patients(
    bench: Any, dispensed: tuple[str, str], search: dict[str, str], units: int
) -> None:
    found = bench.ask("quality", "POST", "/recalls/search", search).json()
    assert len(found["units"]) == units and found["packs"] == ([dispensed[1]] if units else [])
    assert found["patients"] == (["test-1"] if units else []) and found["notes"] == [] and found["missing"] == []
    assert JANE["name"] not in str(found)


def test_a_search_leaves_the_connection_of_stop_alone(bench: Any, monkeypatch: Any) -> None:
    asked: list[tuple[str, bool]] = []
    client = bench.workstation.cells.client

    def noting(name: str, *, urgent: bool = False, watching: bool = False) -> Any:
        asked.append((name, urgent))
        return client(name, urgent=urgent, watching=watching)

    monkeypatch.setattr(bench.workstation.cells, "client", noting)
    assert bench.ask("quality", "POST", "/recalls/search", {"ink_lot": LOT}).status_code == 200
    assert asked == [("cell-1", False)]


def test_only_those_who_may_search_and_open(bench: Any, dispensed: tuple[str, str]) -> None:
    assert bench.ask("operator", "POST", "/recalls/search", {"ink_lot": LOT}).status_code == 403
    assert open_recall(bench, "quality").status_code == 403
    assert bench.ask("qp", "POST", "/recalls/search", {}).status_code == 422
    for no_time in ({"since": "yesterday"}, {"since": "2026-31-03T00:00Z"}, {"until": "2026-03-01T24:61Z"}):
        assert bench.ask("qp", "POST", "/recalls/search", no_time).status_code == 422, no_time
    within = {"since": "2026-11-20T10:00Z", "until": "2026-11-20T10:00:30Z"}
    assert bench.ask("qp", "POST", "/recalls/search", within).status_code == 200
    wrong = {"search": {"ink_lot": LOT}, "reason": "x", "signature": {"password": "wrong", "scripted": True}}
    assert bench.ask("qp", "POST", "/recalls", wrong).status_code == 401
    assert bench.workstation.store.search(kind="recall.") == []


def test_the_whole_recall(bench: Any, dispensed: tuple[str, str]) -> None:
    _, pack = dispensed
    answer = open_recall(bench)
    assert answer.status_code == 201, answer.text
    recall = answer.json()["recall"]
    (entry,) = bench.workstation.store.search(kind="recall.record.opened")
    verify_signature(entry.new["opened"])
    assert bench.workstation.packs.state(pack)["state"] == "recalled"
    shown = bench.ask("qp", "GET", f"/recalls/{recall}").json()
    assert shown["waits_for"] == [
        f"pack {pack} is recalled: neither returned, nor destroyed, nor written off",
        "patient test-1 was not contacted",
    ]
    close = {"reason": "all back", "signature": bench.signature("qp")}
    refused = bench.ask("qp", "POST", f"/recalls/{recall}/close", close)
    assert refused.status_code == 409 and pack in refused.text and "test-1" in refused.text
    who = bench.ask("qp", "POST", f"/recalls/{recall}/patients/test-1/identity", {"reason": "to call"})
    assert who.json()["name"] == JANE["name"]
    (opened,) = bench.workstation.store.search(kind="patient.identity.opened")
    assert opened.reason == f"recall {recall}: to call" and opened.actor.username == "qp"
    assert bench.ask("operator", "POST", f"/recalls/{recall}/patients/test-1/identity", {"reason": "x"}).status_code == 403
    assert bench.ask("qp", "POST", f"/recalls/{recall}/patients/other/identity", {"reason": "x"}).status_code == 404
    contact = {"by": "telephone", "outcome": "reached", "note": "will bring it today"}
    assert bench.ask("pharmacist", "POST", f"/recalls/{recall}/patients/test-1/contacts", contact).status_code == 201
    assert bench.ask("pharmacist", "POST", f"/packs/{pack}/return", {"reason": "brought back, 11 of 14 left"}).status_code == 200
    assert bench.ask("qp", "POST", f"/recalls/{recall}/close", close).json()["status"] == "closed"
    assert bench.ask("qp", "POST", f"/recalls/{recall}/close", close).status_code == 409
    assert all(text.encode() not in b"".join(bench.workstation.store.lines()) for text in JANE.values())


def test_a_recall_that_no_entry_can_hold_is_refused_before_anything_is_written(
    bench: Any, dispensed: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.token("qp")
    before = bench.workstation.store.size
    monkeypatch.setattr(recall_desk, "LONGEST_ENTRY", recall_desk._BESIDE + 100)
    answer = open_recall(bench)
    assert answer.status_code == 422 and answer.json()["detail"].startswith("This recall finds 1 batches"), answer.text
    assert "since, until" in answer.json()["remedy"] and bench.workstation.store.size == before
    monkeypatch.undo()
    assert open_recall(bench).status_code == 201


def test_cells_are_asked_once_and_not_while_packs_are_held(bench: Any, dispensed: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    held, asked = bench.workstation.packs.lock, list[bool]()
    checkpoint = bench.cell.checkpoint
    free = threading.Event()

    def try_lock() -> None:
        if held.acquire(blocking=False):
            free.set()
            held.release()

    def signed() -> Any:
        thread = threading.Thread(target=try_lock)
        thread.start()
        thread.join(20)
        asked.append(free.is_set())
        free.clear()
        return checkpoint()

    monkeypatch.setattr(bench.cell, "checkpoint", signed)
    assert open_recall(bench).status_code == 201
    assert asked == [True]


def test_a_pack_that_was_used_up_is_written_off_with_its_reason(bench: Any, dispensed: tuple[str, str]) -> None:
    _, pack = dispensed
    assert bench.ask("qp", "POST", f"/packs/{pack}/not-recovered", {"reason": "x"}).status_code == 409, "only what is recalled"
    assert open_recall(bench).status_code == 201
    assert bench.ask("qp", "POST", f"/packs/{pack}/not-recovered", {"reason": "all taken"}).json()["state"] == "not recovered"


def test_what_is_recalled_is_not_packed_printed_labelled_dispensed_or_made_again(bench: Any) -> None:
    batch = release(bench)
    (pack,) = pack_all(bench, batch)
    assert print_label(bench, pack).status_code == 200
    assert open_recall(bench, "pharmacist").status_code == 201
    recalled = (
        ("operator", f"/batches/{batch}/packs", {}),
        ("operator", f"/packs/{pack}/label", {}),
        ("operator", f"/packs/{pack}/scan", {"scanned": code_of(bench, pack)}),
        ("pharmacist", f"/packs/{pack}/dispense", {"scanned": code_of(bench, pack), "to": "patient"}),
        ("operator", f"/batches/{batch}/packing/close", None),
    )
    for username, path, body in recalled:
        answer = bench.ask(username, "POST", path, body)
        assert answer.status_code == 409 and "recall" in answer.text, (path, answer.text)
    order = PRODUCTION.enter(bench, number="RX-2", patient="test-2")
    assert order.status_code == 422 and "held" in order.text, "the ink lot is quarantined, and so is every cartridge of it"


def test_a_recalled_batch_is_never_released_also_when_the_recall_is_over(bench: Any) -> None:
    batch = PRODUCTION.make_batch(bench)
    assert bench.ask("operator", "POST", f"/batches/{batch}/run").status_code == 200
    bench.cell.record(EventKind.UNIT_PRINT_INTENDED, "unit", f"{RUN}/001", {"n": 1})
    bench.cell.record(EventKind.RUN_RECORD_CLOSED, "run", RUN, {"state": "AWAITING_REVIEW", "ended": "FINISHED"})
    bench.cell.status_now = {**bench.cell.status_now, "run": RUN, "batch": batch, "state": "AWAITING_REVIEW"}
    assert bench.ask("qp", "POST", f"/batches/{batch}/close").status_code == 200
    recall = open_recall(bench, batch=batch).json()["recall"]
    contact = {"by": "letter", "outcome": "reached", "note": "nothing was handed out"}
    assert bench.ask("qp", "POST", f"/recalls/{recall}/patients/test-1/contacts", contact).status_code == 201
    body = {"disposition": "released", "comment": "", "signature": bench.signature("qp")}
    assert "recalled by" in bench.ask("qp", "POST", f"/batches/{batch}/disposition", body).text
    close = {"reason": "nothing went out", "signature": bench.signature("qp")}
    assert bench.ask("qp", "POST", f"/recalls/{recall}/close", close).status_code == 200
    late = bench.ask("qp", "POST", f"/batches/{batch}/disposition", body)
    assert late.status_code == 409 and f"was recalled by {recall}" in late.text
    rejected = {**body, "disposition": "rejected"}
    assert bench.ask("qp", "POST", f"/batches/{batch}/disposition", rejected).status_code == 200


@pytest.mark.parametrize(
    ("search", "words"),
    [
        ({"recipe": "cyclophosphamide@1"}, "recipe cyclophosphamide@1"),
        ({"cell": "cell-1"}, "cell"),
        ({"cell": "cell-1.demonstration"}, "cell"),
        ({"recipe": "cyclophosphamide", "until": "2099-01-01T00:00Z"}, "until 2099"),
    ],
)
def test_a_recipe_or_cell_under_recall_makes_no_new_batch(bench: Any, search: dict[str, str], words: str) -> None:
    order = PRODUCTION.enter(bench).json()["order"]
    assert PRODUCTION.confirm(bench, order).status_code == 200
    assert open_recall(bench, **search).status_code == 201, "nothing is found yet; what is still to be made is held"
    answer = bench.ask("operator", "POST", "/batches", {"order": order, "cell": "cell-1"})
    assert answer.status_code == 409 and words in answer.text


def test_a_component_under_recall_holds_every_ink_that_was_prepared_from_it(bench: Any) -> None:
    order = PRODUCTION.enter(bench).json()["order"]
    assert PRODUCTION.confirm(bench, order).status_code == 200
    made = {"preparation": {"components": [{"name": "active", "lot": "RAW-9"}]}}
    bench.workstation.store.append(EntryDraft(EventKind.INK_LOT_PREPARED, Subject("ink_lot", LOT), made, SYSTEM, "workstation"))
    assert open_recall(bench, ink_lot="RAW-9").status_code == 201
    assert bench.workstation.shelf.held(CARTRIDGE) == f"ink lot {LOT}: recall R00001"
    answer = bench.ask("operator", "POST", "/batches", {"order": order, "cell": "cell-1"})
    assert answer.status_code == 409 and "ink lot RAW-9: held by recall R00001" in answer.text


def test_an_archived_trail_in_the_site_s_folder_is_searched_too(bench: Any, dispensed: tuple[str, str]) -> None:
    folder = Path(bench.workstation.settings.folder)
    (folder / "archive").mkdir()
    with closing(sqlite3.connect(folder / "cell-1.db")) as store, closing(sqlite3.connect(folder / "archive" / "cell-1-backup.db")) as copy:
        store.backup(copy)
    bench.cell.tamper = True  # the cell's own trail cannot be relied on any more
    found = bench.ask("qp", "POST", "/recalls/search", {"equipment": "BAL-7"}).json()
    assert len(found["units"]) == 3 and found["missing"] == [] and "cell-1 was not searched" in found["notes"][0]
    (folder / "archive" / "cell-1-backup.db").unlink()
    lost = bench.ask("qp", "POST", "/recalls/search", {"equipment": "BAL-7"}).json()
    assert lost["packs"] == [dispensed[1]] and lost["patients"] == ["test-1"] and "cell-1.demonstration" in lost["missing"][0]
    (folder / "archive" / "notes.jsonl").write_text("no entry\n")
    assert bench.ask("qp", "POST", "/recalls/search", {"equipment": "BAL-7"}).status_code == 422
