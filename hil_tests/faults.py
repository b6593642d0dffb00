"""Faults, scripted by name: what goes wrong, in which unit, on which device; or drawn from the seed.

`clog`, `clog:3`, `unplug:pressure`, `byte_flip:balance:2`: a unit is the k-th patch on the plate, purge units included;
without one, the fifth. `any` is a fault, a unit and a device drawn from the seed of the bench. A fault begins inside its unit,
after the plunger has moved the onset volume of the case into it. With two heads, `clog:3:head2` begins once the second head has
moved its own onset volume; what strikes a head strikes that one alone, and waits while it is docked.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from audit.errors import DosewrightError
from hil_tests.plant import Plant
from hil_tests.virtual_instruments import LoadCell, MtSicsBalance, PressureHub, SbiBalance
from hil_tests.virtual_printer import VirtualPrinter
from hil_tests.virtual_transmitter import Transmitter
from hil_tests.wire_faults import Wire

DEFAULT_UNIT = 5
PORTS = ("printer", "balance", "pressure")
HEADS = ("head1", "head2")
DRAWN = "any"

# Resistance of a slow clog doubles every two seconds; air offers an eighth of the resistance of paste.
_CLOG_DOUBLING_S = 2.0
_CLOGGED = 1e6
_AIR_RESISTANCE = 0.12
_DRIFT_MG_PER_S = 1.0
_DAMAGED_PER_BYTE = 1e-3
_BURSTS_PER_BYTE = 2e-4
_LATENCY_US = 500_000
_BUSY_US = 40_000_000
_BROWN_OUT_S = 2.0


class FaultError(DosewrightError):
    """A fault that the bench does not know."""

    code = "HT-002"


@dataclass(frozen=True, slots=True)
class FaultSpec:
    """A fault by name, the unit it strikes in, the device where it has one, and the head (from 0) that brings it on."""

    name: str
    unit: int = DEFAULT_UNIT
    device: str = ""
    head: int = 0


class Devices:
    """What a fault may act on; `unplugged` and `wires` are for whoever moves the bytes."""

    def __init__(
        self, plant: Plant, printer: VirtualPrinter, cell: LoadCell, balance: MtSicsBalance | SbiBalance, hub: PressureHub | Transmitter
    ) -> None:
        self.plant = plant
        self.printer = printer
        self.cell = cell
        self.balance = balance
        self.hub = hub
        self.unplugged: set[str] = set()
        self.wires = {name: Wire() for name in PORTS}
        self.restarted = False

    def wire(self, spec: FaultSpec) -> Wire:
        return self.wires[spec.device or "printer"]


Action = Callable[[Devices, FaultSpec, float], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault: the name it has in the list of cases, what happens, and how. `device`: a port may be named.

    `timed`: what it does changes with its age, or it holds bytes back.
    """

    listed: str
    what: str
    act: Action
    device: bool = False
    timed: bool = False


def _clog(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    # A nozzle does not clog while nothing flows; the pressure it leads to is bounded by the stall of the motor.
    devices.plant.resistance = min(2.0 ** (age_s / _CLOG_DOUBLING_S), _CLOGGED)


def _clog_sudden(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    devices.plant.resistance = _CLOGGED


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


def _lost_steps(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    devices.plant.x_shift_mm = 1.5


def _leak(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    devices.plant.leak_uL_per_s = 0.2 * devices.plant.config.nominal_flow


def _density(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    devices.plant.density = 0.90 * devices.plant.config.density


def _strength(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    devices.plant.strength = 1.15 * devices.plant.config.strength


def _wrong_ink(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    devices.plant.strength = 0.0


def _heater(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    devices.printer.nozzle.element_dead = True


def _runaway(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    devices.printer.nozzle.stuck_on = True


def _plate(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    devices.printer.bed.stuck_on = True


def _thermistor(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    devices.printer.nozzle.thermistor_open = True


def _guard(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    if age_s == 0.0 and not devices.printer.killed:
        devices.printer.kill()


def _reset(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    if age_s == 0.0:
        devices.printer.reset()


def _brown_out(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    if age_s == 0.0:
        devices.printer.power_off()
    elif age_s >= _BROWN_OUT_S and not devices.restarted:
        devices.restarted = True
        devices.printer.reset(" Brown out Reset")


def _busy(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    if age_s == 0.0:
        devices.printer.held_until = devices.printer.now + _BUSY_US


def _resend_storm(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    devices.printer.refused_lines = 1_000_000


def _resend_wrong(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    if age_s == 0.0:
        devices.printer.refused_lines, devices.printer.resend_offset = 3, 5


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


def _pressure_offset(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    devices.hub.offset_kPa = 60.0


def _pressure_silent(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    devices.hub.silent = True


def _pressure_noisy(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    devices.hub.noise_kPa = 60.0


def _noise(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    wire = devices.wire(spec)
    wire.drop = wire.flip = _DAMAGED_PER_BYTE / 2


def _byte_drop(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    devices.wire(spec).drop = _DAMAGED_PER_BYTE


def _byte_flip(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    devices.wire(spec).flip = _DAMAGED_PER_BYTE


def _byte_burst(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    devices.wire(spec).burst = _BURSTS_PER_BYTE


def _latency(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    devices.wire(spec).latency_us = _LATENCY_US


def _ok_damaged(devices: Devices, spec: FaultSpec, age_s: float) -> None:
    devices.wires["printer"].damaged_ok = 0.05


FAULTS: dict[str, Fault] = {
    "clog": Fault("clog, slow", "the resistance of the nozzle doubles every 2 s; the motor stalls at 1500 kPa", _clog, timed=True),
    "clog_sudden": Fault("clog, sudden", "nothing passes the nozzle from one moment to the next", _clog_sudden),
    "bubble": Fault(
        "air bubble", "air passes: pressure falls to an eighth, a volume of 50, 40, 8 or 15 µL is missing from the unit", _bubble
    ),
    "empty": Fault("empty cartridge", "nothing more reaches the nozzle", _empty),
    "density": Fault("wrong density", "the ink is 10 % lighter", _density),
    "strength": Fault("concentrated ink", "the ink holds 15 % more drug at the same mass", _strength),
    "wrong_ink": Fault("wrong ink", "the ink holds nothing of the drug; it weighs and flows the same", _wrong_ink),
    "leak": Fault("leak", "1/5 of the nominal flow goes past the nozzle while there is pressure", _leak),
    "slip": Fault("lost steps", "the drive slips: 60 % of the plunger's movement reaches the ink", _slip),
    "lost_steps": Fault("lost steps", "the X axis stands 1.5 mm beside the place that it reports", _lost_steps),
    "heater": Fault("dead heater", "the nozzle's element is dead; the firmware kills after 20 s more than 4 °C below its target", _heater),
    "runaway": Fault("heater runaway", "the nozzle's element is stuck on; the firmware kills at its maximum", _runaway),
    "plate": Fault("plate runaway", "the plate's element is stuck on; the firmware kills at its maximum", _plate),
    "thermistor": Fault("open thermistor", "the nozzle's thermistor reads −15 °C; the firmware kills (MINTEMP)", _thermistor),
    "guard": Fault("guard door", "the guard is opened; its switch is on the firmware's kill input, so it halts for good", _guard),
    "drift": Fault("balance drift", "the balance's zero drifts by 1 mg/s", _drift),
    "unplug": Fault(
        "USB loss",
        "the bench closes the port (of the printer, or the one named) and never opens it again; the printer works off its queue",
        _unplug,
        device=True,
    ),
    "balance_silent": Fault("balance disconnect", "the balance answers nothing more; its port stays open", _balance_silent),
    "balance_unstable": Fault("balance never stable", "no value is ever stable; `S` ends in `S I` after 30 s", _balance_unstable),
    "balance_touched": Fault("balance touched", "250 mg lean on the plate", _balance_touched),
    "overload": Fault("balance overload", "the load is above the balance's capacity", _overload),
    "pressure_stuck": Fault("pressure stuck", "the last value for ever", _pressure_stuck),
    "pressure_offset": Fault("pressure offset", "60 kPa too much in every line", _pressure_offset),
    "pressure_noisy": Fault("pressure noisy", "60 kPa of noise (standard deviation)", _pressure_noisy),
    "pressure_silent": Fault("pressure silent", "no lines; the sequence number goes on", _pressure_silent),
    "byte_drop": Fault("byte drop", "both ways, one byte in 1,000 is lost", _byte_drop, device=True),
    "byte_flip": Fault("byte flip", "both ways, one byte in 1,000 has one bit flipped", _byte_flip, device=True),
    "byte_burst": Fault("byte burst", "both ways, one byte in 5,000 begins a burst: 4 to 20 bytes of rubbish", _byte_burst, device=True),
    "noise": Fault("byte drop and flip", "both ways, one byte in 1,000 is lost or has one bit flipped", _noise, device=True),
    "latency": Fault("latency", "both ways, every byte takes half a second longer", _latency, device=True, timed=True),
    "busy": Fault("busy", "for 40 s the firmware runs nothing, says `echo:busy: processing` every 2 s, then goes on", _busy),
    "resend_storm": Fault("resend storm", "every numbered line is refused as damaged, for ever", _resend_storm),
    "ok_damaged": Fault("damaged ok", "one `ok` line in 20 has a byte changed or lost", _ok_damaged),
    "resend_wrong": Fault("wrong resend number", "three lines are refused, and `Resend:` asks for a line 5 further on", _resend_wrong),
    "reset": Fault("firmware reset mid-print", "the firmware says `start` and has forgotten the job", _reset),
    "brown_out": Fault("brown-out", "the printer is dead for 2 s, then says `start` and ` Brown out Reset`", _brown_out, timed=True),
}


OF_A_HEAD = frozenset(
    {"clog", "clog_sudden", "bubble", "empty", "density", "strength", "wrong_ink", "leak", "slip", "heater", "runaway", "thermistor"}
)
"""Faults of the ink, the nozzle or its heater: they belong to one head. All others are of the bench."""


def faults_markdown() -> str:
    """Return the table of faults as docs/bench.md shows it."""
    rows = ["| name | in the list of cases | what happens |", "|---|---|---|"]
    rows += [f"| `{name}`{', `:device`' if fault.device else ''} | {fault.listed} | {fault.what} |" for name, fault in FAULTS.items()]
    return "\n".join(rows) + "\n"


def parse_fault(text: str, seed: int = 1) -> FaultSpec:
    """Read `name[:device][:unit]`; `any` is drawn from the seed. Raises FaultError for an unknown name, device or unit."""
    name, *rest = text.split(":")
    drawn = random.Random(f"{seed}:fault")
    unit, device, head = DEFAULT_UNIT, "", 0
    if name == DRAWN:
        name = drawn.choice(sorted(FAULTS))
        unit, device = drawn.randint(1, 14), drawn.choice(PORTS) if FAULTS[name].device else ""
    if name not in FAULTS:
        raise FaultError(f"no fault is called {name!r}", remedy=f"Choose one of: {DRAWN}, {', '.join(FAULTS)}.")
    for part in rest:
        if part in PORTS and FAULTS[name].device:
            device = part
        elif part.isascii() and part.isdigit() and int(part) > 0:
            unit = int(part)
        elif part in HEADS:
            head = HEADS.index(part)
        else:
            raise FaultError(f"the fault {text!r} cannot be read at {part!r}", remedy="Write for example clog:3 or unplug:pressure:2.")
    return FaultSpec(name, unit, device, head)


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
            if spec.name in OF_A_HEAD and spec.head != self._devices.plant.head:
                continue
            FAULTS[spec.name].act(self._devices, spec, (now - begun) / 1e6)

    @property
    def tense(self) -> bool:
        """Whether a fault may begin from one pressure sample to the next, or changes with time.

        A fault begins after its onset volume, which takes far longer to push than the bench's longest step: until its unit is
        on the plate there is no need to look.
        """
        patch = self._devices.plant.current
        index = 0 if patch is None else patch.index
        return any(FAULTS[spec.name].timed if spec in self._begun else index >= spec.unit for spec in self._specs)

    @property
    def due(self) -> bool:
        """Whether a fault will begin at the next update."""
        return any(spec not in self._begun and self._due(spec) for spec in self._specs)

    @property
    def begun(self) -> tuple[FaultSpec, ...]:
        """The faults that have begun."""
        return tuple(self._begun)

    def _due(self, spec: FaultSpec) -> bool:
        plant = self._devices.plant
        patch = plant.current
        if patch is None or patch.index < spec.unit or plant.head != spec.head:
            return False
        return patch.index > spec.unit or patch.pushed_by[spec.head] >= plant.config.onset_uL
