"""The bench as one deterministic machine without I/O: three devices joined by one plant.

`receive(port, bytes)` and `step(to_us)`; the same inputs and seed give the same bytes. Ports: printer, balance, pressure.
"""

from __future__ import annotations

from hil_tests.cases import BenchConfig
from hil_tests.faults import PORTS, Devices, FaultScript
from hil_tests.plant import SAMPLE_US, Heater, Patch, Plant
from hil_tests.virtual_dialects import printer_for
from hil_tests.virtual_instruments import LoadCell, MtSicsBalance, PressureHub, SbiBalance
from hil_tests.virtual_transmitter import Transmitter
from hil_tests.wire_faults import Line

__all__ = ["PORTS", "VirtualBench"]

WEIGHING_US = 50_000
"""A balance takes a value twenty times a second."""

TruthRow = dict[str, int | str]


class VirtualBench:
    """Plant, devices and fault script under one virtual clock (µs). Concurrency: one owner."""

    def __init__(self, config: BenchConfig, start_us: int = 0) -> None:
        seed = config.seed
        self.config = config
        self.now = start_us
        self.plant = Plant(config.plant, seed, start_us, config.second)
        self.printer = printer_for(
            config.printer,
            Heater(config.plant.nozzle, f"{seed}:nozzle"),
            Heater(config.plant.plate, f"{seed}:plate"),
            start_us,
            None if config.second is None else Heater(config.second.nozzle, f"{seed}:nozzle:1"),
        )
        self.cell = LoadCell(config.balance, seed, start_us)
        balance_type = SbiBalance if config.balance.driver == "sartorius-sbi" else MtSicsBalance
        self.balance = balance_type(config.balance, self.cell)
        self.hub = (Transmitter if config.pressure.driver == "modbus-rtu" else PressureHub)(config.pressure, seed)
        self.devices = Devices(self.plant, self.printer, self.cell, self.balance, self.hub)
        self.script = FaultScript(config.faults, self.devices)
        wires = self.devices.wires
        self._inward = {name: Line(wires[name], f"{seed}:wire:{name}:in") for name in PORTS}
        self._outward = {name: Line(wires[name], f"{seed}:wire:{name}:out") for name in PORTS}

    @property
    def unplugged(self) -> set[str]:
        return self.devices.unplugged

    def receive(self, port: str, data: bytes) -> None:
        """Hand bytes from the host to a device, at the present virtual time. KeyError for a port that is not there."""
        self._arrive(port, self._inward[port].carry(data, self.now))

    def step(self, to_us: int) -> dict[str, bytes]:
        """Let time pass up to `to_us` and return what each device has sent.

        Inside, time goes by the grid of the weighings, and by that of the pressure samples where a fault is about to begin or
        changes with time, so that the bytes do not depend on how time is granted.
        """
        if self.config.faults:
            return self._step_with_faults(to_us)
        while self.now < to_us:
            self._advance(min(to_us, self.now - self.now % WEIGHING_US + WEIGHING_US))
        return dict(zip(PORTS, self._said(), strict=True))

    def _step_with_faults(self, to_us: int) -> dict[str, bytes]:
        sent = tuple(bytearray() for _ in PORTS)
        outward = tuple(self._outward[name] for name in PORTS)
        while self.now < to_us:
            begun = bool(self.script.begun)
            grid = SAMPLE_US if self.script.tense else WEIGHING_US
            if begun:
                for name in PORTS:
                    self._arrive(name, self._inward[name].carry(b"", self.now))
            self._advance(min(to_us, self.now - self.now % grid + grid))
            if begun:
                self.script.update(self.now)
            if begun or self.now >= to_us or self.script.due:
                for line, data, said in zip(outward, sent, self._said(), strict=True):
                    data += line.carry(said, self.now)
            if not begun:
                self.script.update(self.now)
        return dict(zip(PORTS, map(bytes, sent), strict=True))

    def _said(self) -> tuple[bytes, bytes, bytes]:
        """Return and clear what each device has sent, in the order of PORTS."""
        said = self.printer.output(), self.balance.output(), self.hub.lines(self.plant.samples)
        self.plant.samples.clear()
        return said

    def _advance(self, to_us: int) -> None:
        printer, plant = self.printer, self.plant
        printer.advance(to_us)
        if not printer.motions:
            plant.mount(printer.mover.tool)
        plant.run(printer.motions, to_us)
        printer.motions.clear()
        if to_us % WEIGHING_US == 0:
            self.cell.advance(to_us, plant.plate_mg(), plant.last_motion_us)
            self.balance.advance(to_us)
        self.now = to_us

    def _arrive(self, port: str, data: bytes) -> None:
        if not data:
            return
        if port == "printer":
            self.printer.receive(data)
        elif port == "balance":
            self.balance.receive(data)
        elif isinstance(self.hub, Transmitter):
            self.hub.receive(data, self.now)

    def truth(self) -> list[TruthRow]:
        """Return what really lies on the plate: one row per patch, decimal strings, masses in mg, places in mm.

        With two heads each row also says what came of each ink: its mass as it fell, and its own active.
        """
        return [
            {
                "patch": patch.index,
                "x": f"{(patch.x_min + patch.x_max) / 2:.3f}",
                "y": f"{(patch.y_min + patch.y_max) / 2:.3f}",
                "true_mass_mg": f"{patch.wet_mg:.3f}",
                "dried_mg": f"{patch.dried_mg:.3f}",
                "active_mg": f"{patch.active_mg:.4f}",
                **(_of_each_head(patch) if self.plant.heads > 1 else {}),
            }
            for patch in self.plant.patches
        ]


def _of_each_head(patch: Patch) -> TruthRow:
    return {
        **{f"true_mass_{head}_mg": f"{mass:.3f}" for head, mass in enumerate(patch.mass_of, start=1)},
        **{f"active_{head}_mg": f"{mass:.4f}" for head, mass in enumerate(patch.active_of, start=1)},
    }
