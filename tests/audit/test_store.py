"""The store: what an append does, what it refuses, and that a failure leaves nothing."""

from __future__ import annotations

import base64
import itertools
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import rfc8785

from audit import chain
from audit.canonical import sha256_hex
from audit.checkpoint import SigningKey, parse_checkpoint, verify_note
from audit.database import Connection, Cursor, Value
from audit.errors import EntryInvalid, HeadMoved, RecordError, StoreBusy, StoreExists, StoreMissing, StoreReadOnly, VerificationError
from audit.events import SYSTEM, Entry, EntryDraft, EventKind, SealedRow, Subject
from audit.places import Place
from audit.reader import TrailReader
from audit.store import CHECKPOINT_INTERVAL, TrailStore
from audit.verify import verify_store
from tests.audit.conftest import CLOCK, KEY, ON_SQLITE, OPERATOR, ORIGIN, judged, new_store, open_store, place_of
from tests.audit.engines import Engine, everything

ROOT = Path(__file__).parents[2]
MEMBERS = {
    *("seq", "prev", "at", "zone", "clock", "actor", "name", "role", "device", "kind", "subject", "old", "new", "unit", "reason"),
    *("attachments", "demonstration", "software"),
}


def test_entry_0_states_what_the_store_is(store: TrailStore) -> None:
    entry = next(store.entries())
    assert entry.kind == "site.store.created"
    assert entry.prev == "0" * 64
    assert entry.new == {"demonstration": True, "format": "dosewright-store/2", "origin": ORIGIN, "verifier_key": KEY.verifier_key}
    assert (store.origin, store.verifier_key, store.demonstration, store.size) == (ORIGIN, KEY.verifier_key, True, 1)


def test_an_entry_has_exactly_its_members_and_links_to_the_one_before(store: TrailStore) -> None:
    first, second = store.append(judged(1), judged(1, "466.9"))
    assert set(first.body) == MEMBERS
    assert second.prev == first.digest == sha256_hex(b"\0" + first.canonical)
    assert first.canonical == rfc8785.dumps(first.body)
    assert (first.old, second.old["mass_mg"], second.new["mass_mg"]) == ({"state": None, "mass_mg": None, "n": None}, "467.2", "466.9")
    assert first.body["unit"] == {"mass_mg": "mg"}
    assert first.attachments == [{"name": "journal/unit.jsonl", "sha256": sha256_hex(b"1\n"), "bytes": 2}]
    assert (first.actor, first.zone, first.body["clock"]["sync"]) == (OPERATOR, "Europe/Paris", "synchronised")
    assert store.state("unit", "R1/001") == {"state": "judged", "mass_mg": "466.9", "n": 1}
    assert store.blob(sha256_hex(b"1\n")) == b"1\n"


def test_the_state_is_the_merge_of_new(store: TrailStore) -> None:
    run = Subject("run", "R1")
    store.append(EntryDraft(EventKind.RUN_RECORD_CREATED, run, {"state": "CREATED", "units": 14}, SYSTEM, "cell"))
    store.append(EntryDraft(EventKind.RUN_STATE_CHANGED, run, {"state": "READY"}, SYSTEM, "cell", reason="gates met"))
    assert store.state("run", "R1") == {"state": "READY", "units": 14}
    assert store.state("run", "R2") is None
    assert [id_ for id_, _ in store.objects("run")] == ["R1"]


def test_reading_in_pages_and_by_range(store: TrailStore) -> None:
    store.append(*(judged(n) for n in range(1100)))
    assert [entry.seq for entry in store.entries()] == list(range(1101))
    assert [entry.seq for entry in store.entries(510, 515)] == [510, 511, 512, 513, 514]
    assert list(store.lines(1101)) == []


def test_search(store: TrailStore) -> None:
    store.append(
        judged(1), judged(2), EntryDraft(EventKind.ALARM_CONDITION_RAISED, Subject("alarm", "R1/1"), {"state": "x"}, SYSTEM, "cell")
    )
    assert [e.seq for e in store.search(kind="unit.")] == [1, 2]
    assert [e.seq for e in store.search(kind="un%t")] == []
    assert [e.seq for e in store.search(subject_type="unit", newest_first=True, limit=1)] == [2]
    assert [e.seq for e in store.search(subject_type="unit", subject_id="R1/002")] == [2]
    assert [e.seq for e in store.search(after_seq=0, before_seq=3)] == [1, 2]
    assert [e.seq for e in store.search(since="2000", until="2001")] == []
    assert len(store.search(since="2000")) == 4


def test_a_checkpoint_signs_the_root_over_the_lines(store: TrailStore) -> None:
    store.append(*(judged(n) for n in range(5)))
    note = store.checkpoint()
    assert store.checkpoint() == note == store.last_checkpoint()
    text, signers = verify_note(note, [KEY.verifier])
    assert signers == [ORIGIN]
    assert parse_checkpoint(text).size == 6
    assert text.split("\n")[2] == base64.b64encode(chain.root(store.lines())).decode()


def test_a_checkpoint_is_taken_every_interval_and_on_close(engine: Engine) -> None:
    place = engine.place("t")
    with new_store(place) as store:
        for n in range(CHECKPOINT_INTERVAL + 10):
            store.append(judged(n))
        assert parse_checkpoint(verify_note(str(store.last_checkpoint()), [KEY.verifier])[0]).size == CHECKPOINT_INTERVAL
    store.close()
    with TrailReader(place) as reader:
        assert parse_checkpoint(verify_note(str(reader.last_checkpoint()), [KEY.verifier])[0]).size == CHECKPOINT_INTERVAL + 11
    with pytest.raises(RecordError, match="closed"):
        store.append(judged(1))
    with pytest.raises(RecordError, match="closed"):
        store.state("unit", "R1/001")


def test_nothing_is_made_at_a_wrong_path(tmp_path: Path) -> None:
    with pytest.raises(StoreMissing, match="no store at"):
        open_store(tmp_path / "typo.db")
    with pytest.raises(StoreMissing, match="no folder"):
        new_store(tmp_path / "typo" / "t.db")
    with pytest.raises(StoreMissing):
        TrailReader(tmp_path / "typo.db")
    with pytest.raises(StoreMissing):
        verify_store(tmp_path / "typo.db", [])
    assert list(tmp_path.iterdir()) == []


def test_create_refuses_a_place_that_is_taken(store: TrailStore) -> None:
    with pytest.raises(StoreExists):
        new_store(place_of(store))
    assert store.append(judged(1))[0].seq == 1


def test_a_creation_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: TrailStore, *drafts: EntryDraft) -> list[Entry]:
        raise RecordError("no room")

    monkeypatch.setattr(TrailStore, "append", fail)
    with pytest.raises(RecordError, match="no room"):
        new_store(tmp_path / "t.db")
    assert list(tmp_path.iterdir()) == []


def test_open_refuses_what_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    with pytest.raises(RecordError, match="empty"):
        open_store(tmp_path / "empty.db")
    (tmp_path / "text.db").write_text("not a database, but long enough to be read as one" * 100)
    with pytest.raises(RecordError, match="is not a trail store"):
        open_store(tmp_path / "text.db")


def test_open_refuses_another_key(full: Place) -> None:
    with pytest.raises(RecordError, match="is not the key"):
        TrailStore.open(full, key=SigningKey.generate(ORIGIN), clock=CLOCK, software="x")
    open_store(full).close()


@ON_SQLITE
def test_open_refuses_a_file_that_is_marked_read_only(full: Path) -> None:
    full.chmod(0o400)
    with pytest.raises(StoreReadOnly, match="read-only"):
        open_store(full)
    full.chmod(0o600)
    open_store(full).close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE objects SET digest = 'x' WHERE last_seq = (SELECT max(seq) FROM entries)",
        "DELETE FROM head",
        "DELETE FROM checkpoints",
        "DELETE FROM entries WHERE seq > 3",
        "UPDATE entries SET canonical = (SELECT canonical FROM entries WHERE seq = 1) WHERE seq = 2",
        "UPDATE checkpoints SET note = replace(note, 'site.example', 'site.examples')",
        "UPDATE alembic_version SET version_num = '9999'",
        "UPDATE meta SET value = 'other/9' WHERE key = 'format'",
    ],
)
def test_open_refuses_a_store_that_does_not_match_its_checkpoint(engine: Engine, full: Place, statement: str) -> None:
    with engine.tampering(full) as connection:
        connection.execute(statement)
    with pytest.raises((VerificationError, RecordError)):
        open_store(full)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET canonical = x'00' WHERE seq = 1",
        "DELETE FROM entries WHERE seq = 1",
        "INSERT INTO entries SELECT 99, canonical FROM entries WHERE seq = 1",
        "INSERT OR REPLACE INTO entries SELECT 1, canonical FROM entries WHERE seq = 0",
        "REPLACE INTO entries SELECT seq, x'00' FROM entries WHERE seq = 1",
        "INSERT INTO entries VALUES (NULL, x'00')",
        "UPDATE blobs SET data = x'00'",
        "DELETE FROM blobs",
        "INSERT OR REPLACE INTO blobs SELECT sha256, 0, x'' FROM blobs",
        "UPDATE checkpoints SET note = ''",
        "DELETE FROM checkpoints",
        "INSERT OR REPLACE INTO checkpoints SELECT size, '' FROM checkpoints",
    ],
)
def test_triggers_keep_the_trail_append_only(engine: Engine, full: Place, statement: str) -> None:
    if engine.name == "postgresql":
        statement = _of_postgresql(statement)
    before = everything(engine, full)
    with engine.raw(full) as connection, pytest.raises(engine.refusals, match=r"never changed|next number|stored once|only grow"):
        connection.execute(statement)
    assert everything(engine, full) == before


def _of_postgresql(statement: str) -> str:
    """Say the same in PostgreSQL, where a row is replaced by an insertion that meets another."""
    statement = statement.replace("x'00'", "'\\x00'").replace("x''", "'\\x'")
    changed = {"entries": ("seq", "canonical"), "blobs": ("sha256", "data"), "checkpoints": ("size", "note")}
    if "REPLACE INTO" not in statement:
        return statement
    table = statement.split("INTO ")[1].split()[0]
    key, column = changed[table]
    return (
        f"INSERT INTO {table} SELECT * FROM {table} ORDER BY {key} LIMIT 1 ON CONFLICT ({key}) DO UPDATE SET {column} = excluded.{column}"
    )


def second_writer(engine: Engine, store: TrailStore) -> TrailStore:
    """A writer that the lock did not keep out."""
    engine.let_in_another(store)
    return open_store(place_of(store))


def test_a_trail_has_one_writer_until_it_closes(store: TrailStore, at_once: None) -> None:
    with pytest.raises(StoreBusy, match="another process"):
        open_store(place_of(store))
    store.append(judged(1))
    store.close()
    open_store(place_of(store)).close()


def test_the_lock_of_a_killed_writer_is_gone(engine: Engine, at_once: None) -> None:
    place = engine.place("trail")
    new_store(place).close()
    hold = (
        "import sys; from tests.audit.conftest import open_store; s = open_store(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", hold, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StoreBusy):
            open_store(place)
        holder.kill()
        holder.wait()
    _when_free(place).close()


def _when_free(place: Place) -> TrailStore:
    """Open a store whose writer was killed: PostgreSQL takes a moment to see that it is gone."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            return open_store(place)
        except StoreBusy:
            continue
    raise AssertionError("the lock of a killed writer is still held")


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait a moment for a lock of PostgreSQL, not seconds."""
    monkeypatch.setattr("audit.postgres.WAIT_SECONDS", 1)


def test_a_second_writer_is_found_at_its_first_word(engine: Engine, store: TrailStore) -> None:
    other = second_writer(engine, store)
    store.append(judged(1))
    for _ in range(2):
        with pytest.raises(HeadMoved):
            other.append(judged(2))
    with pytest.raises(HeadMoved):
        other.checkpoint()
    other.close()
    assert store.append(judged(3))[0].seq == 2


def test_a_second_writer_of_entries_by_themselves_is_found_as_well(engine: Engine, store: TrailStore) -> None:
    other = second_writer(engine, store)
    one, two = (EntryDraft(EventKind.RUN_STATE_CHANGED, Subject("run", "R1"), {"n": n}, SYSTEM, "cell") for n in (1, 2))
    store.append(one)
    for _ in range(2):
        with pytest.raises(HeadMoved, match="written by another process: its last entry is not entry 0"):
            other.append(two)
    other.close()
    assert store.state("run", "R1") == {"n": 1}
    assert store.append(two)[0].seq == 2


@pytest.mark.parametrize("draft", [judged(1), EntryDraft(EventKind.RUN_STATE_CHANGED, Subject("run", "R1"), {"n": 1}, SYSTEM, "cell")])
def test_two_writers_in_a_race_never_share_a_number(engine: Engine, store: TrailStore, draft: EntryDraft) -> None:
    other = second_writer(engine, store)
    outcomes: list[object] = []
    start = threading.Barrier(2)

    def write(writer: TrailStore) -> None:
        start.wait()
        try:
            outcomes.extend(writer.append(draft))
        except HeadMoved as error:
            outcomes.append(error)

    threads = [threading.Thread(target=write, args=(writer,)) for writer in (store, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Entry", "HeadMoved"]
    other.close()


def test_threads_append_one_at_a_time_and_readers_do_not_wait(store: TrailStore) -> None:
    def write() -> None:
        for n in range(20):
            store.append(judged(n))

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert sum(1 for _ in store.lines()) <= 81
    for thread in threads:
        thread.join()
    assert store.size == 81
    store.checkpoint()
    assert verify_store(place_of(store), [KEY.verifier]).findings == ()


@ON_SQLITE
def test_a_reader_reads_while_the_write_lock_is_held(store: TrailStore) -> None:
    holder = sqlite3.connect(store.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    assert store.state("store", ORIGIN) is not None
    holder.execute("ROLLBACK")
    holder.close()


class FailingConnection:
    """A connection whose n-th statement fails as a disk does."""

    is_lost = False

    def __init__(self, connection: Connection, fail_at: int, error: type[Exception]) -> None:
        self.connection = connection
        self.remaining = fail_at
        self.error = error

    @property
    def in_transaction(self) -> bool:
        return self.connection.in_transaction

    def execute(self, sql: str, parameters: tuple[Value, ...] = ()) -> Cursor:
        self._count(sql)
        return self.connection.execute(sql, parameters)

    def executemany(self, sql: str, rows: Iterable[tuple[Value, ...]]) -> object:
        self._count(sql)
        return self.connection.executemany(sql, rows)

    def _count(self, sql: str) -> None:
        self.remaining -= 1
        if self.remaining == 0 and sql != "ROLLBACK":
            raise self.error("disk I/O error")

    def close(self) -> None:
        self.connection.close()


def _failures(engine: Engine, store: TrailStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    for fail_at in itertools.count(1):
        with monkeypatch.context() as patch:
            patch.setattr(store, "_writer", FailingConnection(store._writer, fail_at, engine.error))
            try:
                store.append(judged(7), judged(8))
            except RecordError:
                yield fail_at
            else:
                return


def test_whichever_statement_fails_nothing_is_written_and_the_next_append_works(
    engine: Engine, store: TrailStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything(engine, place_of(store))
    count = 0
    for _ in _failures(engine, store, monkeypatch):
        count += 1
        assert everything(engine, place_of(store)) == before
        assert store.size == 1
    assert count == 11, "two reads; begin, head, two entries, two objects, two attachments, commit"
    assert store.size == 3
    store.checkpoint()
    assert verify_store(place_of(store), [KEY.verifier]).findings == ()


def test_a_full_disk_is_said_and_leaves_a_sound_store(tmp_path: Path) -> None:
    store = new_store(tmp_path / "t.db")
    pages = store._writer.execute("PRAGMA page_count").fetchone()[0]
    store._writer.execute(f"PRAGMA max_page_count={pages + 10}")
    with pytest.raises(RecordError, match=r"t\.db has no room left.*Free space"):
        for n in range(1000):
            store.append(judged(n))
    size = store.size
    store.close()
    reopened = open_store(tmp_path / "t.db")
    assert reopened.size == size
    reopened.append(judged(1))
    reopened.close()
    assert verify_store(tmp_path / "t.db", [KEY.verifier]).findings == ()


@ON_SQLITE
def test_a_store_that_became_read_only_says_so(store: TrailStore) -> None:
    store._writer.execute("PRAGMA query_only=ON")
    with pytest.raises(StoreReadOnly, match=r"trail\.db refuses writes.*permissions"):
        store.append(judged(1))
    store._writer.execute("PRAGMA query_only=OFF")
    assert store.append(judged(1))[0].seq == 1


@ON_SQLITE
def test_a_busy_store_names_the_other_writer(store: TrailStore) -> None:
    store._writer.execute("PRAGMA busy_timeout=1")
    holder = sqlite3.connect(store.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(RecordError, match="another writer"):
        store.append(judged(1))
    holder.execute("ROLLBACK")
    holder.close()


@pytest.mark.parametrize(
    "draft",
    [
        EntryDraft(EventKind.RUN_STATE_CHANGED, Subject("run", "R1"), {"mass": 1.5}, SYSTEM, "cell"),  # type: ignore[dict-item]
        EntryDraft("run.state.changed", Subject("run", "R1"), {}, SYSTEM, "cell"),  # type: ignore[arg-type]
        EntryDraft(EventKind.RUN_STATE_CHANGED, Subject("Run", "R1"), {}, SYSTEM, "cell"),
        EntryDraft(EventKind.RUN_STATE_CHANGED, Subject("run", ""), {}, SYSTEM, "cell"),
        EntryDraft(EventKind.PERSON_CREDENTIAL_SET, Subject("person", "x"), {}, SYSTEM, "ws", sealed=(SealedRow("credentials", b"x"),)),
        EntryDraft(
            EventKind.PERSON_CREDENTIAL_SET,
            Subject("run", "x"),
            {"credential_sha256": sha256_hex(b"x")},
            SYSTEM,
            "ws",
            sealed=(SealedRow("credentials", b"x"),),
        ),
    ],
)
def test_a_draft_that_does_not_fit_is_refused_with_all_of_its_call(store: TrailStore, draft: EntryDraft) -> None:
    with pytest.raises(EntryInvalid):
        store.append(judged(1), draft)
    assert store.size == 1
    assert store.state("unit", "R1/001") is None
    assert store.append() == []


def test_missing_rows_are_said(store: TrailStore) -> None:
    with pytest.raises(RecordError, match="holds no attachment"):
        store.blob("0" * 64)
    with pytest.raises(RecordError, match="holds no row in patients"):
        store.sealed("patients", "nobody")
