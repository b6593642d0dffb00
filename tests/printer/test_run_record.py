"""Whatever cannot be written at its time: what happened is in the trail in the end, once, and in its order."""

from __future__ import annotations

from dataclasses import replace

import pytest
from simulated_cell import SimulatedCell
from simulation import Scenario, build, simulate

from audit.events import EventKind
from printer.alarms import AlarmName
from printer.messages import Operation, Record, Recorded, RecordFailed, RecordLate
from printer.run import Phase

SCENARIO = Scenario(1, "minoxidil", 3, None, (), warm=True)
STOPPED = Scenario(4498, "cyclophosphamide", 3, None, ((102_762_661, Operation.STOP_KILL),), warm=True)
LAST = 18
"""The closing record of `SCENARIO` is the eighteenth."""


@pytest.mark.parametrize("nth", range(1, LAST + 1))
def test_any_one_commit_may_fail(nth: int) -> None:
    assert simulate(replace(SCENARIO, fault=f"disk_full:{nth}")).wrong == []


@pytest.mark.parametrize("nth", range(10, 17))
def test_any_one_commit_may_fail_while_a_person_stops(nth: int) -> None:
    assert simulate(replace(STOPPED, fault=f"disk_full:{nth}")).wrong == []


def begun(cell: SimulatedCell) -> SimulatedCell:
    cell.command(Operation.PREPARE)
    while cell.machine.phase is not Phase.START:
        cell.step()
    cell.command(Operation.START)
    return cell


def test_what_was_lost_comes_before_what_its_loss_led_to() -> None:
    cell = build(SCENARIO)
    refused = []

    def refuse(record: Record) -> bool:
        pausing = any(draft.new.get("command") == "pause" for draft in record.drafts)
        refused.append(record) if pausing and not refused else None
        return refused == [record]

    cell.refuse_record = refuse
    begun(cell)
    while not cell.machine.cycle.moving:
        cell.step()
    cell.command(Operation.PAUSE, "lunch")
    while cell.machine.phase is not Phase.DONE:
        cell.step()
    kinds = [(str(entry.kind), entry.new.get("state") or entry.new.get("command")) for entry in cell.entries]
    at = kinds.index(("run.command.received", "pause"))
    assert kinds[at + 1] == ("run.state.changed", "PAUSING")
    assert kinds[at + 2][0] == "alarm.condition.raised"
    assert ("run.state.changed", "FAULTED") in kinds[at:] and kinds.count(("run.command.received", "pause")) == 1
    assert cell.entries[at].reason == "lunch"


class SlowDisk:
    """Says nothing of one record until it is told to."""

    def __init__(self, cell: SimulatedCell, kind: EventKind) -> None:
        self.kind = kind
        self.held: Record | None = None
        self._cell, self._commit = cell, cell.commit
        cell.commit = self.commit  # type: ignore[assignment,method-assign]

    def commit(self, record: Record) -> Recorded | RecordFailed | RecordLate:
        if self.held is None and any(draft.kind is self.kind for draft in record.drafts):
            self.held = record
            return RecordLate(record.token, "no commit within 10 s")
        return self._commit(record)

    def answer(self, *, committed: bool) -> None:
        assert self.held is not None
        if committed:
            self._cell.entries += self.held.drafts
        self._cell.give(Recorded(self.held.token) if committed else RecordFailed(self.held.token, "the disk is full"))


@pytest.mark.parametrize("committed", [True, False])
def test_a_verdict_that_is_late_stops_the_run_and_counts_only_if_it_is_committed(committed: bool) -> None:
    cell = build(SCENARIO)
    disk = SlowDisk(cell, EventKind.UNIT_WEIGHT_JUDGED)
    begun(cell)
    while disk.held is None:
        cell.step()
    for _ in range(100):
        cell.step()
    assert [alarm.definition.name for alarm in cell.machine.alarms.alarms] == [AlarmName.RECORD_FAILURE]
    assert (cell.machine.phase, cell.machine.record.unwritten) == (Phase.WIRE, "no commit within 10 s"), "it is closed when it is known"
    disk.answer(committed=committed)
    cell.step()
    assert cell.machine.phase is Phase.DONE and cell.machine.record.unwritten is None
    ends = [(str(entry.kind), entry.new["verdict"]) for entry in cell.entries if entry.kind in (disk.kind, EventKind.UNIT_PRINT_SCRAPPED)]
    assert ends == ([("unit.weight.judged", "accepted")] if committed else [("unit.print.scrapped", "scrapped")])
    assert cell.machine.cycle.verdicts[1][0] == ends[0][1]
    assert cell.entries[-1].kind is EventKind.RUN_RECORD_CLOSED
