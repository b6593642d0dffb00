"""What a run is to do: the proved program, its limits and its records, as frozen values.

Built once by admission from the signed order, recipe and machine profile; the run machine reads nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from audit.canonical import JsonValue, sha256_hex
from audit.quantities import EXACT, Celsius, Kilopascal, Microlitre, Milligram, SquareMillimetre
from firmware_bridge.firmware_profile import FirmwareProfile
from firmware_bridge.gcode_link import OutLine
from firmware_bridge.pressure_modbus import ModbusMap
from printer.acceptance import Criteria
from printer.dose_control import CorrectionRule
from printer.messages import UnitCompiled
from printer.readiness import Gate

SLOW_CODES = (b"G28", b"M400", b"G4")


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
    """One unit: what it shall weigh, its proved commands, the net volume in nL commanded after each of them."""

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


@dataclass(frozen=True, slots=True)
class Action:
    """One procedure of the machine profile, rendered and proved: its name, digest and commands."""

    name: str
    sha256: str
    lines: tuple[OutLine, ...]


@dataclass(frozen=True, slots=True)
class RunPlan:
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


def recompiled(unit: PlannedUnit, compiled: UnitCompiled, e_area: SquareMillimetre) -> PlannedUnit:
    """Return the unit as it was compiled anew: other bytes, same target mass. Raises ValueError where the digest does not fit."""
    if sha256_hex(compiled.gcode) != compiled.sha256 or compiled.n != unit.n:
        raise ValueError(f"the bytes of unit {unit.n} are not those that were proved")
    return replace(
        unit,
        target_volume=compiled.target_volume,
        gcode_sha256=compiled.sha256,
        lines=out_lines(commands_of(compiled.gcode), e_area),
        cumulative_nl=compiled.cumulative_nl,
        duration_us=compiled.duration_us,
    )


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


def _exposure_nl(command: bytes, e_area: SquareMillimetre) -> int:
    if not command.startswith((b"G0 ", b"G1 ")):
        return 0
    for word in command.split():
        if word.startswith(b"E"):
            volume = EXACT.multiply(EXACT.multiply(Decimal(word[1:].decode("ascii")), e_area.value), Decimal(1000))
            return max(0, int(volume))
    return 0
