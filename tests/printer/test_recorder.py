"""The thread that owns the store: what is insisted on is committed once, however often that fails before."""

from __future__ import annotations

import queue
from dataclasses import replace
from typing import Any

import pytest
from simulated_cell import SimulatedCell, simulated
from simulation import Scenario, build

from audit.events import EntryDraft, EventKind, Subject
from printer.messages import CELL, Operation, Record, Recorded, RecordFailed
from printer.recorder import Recorder
from printer.run import Phase

CLOSED = EntryDraft(EventKind.RUN_RECORD_CLOSED, Subject("run", "B-1-R1"), {"state": "closed"}, CELL, "cell-1")


class FullDisk:
    """A store that refuses its first commits."""

    def __init__(self, refuses: int) -> None:
        self.refuses = refuses
        self.asked = 0
        self.committed: list[EntryDraft] = []

    def append(self, *drafts: EntryDraft) -> list[Any]:
        self.asked += 1
        if self.asked <= self.refuses:
            raise OSError("no space left on device")
        self.committed += drafts
        return []


def told(store: FullDisk, record: Record, *, again_s: float, answers: int) -> list[Recorded | RecordFailed]:
    said: queue.SimpleQueue[Recorded | RecordFailed] = queue.SimpleQueue()
    recorder = Recorder(store, said.put, again_s)  # type: ignore[arg-type]
    recorder.record(record)
    found = [said.get(timeout=20) for _ in range(answers)]
    recorder.close()
    while not said.empty():
        found.append(said.get())
    return found


def test_what_is_insisted_on_is_tried_until_it_is_committed_and_each_failure_is_told() -> None:
    store = FullDisk(3)
    found = told(store, Record(7, (CLOSED,), insist=True), again_s=0.001, answers=4)
    assert [type(answer) for answer in found] == [RecordFailed] * 3 + [Recorded]
    assert {answer.token for answer in found} == {7}
    assert store.committed == [CLOSED]


def test_anything_else_is_tried_once() -> None:
    store = FullDisk(1)
    assert [type(answer) for answer in told(store, Record(7, (CLOSED,)), again_s=0.001, answers=1)] == [RecordFailed]
    assert (store.asked, store.committed) == (1, [])


def test_no_record_overtakes_one_that_is_insisted_on() -> None:
    store = FullDisk(3)
    said: queue.SimpleQueue[Recorded | RecordFailed] = queue.SimpleQueue()
    recorder = Recorder(store, said.put, 3600.0)  # type: ignore[arg-type]
    raised = replace(CLOSED, kind=EventKind.ALARM_CONDITION_RAISED)
    for record in (Record(6, (raised,), insist=True), Record(7, (CLOSED,), insist=True), Record(8, (CLOSED,))):
        recorder.record(record)
    recorder.close()
    assert store.committed == [raised, CLOSED]
    answers = [said.get() for _ in range(said.qsize())]
    assert [answer.token for answer in answers if isinstance(answer, Recorded)] == [6, 7]
    assert [answer.token for answer in answers if isinstance(answer, RecordFailed)] == [6, 6, 7, 6, 8]


def test_at_its_end_a_recorder_tries_once_more() -> None:
    store = FullDisk(1)
    found = told(store, Record(7, (CLOSED,), insist=True), again_s=3600.0, answers=1)
    assert [type(answer) for answer in found] == [RecordFailed, Recorded]
    assert store.committed == [CLOSED]


def closing_refused(cell: SimulatedCell, times: int) -> SimulatedCell:
    """Run a batch whose closing record fails so many times."""
    left = times

    def refuse(record: Record) -> bool:
        nonlocal left
        closing = any(draft.kind is EventKind.RUN_RECORD_CLOSED for draft in record.drafts)
        left -= closing
        return closing and left >= 0

    cell.refuse_record = refuse
    cell.command(Operation.PREPARE)
    while cell.machine.phase is not Phase.CLOSING:
        if cell.machine.phase is Phase.START:
            cell.command(Operation.START)
        cell.step()
    return cell


def test_a_run_whose_closing_cannot_be_written_says_so_and_is_closed_once_it_can() -> None:
    cell = closing_refused(build(Scenario(1, "minoxidil", 3, None, (), warm=True)), 1)
    assert (cell.machine.ended, cell.machine.record.unwritten) == ("FINISHED", "the disk is full")
    assert [verdict for verdict, _, _ in cell.machine.cycle.verdicts.values()] == ["accepted"] * 3
    cell.step()
    assert cell.machine.phase is Phase.DONE and cell.machine.record.unwritten is None
    assert [entry.kind for entry in cell.entries].count(EventKind.RUN_RECORD_CLOSED) == 1
    assert cell.entries[-1].kind is EventKind.RUN_RECORD_CLOSED


@pytest.mark.parametrize("fault", [None, "clog_sudden:1"])
def test_units_that_were_good_stay_so_and_bad_ones_too(fault: str | None) -> None:
    plain = simulated("minoxidil", *([fault] if fault else []))
    plain.run()
    late = closing_refused(simulated("minoxidil", *([fault] if fault else [])), 1)
    late.step()
    assert dict(late.verdicts()) == dict(plain.verdicts()) and late.machine.ended == plain.machine.ended
