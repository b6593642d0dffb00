"""A trail's key is replaced: with the old key, without it, by a forger, and by a process that is killed or has a failing disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from audit.chain import root
from audit.checkpoint import SigningKey, VerifierKey, format_checkpoint, signature_line
from audit.errors import EntryInvalid, RecordError
from audit.events import SYSTEM, EntryDraft, EventKind, Subject
from audit.key_rotation import KeyHistory, Rotation, key_history, statement_text
from audit.report import VerificationStatus
from audit.store import TrailStore, checkpoint_link
from audit.verify import verify_store
from tests.audit.conftest import ADMIN, CLOCK, KEY, ORIGIN, judged, new_store
from tests.audit.test_write_faults import FaultyConnection

SECOND = SigningKey.from_seed(ORIGIN, bytes(range(40, 72)))
THIRD = SigningKey.from_seed(ORIGIN, bytes(range(80, 112)))


def open_with(path: Path, key: SigningKey) -> TrailStore:
    return TrailStore.open(path, key=key, clock=CLOCK, software="test")


def rotate(store: TrailStore, key: SigningKey) -> int:
    return store.rotate_key(key, actor=ADMIN, device="ws", reason="yearly").seq


@pytest.fixture
def rotated(tmp_path: Path) -> Path:
    """Two entries by the first key, entry 3 the rotation, two more by the second key."""
    path = tmp_path / "trail.db"
    with new_store(path) as store:
        store.append(judged(1), judged(2))
        assert rotate(store, SECOND) == 3
        store.append(judged(3), judged(4))
    return path


def test_a_rotation_is_stated_by_both_keys_and_either_of_them_establishes_the_signer(rotated: Path) -> None:
    for key in (KEY, SECOND):
        report = verify_store(rotated, [key.verifier])
        assert report.status is VerificationStatus.VERIFIED, report.findings
    assert any("replaced by entry 3, signed by the old and the new key" in line for line in report.checked)
    assert verify_store(rotated).status is VerificationStatus.SIGNER_NOT_ESTABLISHED
    assert verify_store(rotated, [THIRD.verifier]).status is VerificationStatus.FAILED
    with open_with(rotated, SECOND) as store:
        assert (store.verifier_key, store.size) == (SECOND.verifier_key, 6)
        assert list(store.entries())[3].old["verifier_key"] == KEY.verifier_key


def test_the_old_key_opens_the_store_no_more(rotated: Path) -> None:
    with pytest.raises(RecordError, match="is not the key of the store"):
        open_with(rotated, KEY)


def test_keys_are_replaced_again_and_again(rotated: Path) -> None:
    with open_with(rotated, SECOND) as store:
        rotate(store, THIRD)
        store.append(judged(5))
        rotate(store, KEY)
    assert verify_store(rotated, [SECOND.verifier]).findings == ()


def test_a_reason_another_key_and_the_same_name_are_asked_for(tmp_path: Path) -> None:
    with new_store(tmp_path / "trail.db") as store:
        for key, reason in ((SECOND, " "), (KEY, "yearly"), (SigningKey.generate("elsewhere"), "yearly")):
            with pytest.raises(EntryInvalid):
                store.rotate_key(key, actor=ADMIN, device="ws", reason=reason)
        assert (store.size, store.key) == (1, KEY.verifier)


def test_a_lost_key_is_replaced_by_one_that_must_come_from_outside(rotated: Path) -> None:
    with TrailStore.replace_lost_key(
        rotated, key=THIRD, clock=CLOCK, software="test", actor=ADMIN, device="ws", reason="the disk with the key was destroyed"
    ) as store:
        store.append(judged(5))
    for old in (KEY, SECOND):
        report = verify_store(rotated, [old.verifier])
        assert report.status is VerificationStatus.FAILED
        assert "its key was replaced by entry 6 without the old key: the new one must come from outside" in str(report.findings[0])
    report = verify_store(rotated, [THIRD.verifier])
    assert report.status is VerificationStatus.VERIFIED
    assert any("NOT continuous: the old key did not sign" in line for line in report.checked)
    with open_with(rotated, THIRD) as store:
        rotate(store, SECOND)
    assert verify_store(rotated, [THIRD.verifier]).findings == (), "what follows it without a gap is established by it"


# --- forgeries: whoever owns the disk can drop triggers and write rows -----------------------------------------------------------------


def forge(path: Path, checkpoint: Callable[[list[bytes]], tuple[int, str]] | None = None) -> None:
    """Put the checkpoints' digest right again after rows were changed; `checkpoint` gives a note in place of the last one."""
    connection = sqlite3.connect(path)
    connection.execute("DROP TRIGGER checkpoints_no_update")
    if checkpoint is not None:
        lines = [row[0] for row in connection.execute("SELECT canonical FROM entries ORDER BY seq")]
        size, note = checkpoint(lines)
        connection.execute("UPDATE checkpoints SET note = ? WHERE size = ?", (note, size))
    link = "0" * 64
    for (note,) in connection.execute("SELECT note FROM checkpoints ORDER BY size").fetchall():
        link = checkpoint_link(link, note)
    connection.execute("UPDATE head SET checkpoints = ?", (link,))
    connection.execute(
        "CREATE TRIGGER checkpoints_no_update BEFORE UPDATE ON checkpoints "
        "BEGIN SELECT RAISE(ABORT, 'checkpoints: rows are never changed or deleted'); END"
    )
    connection.commit()
    connection.close()


def note_of(lines: list[bytes], size: int, key: SigningKey) -> tuple[int, str]:
    return size, key.sign_note(format_checkpoint(ORIGIN, size, root(lines[:size])))


def test_a_checkpoint_by_the_old_key_after_the_rotation_is_found_and_named(rotated: Path) -> None:
    forge(rotated, lambda lines: note_of(lines, 6, KEY))
    (finding,) = verify_store(rotated, [SECOND.verifier]).findings
    assert finding.place == "checkpoints row size=6 field note"
    assert "that was replaced by entry 3" in finding.problem and KEY.verifier_key in finding.problem


def test_a_checkpoint_by_the_new_key_before_the_rotation_is_found_and_named(rotated: Path) -> None:
    forge(rotated, lambda lines: note_of(lines, 3, SECOND))
    (finding,) = verify_store(rotated, [SECOND.verifier]).findings
    assert finding.place == "checkpoints row size=3 field note" and "that came with entry 3" in finding.problem


def statement(old: SigningKey, new: SigningKey, *signers: SigningKey, seq: int = 2, prev: str = "p" * 64, origin: str = ORIGIN) -> str:
    text = statement_text(origin, seq, prev, old.verifier_key, new.verifier_key)
    lines = (signature_line(key.name, key.verifier.key_id + key.sign(text.encode())) for key in signers)
    return f"{text}\n{''.join(lines)}"


def history(note: object, new: SigningKey = SECOND, continuous: object = True) -> KeyHistory:
    fields = {"verifier_key": new.verifier_key, "continuous": continuous, "statement": note}
    return key_history(ORIGIN, KEY.verifier_key, [Rotation(2, "p" * 64, fields)])  # type: ignore[arg-type]


def test_a_sound_statement_has_no_problem() -> None:
    found = history(statement(KEY, SECOND, KEY, SECOND))
    assert found.problems == [] and found.established([KEY.verifier])
    assert (found.at(2), found.at(3)) == (KEY.verifier, SECOND.verifier)
    alone = history(statement(KEY, SECOND, SECOND), continuous=False)
    assert alone.problems == [] and not alone.established([KEY.verifier]) and alone.established([SECOND.verifier])


@pytest.mark.parametrize(
    ("note", "words"),
    [
        (statement(KEY, SECOND, SECOND), "not signed by the old key"),
        (statement(KEY, SECOND, KEY), "not signed by the new key"),
        (statement(KEY, SECOND, THIRD, SECOND), "not signed by the old key"),
        (statement(KEY, SECOND, KEY, SECOND, seq=3), "not of this entry"),
        (statement(KEY, SECOND, KEY, SECOND, prev="q" * 64), "not of this entry"),
        (statement(KEY, SECOND, KEY, SECOND, origin="other.example/ws"), "not of this entry"),
        (statement(KEY, THIRD, KEY, SECOND), "not of this entry"),
        (statement(KEY, SECOND, KEY, SECOND).replace("AQ", "AR", 1), "forged rotation"),
        ("", "not signed by the old key"),
        (None, "not signed by the old key"),
        (7, "not signed by the old key"),
    ],
)
def test_a_forged_or_wrong_statement_is_named_and_establishes_nothing(note: object, words: str) -> None:
    found = history(note)
    assert len(found.problems) == 1 and words in found.problems[0][1]
    assert not found.established([KEY.verifier])


def test_a_rotation_to_no_key_or_to_another_name_is_named() -> None:
    other = SigningKey.generate("elsewhere.example/ws")
    assert "another name" in history(statement(KEY, other, KEY, other), other).problems[0][1]
    fields = {"verifier_key": "nothing", "continuous": True, "statement": ""}
    found = key_history(ORIGIN, KEY.verifier_key, [Rotation(2, "p" * 64, fields)])
    assert "no usable verifier key" in found.problems[0][1] and found.present == KEY.verifier


def test_an_entry_of_another_kind_cannot_replace_the_key(tmp_path: Path) -> None:
    """What the software would never write, in a trail that its key's owner made."""
    path = tmp_path / "trail.db"
    with new_store(path) as store:
        fields = {"verifier_key": SECOND.verifier_key}
        store.append(EntryDraft(EventKind.RECORD_STORE_VERIFIED, Subject("store", ORIGIN), fields, SYSTEM, "ws"))
    found = [str(finding) for finding in verify_store(path, [KEY.verifier]).findings]
    assert any("changed to" in text and "without a rotation" in text for text in found)


def test_a_rotation_signed_by_a_stolen_disk_without_the_old_key_does_not_pass_as_continuous(tmp_path: Path) -> None:
    path = tmp_path / "trail.db"
    with new_store(path) as store:
        store.append(judged(1))
        fields = {"verifier_key": THIRD.verifier_key, "continuous": True, "statement": statement(KEY, THIRD, THIRD, prev=store.head.digest)}
        store.append(EntryDraft(EventKind.TRAIL_KEY_ROTATED, Subject("store", ORIGIN), fields, SYSTEM, "ws", reason="x"))
        store._key = THIRD
    report = verify_store(path, [KEY.verifier])
    assert any(f.place == "entries row seq=2" and "not signed by the old key" in f.problem for f in report.findings)
    assert not report.signer_established


# --- trouble -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("persisted", [False, True])
def test_whichever_statement_fails_the_trail_has_one_key_and_it_is_the_one_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, persisted: bool
) -> None:
    keys = [KEY, SECOND, THIRD]
    failed = set[str]()
    with new_store(tmp_path / "trail.db") as store:
        for n in range(1, 26):
            store.append(judged(n))
            store.checkpoint()
            new = next(key for key in keys if key.verifier != store.key)
            before = store.key
            with monkeypatch.context() as patch:
                faulty = FaultyConnection(store._writer, sqlite3.OperationalError, n, persisted)
                patch.setattr(store, "_writer", faulty)
                try:
                    rotate(store, new)
                except RecordError:
                    assert store.key == before
                else:
                    assert store.key == new.verifier
            failed.add(faulty.failed.split(" ")[0])
            assert store.verifier_key == store.key.text, "what the trail says is what signs"
            store.append(judged(n))
            store.checkpoint()
    assert {"BEGIN", "UPDATE", "INSERT", "COMMIT"} <= failed
    assert verify_store(tmp_path / "trail.db", [KEY.verifier]).findings == ()


def test_a_rotation_of_which_nobody_can_tell_is_found_out_by_the_next_append(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with new_store(tmp_path / "trail.db") as store:
        store.append(judged(1))
        store.checkpoint()
        with monkeypatch.context() as patch:
            patch.setattr(store, "_writer", CommitBlind(store._writer))
            with pytest.raises(RecordError, match="may or may not be in it"):
                rotate(store, SECOND)
        store.append(judged(2))
        assert store.key == SECOND.verifier == VerifierKey.parse(store.verifier_key)
    assert verify_store(tmp_path / "trail.db", [SECOND.verifier]).findings == ()


class CommitBlind:
    """A connection whose second commit takes hold and is reported as failed, and which then cannot be read."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection, self._commits = connection, 0

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def execute(self, sql: str, parameters: tuple[object, ...] = ()) -> sqlite3.Cursor:
        if self._commits == 2 and sql.startswith("SELECT"):
            raise sqlite3.OperationalError("disk I/O error")
        found = self._connection.execute(sql, parameters)
        if sql == "COMMIT":
            self._commits += 1
            if self._commits == 2:
                raise sqlite3.OperationalError("disk I/O error")
        return found

    def executemany(self, sql: str, rows: Iterable[tuple[object, ...]]) -> sqlite3.Cursor:
        return self._connection.executemany(sql, rows)

    def close(self) -> None:
        self._connection.close()


def test_rotations_in_the_second_half_of_a_long_walk_count_as_well(rotated: Path) -> None:
    from audit.trail_walk import TrailWalk
    from audit.verify_half import _from_json, _to_json

    walk = TrailWalk()
    connection = sqlite3.connect(rotated)
    rows = connection.execute("SELECT seq, canonical FROM entries ORDER BY seq").fetchall()
    walk.take(rows)
    copied = _from_json(_to_json(walk), 0)
    assert copied is not None and copied.kept == walk.kept and [kept.seq for kept in copied.kept] == [3]
    connection.close()
