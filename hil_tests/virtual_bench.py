"""The bench as one deterministic machine without I/O: three devices joined by one plant.

`receive(port, bytes)` and `step(to_us)`; the same inputs and seed give the same bytes. Ports: printer, balance, pressure.
"""

from __future__ import annotations

import random

from hil_tests.cases import BenchConfig
from hil_tests.faults import PORTS, Devices, FaultScript, corrupted
from hil_tests.plant import Heater, Plant
from hil_tests.virtual_instruments import LoadCell, MtSicsBalance, PressureHub, SbiBalance
from hil_tests.virtual_printer import VirtualPrinter

__all__ = ["PORTS", "VirtualBench"]

TruthRow = dict[str, int | str]


class VirtualBench:
    """Plant, devices and fault script under one virtual clock (µs). Concurrency: one owner."""

    def __init__(self, config: BenchConfig, start_us: int = 0) -> None:
        seed = config.seed
        self.config = config
        self.now = start_us
        self.plant = Plant(config.plant, seed, start_us)
        self.printer = VirtualPrinter(
            config.printer, Heater(config.plant.nozzle, f"{seed}:nozzle"), Heater(config.plant.plate, f"{seed}:plate"), start_us
        )
        self.cell = LoadCell(config.balance, seed, start_us)
        balance_type = SbiBalance if config.balance.driver == "sartorius-sbi" else MtSicsBalance
        self.balance = balance_type(config.balance, self.cell)
        self.hub = PressureHub(config.pressure, seed)
        self.devices = Devices(self.plant, self.printer, self.cell, self.balance, self.hub)
        self.script = FaultScript(config.faults, self.devices)
        self._noise = random.Random(f"{seed}:wire")

    @property
    def unplugged(self) -> set[str]:
        return self.devices.unplugged

    def receive(self, port: str, data: bytes) -> None:
        """Hand bytes from the host to a device, at the present virtual time. KeyError for a port that is not there."""
        if port == "printer":
            if self.devices.noise_per_byte:
                data = corrupted(data, self._noise, self.devices.noise_per_byte)
            self.printer.receive(data)
        elif port == "balance":
            self.balance.receive(data)
        elif port != "pressure":
            raise KeyError(port)

    def step(self, to_us: int) -> dict[str, bytes]:
        """Let time pass up to `to_us` and return what each device has sent."""
        printer, plant = self.printer, self.plant
        printer.advance(to_us)
        motions = printer.motions
        plant.run(motions, to_us)
        motions.clear()
        self.cell.advance(to_us, plant.plate_mg(), plant.last_motion_us)
        self.balance.advance(to_us)
        samples = plant.samples
        pressure = self.hub.lines(samples)
        samples.clear()
        if self.config.faults:
            self.script.update(to_us)
        self.now = to_us
        sent = printer.output()
        if sent and self.devices.noise_per_byte:
            sent = corrupted(sent, self._noise, self.devices.noise_per_byte)
        return {"printer": sent, "balance": self.balance.output(), "pressure": pressure}

    def truth(self) -> list[TruthRow]:
        """Return what really lies on the plate: one row per patch, decimal strings, masses in mg, places in mm."""
        return [
            {
                "patch": patch.index,
                "x": f"{(patch.x_min + patch.x_max) / 2:.3f}",
                "y": f"{(patch.y_min + patch.y_max) / 2:.3f}",
                "true_mass_mg": f"{patch.wet_mg:.3f}",
                "dried_mg": f"{patch.dried_mg:.3f}",
                "active_mg": f"{patch.active_mg:.4f}",
            }
            for patch in self.plant.patches
        ]
