"""A batch that was opened and never begun is cancelled, with a reason; its order is made in another."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import test_production as orders

from api import cli
from api.demo_desk import Desk
from api.errors import WrongState
from api.workstation.waiting import waiting
from audit.errors import DosewrightError, RoleMissing
from audit.events import EventKind
from audit.identity import Role
from audit.release.trail_view import TrailView
from audit.release.trend_query import find_batches
from printer.errors import CellUnreachable

WHY = {"reason": "the ward changed the amount"}


def opened(bench: Any, order: str, cell: str = "cell-1", who: str = "operator") -> Any:
    return bench.ask(who, "POST", "/batches", {"order": order, "cell": cell})


def cancelled(bench: Any, batch: str, who: str = "operator") -> Any:
    return bench.ask(who, "POST", f"/batches/{batch}/cancel", WHY)


def session(bench: Any, who: str) -> Any:
    return bench.workstation.sessions.find(bench.token(who))


def test_its_order_is_made_in_another_batch_and_both_are_on_record(bench: Any) -> None:
    batch = orders.make_batch(bench)
    second = opened(bench, "O00001")
    assert second.status_code == 409 and second.json()["detail"] == f"Order O00001 has a batch already: {batch} on cell-1 is created."
    assert "cancel it on page Batches" in second.json()["remedy"]
    answer = cancelled(bench, batch)
    assert answer.status_code == 200 and answer.json()["status"] == "cancelled"
    entry = bench.workstation.store.search(kind=EventKind.BATCH_RECORD_CANCELLED.value, limit=2)
    assert [(found.subject.id, found.actor.username, found.body["reason"]) for found in entry] == [(batch, "operator", WHY["reason"])]
    for path, body in (("cancel", WHY), ("run", None), ("start", None), ("close", None)):
        assert bench.ask("operator", "POST", f"/batches/{batch}/{path}", body).json()["code"] == "AP-011", path
    assert "is cancelled" in bench.ask("operator", "POST", f"/batches/{batch}/run").json()["detail"]
    again = opened(bench, "O00001")
    assert again.status_code == 201, again.text
    assert bench.ask("operator", "POST", f"/batches/{again.json()['batch']}/run").status_code == 200, "it counts as printed nowhere"


def test_a_reason_is_given(bench: Any) -> None:
    batch = orders.make_batch(bench)
    for reason in ("", "   "):
        assert bench.ask("operator", "POST", f"/batches/{batch}/cancel", {"reason": reason}).status_code == 422
    assert bench.workstation.store.state("batch", batch)["status"] == "created"


def test_it_is_a_pharmacists_or_of_who_opened_it(bench: Any) -> None:
    batch = orders.make_batch(bench)
    desk, people = bench.workstation.cancelling, bench.workstation.sessions
    other = people.find(people.open("olga", "Olga", frozenset({Role.OPERATOR})))
    engineer = people.find(people.open("enzo", "Enzo", frozenset({Role.PROCESS_ENGINEER})))
    with pytest.raises(RoleMissing, match="olga did not open batch"):
        desk.cancel(other, batch, "why")
    with pytest.raises(RoleMissing, match="development runs only"):
        desk.cancel(engineer, batch, "why")
    assert cancelled(bench, batch, "quality").status_code == 403
    assert cancelled(bench, batch, "second").status_code == 200, "a pharmacist who did not open it"


def test_a_run_that_only_the_cell_knows_of_stands_against_it(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = orders.make_batch(bench)
    bench.cell.record(EventKind.RUN_RECORD_CREATED, "run", "X-R1", {"batch": batch, "order_sha256": "of another workstation"})
    assert bench.workstation.cancelling.against_cancelling(session(bench, "operator"), batch) == ()
    bench.cell.record(EventKind.RUN_RECORD_CREATED, "run", "B00001-R1", {"batch": batch})
    refused = cancelled(bench, batch)
    assert refused.status_code == 409 and refused.json()["detail"] == f"Batch {batch} has run B00001-R1 on cell-1."

    def silent() -> str:
        raise CellUnreachable("cell-1 does not answer")

    monkeypatch.setattr(bench.cell, "checkpoint", silent)
    assert cancelled(bench, batch).status_code == 503
    assert bench.workstation.store.state("batch", batch)["status"] == "created"


@pytest.mark.parametrize(("first", "where"), [("run", "create_run"), ("cancel", "checkpoint")])
def test_of_a_cancelling_and_the_asking_for_its_run_one_holds(bench: Any, monkeypatch: pytest.MonkeyPatch, first: str, where: str) -> None:
    batch = orders.make_batch(bench)
    who, failed = session(bench, "operator"), list[DosewrightError]()
    acts: dict[str, Callable[[], object]] = {
        "run": lambda: bench.workstation.production.request_run(who, batch),
        "cancel": lambda: bench.workstation.cancelling.cancel(who, batch, "why"),
    }
    (other,) = acts.keys() - {first}

    def late() -> None:
        try:
            acts[other]()
        except DosewrightError as error:
            failed.append(error)

    thread, asked = threading.Thread(target=late), getattr(bench.cell, where)

    def meanwhile(*given: Any) -> Any:
        thread.start()
        thread.join(0.2)
        assert thread.is_alive(), "the other act does not wait for its turn"
        return asked(*given)

    with monkeypatch.context() as patch:
        patch.setattr(bench.cell, where, meanwhile)
        acts[first]()
        thread.join(20)
    assert isinstance(failed[0], WrongState) and len(failed) == 1
    kinds = [entry.kind for entry in bench.workstation.store.entries() if entry.subject.id == batch]
    assert kinds == ["batch.record.created", {"run": "batch.run.requested", "cancel": "batch.record.cancelled"}[first]]


def test_what_waits_and_the_day_show_its_order_again(bench: Any) -> None:
    batch = orders.make_batch(bench)
    assert cancelled(bench, batch).status_code == 200
    items = waiting(bench.workstation.production, "operator")
    assert [(item.name, item.text) for item in items] == [("O00001", "is confirmed: cartridge and gates come next")]
    queue = bench.ask("operator", "GET", "/today").json()
    assert [(line["subject"], line["next"]["act"]) for line in queue["queue"]] == [("O00001", "open batch")]
    assert queue["cells"][0]["ink_of_batch"] is None
    again = opened(bench, "O00001").json()["batch"]
    assert [item.name for item in waiting(bench.workstation.production, "operator")] == [again]


def test_what_was_scanned_for_it_is_scanned_anew_and_its_cartridge_is_free(bench: Any) -> None:
    batch = orders.make_batch(bench)
    production = bench.workstation.production
    scan = {"scanned": "CYC-DEMO-01-A"}
    assert bench.ask("operator", "POST", "/orders/O00001/cartridge", scan).status_code == 200
    assert production.rules.standing("O00001") == ("CYC-DEMO-01-A",)
    assert cancelled(bench, batch).status_code == 200
    assert production.rules.standing("O00001") == ("",) and production.held_elsewhere("CYC-DEMO-01-A", "cell-2") is None
    assert bench.ask("operator", "POST", "/orders/O00001/cartridge", scan).status_code == 200
    assert production.rules.standing("O00001") == ("CYC-DEMO-01-A",)


def test_nothing_of_it_is_recalled_or_charted(bench: Any) -> None:
    batch = orders.make_batch(bench)
    search = {"ink_lot": "CYC-DEMO-01"}
    assert [row["batch"] for row in bench.ask("qp", "POST", "/recalls/search", search).json()["batches"]] == [batch]
    assert cancelled(bench, batch).status_code == 200
    found = bench.ask("qp", "POST", "/recalls/search", search).json()
    assert found["batches"] == [] and found["patients"] == []
    charted = find_batches(TrailView(list(bench.workstation.store.lines())), [])
    assert charted.left_out == ((batch, "it was cancelled before its print"),)


def test_it_is_cancelled_at_the_command_line(bench: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    batch = orders.make_batch(bench)

    class Asked:
        def post(self, path: str, body: object) -> Any:
            return bench.ask("operator", "POST", path, body).json()

        def close(self) -> None:
            pass

    monkeypatch.setenv("DOSEWRIGHT_PASSWORD", bench.site.passwords["operator"])
    monkeypatch.setattr(Desk, "log_in", lambda url, user, password: Asked())
    assert cli.run(["batch", "cancel", batch, "--reason", "the ward changed the amount", "--user", "operator"]) == 0
    assert f"Batch {batch} is cancelled." in capsys.readouterr().out
    assert bench.workstation.store.state("batch", batch)["status"] == "cancelled"
