"""Runs with every moment at which the process may die, and what must hold after each.

The process is stood in for by its files: the store is copied with its write-ahead log as it lies on the disk at that
moment, and opened again as a restarted cell opens it.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest
from simulated_cell import SimulatedCell
from simulation import Scenario, build

from audit.checkpoint import SigningKey
from audit.clock import GrantedClock
from audit.events import Entry, EntryDraft
from audit.store import TrailStore
from audit.verify import verify_store
from hil_tests.virtual_bench import VirtualBench
from printer.messages import Operation, Record, RunEffect, RunInput
from printer.ports import STOP
from printer.recovery import plan_recovery
from printer.run import Phase
from printer.states import RunState
from printer.view import recorded_view

KEY = SigningKey.generate("cell/crash")
ORIGIN = "crash.example/cell-1"


@dataclass(slots=True)
class Moment:
    """A moment at which the process may die: process time, commits done by then, bytes written by then, units begun."""

    name: str
    now: int
    commits: int
    written: int
    begun: int


@dataclass(slots=True)
class Life:
    """One run, or its beginning, with the store's files after every commit."""

    images: list[Path]
    moments: list[Moment]
    cell: SimulatedCell
    scenario: Scenario
    commits: list[tuple[EntryDraft, ...]]

    @property
    def run(self) -> str:
        return self.cell.machine.plan.run

    def open_at(self, moment: Moment) -> bool:
        """Whether a run was open, by what had been committed."""
        closed = len(self.images) - 1 if self.cell.machine.phase is Phase.DONE else len(self.images)
        return 0 < moment.commits < closed

    def image_at(self, moment: Moment, folder: Path) -> Path:
        """A copy of the store as it lay on the disk at that moment, in `folder`."""
        return shutil.copytree(self.images[moment.commits].parent, folder) / "cell.db"

    def bench_at(self, moment: Moment) -> VirtualBench:
        """The same bench, given the same bytes up to that moment."""
        bench = build(self.scenario).bench
        for at, port, data, _ in self.cell.written[: moment.written]:
            bench.step(at)
            bench.receive(port.value, data)
        bench.step(moment.now)
        return bench


def new_store(path: Path) -> TrailStore:
    return TrailStore.create(path, origin=ORIGIN, key=KEY, clock=clock(), software="test", demonstration=True)


def open_store(path: Path) -> TrailStore:
    return TrailStore.open(path, key=KEY, clock=clock(), software="test")


def clock() -> GrantedClock:
    return GrantedClock(Decimal(1), "UTC", "unknown")


def image_of(store: Path, folder: Path) -> Path:
    """Copy the store's files as they lie on the disk while it is open."""
    folder.mkdir()
    for suffix in ("", "-wal"):
        source = store.with_name(store.name + suffix)
        if source.exists():
            shutil.copyfile(source, folder / source.name)
    return folder / store.name


def live(scenario: Scenario, folder: Path, until: Callable[[SimulatedCell], bool] = lambda cell: cell.machine.phase is Phase.DONE) -> Life:
    """Live through a batch `until`, keeping every moment at which it might have died; all its commits are kept in `folder`."""
    path = folder / "cell.db"
    store = new_store(path)
    cell = build(scenario)
    images = [image_of(path, folder / "image-0")]
    moments: list[Moment] = []
    commits: list[tuple[EntryDraft, ...]] = []

    def look(name: str) -> None:
        begun = sum(str(draft.kind).endswith(".print.intended") for draft in cell.entries)
        moments.append(Moment(name, cell.now, len(images) - 1, len(cell.written), begun))

    execute = cell._execute

    def kept(effect: RunEffect) -> list[RunInput]:
        if isinstance(effect, Record):
            look(f"before commit {len(images)}")
            store.append(*effect.drafts)
            commits.append(tuple(effect.drafts))
            images.append(image_of(path, folder / f"image-{len(images)}"))
            answers = execute(effect)
            look(f"after commit {len(images) - 1}")
            return answers
        return execute(effect)

    cell._execute = kept  # type: ignore[method-assign]
    draw = random.Random("moments")
    cell.command(Operation.PREPARE)
    while not until(cell):
        if cell.machine.phase is Phase.START:
            cell.command(Operation.START)
        cell.step()
        if draw.random() < 0.02:
            look(f"at {cell.now / 1e6:.1f} s")
    store.close()
    return Life(images, moments, cell, scenario, commits)


def restart(image: Path) -> tuple[TrailStore, bool]:
    """What a cell does first: open the store, close what is open."""
    store = open_store(image)
    recovery = plan_recovery(store, "cell-1")
    store.append(*recovery.drafts)
    assert plan_recovery(store, "cell-1").drafts == (), "what was closed stays closed"
    return store, recovery.interrupted


def intended(store: TrailStore) -> list[Entry]:
    """The intents to print a purge unit, a unit or a part of one, in order."""
    kinds = ("calibration.print.intended", "unit.print.intended", "part.print.intended")
    return [entry for kind in kinds for entry in store.search(kind=kind, limit=1000)]


def assert_closed(store: TrailStore, run: str) -> None:
    """The run awaits its review, every unit and purge unit that was begun has its end, the trail verifies and the run can be shown."""
    state = store.state("run", run)
    if state is not None:
        assert state["state"] == RunState.AWAITING_REVIEW.value
        assert recorded_view(store, run, 0)["state"] == RunState.AWAITING_REVIEW.value
    assert all(unit["state"] == "judged" for kind in ("calibration", "unit", "part") for _, unit in store.objects(kind))
    intents = [entry.subject.id for entry in intended(store)]
    assert len(intents) == len(set(intents))
    path = store.path
    store.close()
    report = verify_store(path, [KEY.verifier])
    assert report.findings == ()
    assert report.signer_established


def assert_cold_and_still(life: Life, moment: Moment) -> None:
    bench = life.bench_at(moment)
    pushed = [patch.plunger_uL for patch in bench.plant.patches]
    assert len(pushed) <= moment.begun, "no unit lies on the plate without its intent on record"
    if life.open_at(moment):
        bench.receive("printer", STOP)
    bench.step(bench.now + 30_000_000)
    assert (bench.printer.nozzle.target, bench.printer.bed.target) == (0.0, 0.0), moment.name
    after = [patch.plunger_uL for patch in bench.plant.patches]
    # What the firmware had planned goes with the stop; no unit grows by more than the move under way, none begins.
    assert len(after) == len(pushed)
    assert after == pytest.approx(pushed, abs=1.0), moment.name
