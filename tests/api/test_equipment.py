"""What is on record of equipment and training: dates as they stand, histories by page, signed entries, and what is not on record."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.demo_register import demonstration_register
from api.equipment_desk import History, HistoryPage
from api.equipment_view import Standing, devices_of, standing
from api.errors import InputInvalid
from api.read_form import read_form
from api.training_desk import TrainingRecord
from api.workstation import equipment_parts as parts
from api.workstation.training import training_html
from audit.events import Actor, EventKind, Subject
from audit.object_history import object_history

TODAY = datetime.now(UTC).date()
YESTERDAY = (TODAY - timedelta(days=1)).isoformat()
LATER = (TODAY + timedelta(days=200)).isoformat()
REPORT = {"stage": "OQ", "report": "OQ-2026-7", "performed_on": YESTERDAY, "outcome": "passed", "valid_until": LATER}
DONE = {
    "asset": "cell-1-printer",
    "done_on": YESTERDAY,
    "done_by": "service firm",
    "what": "nozzle holder changed",
    "after": "to be qualified again",
}
TRAINED = {
    "person": "operator", "matter": "procedure", "subject": "SOP-12", "trained_on": YESTERDAY, "trainer": "Demonstration pharmacist",
    "valid_until": LATER,
}  # fmt: skip


def register(**changes: Any) -> Any:
    return demonstration_register(
        "cell-1", people=["operator"], today=TODAY.isoformat(), recipes=["minoxidil@1"], daily_check=True, **changes
    )


def with_register(bench: Any) -> Any:
    made = register()
    bench.cell.register_now = {
        "reference": made.reference, "digest": made.digest, "contents": made.model_dump(mode="json"), "evidence": "version 1, signed by QA",
    }  # fmt: skip
    bench.cell.today_now = TODAY.isoformat()
    return made


@pytest.fixture(autouse=True)
def _logged_in(request: pytest.FixtureRequest) -> None:
    """Who asks is logged in, without the time that a password takes."""
    if "bench" in request.fixturenames:
        bench: Any = request.getfixturevalue("bench")
        people = {person.username: person for person in bench.workstation.people._identity.people()}
        for username in ("pharmacist", "second", "operator", "engineer", "quality", "qp", "administrator"):
            bench._tokens[username] = bench.workstation.sessions.open(username, people[username].name, people[username].roles)


@pytest.mark.parametrize(
    ("days", "how", "left"),
    [(-1, Standing.OVER, -1), (0, Standing.ENDS_SOON, 1), (14, Standing.ENDS_SOON, 15), (15, Standing.IN_DATE, 16)],
)
def test_the_last_day_of_a_date_is_included(days: int, how: Standing, left: int) -> None:
    assert standing((TODAY + timedelta(days=days)).isoformat(), TODAY.isoformat()) == (how, left)


@given(st.dates(date(2000, 1, 1), date(2100, 1, 1)), st.dates(date(2000, 1, 1), date(2100, 1, 1)))
def test_over_is_exactly_what_the_gate_of_the_cell_calls_ended(until: date, today: date) -> None:
    assert (standing(until.isoformat(), today.isoformat())[0] is Standing.OVER) == (until.isoformat() < today.isoformat())


def test_every_device_of_the_register_is_shown_with_its_numbers() -> None:
    made = register()
    found = {device.what: device for device in devices_of(made, TODAY.isoformat())}
    assert {"printer", "balance", "pressure sensor"} <= found.keys()
    assert found["balance"].serial == made.balance.serial and found["balance"].paper == made.balance.certificate
    assert found["printer"].serial == ""  # the register states none, and none is invented


def test_the_equipment_of_a_cell_over_the_interface(bench: Any) -> None:
    made = with_register(bench)
    answer = bench.ask("qp", "GET", "/cells/cell-1/equipment").json()
    assert answer["register"]["reference"] == made.reference
    assert answer["qualifications"] == {"IQ": None, "OQ": None, "PQ": None}  # not on record, and said so
    assert answer["maintenance"] == []
    assert bench.ask("qp", "GET", "/cells/cell-9/equipment").status_code == 404
    html = parts.qualifications_html(answer)
    assert html.count("○ not on record") == 3


def test_a_cell_without_a_register_says_why(bench: Any) -> None:
    answer = bench.ask("qp", "GET", "/cells/cell-1/equipment").json()
    assert answer["register"] is None
    assert 'role="alert"' in parts.devices_html({**answer, "problem": "this cell has no equipment register"})


def test_a_qualification_report_is_signed_by_quality_assurance_and_its_signature_stands(bench: Any) -> None:
    def sign(username: str, **changes: Any) -> Any:
        body = {"report": {**REPORT, **changes}, "signature": bench.signature(username)}
        return bench.ask(username, "POST", "/cells/cell-1/qualifications", body)

    for username in ("operator", "pharmacist", "engineer", "qp", "administrator"):
        assert sign(username).status_code == 403
    answer = sign("quality")
    assert answer.status_code == 201, answer.text
    shown = bench.ask("operator", "GET", "/cells/cell-1/equipment").json()["qualifications"]["OQ"]
    assert (shown["report"], shown["outcome"]) == ("OQ-2026-7", "passed")
    entries = bench.workstation.store.search(subject_type="qualification", subject_id="Q00001", limit=10)
    (signature,) = object_history(Subject("qualification", "Q00001"), entries).signatures
    assert signature.stands
    # the latest report of a stage is shown
    assert sign("quality", report="OQ-2026-8", outcome="failed").status_code == 201
    assert "OQ-2026-8" in parts.qualifications_html(bench.ask("qp", "GET", "/cells/cell-1/equipment").json())


@pytest.mark.parametrize(
    "changes",
    [
        {"performed_on": LATER},
        {"performed_on": "2026-02-30"},
        {"valid_until": "2001-01-01"},
        {"stage": "XQ"},
        {"outcome": "fine"},
        {"sha256": "ab"},
    ],
)
def test_a_report_that_cannot_be_is_refused(bench: Any, changes: dict[str, str]) -> None:
    body = {"report": {**REPORT, **changes}, "signature": bench.signature("quality")}
    answer = bench.ask("quality", "POST", "/cells/cell-1/qualifications", body)
    assert answer.status_code == 422, answer.text
    assert bench.ask("qp", "GET", "/cells/cell-1/equipment").json()["qualifications"]["OQ"] is None


def test_maintenance_is_on_record_with_what_follows_for_the_qualification(bench: Any) -> None:
    assert bench.ask("qp", "POST", "/cells/cell-1/maintenance", DONE).status_code == 403
    assert bench.ask("engineer", "POST", "/cells/cell-1/maintenance", {**DONE, "done_on": LATER}).status_code == 422
    assert bench.ask("engineer", "POST", "/cells/cell-9/maintenance", DONE).status_code == 404
    assert bench.ask("engineer", "POST", "/cells/cell-1/maintenance", DONE).status_code == 201
    (shown,) = bench.ask("qp", "GET", "/cells/cell-1/equipment").json()["maintenance"]
    assert shown["maintenance"] == "M00001" and shown["after"] == "to be qualified again"


def checked(bench: Any, day: str, passed: bool) -> None:
    new = {
        "day": day, "passed": passed, "reasons": [] if passed else ["eccentricity 0.7 mg is above 0.5 mg"], "weight": {"id": "W-1"},
        "readings": [{"step": "centre", "value_mg": "50000.1"}], "limits": {"eccentricity_mg": "0.5"},
        "deviations": {"sensitivity_mg": "0.1", "eccentricity_mg": {"corner 1": "-0.7", "corner 2": "0.1"}, "zero_return_mg": "0.0"},
    }  # fmt: skip
    who = Actor("operator", "Demonstration operator", "operator")
    bench.cell.record(EventKind.EQUIPMENT_CHECK_COMPLETED, "balance", "B-7", new, who)


def test_the_history_of_checks_is_paged_from_the_cells_trail(bench: Any) -> None:
    for n in range(1, 8):
        checked(bench, f"2026-11-{n:02d}", passed=n != 5)
        bench.cell.record(EventKind.CELL_CLEANING_COMPLETED, "cell", "cell-1", {"day": f"2026-11-{n:02d}", "method": "CL-1"})
    days = []
    way: str | None = "/cells/cell-1/equipment/history?what=checks&limit=3"
    while way is not None:
        answer = bench.ask("quality", "GET", way)
        days += [(row["day"], row["passed"]) for row in answer.json()]
        link = answer.headers.get("link")
        way = None if link is None else link.partition(">")[0].removeprefix("</api/v1")
    assert [day for day, _ in days] == [f"2026-11-{n:02d}" for n in range(7, 0, -1)]
    assert [day for day, passed in days if not passed] == ["2026-11-05"]
    cleaned = bench.ask("quality", "GET", "/cells/cell-1/equipment/history?what=cleaning").json()
    assert len(cleaned) == 7 and cleaned[0]["method"] == "CL-1"
    assert bench.ask("quality", "GET", "/cells/cell-1/equipment/history?what=everything").status_code == 422


def test_a_check_is_shown_with_its_largest_corner_and_verdict_in_words(bench: Any) -> None:
    checked(bench, "2026-11-01", passed=False)
    page = bench.workstation.equipment.history("cell-1", History.CHECKS)
    html = parts.history_html(page, History.CHECKS, "cell-1")
    assert "✕ not passed" in html and "eccentricity, largest 0.7 mg (limit 0.5 mg)" in html
    assert "Nothing is on record." in parts.history_html(HistoryPage((), None), History.CLEANING, "cell-1")


def test_what_the_devices_told_before_the_last_run_is_shown_or_said_not_to_be_on_record(bench: Any) -> None:
    assert bench.workstation.equipment.identified("cell-1") is None
    assert "Not on record" in parts.identified_html(None)
    gates = [
        {"gate": "printer identified", "met": True, "evidence": "Marlin 2.1.2"},
        {"gate": "line clearance", "met": True, "evidence": "clear"},
    ]
    bench.cell.record(EventKind.RUN_GATES_PASSED, "run", "B00001-R1", {"gates": gates})
    found = bench.workstation.equipment.identified("cell-1")
    assert found["devices"] == {"printer identified": "Marlin 2.1.2"} and found["run"] == "B00001-R1"
    (row,) = bench.workstation.equipment.history("cell-1", History.CLEARANCE).rows
    assert (row["line_clearance"], row["unmet"]) == (True, [])


# --- training ---


def train(bench: Any, username: str, **changes: str) -> Any:
    return bench.ask(username, "POST", "/training", {"training": {**TRAINED, **changes}, "signature": bench.signature(username)})


def test_training_is_signed_by_the_trainer_or_quality_assurance_and_never_by_the_trained(bench: Any) -> None:
    for username in ("operator", "qp", "administrator"):
        assert train(bench, username).status_code == 403
    own = train(bench, "quality", person="quality")
    assert own.status_code == 409 and "own training" in own.json()["detail"]
    # a second person's signature at one's own session is no way round
    body = {"training": {**TRAINED, "person": "pharmacist"}, "signature": {**bench.signature("pharmacist"), "username": "pharmacist"}}
    assert bench.ask("quality", "POST", "/training", body).status_code == 409
    assert train(bench, "pharmacist").status_code == 201
    (row,) = bench.ask("operator", "GET", "/training?person=operator").json()
    assert (row["subject"], row["standing"], row["gated"]) == ("SOP-12", "in date", False)
    entries = bench.workstation.store.search(subject_type="training", subject_id="T00001", limit=10)
    assert entries[0].kind == EventKind.PERSON_TRAINING_RECORDED
    assert object_history(Subject("training", "T00001"), entries).signatures[0].stands


@pytest.mark.parametrize(
    ("changes", "status"),
    [({"person": "nobody"}, 404), ({"trained_on": LATER}, 422), ({"valid_until": "2001-01-01"}, 422), ({"valid_until": "2026-13-01"}, 422)],
)
def test_training_that_cannot_be_is_refused(bench: Any, changes: dict[str, str], status: int) -> None:
    assert train(bench, "quality", **changes).status_code == status
    assert bench.ask("quality", "GET", "/training").json() == []


def test_the_latest_record_counts_and_the_cells_register_stands_beside_it(bench: Any) -> None:
    made = with_register(bench)
    for until in (LATER, TODAY.isoformat()):
        assert train(bench, "quality", matter="cell", subject="cell-1", valid_until=until).status_code == 201
    rows = bench.ask("operator", "GET", "/training?person=operator").json()
    of_cell = {row["source"]: row for row in rows if row["matter"] == "cell"}
    assert of_cell.keys() == {"T00002", f"register {made.reference}"}
    assert of_cell["T00002"]["standing"] == "ends soon" and of_cell[f"register {made.reference}"]["gated"] is True
    # whoever is trained sees on the page of the day that it ends
    needs = bench.ask("operator", "GET", "/today").json()["needs"]
    assert [need["subject"] for need in needs if need["matter"] == "own training ends soon"] == ["cell cell-1"]


def test_training_that_is_over_is_a_warning_in_words(bench: Any) -> None:
    rows = bench.workstation.training.register([register()])
    html = training_html(rows, ["cell-2"])
    assert "asked for before a print" in html and "What cell-2 asks for is not known now." in html
    assert 'role="alert"' not in html
    (old,) = rows[:1]
    from dataclasses import replace

    html = training_html([replace(old, standing=Standing.OVER, until="2026-01-01", person="<b>")], [])
    assert 'role="alert"' in html and "ended on 2026-01-01" in html and "<b>:" not in html


# --- forms ---


def test_a_form_says_of_each_field_what_is_wrong() -> None:
    with pytest.raises(InputInvalid) as refused:
        read_form(TrainingRecord, {**TRAINED, "person": " ", "trained_on": "30.6.2026"})
    assert "person: nothing is entered" in refused.value.message and "trained on: '30.6.2026' cannot be read" in refused.value.message
