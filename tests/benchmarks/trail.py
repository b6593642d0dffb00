"""The trail's figures: appends beside bare SQLite commits of the same bytes, whole-store checks, and random changes that a check misses."""

from __future__ import annotations

import sqlite3
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import psycopg

from audit import verify_half
from audit.checkpoint import SigningKey
from audit.clock import SystemClock
from audit.events import SYSTEM, EntryDraft, EventKind, Subject
from audit.identity import Identity, Role
from audit.patients import PatientVault
from audit.places import Place
from audit.sqlite_file import SqliteFile
from audit.store import TrailStore
from audit.verify import verify_store
from tests.audit.conftest import CHEAP, CLOCK, OPERATOR, judged, new_store
from tests.audit.engines import SqliteEngine
from tests.audit.postgres_server import running_server
from tests.audit.test_tampering import missed
from tests.benchmarks import Row
from tests.benchmarks.package_memory import million_entries

_GROUP = 500
_LONG = 200_000


def drafts(count: int, first: int = 0, kind: EventKind = EventKind.RUN_STATE_CHANGED) -> list[EntryDraft]:
    """Entries as a run writes them: of fifty runs at once, or of units that each have two entries."""
    subjects = [
        Subject("run", f"B-{n % 50}-R1") if kind == EventKind.RUN_STATE_CHANGED else Subject("unit", f"A-{n // 400}-R1/{n // 2 % 200:03d}")
        for n in range(first, first + count)
    ]
    return [
        EntryDraft(kind=kind, subject=subject, new={"state": "PRINTING", "count": n}, actor=SYSTEM, device="cell-1", reason="benchmark")
        for n, subject in enumerate(subjects, first)
    ]


def _store(place: Place) -> TrailStore:
    key = SigningKey.generate("bench.store")
    return TrailStore.create(place, origin="bench.store", key=key, clock=SystemClock(), software="bench", demonstration=True)


def _appends(place: Place, count: int, group: int = 1) -> tuple[float, list[bytes]]:
    store = _store(place)
    made = drafts(count)
    began = time.perf_counter()
    for first in range(0, count, group):
        store.append(*made[first : first + group])
    rate = count / (time.perf_counter() - began)
    lines = list(store.lines()) if group == 1 else []
    store.close()
    return rate, lines


def _appends_beside_bare_commits(folder: Path, count: int, block: int) -> tuple[float, float]:
    """Return appends a second, and bare commits a second of the same bytes.

    They take turns, a block of each, so that both meet the disk and the machine in the same mood.
    """
    store, made = _store(folder / "store.db"), drafts(count)
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE entries (seq INTEGER PRIMARY KEY, canonical BLOB)")
    ours = bare = 0.0
    for first in range(0, count, block):
        began = time.perf_counter()
        lines = [store.append(draft)[0].canonical for draft in made[first : first + block]]
        ours += time.perf_counter() - began
        began = time.perf_counter()
        for seq, line in enumerate(lines, first):
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO entries VALUES (?, ?)", (seq, line))
            connection.execute("COMMIT")
        bare += time.perf_counter() - began
    connection.close()
    store.close()
    return count / ours, count / bare


def durable_append() -> Row:
    ours, bare = [], []
    for _ in range(5):
        with tempfile.TemporaryDirectory() as name:
            rate, peer_rate = _appends_beside_bare_commits(Path(name), 2000, 100)
            ours.append(rate)
            bare.append(peer_rate)
    value, peer = statistics.median(ours), statistics.median(bare)
    return Row("trail.durable_append_per_s", f"{value:.0f}", "1/s", "bare SQLite commits", f"{peer:.0f}", f"{value / peer:.2f}")


def durable_append_long() -> Row:
    """The same over so many commits that the peer's log has long ceased to grow, at 1,000 pages: a commit costs the peer less then."""
    with tempfile.TemporaryDirectory() as folder:
        rate, bare = _appends_beside_bare_commits(Path(folder), 8000, 100)
    name, peer = "trail.durable_append_8000_per_s", "bare SQLite commits"
    return Row(name, f"{rate:.0f}", "1/s", peer, f"{bare:.0f}", f"{rate / bare:.2f}")


def _bare_commits_in_postgresql(url: str, lines: list[bytes]) -> float:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS bare (seq bigserial PRIMARY KEY, canonical bytea)")
        began = time.perf_counter()
        for line in lines:
            connection.execute("BEGIN")
            connection.execute("INSERT INTO bare (canonical) VALUES (%s)", (line,))
            connection.execute("COMMIT")
        return len(lines) / (time.perf_counter() - began)


def postgresql_append() -> Row:
    """Appends to a store in PostgreSQL on this machine, through a socket; five statements a commit, each a way there and back."""
    ours, bare = [], []
    with running_server() as url:
        for n in range(3):
            rate, lines = _appends(f"{url}&schema=bench_{n}", 1000)
            ours.append(rate)
            bare.append(_bare_commits_in_postgresql(url, lines))
    value, peer = statistics.median(ours), statistics.median(bare)
    return Row("trail.postgresql_append_per_s", f"{value:.0f}", "1/s", "bare PostgreSQL commits", f"{peer:.0f}", f"{value / peer:.2f}")


def group_append() -> Row:
    rates = []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as name:
            rates.append(_appends(Path(name) / "store.db", 50_000, _GROUP)[0])
    return Row("trail.group_append_per_s", f"{statistics.median(rates):.0f}", "1/s", f"none: {_GROUP} entries a transaction", None, None)


def _verified(workers: int, *, file_check: bool = True) -> float:
    """Return entries a second of the best of three whole-store checks of a long trail.

    Without the file check, what SQLite itself says of its pages and indexes is not asked for: of a store in PostgreSQL, it is not either.
    """
    with tempfile.TemporaryDirectory() as name, ExitStack() as patched:
        _appends(Path(name) / "store.db", _LONG, _GROUP)
        if not file_check:
            patched.enter_context(patch.object(SqliteFile, "check_files", lambda *_: ([], "file: not looked at")))
            patched.enter_context(patch.object(verify_half, "_SHARE", 0.5))  # the halves are alike then
        spans = []
        for _ in range(3):
            began = time.perf_counter()
            report = verify_store(Path(name) / "store.db", workers=workers)
            spans.append(time.perf_counter() - began)
            if report.findings:
                raise RuntimeError(f"a fresh store does not verify: {report.findings[0]}")
    return _LONG / min(spans)


def verify_rate() -> Row:
    peer = "none: whole store, canonical form, projections rebuilt"
    return Row("trail.verify_per_s", f"{_verified(1):.0f}", "1/s", peer, None, None)


def verify_rate_two() -> Row:
    return Row("trail.verify_two_processes_per_s", f"{_verified(2):.0f}", "1/s", "none: as above, in two processes", None, None)


def verify_entries() -> Row:
    peer = "none: as above, without SQLite's own look at its pages"
    return Row("trail.verify_trail_per_s", f"{_verified(1, file_check=False):.0f}", "1/s", peer, None, None)


def verify_entries_two() -> Row:
    value = _verified(2, file_check=False)
    return Row("trail.verify_trail_two_processes_per_s", f"{value:.0f}", "1/s", "none: as above, in two processes", None, None)


def mutations_missed() -> Row:
    """Random changes to a store (kinds in tests/audit/mutations.py) that are not found, or whose place is not named."""
    count = 1200
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with new_store(folder / "full.db") as store:
            _fill(store)
        found, _ = missed(SqliteEngine(folder, {}), folder / "full.db", count, seed=7)
    return Row("trail.mutations_missed", str(len(found)), f"of {count}", "none: nothing else has this format", None, None)


def _fill(store: TrailStore) -> None:
    """Write rows into every table."""

    Identity(store, CLOCK, cost=CHEAP).create_person("olga", "Olga Demonstration", [Role.OPERATOR], "twelve letters or more", SYSTEM)
    for n in range(3):
        PatientVault(bytes(32)).record(store, f"P{n}", {"name": "Demonstration"}, actor=OPERATOR, device="ws")
        store.append(judged(n))
    store.checkpoint()
    store.append(judged(1, "467.3"))


FIGURES = (
    durable_append,
    durable_append_long,
    postgresql_append,
    group_append,
    verify_rate,
    verify_rate_two,
    verify_entries,
    verify_entries_two,
    mutations_missed,
    million_entries,
)
