"""Faults, scripted by name: what goes wrong, in which unit, on which device.

`clog`, `clog:3`, `unplug:pressure`, `unplug:balance:2`: a unit is the k-th patch on the plate; without one, the fifth.
A fault begins inside its unit, after the plunger has moved the onset volume of the case into it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from audit.errors import DosewrightError
from hil_tests.plant import Plant
from hil_tests.virtual_instruments import LoadCell, MtSicsBalance, PressureHub, SbiBalance
from hil_tests.virtual_printer import VirtualPrinter

DEFAULT_UNIT = 5
PORTS = ("printer", "balance", "pressure")

# Resistance of a clog doubles every two seconds; air offers an eighth of the resistance of paste.
_CLOG_DOUBLING_S = 2.0
_AIR_RESISTANCE = 0.12
_DRIFT_MG_PER_S = 1.0
_NOISE_PER_BYTE = 1e-3


class FaultError(DosewrightError):
    """A fault that the bench does not know."""

    code = "HT-002"


@dataclass(frozen=True, slots=True)
class FaultSpec:
    """A fault by name, the unit it strikes in, and the device where it has one."""

    name: str
    unit: int = DEFAULT_UNIT
    device: str = ""


class Devices:
    """What a fault may act on; `unplugged` and `noisy` are for whoever moves the bytes."""

    def __init__(
        self, plant: Plant, printer: VirtualPrinter, cell: LoadCell, balance: MtSicsBalance | SbiBalance, hub: PressureHub
    ) -> None:
        self.plant = plant
        self.printer = printer
        self.cell = cell
        self.balance = balance
        self.hub = hub
        self.unplugged: set[str] = set()
        self.noise_per_byte = 0.0


Action = Callable[[Devices, FaultSpec, float], None]


def _clog(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    # A nozzle does not clog while nothing flows; the pressure it leads to is bounded by the stall of the motor.
    devices.plant.resistance = min(2.0 ** (age_s / _CLOG_DOUBLING_S), 1e6)


def _bubble(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    if age_s == 0.0:
        devices.plant.air_uL = devices.plant.config.bubble_uL
        devices.plant.resistance = _AIR_RESISTANCE


def _drift(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    devices.cell.zero_drift = _DRIFT_MG_PER_S


def _unplug(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    devices.unplugged.add(spec.device or "printer")


def _empty(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    devices.plant.delivery = 0.0


def _slip(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    devices.plant.delivery = 0.6


def _leak(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    devices.plant.leak_uL_per_s = 0.2 * devices.plant.config.nominal_flow


def _density(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    devices.plant.density = 0.90 * devices.plant.config.density


def _strength(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    devices.plant.strength = 1.15 * devices.plant.config.strength


def _heater(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    devices.printer.nozzle.element_dead = True


def _runaway(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    devices.printer.nozzle.stuck_on = True


def _thermistor(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    devices.printer.nozzle.thermistor_open = True


def _reset(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    if age_s == 0.0:
        devices.printer.reset()


def _balance_silent(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    devices.balance.silent = True


def _balance_unstable(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    devices.cell.never_stable = True


def _balance_touched(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    devices.cell.extra_mg = 250.0


def _overload(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    devices.cell.extra_mg = 1e6


def _pressure_stuck(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    devices.hub.stuck = True


def _pressure_silent(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    devices.hub.silent = True


def _pressure_noisy(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    devices.hub.noise_kPa = 60.0


def _noise(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    devices.noise_per_byte = _NOISE_PER_BYTE


FAULTS: dict[str, Action] = {
    "clog": _clog,
    "bubble": _bubble,
    "drift": _drift,
    "unplug": _unplug,
    "empty": _empty,
    "slip": _slip,
    "leak": _leak,
    "density": _density,
    "strength": _strength,
    "heater": _heater,
    "runaway": _runaway,
    "thermistor": _thermistor,
    "reset": _reset,
    "balance_silent": _balance_silent,
    "balance_unstable": _balance_unstable,
    "balance_touched": _balance_touched,
    "overload": _overload,
    "pressure_stuck": _pressure_stuck,
    "pressure_silent": _pressure_silent,
    "pressure_noisy": _pressure_noisy,
    "noise": _noise,
}


def parse_fault(text: str) -> FaultSpec:
    """Read `name[:device][:unit]`. Raises FaultError for an unknown name, device or unit."""
    name, *rest = text.split(":")
    if name not in FAULTS:
        raise FaultError(f"no fault is called {name!r}", remedy=f"Choose one of: {', '.join(FAULTS)}.")
    unit, device = DEFAULT_UNIT, ""
    for part in rest:
        if part in PORTS and name == "unplug":
            device = part
        elif part.isascii() and part.isdigit() and int(part) > 0:
            unit = int(part)
        else:
            raise FaultError(f"the fault {text!r} cannot be read at {part!r}", remedy="Write for example clog:3 or unplug:pressure:2.")
    return FaultSpec(name, unit, device)


class FaultScript:
    """Watch the plant and let each fault begin where it is due; from then on apply it at every step."""

    def __init__(self, specs: tuple[FaultSpec, ...], devices: Devices) -> None:
        self._specs = specs
        self._devices = devices
        self._begun: dict[FaultSpec, int] = {}

    def update(self, now: int) -> None:
        for spec in self._specs:
            begun = self._begun.get(spec)
            if begun is None:
                if not self._due(spec):
                    continue
                begun = self._begun[spec] = now
            FAULTS[spec.name](self._devices, spec, (now - begun) / 1e6)

    @property
    def begun(self) -> tuple[FaultSpec, ...]:
        """The faults that have begun."""
        return tuple(self._begun)

    def _due(self, spec: FaultSpec) -> bool:
        patch = self._devices.plant.current
        if patch is None or patch.index < spec.unit:
            return False
        return patch.index > spec.unit or patch.plunger_uL >= self._devices.plant.config.onset_uL


def corrupted(data: bytes, generator: random.Random, per_byte: float) -> bytes:
    """Return the bytes with some dropped and some with one bit flipped, each with the given probability."""
    out = bytearray()
    for byte in data:
        drawn = generator.random()
        if drawn < per_byte / 2:
            continue
        out.append(byte ^ (1 << generator.randrange(7)) if drawn < per_byte else byte)
    return bytes(out)
