"""A write that fails: before it took hold, after it took hold, or so that nobody can say. No entry is lost, doubled or out of order.

The two kinds of failure are those under which the Sunlight log is tested: *not persisted* and *persisted, but reported as failed*.
"""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import pytest

from audit.append_statements import INSERT_STEP
from audit.clock import UtcReading
from audit.database import Connection, Cursor, Value
from audit.errors import EntryInvalid, RecordError
from audit.events import SYSTEM, EntryDraft, EventKind, Subject
from audit.store import CHECKPOINT_INTERVAL, TrailStore
from audit.verify import verify_store
from tests.audit.conftest import KEY, ORIGIN, judged, new_store, open_store, place_of
from tests.audit.engines import Engine

T = TypeVar("T")

ROOT = Path(__file__).parents[2]


@dataclass
class FaultyConnection:
    """A connection whose n-th statement, or first of a name, fails as a disk does: before it is carried out, or after.

    `blind`: once that statement has failed, so many reads fail as well.
    """

    connection: Connection
    error: type[Exception]
    fail_at: int | str
    persisted: bool
    blind: int = 0
    failed: str = ""
    is_lost: bool = False

    @property
    def in_transaction(self) -> bool:
        return self.connection.in_transaction

    def execute(self, sql: str, parameters: tuple[Value, ...] = ()) -> Cursor:
        return self._carried_out(sql, lambda: self.connection.execute(sql, parameters))

    def executemany(self, sql: str, rows: Iterable[tuple[Value, ...]]) -> object:
        return self._carried_out(sql, lambda: self.connection.executemany(sql, rows))

    def _carried_out(self, sql: str, carry_out: Callable[[], T]) -> T:
        if self.failed and self.blind and sql.startswith("SELECT"):
            self.blind -= 1
            raise self.error("disk I/O error")
        if isinstance(self.fail_at, int):
            self.fail_at -= 1
        if self.failed or (self.fail_at != 0 and sql != self.fail_at) or sql == "ROLLBACK":
            return carry_out()
        self.failed = sql
        if self.persisted:
            carry_out()
        raise self.error("disk I/O error")

    def close(self) -> None:
        self.connection.close()


def alone(n: int) -> EntryDraft:
    """An entry that brings nothing else with it: SQLite takes it as one statement."""
    return EntryDraft(EventKind.RUN_STATE_CHANGED, Subject("run", f"R{n % 3}"), {"n": n}, SYSTEM, "cell")


def last_word(store: TrailStore) -> str:
    """Return the statement that commits an entry by itself."""
    return INSERT_STEP if store.database.takes_steps else "COMMIT"


def sound(store: TrailStore) -> None:
    store.checkpoint()
    assert verify_store(place_of(store), [KEY.verifier]).findings == ()


def states(store: TrailStore) -> list[object]:
    return [entry.new.get("n") for entry in store.entries(1)]


@pytest.mark.parametrize("persisted", [False, True])
def test_whichever_statement_fails_an_append_is_whole_or_not_there(
    engine: Engine, store: TrailStore, monkeypatch: pytest.MonkeyPatch, persisted: bool
) -> None:
    """Before: nothing is there, and the call says so. After: only a commit takes hold, and then the call says that instead."""
    written: list[int] = []
    statements: list[str] = []
    for n in itertools.count(2, 2):
        with monkeypatch.context() as patch:
            faulty = FaultyConnection(store._writer, engine.error, n // 2, persisted)
            patch.setattr(store, "_writer", faulty)
            try:
                entries = store.append(judged(n), judged(n + 1))
            except RecordError:
                assert (store.size, states(store)) == (1 + len(written), written)
            else:
                assert [entry.seq for entry in entries] == [len(written) + 1, len(written) + 2]
                written += [n, n + 1]
        statements.append(faulty.failed.split(" ")[0])
        if not faulty.failed:
            break
    assert {"BEGIN", "UPDATE", "INSERT", "COMMIT"} < set(statements)
    assert len(written) == (4 if persisted else 2), "the last call, and the one whose commit took hold"
    store.append(judged(99))
    assert states(store) == [*written, 99]
    sound(store)


@pytest.mark.parametrize("persisted", [False, True])
def test_whichever_statement_fails_an_entry_by_itself_is_whole_or_not_there(
    engine: Engine, store: TrailStore, monkeypatch: pytest.MonkeyPatch, persisted: bool
) -> None:
    written: list[int] = []
    statements: list[str] = []
    for n in itertools.count(1):
        with monkeypatch.context() as patch:
            faulty = FaultyConnection(store._writer, engine.error, n, persisted)
            patch.setattr(store, "_writer", faulty)
            try:
                (entry,) = store.append(alone(n))
            except RecordError as error:
                assert "may or may not" not in error.message
                assert (store.size, states(store)) == (1 + len(written), written)
            else:
                assert entry.seq == len(written) + 1
                written.append(n)
        statements.append(faulty.failed)
        if not faulty.failed:
            break
    assert last_word(store) in statements
    assert len(written) == (2 if persisted else 1), "the last call, and the one whose commit took hold"
    store.append(alone(99))
    assert states(store) == [*written, 99]
    sound(store)


@pytest.mark.parametrize("persisted", [False, True])
def test_an_entry_by_itself_of_which_nobody_could_tell_is_not_written_twice(
    engine: Engine, store: TrailStore, monkeypatch: pytest.MonkeyPatch, persisted: bool
) -> None:
    draft = alone(1)
    with monkeypatch.context() as patch:
        patch.setattr(store, "_writer", FaultyConnection(store._writer, engine.error, last_word(store), persisted, blind=1))
        with pytest.raises(RecordError, match="entries 1 to 1 may or may not be in it"):
            store.append(draft)
    assert [entry.seq for entry in store.append(draft)] == [1]
    assert states(store) == [1]
    sound(store)


@pytest.mark.parametrize("persisted", [False, True])
def test_a_checkpoint_whose_commit_fails_is_signed_once(
    engine: Engine, store: TrailStore, monkeypatch: pytest.MonkeyPatch, persisted: bool
) -> None:
    store.append(judged(1))
    with monkeypatch.context() as patch:
        patch.setattr(store, "_writer", FaultyConnection(store._writer, engine.error, "COMMIT", persisted))
        if persisted:
            note = store.checkpoint()
        else:
            with pytest.raises(RecordError):
                store.checkpoint()
            note = ""
    assert (store.checkpoint() == note) is persisted
    store.append(judged(2))
    sound(store)


@pytest.mark.parametrize("persisted", [False, True])
@pytest.mark.parametrize("between", [False, True])
def test_what_nobody_could_tell_is_found_out_and_not_written_twice(
    engine: Engine, store: TrailStore, monkeypatch: pytest.MonkeyPatch, persisted: bool, between: bool
) -> None:
    """The caller tries the same drafts again, perhaps after another: they are in the trail once."""
    drafts = (judged(1), judged(2))
    with monkeypatch.context() as patch:
        patch.setattr(store, "_writer", FaultyConnection(store._writer, engine.error, "COMMIT", persisted, blind=1))
        with pytest.raises(RecordError, match=r"entries 1 to 2 may or may not be in it.*next append finds out"):
            store.append(*drafts)
    if between:
        store.append(judged(7))
    entries = store.append(*drafts)
    assert [entry.new["n"] for entry in entries] == [1, 2]
    assert states(store) == ([1, 2, 7] if persisted and between else [7, 1, 2] if between else [1, 2])
    assert list(store.entries(entries[0].seq, entries[0].seq + 2)) == entries
    store.append(*drafts)
    assert store.size == (7 if between else 6) - 1, "what is asked for once more is a new event"
    sound(store)


def test_a_store_left_in_doubt_and_opened_again_is_sound(engine: Engine, store: TrailStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(store, "_writer", FaultyConnection(store._writer, engine.error, "COMMIT", True, blind=99))
        with pytest.raises(RecordError, match="may or may not"):
            store.append(judged(1))
        for attempt in (lambda: store.append(judged(2)), store.checkpoint):
            with pytest.raises(RecordError, match="may or may not"):
                attempt()
        store.close()
    with open_store(place_of(store)) as again:
        assert states(again) == [1]
        again.append(judged(2))
        sound(again)


def test_a_refused_draft_leaves_what_is_known_of_its_subject_alone(store: TrailStore) -> None:
    bad = EntryDraft(EventKind.RUN_STATE_CHANGED, Subject("run", "R1"), {"mass": 1.5}, SYSTEM, "cell")  # type: ignore[dict-item]
    with pytest.raises(EntryInvalid):
        store.append(judged(1), judged(1, "9.9"), bad)
    (entry,) = store.append(judged(1))
    assert set(entry.old.values()) == {None}
    sound(store)


def campaign(engine: Engine, seed: int, rounds: int) -> None:
    """Random appends with random faults, as a recorder makes them: what failed is tried again before anything else."""
    generator = random.Random(seed)
    place = engine.place(f"t{seed}")
    store = new_store(place)
    reported: list[int] = []
    owed: list[tuple[EntryDraft, ...]] = []
    for n in range(rounds):
        make = generator.choice((judged, alone))
        owed.append(tuple(make(n * 10 + k) for k in range(generator.randrange(1, 4))))
        while owed:
            connection = store._writer
            # The append that crosses a checkpoint brings the search index up to date: some three hundred statements instead of ten.
            fail_at = generator.randrange(1, generator.choice((24, 600)))
            store._writer = FaultyConnection(connection, engine.error, fail_at, generator.random() < 0.5, generator.randrange(3))
            try:
                reported += [int(str(entry.new["n"])) for entry in store.append(*owed[0])]
                owed.pop(0)
            except RecordError:
                pass
            finally:
                store._writer = connection
        if generator.random() < 0.02:
            store.close()
            store = open_store(place)
    assert states(store) == reported
    assert reported == sorted(set(reported))
    assert store.size > CHECKPOINT_INTERVAL or rounds < 150
    sound(store)
    store.close()


def test_no_entry_is_lost_doubled_or_out_of_order_under_random_faults(engine: Engine) -> None:
    campaign(engine, seed=1, rounds=150)


@pytest.mark.deep
def test_no_entry_is_lost_doubled_or_out_of_order_under_many_random_faults(engine: Engine) -> None:
    for seed in range(2, 12):
        campaign(engine, seed=seed, rounds=400)


FILLER = """
import resource, signal, sys
from pathlib import Path
from audit.errors import RecordError
from tests.audit.conftest import judged, open_store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = open_store(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
for n in range(5000):
    try:
        print(store.append(judged(n))[0].seq, flush=True)
    except RecordError as error:
        print("refused", error.code, flush=True)
        break
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(store.append(judged(9999))[0].seq, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="not run: the limit of a file's size is of POSIX")
@pytest.mark.parametrize("limit", [150_001, 300_000])
def test_a_disk_that_takes_no_more_bytes_refuses_and_goes_on_when_there_is_room(tmp_path: Path, limit: int) -> None:
    """The limit cuts a write of the log in the middle of a page."""
    path = tmp_path / "t.db"
    new_store(path).close()
    done = subprocess.run(
        [sys.executable, "-c", FILLER, str(path), str(limit)], capture_output=True, text=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}
    )
    *reported, refused, last = done.stdout.split("\n")[:-1]
    assert refused.startswith("refused AU-001"), done.stderr
    assert [*map(int, reported), int(last)] == list(range(1, len(reported) + 2))
    assert verify_store(path, [KEY.verifier]).findings == ()
    with open_store(path) as store:
        assert store.size == len(reported) + 2


@dataclass
class BackwardClock:
    """UTC that goes back an hour at each reading; process time stands still."""

    hour: int = 23
    rate: Decimal = Decimal(1)

    def now(self) -> int:
        return 0

    def utc(self) -> UtcReading:
        self.hour -= 1
        return UtcReading(f"2026-11-20T{self.hour:02d}:00:00.000000Z", "UTC", "unknown")


def test_a_clock_that_goes_back_changes_no_order(engine: Engine) -> None:
    store = TrailStore.create(engine.place("t"), origin=ORIGIN, key=KEY, clock=BackwardClock(), software="x", demonstration=True)
    store.append(*(judged(n) for n in range(4)))
    store.append(replace(judged(9), reason="after"))
    times = [entry.at for entry in store.entries()]
    assert times == sorted(times, reverse=True) and len(set(times)) == 6
    assert states(store) == [0, 1, 2, 3, 9]
    sound(store)
    store.close()
