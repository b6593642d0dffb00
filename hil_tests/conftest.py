"""Scenarios for any bench: `pytest hil_tests` on the virtual one, `pytest hil_tests --bench real.toml` on a real one.

The scenarios drive the product's own ports and protocol machines. On a real bench a person confirms each motion before it is
sent. After one step that failed, the strategy refuses all further work: what the machine is doing is then not known.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from decimal import Decimal
from enum import IntEnum
from pathlib import Path
from typing import Protocol

import pytest

from audit.errors import DosewrightError
from audit.quantities import Kilopascal
from firmware_bridge.balance import BalanceDriver, BalanceFault, BalanceIdentified, WeighFailed, WeighResult
from firmware_bridge.firmware_profile import marlin_profile
from firmware_bridge.gcode_link import (
    Drained,
    Fault,
    GcodeLink,
    Identified,
    IdentityRefused,
    OutLine,
    PositionReport,
    StopStrength,
    TemperatureReport,
)
from firmware_bridge.mt_sics import MtSics
from firmware_bridge.port_owner import PortBytes, PortInput, PortOwner
from firmware_bridge.pressure import PressureHub, PressureReading
from firmware_bridge.sartorius_sbi import SartoriusSbi
from firmware_bridge.transport import open_transport
from hil_tests.cases import bench_for, parse_rate
from hil_tests.real_bench import RealBalance, RealBench, RealPressure, RealPrinter, load_real_bench
from hil_tests.serve import Server

_VIRTUAL_RATE = 20
_MOTIONS = ("G0", "G1", "G28")
_POLL_S = 0.05
_REPORT = pytest.StashKey[bool]()


class ScenarioFailed(DosewrightError):
    """A step on the bench did not do what it must, or was refused."""

    code = "HT-003"


class Operator(Protocol):
    """Who stands at the bench."""

    def confirm(self, motion: str) -> bool:
        """Say whether this motion may be made now."""
        ...

    def put_on(self, mass_mg: Decimal) -> None:
        """Put a check weight on the plate; 0 takes it off."""
        ...


class Receiver(Protocol):
    """What every protocol machine does with bytes."""

    def receive(self, data: bytes, now: int) -> None: ...


class Person:
    """Asks at the terminal, whatever pytest has done to it."""

    def __init__(self, config: pytest.Config) -> None:
        self._capture = config.pluginmanager.getplugin("capturemanager")

    def confirm(self, motion: str) -> bool:
        return self._ask(f"The machine will move: {motion}. Hands away? [yes/no] ") == "yes"

    def put_on(self, mass_mg: Decimal) -> None:
        what = f"Put the check weight of {mass_mg} mg in the middle of the plate" if mass_mg else "Take the check weight off the plate"
        if self._ask(f"{what}, then write done: ") != "done":
            raise ScenarioFailed("the operator did not handle the check weight")

    def _ask(self, question: str) -> str:
        if self._capture is not None:
            self._capture.suspend(in_=True)
        try:
            return input(f"\n{question}").strip().lower()
        finally:
            if self._capture is not None:
                self._capture.resume()


class VirtualOperator:
    """Confirms by itself and has the virtual bench's plate within reach; remembers what was asked."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.asked: list[str] = []

    def confirm(self, motion: str) -> bool:
        self.asked.append(motion)
        return True

    def put_on(self, mass_mg: Decimal) -> None:
        self._server.bench.cell.extra_mg = float(mass_mg)


class State(IntEnum):
    """How far the bench has been brought; each state includes the ones before it."""

    OFF = 0
    IDENTIFIED = 1
    HOMED = 2
    WARM = 3
    PRIMED = 4


class Strategy:
    """Brings the bench into a state and keeps what its devices said.

    Lifetime: one session; `close` ends the port threads. Concurrency: one thread; the ports' threads fill its inbox.
    `broken` says why nothing more is done.
    """

    def __init__(self, bench: RealBench, operator: Operator, rate: int = 1) -> None:
        self.bench, self.operator, self.rate = bench, operator, rate
        self.state = State.OFF
        self.broken: str | None = None
        self.link = GcodeLink(marlin_profile("scenario", firmware_name=bench.printer.firmware), exposure_limit_nl=100_000)
        self.balance: BalanceDriver = MtSics() if bench.balance.driver == "mt-sics" else SartoriusSbi()
        self.hub = PressureHub()
        self.firmware: Identified | None = None
        self.balance_identity: BalanceIdentified | None = None
        self.temperature: TemperatureReport | None = None
        self.position: PositionReport | None = None
        self.readings: list[PressureReading] = []
        self._weighed: WeighResult | WeighFailed | None = None
        self._drained = 0
        self._inbox: queue.SimpleQueue[PortInput] = queue.SimpleQueue()
        self._owners: dict[str, PortOwner] = {}
        self._stopped = False

    # ---- states

    def reach(self, wanted: State) -> None:
        """Do the steps that are still missing. Raises ScenarioFailed; after a failure it refuses everything."""
        steps: dict[State, Callable[[], None]] = {
            State.IDENTIFIED: self._identify,
            State.HOMED: self._home,
            State.WARM: self._warm,
            State.PRIMED: self._prime,
        }
        self.refuse_if_broken()
        while self.state < wanted:
            following = State(self.state + 1)
            try:
                steps[following]()
            except Exception as error:
                self.breaks(f"{following.name}: {error}")
                raise
            self.state = following

    def refuse_if_broken(self) -> None:
        if self.broken is not None:
            raise ScenarioFailed(f"refused: {self.broken}", remedy="Bring the bench into a known state by hand, then start again.")

    def breaks(self, why: str) -> None:
        """Keep the first reason; stop the printer if it may be doing something."""
        if self.broken is None:
            self.broken = why
            if "printer" in self._owners:
                self.emergency(StopStrength.KILL)

    def _identify(self) -> None:
        bench = self.bench
        for name, port, baud in (
            ("printer", bench.printer.port, bench.printer.baud),
            ("balance", bench.balance.port, bench.balance.baud),
            ("pressure", bench.pressure.port, bench.pressure.baud),
        ):
            self._owners[name] = PortOwner(name, open_transport(port, baud), self._inbox.put)
        self.link.start(self.now())
        self.balance.identify(self.now())
        self.until(
            lambda: self.firmware is not None and self.balance_identity is not None, 30, "the devices have not all said who they are"
        )

    def _home(self) -> None:
        self.send("G28")

    def _warm(self) -> None:
        printer = self.bench.printer
        self.send(f"M104 S{printer.nozzle_c}")

        def inside() -> bool:
            return self.temperature is not None and printer.nozzle_low_c <= self.temperature.hotend <= printer.nozzle_high_c

        self.until(inside, float(printer.heating_limit_s), "the nozzle does not come into its range")

    def _prime(self) -> None:
        printer = self.bench.printer
        self.extrude(printer.purge_x, printer.purge_y, printer.prime_uL)

    # ---- what scenarios ask for

    def send(self, *commands: str, limit_s: float = 120.0) -> None:
        """Send commands and wait until the printer has taken them all; each motion is confirmed first."""
        self.refuse_if_broken()
        for command in commands:
            if command.split(" ", 1)[0] in _MOTIONS and not self.operator.confirm(command):
                self.breaks(f"the operator did not allow {command}")
                self.refuse_if_broken()
        before = self._drained
        self.link.submit([OutLine(command.encode("ascii"), command) for command in commands], self.now())
        self.until(lambda: self._drained > before, limit_s, f"the printer has not taken {commands[-1]}")

    def extrude(self, x: Decimal, y: Decimal, volume_uL: Decimal) -> None:
        """Go to a place, push a volume out, draw back, lift, and wait until all of it is done."""
        printer = self.bench.printer
        length, back = volume_uL / printer.e_area_mm2, Decimal(3) / printer.e_area_mm2
        feed = printer.flow_uL_per_s / printer.e_area_mm2 * 60
        self.send(
            "G90",
            "M83",
            f"G0 Z{printer.safe_z} F1200",
            f"G0 X{x} Y{y} F{printer.travel_feed}",
            f"G0 Z{printer.print_z} F1200",
            f"G1 E{length + back:.5f} F{feed:.3f}",
            f"G1 E{-back:.5f} F{feed:.3f}",
            f"G0 Z{printer.safe_z} F1200",
            f"G0 X{printer.purge_x} Y{printer.purge_y} F{printer.travel_feed}",
            "M400",
        )

    def weigh(self) -> WeighResult:
        """Return one stable weight. Raises ScenarioFailed with the balance's own words."""
        self.refuse_if_broken()
        end = time.monotonic() + 60.0
        while time.monotonic() < end:
            self._weighed = None
            self.balance.request_weight(self.now())
            self.until(lambda: self._weighed is not None, 60, "the balance does not answer")
            if isinstance(self._weighed, WeighResult) and self._weighed.stable:
                return self._weighed
        raise ScenarioFailed(f"no stable weight: {self._weighed}")

    def put_on(self, mass_mg: Decimal) -> None:
        """Have the operator put a check weight on the plate (0: take it off) and let the pan come to rest."""
        self.refuse_if_broken()
        self.operator.put_on(mass_mg)
        end = time.monotonic() + max(5.0 / self.rate, 0.5)
        while time.monotonic() < end:
            self._serve()

    def emergency(self, strength: StopStrength) -> None:
        self._stopped = True
        self._owners["printer"].emergency_write(self.link.stop(strength, self.now()))

    def until(self, condition: Callable[[], bool], limit_s: float, why: str) -> None:
        """Serve the ports until the condition holds; the limit is of the bench's time, and never less than a few real seconds."""
        end = time.monotonic() + max(limit_s / self.rate, 20.0)
        while not condition():
            if time.monotonic() > end:
                raise ScenarioFailed(f"{why} within {limit_s:.0f} s")
            self._serve()

    @staticmethod
    def now() -> int:
        return time.monotonic_ns() // 1000

    def close(self) -> None:
        """Let go of the bench: its printer is stopped first, for nobody watches it any more, hot or not."""
        if "printer" in self._owners and not self._stopped:
            self.emergency(StopStrength.KILL)
        for owner in self._owners.values():
            owner.close()

    # ---- ports

    def _serve(self) -> None:
        for name, data in (("printer", self.link.bytes_to_send()), ("balance", self.balance.bytes_to_send())):
            if data:
                self._owners[name].write(data)
        try:
            item = self._inbox.get(timeout=_POLL_S)
        except queue.Empty:
            item = None
        now = self.now()
        if isinstance(item, PortBytes):
            machines: dict[str, Receiver] = {"printer": self.link, "balance": self.balance, "pressure": self.hub}
            machines[item.port].receive(item.data, now)
        elif item is not None:
            raise ScenarioFailed(f"{item.port}: {item.reason}")
        self.link.tick(now)
        self.balance.tick(now)
        self._events()

    def _events(self) -> None:
        while (event := self.link.next_event()) is not None:
            match event:
                case Identified():
                    self.firmware = event
                case TemperatureReport():
                    self.temperature = event
                case PositionReport():
                    self.position = event
                case Drained():
                    self._drained += 1
                case IdentityRefused(differences):
                    raise ScenarioFailed("; ".join(differences))
                case Fault(cause):
                    raise ScenarioFailed(cause.text)
                case _:
                    pass
        while (weighed := self.balance.next_event()) is not None:
            match weighed:
                case BalanceIdentified():
                    self.balance_identity = weighed
                case WeighResult() | WeighFailed():
                    self._weighed = weighed
                case BalanceFault(_, text):
                    raise ScenarioFailed(text)
                case _:
                    pass
        while (reading := self.hub.next_event()) is not None:
            self.readings.append(reading)
        del self.readings[:-2000]

    def pressure_now(self) -> Kilopascal | None:
        return self.hub.last.value if self.hub.last is not None else None


# ---- pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bench", type=Path, default=None, help="real.toml of a real bench; without it the virtual bench is used")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--bench") is not None and config.getoption("numprocesses", None):
        raise pytest.UsageError("a real bench is one machine: leave out -n")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[_REPORT] = True
    return report


@pytest.fixture(scope="session")
def strategy(request: pytest.FixtureRequest) -> Iterator[Strategy]:
    """The one bench of this session."""
    path = request.config.getoption("--bench")
    if path is not None:
        real = Strategy(load_real_bench(path), Person(request.config))
        yield real
        real.close()
        return
    server = Server(bench_for("cyclophosphamide"), free=parse_rate(str(_VIRTUAL_RATE)))
    thread = threading.Thread(target=server.run, name="virtual bench")
    thread.start()
    ports = {name: port.address for name, port in server.ports.items()}
    bench = RealBench(
        name="virtual bench",
        printer=RealPrinter(port=ports["printer"]),
        balance=RealBalance(port=ports["balance"]),
        pressure=RealPressure(port=ports["pressure"]),
    )
    virtual = Strategy(bench, VirtualOperator(server), _VIRTUAL_RATE)
    yield virtual
    virtual.close()
    server.stop()
    thread.join()


@pytest.fixture(autouse=True)
def one_failure_ends_the_work(request: pytest.FixtureRequest, strategy: Strategy) -> Iterator[None]:
    """Refuse a scenario on a broken bench, and break the bench where a scenario failed."""
    strategy.refuse_if_broken()
    yield
    if request.node.stash.get(_REPORT, False):
        strategy.breaks(f"{request.node.name} failed")
