"""What a run is to do: the proved program, its limits and its records, as frozen values.

Built once by admission from the signed order, recipe and machine profile; the run machine reads nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

from audit.canonical import JsonValue, sha256_hex
from audit.quantities import EXACT, Celsius, Kilopascal, Microlitre, Milligram, SquareMillimetre
from firmware_bridge.firmware_profile import FirmwareProfile
from firmware_bridge.gcode_link import OutLine
from firmware_bridge.pressure_modbus import ModbusMap
from printer.acceptance import Criteria
from printer.dose_control import CorrectionRule
from printer.external_weighing import ExternalBalance
from printer.messages import UnitCompiled
from printer.readiness import Gate

_CLOSURE = Decimal("0.001")
_LEAST_CLOSURE = Decimal("0.05")
"""The proof closes at 0.05 % or half a motor step; this second look, in µL or as a share, is only as wide as rounding asks."""

SLOW_CODES = (b"G28", b"M400", b"G4", b"T0", b"T1")


@dataclass(frozen=True, slots=True)
class PressureSource:
    """Which driver reads the pressure, over which range, how often; `where` is the register map of a polled transmitter."""

    protocol: str
    low: Kilopascal
    high: Kilopascal
    period_us: int
    where: ModbusMap | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Set points, validated ranges and alarm limits of the run; times in µs of process time."""

    nozzle_set: Celsius
    nozzle_low: Celsius
    nozzle_high: Celsius
    plate_set: Celsius
    plate_low: Celsius
    plate_high: Celsius
    flow_nl_per_s: int
    pressure_high: Kilopascal
    pressure_low: Kilopascal
    pressure_high_delay_us: int
    pressure_low_delay_us: int
    pressure_stale_us: int
    temperature_delay_us: int
    temperature_stale_us: int
    heating_limit_us: int
    settle_us: int
    weighing_span_us: int
    weighing_timeout_us: int
    preflight_limit_us: int = 30_000_000


@dataclass(frozen=True, slots=True)
class PlannedUnit:
    """One unit: what it shall weigh, its proved commands, the net volume in nL commanded after each of them.

    A purge unit is waste from the first: it is printed and weighed as a unit is, never counted, never released. Of a unit of two
    inks, `part` (1 or 2) is what one ink makes of it, printed and weighed as a unit is; `last` is the one that completes the unit.
    `source` names what it is printed from, for the record.
    """

    n: int
    strength: Milligram
    target_mass: Milligram
    target_volume: Microlitre
    gcode_sha256: str
    lines: tuple[OutLine, ...]
    cumulative_nl: tuple[int, ...]
    duration_us: int
    criteria: Criteria
    x: Decimal
    y: Decimal
    shape: Mapping[str, str]
    purge: bool = False
    flow_factor: Decimal = Decimal(1)
    part: int = 0
    last: bool = True
    source: Mapping[str, str] = field(default_factory=dict)

    @property
    def head(self) -> int:
        """Which head prints it, from 0."""
        return max(self.part - 1, 0)

    @property
    def name(self) -> str:
        return f"{'purge ' if self.purge else ''}unit {self.n}{f' part {self.part}' if self.part else ''}"

    @property
    def title(self) -> str:
        """The unit in the program as it was sent."""
        return f"{'PURGE' if self.purge else 'UNIT'} {self.n}{f' PART {self.part}' if self.part else ''}"

    @property
    def file(self) -> str:
        """The unit in the names of its attachments."""
        return f"purge-{self.n}" if self.purge else f"unit-{self.n:03d}{f'-part-{self.part}' if self.part else ''}"

    @property
    def taking(self) -> int:
        """How many of its lines take its head into use, before anything else of it may be sent."""
        return 2 if self.part else 0


@dataclass(frozen=True, slots=True)
class Supply:
    """The ink of one cartridge as the run is admitted with it.

    `what` names it and its last day of use; `give_nl` is what it holds above the heel, `prime_nl` what priming takes of that;
    `life_us` how long from the admission it may be used, in µs of process time.
    """

    what: str
    give_nl: int
    prime_nl: int
    life_us: int


@dataclass(frozen=True, slots=True)
class Action:
    """One procedure of the machine profile, rendered and proved: its name, digest and commands. `head`: which one it is for, of several."""

    name: str
    sha256: str
    lines: tuple[OutLine, ...]
    head: int | None = None


@dataclass(frozen=True, slots=True)
class SecondHead:
    """What a run needs to know of a second head with its ink."""

    limits: Limits
    e_area: SquareMillimetre
    correction: CorrectionRule | None = None


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What one run is to do. `limits`, `e_area` and `correction` are those of the first head; `second` is there where units have two inks.

    `units` are in order of printing; a unit of two inks is two of them.
    """

    run: str
    batch: str
    device: str
    created: Mapping[str, JsonValue]
    attachments: Mapping[str, bytes]
    header: bytes
    actions: Mapping[str, Action]
    units: tuple[PlannedUnit, ...]
    limits: Limits
    e_area: SquareMillimetre
    firmware: FirmwareProfile
    exposure_limit_nl: int
    balance_driver: str
    pressure: PressureSource
    static_gates: tuple[Gate, ...]
    correction: CorrectionRule | None = None
    balance_serial: str | None = None
    purges: tuple[PlannedUnit, ...] = ()
    second: SecondHead | None = None
    external: ExternalBalance | None = None
    """The balance on which each unit is weighed that the plate balance cannot judge; None: the plate balance judges."""
    supplies: tuple[Supply, ...] = ()
    """The ink in each head; empty where the time of day of its admission is not known."""


def limits_of_heads(plan: RunPlan) -> tuple[Limits, ...]:
    """Return the limits of each head that is used."""
    return (plan.limits,) if plan.second is None else (plan.limits, plan.second.limits)


def e_area_of(plan: RunPlan, unit: PlannedUnit) -> SquareMillimetre:
    """Return what one mm of E moves where this unit, or part, is printed."""
    return plan.e_area if unit.head == 0 or plan.second is None else plan.second.e_area


def units_planned(plan: RunPlan) -> int:
    """Return how many units are planned, whatever the number of their parts."""
    return sum(unit.last for unit in plan.units)


def recompiled(unit: PlannedUnit, compiled: UnitCompiled, e_area: SquareMillimetre) -> PlannedUnit:
    """Return the unit as it was compiled anew: other bytes, same target mass.

    Raises ValueError where the bytes are not those of the digest, not of this unit, without the proof of this volume, or where
    what they extrude is not the planned volume times the flow factor.
    """
    lines = out_lines(commands_of(compiled.gcode), e_area)
    volume = Microlitre(EXACT.multiply(unit.target_volume.value, compiled.factor))
    if sha256_hex(compiled.gcode) != compiled.sha256 or (compiled.n, compiled.purge, compiled.part) != (unit.n, unit.purge, unit.part):
        raise ValueError(f"the bytes of {unit.name} are not those that were proved")
    if not _proved(compiled, volume):
        raise ValueError(f"{unit.name} came without its proof")
    pushed = EXACT.divide(Decimal(_net_nl(compiled.gcode, e_area)), Decimal(1000))
    if compiled.target_volume != volume or abs(pushed - volume.value) > max(volume.value * _CLOSURE, _LEAST_CLOSURE):
        raise ValueError(f"{unit.name} extrudes {Microlitre(pushed).rounded(3)}, {volume.rounded(3)} were asked for")
    if len(compiled.cumulative_nl) != len(lines):
        raise ValueError(f"{unit.name} came with volumes for other commands")
    return replace(
        unit,
        flow_factor=compiled.factor,
        target_volume=compiled.target_volume,
        gcode_sha256=compiled.sha256,
        lines=lines,
        cumulative_nl=compiled.cumulative_nl,
        duration_us=compiled.duration_us,
        criteria=replace(unit.criteria, planned_us=compiled.duration_us),
    )


def _proved(compiled: UnitCompiled, volume: Microlitre) -> bool:
    """Whether the proof is one of this unit and volume. That it holds is the compiler's word: without it there is no answer."""
    try:
        proof = json.loads(compiled.proof)
        named = isinstance(proof, dict) and (proof["n"], proof.get("part", 0)) == (compiled.n, compiled.part)
        return named and abs(Decimal(proof["target_uL"]) - volume.value) < Decimal("0.001")
    except (ValueError, KeyError, TypeError, ArithmeticError):
        return False


def out_lines(commands: tuple[bytes, ...], e_area: SquareMillimetre) -> tuple[OutLine, ...]:
    """Return commands as link lines, each with the volume in nL that it extrudes (E relative, M83)."""
    return tuple(
        OutLine(command=command, tag=str(index), exposure_nl=_exposure_nl(command, e_area), slow=command.startswith(SLOW_CODES))
        for index, command in enumerate(commands)
    )


def commands_of(gcode: bytes) -> tuple[bytes, ...]:
    """Return the commands of a G-code text: no comments, no blank lines."""
    stripped = (line.split(b";", 1)[0].strip() for line in gcode.splitlines())
    return tuple(line for line in stripped if line)


def _net_nl(gcode: bytes, e_area: SquareMillimetre) -> int:
    """Return the net volume of a section in nL, retractions counted (E relative, M83)."""
    words = (word for command in commands_of(gcode) if command.startswith(b"G1 ") for word in command.split() if word.startswith(b"E"))
    millimetres = sum((Decimal(word[1:].decode("ascii")) for word in words), Decimal(0))
    return int(EXACT.multiply(EXACT.multiply(millimetres, e_area.value), Decimal(1000)))


def _exposure_nl(command: bytes, e_area: SquareMillimetre) -> int:
    if not command.startswith((b"G0 ", b"G1 ")):
        return 0
    for word in command.split():
        if word.startswith(b"E"):
            volume = EXACT.multiply(EXACT.multiply(Decimal(word[1:].decode("ascii")), e_area.value), Decimal(1000))
            return max(0, int(volume))
    return 0
