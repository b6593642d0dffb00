"""Restore tests, holds and erasures over the interface: who may, what is refused, what is on record."""

from __future__ import annotations

from typing import Any

from audit.events import Actor
from audit.patients import PatientVault

OUTCOME = {
    "backup": "b",
    "on": "2026-11-29",
    "passed": True,
    "problem": "",
    "backup_sha256": "0" * 64,
    "backup_size": 4,
    "consistent": True,
}


def body(bench: Any, **changes: object) -> dict[str, object]:
    return {"origin": bench.workstation.store.origin, "outcome": {**OUTCOME, **changes}}


def test_a_restore_test_is_recorded_by_an_administrator_and_moves_the_date(bench: Any) -> None:
    before = bench.ask("qp", "GET", "/stores/restore-test").json()
    assert before["overdue"] is True and before["due"] is None
    for username in ("operator", "pharmacist", "qp", "quality"):
        assert bench.ask(username, "POST", "/stores/restore-tests", body(bench)).status_code == 403
    assert bench.ask("administrator", "POST", "/stores/restore-tests", body(bench, passed=False, problem="cut off")).status_code == 200
    assert bench.ask("qp", "GET", "/stores/restore-test").json()["due"] is None
    answer = bench.ask("administrator", "POST", "/stores/restore-tests", body(bench))
    assert answer.status_code == 200, answer.text
    assert bench.ask("qp", "GET", "/stores/restore-test").json()["due"] == "2027-03-01"
    entry = bench.workstation.store.search(kind="store.restore.tested", newest_first=True)[0]
    assert entry.seq == answer.json()["seq"] and entry.actor.role == "administrator"


def test_what_is_no_outcome_or_of_another_store_is_refused(bench: Any) -> None:
    size = bench.workstation.store.size
    for bad in (
        None, {}, [], {"origin": "x"}, body(bench, on="today"), body(bench, more=1), body(bench, backup_size=-1),
        body(bench, backup_size=1 << 60), body(bench, backup_sha256="x"), {"origin": "another.example", "outcome": OUTCOME},
    ):  # fmt: skip
        answer = bench.ask("administrator", "POST", "/stores/restore-tests", bad)
        assert answer.status_code == 422, (bad, answer.text)
    assert not bench.workstation.store.search(kind="store.restore.tested", after_seq=size)


def test_holds_and_erasures_are_refused_with_reasons(bench: Any) -> None:
    store = bench.workstation.store
    PatientVault(bytes(32)).record(store, "P-7", {"name": "Somebody"}, actor=Actor("x", "X", "pharmacist"), device="ws")
    assert bench.ask("qp", "POST", "/batches/B-none/holds/recall", {"reason": "r"}).status_code == 409
    assert bench.ask("operator", "POST", "/batches/B-none/holds/recall", {"reason": "r"}).status_code == 403
    assert bench.ask("qp", "GET", "/retention").json() == []
    assert bench.ask("qp", "POST", "/patients/P-none/erasure-request", {"reason": "asked"}).status_code == 409
    assert bench.ask("qp", "POST", "/patients/P-7/erasure-request", {}).status_code == 422
    assert bench.ask("quality", "POST", "/patients/P-7/erasure").json()["code"] == "AU-062"
    # a patient for whom nothing was ever ordered
    assert bench.ask("qp", "POST", "/patients/P-7/erasure-request", {"reason": "asked for by the patient"}).status_code == 200
    assert bench.ask("qp", "POST", "/patients/P-7/erasure").status_code == 409
    assert bench.ask("administrator", "POST", "/patients/P-7/erasure").status_code == 403
    answer = bench.ask("quality", "POST", "/patients/P-7/erasure")
    assert answer.status_code == 200 and answer.json()["overwritten"] is True
    assert store.state("patient", "P-7")["identity_erased"] is True
