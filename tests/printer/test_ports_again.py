"""Ports that come back: a printer that is owed a stop hears that first and nothing else, any other device is asked who it is."""

from __future__ import annotations

import os
import pty
import select
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue

import pytest
from simulated_cell import OPERATOR, simulated

from audit.canonical import JsonObject
from audit.checkpoint import SigningKey
from audit.clock import SystemClock
from audit.events import EntryDraft, EventKind, Subject
from audit.store import TrailStore
from firmware_bridge.transport import MemoryPair
from hil_tests.cases import bench_for
from hil_tests.serve import Server
from printer.cell import Cell
from printer.messages import CELL, Command, Operation, Port
from printer.ports import STOP, Place, Ports
from printer.reconnection import Looked, Reconnection
from printer.recovery import plan_recovery, printer_stopped
from printer.run import Phase, RunMachine
from printer.wiring_cell import PortSettings, question_for
from recipes.library import load_machine

HALTED = b"Error:Printer halted. kill() called!\n"
MACHINE = load_machine("sse-20g-10ml")


@pytest.fixture
def bench() -> Iterator[Server]:
    """The virtual devices on pseudo-terminals, free running."""
    server = Server(bench_for("cyclophosphamide"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield server
    server.stop()
    thread.join(5)
    assert not thread.is_alive()


@pytest.fixture
def terminal() -> Iterator[tuple[int, str]]:
    master, slave = pty.openpty()
    tty.setraw(slave)
    yield master, os.ttyname(slave)
    os.close(master)
    os.close(slave)


def waited(condition: Callable[[], bool], seconds: float = 15.0) -> bool:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def heard(master: int, seconds: float = 0.3) -> bytes:
    """What has been written to the terminal, until it is quiet."""
    data = b""
    while select.select([master], [], [], seconds)[0]:
        data += os.read(master, 4096)
    return data


def new_store(folder: Path) -> TrailStore:
    key = SigningKey.generate("test/cell-1")
    return TrailStore.create(folder / "cell.db", origin="test/cell-1", key=key, clock=SystemClock(), software="test", demonstration=True)


def alarm(name: str, key: str) -> EntryDraft:
    new: JsonObject = {"state": "unacknowledged", "name": name}
    return EntryDraft(EventKind.ALARM_CONDITION_RAISED, Subject("alarm", key), new, CELL, "cell-1")


def test_a_stop_that_is_owed_is_the_first_thing_on_the_wire(terminal: tuple[int, str]) -> None:
    master, path = terminal
    ports = Ports({Port.PRINTER: Place(path), Port.BALANCE: Place("/dev/no-balance"), Port.PRESSURE: Place("/dev/no-hub")}, SystemClock())
    ports.owe_stop("it was lost in run B-1-R1")
    ports.open_all(lambda event: None)
    try:
        assert heard(master) == STOP
        assert ports.take_stop_confirmed() is None and ports.stop_owed == "it was lost in run B-1-R1", "told, but it has not said so"
        assert "was stopped" in ports.missing()["printer"]
        os.write(master, HALTED)
        assert waited(lambda: not ports.stop_waits(Port.PRINTER))
        assert ports.take_stop_confirmed() == "it was lost in run B-1-R1" and ports.take_stop_confirmed() is None
        assert ports.stop_owed is None and "was stopped" in ports.missing()["printer"]
        ports.reopen(lambda event: None)
        assert heard(master) == b"", "told once; opening again says nothing"
        assert set(ports.missing()) == {"balance", "pressure"} == {port.value for port in ports.away()}
    finally:
        ports.close()


def test_a_stop_stays_owed_until_the_port_is_there(terminal: tuple[int, str], tmp_path: Path) -> None:
    master, path = terminal
    link = tmp_path / "printer"
    places = {Port.PRINTER: Place(str(link)), Port.BALANCE: Place("/dev/no-balance"), Port.PRESSURE: Place("/dev/no-hub")}
    ports = Ports(places, SystemClock())
    ports.owe_stop("lost")
    ports.open_all(lambda event: None)
    try:
        assert ports.stop_owed == "lost" and ports.take_stop_confirmed() is None
        link.symlink_to(path)
        ports.reopen(lambda event: None, busy={Port.PRINTER})
        assert ports.stop_owed == "lost" and "asked who is there" in ports.missing()["printer"]
        ports.reopen(lambda event: None)
        assert heard(master) == STOP
        ports.reopen(lambda event: None)
        assert heard(master) == STOP and ports.stop_owed == "lost", "told again, for it has not confirmed it"
        os.write(master, b"start\n")
        assert waited(lambda: ports.take_stop_confirmed() == "lost"), "it has started anew"
    finally:
        ports.close()


def looked(port: Port, place: Place, *, stop: bool = False, machine_id: str = "sse-20g-10ml") -> Looked:
    machine = load_machine(machine_id)
    answers: SimpleQueue[Looked] = SimpleQueue()
    looking = Reconnection(lambda port: question_for(port, machine), clock=SystemClock().now, deliver=answers.put)
    looking.look(port, place, stop=stop)
    assert looking.busy == {port}
    looking.look(port, place, stop=stop)
    found = answers.get(timeout=30)
    looking.done(found)
    assert not looking.busy and looking.words == {port: found.words} and answers.empty()
    if found.transport is not None:
        found.transport.close()
    return found


def test_devices_say_who_they_are(bench: Server) -> None:
    balance = looked(Port.BALANCE, Place(bench.ports["balance"].address, 9600))
    assert balance.transport is not None and balance.words == "is there again: XPR204 Standard 220.0000 g, serial number B000000001"
    printer = looked(Port.PRINTER, Place(bench.ports["printer"].address))
    assert printer.transport is not None and "Marlin 2.1.2.5" in printer.words
    assert looked(Port.PRESSURE, Place(bench.ports["pressure"].address)).words == "is there again"
    wrong = looked(Port.BALANCE, Place(bench.ports["printer"].address))
    assert wrong.transport is None
    missing = looked(Port.PRINTER, Place("/dev/no-printer"), stop=True)
    assert missing.transport is None and not missing.unasked and "There is no port" in missing.words


@pytest.mark.parametrize("failure", [termios.error(5, "Input/output error"), RuntimeError("a fault of our own")])
def test_a_look_always_answers(bench: Server, monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    """A device that goes while its port is opened is looked for again, as is one whose look failed."""
    place = Place(bench.ports["balance"].address, 9600)

    def fails(*given: object) -> None:
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(termios, "tcsetattr", fails)
        found = looked(Port.BALANCE, place)
    assert found.transport is None and str(failure.args[-1]) in found.words
    assert looked(Port.BALANCE, place).transport is not None


def test_a_printer_that_is_owed_a_stop_is_not_asked(terminal: tuple[int, str]) -> None:
    master, path = terminal
    found = looked(Port.PRINTER, Place(path), stop=True)
    assert found.unasked and found.transport is not None and heard(master) == b""


def test_a_stop_that_the_printer_never_read_is_owed_when_its_cable_was_out(terminal: tuple[int, str], tmp_path: Path) -> None:
    """It hangs, so the stop lies in the computer's buffer; then the cable is pulled, and put back."""
    master, path = terminal
    link, pair = tmp_path / "printer", MemoryPair("printer")
    store = new_store(tmp_path)
    ports = Ports(
        {Port.PRINTER: Place(str(link)), Port.BALANCE: Place("/dev/no-balance"), Port.PRESSURE: Place("/dev/no-hub")}, SystemClock()
    )
    cell = Cell(store=store, clock=SystemClock(), ports=ports, bench=None, data_dir=tmp_path, name="cell-1")
    ports.adopt(Port.PRINTER, pair.ours, cell._inbox.put)
    cell._machine = heating()
    thread = threading.Thread(target=cell.run, daemon=True)
    try:
        cell._handle(Command(Operation.STOP_KILL, OPERATOR, "test"))
        assert cell._machine.over and ports.stop_waits(Port.PRINTER) and ports.stop_owed is None
        link.symlink_to(path)
        thread.start()
        pair.theirs.close()
        assert select.select([master], [], [], 15.0)[0] and heard(master) == STOP, "the first and only thing"
        assert "has not confirmed it" in str(cell.status(0)["ports"])
        assert list(store.search(kind=EventKind.CELL_PRINTER_STOPPED.value)) == []
        os.write(master, HALTED)
        assert waited(lambda: ports.stop_owed is None)
        assert "reset it" in str(cell.status(0)["ports"])
        assert waited(lambda: len(list(store.search(kind=EventKind.CELL_PRINTER_STOPPED.value))) == 1)
        (stopped,) = store.search(kind=EventKind.CELL_PRINTER_STOPPED.value)
        assert "it was lost in run B-1-R1" in stopped.reason
    finally:
        cell.end()
        thread.join(10)
        cell.close()
        store.close()
        pair.close()


def heating() -> RunMachine:
    """A run in which something is hot."""
    simulation = simulated("minoxidil")
    simulation.command(Operation.PREPARE)
    simulation.until(lambda machine: machine.phase is Phase.START)
    simulation.command(Operation.START)
    assert simulation.machine.active
    return simulation.machine


def test_an_idle_cell_finds_its_devices_again_and_says_so(bench: Server, tmp_path: Path) -> None:
    """Devices away at the start: the cell stays asked and answered while it looks; the printer was lost in a run, so it is stopped."""
    links = {port: tmp_path / port.value for port in Port}
    store = new_store(tmp_path)
    ports = Ports({port: Place(str(link)) for port, link in links.items()}, SystemClock())
    cell = Cell(
        store=store,
        clock=SystemClock(),
        ports=ports,
        bench=None,
        data_dir=tmp_path,
        name="cell-1",
        question=lambda p: question_for(p, MACHINE),
    )
    ports.owe_stop("it was lost in run B-1-R1: cable")
    cell.open_ports()
    cell.begin(None)
    thread = threading.Thread(target=cell.run, daemon=True)
    thread.start()
    try:
        status = cell.status(0)["ports"]
        assert isinstance(status, dict) and set(status) == {"printer", "balance", "pressure"}
        for port, link in links.items():
            link.symlink_to(bench.ports[port.value].address)
        assert waited(lambda: bench.bench.printer.killed), "the printer was told to stop"
        assert waited(lambda: len(list(store.search(kind=EventKind.CELL_PRINTER_STOPPED.value))) == 1), "it has confirmed it"
        assert waited(lambda: "XPR204" in str(cell.status(0)["ports"]))
        asked = time.monotonic()
        words = cell.status(0)["ports"]
        assert time.monotonic() - asked < 0.5, "looking for a device does not hold the controller up"
        assert isinstance(words, dict) and "reset it" in str(words["printer"]) and words["pressure"] == "is there again"
        assert waited(lambda: len(list(store.search(kind=EventKind.CELL_DEVICE_RETURNED.value))) == 2)
        (stopped,) = store.search(kind=EventKind.CELL_PRINTER_STOPPED.value)
        assert stopped.reason == "it was lost in run B-1-R1: cable"
    finally:
        cell.end()
        thread.join(10)
        cell.close()
        store.close()


def test_settings_of_the_lines() -> None:
    ports = PortSettings(printer="p", balance="b", pressure="m", balance_line="1200 7O1", pressure_line="19200 8E1")
    assert ports.places[Port.BALANCE] == Place("b", 1200, "7O1") and ports.places[Port.PRESSURE] == Place("m", 19_200, "8E1")
    assert PortSettings(printer="p", balance="b", pressure="m").places[Port.PRINTER] == Place("p", 250_000, "8N1")
    with pytest.raises(ValueError, match="balance_line"):
        PortSettings(printer="p", balance="b", pressure="m", balance_line="9600,8,N,1")


def test_a_restart_remembers_a_printer_that_was_lost(tmp_path: Path) -> None:
    """Between the loss and the restart nobody could tell the printer to stop: its heaters may still be on."""
    store = new_store(tmp_path)
    try:
        assert plan_recovery(store, "cell-1").stop_owed is None
        store.append(alarm("printer connection lost", "B-1-R1/1"))
        assert plan_recovery(store, "cell-1").stop_owed is not None
        store.append(printer_stopped("cell-1", "test"))
        assert plan_recovery(store, "cell-1").stop_owed is None
        store.append(alarm("balance connection lost", "B-1-R2/1"))
        assert plan_recovery(store, "cell-1").stop_owed is None
    finally:
        store.close()


def test_a_printer_that_was_lost_is_found_behind_any_number_of_alarms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("printer.recovery._PAGE", 2)
    store = new_store(tmp_path)
    try:
        store.append(*(alarm("balance fault", f"B-{n}-R1/1") for n in range(5)))
        assert plan_recovery(store, "cell-1").stop_owed is None
        store.append(alarm("printer connection lost", "B-6-R1/1"), *(alarm("balance fault", f"B-6-R1/{n}") for n in range(2, 7)))
        assert plan_recovery(store, "cell-1").stop_owed is not None
        store.append(printer_stopped("cell-1", "test"), *(alarm("balance fault", f"B-7-R1/{n}") for n in range(5)))
        assert plan_recovery(store, "cell-1").stop_owed is None
    finally:
        store.close()


def test_a_start_reads_as_often_after_many_runs_as_after_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = new_store(tmp_path)
    reads: list[str] = []

    def counted(name: str) -> Callable[..., object]:
        real = getattr(TrailStore, name)

        def method(*given: object, **named: object) -> object:
            reads.append(name)
            return real(*given, **named)

        return method

    for name in ("objects", "search"):
        monkeypatch.setattr(TrailStore, name, counted(name))

    def reads_after(run: int) -> int:
        created: JsonObject = {"state": "PRINTING", "batch": f"B-{run}"}
        printing: JsonObject = {"run": f"B-{run}-R1", "n": 1, "state": "printing"}
        store.append(
            EntryDraft(EventKind.RUN_RECORD_CREATED, Subject("run", f"B-{run}-R1"), created, CELL, "cell-1"),
            EntryDraft(EventKind.UNIT_PRINT_INTENDED, Subject("unit", f"B-{run}-R1/001"), printing, CELL, "cell-1"),
        )
        reads.clear()
        recovery = plan_recovery(store, "cell-1")
        count = len(reads)
        assert (recovery.last_run, recovery.interrupted) == (f"B-{run}-R1", True)
        assert [str(draft.subject) for draft in recovery.drafts if draft.kind == EventKind.UNIT_PRINT_SCRAPPED] == [f"unit/B-{run}-R1/001"]
        store.append(*recovery.drafts)
        return count

    try:
        assert len({reads_after(run) for run in range(1, 8)}) == 1
    finally:
        store.close()
