"""The forms of the pages as a person fills them in: what does not fit is said, at the page."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from drawn_page import DrawnPage, drawn
from nicegui import ui

from api.recall_desk import RecallSearch
from api.status import AlarmStatus, CellStatus
from api.workstation.closing import ClosingPanel
from api.workstation.models import ModelsPage
from api.workstation.packing import PackingPanel
from api.workstation.people import PeoplePage
from api.workstation.recall import RecallPage
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


CODE = "One-time or recovery code"
AT_THE_SITE = {"account.py": {"_factors", "_begin_totp", "_passkey"}}
"""Forms about a second factor itself: they are open at the site only, where no code is asked for."""


def _open_recall(page: DrawnPage) -> None:
    built = RecallPage(page.visitor, "")
    built._searched = RecallSearch(cell="cell-1")
    page.field("Reason").value = "glass"


def _close_recall(page: DrawnPage) -> None:
    RecallPage(page.visitor, "")._closing("R00001", "qa")
    page.field("How it ended").value = "all back"


def _model_step(page: DrawnPage) -> None:
    ModelsPage(page.visitor, "")._sign_form(page.visitor.session(), "m@1", "approve", "0" * 64)


def _label_again(page: DrawnPage) -> None:
    PackingPanel(page.visitor)._printing("B00001-P1", first=False)
    page.field("Why is it printed again?").value = "torn"


@pytest.mark.parametrize(
    ("build", "desk", "act", "password", "words"),
    [
        (_open_recall, "recalls", "open", "Your password", "Sign and open the recall"),
        (_close_recall, "recalls", "close", "Your password", "Sign and close"),
        (_model_step, "models", "approve", "Your password", "Sign: approve"),
        (_label_again, "labels", "print_label", "Their password", "Print (PDF)"),
    ],
)
def test_from_outside_a_signature_takes_the_code_with_the_password(
    build: Callable[[DrawnPage], None], desk: str, act: str, password: str, words: str, bench: Any, told: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    given: list[Any] = []

    def refuse(session: object, *arguments: Any, **_: Any) -> None:
        given.extend(arguments)
        raise ValueError("far enough")

    monkeypatch.setattr(getattr(bench.workstation, desk), act, refuse)
    for remote in (True, False):
        with drawn(bench, "qp", Role.QUALIFIED_PERSON, remote=remote) as page:
            build(page)
            codes = [field for field in page.client.layout.descendants() if field.props.get("label") == CODE]
            for field in codes:
                field.value = "123456"  # type: ignore[attr-defined]
            field = (signed := [item for item in page.client.layout.descendants() if item.props.get("label") == password])[-1]
            field.value = "secret"  # type: ignore[attr-defined]
            page.press(words)
        assert signed and (len(codes) > 0) is remote
    signatures = [getattr(item, "approval", item) for item in given]
    assert [item.code for item in signatures if hasattr(item, "password")] == ["123456", None]


def test_every_form_with_a_password_asks_for_the_code_beside_it() -> None:
    bare = []
    for path in (Path(__file__).parents[2] / "api" / "workstation").glob("*.py"):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(function, ast.FunctionDef) or function.name in AT_THE_SITE.get(path.name, ()):
                continue
            called = {node.func.attr for node in ast.walk(function) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)}
            if called & {"password_field", "secret"} and not called & {"code_field", "code"}:
                bare.append(f"{path.name}: {function.name}")
    assert bare == []


UNKNOWN = CellStatus(cell="cell-1", state="UNKNOWN")


def test_a_cell_that_is_silent_for_a_moment_takes_no_weight_out_of_the_form(bench: Any, told: list[str]) -> None:
    status = CellStatus.model_validate({"cell": "cell-1", "batch": "B00001", "run": "B00001-R1", "external_weighing": WAITING})
    with drawn(bench, "operator", Role.OPERATOR) as page:
        panel = WeighingPanel(page.visitor)
        panel.update(status)
        page.field("Net mass of unit 7, mg").value = "49.91"
        panel.update(UNKNOWN)
        assert page.field("Net mass of unit 7, mg").value == "49.91" and not page.button("Enter").enabled
        panel.update(status)
        assert page.field("Net mass of unit 7, mg").value == "49.91" and page.button("Enter").enabled
        panel.update(status.model_copy(update={"external_weighing": None}))
        assert not page.elements(ui.button)


def test_packs_stay_while_the_cell_is_silent(bench: Any, told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pack = {"pack": "B00001-P01", "state": "dispensed", "dispensed_to": "ward", "units": [1], "strengths": ["1 mg"], "use_by": "2027-01-01"}
    monkeypatch.setattr(bench.workstation.packs, "overview", lambda batch: {"packs": [pack], "waits_for": ["labels"]})
    monkeypatch.setattr(bench.workstation.store, "state", lambda *_: {"disposition": "released"})
    status = CellStatus(cell="cell-1", state="AWAITING_REVIEW", batch="B00001", run="B00001-R1")
    with drawn(bench, "pharmacist", Role.PHARMACIST) as page:
        panel = PackingPanel(page.visitor)
        panel.update(status)
        page.field("Reason").value = "the ward sent it back"
        panel.update(UNKNOWN)
        assert page.field("Reason").value == "the ward sent it back" and not page.button("Take it back").enabled
        panel.update(status)
        assert page.field("Reason").value == "the ward sent it back" and page.button("Take it back").enabled


def _alarm(state: str) -> AlarmStatus:
    return AlarmStatus(alarm="A01", name="mass.low", state=state)


def test_a_cause_that_is_typed_stays_while_others_act_and_the_cell_is_silent(
    bench: Any, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[dict[str, str]] = [{"exception": "reject-rate", "finding": "23 %"}, {"exception": "gap", "finding": "2 s"}]
    record = {"disposition": "held", "proposal": {"disposition": "released", "open": ["released"]}, "evidence": []}
    monkeypatch.setattr(bench.workstation.exceptions, "exceptions", lambda batch: list(found))
    monkeypatch.setattr(bench.workstation.release, "review", lambda batch: dict(record))
    monkeypatch.setattr(bench.workstation.store, "state", lambda *_: {"status": "awaiting review"})
    status = CellStatus(cell="cell-1", state="AWAITING_REVIEW", batch="B00001", run="B00001-R1", alarms=(_alarm("unacknowledged"),))
    with drawn(bench, "qa", Role.QUALITY_ASSURANCE) as page:
        panel = ClosingPanel(page.visitor)

        def causes() -> list[ui.input]:
            return [field for field in page.elements(ui.input) if str(field.props.get("label")).startswith("Cause, and why")]

        panel.update(status)
        page.press("Show the review")
        panel.update(status)
        first, second = causes()
        second.value = "an air bubble in the cartridge"
        assert "Proposed" in page.html() and page.button("Sign").enabled
        panel.update(UNKNOWN)
        assert causes() == [first, second] and not page.button("Sign").enabled
        # somebody else acknowledges an alarm: the review is of before, the cause is not
        panel.update(status.model_copy(update={"alarms": (_alarm("acknowledged"),)}))
        assert causes() == [first, second] and "Proposed" not in page.html() and "Show it again" in page.html()
        # somebody else resolves the first exception
        del found[0]
        page.press("Show the review")
        panel.update(status.model_copy(update={"alarms": (_alarm("acknowledged"),)}))
        assert causes() == [second] and second.value == "an air bubble in the cartridge"
        panel.update(status.model_copy(update={"batch": "B00002", "run": "B00002-R1"}))
        assert causes() == []
