"""The two entries of an external weight through the interface and on the page, with a fake cell."""

from __future__ import annotations

from typing import Any

import pytest

from api.status import CellStatus, ExternalWeighingStatus
from api.workstation.weighing import instruction_html
from audit.events import SYSTEM, EntryDraft, EventKind, Subject

WAITING = {
    "unit": "B00001-R1/007",
    "n": 7,
    "entry": 1,
    "attempt": 1,
    "first_by": None,
    "asset": "bench-2",
    "model": "MX-5",
    "serial": "EXT-0042",
    "decimals": 2,
    "removal": "procedure <EW-1>",
    "time_left_s": 540,
}
READ = {"value_mg": "49.91", "balance_serial": "EXT-0042"}
PATH = "/batches/B00001/units/7/weight"


@pytest.fixture
def waiting(bench: Any, canned: dict[str, Any]) -> Any:
    new = {"status": "running", "run": canned["run"], "cell": "cell-1"}
    bench.workstation.store.append(EntryDraft(EventKind.BATCH_RUN_REQUESTED, Subject("batch", "B00001"), new, SYSTEM, "workstation"))
    bench.cell.status_now = {**canned, "external_weighing": {**WAITING, "unit": f"{canned['run']}/007"}}
    return bench


def second(bench: Any, **more: Any) -> None:
    bench.cell.status_now = {
        **bench.cell.status_now,
        "external_weighing": {**bench.cell.status_now["external_weighing"], "entry": 2, "first_by": "operator", **more},
    }


def test_the_operator_enters_first_and_a_second_person_signs(waiting: Any) -> None:
    run = waiting.cell.status_now["run"]
    assert waiting.ask("operator", "POST", PATH, READ).status_code == 200
    second(waiting)
    body = {"weight": READ, "signature": waiting.signature("pharmacist")}
    assert waiting.ask("pharmacist", "POST", f"{PATH}/second", body).status_code == 200
    assert waiting.cell.asked == [
        ("weight", f"{run}/007 1 1 49.91 EXT-0042 operator"),
        ("weight", f"{run}/007 2 1 49.91 EXT-0042 pharmacist"),
    ]


def test_what_may_not_be_is_refused_before_anybody_signs(waiting: Any) -> None:
    body = {"weight": READ, "signature": waiting.signature("pharmacist")}
    assert waiting.ask("pharmacist", "POST", PATH, READ).status_code == 403
    assert waiting.ask("engineer", "POST", f"{PATH}/second", body).status_code == 403
    assert waiting.ask("pharmacist", "POST", f"{PATH}/second", body).status_code == 409, "the first entry is awaited"
    assert waiting.ask("operator", "POST", PATH.replace("/7/", "/8/"), READ).status_code == 409
    second(waiting)
    assert waiting.ask("operator", "POST", PATH, READ).status_code == 409, "the second entry is awaited"
    alone = {"weight": READ, "signature": waiting.signature("operator")}
    assert waiting.ask("operator", "POST", f"{PATH}/second", alone).status_code == 409
    wrong = {"weight": READ, "signature": {"password": "not the password", "scripted": True}}
    assert waiting.ask("pharmacist", "POST", f"{PATH}/second", wrong).status_code in (401, 403)
    assert waiting.ask("operator", "POST", PATH, {**READ, "value_mg": ""}).status_code == 422
    assert waiting.cell.asked == []


def test_the_page_says_what_to_do_and_never_a_value() -> None:
    status = CellStatus.model_validate({"cell": "cell-1", "external_weighing": {**WAITING, "value_mg": "49.91"}})
    assert status.external_weighing is not None
    first = instruction_html(status.external_weighing)
    assert "Take unit 7, and no other" in first and "EXT-0042" in first and "&lt;EW-1&gt;" in first and "49.91" not in first
    again = instruction_html(ExternalWeighingStatus.model_validate({**WAITING, "attempt": 2}))
    assert "differed" in again and "differed" not in first
    other = instruction_html(ExternalWeighingStatus.model_validate({**WAITING, "entry": 2}))
    assert "second person" in other and "Entry 2 of 2" in other
