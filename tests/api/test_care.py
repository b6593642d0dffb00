"""Care for a cell over the interface: who may, what does not fit, and a run that the gates refused is asked for again."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from api.production import SecondEntry
from audit.events import EventKind
from printer.admission import read_trusted_people
from printer.register_file import judge_register

ROUTES = (
    ("/cells/cell-1/check", None, "check.begin"),
    ("/cells/cell-1/check/confirm", {"step": "centre"}, "check.confirm centre"),
    ("/cells/cell-1/check/abandon", {"reason": "wrong day"}, "check.abandon wrong day"),
    ("/cells/cell-1/cleaning", {"method": "CL-1"}, "cleaning CL-1"),
)
ACTS = {"check", "check/confirm", "check/abandon", "cleaning"}


@pytest.mark.parametrize(("path", "body", "asked"), ROUTES)
def test_operator_and_pharmacist_may_and_are_named(bench: Any, path: str, body: object, asked: str) -> None:
    for username in ("operator", "pharmacist"):
        assert bench.ask(username, "POST", path, body).status_code == 200
        assert bench.cell.asked[-1] == (asked, username)
    for username in ("administrator", "engineer", "quality", "qp"):
        assert bench.ask(username, "POST", path, body).status_code == 403
    assert len(bench.cell.asked) == 2
    assert bench.client.post(f"/api/v1{path}", json=body).status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        None, [], 7, "x", {}, {"step": "", "reason": "", "method": ""}, {"step": None, "reason": None, "method": None},
        {"step": ["centre"], "reason": {"a": 1}, "method": 3}, {"step": "x" * 41, "reason": "x" * 501, "method": "x" * 201},
        {"step": "centre", "reason": "r", "method": "m", "actor": "quality"},
    ],
)  # fmt: skip
def test_what_does_not_fit_never_reaches_the_cell(bench: Any, body: object) -> None:
    for path, wanted, _ in ROUTES:
        if wanted is not None:
            answer = bench.ask("operator", "POST", path, body)
            assert answer.status_code == 422, (path, body, answer.text)
    assert bench.cell.asked == []


@pytest.mark.parametrize("cell", ["cell-9", "..", "cell-1%2F..", "%00"])
def test_another_cell_is_not_found(bench: Any, cell: str) -> None:
    for path, body, _ in ROUTES:
        assert bench.ask("operator", "POST", path.replace("cell-1", cell), body).status_code in {404, 405}
    assert bench.ask("operator", "GET", f"/cells/{cell}/readiness").status_code == 404


def test_a_refusal_of_the_cell_comes_with_its_reasons(bench: Any) -> None:
    bench.cell.refusal = ("a daily check of the balance is under way, begun by Demonstration operator",)
    answer = bench.ask("operator", "POST", "/cells/cell-1/check")
    assert answer.status_code == 409 and answer.json()["reasons"] == list(bench.cell.refusal)


def test_readiness_is_for_everybody_to_see(bench: Any) -> None:
    for username in ("administrator", "qp", "operator"):
        shown = bench.ask(username, "GET", "/cells/cell-1/readiness").json()
        allowed = shown.pop("allowed_actions")
        assert shown == bench.cell.readiness()
        assert all(act["allowed"] is (username == "operator") for act in allowed.values()) and set(allowed) == ACTS


def prepared(bench: Any) -> str:
    order = {
        "recipe": "cyclophosphamide", "ink_lot": "CYC-DEMO-01", "cartridge": "CYC-DEMO-01-A", "patient": "demonstration-001",
        "moiety": "cyclophosphamide", "basis": "anhydrous", "height_cm": "124.5", "weight_kg": "24.1", "prescribed": "40", "unit": "mg/m2",
        "per": "day", "schedule": "morning 1; evening 1", "days": "7", "age_years": "7", "measured": datetime.now(UTC).date().isoformat(),
        "prescriber": "test prescriber", "number": "RX-1",
    }  # fmt: skip
    entered = bench.ask("pharmacist", "POST", "/orders", {"order": order, "signature": bench.signature("pharmacist")})
    assert entered.status_code == 201, entered.text
    number = entered.json()["order"]
    entry = {name: order[name] for name in SecondEntry.model_fields if name in order}
    body = {"entry": entry, "signature": bench.signature("second")}
    assert bench.ask("second", "POST", f"/orders/{number}/confirm", body).status_code == 200
    return str(bench.ask("operator", "POST", "/batches", {"order": number, "cell": "cell-1"}).json()["batch"])


def test_a_run_that_a_gate_refused_is_asked_for_again_and_any_other_is_not(bench: Any) -> None:
    batch = prepared(bench)
    assert bench.ask("operator", "POST", f"/batches/{batch}/run").status_code == 200
    run = bench.workstation.production.batch(batch)["run"]
    gate = {"gate": "daily balance check", "met": False, "reason": "do it"}
    shown = bench.cell.status_now
    for status in (
        {"state": "READY", "run": run, "gates": [{**gate, "met": True}]},
        {"state": "PREFLIGHT", "run": run, "gates": [gate]},
        {"state": "AWAITING_REVIEW", "run": run, "gates": [{**gate, "met": True}]},
        {"state": "AWAITING_REVIEW", "run": "another", "gates": [gate]},
    ):
        bench.cell.status_now = {**shown, **status}
        assert bench.ask("operator", "POST", f"/batches/{batch}/run").status_code == 409, status
    bench.cell.status_now = {**shown, "state": "AWAITING_REVIEW", "run": run, "gates": [gate]}
    assert bench.ask("operator", "POST", f"/batches/{batch}/run").status_code == 200
    assert len(bench.cell.jobs) == 2
    asked = [entry for entry in bench.workstation.store.entries() if entry.kind == EventKind.BATCH_RUN_REQUESTED]
    assert len(asked) == 2


def test_quality_assurance_signs_a_register_that_the_cell_believes(bench: Any) -> None:
    folder = bench.site.folder
    register = json.loads((folder / "cell-1" / "equipment.json").read_text())["register"] | {"version": 2}
    body = {"register": register, "signature": bench.signature("quality")}
    for username in ("operator", "administrator", "engineer"):
        assert bench.ask(username, "POST", "/equipment-registers", {**body, "signature": bench.signature(username)}).status_code == 403
    wrong = {**body, "signature": {"password": "wrong", "scripted": True}}
    assert bench.ask("quality", "POST", "/equipment-registers", wrong).status_code in {401, 403}
    for broken in ({**register, "more": 1}, {**register, "version": 0}, {**register, "training": None}, [], None):
        assert bench.ask("quality", "POST", "/equipment-registers", {**body, "register": broken}).status_code == 422
    answer = bench.ask("quality", "POST", "/equipment-registers", body)
    assert answer.status_code == 200, answer.text
    trusted = read_trusted_people(folder / "cell-1" / "trusted" / "people.json")
    found = judge_register(answer.text, cell="cell-1", trusted=trusted)
    assert found.register is not None and found.register.version == 2
    assert judge_register(answer.text.replace('"version":2', '"version":3'), cell="cell-1", trusted=trusted).register is None
