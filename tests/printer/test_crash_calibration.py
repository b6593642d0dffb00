"""A cell that dies with a purge unit on the plate: it is closed as scrapped, must be taken off, and nothing is pressed out again."""

from __future__ import annotations

from pathlib import Path

import pytest
from lives import Life, Moment, assert_closed, assert_cold_and_still, intended, live, restart
from simulated_cell import SimulatedCell, signature
from simulation import Scenario

from api.status import PurgeStatus
from audit.checkpoint import SigningKey
from audit.events import SYSTEM, Actor, EntryDraft, EventKind, Subject
from audit.release import batch_record
from audit.release.conformity import Item, State
from audit.release.evidence import BatchEntries, gather
from audit.release.trail_view import TrailView
from audit.signatures import removal_digest
from audit.store import TrailStore
from printer.drafts import kind_for, printed
from printer.view import recorded_view

PURGE, UNIT = "B-1-R1/P1", "B-1-R1/001"


def first_unit_judged(cell: SimulatedCell) -> bool:
    return bool(cell.kinds("unit.weight.judged"))


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Life:
    """The start-up calibration and the first product unit."""
    return live(Scenario(5, "sildenafil", 1, None, (), warm=True), tmp_path_factory.mktemp("life"), first_unit_judged)


def committed(life: Life, kind: str) -> int:
    """The number of the commit that holds the first entry of a kind."""
    return next(n for n, drafts in enumerate(life.commits, start=1) if any(str(draft.kind) == kind for draft in drafts))


def deaths(life: Life) -> list[Moment]:
    """Before and after every commit from the intent to print the purge unit on, and between them."""
    return [moment for moment in life.moments if moment.commits >= committed(life, "calibration.print.intended")]


def expected(life: Life, moment: Moment) -> dict[str, str]:
    """What must be on record of each unit begun: as it was judged, or else as scrapped."""
    found = {}
    for unit, kind, verdict in ((PURGE, "calibration", "calibration"), (UNIT, "unit", "accepted")):
        if moment.commits >= committed(life, f"{kind}.print.intended"):
            found[unit] = verdict if moment.commits >= committed(life, f"{kind}.weight.judged") else "scrapped"
    return found


def verdicts(store: TrailStore) -> dict[str, str]:
    return {key: str(unit["verdict"]) for kind in ("calibration", "unit") for key, unit in store.objects(kind)}


def test_death_at_every_commit_leaves_the_purge_unit_closed_and_to_be_removed(life: Life, tmp_path: Path) -> None:
    seen = set()
    for number, moment in enumerate(deaths(life)):
        store, interrupted = restart(life.image_at(moment, tmp_path / str(number)))
        assert interrupted
        found = verdicts(store)
        assert found == expected(life, moment), moment.name
        assert len(intended(store)) == moment.begun == len(found)
        state = store.state("run", life.run)
        assert state is not None and state["ended"] == "INTERRUPTED"
        (shown,) = recorded_view(store, life.run, 0)["purge_units"]  # type: ignore[misc, union-attr]
        purge = PurgeStatus.model_validate(shown)
        assert (purge.unit, purge.needs_removal) == (PURGE, True)
        seen.add(tuple(found.items()))
        assert_closed(store, life.run)
    assert seen == {
        ((PURGE, "scrapped"),),
        ((PURGE, "calibration"),),
        ((PURGE, "calibration"), (UNIT, "scrapped")),
        ((PURGE, "calibration"), (UNIT, "accepted")),
    }


def test_after_death_at_every_commit_the_printer_is_cold_and_still(life: Life) -> None:
    for moment in deaths(life):
        if "commit" in moment.name:
            assert_cold_and_still(life, moment)


def closed_by_workstation(folder: Path, cell: TrailStore, run: str) -> list[bytes]:
    """What a workstation records of a batch whose run is over."""
    folder.mkdir()
    origin, clock = "workstation.crash.example", cell.clock
    with TrailStore.create(
        folder / "ws.db", origin=origin, key=SigningKey.generate(origin), clock=clock, software="test", demonstration=True
    ) as store:
        batch = Subject("batch", "B-1")
        store.append(EntryDraft(EventKind.BATCH_RECORD_CREATED, batch, {"status": "created", "run": run}, SYSTEM, "ws"))
        trail = TrailView(list(cell.lines()))
        new = {"status": "awaiting review", "cell_origin": trail.origin, "cell_size": trail.size, "cell_root": trail.root()}
        store.append(EntryDraft(EventKind.BATCH_RUN_CLOSED, batch, new, SYSTEM, "ws"))
        return list(store.lines())


def removal_evidence(workstation: list[bytes], cell: TrailStore) -> tuple[State, str]:
    entries = BatchEntries(TrailView(workstation), TrailView(list(cell.lines())), "B-1")
    (found,) = [evidence for evidence in gather(entries, ()) if evidence.item is Item.REMOVAL_CONFIRMED]
    return found.state, found.detail


def confirm_removal(cell: TrailStore, unit: str) -> None:
    signed = signature("pharmacist", "removal confirmed", removal_digest(unit))
    new = {"removed": True, "removal_method": "second person", "confirmed": signed.model_dump(mode="json")}
    subject = printed(unit)
    cell.append(EntryDraft(kind_for(subject, EventKind.UNIT_REMOVAL_CONFIRMED), subject, new, Actor("pharmacist", "", ""), "cell-1"))


@pytest.mark.parametrize("kind", ["calibration.print.intended", "calibration.weight.judged", "unit.print.intended", "unit.weight.judged"])
def test_release_waits_for_the_removal_of_the_purge_unit(life: Life, tmp_path: Path, kind: str) -> None:
    moment = next(moment for moment in life.moments if moment.commits == committed(life, kind))
    cell, _ = restart(life.image_at(moment, tmp_path / "cell"))
    workstation = closed_by_workstation(tmp_path / "ws", cell, life.run)
    for unit in (unit for unit, verdict in verdicts(cell).items() if unit != PURGE and verdict != "accepted"):
        confirm_removal(cell, unit)
    assert removal_evidence(workstation, cell) == (State.NOT_MET, f"{PURGE}: its removal is not confirmed")
    confirm_removal(cell, PURGE)
    assert removal_evidence(workstation, cell)[0] is State.MET
    record = batch_record.decide(list(workstation), list(cell.lines()), "B-1", "rejected", releaser="qp", role="qualified_person")
    assert batch_record.record_sha256(record), "an interrupted run can be signed"
    cell.close()
