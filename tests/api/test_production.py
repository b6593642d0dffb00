"""From prescription to run through the interface, with a fake cell."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from api.errors import PrintedBefore
from api.production import MEANING_CONFIRMED, MEANING_ENTERED, OrderRequest, SecondEntry
from api.repeats import printed_before
from audit.events import EventKind
from audit.signatures import verify_signature
from printer import admission
from printer.errors import CellUnreachable
from recipes.library import recipe_bytes
from recipes.order import DoseOrder

ORDER = {
    "recipe": "cyclophosphamide",
    "ink_lot": "CYC-DEMO-01",
    "cartridge": "CYC-DEMO-01-A",
    "patient": "test-1",
    "moiety": "cyclophosphamide",
    "basis": "anhydrous",
    "height_cm": "110",
    "weight_kg": "18",
    "prescribed": "25",
    "unit": "mg/m2",
    "per": "day",
    "schedule": "once daily",
    "days": "14",
    "age_years": "5",
    "measured": datetime.now(UTC).date().isoformat(),
    "prescriber": "test prescriber",
    "number": "RX-1",
}
AGAIN = {name: ORDER[name] for name in SecondEntry.model_fields if name in ORDER}


def enter(bench: Any, **changes: str) -> Any:
    return bench.ask("pharmacist", "POST", "/orders", {"order": {**ORDER, **changes}, "signature": bench.signature("pharmacist")})


def confirm(bench: Any, order: str, username: str = "second", **changes: str) -> Any:
    return bench.ask(username, "POST", f"/orders/{order}/confirm", {"entry": {**AGAIN, **changes}, "signature": bench.signature(username)})


def make_batch(bench: Any) -> str:
    order = enter(bench).json()["order"]
    assert confirm(bench, order).status_code == 200
    answer = bench.ask("operator", "POST", "/batches", {"order": order, "cell": "cell-1"})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["batch"])


def test_the_words_signed_are_the_words_a_cell_accepts() -> None:
    assert (MEANING_ENTERED, MEANING_CONFIRMED) == (admission.MEANING_ENTERED, admission.MEANING_CONFIRMED)


def test_worked_prescription_is_calculated_and_signed(bench: Any) -> None:
    answer = enter(bench)
    assert answer.status_code == 201, answer.text
    dose = answer.json()["dose"]
    assert (dose["bsa_m2"], dose["calculated_mg"], dose["rounded_mg"]) == ("0.741620", "18.5405", "18.5")
    state = bench.workstation.store.state("order", answer.json()["order"])
    order = DoseOrder.model_validate(state["order"])
    verify_signature(state["entered"], digest=order.sha256)
    assert state["entered"]["scripted"] is True


def test_second_entry_is_blind_and_must_match(bench: Any) -> None:
    order = enter(bench).json()["order"]
    listed = bench.ask("second", "GET", "/orders").json()
    assert set(listed[0]) == {"order", "status", "entered_by", "confirmed_by", "purpose"}
    refused = confirm(bench, order, weight_kg="81")
    assert refused.status_code == 409 and refused.json()["code"] == "AP-012"
    assert "weight" in refused.json()["detail"] and "18" not in refused.json()["detail"]
    assert bench.workstation.store.state("order", order)["status"] == "entered"


def test_one_person_cannot_enter_and_confirm(bench: Any) -> None:
    order = enter(bench).json()["order"]
    refused = confirm(bench, order, "pharmacist")
    assert refused.status_code == 409 and "same person" in refused.json()["detail"]


def test_wrong_password_signs_nothing(bench: Any) -> None:
    body = {"order": ORDER, "signature": {"password": "not the password", "scripted": True}}
    assert bench.ask("pharmacist", "POST", "/orders", body).status_code == 401
    assert list(bench.workstation.store.objects("order")) == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"height_cm": "0"}, "RE-031"),
        ({"height_cm": "abc"}, "RE-031"),
        ({"prescribed": "1,250"}, "RE-031"),
        ({"prescribed": "200"}, "RE-032"),
        ({"basis": "monohydrate"}, "RE-032"),
        ({"recipe": "unknown"}, "AP-010"),
        ({"ink_lot": "unknown"}, "AP-010"),
    ],
)
def test_bad_order_is_one_problem_and_no_entry(bench: Any, changes: dict[str, str], code: str) -> None:
    before = bench.workstation.store.size
    answer = enter(bench, **changes)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.status_code in (404, 422) and answer.json()["code"] == code and answer.json()["detail"]
    kinds = [entry.kind for entry in bench.workstation.store.entries(before)]
    assert not any(kind.startswith("order.") or kind == "person.signature.given" for kind in kinds)


def test_unconfirmed_order_makes_no_batch(bench: Any) -> None:
    order = enter(bench).json()["order"]
    answer = bench.ask("operator", "POST", "/batches", {"order": order, "cell": "cell-1"})
    assert answer.status_code == 409


def test_run_is_requested_with_everything_a_cell_checks(bench: Any) -> None:
    batch = make_batch(bench)
    assert bench.ask("operator", "POST", f"/batches/{batch}/run").status_code == 200
    job = admission.read_job(bench.cell.jobs[0])
    assert job.order.sha256 == job.entered.digest == job.confirmed.digest
    assert bench.workstation.store.state("batch", batch)["run"] == "B00001-R1"
    assert bench.ask("operator", "POST", f"/batches/{batch}/start").status_code == 200
    assert bench.cell.asked == [("start", "operator")]


def test_refusal_of_the_cell_lists_its_reasons(bench: Any) -> None:
    batch = make_batch(bench)
    bench.cell.refusal = ("the recipe was changed", "the ink has expired")
    answer = bench.ask("operator", "POST", f"/batches/{batch}/run")
    assert answer.status_code == 409 and answer.json()["reasons"] == ["the recipe was changed", "the ink has expired"]
    assert bench.workstation.store.state("batch", batch)["status"] == "created"


def test_run_controls_need_a_run(bench: Any) -> None:
    batch = make_batch(bench)
    assert bench.ask("operator", "POST", f"/batches/{batch}/start").status_code == 409
    assert bench.ask("operator", "POST", "/batches/B99999/start").status_code == 404


def test_closing_a_run_refuses_a_changed_cell_trail(bench: Any) -> None:
    batch = make_batch(bench)
    bench.ask("operator", "POST", f"/batches/{batch}/run")
    status = {**bench.cell.status_now, "run": "B00001-R1", "batch": batch, "state": "AWAITING_REVIEW"}
    bench.cell.status_now = {**status, "state": "PRINTING"}
    assert bench.ask("qp", "POST", f"/batches/{batch}/close").json()["code"] == "AP-011"
    bench.cell.status_now = status
    assert bench.ask("qp", "POST", f"/batches/{batch}/close").status_code == 409, "the end of the run is not in the trail yet"
    bench.cell.record(EventKind.RUN_RECORD_CLOSED, "run", "B00001-R1", {"state": "AWAITING_REVIEW", "ended": "ABORTED"})
    bench.cell.tamper = True
    answer = bench.ask("qp", "POST", f"/batches/{batch}/close")
    assert answer.status_code == 409 and answer.json()["code"] == "AP-041"
    bench.cell.tamper = False
    answer = bench.ask("qp", "POST", f"/batches/{batch}/close")
    assert answer.status_code == 200 and answer.json()["cell_size"] == bench.cell.store.size
    state = bench.workstation.store.state("batch", batch)
    assert (state["status"], state["cell_origin"]) == ("awaiting review", "cell-1.demonstration")


def test_a_run_whose_recipe_was_superseded_meanwhile_is_closed_all_the_same(bench: Any) -> None:
    """What was printed has to be reviewed, and its ink counted by the version that it was printed from."""
    batch = make_batch(bench)
    bench.ask("operator", "POST", f"/batches/{batch}/run")
    reference = "cyclophosphamide@2"
    toml = recipe_bytes("cyclophosphamide").decode().replace("version = 1", "version = 2", 1).replace('= "40 degC"', '= "41 degC"', 1)
    drafted = bench.ask("engineer", "POST", "/recipe-versions", {"recipe_toml": toml, "reason": "the next version"})
    assert drafted.status_code == 201, drafted.text
    for by, what, more in (("engineer", "submit", {}), ("quality", "approve", {}), ("quality", "effective", {"reason": "validated"})):
        answer = bench.ask(by, "POST", f"/recipe-versions/{reference}/{what}", {"signature": bench.signature(by), **more})
        assert answer.status_code in (200, 201), answer.text
    assert bench.workstation.store.state("recipe", "cyclophosphamide@1")["status"] == "superseded"
    bench.cell.status_now = {**bench.cell.status_now, "run": "B00001-R1", "batch": batch, "state": "AWAITING_REVIEW"}
    bench.cell.record(EventKind.RUN_RECORD_CLOSED, "run", "B00001-R1", {"state": "AWAITING_REVIEW", "ended": "COMPLETED"})
    answer = bench.ask("qp", "POST", f"/batches/{batch}/close")
    assert answer.status_code == 200, answer.text
    assert bench.workstation.store.state("batch", batch)["status"] == "awaiting review"


def test_release_is_blocked_with_reasons_and_nothing_is_signed(bench: Any) -> None:
    batch = make_batch(bench)
    bench.ask("operator", "POST", f"/batches/{batch}/run")
    bench.cell.record(EventKind.RUN_RECORD_CLOSED, "run", "B00001-R1", {"state": "AWAITING_REVIEW", "ended": "ABORTED"})
    bench.cell.status_now = {**bench.cell.status_now, "run": "B00001-R1", "batch": batch, "state": "AWAITING_REVIEW"}
    assert bench.ask("qp", "POST", f"/batches/{batch}/close").status_code == 200
    body = {"disposition": "released", "comment": "", "signature": bench.signature("qp")}
    answer = bench.ask("qp", "POST", f"/batches/{batch}/disposition", body)
    assert answer.status_code == 409 and answer.json()["code"] == "AU-030" and len(answer.json()["reasons"]) > 3
    assert "disposition" not in bench.workstation.store.state("batch", batch)
    assert bench.ask("qp", "POST", f"/batches/{batch}/package").status_code == 409
    rejected = bench.ask("qp", "POST", f"/batches/{batch}/disposition", {**body, "disposition": "rejected"})
    assert rejected.status_code == 200, rejected.text
    assert bench.ask("qp", "POST", f"/batches/{batch}/disposition", {**body, "disposition": "rejected"}).status_code == 409


def test_age_and_sex_that_were_stated_are_entered_again_blind(bench: Any) -> None:
    order = enter(bench, sex="female", age_years="4.5").json()["order"]
    production = bench.workstation.production
    assert production.asked_again(order) == {"number", "sex", "age_years"}
    for wrong in ({"sex": "", "age_years": ""}, {"sex": "male", "age_years": "4.5"}, {"sex": "female", "age_years": "45"}):
        refused = confirm(bench, order, **wrong)
        assert refused.status_code == 409 and "4.5" not in refused.json()["detail"] and "female" not in refused.json()["detail"]
    assert "age" in refused.json()["detail"]
    assert confirm(bench, order, sex="female", age_years="4.5").status_code == 200


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("patient", "test-2", "patient"),
        ("number", "RX-2", "number"),
        ("number", "", "number"),
        ("moiety", "ifosfamide", "moiety"),
        ("schedule", "morning; evening", "schedule"),
        ("schedule", "morning", "schedule"),
        ("per", "dose", "per"),
        ("unit", "mg/kg", "prescribed"),
        ("days", "7", "days"),
    ],
)
def test_what_is_printed_and_for_whom_is_entered_again(bench: Any, field: str, value: str, named: str) -> None:
    order = enter(bench).json()["order"]
    refused = confirm(bench, order, **{field: value})
    assert refused.status_code == 409 and refused.json()["detail"] == f"The two entries differ in: {named}."
    left_out = {name: text for name, text in AGAIN.items() if name != field}
    body = {"entry": left_out, "signature": bench.signature("second")}
    assert bench.ask("second", "POST", f"/orders/{order}/confirm", body).status_code == (409 if field == "number" else 422)
    assert confirm(bench, order, schedule="einmal täglich").status_code == 200


def test_parts_of_the_day_are_entered_again(bench: Any) -> None:
    order = enter(bench, schedule="morning 2; evening 1", weight_kg="32", height_cm="140", age_years="9").json()["order"]
    same = {"schedule": "evening 1; morgens 2", "weight_kg": "32", "height_cm": "140", "age_years": "9"}
    for wrong in ("morning 1; evening 2", "morning; evening", "morning 2; midday 1; evening 1"):
        assert confirm(bench, order, **{**same, "schedule": wrong}).json()["detail"] == "The two entries differ in: schedule."
    assert confirm(bench, order, **{**same, "schedule": "twice daily"}).status_code == 422
    assert confirm(bench, order, **same).status_code == 200


def test_a_sex_that_the_first_person_did_not_have_to_state_is_no_difference(bench: Any) -> None:
    order = enter(bench).json()["order"]
    assert bench.workstation.production.asked_again(order) == {"number", "age_years"}
    assert confirm(bench, order, sex="female").status_code == 200


def test_whoever_confirms_can_see_what_the_order_is_for_and_no_figure(bench: Any) -> None:
    shown = bench.ask("second", "GET", f"/orders/{enter(bench).json()['order']}").json()
    assert (shown["recipe"], shown["moiety"], shown["basis"]) == ("cyclophosphamide@1", "cyclophosphamide", "anhydrous")
    assert not {"110", "18", "25", "test-1", "RX-1", "once daily"} & set(map(str, shown.values()))


def printed(bench: Any, **changes: str) -> str:
    """Have a batch of this order asked for at its cell."""
    order = enter(bench, **changes).json()["order"]
    assert confirm(bench, order).status_code == 200
    batch = str(bench.ask("operator", "POST", "/batches", {"order": order, "cell": "cell-1"}).json()["batch"])
    assert bench.ask("operator", "POST", f"/batches/{batch}/run").status_code == 200
    return batch


def test_an_order_that_was_printed_is_not_printed_again(bench: Any) -> None:
    waiting = enter(bench).json()["order"]
    assert confirm(bench, waiting).status_code == 200
    printed(bench)
    again = enter(bench)
    assert again.status_code == 409 and again.json()["code"] == "AP-013"
    assert again.json()["detail"] == "Prescription RX-1 of this patient was printed already, as order O00002, batch B00001."
    assert "new prescription" in again.json()["remedy"]
    # what was entered before it was printed does not get in either
    late = bench.ask("operator", "POST", "/batches", {"order": waiting, "cell": "cell-1"})
    assert late.status_code == 409 and late.json()["code"] == "AP-013"
    # another figure under the same number is still that prescription; another number or patient is another one
    assert enter(bench, days="7").json()["code"] == "AP-013"
    assert enter(bench, number="RX-2").status_code == 201
    assert enter(bench, patient="test-2").status_code == 201


def test_a_batch_opened_twice_is_run_once(bench: Any) -> None:
    batches = []
    for _ in range(2):
        order = enter(bench).json()["order"]
        assert confirm(bench, order).status_code == 200
        batches.append(bench.ask("operator", "POST", "/batches", {"order": order, "cell": "cell-1"}).json()["batch"])
    assert bench.ask("operator", "POST", f"/batches/{batches[0]}/run").status_code == 200
    refused = bench.ask("operator", "POST", f"/batches/{batches[1]}/run")
    assert refused.status_code == 409 and refused.json()["code"] == "AP-013" and len(bench.cell.jobs) == 1


def test_a_prescription_counts_from_when_its_run_is_asked_for(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two orders of it, on two cells: while the first cell compiles, the second is not asked."""
    batches, orders = [], []
    for _ in range(2):
        orders.append(enter(bench).json()["order"])
        assert confirm(bench, orders[-1]).status_code == 200
        batches.append(bench.ask("operator", "POST", "/batches", {"order": orders[-1], "cell": "cell-1"}).json()["batch"])
    checks, create_run = bench.workstation.production.rules.checks, bench.cell.create_run
    prescription = OrderRequest.model_validate(ORDER).prescription()

    def compiling(job: Any) -> Any:
        checks.printed_once(prescription, but=batches[0])
        with pytest.raises(PrintedBefore, match=f"RX-1 of this patient is being asked for at a cell, as batch {batches[0]}"):
            checks.printed_once(prescription, but=batches[1])
        return create_run(job)

    monkeypatch.setattr(bench.cell, "create_run", compiling)
    bench.cell.refusal = ("dose: no",)
    assert bench.ask("operator", "POST", f"/batches/{batches[0]}/run").status_code == 409
    checks.printed_once(prescription, but=batches[1])  # nothing came of it
    bench.cell.refusal = ()
    assert bench.ask("operator", "POST", f"/batches/{batches[0]}/run").status_code == 200
    with pytest.raises(PrintedBefore, match="was printed already"):
        checks.printed_once(prescription, but=batches[1])


def test_what_was_rejected_was_not_supplied(bench: Any) -> None:
    prescription = OrderRequest.model_validate(ORDER).prescription()
    order = {
        "order": {**DoseOrder.model_validate(bench.workstation.store.state("order", enter(bench).json()["order"])["order"]).as_record()}
    }
    orders = {"O1": order}
    batch = {"batch": "B1", "order": "O1", "run": "B1-R1"}
    assert "batch B1" in str(printed_before(prescription, [batch], orders))
    assert printed_before(prescription, [{**batch, "disposition": "rejected"}], orders) is None
    assert printed_before(prescription, [{"batch": "B1", "order": "O1"}], orders) is None
    bare = prescription.model_copy(update={"number": None, "weight": None})
    assert "the same course" in str(printed_before(bare, [batch], orders))
    assert printed_before(bare.model_copy(update={"days": 7}), [batch], orders) is None
    # the same course in other digits and words is the same course
    written = OrderRequest.model_validate({**ORDER, "prescribed": "25.0", "schedule": "einmal täglich", "number": ""}).prescription()
    assert "the same course" in str(printed_before(written, [batch], orders))
    assert printed_before(written.model_copy(update={"patient": "test-2"}), [batch], orders) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"weight_kg": "39.7"}, "it may be in pounds: 39.7 pounds are 18.01 kg"),
        ({"height_cm": "1.10"}, "it may be in m: 1.10 m are 110"),
        ({"height_cm": "43.3"}, "it may be in inches: 43.3 inches are 110.0 cm"),
        ({"weight_kg": "18000"}, "it may be in g"),
        ({"measured": "2020-01-01"}, "measure again"),
        ({"measured": "1.1.2026"}, "measured"),
        ({"prescriber": ""}, "asks for the prescriber"),
        ({"days": "16"}, "a course of 16 days runs past the use-by of the batch"),
    ],
)
def test_an_order_that_cannot_be_believed_is_refused_with_the_likely_slip(bench: Any, changes: dict[str, str], words: str) -> None:
    answer = enter(bench, **changes)
    assert answer.status_code == 422 and words in answer.json()["detail"], answer.json()["detail"]


@pytest.mark.parametrize(("lost", "status", "stopped"), [(1, 200, ["stop.quickstop"]), (2, 503, [])])
def test_stop_asks_once_more_where_the_connection_is_lost_and_commands_once(
    bench: Any, monkeypatch: Any, lost: int, status: int, stopped: list[str]
) -> None:
    bench.cell.status_now = {**bench.cell.status_now, "run": "B00001-R1"}
    answers = iter([CellUnreachable("The cell closed the connection.", remedy="")] * lost)

    def asked(trace_since_us: int = 0) -> Any:
        if (error := next(answers, None)) is not None:
            raise error
        return bench.cell.status_now

    monkeypatch.setattr(bench.cell, "status", asked)
    assert bench.ask("operator", "POST", "/cells/cell-1/stop", {}).status_code == status
    assert [what for what, _ in bench.cell.asked] == stopped
