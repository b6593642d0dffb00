"""What a store shows offline of its proofs from outside: to whom it is, up to which entry, by which time, and what is not."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from audit.anchor_check import Trusted
from audit.anchors import Cosigned, cosigned_entry, timestamped_entry
from audit.checkpoint import SigningKey
from audit.cosignature import CosignerKey, add_lines, cosign, cosignatures
from audit.report import VerificationStatus
from audit.store import TrailStore
from audit.timestamps import query, verify_token
from audit.verify import verify_store
from tests.anchors.authority import make_authority
from tests.anchors.trails import WITNESS
from tests.audit.conftest import ADMIN, CLOCK, KEY, ORIGIN, judged, new_store

WITNESS_KEY = CosignerKey.of(WITNESS.verifier)
NEW = SigningKey.from_seed(ORIGIN, bytes(range(40, 72)))
AT = 1_800_000_000
AT_TEXT = "2027-01-15T08:00:00.000000Z"


@dataclass
class Anchored:
    """A closed store with a cosigned checkpoint over 3 entries and 2 entries after it, and that checkpoint as the witness kept it."""

    path: Path
    note: str


def anchor(store: TrailStore, at: int = AT, key: SigningKey = WITNESS) -> str:
    """Have a witness cosign the store as it stands; return the cosigned note."""
    note = store.checkpoint()
    text = note.partition("\n\n")[0] + "\n"
    cosigned = add_lines(note, [cosign(key, text, at)])
    found = cosignatures(cosigned, [CosignerKey.of(key.verifier)])[0]
    store.append(cosigned_entry(Cosigned(cosigned, found), CosignerKey.of(key.verifier), "ws"))
    return cosigned


@pytest.fixture
def anchored(tmp_path: Path) -> Iterator[Anchored]:
    path = tmp_path / "trail.db"
    with new_store(path) as store:
        store.append(judged(1), judged(2))
        note = anchor(store)
        store.append(judged(3))
    yield Anchored(path, note)


def said(path: Path, outside: Trusted) -> list[str]:
    report = verify_store(path, [KEY.verifier], outside=outside)
    assert report.status is VerificationStatus.VERIFIED, report.findings
    return [line for line in report.checked if "outside" in line]


def test_it_says_what_is_anchored_by_whom_up_to_where_by_when_and_what_is_not(anchored: Anchored) -> None:
    assert said(anchored.path, Trusted([WITNESS_KEY])) == [
        f"anchored outside: {ORIGIN}, entries 0 to 2, by {AT_TEXT} (witness control.example/w1)",
        f"NOT anchored outside: {ORIGIN}, entries 3 to 4 came after the last proof",
    ]


def test_a_proof_whose_key_was_not_given_shows_nothing_and_that_is_said(anchored: Anchored) -> None:
    stranger = CosignerKey.of(SigningKey.from_seed("control.example/w1", bytes(32)).verifier)
    for trusted in (Trusted(), Trusted([stranger])):
        assert said(anchored.path, trusted) == [
            f"NOT anchored outside: {ORIGIN}, nothing of it: no proof by a witness or authority that was named from outside",
            "1 proofs by the witness control.example/w1 show nothing: no key or certificate of it was given from outside",
        ]


def test_the_latest_proof_of_each_witness_counts(anchored: Anchored) -> None:
    second = SigningKey.from_seed("other.example/w", bytes(range(9, 41)))
    with TrailStore.open(anchored.path, key=KEY, clock=CLOCK, software="t") as store:
        anchor(store, AT + 60)
        anchor(store, AT + 90, second)
    keys = [WITNESS_KEY, CosignerKey.of(second.verifier)]
    assert [line.partition(", ")[2] for line in said(anchored.path, Trusted(keys))] == [
        "entries 0 to 4, by 2027-01-15T08:01:00.000000Z (witness control.example/w1)",
        "entries 0 to 5, by 2027-01-15T08:01:30.000000Z (witness other.example/w)",
        "entries 6 to 6 came after the last proof",
    ]


def test_a_proof_made_before_the_key_was_rotated_still_counts(anchored: Anchored) -> None:
    with TrailStore.open(anchored.path, key=KEY, clock=CLOCK, software="t") as store:
        store.rotate_key(NEW, actor=ADMIN, device="ws", reason="yearly")
        anchor(store, AT + 60)
    assert said(anchored.path, Trusted([WITNESS_KEY]))[0].startswith(f"anchored outside: {ORIGIN}, entries 0 to 5, by")


def test_a_remade_trail_is_found_with_the_note_that_the_witness_kept(anchored: Anchored, tmp_path: Path) -> None:
    """The owner of disk and key makes another history, anchors and all; consistent in itself, it fails against the witness's note."""
    remade = tmp_path / "remade.db"
    with new_store(remade) as store:
        store.append(judged(1), judged(2, "470.0"), judged(3), judged(4))
    assert verify_store(remade, [KEY.verifier]).status is VerificationStatus.VERIFIED
    report = verify_store(remade, [KEY.verifier], outside=Trusted([WITNESS_KEY], notes=[anchored.note]))
    assert [str(finding) for finding in report.findings] == [
        f"note 1 from outside: counts 3 entries of {ORIGIN} with another root: they are not the entries that were anchored"
    ]
    assert verify_store(anchored.path, [KEY.verifier], outside=Trusted([WITNESS_KEY], notes=[anchored.note])).findings == ()


def test_a_tail_cut_off_with_its_checkpoints_is_found_with_the_note_that_the_witness_kept(anchored: Anchored, tmp_path: Path) -> None:
    older = tmp_path / "older.db"
    with new_store(older) as store:
        store.append(judged(1))
    report = verify_store(older, [KEY.verifier], outside=Trusted([WITNESS_KEY], notes=[anchored.note]))
    assert "counts 3 entries of site.example/ws, which has 2 here: its end was cut off, or this is an older copy" in str(report.findings[0])


@pytest.mark.parametrize("change", ["size", "root", "signature", "missing", "other note"])
def test_a_proof_that_does_not_fit_is_found_and_its_entry_named(tmp_path: Path, change: str) -> None:
    """By somebody with the workstation's key, who writes entries of their own."""
    path = tmp_path / "trail.db"
    with new_store(path) as store:
        store.append(judged(1))
        note = store.checkpoint()
        text = note.partition("\n\n")[0] + "\n"
        line = cosign(WITNESS, text if change != "signature" else text.replace("\n2\n", "\n1\n"), AT)
        draft = cosigned_entry(Cosigned(note + line, cosignatures(note + cosign(WITNESS, text, AT), [WITNESS_KEY])[0]), WITNESS_KEY, "ws")
        if change in ("size", "root"):
            draft = replace(draft, new={**draft.new, change: 1 if change == "size" else "AAAA"})
        if change in ("missing", "other note"):
            attached = {} if change == "missing" else {"cosigned.note": store.checkpoint().replace("\n2\n", "\n7\n").encode()}
            draft = replace(draft, attachments=attached)
        store.append(draft)
    report = verify_store(path, [KEY.verifier], outside=Trusted([WITNESS_KEY]))
    assert [finding.place for finding in report.findings] == ["entries row seq=2"]
    assert not any(line.startswith("anchored outside") for line in report.checked)


def test_a_changed_attachment_is_found(anchored: Anchored) -> None:
    connection = sqlite3.connect(anchored.path)
    connection.execute("DROP TRIGGER blobs_no_update")
    rows = [row for row in connection.execute("SELECT sha256, data FROM blobs").fetchall() if b"control" in row[1]]
    for sha256, data in rows:
        connection.execute("UPDATE blobs SET data = ? WHERE sha256 = ?", (data.replace(b"control", b"contr0l"), sha256))
    connection.commit()
    connection.close()
    places = {finding.place for finding in verify_store(anchored.path, [KEY.verifier], outside=Trusted([WITNESS_KEY])).findings}
    assert any(place.startswith("blobs row") for place in places)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl, the time-stamping authority of this test, is not here")
def test_a_token_proves_the_time_against_a_root_from_outside(tmp_path: Path) -> None:
    authority, other = make_authority(tmp_path / "one"), make_authority(tmp_path / "other")
    path = tmp_path / "trail.db"
    with new_store(path) as store:
        note = store.checkpoint()
        reply = authority.reply(query(note).data)
        token = verify_token(reply, note.encode(), [authority.root])
        store.append(timestamped_entry(note, reply, token, "tsa.example", "ws"))
    assert said(path, Trusted(certificates=[authority.root]))[0] == (
        f"anchored outside: {ORIGIN}, entries 0 to 0, by {token.at} (time-stamping authority CN=Test Time Authority)"
    )
    assert "1 proofs by the time-stamping authority tsa.example show nothing" in said(path, Trusted())[1]
    report = verify_store(path, [KEY.verifier], outside=Trusted(certificates=[other.root]))
    assert [finding.place for finding in report.findings] == ["entries row seq=1"]
