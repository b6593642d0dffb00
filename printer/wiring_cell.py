"""Build a cell from its folder and run it: `python -m printer.wiring_cell --config cell.toml`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from audit.checkpoint import Signer
from audit.clock import Clock, GrantedClock, SystemClock
from audit.errors import DosewrightError, StoreBusy
from audit.events import EntryDraft, EventKind, Subject
from audit.key_file import settle
from audit.places import is_url
from audit.signer import TokenEntry, load_signer
from audit.store import TrailStore
from audit.version import SOFTWARE
from firmware_bridge.reconnect import BalanceQuestion, PrinterQuestion, Question
from printer.admission import read_trusted_people
from printer.bench_time import BenchTime
from printer.blind_stop import tell_to_stop
from printer.cell import Cell
from printer.door import Door
from printer.errors import CellConfiguration
from printer.firmware import firmware_profile
from printer.frames import server_context
from printer.garbage import Garbage
from printer.instruments import balance_driver
from printer.messages import CELL, Port
from printer.ports import Place, Ports
from printer.priority import Priority
from printer.recovery import plan_recovery
from printer.register_file import judge_register, read_register_file
from printer.server import CellServer
from printer.standing import check_zone
from printer.supervisor import CONFIGURATION, FAILED
from recipes.library import load_machine
from recipes.machine import MachineProfile

_STABLE_US = 30_000_000


Line = Annotated[str, Field(pattern=r"^[1-9][0-9]{2,6} [78][NEO][12]$")]

_SWITCH_S = 0.0005


class PortSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    """Where the devices are. `baud` is the printer's; a line is baud rate, data bits, parity (N, E, O) and stop bits."""

    printer: str
    balance: str
    pressure: str
    baud: int = 250_000
    balance_line: Line = "9600 8N1"
    pressure_line: Line = "115200 8N1"

    @property
    def places(self) -> dict[Port, Place]:
        balance, pressure = self.balance_line.split(" "), self.pressure_line.split(" ")
        return {
            Port.PRINTER: Place(self.printer, self.baud),
            Port.BALANCE: Place(self.balance, int(balance[0]), balance[1]),
            Port.PRESSURE: Place(self.pressure, int(pressure[0]), pressure[1]),
        }


class BenchSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    time: str
    token: str


class CellSettings(BaseModel):
    """The deployment of one cell; relative paths are below the folder of the file. A `[bench]` makes it a demonstration."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    origin: str
    listen_host: str = "127.0.0.1"
    listen_port: int = 0
    address_file: Path
    data_dir: Path
    store: Path
    signing_key: Path
    ca: Path
    certificate: Path
    key: Path
    trusted_people: Path
    equipment: Path = Path("equipment.json")
    machine: str
    zone: str = "UTC"
    clock_sync: str = "unknown"
    ports: PortSettings
    bench: BenchSettings | None = None
    signing_token: TokenEntry | None = None

    @field_validator("store", mode="before")
    @classmethod
    def _on_its_own_disk(cls, value: object) -> object:
        if isinstance(value, str) and is_url(value):
            raise ValueError("a cell's store is a file on its own disk: a print must not wait for a network, or stop with a server")
        return value


def read_settings(path: Path) -> CellSettings:
    """Read a cell's deployment file. Raises CellConfiguration naming what is wrong."""
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
        settings = CellSettings.model_validate(raw)
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise CellConfiguration(f"{path}: {error}", remedy="Correct the file; unknown keys are errors.") from error
    below = path.resolve().parent
    files = ("address_file", "data_dir", "store", "signing_key", "ca", "certificate", "key", "trusted_people", "equipment")
    return settings.model_copy(update={name: below / getattr(settings, name) for name in files})


def main(arguments: list[str] | None = None) -> int:
    """Run one cell; return its exit status: 2 where its files are wrong, 1 where it failed and is to be started again."""
    parser = argparse.ArgumentParser(prog="printer.wiring_cell", description="Run one cell.")
    parser.add_argument("--config", type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        return run_cell(read_settings(options.config))
    except DosewrightError as error:
        return _told(error, CONFIGURATION)


def _told(error: DosewrightError, status: int) -> int:
    sys.stderr.write(f"error {error.code}: {error}\n")
    return status


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a cell is made of before its store is opened. `place` is where its printer is."""

    settings: CellSettings
    machine: MachineProfile
    bench: BenchTime | None
    clock: Clock
    key: Signer
    priority: Priority
    garbage: Garbage

    @property
    def place(self) -> Place:
        return self.settings.ports.places[Port.PRINTER]


def run_cell(settings: CellSettings) -> int:
    """Open the store, stop the printer if a run was open, recover, serve until SIGTERM or SIGINT; return the exit status.

    Raises DosewrightError where the files of the cell are wrong, or another process is this cell already.
    """
    parts = _parts(settings)
    try:
        with _stopped_where_unknown(parts.place):
            store = TrailStore.open(settings.store, key=parts.key, clock=parts.clock, software=SOFTWARE)
        with closing(store):
            _check_kind(store, settings)
            _serve(parts, store)
    except (StoreBusy, CellConfiguration):
        raise
    except DosewrightError as error:
        return _told(error, FAILED)
    return 0


def _parts(settings: CellSettings) -> _Parts:
    # A thread that computes (a unit compiled anew, an answer) gives the interpreter up after half a millisecond: a stop waits behind it.
    sys.setswitchinterval(_SWITCH_S)
    priority, garbage = Priority(), Garbage()
    if settings.bench is None:
        priority.raise_all()
    machine = load_machine(settings.machine)
    check_zone(settings.zone)
    bench = BenchTime(settings.bench.time, settings.bench.token, settings.name) if settings.bench is not None else None
    clock = _clock(settings, bench)
    settle(settings.store, settings.signing_key)
    key = load_signer(settings.signing_key, settings.signing_token, settings.signing_key.parent)
    return _Parts(settings, machine, bench, clock, key, priority, garbage)


def _check_kind(store: TrailStore, settings: CellSettings) -> None:
    if store.demonstration != (settings.bench is not None):
        raise CellConfiguration(
            f"{settings.store} was made for a {'demonstration' if store.demonstration else 'real'} cell.",
            remedy="A demonstration cell opens only a bench's ports, and a real cell never does; use the store that belongs to it.",
        )


@contextmanager
def _stopped_where_unknown(place: Place) -> Iterator[None]:
    """Tell the printer to stop where the record cannot say whether a run was open: a stop that was not needed costs a reset.

    Not where another process writes the store: the printer is in its hands.
    """
    try:
        yield
    except StoreBusy:
        raise
    except Exception:
        try:
            tell_to_stop(place)
        except DosewrightError as error:
            sys.stderr.write(f"error {error.code}: the printer could not be told to stop: {error}\n")
        raise


def _serve(parts: _Parts, store: TrailStore) -> None:
    """Stop what the last process may have left moving or hot, then record what became of it; serve; and leave a printer stopped."""
    settings, bench = parts.settings, parts.bench
    ports = Ports(settings.ports.places, parts.clock)
    cell = Cell(
        store=store,
        clock=parts.clock,
        ports=ports,
        bench=bench,
        data_dir=settings.data_dir,
        name=settings.name,
        question=lambda port: question_for(port, parts.machine, _registered_serial(settings)),
        tidy=parts.garbage.collect,
    )
    with ExitStack() as ending:
        ending.callback(cell.close)
        with _stopped_where_unknown(parts.place):
            recovery = plan_recovery(store, settings.name)
        if recovery.stop_owed is not None:
            ports.owe_stop(recovery.stop_owed)
        if bench is None:
            parts.priority.claim()  # the threads of the ports are started from here on
        cell.open_ports()
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        rate = str(bench.rate if bench is not None else Decimal(1))
        cell.recorder.append(*recovery.drafts, _started(settings, parts.machine.reference, rate))
        ending.callback(cell.recorder.append, _stopped(settings))
        server = _server(parts, cell, rate)
        ending.callback(server.close)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: cell.end())
        parts.garbage.begin()
        cell.begin(recovery.last_run)
        server.start()
        _write_address(settings.address_file, server.address)
        cell.run()


def _server(parts: _Parts, cell: Cell, rate: str) -> CellServer:
    settings = parts.settings
    door = Door(
        cell,
        settings.name,
        parts.machine,
        settings.trusted_people,
        settings.equipment,
        demonstration=cell.store.demonstration,
        rate=rate,
        notices=lambda: parts.priority.notices,
    )
    context = server_context(settings.ca, settings.certificate, settings.key)
    return CellServer(cell=settings.name, host=settings.listen_host, port=settings.listen_port, context=context, handlers=door.handlers())


def _registered_serial(settings: CellSettings) -> str | None:
    """Return the serial number of the balance that the signed register names, None where there is no register to believe."""
    trusted = read_trusted_people(settings.trusted_people)
    register = judge_register(read_register_file(settings.equipment), cell=settings.name, trusted=trusted).register
    return None if register is None else register.balance.serial


def question_for(port: Port, machine: MachineProfile, balance_serial: str | None = None) -> Question | None:
    """Return how a device that was away is asked who it is; a pressure sensor cannot say."""
    match port:
        case Port.PRINTER:
            return PrinterQuestion(firmware_profile(machine))
        case Port.BALANCE:
            return BalanceQuestion(balance_driver(machine.balance.driver, _STABLE_US), balance_serial)
        case Port.PRESSURE:
            return None


def _clock(settings: CellSettings, bench: BenchTime | None) -> Clock:
    if bench is None:
        return SystemClock(settings.zone, settings.clock_sync)
    clock = GrantedClock(bench.rate, settings.zone, settings.clock_sync)
    clock.grant(bench.now)
    return clock


def _started(settings: CellSettings, machine: str, rate: str) -> EntryDraft:
    ports = settings.ports
    return EntryDraft(
        EventKind.CELL_PROCESS_STARTED,
        Subject("cell", settings.name),
        {
            "process": "started",
            "machine": machine,
            "rate": rate,
            "ports": {"printer": ports.printer, "balance": ports.balance, "pressure": ports.pressure},
            "bench": settings.bench is not None,
        },
        CELL,
        settings.name,
    )


def _stopped(settings: CellSettings) -> EntryDraft:
    return EntryDraft(EventKind.CELL_PROCESS_STOPPED, Subject("cell", settings.name), {"process": "stopped"}, CELL, settings.name)


def _write_address(path: Path, address: tuple[str, int]) -> None:
    """Write where the cell listens; whoever waits for the file finds it whole."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps({"host": address[0], "port": address[1], "process": os.getpid()}) + "\n", "utf-8")
    part.replace(path)


if __name__ == "__main__":
    threading.current_thread().name = "controller"
    sys.exit(main())
