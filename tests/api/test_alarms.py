"""Acknowledge, shelve, unshelve, reset and figures through the interface, with a fake cell."""

from __future__ import annotations

from typing import Any

import pytest

from api.status import AlarmStatus
from api.workstation import panels

ALARM = "B00001-R1/A01"


@pytest.mark.parametrize(
    ("path", "body", "asked"),
    [
        ("acknowledge", {"alarm": ALARM, "comment": "seen"}, ("acknowledge", ALARM)),
        ("reset", {"alarm": ALARM, "comment": "cause removed"}, ("reset", ALARM)),
        ("shelve", {"alarm": ALARM, "reason": "known", "minutes": 15}, ("shelve", f"{ALARM} 15")),
        ("unshelve", {"alarm": ALARM}, ("unshelve", ALARM)),
    ],
)
def test_what_a_person_asks_of_an_alarm_reaches_the_cell(bench: Any, path: str, body: dict[str, object], asked: tuple[str, str]) -> None:
    assert bench.ask("operator", "POST", f"/cells/cell-1/alarms/{path}", body).status_code == 200
    assert bench.cell.asked == [asked]
    assert bench.ask("qp", "POST", f"/cells/cell-1/alarms/{path}", body).status_code == 403
    assert bench.cell.asked == [asked]


@pytest.mark.parametrize("change", [{"reason": ""}, {"minutes": 0}, {"minutes": 481}, {"minutes": "a while"}, {"forever": True}])
def test_a_shelf_without_reason_or_end_is_refused(bench: Any, change: dict[str, object]) -> None:
    body = {"alarm": ALARM, "reason": "known", "minutes": 15, **change}
    assert bench.ask("operator", "POST", "/cells/cell-1/alarms/shelve", body).status_code == 422
    assert bench.cell.asked == []


def test_figures_are_those_of_the_cell(bench: Any) -> None:
    assert bench.ask("qp", "GET", "/cells/cell-1/alarms/figures?run=B00001-R1").json() == {"run": "B00001-R1", "alarms": 0}


def test_the_panel_shows_what_came_first_and_who_shelved_what() -> None:
    first = AlarmStatus(alarm="R/A01", name="pressure high", priority="critical", first_out=True, unit_n=2)
    follows = AlarmStatus(alarm="R/A02", name="pressure departs", priority="critical", follows="R/A01")
    shelved = AlarmStatus(
        alarm="R/A03",
        name="many lines",
        priority="low",
        state="shelved",
        shelved_by="<b>op</b>",
        shelf_reason="old cable",
        shelf_ends_in_s=600,
    )
    assert "critical · unit 2 · first" in panels.alarm_text(first)
    assert "follows A01" in panels.alarm_text(follows)
    text = panels.alarm_text(shelved)
    assert "by &lt;b&gt;op&lt;/b&gt;, for 10 min 00 s more at most: old cable" in text
    assert not shelved.is_open
    latched = AlarmStatus(alarm="R/A04", name="trend", state="latched, acknowledged")
    assert latched.may_be_reset and not latched.is_open
    assert AlarmStatus(alarm="R/A05", name="trend", state="latched, unacknowledged").is_open
    assert sorted([shelved, follows, first], key=panels.alarm_rank) == [first, follows, shelved]
