"""`make bench`: figures of this machine with their peer in the same run, printed and written to bench/results.json."""

from __future__ import annotations

import functools
import json
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

from recipes.compile import compile_program
from recipes.library import CASES, load_demonstration, load_machine, load_recipe
from recipes.order import DoseOrder
from tests.benchmarks import Row, cell, planning, trail, ui
from tests.benchmarks.document import record_of_100
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


def _one(figure: Callable[[], Row]) -> Callable[[], list[Row]]:
    @functools.wraps(figure)
    def rows() -> list[Row]:
        return [figure()]

    return rows


def _name(figure: Callable[[], list[Row]]) -> str:
    """Where a figure is measured, by which it can be asked for alone: `ui.restart`, `trail.verify_rate`."""
    return f"{figure.__module__.rpartition('.')[2]}.{figure.__name__}"


FIGURES: tuple[Callable[[], list[Row]], ...] = (
    *map(_one, (demo_wall, dose_closure, *trail.FIGURES, cell.simulate)),
    cell.simulation,
    _one(cell.memory),
    streaming,
    corrected_mean_error,
    record_of_100,
    planning.plan_28,
    _one(planning.proof_rate),
    _one(planning.mutations),
    stop_latency,
    cell.stop_latency,
    ui.under_load,
    ui.first_page,
    ui.restart,
)


def main() -> int:
    """Measure all figures, or those whose names begin with an argument: `python -m tests.benchmarks ui trail.verify_rate`."""
    asked = tuple(sys.argv[1:])
    figures = [figure for figure in FIGURES if not asked or _name(figure).startswith(asked)]
    console = Console()
    if not figures:
        console.print(f"no such figure; there are: {', '.join(map(_name, FIGURES))}")
        return 2
    rows: list[Row] = []
    for figure in figures:
        for row in figure():
            rows.append(row)
            console.print(f"{row.name}: {row.value} {row.unit}")
    table = Table("figure", "value", "unit", "peer", "peer value", "ratio", title="Benchmarks")
    for row in rows:
        table.add_row(row.name, row.value, row.unit, row.peer, row.peer_value or "-", row.ratio or "-")
    console.print(table)
    if asked:
        return 0  # the file is of a whole run
    results = ROOT / "bench" / "results.json"
    results.parent.mkdir(exist_ok=True)
    results.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")
    console.print(f"written to {results.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
