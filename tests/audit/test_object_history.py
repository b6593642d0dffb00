"""What changed in a record: old beside new, leaf by leaf; and a signature no longer stands once its content is another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.canonical import canonical, digest, sha256_hex
from audit.checkpoint import SigningKey
from audit.events import Entry, EntryDraft, EventKind, Subject
from audit.object_history import FieldChange, ObjectHistory, changes_of, object_history
from audit.release.exceptions import MEANING, resolution_digest
from audit.signatures import removal_digest, sign_with_key
from audit.signed_content import SIGNED_FIELDS
from audit.trail_search import leaves
from tests.audit.conftest import OPERATOR, new_store

SIGNER = SigningKey.from_seed("site.example/people/olga", bytes(range(32)))
Fields = Mapping[str, Any]


def signed(over: str, meaning: str = "checked") -> dict[str, Any]:
    return sign_with_key(
        SIGNER, signer="olga", name="Olga Operator", role="operator", meaning=meaning, digest=over, at="2026-11-20T10:00:00.000000Z",
        zone="Europe/Paris",
    ).as_record()  # fmt: skip


def history(tmp_path: Path, subject: Subject, *news: Fields) -> ObjectHistory:
    """Write these changes of an object, each an entry (from 1 on), and return its history."""
    with new_store(tmp_path / "t.db") as store:
        for new in news:
            store.append(EntryDraft(EventKind.RUN_STATE_CHANGED, subject, new, OPERATOR, "ws", unit={"mass": "mg"}))
        return object_history(subject, store.search(subject_type=subject.type, subject_id=subject.id))


def test_a_change_shows_old_and_new_of_each_leaf_with_its_unit(tmp_path: Path) -> None:
    first = {"dose": {"units": [{"mass": "1.0"}, {"mass": "2.0"}], "note": "x"}, "mass": "5", "left": True}
    then = {"dose": {"units": [{"mass": "1.0"}, {"mass": "2.5"}, {"mass": "3"}]}, "mass": "5", "left": 1}
    rows = history(tmp_path, Subject("thing", "T1"), first, then).rows
    assert rows[1].changes == (
        FieldChange("dose.note", "x", None, ""),
        FieldChange("dose.units[1].mass", "2.0", "2.5", ""),
        FieldChange("dose.units[2].mass", None, "3", ""),
        FieldChange("left", True, 1, ""),
    )
    assert FieldChange("mass", None, "5", "mg") in rows[0].changes
    assert (rows[1].entry.actor.name, rows[1].entry.zone) == ("Operator Account", "Europe/Paris")


_TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab.[", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", min_size=1, max_size=2), inner, max_size=3),
    max_leaves=8,
)


@given(old=_TREES, new=_TREES)
def test_what_is_shown_as_changed_is_exactly_what_differs(old: Any, new: Any) -> None:
    entry = Entry(canonical({"old": {"f": old}, "new": {"f": new}, "unit": {}}))
    shown = {change.path: (change.old, change.new) for change in changes_of(entry)}
    before, after = ({} if tree is None else dict(leaves(tree, "f")) for tree in (old, new))
    for path in before.keys() | after.keys():
        same = path in before and path in after and canonical(before[path]) == canonical(after[path])
        assert (path not in shown) == same
        if not same:
            assert shown[path] == (before.get(path), after.get(path))
    assert shown.keys() <= before.keys() | after.keys()


ORDER = {"patient": "P1", "dose": "18.5 mg"}
RECORD = "ab" * 32
DISPOSITION = {"disposition": "released", "record_sha256": RECORD, "workstation_size": 5, "cell_size": 9, "cell_root": "r"}
CAUSE = {"batch": "B1", "exception": "e", "finding": "f", "reason_code": "material", "cause": "a bubble"}
STATEMENT = {"format": "dosewright-withdrawal/1", "recipe": "r@1", "recipe_digest": RECORD, "reason": "replaced"}
INK = {"lot": "L1", "assay": "20.0 mg/g"}
CASES: dict[tuple[str, str], tuple[str, Fields, Fields]] = {
    # (object type, path of the signature) → id, the fields with their signature, and a change of what was signed
    ("order", "entered"): ("O1", {"order": ORDER, "entered": signed(digest(ORDER))}, {"order": {**ORDER, "dose": "20 mg"}}),
    ("order", "confirmed"): ("O1", {"order": ORDER, "confirmed": signed(digest(ORDER))}, {"order": {**ORDER, "dose": "20 mg"}}),
    ("recipe", "author_signature"): ("r@1", {"digest": RECORD, "author_signature": signed(RECORD)}, {"digest": "cd" * 32}),
    ("recipe", "approver_signature"): ("r@1", {"digest": RECORD, "approver_signature": signed(RECORD)}, {"digest": "cd" * 32}),
    ("recipe", "returned"): ("r@1", {"digest": RECORD, "returned": signed(RECORD)}, {"digest": "cd" * 32}),
    ("recipe", "withdrawal.signature"): (
        "r@1",
        {"digest": RECORD, "withdrawal": {"withdrawal": STATEMENT, "signature": signed(digest(STATEMENT))}},
        {"digest": "cd" * 32},
    ),
    ("batch", "signature"): ("B1", {**DISPOSITION, "signature": signed(RECORD, "released")}, {"disposition": "rejected"}),
    ("unit", "confirmed"): ("R1/002", {"removed": True, "confirmed": signed(removal_digest("R1/002"))}, {"removed": False}),
    ("calibration", "confirmed"): ("R1/P1", {"removed": True, "confirmed": signed(removal_digest("R1/P1"))}, {"removed": False}),
    ("exception", "signature"): ("B1/e", {**CAUSE, "signature": signed(resolution_digest(*CAUSE.values()), MEANING)}, {"cause": "other"}),
    ("qualification", "signature"): ("Q1", {**INK, "signature": signed(digest(INK))}, {"assay": "21.0 mg/g"}),
    ("training", "signature"): ("T1", {**INK, "signature": signed(digest(INK))}, {"assay": "21.0 mg/g"}),
    ("ink_lot", "checked"): ("L1", {**INK, "checked": signed(digest(INK))}, {"assay": "21.0 mg/g"}),
}


def test_every_signature_whose_content_is_known_has_a_case() -> None:
    assert set(CASES) == set(SIGNED_FIELDS)


@pytest.mark.parametrize("case", sorted(CASES), ids="-".join)
def test_a_signature_stands_until_its_content_changes(case: tuple[str, str], tmp_path: Path) -> None:
    type_, path = case
    id_, fields, change = CASES[case]
    subject = Subject(type_, id_)
    (standing,) = history(tmp_path, subject, fields, {"unrelated": "later"}).signatures
    assert (standing.path, standing.seq, standing.stands, standing.text) == (path, 1, True, "signed")
    assert (
        standing.line
        == f"Olga Operator (olga), operator: {standing.line.split(': ')[1].split(',')[0]}, 2026-11-20T10:00:00.000000Z [Europe/Paris]"
    )
    (tmp_path / "more").mkdir()
    found = history(tmp_path / "more", subject, fields, {"unrelated": "later"}, change, {"unrelated": "again"})
    (standing,) = found.signatures
    assert (standing.stands, standing.text, standing.changed_by) == (False, "not signed: changed by entry 3", 3)
    record: Any = found.as_record()["signatures"]
    assert record[0]["signed"] is False


def test_what_a_disposition_names_is_signed_with_it(tmp_path: Path) -> None:
    _, fields, _ = CASES["batch", "signature"]
    (standing,) = history(tmp_path, Subject("batch", "B1"), fields, {"cell_size": 8}).signatures
    assert standing.text == "not signed: changed by entry 2"


def test_a_signature_of_something_else_never_stood(tmp_path: Path) -> None:
    fields = {"order": ORDER, "entered": signed(sha256_hex(b"another"))}
    (standing,) = history(tmp_path, Subject("order", "O1"), fields).signatures
    assert standing.text == "not signed: given for something else"


def test_a_forged_signature_is_named_as_such(tmp_path: Path) -> None:
    fields = {"order": ORDER, "entered": {**signed(digest(ORDER)), "name": "Somebody Else"}}
    (standing,) = history(tmp_path, Subject("order", "O1"), fields).signatures
    assert not standing.stands
    assert standing.text.startswith("not signed: The signature of olga (checked) does not match")


def test_a_signature_that_is_taken_away_does_not_stand(tmp_path: Path) -> None:
    (standing,) = history(tmp_path, Subject("order", "O1"), CASES["order", "entered"][1], {"entered": None}).signatures
    assert standing.text == "not signed: changed by entry 2"


def test_signing_again_makes_a_changed_content_signed(tmp_path: Path) -> None:
    changed = {**ORDER, "dose": "20 mg"}
    fields, again = CASES["order", "entered"][1], {"order": changed, "entered": signed(digest(changed))}
    (standing,) = history(tmp_path, Subject("order", "O1"), fields, again).signatures
    assert (standing.seq, standing.text) == (2, "signed")


def test_of_a_signature_whose_content_is_not_known_nothing_is_claimed(tmp_path: Path) -> None:
    found = history(tmp_path, Subject("register", "E1"), {"approved": signed(RECORD)})
    assert (found.signatures[0].stands, found.signatures[0].text) == (False, "signed; what it is over is not compared here")
    record: Any = found.as_record()["signatures"]
    assert record[0]["signed"] is None


def test_an_object_that_nothing_is_said_of_has_an_empty_history() -> None:
    assert object_history(Subject("unit", "x"), []).rows == ()
