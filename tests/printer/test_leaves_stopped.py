"""A cell that goes, or comes back, leaves no printer moving or hot: the stop goes out whatever becomes of the record."""

from __future__ import annotations

import os
import pty
import select
import sys
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest
from simulated_cell import OPERATOR, SimulatedCell, simulated

from audit.canonical import JsonObject
from audit.checkpoint import SigningKey
from audit.clock import SystemClock
from audit.errors import DosewrightError, RecordError, StoreReadOnly
from audit.events import EntryDraft, EventKind, Subject
from audit.store import TrailStore
from firmware_bridge.errors import LocalProtocolError
from printer import wiring_cell
from printer.cell import Cell
from printer.messages import CELL, Command, Operation, Port, RunInput
from printer.ports import STOP, Place, Ports
from printer.run import Phase, RunMachine
from printer.supervisor import CONFIGURATION, FAILED
from printer.unit_cycle import Step

KEY = SigningKey.generate("test.example/cell-1")
MACHINE = "sse-20g-10ml"


@pytest.fixture
def terminal() -> Iterator[tuple[int, str]]:
    master, slave = pty.openpty()
    tty.setraw(slave)
    yield master, os.ttyname(slave)
    os.close(master)
    os.close(slave)


def heard(master: int) -> bytes:
    """What lies at the printer's end."""
    data = b""
    while select.select([master], [], [], 0)[0]:
        data += os.read(master, 4096)
    return data


class NoPriority:
    """Asks nothing of the scheduler: the process is that of the tests."""

    notices: tuple[str, ...] = ()

    def raise_all(self) -> None:
        pass

    def claim(self) -> None:
        pass


@pytest.fixture
def configuration(tmp_path: Path, terminal: tuple[int, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The files of a real cell whose last process died in mid-run; its printer is a terminal."""
    monkeypatch.setattr(wiring_cell, "Priority", NoPriority)
    monkeypatch.setattr(wiring_cell, "server_context", server_context_of_tests)
    monkeypatch.setattr(wiring_cell.signal, "signal", lambda *_: None)
    KEY.save(tmp_path / "cell.key")
    with new_store(tmp_path) as store:
        created: JsonObject = {"state": "PRINTING", "batch": "B-1"}
        store.append(EntryDraft(EventKind.RUN_RECORD_CREATED, Subject("run", "B-1-R1"), created, CELL, "cell-1"))
    files = ("address_file", "data_dir", "ca", "certificate", "key", "trusted_people")
    lines = ['name = "cell-1"', 'origin = "test.example/cell-1"', 'store = "cell.db"', 'signing_key = "cell.key"', f'machine = "{MACHINE}"']
    lines += [f'{name} = "{name}"' for name in files]
    lines += ["[ports]", f'printer = "{terminal[1]}"', 'balance = "/dev/no-balance"', 'pressure = "/dev/no-hub"']
    path = tmp_path / "cell.toml"
    path.write_text("\n".join(lines) + "\n")
    interval = sys.getswitchinterval()
    yield path
    sys.setswitchinterval(interval)


def new_store(folder: Path) -> TrailStore:
    return TrailStore.create(
        folder / "cell.db", origin="test.example/cell-1", key=KEY, clock=SystemClock(), software="test", demonstration=False
    )


def server_context_of_tests(*_: Path) -> object:
    raise DosewrightError("The certificates of this cell are not asked for in a test.")


def open_store(configuration: Path) -> TrailStore:
    return TrailStore.open(configuration.with_name("cell.db"), key=KEY, clock=SystemClock(), software="test")


def started(configuration: Path) -> int:
    return wiring_cell.main(["--config", str(configuration)])


def refuse(*_: object, **__: object) -> None:
    raise RecordError("The store cell.db: database or disk is full.")


def test_a_full_disk_at_the_start_does_not_hold_the_stop_back(
    configuration: Path, terminal: tuple[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrailStore, "append", refuse)
    assert started(configuration) == FAILED
    assert heard(terminal[0]) == STOP


def test_the_stop_is_out_before_anything_is_recorded(
    configuration: Path, terminal: tuple[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    append, at_append = TrailStore.append, []

    def told(store: TrailStore, *drafts: EntryDraft) -> list[object]:
        at_append.append(heard(terminal[0]))
        return list(append(store, *drafts))

    monkeypatch.setattr(TrailStore, "append", told)
    assert started(configuration) == FAILED
    assert at_append[0] == STOP
    assert set(at_append[1:]) == {b""}
    with open_store(configuration) as store:
        state = store.state("run", "B-1-R1")
        assert state is not None and (state["state"], state["ended"]) == ("AWAITING_REVIEW", "INTERRUPTED")


@pytest.mark.parametrize("method", ["open", "objects"])
def test_a_store_that_cannot_be_read_does_not_hold_the_stop_back(
    configuration: Path, terminal: tuple[int, str], monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr(TrailStore, method, refuse)
    assert started(configuration) == FAILED
    assert heard(terminal[0]) == STOP


def test_a_damaged_store_does_not_hold_the_stop_back(configuration: Path, terminal: tuple[int, str]) -> None:
    configuration.with_name("cell.db").write_bytes(b"\0" * 8192)
    assert started(configuration) == FAILED
    assert heard(terminal[0]) == STOP


def test_a_printer_that_is_away_is_told_so_and_the_cell_is_started_again(
    configuration: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = configuration.read_text()
    configuration.write_text(text.replace('printer = "/dev/', 'printer = "/dev/no-'))

    def read_only(*_: object, **__: object) -> TrailStore:
        raise StoreReadOnly("The store cell.db is read-only.")

    monkeypatch.setattr(TrailStore, "open", read_only)
    assert started(configuration) == FAILED
    assert "could not be told to stop" in capsys.readouterr().err


def test_a_printer_in_the_hands_of_another_process_is_not_stopped(configuration: Path, terminal: tuple[int, str]) -> None:
    with open_store(configuration):
        assert started(configuration) == CONFIGURATION
    assert heard(terminal[0]) == b""


def test_wrong_files_and_a_run_that_was_closed_stop_nothing(configuration: Path, terminal: tuple[int, str]) -> None:
    with open_store(configuration) as store:
        closed: JsonObject = {"state": "AWAITING_REVIEW", "ended": "FINISHED"}
        store.append(EntryDraft(EventKind.RUN_RECORD_CLOSED, Subject("run", "B-1-R1"), closed, CELL, "cell-1"))
    assert started(configuration) == FAILED
    configuration.write_text(configuration.read_text() + 'colour = "blue"\n')
    assert started(configuration) == CONFIGURATION
    assert heard(terminal[0]) == b""


def printing() -> SimulatedCell:
    cell = simulated("minoxidil")
    cell.command(Operation.PREPARE)
    cell.until(lambda machine: machine.phase is Phase.START)
    cell.command(Operation.START)
    cell.until(lambda machine: machine.cycle.step is Step.PRINT and machine.cycle.commanded_nl > 5_000)
    return cell


@pytest.fixture
def cell(tmp_path: Path, terminal: tuple[int, str]) -> Iterator[Cell]:
    """A cell with a port to its printer, and no run yet."""
    store = new_store(tmp_path)
    places = {Port.PRINTER: Place(terminal[1]), Port.BALANCE: Place("/dev/no-balance"), Port.PRESSURE: Place("/dev/no-hub")}
    made = Cell(store=store, clock=SystemClock(), ports=Ports(places, SystemClock()), bench=None, data_dir=tmp_path, name="cell-1")
    made.open_ports()
    yield made
    made.close()
    store.close()


def stops(cell: Cell) -> list[str]:
    cell.close()
    return [entry.reason for entry in cell.store.search(kind=EventKind.CELL_PRINTER_STOPPED.value)]


def test_a_cell_asked_to_end_in_mid_unit_stops_its_printer(cell: Cell, terminal: tuple[int, str]) -> None:
    cell._machine = printing().machine
    cell.end()
    cell.run()
    assert heard(terminal[0]) == STOP
    assert stops(cell) == ["the cell process ended while run B-1-R1 was open"]


def test_a_cell_that_fails_in_mid_unit_stops_its_printer(cell: Cell, terminal: tuple[int, str], monkeypatch: pytest.MonkeyPatch) -> None:
    cell._machine = printing().machine

    def fail(machine: RunMachine, event: RunInput, now: int, urgent: object = None) -> None:
        raise LocalProtocolError("test")

    monkeypatch.setattr(RunMachine, "handle", fail)
    with pytest.raises(LocalProtocolError):
        cell.run()
    assert heard(terminal[0]) == STOP
    assert len(stops(cell)) == 1


@pytest.mark.parametrize("ended", [False, True])
def test_a_cell_that_ends_at_rest_says_nothing_to_its_printer(cell: Cell, terminal: tuple[int, str], ended: bool) -> None:
    simulated_cell = simulated("minoxidil")
    simulated_cell.command(Operation.PREPARE)
    simulated_cell.until(lambda machine: machine.phase is Phase.START)
    if ended:
        simulated_cell.give(Command(Operation.STOP_KILL, OPERATOR, "test"))
    cell._machine = simulated_cell.machine
    cell.end()
    cell.run()
    assert heard(terminal[0]) == b""
    assert stops(cell) == []
