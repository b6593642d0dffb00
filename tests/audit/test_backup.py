"""Backups: taken under the writer's feet, opened only by their secret, restored only where nothing is lost unseen."""

from __future__ import annotations

import base64
import errno
import random
import sqlite3
import subprocess
import sys
import threading
from datetime import date, timedelta
from pathlib import Path
from unittest.mock import patch

import pytest

from audit.backup import Manifest, back_up, read_manifest, tree_of, unpack
from audit.canonical import canonical, sha256_hex
from audit.checkpoint import SigningKey, VerifierKey, parse_checkpoint, split_note
from audit.errors import BackupInvalid, BackupOutdated, RecordError, StoreExists, VerificationError
from audit.events import EntryDraft, EventKind, Subject
from audit.key_backup import back_up_keys, restore_keys
from audit.logical_export import export_lines, rebuild
from audit.reader import TrailReader
from audit.restore import Seen, keys_of, restore, seen_in
from audit.restore_test import INTERVAL_DAYS, record_outcome, restore_due, try_restore
from audit.sealed_stream import PIECE, SealedFile, Secret, give_name, write
from audit.store import TrailStore
from audit.verify import verify_store
from tests.audit.conftest import ADMIN, CLOCK, KEY, judged, new_store, open_store

CREATED = "2026-11-29T10:00:00.000000Z"
PASSPHRASE = Secret.of_passphrase("six words that nobody would guess")
TODAY = date(2026, 11, 29)


def taken(store: Path, to: Path, secret: Secret | None = None, *, logical: bool = False) -> Manifest:
    return back_up(store, to, key=KEY, created=CREATED, software="dosewright test", secret=secret, logical=logical)


def put_back(backup: Path, to: Path, *seen: Seen, secret: Secret | None = None, accept_loss: str | None = None) -> Manifest:
    return restore(
        backup, to, key=KEY, clock=CLOCK, software="dosewright test", secret=secret, seen=seen, by=ADMIN, accept_loss=accept_loss
    )


def left_in(folder: Path) -> list[str]:
    """The files of a folder but for those that SQLite itself keeps beside a store that was read."""
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(("-wal", "-shm")))


@pytest.mark.parametrize("logical", [False, True])
@pytest.mark.parametrize("secret", [None, PASSPHRASE])
def test_a_backup_gives_the_store_again(full_path: Path, tmp_path: Path, secret: Secret | None, logical: bool) -> None:
    manifest = taken(full_path, tmp_path / "b", secret, logical=logical)
    with TrailReader(full_path) as reader:
        assert (manifest.origin, manifest.size, manifest.established) == (reader.origin, reader.size, True)
        lines = list(reader.lines())
    place = tmp_path / "restored"
    place.mkdir()
    put_back(tmp_path / "b", place / "store.db", secret=secret)
    assert left_in(place) == ["store.db"]
    assert verify_store(place / "store.db").findings == ()
    with TrailReader(place / "store.db") as reader:
        assert list(reader.lines(0, len(lines))) == lines and reader.size == len(lines) + 1
        last = next(reader.entries(len(lines)))
        assert last.kind == "store.record.restored" and last.new["restored"]["backup_sha256"] == manifest.sha256  # type: ignore[index,call-overload]
        attached = [item for entry in reader.entries() for item in entry.attachments]
        assert [len(reader.blob(item["sha256"])) for item in attached] == [item["bytes"] for item in attached] and len(attached) == 4
    with open_store(place / "store.db") as store:  # it goes on as any other
        store.append(judged(9))


def test_a_backup_while_the_writer_works_is_one_state_of_it(tmp_path: Path) -> None:
    path, stop = tmp_path / "live.db", threading.Event()
    with new_store(path) as store:
        store.append(*(judged(n) for n in range(50)))

        def work() -> None:
            n = 50
            while not stop.is_set():
                store.append(judged(n), judged(n + 1))
                n += 2

        writer = threading.Thread(target=work)
        writer.start()
        try:
            sizes = [taken(path, tmp_path / f"b{number}").size for number in range(4)]
        finally:
            stop.set()
            writer.join()
        assert sizes == sorted(sizes) and sizes[-1] > sizes[0] and all(size % 2 == 1 for size in sizes)  # entry 0, then pairs
    for number, size in enumerate(sizes):
        outcome = try_restore(tmp_path / f"b{number}", path, secret=None, today=TODAY)
        assert outcome.problem == "" and outcome.body["backup_size"] == size and outcome.body["consistent"] is True


def test_the_writer_waits_for_nothing(tmp_path: Path) -> None:
    """An append made while the copy is under way takes hold at once: the copy has a snapshot, no lock."""
    path = tmp_path / "live.db"
    with new_store(path) as store:
        store.append(*(judged(n) for n in range(20)))
        reader = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        reader.execute("BEGIN")
        before = reader.execute("SELECT count(*) FROM entries").fetchone()
        store.append(judged(21))
        assert reader.execute("SELECT count(*) FROM entries").fetchone() == before and store.size == before[0] + 1
        reader.close()


def test_every_flipped_byte_is_found(full_path: Path, tmp_path: Path) -> None:
    generator = random.Random(6)
    for number, (secret, logical) in enumerate([(None, False), (None, True), (PASSPHRASE, False)]):
        place = tmp_path / f"b{number}"
        taken(full_path, place, secret, logical=logical)
        data = bytearray(place.read_bytes())
        positions = [0, len(data) - 1, len(data) - 5, *(generator.randrange(len(data)) for _ in range(10 if secret is None else 3))]
        for position in positions:
            data[position] ^= 1 << generator.randrange(8)
            changed = tmp_path / "changed"
            changed.write_bytes(data)
            with pytest.raises(BackupInvalid):
                unpack(changed, tmp_path / "out.db", secret)
            assert not (tmp_path / "out.db").exists()
            data[position] = place.read_bytes()[position]


def test_every_truncation_is_found(full_path: Path, tmp_path: Path) -> None:
    taken(full_path, tmp_path / "b")
    data = (tmp_path / "b").read_bytes()
    for length in (0, 5, 25, 1000, len(data) // 2, len(data) - 17, len(data) - 1):
        (tmp_path / "cut").write_bytes(data[:length])
        with pytest.raises(BackupInvalid):
            put_back(tmp_path / "cut", tmp_path / "out.db")
    assert not (tmp_path / "out.db").exists()


def test_a_wrong_secret_and_none_and_one_too_many(full_path: Path, tmp_path: Path) -> None:
    taken(full_path, tmp_path / "sealed", PASSPHRASE)
    taken(full_path, tmp_path / "open")
    (tmp_path / "key").write_text("ab" * 32)
    with pytest.raises(BackupInvalid, match="The secret is another one"):
        put_back(tmp_path / "sealed", tmp_path / "out.db", secret=Secret.of_passphrase("another passphrase altogether"))
    with pytest.raises(BackupInvalid, match="is sealed with argon2id"):
        put_back(tmp_path / "sealed", tmp_path / "out.db")
    with pytest.raises(BackupInvalid, match="sealed with argon2id, not with key file"):
        put_back(tmp_path / "sealed", tmp_path / "out.db", secret=Secret.of_key_file(tmp_path / "key"))
    with pytest.raises(BackupInvalid, match="is not sealed"):
        put_back(tmp_path / "open", tmp_path / "out.db", secret=PASSPHRASE)
    with pytest.raises(BackupInvalid, match="fewer than 12"):
        Secret.of_passphrase("short")
    with pytest.raises(BackupInvalid, match="64 hexadecimal digits"):
        Secret.of_key_file(tmp_path / "open")
    assert b"Test Patient" not in (tmp_path / "sealed").read_bytes() and "words" not in repr(PASSPHRASE)
    assert b"mass_mg" in (tmp_path / "open").read_bytes() and b"mass_mg" not in (tmp_path / "sealed").read_bytes()
    assert left_in(tmp_path) == ["full.db", "key", "open", "sealed"]


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE])
def test_a_sealed_payload_of_any_size_comes_out_as_it_went_in(size: int, tmp_path: Path) -> None:
    payload, key, digests = random.Random(size).randbytes(size), bytes(range(32)), []

    def note(written: object) -> str:
        digests.append(written.sha256)  # type: ignore[attr-defined]
        return "note\n"

    write(tmp_path / "f", "head/1", iter([payload[:7], payload[7:]]), key, note)
    file = SealedFile(tmp_path / "f", "head/1")
    assert b"".join(file.payload(digests[0], key)) == payload
    with pytest.raises(BackupInvalid):
        b"".join(file.payload("0" * 64, key))
    file.close()


def test_pieces_cannot_be_moved_left_out_or_repeated(tmp_path: Path) -> None:
    """Against somebody who can make the digest fit: the pieces themselves say where they belong."""
    write(tmp_path / "f", "h", iter([bytes(3 * PIECE + 5)]), bytes(32), lambda _: "note\n")
    data = (tmp_path / "f").read_bytes()
    step, start = PIECE + 16, 2
    pieces = [data[start + n * step : start + (n + 1) * step] for n in range(3)] + [data[start + 3 * step : -22]]
    for order in ([1, 0, 2, 3], [0, 1, 2], [0, 1, 1, 2, 3], [0, 1, 3]):
        payload = b"".join(pieces[n] for n in order)
        (tmp_path / "g").write_bytes(b"h\n" + payload + data[-22:])
        file = SealedFile(tmp_path / "g", "h")
        with pytest.raises(BackupInvalid, match="does not open"):
            b"".join(file.payload(sha256_hex(payload), bytes(32)))
        file.close()


def test_nothing_is_written_over(full_path: Path, tmp_path: Path) -> None:
    taken(full_path, tmp_path / "b")
    with pytest.raises(RecordError, match="exists already"):
        taken(full_path, tmp_path / "b")
    with pytest.raises(StoreExists):
        put_back(tmp_path / "b", full_path)
    (tmp_path / "new.db-wal").write_bytes(b"a log of another store")
    with pytest.raises(StoreExists, match=r"new\.db-wal"):
        put_back(tmp_path / "b", tmp_path / "new.db")


@pytest.mark.parametrize("answer", [errno.EPERM, errno.ENOTSUP])
def test_a_file_system_without_hard_links_holds_a_backup_too(
    full_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: int
) -> None:
    def link(*_: object) -> None:
        raise OSError(answer, "no links here")

    monkeypatch.setattr("os.link", link)
    taken(full_path, tmp_path / "b")
    put_back(tmp_path / "b", tmp_path / "again.db")
    assert verify_store(tmp_path / "again.db").findings == ()
    (tmp_path / "part").write_text("new")
    (tmp_path / "there").write_text("old")
    with pytest.raises(FileExistsError):
        give_name(tmp_path / "part", tmp_path / "there")
    assert (tmp_path / "there").read_text() == "old", "nothing is written over"
    with pytest.raises(OSError, match="part"):
        (tmp_path / "part").unlink()
        give_name(tmp_path / "part", tmp_path / "free")
    assert not (tmp_path / "free").exists(), "a name that was taken in vain is given back"


def test_a_disk_that_refuses_the_name_is_named(full_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr("os.link", link)
    with pytest.raises(RecordError, match="no room"):
        taken(full_path, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_a_store_that_does_not_verify_is_no_backup(full_path: Path, tmp_path: Path) -> None:
    connection = sqlite3.connect(full_path)
    connection.execute("UPDATE objects SET version = 7 WHERE type = 'unit'")
    connection.commit()
    connection.close()
    with pytest.raises(VerificationError, match="objects row unit/R1/000 field version"):
        taken(full_path, tmp_path / "b")
    with pytest.raises(VerificationError):
        taken(full_path, tmp_path / "b", logical=True)
    assert not (tmp_path / "b").exists()
    with pytest.raises(RecordError, match="is not the key of"):
        new_store(tmp_path / "other.db").close()
        back_up(tmp_path / "other.db", tmp_path / "b", key=SigningKey.generate("x"), created=CREATED, software="t")


def test_a_backup_of_another_key_or_a_forged_one_is_refused(full_path: Path, tmp_path: Path) -> None:
    taken(full_path, tmp_path / "b")
    other = SigningKey.from_seed(KEY.name, bytes(32))
    with pytest.raises(BackupInvalid, match="not a trusted key"):
        read_manifest(tmp_path / "b", [other.verifier])
    # whoever has no key can write a note about another size, and sign it with a key of the same name
    file = SealedFile(tmp_path / "b", "dosewright-backup/1")
    file.close()
    manifest = read_manifest(tmp_path / "b")
    body = {**manifest.body, "verifier_key": other.verifier_key, "size": 3}
    note = other.sign_note(f"dosewright-backup/1\n{canonical(body).decode()}\n").encode()
    data = (tmp_path / "b").read_bytes()[: -17 - len(file.note.encode())]
    (tmp_path / "forged").write_bytes(data + note + b"%016d\n" % len(note))
    with pytest.raises(BackupInvalid, match="not those of its note"):
        unpack(tmp_path / "forged", tmp_path / "out.db", None)
    with pytest.raises(BackupInvalid, match="not a trusted key"):
        put_back(tmp_path / "forged", tmp_path / "out.db")


def known_of(*places: Path, size: int = 6, trusted: tuple[VerifierKey, ...] = (KEY.verifier,)) -> list[Seen]:
    keys = keys_of(places, KEY.name, trusted)
    return [found for place in places for found in seen_in(place, KEY.name, keys, size)]


def aged(tmp_path: Path) -> tuple[Path, Path, str]:
    """A store that went on after its backup; its last checkpoint."""
    path, backup = tmp_path / "live.db", tmp_path / "b"
    with new_store(path) as store:
        store.append(*(judged(n) for n in range(5)))
        taken(path, backup)
        store.append(*(judged(n) for n in range(5, 9)))
        note = store.checkpoint()
    return path, backup, note


def test_an_older_backup_is_refused_where_the_trail_is_known_to_have_gone_further(tmp_path: Path) -> None:
    path, backup, note = aged(tmp_path)
    (tmp_path / "seen.note").write_text(note)
    for place, sizes in ((path, {6, 10}), (tmp_path / "seen.note", {10})):
        seen = known_of(place)
        assert {found.size for found in seen} == sizes and all(found.root for found in seen)
        with pytest.raises(BackupOutdated, match="entries from 6 on would be lost, 4 or more"):
            put_back(backup, tmp_path / "again.db", *seen)
        with pytest.raises(BackupOutdated):
            put_back(backup, tmp_path / "again.db", *seen, accept_loss="  ")
    assert not (tmp_path / "again.db").exists()
    put_back(backup, tmp_path / "again.db", *known_of(path), accept_loss="the disk failed on Monday")
    with TrailReader(tmp_path / "again.db") as reader:
        last = next(reader.entries(6))
        assert last.body["reason"] == "the disk failed on Monday" and last.actor == ADMIN
        assert {"backup_size": 6, "known_size": 10, "lost": 4}.items() <= last.new["restored"].items()  # type: ignore[union-attr]
    assert verify_store(tmp_path / "again.db").findings == ()
    # and whoever saw the first history sees that this is another one
    with pytest.raises(BackupOutdated, match="another history"):
        with open_store(tmp_path / "again.db") as store:
            store.append(*(judged(n) for n in range(20, 24)))
        taken(tmp_path / "again.db", tmp_path / "b2")
        put_back(tmp_path / "b2", tmp_path / "third.db", *known_of(tmp_path / "seen.note", size=12), accept_loss="x")


def forked(tmp_path: Path) -> tuple[Path, Path]:
    """A backup of a history that was given up, and the store that went on from an earlier backup, further than that one."""
    path, early, _ = aged(tmp_path)
    taken(path, tmp_path / "late")
    put_back(early, tmp_path / "going-on.db", *known_of(path), accept_loss="the disk failed on Monday")
    with open_store(tmp_path / "going-on.db") as store:
        store.append(*(judged(n) for n in range(20, 30)))
        store.checkpoint()
    return tmp_path / "late", tmp_path / "going-on.db"


def test_a_backup_of_another_history_is_refused_by_the_store_that_went_on(tmp_path: Path) -> None:
    late, going_on = forked(tmp_path)
    seen = known_of(going_on, size=10)
    assert [found.size for found in seen if found.size == 10] == [10], "its root is wanted where the backup ends"
    for accepted in (None, "whatever is said"):
        with pytest.raises(BackupOutdated, match="another history"):
            put_back(late, tmp_path / "again.db", *seen, accept_loss=accepted)
    assert not (tmp_path / "again.db").exists()


def test_a_backup_of_another_history_is_refused_by_the_root_that_the_workstation_tied(tmp_path: Path) -> None:
    late, going_on = forked(tmp_path)
    with TrailReader(going_on) as reader:
        size, root = 9, tree_of(reader.lines(0, 9)).root()
    tie = {"cell_origin": KEY.name, "cell_size": size, "cell_root": base64.b64encode(root).decode()}
    key = SigningKey.generate("workstation.example")
    make = TrailStore.create(
        tmp_path / "workstation.db", origin=key.name, key=key, clock=CLOCK, software="dosewright test", demonstration=True
    )
    with make as store:
        store.append(EntryDraft(EventKind.BATCH_RUN_CLOSED, Subject("batch", "B1"), tie, ADMIN, "workstation"))
        store.append(
            EntryDraft(EventKind.BATCH_RUN_CLOSED, Subject("batch", "B2"), {**tie, "cell_origin": "another"}, ADMIN, "workstation")
        )
    (seen,) = known_of(tmp_path / "workstation.db")
    assert (seen.size, seen.root) == (size, root.hex())
    with pytest.raises(BackupOutdated, match="another history"):
        put_back(late, tmp_path / "again.db", seen)


def test_a_lost_store_that_cannot_be_read_whole_still_says_how_far_it_went(tmp_path: Path) -> None:
    path, backup, _ = aged(tmp_path)
    with patch("audit.restore._roots", side_effect=RecordError("a page is gone", remedy="none")):
        (seen,) = known_of(path)
    assert (seen.size, seen.root) == (10, None) and "cannot be read whole" in seen.place
    with pytest.raises(BackupOutdated, match="4 or more"):
        put_back(backup, tmp_path / "again.db", seen)


def test_after_a_replacement_of_the_key_evidence_and_backups_of_both_keys_count(tmp_path: Path) -> None:
    path, backup, before = aged(tmp_path)
    incoming = SigningKey.from_seed(KEY.name, bytes(range(1, 33)))
    with open_store(path) as store:
        store.rotate_key(incoming, actor=ADMIN, device="ws", reason="every two years")
        store.append(judged(40))
        after = store.checkpoint()
    outcome = try_restore(backup, path, secret=None, today=TODAY)
    assert outcome.problem == "", "the backup is from before the replacement"
    assert try_restore(backup, path, secret=None, today=TODAY, trusted=[KEY.verifier]).problem == ""
    stranger = SigningKey.from_seed(KEY.name, bytes(32)).verifier
    assert "not a trusted key" in try_restore(backup, path, secret=None, today=TODAY, trusted=[stranger]).problem
    (tmp_path / "after.note").write_text(after)
    (tmp_path / "before.note").write_text(before)
    with pytest.raises(RecordError, match="is no checkpoint") as refused:
        known_of(tmp_path / "after.note")
    assert "--trusted-key" in refused.value.remedy
    size = parse_checkpoint(split_note(after)[0]).size
    for seen in (known_of(tmp_path / "after.note", path), known_of(tmp_path / "after.note", trusted=(KEY.verifier, incoming.verifier))):
        assert max(found.size for found in seen) == size
        with pytest.raises(BackupOutdated, match=f"had {size}"):
            put_back(backup, tmp_path / "again.db", *seen)
    # and the other way round: of a trail that the new key signs, what the old one signed
    assert 10 in {found.size for found in known_of(tmp_path / "before.note", path, size=size, trusted=(incoming.verifier,))}


def test_what_is_no_witness_of_a_trail_is_refused(tmp_path: Path, full_path: Path) -> None:
    (tmp_path / "text").write_text("hello\n")
    for place in (tmp_path / "text", tmp_path / "none", tmp_path):
        with pytest.raises(RecordError):
            known_of(place)
    assert seen_in(full_path, "another.example", [KEY.verifier], 6) == []


def test_the_restore_test_is_an_entry_with_a_due_date(tmp_path: Path) -> None:
    path, backup, _ = aged(tmp_path)
    with open_store(path) as store:
        assert restore_due(store, TODAY).overdue
        outcome = try_restore(backup, path, secret=None, today=TODAY)
        assert (outcome.problem, outcome.body["record"]) == ("", "unit/R1/004, journal/unit.jsonl")
        record_outcome(store, outcome, ADMIN, "ws")
        due = restore_due(store, TODAY)
        assert not due.overdue and due.due == TODAY + timedelta(days=INTERVAL_DAYS)
        assert "overdue since" in restore_due(store, TODAY + timedelta(days=INTERVAL_DAYS + 1)).text
        failed = try_restore(tmp_path / "none", path, secret=None, today=TODAY)
        assert "cannot be read" in failed.problem and failed.body["passed"] is False
        record_outcome(store, failed, ADMIN, "ws")
        assert restore_due(store, TODAY) == due, "a test that failed does not move the date"
    assert left_in(tmp_path) == ["b", "live.db", "live.db.writer"]


def test_the_restore_test_finds_a_live_store_that_was_rewritten_or_set_back(tmp_path: Path) -> None:
    path, backup, _ = aged(tmp_path)
    taken(path, tmp_path / "later")
    set_back = tmp_path / "set-back"
    set_back.mkdir()
    with new_store(set_back / "live.db") as store:
        store.append(*(judged(n) for n in range(3)))
    assert "it was set back" in try_restore(tmp_path / "later", set_back / "live.db", secret=None, today=TODAY).problem
    with open_store(set_back / "live.db") as store:
        store.append(*(judged(n) for n in range(30, 40)))
    assert "another root" in try_restore(backup, set_back / "live.db", secret=None, today=TODAY).problem
    with new_store(set_back / "other.db") as store:
        store.append(judged(1))
    body = try_restore(backup, path, secret=None, today=TODAY).body
    assert body["passed"] is True


def test_an_export_that_was_changed_is_refused_at_its_line(full_path: Path, tmp_path: Path) -> None:
    lines = list(export_lines(full_path))
    rebuild(iter(lines), tmp_path / "same.db")
    assert verify_store(tmp_path / "same.db").findings == () and list(export_lines(tmp_path / "same.db")) == lines
    changes = {
        "is not dosewright-export/1": [b"something\n", *lines[1:]],
        "is not the digest": [*lines[:7], lines[7].replace(b"4", b"5"), *lines[8:]],
        "is the last, and not the end": lines[:-1],
        "follows the end": [*lines, lines[-1]],
    }
    for number, (says, changed) in enumerate(changes.items()):
        with pytest.raises(BackupInvalid, match=says):
            rebuild(iter(changed), tmp_path / f"{number}.db")
        assert not (tmp_path / f"{number}.db").exists()


CHILD = """
import resource, signal, sys
from pathlib import Path
from audit.backup import back_up
from audit.errors import DosewrightError
from audit.restore import restore
from tests.audit.conftest import ADMIN, CLOCK, KEY
from audit.store import TrailStore


def hold(moment):
    # where this is the moment that was asked for: say so, and go no further
    if moment in sys.argv[5:]:
        print("at", moment, flush=True)
        signal.pause()


def append(store, *drafts):
    hold("append")
    entries = appending(store, *drafts)
    hold("appended")
    return entries


appending, TrailStore.append = TrailStore.append, append
sys.addaudithook(lambda moment, arguments: hold(moment))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limit = int(sys.argv[4])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    if sys.argv[1] == "backup":
        back_up(Path(sys.argv[2]), Path(sys.argv[3]), key=KEY, created="2026-11-29T10:00:00.000000Z", software="t")
    else:
        restore(Path(sys.argv[2]), Path(sys.argv[3]), key=KEY, clock=CLOCK, software="t", secret=None, seen=[], by=ADMIN)
except DosewrightError as error:
    print(error)
    sys.exit(3)
"""


def child(*arguments: str) -> subprocess.Popen[str]:
    root = Path(__file__).parents[2]
    return subprocess.Popen([sys.executable, "-c", CHILD, *arguments], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are POSIX")
@pytest.mark.parametrize("limit", [4096, 60_000, 150_000])
def test_a_full_disk_leaves_nothing_half_done(limit: int, full_path: Path, tmp_path: Path) -> None:
    """The operating system refuses writes beyond a size, as a full disk does: of the copy, of the backup, of the restored store."""
    assert full_path.stat().st_size + 2000 > 60_000
    before = left_in(tmp_path)
    done = child("backup", str(full_path), str(tmp_path / "b"), str(limit))
    out, err = done.communicate()
    if done.returncode != 0:
        assert done.returncode == 3 and "full.db" in out + str(full_path) and "Traceback" not in err, err
        assert left_in(tmp_path) == before
    (tmp_path / "b").unlink(missing_ok=True)
    taken(full_path, tmp_path / "b")
    done = child("restore", str(tmp_path / "b"), str(tmp_path / "again.db"), str(limit))
    out, err = done.communicate()
    assert done.returncode in (0, 3) and "Traceback" not in err, err
    assert (tmp_path / "again.db").exists() == (done.returncode == 0)
    assert limit > 4096 or done.returncode == 3
    assert [name for name in left_in(tmp_path) if name.startswith(".")] == []


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
@pytest.mark.parametrize("moment", ["tempfile.mkdtemp", "sqlite3.connect", "append", "appended", "os.link", "shutil.rmtree"])
def test_killed_in_the_middle_a_restore_leaves_no_store_or_a_whole_one(moment: str, tmp_path: Path) -> None:
    """At its working folder, its first look at the store, before and after the entry, before the store has its name, and after."""
    path = tmp_path / "live.db"
    with new_store(path) as store:
        store.append(*(judged(n) for n in range(600)))
    taken(path, tmp_path / "b")
    to = tmp_path / f"again-{moment}.db"
    running = child("restore", str(tmp_path / "b"), str(to), str(1 << 40), moment)
    assert running.stdout is not None
    assert running.stdout.readline() == f"at {moment}\n", "it is held there, and does not go on"
    running.kill()
    running.communicate()
    assert to.exists() is (moment == "shutil.rmtree")
    if to.exists():
        assert verify_store(to).findings == ()
        with TrailReader(to) as reader:
            assert next(reader.entries(reader.size - 1)).kind == "store.record.restored"
    # and the next one is not disturbed by what was left
    put_back(tmp_path / "b", tmp_path / "last.db")
    assert verify_store(tmp_path / "last.db").findings == ()


def test_private_keys_are_sealed_apart(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    folder.mkdir()
    KEY.save(folder / "workstation.key")
    (tmp_path / "cell.key").write_text("another")
    places = [folder, tmp_path / "cell.key"]
    assert back_up_keys(places, tmp_path / "k", key=KEY, created=CREATED, secret=PASSPHRASE) == ["cell.key", "workstation.key"]
    assert (tmp_path / "k").stat().st_mode & 0o777 == 0o600 and KEY.seed.hex() not in (tmp_path / "k").read_bytes().hex()
    assert restore_keys(tmp_path / "k", tmp_path / "again", secret=PASSPHRASE, trusted=[KEY.verifier]) == ["cell.key", "workstation.key"]
    assert SigningKey.load(tmp_path / "again" / "workstation.key").seed == KEY.seed
    with pytest.raises(RecordError, match="cannot be made"):
        restore_keys(tmp_path / "k", tmp_path / "again", secret=PASSPHRASE)
    with pytest.raises(BackupInvalid, match="does not open"):
        restore_keys(tmp_path / "k", tmp_path / "third", secret=Secret.of_passphrase("another passphrase altogether"))
    data = bytearray((tmp_path / "k").read_bytes())
    for position in range(0, len(data), 61):
        data[position] ^= 1
        (tmp_path / "changed").write_bytes(data)
        with pytest.raises(BackupInvalid):
            restore_keys(tmp_path / "changed", tmp_path / "third", secret=PASSPHRASE)
        data[position] ^= 1
    for bad in ([tmp_path / "none"], [], [folder, folder]):
        with pytest.raises(RecordError):
            back_up_keys(bad, tmp_path / "k2", key=KEY, created=CREATED, secret=PASSPHRASE)
