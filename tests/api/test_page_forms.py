"""The forms of the pages as a person fills them in: what does not fit is said, at the page."""

from __future__ import annotations

from typing import Any

import pytest
from drawn_page import drawn

from api.status import CellStatus
from api.workstation.people import PeoplePage
from api.workstation.weighing import WeighingPanel
from audit.identity import Role

WAITING = {
    "unit": "B00001-R1/007", "n": 7, "entry": 1, "attempt": 1, "first_by": None, "asset": "bench-2", "model": "MX-5", "serial": "EXT-0042",
    "decimals": 2, "removal": "EW-1", "time_left_s": 540,
}  # fmt: skip


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the pages say at their lower edge; nothing leads on to another page."""
    said: list[str] = []
    monkeypatch.setattr("nicegui.ui.notify", lambda text, **_: said.append(text))
    monkeypatch.setattr("nicegui.ui.navigate.to", lambda _: None)
    return said


@pytest.mark.parametrize(
    ("typed", "words"),
    [("", "value mg: nothing is entered"), ("   ", "value mg: nothing is entered"), ("49.91 mg (three readings)", "at most 20 characters")],
)
def test_a_weight_that_does_not_fit_its_field_is_refused_at_the_page(bench: Any, told: list[str], typed: str, words: str) -> None:
    status = CellStatus.model_validate({"cell": "cell-1", "batch": "B00001", "run": "B00001-R1", "external_weighing": WAITING})
    with drawn(bench, "operator", Role.OPERATOR) as page:
        WeighingPanel(page.visitor).update(status)
        page.field("Net mass of unit 7, mg").value = typed
        page.field("Serial number on the balance").value = "EXT-0042"
        page.press("Enter")
    assert len(told) == 1 and words in told[0]
    assert bench.cell.asked == []


def test_a_role_that_is_lent_has_to_be_chosen(bench: Any, told: list[str]) -> None:
    with drawn(bench, "admin", Role.ADMINISTRATOR) as page:
        PeoplePage(page.visitor, "operator")
        page.field("until, for example 2027-06-30").value = "2027-06-30"
        page.field("Reason for what follows").value = "holiday"
        page.press("Lend the role")
    assert told == ["No role is chosen. Choose the role that is lent."]
