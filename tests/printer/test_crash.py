"""A cell that dies at any moment, a disk that refuses, a power cut: the trail stays whole, nothing is printed twice, heaters go off.

`lives.py` stands in for the process; `test_kill.py` kills the real one, `test_crash_calibration.py` dies with a purge unit on the plate.
"""

from __future__ import annotations

import itertools
import random
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from lives import Life, assert_closed, assert_cold_and_still, intended, live, new_store, restart
from simulated_cell import SimulatedCell
from simulation import Scenario, build

from audit.events import EntryDraft, Subject
from audit.store import TrailStore
from printer.alarms import AlarmName
from printer.messages import Operation, Record, Recorded, RecordFailed
from printer.run import Phase

SCENARIO = Scenario(5, "minoxidil", 3, None, (), warm=True)


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Life:
    found = live(SCENARIO, tmp_path_factory.mktemp("life"))
    assert found.cell.machine.ended == "FINISHED"
    return found


def test_death_at_every_commit_and_at_random_moments(life: Life, tmp_path: Path) -> None:
    assert len(life.images) > 15
    for number, moment in enumerate(life.moments):
        store, interrupted = restart(life.image_at(moment, tmp_path / str(number)))
        assert interrupted is life.open_at(moment), moment.name
        assert len(intended(store)) == moment.begun
        assert_closed(store, life.run)


_DEATHS = 12


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
    kept: set[int] = field(default_factory=set)

    def answer(self, effect: Record) -> Recorded | RecordFailed:
        self.count += 1
        fails = self.count >= self.nth if self.for_good else self.count == self.nth
        if effect.token in self.kept:
            return RecordFailed(effect.token, "the head of the store has moved")
        if not fails or self.persisted:
            self.store.append(*effect.drafts)
            self.kept.add(effect.token)
        return RecordFailed(effect.token, "the disk is full") if fails else Recorded(effect.token)


def on_bad_disk(tmp_path: Path, nth: int, *, persisted: bool, for_good: bool) -> tuple[SimulatedCell, TrailStore]:
    store = new_store(tmp_path / "cell.db")
    disk = BadDisk(store, nth, persisted, for_good)
    cell = build(SCENARIO)

    def commit(record: Record) -> Recorded | RecordFailed:
        cell.entries += record.drafts
        return disk.answer(record)

    cell.commit = commit  # type: ignore[method-assign]
    cell.command(Operation.PREPARE)
    for _ in range(6_000):
        if cell.machine.phase is Phase.START:
            cell.command(Operation.START)
        if cell.machine.over:
            break
        cell.step()
    for _ in range(50):
        cell.step()
    return cell, store


def assert_safe(cell: SimulatedCell, store: TrailStore, tmp_path: Path) -> None:
    machine = cell.machine
    assert machine.over, "a record that fails ends the run"
    assert machine.ended in ("FAULTED", "ABORTED") or len(cell.verdicts()) == len(machine.plan.units), "nothing was left to print"
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
