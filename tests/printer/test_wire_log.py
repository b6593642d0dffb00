"""The wire log of a run on a disk that is full, slow or holds a file already: the run stops, and its record is closed in the end."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from simulated_cell import OPERATOR, demonstration_job, plan_of

from audit.checkpoint import SigningKey
from audit.clock import SystemClock
from audit.events import EventKind
from audit.store import TrailStore
from firmware_bridge.transport import MemoryPair
from firmware_bridge.wire_log import LogFailed
from printer import cell as cells
from printer.alarms import AlarmName
from printer.bench_time import Grant
from printer.cell import Cell
from printer.errors import CellRefused
from printer.messages import Command, Operation, Port, SealWireLog, UnitRefused
from printer.plan import RunPlan
from printer.ports import Place, Ports
from printer.run import Phase, RunMachine

PLAN = plan_of(demonstration_job("minoxidil"))
PREPARE = Command(Operation.PREPARE, OPERATOR)


def no_compiler(*asked: object) -> UnitRefused:
    return UnitRefused(1, "no compiler")


class Site:
    """A cell whose devices say nothing, its controller thread running."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        key = SigningKey.generate("test/cell-1")
        self.store = TrailStore.create(
            folder / "cell.db", origin="test/cell-1", key=key, clock=SystemClock(), software="test", demonstration=True
        )
        self.ports = Ports(dict.fromkeys(Port, Place("/dev/none")), SystemClock())
        self.pairs = {port: MemoryPair(port.value) for port in Port}
        self.cell = Cell(store=self.store, clock=SystemClock(), ports=self.ports, bench=None, data_dir=folder, name="cell-1")
        for port, pair in self.pairs.items():
            self.ports.adopt(port, pair.ours, self.cell._inbox.put)
        self._thread = threading.Thread(target=self.cell.run, daemon=True)
        self._thread.start()

    def create(self, plan: RunPlan = PLAN) -> None:
        self.cell.create(plan, PREPARE, no_compiler)

    def on_disk(self, before: Callable[[], None]) -> None:
        """From now on `before` is called before each write of the log."""
        log: Any = self.ports._log
        log._file = _File(log._file, before)

    @property
    def machine(self) -> RunMachine:
        machine = self.cell._machine
        assert machine is not None
        return machine

    @property
    def notices(self) -> str:
        return str(self.cell.status(0)["notices"])

    def closed(self) -> dict[str, Any]:
        until(lambda: self.machine.phase is Phase.DONE)
        (entry,) = self.store.search(kind=EventKind.RUN_RECORD_CLOSED.value)
        return dict(entry.new)

    def close(self) -> None:
        self.cell.end()
        self._thread.join(10)
        self.cell.close()
        self.store.close()
        for pair in self.pairs.values():
            pair.theirs.close()


class _File:
    def __init__(self, file: Any, before: Callable[[], None]) -> None:
        self._file, self._before = file, before

    def write(self, data: bytes) -> int:
        self._before()
        return int(self._file.write(data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class Room:
    """A disk that is full until there is room."""

    def __init__(self) -> None:
        self.there = False

    def __call__(self) -> None:
        if not self.there:
            raise OSError(28, "No space left on device")


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(cells, "AGAIN_S", 0.01)
    made = Site(tmp_path)
    try:
        yield made
    finally:
        made.close()


def test_a_full_disk_stops_the_run_and_its_record_is_closed_when_there_is_room(site: Site) -> None:
    room = Room()
    site.create()
    site.on_disk(room)
    until(lambda: site.machine.over)
    assert (site.machine.ended, site.machine.phase) == ("FAULTED", Phase.WIRE)
    assert "the wire log cannot be written: No space left on device" in site.notices and "tried again" in site.notices
    with pytest.raises(CellRefused, match="its record is not closed"):
        site.create()
    raised = [entry.new["name"] for entry in site.store.search(kind=EventKind.ALARM_CONDITION_RAISED.value)]
    assert raised == [AlarmName.RECORD_FAILURE], "once, however often it is tried"
    room.there = True
    assert site.closed()["wire_log_sha256"] == hashlib.sha256((site.folder / f"wire-{PLAN.run}.log").read_bytes()).hexdigest()
    assert site.notices == "[]"


def test_a_disk_that_does_not_answer_stops_the_run(site: Site) -> None:
    stalled, go_on = threading.Event(), threading.Event()

    def stall() -> None:
        stalled.set()
        go_on.wait(60)

    site.create()
    site.on_disk(stall)
    assert stalled.wait(20)
    log: Any = site.ports._log
    log._trying_since -= 60.0
    until(lambda: site.machine.over)
    assert "the disk has not answered for 10 s" in site.machine.alarms.alarms[0].message and "has not answered" in site.notices
    go_on.set()
    assert site.closed()["ended"] == "FAULTED"


def test_a_log_that_a_dead_process_left_behind_keeps_its_name(site: Site) -> None:
    left = [site.folder / f"wire-{PLAN.run}.log", site.folder / f"wire-{PLAN.run}.2.log"]
    for file in left:
        file.write_bytes(b"left behind")
    site.create()
    site.cell.command(PLAN.run, Command(Operation.STOP_KILL, OPERATOR, "test"))
    digest = site.closed()["wire_log_sha256"]
    assert digest == hashlib.sha256((site.folder / f"wire-{PLAN.run}.3.log").read_bytes()).hexdigest()
    assert [file.read_bytes() for file in left] == [b"left behind"] * 2


def test_a_run_whose_log_cannot_be_begun_is_refused(site: Site) -> None:
    site.cell._data_dir = site.folder / "away"
    with pytest.raises(CellRefused, match="wire log cannot be begun") as refused:
        site.create()
    assert refused.value.remedy.startswith("Make room")
    assert list(site.store.search(kind=EventKind.RUN_RECORD_CREATED.value)) == [] and site.cell.status(0)["run"] is None


def test_a_bench_goes_on_when_the_log_is_sealed_or_its_sealing_failed(tmp_path: Path) -> None:
    site = Site(tmp_path)
    taken: list[int] = []
    bench: Any = SimpleNamespace(acknowledge=lambda now, queued: taken.append(now), close=lambda: None)
    try:
        site.cell.end()
        site._thread.join(10)
        site.cell._bench, site.cell.clock = bench, cells.GrantedClock("1", "UTC", "unknown")  # type: ignore[arg-type]
        site.cell._execute(SealWireLog())
        site.cell._take(Grant(5, {}, frozenset()))
        assert taken == []
        site.cell._take(LogFailed("No space left on device"))
        assert taken == [5]
    finally:
        site.cell.close()
        site.store.close()
        for pair in site.pairs.values():
            pair.theirs.close()
