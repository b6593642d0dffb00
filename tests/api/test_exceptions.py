"""Exceptions and returned cartridges through the interface: who may, when, and what is signed."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from typing import Any

import pytest

from audit.events import SYSTEM, EntryDraft, EventKind, Subject
from audit.release.evidence_further import resolutions
from audit.release.ink_use import return_id
from audit.signatures import verify_signature

_SPEC = importlib.util.spec_from_file_location("orders_for_exceptions", Path(__file__).with_name("test_production.py"))
assert _SPEC is not None and _SPEC.loader is not None
_PRODUCTION = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_PRODUCTION)

RUN, CARTRIDGE = "B00001-R1", "CYC-DEMO-01-A"
RULES = {"largest_reject_rate_percent": "20", "ink_reconciliation_percent": "5"}


@pytest.fixture
def batch(bench: Any) -> str:
    """A batch awaiting review whose run rejected one unit of two, with a deviation."""
    name: str = _PRODUCTION.make_batch(bench)
    bench.ask("operator", "POST", f"/batches/{name}/run")
    cell = bench.cell
    cell.record(EventKind.RUN_STATE_CHANGED, "run", RUN, {"state": "PRINTING", "release_rules": RULES, "prime_volumes_uL": ["300"]})
    for n, verdict in ((1, "accepted"), (2, "rejected")):
        unit = f"{RUN}/{n:03d}"
        cell.record(EventKind.UNIT_PRINT_INTENDED, "unit", unit, {"n": n, "strength_mg": "18.5", "target_mass_mg": "467.17"})
        cell.record(EventKind.UNIT_WEIGHT_JUDGED, "unit", unit, {"verdict": verdict, "mass_mg": "467.0", "reasons": []})
    deviation = {"run": RUN, "unit_n": 2, "text": "mass out of tolerance", "status": "open"}
    cell.record(EventKind.DEVIATION_RECORD_OPENED, "deviation", f"{RUN}/D01", deviation)
    cell.record(EventKind.RUN_RECORD_CLOSED, "run", RUN, {"state": "AWAITING_REVIEW", "ended": "FINISHED"})
    cell.status_now = {**cell.status_now, "run": RUN, "batch": name, "state": "AWAITING_REVIEW"}
    assert bench.ask("qp", "POST", f"/batches/{name}/close").status_code == 200
    return name


def exceptions(bench: Any, batch: str) -> dict[str, str]:
    return {row["exception"]: row["finding"] for row in bench.ask("quality", "GET", f"/batches/{batch}/exceptions").json()}


def resolve(bench: Any, batch: str, username: str = "quality", **changes: str) -> Any:
    cause = {"exception": "reject-rate", "reason_code": "material", "cause": "an air bubble in the cartridge", **changes}
    cause.setdefault("finding", exceptions(bench, batch).get(cause["exception"], "nothing"))
    body = {"cause": cause, "signature": bench.signature(username)}
    return bench.ask(username, "POST", f"/batches/{batch}/exceptions/resolution", body)


def test_open_exceptions_are_listed_with_what_was_found(bench: Any, batch: str) -> None:
    assert exceptions(bench, batch) == {
        f"deviation/{RUN}/D01": "unit 2: mass out of tolerance",
        "reject-rate": "1 of 2 printed units rejected or scrapped, 50.0 %, limit 20 %",
    }


def test_a_cause_is_signed_over_the_finding_and_the_exception_is_gone(bench: Any, batch: str) -> None:
    answer = resolve(bench, batch)
    assert answer.status_code == 200, answer.text
    assert list(exceptions(bench, batch)) == [f"deviation/{RUN}/D01"]
    assert resolve(bench, batch, exception=f"deviation/{RUN}/D01").status_code == 200
    assert exceptions(bench, batch) == {}
    entries = bench.workstation.release.entries(batch)
    assert [row["problem"] for row in resolutions(entries)] == ["", ""]
    for row in bench.workstation.store.search(kind="batch.exception."):
        verify_signature(row.new["signature"])
        assert row.actor.username == "quality"
    record = bench.ask("qp", "GET", f"/batches/{batch}/review").json()
    found = next(item for item in record["evidence"] if item["item"].startswith("share of rejected"))
    assert found["state"] == "met" and "material: an air bubble" in found["detail"]


def test_a_finding_that_names_every_unit_of_a_batch_is_resolved(bench: Any) -> None:
    name: str = _PRODUCTION.make_batch(bench)
    bench.ask("operator", "POST", f"/batches/{name}/run")
    held = "; ".join(f"{RUN}/{n:03d} held: T² 14.2345678 is above 12.345, Q 0.0123456789 is above 0.009, unlike it" for n in range(30))
    bench.cell.record(EventKind.DEVIATION_RECORD_OPENED, "deviation", f"{RUN}/D01", {"run": RUN, "text": held, "status": "open"})
    bench.cell.record(EventKind.RUN_RECORD_CLOSED, "run", RUN, {"state": "AWAITING_REVIEW", "ended": "FINISHED"})
    bench.cell.status_now = {**bench.cell.status_now, "run": RUN, "batch": name, "state": "AWAITING_REVIEW"}
    assert bench.ask("qp", "POST", f"/batches/{name}/close").status_code == 200
    (finding,) = exceptions(bench, name).values()
    assert len(finding) > 2000
    assert resolve(bench, name, exception=f"deviation/{RUN}/D01").status_code == 200
    assert exceptions(bench, name) == {}


@pytest.mark.parametrize(
    ("username", "changes", "status", "words"),
    [
        ("operator", {}, 403, "may not resolve"),
        ("quality", {"cause": "unclear"}, 409, "no cause is stated"),
        ("quality", {"reason_code": "unknown"}, 422, "reason_code"),
        ("quality", {"finding": "1 of 9"}, 409, "not what was shown"),
        ("quality", {"exception": "uniformity"}, 404, "no open exception"),
    ],
)
def test_what_is_refused_leaves_no_entry(bench: Any, batch: str, username: str, changes: dict[str, str], status: int, words: str) -> None:
    answer = resolve(bench, batch, username, **changes)
    assert answer.status_code == status and words in answer.text, answer.text
    assert bench.workstation.store.search(kind="batch.exception.") == []


WEIGHED = {"serial": CARTRIDGE, "gross_mg": "29000.0", "uncertainty_mg": "2", "balance": "B-7", "empty_mg": "20000"}


def test_a_cartridge_is_weighed_back_once_and_that_weighing_is_its_account_too(bench: Any, batch: str) -> None:
    path = f"/batches/{batch}/cartridge-returns"
    refused = (
        ({"serial": "other"}, 404, "no cartridge 'other'"),
        ({"gross_mg": "9,0"}, 422, "comma"),
        ({"empty_mg": "30000"}, 422, "would leave"),
        ({"empty_mg": "0"}, 422, "not above zero"),
        ({"empty_mg": ""}, 422, "never weighed before"),
    )
    for changes, status, words in refused:
        answer = bench.ask("operator", "POST", path, {**WEIGHED, **changes})
        assert answer.status_code == status and words in answer.text, answer.text
    assert bench.workstation.store.search(kind="ink.cartridge.weighed") == []
    answer = bench.ask("operator", "POST", path, WEIGHED)
    assert answer.status_code == 201 and answer.json()["settles"] == batch and answer.json()["remaining_mg"] == "9000.0", answer.text
    assert bench.ask("operator", "POST", path, WEIGHED).status_code == 409
    record = bench.ask("qp", "GET", f"/batches/{batch}/review").json()
    (ink,) = record["ink_use"]
    assert ink["remaining_mg"] == "9000.0" and ink["printed_mg"] == "467.0" and ink["rejected_mg"] == "467.0"
    assert f"ink/{CARTRIDGE}" in exceptions(bench, batch) or float(ink["unaccounted_percent"]) <= 5
    (entry,) = bench.workstation.store.search(kind="ink.cartridge.weighed")
    assert entry.subject.id == CARTRIDGE
    shown = bench.ask("qp", "GET", f"/cartridges/{CARTRIDGE}").json()
    assert shown["history"][-1]["new"]["settles"] == batch


def test_a_weighing_on_the_page_of_inks_settles_the_batch_that_waits_and_the_next_one_does_not(bench: Any, batch: str) -> None:
    body = {name: value for name, value in WEIGHED.items() if name != "serial"}
    first = bench.ask("operator", "POST", f"/cartridges/{CARTRIDGE}/weight", body).json()
    assert (first["settles"], first["remaining_mg"]) == (batch, "9000.0")
    assert bench.ask("operator", "POST", f"/batches/{batch}/cartridge-returns", WEIGHED).status_code == 409
    later = bench.ask("operator", "POST", f"/cartridges/{CARTRIDGE}/weight", {**body, "gross_mg": "28000", "empty_mg": ""}).json()
    assert later["settles"] is None and later["remaining_mg"] == "8000" and later["reconciled"] is False
    (ink,) = bench.ask("qp", "GET", f"/batches/{batch}/review").json()["ink_use"]
    assert ink["remaining_mg"] == "9000.0", "a second weighing contradicts the account of the cartridge, never that of the batch"
    other = bench.ask("operator", "POST", f"/cartridges/{CARTRIDGE}/weight", {**body, "empty_mg": "21000"})
    assert other.status_code == 422 and "entered with 20000 mg" in other.text


def test_what_an_earlier_weighing_says_needs_no_empty_mass(bench: Any) -> None:
    body = {"gross_mg": "31400", "uncertainty_mg": "2", "balance": "B-7"}
    first = bench.ask("operator", "POST", f"/cartridges/{CARTRIDGE}/weight", body).json()
    assert first["remaining_mg"] is None and first["settles"] is None
    again = bench.ask("operator", "POST", f"/cartridges/{CARTRIDGE}/weight", {**body, "gross_mg": "31350"}).json()
    assert again["remaining_mg"] == "11350.00", "9500 uL at 1.20 g/mL are 11400 mg, and 50 mg are gone"


def test_an_entry_of_an_older_trail_still_says_what_was_left(bench: Any, batch: str) -> None:
    new = {"batch": batch, "cartridge": CARTRIDGE, "remaining_mg": "9000.0", "balance_serial": "B-7"}
    subject = Subject("ink_return", return_id(batch, CARTRIDGE))
    bench.workstation.store.append(EntryDraft(EventKind.INK_CARTRIDGE_RETURNED, subject, new, SYSTEM, "workstation"))
    (ink,) = bench.ask("qp", "GET", f"/batches/{batch}/review").json()["ink_use"]
    assert ink["remaining_mg"] == "9000.0"
    assert bench.ask("operator", "POST", f"/batches/{batch}/cartridge-returns", WEIGHED).status_code == 409


def test_nothing_is_resolved_before_the_run_is_closed_or_after_the_disposition(bench: Any, batch: str) -> None:
    body = {"disposition": "rejected", "comment": "", "signature": bench.signature("qp")}
    finding = exceptions(bench, batch)["reject-rate"]
    assert bench.ask("qp", "POST", f"/batches/{batch}/disposition", body).status_code == 200
    assert resolve(bench, batch, finding=finding).status_code == 409


def test_a_disposition_stands_where_there_is_no_room_for_its_document(
    bench: Any, batch: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "not there"))
    body = {"disposition": "rejected", "comment": "", "signature": bench.signature("qp")}
    answer = bench.ask("qp", "POST", f"/batches/{batch}/disposition", body)
    assert answer.status_code == 200, answer.text
    assert "could not be made: No such file" in answer.json()["document_problem"] and answer.json()["document_sha256"] is None
    assert bench.workstation.store.state("batch", batch)["disposition"] == "rejected"
    refused = bench.ask("qp", "POST", f"/batches/{batch}/package")
    assert refused.json()["code"] == "AU-001" and "could not be made" in refused.json()["detail"]
    monkeypatch.setattr(tempfile, "tempdir", None)
    assert bench.ask("qp", "POST", f"/batches/{batch}/package").status_code == 200
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "not there"))
    assert "package could not be written" in bench.ask("qp", "POST", f"/batches/{batch}/package").json()["detail"]
