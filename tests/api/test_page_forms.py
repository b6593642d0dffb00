"""The forms of the pages as a person fills them in: what does not fit is said, at the page."""

from __future__ import annotations

import ast
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import released
from drawn_page import DrawnPage, drawn
from nicegui import ui

from api.access import Credentials
from api.cli_errors import problem
from api.people import Shown
from api.recall_desk import RecallSearch
from api.security import Permission
from api.status import AlarmStatus, CellStatus
from api.today import Act, Line, Stage
from api.workstation.batches import BatchesPage, status_of, way_to_batch
from api.workstation.closing import ClosingPanel
from api.workstation.lock_bar import LockBar
from api.workstation.models import ModelsPage, life_html
from api.workstation.packing import PackingPanel
from api.workstation.people import PeoplePage
from api.workstation.places import LONGEST_WAY, way_back
from api.workstation.recall import RecallPage
from api.workstation.today_parts import line_way
from api.workstation.weighing import WeighingPanel
from audit.errors import SignatureRefused, VerificationError
from audit.events import SYSTEM, EntryDraft, EventKind, Subject
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


DISPENSED = {"pack": "B00001-P01", "state": "dispensed", "dispensed_to": "ward", "units": [1], "strengths": ["1"], "use_by": "2027-01-01"}


@pytest.fixture
def overviews(bench: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Of which batches the packs were read, in a thread of its own; each is released, with one pack that was dispensed."""
    read: list[str] = []

    def overview(batch: str) -> dict[str, Any]:
        assert threading.current_thread() is not threading.main_thread()
        read.append(batch)
        return {"packs": [DISPENSED], "waits_for": ["labels"]}

    monkeypatch.setattr(bench.workstation.packs, "overview", overview)
    monkeypatch.setattr(bench.workstation.store, "state", lambda *_: {"disposition": "released"})
    return read


def test_packs_stay_while_the_cell_is_silent(bench: Any, overviews: list[str], told: list[str]) -> None:
    status = CellStatus(cell="cell-1", state="AWAITING_REVIEW", batch="B00001", run="B00001-R1")
    with drawn(bench, "pharmacist", Role.PHARMACIST) as page:
        panel = PackingPanel(page.visitor)
        panel.update(status)
        page.wait(panel.refresh)
        page.field("Reason").value = "the ward sent it back"
        panel.update(UNKNOWN)
        assert page.field("Reason").value == "the ward sent it back" and not page.button("Take it back").enabled
        panel.update(status)
        page.wait(panel.refresh)
        assert page.field("Reason").value == "the ward sent it back" and page.button("Take it back").enabled
        panel.update(CellStatus(cell="cell-1", state="PRINTING", batch="B00002", run="B00002-R1"))
        page.wait(panel.refresh)
        assert "B00001-P01" not in page.html()


def test_packs_are_read_once_for_each_entry_however_many_pages_show_them(bench: Any, overviews: list[str], told: list[str]) -> None:
    status = CellStatus(cell="cell-1", state="AWAITING_REVIEW", batch="B00001", run="B00001-R1")
    for _ in range(3):
        with drawn(bench, "pharmacist", Role.PHARMACIST) as page:
            panel = PackingPanel(page.visitor)
            for _ in range(3):
                panel.update(status)
                page.wait(panel.refresh)
            assert "B00001-P01" in page.html()
    assert overviews == ["B00001"]
    bench.workstation.store.append(EntryDraft(EventKind.BATCH_RECORD_CREATED, Subject("batch", "B00009"), {}, SYSTEM, "workstation"))
    with drawn(bench, "pharmacist", Role.PHARMACIST) as page:
        panel = PackingPanel(page.visitor)
        panel.update(status)
        page.wait(panel.refresh)
    assert overviews == ["B00001", "B00001"]


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


def test_a_batch_that_its_cell_has_left_behind_is_reviewed_packed_labelled_and_handed_out_on_its_own_page(
    bench: Any, told: list[str]
) -> None:
    batch = released.release(bench)
    bench.cell.status_now = {**bench.cell.status_now, "run": "B00002-R1", "batch": "B00002", "state": "PRINTING", "units": []}
    ways = [line_way(line) for line in _lines(bench, batch)]
    assert ways == [way_to_batch(batch)]
    with drawn(bench, "pharmacist", Role.PHARMACIST) as page:
        shown = BatchesPage(page.visitor, batch)
        page.wait(shown.build)
        assert page.button("Show the review").enabled
        page.press("Pack 3 released units")
        page.wait(shown._refresh)
        pack = f"{batch}-P01"
        page.press("Print (PDF)")
        page.wait(shown._refresh)
        page.field("Scan the label on the pack").value = released.code_of(bench, pack)
        page.press("Check the scan")
        page.wait(shown._refresh)
        page.press("Close packing")
        page.wait(shown._refresh)
        page.field("Dispense to").value = "ward"
        page.field("Scan the pack").value = released.code_of(bench, pack)
        page.press("Check the scan")
        page.wait(shown._refresh)
        page.field("Reason").value = "the ward sent it back"
        page.press("Take it back")
        page.wait(shown._refresh)
        page.field("Reason").value = "past its use-by"
        page.press("It is destroyed")
        page.wait(shown._refresh)
        assert f"{pack}: destroyed" in page.html()
    assert bench.workstation.packs.state(pack)["state"] == "destroyed"


def _lines(bench: Any, batch: str) -> list[Line]:
    services = bench.workstation
    session = services.sessions.find(bench.token("pharmacist"))
    today = services.today.today(session, services.feeds.views(), services.readiness.views())
    return [line for line in today.lines if line.subject == batch]


@pytest.mark.parametrize(
    ("stage", "here", "way"),
    [
        (Stage.ENDED, True, "/?cell=cell-1"), (Stage.ENDED, False, "/batches?batch=B00001"), (Stage.REVIEW, True, "/?cell=cell-1"),
        (Stage.REVIEW, False, "/batches?batch=B00001"), (Stage.EXCEPTIONS, False, "/batches?batch=B00001"),
        (Stage.PACKING, True, "/batches?batch=B00001"), (Stage.DISPENSING, False, "/batches?batch=B00001"),
        (Stage.PRINTING, True, "/?cell=cell-1"), (Stage.UNKNOWN, False, "/?cell=cell-1"),
    ],
)  # fmt: skip
def test_a_line_of_the_day_leads_to_a_page_that_shows_its_batch(stage: Stage, here: bool, way: str) -> None:
    assert line_way(Line(stage, Act.SIGN, "B00001", "cell-1", "2026-11-30T00:00:00Z", 0, here=here)) == way


def test_a_run_that_its_cell_has_left_behind_is_over(bench: Any) -> None:
    other = CellStatus(cell="cell-1", state="PRINTING", batch="B00002", run="B00002-R1")
    assert status_of(other, "B00001", "B00001-R1").ended and status_of(other, "B00001", "B00001-R1").batch == "B00001"
    assert status_of(other, "B00002", "B00002-R1") is other and status_of(UNKNOWN, "B00001", "B00001-R1") is UNKNOWN


@pytest.mark.parametrize("named", ["batch", "pack", "code"])
def test_a_batch_is_found_by_its_number_and_by_a_pack(bench: Any, told: list[str], monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    batch = released.release(bench)
    pack = bench.ask("operator", "POST", f"/batches/{batch}/packs", {}).json()["packs"][0]
    gone: list[str] = []
    monkeypatch.setattr("nicegui.ui.navigate.to", gone.append)
    with drawn(bench, "pharmacist", Role.PHARMACIST) as page:
        page.wait(BatchesPage(page.visitor, "").build)
        for typed in ("B09999", {"batch": batch, "pack": pack, "code": released.code_of(bench, pack)}[named]):
            page.field("Batch, or scan a pack").value = typed
            page.press("Look for it")
    assert gone == [way_to_batch(batch)] and told == [
        "No batch and no pack is called so. Scan the code on the pack, or type the number of its batch."
    ]


@pytest.mark.parametrize(
    ("address", "back"),
    [
        ("/?cell=cell-1", "/?cell=cell-1"), ("/new?order=O00012", "/new?order=O00012"), ("/today", "/today"),
        ("/trail?words=a+b&kind=batch.", "/trail?words=a+b&kind=batch."), ("/batches?batch=B%2F1", "/batches?batch=B%2F1"),
        (f"/recall?recall={'x' * 500}", "/recall"), ("/new?order=\r\nX: y", "/new"), ("//evil.example", "/"),
        ("https://evil.example/new", "/"),
        ("/new/../api", "/"), ("/nowhere?order=1", "/"), ("", "/"), ("/new?next=//evil.example", "/new"), ("/new#x", "/"),
    ],
)  # fmt: skip
def test_the_way_back_leads_to_the_page_that_was_left_and_nowhere_else(address: str, back: str) -> None:
    assert way_back(address) == back and len(back) <= LONGEST_WAY


@pytest.mark.parametrize("stays", [True, False])
def test_a_page_that_may_show_what_is_for_one_persons_eyes_is_loaded_anew_when_it_is_locked(
    bench: Any, told: list[str], monkeypatch: pytest.MonkeyPatch, stays: bool
) -> None:
    anew: list[bool] = []
    monkeypatch.setattr("nicegui.ui.navigate.reload", lambda: anew.append(True))
    with drawn(bench, "pharmacist", Role.PHARMACIST) as page:
        page.visitor.address = "/new?order=O00012"
        bar = LockBar(page.visitor, stays=stays)
        bar.look()
        assert anew == [] and "dw-locked" not in page.html()
        session = page.visitor.session()
        monkeypatch.setattr(page.visitor, "session", lambda: replace(session, locked=True))
        bar.look()
        assert anew == [True] * (not stays) and "dw-locked" in page.html() and 'value="/new?order=O00012"' in page.html()
        # built locked, it waits for the password
        built = LockBar(page.visitor, stays=stays)
        assert anew == [True] * (not stays)
        monkeypatch.setattr(page.visitor, "session", lambda: session)
        built.look()
        assert anew == [True, True] * (not stays)


TERMINAL = (
    "api/cli",
    "api/doctor/",
    "api/demo",
    "api/settings.py",
    "api/routes_",
    "printer/replay_check.py",
    "audit/witness",
    "audit/anchors.py",
)
"""What is read at a terminal, or by who looks after the machine: commands are named there."""


def test_what_a_page_may_show_names_no_command() -> None:
    root, found = Path(__file__).parents[2], []
    for path in (item for package in ("api", "printer", "recipes", "audit") for item in (root / package).rglob("*.py")):
        name = str(path.relative_to(root))
        if name.startswith(TERMINAL):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        documented = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        texts = [
            node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documented
        ]
        found += [f"{name}:{node.lineno}" for node in texts if "`dosewright" in node.value]
    assert found == []


@pytest.mark.parametrize("digest", [None, "0" * 64])
def test_who_signs_at_a_page_is_sent_to_the_page_and_a_program_to_the_route(bench: Any, digest: str | None) -> None:
    people, session = bench.workstation.people, bench.workstation.sessions.find(bench.token("qp"))
    shown = Shown("1" * 64, "Show the review on the page", "GET /api/v1/batches/B00001/to-sign")
    given = Credentials(password="wrong", digest=digest, challenge=people.signing_challenge(session)["challenge"])
    for at_page in (True, False):
        with pytest.raises(SignatureRefused) as refused:
            people.sign(
                replace(session, at_page=at_page), given, permission=Permission.DISPOSE, meaning="m", digest="2" * 64,
                subject=Subject("batch", "B00001"), shown=shown,
            )  # fmt: skip
        assert "Show the review on the page" in refused.value.remedy and ("/api/" in refused.value.remedy) is not at_page


def test_the_life_of_a_model_is_told_in_words() -> None:
    told = life_html(
        {"life": [{"at": "2026-11-30T00:00:00Z", "kind": kind.value} for kind in EventKind if kind.value.startswith("model.")]}
    )
    assert "model." not in told and "<code>" not in told


def test_at_the_terminal_a_record_that_fails_names_the_command_that_examines_it() -> None:
    failed, other = VerificationError("The store fails.", remedy="Have it verified."), SignatureRefused("No.", remedy="Sign again.")
    assert problem(failed)["remedy"] == "Have it verified. `dosewright verify` says what is wrong."
    assert problem(other)["remedy"] == "Sign again."
