"""A cell that dies at any moment, a disk that refuses, a power cut: the trail stays whole, nothing is printed twice, heaters go off.

The process is stood in for by its files: the store is copied with its write-ahead log as it lies on the disk at that
moment, and opened again as a restarted cell opens it. `test_kill.py` kills the real process.
"""

from __future__ import annotations

import itertools
import random
import shutil
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest
from simulated_cell import SimulatedCell
from simulation import Scenario, build

from audit.checkpoint import SigningKey
from audit.clock import GrantedClock
from audit.events import EntryDraft, Subject
from audit.store import TrailStore
from audit.verify import verify_store
from hil_tests.virtual_bench import VirtualBench
from printer.alarms import AlarmName
from printer.messages import Operation, Record, Recorded, RecordFailed, RunEffect, RunInput
from printer.ports import STOP
from printer.recovery import plan_recovery
from printer.run import Phase
from printer.states import RunState
from printer.view import recorded_view

KEY = SigningKey.generate("cell/crash")
ORIGIN = "crash.example/cell-1"
SCENARIO = Scenario(5, "minoxidil", 3, None, (), warm=True)


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
    """One run with the store's files after every commit."""

    images: list[Path]
    moments: list[Moment]
    cell: SimulatedCell

    @property
    def run(self) -> str:
        return self.cell.machine.plan.run

    def bench_at(self, moment: Moment) -> VirtualBench:
        """The same bench, given the same bytes up to that moment."""
        bench = build(SCENARIO).bench
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


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Life:
    """Live through one batch, keeping every moment at which it might have died."""
    folder = tmp_path_factory.mktemp("life")
    path = folder / "cell.db"
    store = new_store(path)
    cell = build(SCENARIO)
    images = [image_of(path, folder / "image-0")]
    moments: list[Moment] = []

    def look(name: str) -> None:
        begun = sum(str(draft.kind) == "unit.print.intended" for draft in cell.entries)
        moments.append(Moment(name, cell.now, len(images) - 1, len(cell.written), begun))

    execute = cell._execute

    def live(effect: RunEffect) -> list[RunInput]:
        if isinstance(effect, Record):
            look(f"before commit {len(images)}")
            store.append(*effect.drafts)
            images.append(image_of(path, folder / f"image-{len(images)}"))
            answers = execute(effect)
            look(f"after commit {len(images) - 1}")
            return answers
        return execute(effect)

    cell._execute = live  # type: ignore[method-assign]
    draw = random.Random("moments")
    cell.command(Operation.PREPARE)
    while cell.machine.phase is not Phase.DONE:
        if cell.machine.phase is Phase.START:
            cell.command(Operation.START)
        cell.step()
        if draw.random() < 0.02:
            look(f"at {cell.now / 1e6:.1f} s")
    store.close()
    assert cell.machine.ended == "FINISHED"
    return Life(images, moments, cell)


def restart(image: Path) -> tuple[TrailStore, bool]:
    """What a cell does first: open the store, close what is open."""
    store = open_store(image)
    recovery = plan_recovery(store, "cell-1")
    store.append(*recovery.drafts)
    assert plan_recovery(store, "cell-1").drafts == (), "what was closed stays closed"
    return store, recovery.interrupted


def assert_closed(store: TrailStore, run: str) -> None:
    """The run awaits its review, every unit that was begun has its end, the trail verifies and the run can be shown."""
    state = store.state("run", run)
    if state is not None:
        assert state["state"] == RunState.AWAITING_REVIEW.value
        assert recorded_view(store, run, 0)["state"] == RunState.AWAITING_REVIEW.value
    units = [unit for _, unit in store.objects("unit")]
    assert all(unit["state"] == "judged" for unit in units)
    intents = [entry.subject.id for entry in store.search(kind="unit.print.intended", limit=1000)]
    assert len(intents) == len(set(intents))
    path = store.path
    store.close()
    report = verify_store(path, [KEY.verifier])
    assert report.findings == ()
    assert report.signer_established


def test_death_at_every_commit_and_at_random_moments(life: Life, tmp_path: Path) -> None:
    assert len(life.images) > 15
    for number, moment in enumerate(life.moments):
        image = shutil.copytree(life.images[moment.commits].parent, tmp_path / str(number)) / "cell.db"
        store, interrupted = restart(image)
        assert interrupted is (store.state("run", life.run) is not None and moment.commits < len(life.images) - 1), moment.name
        assert len(list(store.search(kind="unit.print.intended", limit=1000))) == moment.begun
        assert_closed(store, life.run)


_DEATHS = 12


def assert_cold_and_still(life: Life, moment: Moment) -> None:
    bench = life.bench_at(moment)
    pushed = [patch.plunger_uL for patch in bench.plant.patches]
    assert len(pushed) <= moment.begun, "no unit lies on the plate without its intent on record"
    if 0 < moment.commits < len(life.images) - 1:
        bench.receive("printer", STOP)
    bench.step(bench.now + 30_000_000)
    assert (bench.printer.nozzle.target, bench.printer.bed.target) == (0.0, 0.0), moment.name
    after = [patch.plunger_uL for patch in bench.plant.patches]
    # What the firmware had planned goes with the stop; no unit grows by more than the move under way, none begins.
    assert len(after) == len(pushed)
    assert after == pytest.approx(pushed, abs=1.0), moment.name


@pytest.mark.parametrize("share", range(_DEATHS))
def test_after_death_the_printer_is_cold_and_still(life: Life, share: int) -> None:
    assert_cold_and_still(life, life.moments[share * (len(life.moments) - 1) // (_DEATHS - 1)])


@pytest.mark.deep
def test_after_death_at_every_moment_the_printer_is_cold_and_still(life: Life) -> None:
    for moment in life.moments:
        assert_cold_and_still(life, moment)


@pytest.mark.parametrize("seed", range(12))
def test_a_power_cut_loses_a_tail_and_never_the_middle(life: Life, tmp_path: Path, seed: int) -> None:
    """A disk that lied about its last writes: the write-ahead log ends anywhere, and may end in rubbish."""
    draw = random.Random(f"power:{seed}")
    source = life.images[draw.randrange(1, len(life.images))]
    image = shutil.copytree(source.parent, tmp_path / "cut") / "cell.db"
    log = image.with_name("cell.db-wal")
    whole = log.read_bytes()
    kept = draw.randrange(len(whole) + 1)
    log.write_bytes(whole[:kept] + draw.randbytes(draw.choice((0, 0, 100, 5000))))
    store, _ = restart(image)
    assert_closed(store, life.run)


@dataclass(slots=True)
class BadDisk:
    """Commits to a real store; from the nth on (or at it alone) it fails, before or after the commit has taken hold."""

    store: TrailStore
    nth: int
    persisted: bool
    for_good: bool
    count: int = 0

    def answer(self, effect: Record) -> list[RunInput]:
        self.count += 1
        fails = self.count >= self.nth if self.for_good else self.count == self.nth
        if not fails or self.persisted:
            self.store.append(*effect.drafts)
        return [RecordFailed(effect.token, "the disk is full") if fails else Recorded(effect.token)]


def on_bad_disk(tmp_path: Path, nth: int, *, persisted: bool, for_good: bool) -> tuple[SimulatedCell, TrailStore]:
    store = new_store(tmp_path / "cell.db")
    disk = BadDisk(store, nth, persisted, for_good)
    cell = build(SCENARIO)
    execute = cell._execute

    def kept(effect: RunEffect) -> list[RunInput]:
        if isinstance(effect, Record):
            cell.entries += effect.drafts
            return disk.answer(effect)
        return execute(effect)

    cell._execute = kept  # type: ignore[method-assign]
    cell.command(Operation.PREPARE)
    for _ in range(6_000):
        if cell.machine.phase is Phase.START:
            cell.command(Operation.START)
        if cell.machine.over and cell.machine.phase is not Phase.WIRE:
            break
        cell.step()
    return cell, store


def assert_safe(cell: SimulatedCell, store: TrailStore, tmp_path: Path) -> None:
    machine = cell.machine
    assert machine.over, "a record that fails ends the run"
    assert machine.ended in ("FAULTED", "ABORTED") or machine.phase in (Phase.CLOSING, Phase.DONE)
    before = [patch.plunger_uL for patch in cell.bench.plant.patches]
    for _ in range(50):
        cell.step()
    assert [patch.plunger_uL for patch in cell.bench.plant.patches] == pytest.approx(before, abs=0.5)
    assert cell.bench.printer.nozzle.target == 0.0
    store.close()
    again, _ = restart(tmp_path / "cell.db")
    accepted = {unit["n"] for _, unit in again.objects("unit") if unit.get("verdict") == "accepted"}
    assert accepted <= {n for n, verdict in cell.verdicts().items() if verdict == "accepted"}
    assert_closed(again, machine.plan.run)


MODES = list(itertools.product((False, True), (False, True)))
_SOME, _ALL = (1, 3, 8, 9, 10, 12, 16), range(1, 19)


@pytest.mark.parametrize(("persisted", "for_good"), MODES)
@pytest.mark.parametrize("nth", _SOME)
def test_a_disk_that_refuses(tmp_path: Path, nth: int, persisted: bool, for_good: bool) -> None:
    cell, store = on_bad_disk(tmp_path, nth, persisted=persisted, for_good=for_good)
    assert AlarmName.RECORD_FAILURE in [alarm.definition.name for alarm in cell.machine.alarms.alarms]
    assert_safe(cell, store, tmp_path)


@pytest.mark.deep
@pytest.mark.parametrize(("persisted", "for_good"), MODES)
@pytest.mark.parametrize("nth", sorted(set(_ALL) - set(_SOME)))
def test_a_disk_that_refuses_at_every_commit(tmp_path: Path, nth: int, persisted: bool, for_good: bool) -> None:
    cell, store = on_bad_disk(tmp_path, nth, persisted=persisted, for_good=for_good)
    assert_safe(cell, store, tmp_path)


def test_a_refused_intent_leaves_a_unit_that_can_be_read(tmp_path: Path) -> None:
    """The entry that gives the unit up stands alone where its intent was not kept: it says which unit it is."""
    intents: list[EntryDraft] = []
    for nth in range(6, 11):
        folder = tmp_path / str(nth)
        folder.mkdir()
        cell, store = on_bad_disk(folder, nth, persisted=False, for_good=False)
        scrapped = cell.kinds("unit.print.scrapped")
        intended = list(store.search(kind="unit.print.intended", limit=10))
        if scrapped and not intended:
            intents += scrapped
            state = store.state("unit", scrapped[0].subject.id)
            assert state is not None
            assert state["target_mass_mg"] == cell.machine.plan.units[0].target_mass.text
            assert (state["run"], state["n"], state["verdict"]) == (cell.machine.plan.run, 1, "scrapped")
            assert scrapped[0].subject == Subject("unit", f"{cell.machine.plan.run}/001")
        store.close()
    assert intents, "one of these commits is the intent of the first unit"
