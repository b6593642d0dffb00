"""The two entries of an external weight through the interface and on the page, with a fake cell."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest

from api import cli, cli_weigh
from api.demo_desk import Desk
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


class Prefixed:
    """The test client below the interface's prefix, as a desk's own client is."""

    def __init__(self, bench: Any, username: str) -> None:
        self._bench, self._username = bench, username

    def request(self, method: str, path: str, json: Any = None) -> Any:
        return self._bench.ask(self._username, method, path, json)

    def close(self) -> None:
        pass


@pytest.fixture
def weigh(waiting: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Run `dosewright weigh` as a person who types these lines; return its exit status and all that it said."""

    def run(user: str, typed: str) -> tuple[int, str]:
        password = waiting.site.passwords[user]
        monkeypatch.setenv("DOSEWRIGHT_PASSWORD", password)
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        monkeypatch.setattr(Desk, "log_in", classmethod(lambda cls, url, name, given: cls(name, given, Prefixed(waiting, name))))
        status = cli.run(["weigh", "--user", user])
        said = capsys.readouterr()
        return status, said.out + said.err

    return run


def test_two_people_at_the_command_line(waiting: Any, weigh: Any) -> None:
    run = waiting.cell.status_now["run"]
    status, said = weigh("operator", "49.91\nEXT-0042\n")
    assert status == 0 and "procedure <EW-1>" in said and "with 2 decimals" in said
    assert "49.91" not in said, "what is typed stays unseen"
    second(waiting)
    status, said = weigh("operator", "49.91\nEXT-0042\n")
    assert status == cli.ERROR_STATUS and "second person" in said
    units = [unit for unit in waiting.cell.status_now["units"] if unit["n"] != 7]
    waiting.cell.status_now = {**waiting.cell.status_now, "units": [*units, _judged(run)]}
    status, said = weigh("pharmacist", "49.91\nEXT-0042\n")
    assert (status, said.splitlines()[-1]) == (0, "Unit 7: 49.91 mg, accepted")
    assert waiting.cell.asked == [
        ("weight", f"{run}/007 1 1 49.91 EXT-0042 operator"),
        ("weight", f"{run}/007 2 1 49.91 EXT-0042 pharmacist"),
    ]


def _judged(run: str) -> dict[str, Any]:
    return {"unit": f"{run}/007", "n": 7, "strength_mg": "1", "target_mass_mg": "50", "mass_mg": "49.91", "verdict": "accepted"}


def test_entries_that_differ_nothing_typed_and_nothing_to_weigh(waiting: Any, weigh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    status, said = weigh("operator", "49.91\n")
    assert (status, "Nothing was entered" in said, waiting.cell.asked) == (1, True, [])
    second(waiting)
    enter = waiting.cell.enter_weight

    def differ(*arguments: Any, **named: Any) -> None:
        enter(*arguments, **named)
        second(waiting, entry=1, attempt=2, first_by=None)

    monkeypatch.setattr(waiting.cell, "enter_weight", differ)
    status, said = weigh("pharmacist", "49.90\nEXT-0042\n")
    assert status == cli_weigh.STATUS_AGAIN and "The two entries differed" in said
    waiting.cell.status_now = {**waiting.cell.status_now, "external_weighing": None}
    assert weigh("operator", "")[0] == cli_weigh.STATUS_NOTHING
