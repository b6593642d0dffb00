"""`make bench`: figures of this machine with their peer in the same run, printed and written to bench/results.json."""

from __future__ import annotations

import json
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path

from rich.console import Console
from rich.table import Table

from audit.checkpoint import SigningKey
from audit.clock import SystemClock
from audit.events import SYSTEM, EntryDraft, EventKind, Subject
from audit.store import TrailStore
from audit.verify import verify_store
from recipes.compile import compile_program
from recipes.library import CASES, load_demonstration, load_machine, load_recipe
from recipes.order import DoseOrder
from tests.benchmarks import Row, cell, planning
from tests.benchmarks.dose import corrected_mean_error
from tests.benchmarks.link import stop_latency, streaming

ROOT = Path(__file__).resolve().parents[2]
TODAY = "2026-11-20"


def demo_wall() -> Row:
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "api.cli", "demo", "--dir", f"{folder}/demo"], check=True, stdout=subprocess.DEVNULL, cwd=ROOT
        )
        return Row("demo.wall_s", f"{time.perf_counter() - began:.1f}", "s", "none: nothing else does this job", None, None)


def dose_closure() -> Row:
    worst = Decimal(0)
    for case in CASES:
        recipe = load_recipe(case)
        prescription, ink, cartridge = load_demonstration(case, TODAY)
        order = DoseOrder.create("O-1", recipe=recipe, ink=ink, cartridge=cartridge, prescription=prescription)
        program = compile_program(
            order=order,
            recipe=recipe,
            ink=ink,
            cartridge=cartridge,
            machine=load_machine(recipe.machine),
            today=TODAY,
            demonstration=True,
        )
        for unit in program.units:
            worst = max(worst, abs(unit.net_volume.ratio(unit.target_volume) - 1) * 100)
    return Row("dose.closure_max_percent", f"{worst:.5f}", "%", "none: the slicers' error is in dose.error_28_percent", None, None)


def _drafts(count: int) -> list[EntryDraft]:
    return [
        EntryDraft(
            kind=EventKind.RUN_STATE_CHANGED,
            subject=Subject("run", f"B-{n % 50}-R1"),
            new={"state": "PRINTING", "count": n},
            actor=SYSTEM,
            device="cell-1",
            reason="benchmark",
        )
        for n in range(count)
    ]


def _appends(folder: Path, count: int) -> tuple[float, list[bytes]]:
    key = SigningKey.generate("bench.store")
    path = folder / "store.db"
    store = TrailStore.create(path, origin="bench.store", key=key, clock=SystemClock(), software="bench", demonstration=True)
    drafts = _drafts(count)
    began = time.perf_counter()
    for draft in drafts:
        store.append(draft)
    rate = count / (time.perf_counter() - began)
    lines = list(store.lines())
    store.close()
    return rate, lines


def _bare_commits(folder: Path, lines: list[bytes]) -> float:
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE entries (seq INTEGER PRIMARY KEY, canonical BLOB)")
    began = time.perf_counter()
    for seq, line in enumerate(lines):
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO entries VALUES (?, ?)", (seq, line))
        connection.execute("COMMIT")
    rate = len(lines) / (time.perf_counter() - began)
    connection.close()
    return rate


def durable_append() -> Row:
    ours, bare = [], []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as name:
            rate, lines = _appends(Path(name), 2000)
            ours.append(rate)
            bare.append(_bare_commits(Path(name), lines))
    value, peer = statistics.median(ours), statistics.median(bare)
    return Row("trail.durable_append_per_s", f"{value:.0f}", "1/s", "bare SQLite commits", f"{peer:.0f}", f"{value / peer:.2f}")


def verify_rate() -> Row:
    with tempfile.TemporaryDirectory() as name:
        _, lines = _appends(Path(name), 10_000)
        began = time.perf_counter()
        report = verify_store(Path(name) / "store.db", ())
        rate = len(lines) / (time.perf_counter() - began)
        if report.findings:
            raise RuntimeError(f"a fresh store does not verify: {report.findings[0]}")
    return Row("trail.verify_per_s", f"{rate:.0f}", "1/s", "none: whole-store check, projections rebuilt", None, None)


def _one(figure: Callable[[], Row]) -> Callable[[], list[Row]]:
    return lambda: [figure()]


FIGURES: tuple[Callable[[], list[Row]], ...] = (
    *(_one(figure) for figure in (demo_wall, dose_closure, durable_append, verify_rate, cell.simulate)),
    cell.simulation,
    _one(cell.memory),
    streaming,
    corrected_mean_error,
    planning.plan_28,
    _one(planning.proof_rate),
    _one(planning.mutations),
    stop_latency,
    cell.stop_latency,
)


def main() -> int:
    console = Console()
    rows: list[Row] = []
    for figure in FIGURES:
        for row in figure():
            rows.append(row)
            console.print(f"{row.name}: {row.value} {row.unit}")
    table = Table("figure", "value", "unit", "peer", "peer value", "ratio", title="Benchmarks")
    for row in rows:
        table.add_row(row.name, row.value, row.unit, row.peer, row.peer_value or "-", row.ratio or "-")
    console.print(table)
    results = ROOT / "bench" / "results.json"
    results.parent.mkdir(exist_ok=True)
    results.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")
    console.print(f"written to {results.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
