"""What a real bench is, read from `real.toml`: its ports, its limits, the operator's check weight. No device is touched here.

    name = "Bench 2, room 14"
    [printer]
    port = "/dev/serial/by-id/usb-marlin"
    firmware = "Marlin 2.1"
    [balance]
    port = "/dev/serial/by-id/usb-balance"
    check_weight_mg = "1000.0"
    [pressure]
    port = "/dev/serial/by-id/usb-hub"

Every other figure has a default, the one of the virtual bench for cyclophosphamide; an unknown key is an error.
"""

from __future__ import annotations

import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hil_tests.cases import BenchConfigError


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RealPrinter(Part):
    """Places in mm, speeds in mm/min; `purge` is beside the plate, `spot` on it."""

    port: str
    baud: int = 250_000
    firmware: str = "Marlin 2.1"
    e_area_mm2: Decimal = Decimal("165.13")
    purge_x: Decimal = Decimal(8)
    purge_y: Decimal = Decimal(8)
    spot_x: Decimal = Decimal(100)
    spot_y: Decimal = Decimal(100)
    safe_z: Decimal = Decimal(12)
    print_z: Decimal = Decimal("1.5")
    travel_feed: Decimal = Decimal(4800)
    nozzle_c: Decimal = Decimal(40)
    nozzle_low_c: Decimal = Decimal(38)
    nozzle_high_c: Decimal = Decimal(42)
    heating_limit_s: Decimal = Decimal(600)
    flow_uL_per_s: Decimal = Decimal(7)
    prime_uL: Decimal = Decimal(60)
    purge_uL: Decimal = Decimal(120)
    density: Decimal = Decimal("1.20")
    purge_tolerance_percent: Decimal = Decimal(10)


class RealBalance(Part):
    """Masses in mg."""

    port: str
    baud: int = 9600
    driver: Literal["mt-sics", "sartorius-sbi"] = "mt-sics"
    check_weight_mg: Decimal = Decimal(1000)
    tolerance_mg: Decimal = Decimal("0.5")


class RealPressure(Part):
    port: str
    baud: int = 115_200
    lines_per_s: Decimal = Decimal(100)
    rest_low_kPa: Decimal = Decimal(-5)
    rest_high_kPa: Decimal = Decimal(30)


class RealBench(Part):
    """One bench with its three devices."""

    name: str = Field(min_length=1)
    printer: RealPrinter
    balance: RealBalance
    pressure: RealPressure


def load_real_bench(path: Path) -> RealBench:
    """Read `real.toml`. Raises BenchConfigError naming the file, the key and what is wrong."""
    try:
        return RealBench.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BenchConfigError(f"{path}: {place}: {first['msg']}", remedy="See docs/bench.md, real benches.") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BenchConfigError(f"cannot read {path}: {error}", remedy="Check the path and the TOML.") from error
