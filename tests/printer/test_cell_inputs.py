"""Who gets what comes to a cell: during a daily check people still speak to the run, and each record's answer finds who asked for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from simulated_cell import OPERATOR, REGISTER, TODAY, simulated

from audit.clock import SystemClock
from audit.events import EntryDraft, EventKind
from printer.alarm_states import AlarmState
from printer.cell import Cell
from printer.check_session import CheckSession
from printer.clock_watch import ClockWatch
from printer.instruments import balance_driver
from printer.messages import Command, Operation, Port, PortLost
from printer.reconnection import Looked
from printer.run import Phase, RunMachine


class Trail:
    """A store of which the first appends fail."""

    def __init__(self) -> None:
        self.full = 0
        self.kinds: list[EventKind] = []

    def append(self, *drafts: EntryDraft) -> list[Any]:
        if self.full:
            self.full -= 1
            raise OSError("no space left on device")
        self.kinds += [draft.kind for draft in drafts]
        return []


class Devices:
    """Ports at which everything is there and nothing answers."""

    def __init__(self) -> None:
        self.confirmed: str | None = None

    def write(self, port: Port, data: bytes) -> None:
        return None

    def take_stop_confirmed(self) -> str | None:
        taken, self.confirmed = self.confirmed, None
        return taken

    def adopt(self, port: Port, transport: object, deliver: object) -> None:
        return None

    def end_wire_log(self) -> str:
        return "0" * 64

    def close(self) -> None:
        return None


class Room:
    """A cell whose controller takes a step when the test says so."""

    def __init__(self, folder: Path) -> None:
        self.trail, self.devices, self.utc = Trail(), Devices(), 0
        clocks = ClockWatch(lambda: 0, lambda: self.utc)
        asked: dict[str, Any] = {"store": self.trail, "ports": self.devices, "bench": None, "data_dir": folder}
        self.cell = Cell(clock=SystemClock(), name="cell-1", clocks=clocks, **asked)
        self.cell._ask = lambda call: call()  # type: ignore[method-assign]

    def answered(self) -> None:
        """Take the recorder's next answer."""
        self.cell._take(self.cell._inbox.get(timeout=20))

    def check(self) -> None:
        driver = balance_driver("mt-sics", 30_000_000)
        session = CheckSession(REGISTER.check_plan(TODAY), driver, OPERATOR, device="cell-1", register="cell-1@1", day=TODAY)
        self.cell._do(self.cell._check.open(session))
        self.answered()


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    found = Room(tmp_path)
    yield found
    found.cell.close()


def ended() -> RunMachine:
    """A run that has ended with an alarm, which nobody has acknowledged."""
    run = simulated("minoxidil")
    run.command(Operation.PREPARE)
    run.until(lambda machine: machine.phase is Phase.START)
    run.give(PortLost(Port.BALANCE, "gone"))
    run.until(lambda machine: machine.phase is Phase.DONE)
    return run.machine


def test_an_alarm_is_acknowledged_while_a_check_is_under_way(room: Room) -> None:
    machine = room.cell._machine = ended()
    room.check()
    (alarm,) = machine.alarms.alarms
    room.cell.command(machine.plan.run, Command(Operation.ACKNOWLEDGE, OPERATOR, "seen", alarm.key))
    room.answered()
    assert [found.state for found in machine.alarms.alarms] == [AlarmState.ACKNOWLEDGED]
    assert room.trail.kinds[-1] is EventKind.ALARM_CONDITION_ACKNOWLEDGED
    assert machine.record.settled, "the answer came to the run"
    assert room.cell.check_view()["under_way"] is True
    room.cell.abandon_check(OPERATOR, "enough")
    room.answered()
    assert room.cell.check_view()["under_way"] is False, "the answer came to the check"
    assert room.trail.kinds[-1] is EventKind.EQUIPMENT_CHECK_COMPLETED


def stopped(room: Room) -> None:
    room.devices.confirmed = "it was lost in run B-1-R1"
    room.cell._record_stop()


def returned(room: Room) -> None:
    transport: Any = SimpleNamespace()
    room.cell._looked(Looked(Port.BALANCE, transport, "is there again"))


def stepped(room: Room) -> None:
    room.utc = 7_200_000_000
    room.cell._compare_clocks()


@pytest.mark.parametrize(
    ("happen", "kind"),
    [(stopped, EventKind.CELL_PRINTER_STOPPED), (returned, EventKind.CELL_DEVICE_RETURNED), (stepped, EventKind.CELL_CLOCK_STEPPED)],
)
def test_what_happened_between_runs_is_on_record_once_the_disk_takes_it(
    room: Room, happen: Callable[[Room], None], kind: EventKind
) -> None:
    room.trail.full = 1
    happen(room)
    room.answered()
    assert room.trail.kinds == []
    room.cell.recorder.close()
    assert room.trail.kinds == [kind]
