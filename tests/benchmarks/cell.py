"""Figures of the cell: a simulated batch, the deep simulation's counts, memory, and the stop through a whole cell."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from simulated_cell import SimulatedCell, admitted, demonstration_job
from simulation import rate_and_bound, tallied

from api.demo_register import CLEANING_METHOD
from api.processes import Children, read_bench, start_bench, start_cell, wait_for_file
from api.site import CELL, create_site, write_cell_configuration
from hil_tests.cases import bench_for
from hil_tests.virtual_bench import VirtualBench
from printer.cell_client import CellClient
from printer.run import RunMachine
from recipes.library import load_recipe, recipe_bytes
from tests.benchmarks import Row
from tests.benchmarks.cell_stop import BROWSERS, CASE, OPERATOR, UNITS, job, measure, trust_benchmark, until
from tests.cell_address import address_of

SEEDS = range(300, 420)
IDLE_TRIALS, WATCHED_TRIALS = 200, 60


def simulate() -> Row:
    """One batch of thirty units in virtual time; the time of the whole, on one core."""
    cell = SimulatedCell(RunMachine(admitted(demonstration_job("hydrocortisone")).plan), VirtualBench(bench_for("hydrocortisone")))
    began, spent = time.perf_counter(), time.process_time()
    cell.run()
    wall, spent = time.perf_counter() - began, time.process_time() - spent
    text = f"none: {cell.now / 1e6:.0f} virtual seconds, pressure at 100 Hz, {spent:.2f} s of CPU; target 2 s"
    return Row("cell.simulate_30_units_s", f"{wall:.2f}", "s", text, None, None)


def simulation() -> list[Row]:
    """A part of the deep simulation's seeds; `make deep` has all of them."""
    result, _ = tallied(SEEDS, os.cpu_count() or 1)
    rate, bound = rate_and_bound(result.false_alarms, result.watched_units)
    seeds = f"seeds {SEEDS.start} to {SEEDS.stop - 1}"
    watched = f"{seeds}, {result.watched_units} good units before any fault; below {bound:.1f} at 95 % confidence; target at most 1"
    accepted = sum(outcome.accepted for outcome in result.outcomes)
    return [
        Row("cell.false_alarms_per_1000_units", f"{rate:.2f}", "1/1000", f"none: {watched}", None, None),
        Row("cell.bad_units_accepted", str(result.bad_accepted), "", f"none: {seeds}, {accepted} units accepted; target 0", None, None),
    ]


def memory() -> Row:
    """The most that a cell process has held in memory by the end of a batch of fourteen units over real ports."""
    with tempfile.TemporaryDirectory(prefix="dosewright-memory-") as name:
        folder = Path(name) / "site"
        create_site(folder)
        trust_benchmark(folder)
        with Children(folder / "logs") as children:
            child, ready = start_bench(
                children, folder / "bench.json", case=CASE, fault=None, rate="400", seed=1, truth=folder / "truth.json"
            )
            write_cell_configuration(folder, machine=load_recipe(CASE).machine, bench=read_bench(child, ready))
            cell = start_cell(children, folder)
            wait_for_file(folder / CELL / "address.json", cell, 30.0)
            client = CellClient(address_of(folder, CELL), timeout_s=30.0)
            client.record_cleaning(OPERATOR, CLEANING_METHOD)
            run = str(client.create_run(job(1, recipe_bytes(CASE)))["run"])
            until(client, "READY")
            client.start(run, OPERATOR)
            status = until(client, "AWAITING_REVIEW", 300.0)
            peak = resident_peak_mb(cell.pid)
            client.close()
    units = status["units"]
    printed = sum(isinstance(unit, dict) and unit["verdict"] == "accepted" for unit in units) if isinstance(units, list) else 0
    if printed != UNITS:
        raise RuntimeError(f"{printed} of {UNITS} units accepted: {status['ended']}")
    return Row("cell.rss_mb", f"{peak:.0f}", "MB", f"none: peak of the cell's process, {UNITS} units over real ports", None, None)


def resident_peak_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("the kernel does not say how much memory a process has held")


def stop_latency() -> list[Row]:
    """From the last byte of the pressure line that crosses the limit to the first byte of the stop, at the cell's terminals."""
    rows = []
    for name, trials, browsers, apart, target in (
        ("cell.stop_idle_p99_ms", IDLE_TRIALS, 0, True, "target 2 ms"),
        ("cell.stop_8_browsers_p99_ms", WATCHED_TRIALS, BROWSERS, True, "browsers leave the first processor free, target 15 ms"),
        ("cell.stop_8_browsers_anywhere_p99_ms", WATCHED_TRIALS, BROWSERS, False, "browsers on every processor, no target"),
    ):
        try:
            found = measure(trials, browsers, apart=apart)
        except FileNotFoundError as error:
            rows.append(Row(name, "not run", "", str(error), None, None))
            continue
        text = f"none: {trials} runs stopped, {found.text}; load average {os.getloadavg()[0]:.1f} at the end; {target}"
        rows.append(Row(name, f"{found.p99_ms:.3f}", "ms", text, None, None))
    return rows
