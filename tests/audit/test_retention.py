"""How long documents are kept, to the day; and the erasure of an identity: never before, by two people, and known to `verify`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.canonical import JsonObject, canonical
from audit.clock import SystemClock, UtcReading
from audit.errors import EntryInvalid, RecordError, RetentionRefused
from audit.events import Actor, EntryDraft, EventKind, SealedRow, Subject
from audit.patients import PatientVault
from audit.retention import Policy, erase_identity, erasure_refusals, kept_batches, lift_hold, place_hold, request_erasure
from audit.store import TrailStore
from audit.verify import verify_store
from tests.audit.conftest import KEY, ORIGIN

QUALITY = Actor("quentin", "Quentin", "quality_assurance")
ADMIN = Actor("adele", "Adele", "administrator")
VAULT = PatientVault(bytes(32))
NAME = "Mustermann, a name that must go"


class Calendar(SystemClock):
    """A clock that stands at a day."""

    day = "2026-11-20"

    def utc(self) -> UtcReading:
        return UtcReading(f"{self.day}T09:00:00.000000Z", "UTC", "synchronised")


@pytest.mark.parametrize(
    ("certified", "expires", "until"),
    [
        ("2026-11-20", "2026-12-20", "2031-11-20"),  # five years after certification are longer
        ("2026-11-20", "2030-11-20", "2031-11-20"),  # the same day
        ("2026-11-20", "2030-11-21", "2031-11-21"),  # one year after expiry is longer
        ("2024-02-29", "2024-03-30", "2029-03-01"),  # there is no 29 February 2029
        ("2023-03-01", "2028-02-29", "2029-03-01"),
    ],
)
def test_one_year_after_expiry_or_five_after_certification_whichever_is_longer(certified: str, expires: str, until: str) -> None:
    assert Policy().until(date.fromisoformat(certified), date.fromisoformat(expires)) == date.fromisoformat(until)


@given(st.dates(date(1990, 1, 1), date(2100, 1, 1)), st.integers(0, 4000), st.integers(1, 100), st.integers(5, 100))
def test_no_policy_keeps_shorter_than_the_rule(certified: date, days: int, after_expiry: int, after_certification: int) -> None:
    expires = certified + timedelta(days=days)
    until = Policy(after_expiry, after_certification).until(certified, expires)
    assert until >= Policy().until(certified, expires)
    assert (until - certified).days >= 5 * 365 and (until - expires).days >= 365


@pytest.mark.parametrize("years", [(0, 5), (1, 4), (-1, 5), (1, 101), (101, 5)])
def test_a_shorter_policy_is_refused(years: tuple[int, int]) -> None:
    with pytest.raises(RetentionRefused, match="not what may be chosen"):
        Policy(*years)


def disposed(store: TrailStore, batch: str, use_by: str | None, disposition: str = "released") -> None:
    record: JsonObject = {"release": {"use_by": {"day": use_by, "because": "ink"}} if use_by else {}}
    draft = EntryDraft(
        EventKind.BATCH_DISPOSITION_SIGNED,
        Subject("batch", batch),
        {"disposition": disposition},
        QUALITY,
        "ws",
        attachments={"record.json": canonical(record)},
    )
    store.append(draft)


@pytest.fixture
def clock() -> Calendar:
    return Calendar(zone="UTC", sync="synchronised")


@pytest.fixture
def store(tmp_path: Path, clock: Calendar) -> Iterator[TrailStore]:
    path = tmp_path / "ws.db"
    with TrailStore.create(path, origin=ORIGIN, key=KEY, clock=clock, software="t", demonstration=True) as opened:
        VAULT.record(opened, "P-1", {"name": NAME}, actor=QUALITY, device="ws")
        VAULT.record(opened, "P-2", {"name": "Another"}, actor=QUALITY, device="ws")
        for number, patient in ((1, "P-1"), (2, "P-2")):
            order: JsonObject = {"order": {"prescription": {"patient": patient}}}
            opened.append(
                EntryDraft(EventKind.ORDER_PRESCRIPTION_ENTERED, Subject("order", f"O-{number}"), order, QUALITY, "ws"),
                EntryDraft(EventKind.BATCH_RECORD_CREATED, Subject("batch", f"B-{number}"), {"order": f"O-{number}"}, QUALITY, "ws"),
            )
        disposed(opened, "B-1", "2026-12-20")
        yield opened


DUE = date(2031, 11, 21)


def test_the_report_lists_what_is_due(store: TrailStore) -> None:
    one, two = kept_batches(store, Policy())
    assert (one.batch, one.patient, one.until) == ("B-1", "P-1", date(2031, 11, 20))
    assert not one.is_due(date(2031, 11, 20)) and one.is_due(DUE)
    assert two.until is None and not two.is_due(date(2999, 1, 1)) and "no disposition" in two.because
    disposed(store, "B-2", None)
    assert "states no expiry" in list(kept_batches(store, Policy()))[1].because
    disposed(store, "B-2", None, "rejected")
    assert list(kept_batches(store, Policy()))[1].until == date(2031, 11, 20)


def test_what_was_cancelled_is_kept_from_then_on(store: TrailStore) -> None:
    gone: JsonObject = {"status": "cancelled"}
    store.append(EntryDraft(EventKind.BATCH_RECORD_CANCELLED, Subject("batch", "B-2"), gone, QUALITY, "ws", reason="why"))
    _, two = kept_batches(store, Policy())
    assert (two.until, two.because) == (date(2031, 11, 20), "counted from its cancellation")
    assert two.is_due(DUE) and erasure_refusals(store, "P-2", Policy(), DUE) == []


def test_a_hold_keeps_them_until_it_is_lifted(store: TrailStore) -> None:
    place_hold(store, "B-1", "recall-1", "complaint 17", QUALITY, "ws")
    held = next(iter(kept_batches(store, Policy())))
    assert held.holds == ("recall-1: complaint 17",) and not held.is_due(DUE)
    with pytest.raises(RetentionRefused, match="B-1 is held"):
        request_erasure(store, "P-1", "asked for", ADMIN, "ws", today=DUE)
    for bad in (("B-9", "x", "r"), ("B-1", "recall-1", "again"), ("B-1", "", "r"), ("B-1", "y", " "), ("B-1", "a/b", "r")):
        with pytest.raises(RetentionRefused):
            place_hold(store, *bad, QUALITY, "ws")
    with pytest.raises(RetentionRefused):
        lift_hold(store, "B-1", "other", "r", QUALITY, "ws")
    lift_hold(store, "B-1", "recall-1", "answered", QUALITY, "ws")
    assert next(iter(kept_batches(store, Policy()))).is_due(DUE)


def test_an_identity_is_never_erased_before_and_by_two_people_after(store: TrailStore) -> None:
    for today in (date(2026, 11, 21), date(2031, 11, 20)):
        with pytest.raises(RetentionRefused, match="B-1 is kept until 2031-11-20"):
            request_erasure(store, "P-1", "asked for", QUALITY, "ws", today=today)
    with pytest.raises(RetentionRefused, match="B-2 is kept: it has no disposition"):
        request_erasure(store, "P-2", "asked for", QUALITY, "ws", today=date(2100, 1, 1))
    with pytest.raises(RetentionRefused, match="no identifying data"):
        request_erasure(store, "P-9", "asked for", QUALITY, "ws", today=DUE)
    with pytest.raises(RetentionRefused, match="Nobody asked"):
        erase_identity(store, "P-1", ADMIN, "ws", today=DUE)
    with pytest.raises(RetentionRefused, match="takes a reason"):
        request_erasure(store, "P-1", " ", QUALITY, "ws", today=DUE)
    request_erasure(store, "P-1", "asked for by the patient", QUALITY, "ws", today=DUE)
    with pytest.raises(RetentionRefused, match="quentin asked for it"):
        erase_identity(store, "P-1", QUALITY, "ws", today=DUE)
    with pytest.raises(RetentionRefused, match="is kept until"):  # a longer policy counts when it is carried out, too
        erase_identity(store, "P-1", ADMIN, "ws", today=DUE, policy=Policy(after_certification=10))
    assert VAULT.read(store, "P-1")["name"] == NAME
    commitment = (store.state("patient", "P-1") or {})["identity_sha256"]
    sealed = store.sealed("patients", "P-1")
    erase_identity(store, "P-1", ADMIN, "ws", today=DUE)
    with pytest.raises(RecordError, match="were erased"):
        VAULT.read(store, "P-1")
    assert (store.state("patient", "P-1") or {})["identity_sha256"] == commitment
    report = verify_store(store.path)
    assert report.findings == () and any("patients: 1 rows" in line and "1 destroyed on record" in line for line in report.checked)
    files = [path.read_bytes() for path in store.path.parent.iterdir()]
    assert not any(sealed in data for data in files), "the row is gone from the file and its log, not only from the table"
    with pytest.raises(RetentionRefused, match="erased already"):
        request_erasure(store, "P-1", "again", QUALITY, "ws", today=DUE)


def test_an_open_recall_keeps_who_it_has_to_reach(store: TrailStore) -> None:
    found: JsonObject = {"patients": ["P-1"], "batches": []}
    for recall, new in (("R1", {"status": "open", "found": found}), ("R2", {"status": "open", "found": {"patients": ["P-2"]}})):
        store.append(EntryDraft(EventKind.RECALL_RECORD_OPENED, Subject("recall", recall), new, QUALITY, "ws"))
    with pytest.raises(RetentionRefused, match="recall R1 is open") as refused:
        request_erasure(store, "P-1", "asked for", QUALITY, "ws", today=DUE)
    assert "R2" not in str(refused.value)
    store.append(EntryDraft(EventKind.RECALL_RECORD_CLOSED, Subject("recall", "R1"), {"status": "closed"}, QUALITY, "ws"))
    request_erasure(store, "P-1", "asked for", QUALITY, "ws", today=DUE)
    store.append(EntryDraft(EventKind.RECALL_RECORD_OPENED, Subject("recall", "R3"), {"status": "open", "found": found}, QUALITY, "ws"))
    with pytest.raises(RetentionRefused, match="recall R3 is open"):  # one that was opened meanwhile counts, too
        erase_identity(store, "P-1", ADMIN, "ws", today=DUE)


def test_only_the_patients_own_batches_are_read(store: TrailStore, monkeypatch: pytest.MonkeyPatch) -> None:
    disposed(store, "B-2", "2026-12-20")
    read: list[str] = []
    blob = store.blob
    monkeypatch.setattr(store, "blob", lambda sha256: read.append(sha256) or blob(sha256))
    assert [kept.batch for kept in kept_batches(store, Policy(), patient="P-1")] == ["B-1"] and len(read) == 1


def held_bytes(store: TrailStore) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(store.path.parent.iterdir()))


def erased_while_read(store: TrailStore) -> tuple[bytes, sqlite3.Connection]:
    """Erase an identity while somebody reads the store as it was; return the sealed row and the reading connection."""
    sealed = store.sealed("patients", "P-1")
    request_erasure(store, "P-1", "asked for", QUALITY, "ws", today=DUE)
    reader = sqlite3.connect(f"file:{store.path}?mode=ro", uri=True, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM entries").fetchone()
    erase_identity(store, "P-1", ADMIN, "ws", today=DUE)
    assert not store.is_wiped and sealed in held_bytes(store)
    return sealed, reader


def test_what_a_reader_kept_in_the_log_goes_with_the_next_entry_after_it(store: TrailStore) -> None:
    sealed, reader = erased_while_read(store)
    place_hold(store, "B-2", "one", "while it is still read", QUALITY, "ws")
    assert not store.is_wiped
    reader.close()
    place_hold(store, "B-2", "two", "nobody reads any more", QUALITY, "ws")
    assert store.is_wiped and sealed not in held_bytes(store)


def test_what_a_reader_kept_in_the_log_goes_after_a_restart_too(store: TrailStore, clock: Calendar) -> None:
    sealed, reader = erased_while_read(store)
    store._abandon()  # as a process that is killed
    reader.close()
    with TrailStore.open(store.path, key=KEY, clock=clock, software="t") as again:
        assert not again.is_wiped, "what an earlier process left is not known"
        place_hold(again, "B-2", "one", "the first entry", QUALITY, "ws")
        assert again.is_wiped and sealed not in held_bytes(again)


def test_an_order_that_was_never_made_is_kept_as_well(store: TrailStore) -> None:
    order: JsonObject = {"order": {"prescription": {"patient": "P-1"}}}
    store.append(EntryDraft(EventKind.ORDER_PRESCRIPTION_ENTERED, Subject("order", "O-3"), order, QUALITY, "ws"))
    with pytest.raises(RetentionRefused, match="order O-3 of 2026-11-20 is kept until 2031-11-20"):
        request_erasure(store, "P-1", "asked for", QUALITY, "ws", today=date(2031, 11, 20))
    request_erasure(store, "P-1", "asked for", QUALITY, "ws", today=DUE)


def test_verify_knows_an_erased_row_from_a_missing_and_from_a_returned_one(store: TrailStore) -> None:
    path, sealed = store.path, store.sealed("patients", "P-1")
    request_erasure(store, "P-1", "asked for", QUALITY, "ws", today=DUE)
    erase_identity(store, "P-1", ADMIN, "ws", today=DUE)
    store.close()
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM patients WHERE id = 'P-2'")
    connection.execute("INSERT INTO patients (id, sealed) VALUES ('P-1', ?)", (sealed,))
    connection.commit()
    connection.close()
    said = [str(finding) for finding in verify_store(path).findings]
    assert said == ["patients row P-1: is there, though the trail says that it was destroyed", "patients row P-2: is missing"]


def test_a_patient_who_comes_back_is_recorded_anew(store: TrailStore) -> None:
    request_erasure(store, "P-1", "asked for", QUALITY, "ws", today=DUE)
    erase_identity(store, "P-1", ADMIN, "ws", today=DUE)
    VAULT.record(store, "P-1", {"name": "Again"}, actor=QUALITY, device="ws")
    assert VAULT.read(store, "P-1") == {"name": "Again"} and verify_store(store.path).findings == ()


def test_no_other_entry_can_destroy_a_row(store: TrailStore) -> None:
    for subject, new, sealed in (
        (Subject("person", "p"), {"identity_erased": True}, ()),
        (Subject("patient", "P-1"), {}, ()),
        (Subject("patient", "P-1"), {"identity_erased": True}, (SealedRow("patients", b"x"),)),
    ):
        with pytest.raises(EntryInvalid, match="only a patient's row is destroyed"):
            store.append(EntryDraft(EventKind.PATIENT_IDENTITY_ERASED, subject, new, ADMIN, "ws", sealed=sealed, erased=True))
    assert VAULT.read(store, "P-1")["name"] == NAME
