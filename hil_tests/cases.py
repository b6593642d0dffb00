"""What the bench is for each demonstration case, and the reader of `bench.toml`.

Every figure here is the bench's own truth, not a recipe: a recipe may be wrong about its ink, the bench never is.
Figures are illustrative unless a source stands beside them; docs/bench.md lists them.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TypeVar

from audit.errors import DosewrightError
from hil_tests.faults import FaultError, FaultSpec, parse_fault
from hil_tests.plant import HeaterConfig, PlantConfig, Rheology
from hil_tests.virtual_dialects import DIALECTS
from hil_tests.virtual_instruments import BalanceConfig, PressureConfig
from hil_tests.virtual_printer import PrinterConfig

# Inner diameters of regular-wall needles, ISO 9626:2016 table 1: 20G 0.603 mm, 18G 0.838 mm. Needle length half an inch.
_RADIUS_20G_MM = 0.3015
_RADIUS_18G_MM = 0.42
_HALF_INCH_MM = 12.7

Table = TypeVar("Table", bound="PlantConfig | PrinterConfig | BalanceConfig | PressureConfig")


class BenchConfigError(DosewrightError):
    """The bench cannot be set up as asked."""

    code = "HT-001"


@dataclass(frozen=True, slots=True)
class BenchConfig:
    """One bench: case, seed, rate of time, devices, physics, faults. `second`: the physics of a second head with its ink.

    What lies on the plate dries as `plant` says, whichever ink it is.
    """

    case: str
    plant: PlantConfig
    printer: PrinterConfig
    balance: BalanceConfig = field(default_factory=BalanceConfig)
    pressure: PressureConfig = field(default_factory=PressureConfig)
    seed: int = 1
    rate: Decimal = Decimal(1)
    faults: tuple[FaultSpec, ...] = ()
    second: PlantConfig | None = None


_SYRINGE_10ML = PrinterConfig(
    machine_type="Dosewright bench SSE", e_steps_per_mm=3200.0, e_max_feed=5.0, extrude_min_c=25.0, nozzle_max_c=90.0, bed_max_c=90.0
)
_PASTE_HEATER = HeaterConfig(ambient_c=20.0, tau_s=220.0, full_power_rise_c=110.0, noise_c=0.03)
_PLATE_HEATER = HeaterConfig(ambient_c=20.0, tau_s=400.0, full_power_rise_c=120.0, noise_c=0.03)

CASES: Mapping[str, BenchConfig] = {
    "cyclophosphamide": BenchConfig(
        case="cyclophosphamide",
        plant=PlantConfig(
            e_area_mm2=165.13,
            rheology=Rheology(radius_mm=_RADIUS_20G_MM, length_mm=_HALF_INCH_MM, index=0.5, consistency=93.0, yield_pa=300.0),
            lag_s=0.30,
            nominal_flow=7.0,
            density=1.20,
            strength=39.6,
            cartridge_uL=10_000.0,
            drying_fraction=0.013,
            drying_tau_s=150.0,
            nozzle=_PASTE_HEATER,
            plate=_PLATE_HEATER,
            onset_uL=60.0,
            bubble_uL=50.0,
        ),
        printer=_SYRINGE_10ML,
    ),
    "sildenafil": BenchConfig(
        case="sildenafil",
        plant=PlantConfig(
            e_area_mm2=165.13,
            rheology=Rheology(radius_mm=_RADIUS_18G_MM, length_mm=_HALF_INCH_MM, index=0.45, consistency=229.0, yield_pa=410.0),
            lag_s=0.30,
            nominal_flow=7.0,
            density=1.15,
            strength=28.1,
            cartridge_uL=10_000.0,
            drying_fraction=0.013,
            drying_tau_s=150.0,
            nozzle=_PASTE_HEATER,
            plate=_PLATE_HEATER,
            onset_uL=60.0,
            bubble_uL=40.0,
        ),
        printer=_SYRINGE_10ML,
    ),
    "hydrocortisone": BenchConfig(
        case="hydrocortisone",
        plant=PlantConfig(
            e_area_mm2=2.405,
            rheology=Rheology(radius_mm=0.2, length_mm=2.0, index=0.45, consistency=572.0, yield_pa=750.0),
            lag_s=0.30,
            nominal_flow=1.5,
            density=1.18,
            strength=50.4,
            cartridge_uL=60_000.0,
            drying_fraction=0.0,
            drying_tau_s=150.0,
            nozzle=HeaterConfig(ambient_c=20.0, tau_s=150.0, full_power_rise_c=320.0, noise_c=0.08),
            plate=HeaterConfig(ambient_c=20.0, tau_s=400.0, full_power_rise_c=140.0, noise_c=0.03),
            onset_uL=9.0,
            bubble_uL=8.0,
        ),
        printer=PrinterConfig(
            machine_type="Dosewright bench FDM",
            e_steps_per_mm=400.0,
            e_max_feed=45.0,
            extrude_min_c=150.0,
            nozzle_max_c=275.0,
            bed_max_c=125.0,
        ),
        balance=BalanceConfig(noise_mg=0.025),
    ),
    "minoxidil": BenchConfig(
        case="minoxidil",
        plant=PlantConfig(
            e_area_mm2=58.90,
            rheology=Rheology(radius_mm=_RADIUS_18G_MM, length_mm=_HALF_INCH_MM, index=0.5, consistency=235.0, yield_pa=410.0),
            lag_s=0.30,
            nominal_flow=3.0,
            density=1.10,
            strength=19.8,
            cartridge_uL=3_000.0,
            drying_fraction=0.004,
            drying_tau_s=150.0,
            nozzle=_PASTE_HEATER,
            plate=_PLATE_HEATER,
            onset_uL=25.0,
            bubble_uL=15.0,
        ),
        printer=replace(_SYRINGE_10ML, extrude_min_c=15.0, e_max_feed=10.0),
    ),
    "polypill": BenchConfig(
        case="polypill",
        plant=PlantConfig(
            e_area_mm2=165.13,
            rheology=Rheology(radius_mm=_RADIUS_20G_MM, length_mm=_HALF_INCH_MM, index=0.5, consistency=95.0, yield_pa=310.0),
            lag_s=0.30,
            nominal_flow=7.0,
            density=1.22,
            strength=49.6,
            cartridge_uL=10_000.0,
            drying_fraction=0.013,
            drying_tau_s=150.0,
            nozzle=_PASTE_HEATER,
            plate=_PLATE_HEATER,
            onset_uL=60.0,
            bubble_uL=50.0,
        ),
        second=PlantConfig(
            e_area_mm2=58.90,
            rheology=Rheology(radius_mm=_RADIUS_18G_MM, length_mm=_HALF_INCH_MM, index=0.45, consistency=250.0, yield_pa=420.0),
            lag_s=0.30,
            nominal_flow=5.0,
            density=1.08,
            strength=39.7,
            cartridge_uL=3_000.0,
            drying_fraction=0.013,
            drying_tau_s=150.0,
            nozzle=_PASTE_HEATER,
            plate=_PLATE_HEATER,
            onset_uL=45.0,
            bubble_uL=35.0,
        ),
        printer=replace(
            _SYRINGE_10ML,
            machine_type="Dosewright bench, two heads",
            e_max_feed=10.0,
            second_e_steps_per_mm=3200.0,
            second_offset_x_mm=0.35,
            second_offset_y_mm=-0.20,
            second_offset_z_mm=0.10,
        ),
    ),
}


def bench_for(
    case: str,
    *,
    seed: int = 1,
    rate: str = "1",
    faults: tuple[str, ...] = (),
    dialect: str = "marlin-2.1",
    balance: str = "mt-sics",
    pressure: str = "hub-lines",
) -> BenchConfig:
    """Return the bench of a case, with the devices named. Raises BenchConfigError naming what is not known."""
    if case not in CASES:
        raise BenchConfigError(f"no bench for the case {case!r}", remedy=f"Choose one of: {', '.join(CASES)}.")
    try:
        specs = tuple(parse_fault(text, seed) for text in faults)
    except FaultError as error:
        raise BenchConfigError(error.message, remedy=error.remedy) from error
    found = CASES[case]
    return checked(
        replace(
            found,
            printer=replace(found.printer, dialect=dialect),
            balance=replace(found.balance, driver=balance),
            pressure=replace(found.pressure, driver=pressure),
            seed=seed,
            rate=parse_rate(rate),
            faults=specs,
        )
    )


def checked(config: BenchConfig) -> BenchConfig:
    """Return the bench if every device that it names is one there is. Raises BenchConfigError."""
    for place, name, known in (
        ("[printer] dialect", config.printer.dialect, tuple(DIALECTS)),
        ("[balance] driver", config.balance.driver, ("mt-sics", "sartorius-sbi")),
        ("[pressure] driver", config.pressure.driver, ("hub-lines", "modbus-rtu")),
    ):
        if name not in known:
            raise BenchConfigError(f"{place} = {name!r} is not on this bench", remedy=f"Choose one of: {', '.join(known)}.")
    if config.second is None and any(fault.head for fault in config.faults):
        raise BenchConfigError(f"the bench of {config.case} has one head", remedy="Name no head, or head1.")
    if config.second is not None and config.printer.dialect != "marlin-2.1":
        raise BenchConfigError(f"two heads run with marlin-2.1 on this bench, not with {config.printer.dialect}", remedy="Choose that.")
    return config


def parse_rate(text: str) -> Decimal:
    """Read a rate of time, plain decimal text above 0 and up to 10000. Raises BenchConfigError."""
    try:
        rate = Decimal(text)
    except InvalidOperation:
        rate = Decimal(0)
    if not rate.is_finite() or not Decimal(0) < rate <= Decimal(10_000):
        raise BenchConfigError(f"the rate of time {text!r} is not a number above 0 and up to 10000", remedy="Write for example 1 or 60.")
    return rate


def load_bench(path: Path) -> BenchConfig:
    """Read a `bench.toml`: `case`, `seed`, `rate`, `faults`, and tables plant, printer, balance, pressure with single figures to change.

    Raises BenchConfigError for a file that cannot be read, an unknown key or a value of the wrong type.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BenchConfigError(f"cannot read the bench file {path}: {error}", remedy="Check the path and the TOML.") from error
    unknown = set(document) - {"case", "seed", "rate", "faults", "plant", "second", "printer", "balance", "pressure"}
    if unknown:
        raise BenchConfigError(f"{path}: unknown key {sorted(unknown)[0]!r}", remedy="See docs/bench.md for the keys of a bench file.")
    case, seed, faults = document.get("case"), document.get("seed", 1), document.get("faults", [])
    if not isinstance(case, str) or isinstance(seed, bool) or not isinstance(seed, int) or not isinstance(faults, list):
        raise BenchConfigError(f"{path}: case must be text, seed a whole number, faults a list", remedy="See docs/bench.md.")
    config = bench_for(case, seed=seed, rate=str(document.get("rate", "1")), faults=tuple(str(fault) for fault in faults))
    changed = replace(
        config,
        plant=_changed(config.plant, document.get("plant", {}), "plant"),
        second=_second(config, document.get("second", {})),
        printer=_changed(config.printer, document.get("printer", {}), "printer"),
        balance=_changed(config.balance, document.get("balance", {}), "balance"),
        pressure=_changed(config.pressure, document.get("pressure", {}), "pressure"),
    )
    return checked(changed)


def _second(config: BenchConfig, changes: object) -> PlantConfig | None:
    if config.second is not None:
        return _changed(config.second, changes, "second")
    if changes:
        raise BenchConfigError(f"[second]: the bench of {config.case} has one head", remedy="Leave the table out.")
    return None


def _changed(table: Table, changes: object, name: str) -> Table:
    """Return the table with single figures replaced; only plain numbers and texts that it has already."""
    if not isinstance(changes, dict):
        raise BenchConfigError(f"[{name}] must be a table", remedy="See docs/bench.md.")
    present = {item.name: getattr(table, item.name) for item in fields(table)}
    taken: dict[str, float | int | str] = {}
    for key, value in changes.items():
        old = present.get(key)
        if isinstance(old, float) and isinstance(value, (int, float)) and not isinstance(value, bool):
            taken[key] = float(value)
        elif type(old) is type(value) and isinstance(value, (int, str)):
            taken[key] = value
        else:
            raise BenchConfigError(
                f"[{name}] {key} = {value!r}: not a figure of the bench, or of another type", remedy="See docs/bench.md."
            )
    return replace(table, **taken)  # type: ignore[arg-type]
