"""Cells with other devices than the library's: machine profiles made from the shipped ones, recipes bound to them, and their benches."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib.resources import files

from simulated_cell import STANDING, TODAY, TRUSTED, SimulatedCell, signature, signed_bundle

from hil_tests.cases import bench_for
from hil_tests.virtual_bench import VirtualBench
from printer.admission import MEANING_CONFIRMED, MEANING_ENTERED, Admitted, Job, JobActor, LineClearance, admit
from printer.run import RunMachine
from recipes.library import load_demonstration, load_recipe, recipe_bytes
from recipes.machine import MachineProfile, parse_machine
from recipes.model import parse_recipe
from recipes.order import DoseOrder, Prescription

MARLIN_2_0 = """name = "Marlin"
versions = ["2.0.5"]
capabilities = ["AUTOREPORT_TEMP"]
advanced_ok = false
baud = 115200
"""
KLIPPER = """kind = "klipper"
version = "v0.12.0"
match = "prefix"
"""
REPRAP = """kind = "reprapfirmware"
version = "3.5"
board = "Duet 3 MB6HC"
match = "prefix"
"""
MODBUS = """protocol = "modbus-rtu"
low = "0 kPa"
high = "1000 kPa"
unit = 1
register_address = 0
function = 4
form = "float32"
pressure_unit = "kPa"
decimals = 0
poll_period_ms = 50
"""


@dataclass(frozen=True, slots=True)
class Variant:
    """One set of devices: the names of the bench, and the tables of the machine profile."""

    case: str
    dialect: str = "marlin-2.1"
    balance: str = "mt-sics"
    pressure: str = "hub-lines"
    firmware: str | None = None


VARIANTS = {
    "Klipper, hub": Variant("cyclophosphamide", dialect="klipper", firmware=KLIPPER),
    "RepRapFirmware, Modbus": Variant("hydrocortisone", dialect="reprapfirmware", pressure="modbus-rtu", firmware=REPRAP),
    "Marlin 2.0.5, SBI, Modbus": Variant(
        "cyclophosphamide", dialect="marlin-2.0", balance="sartorius-sbi", pressure="modbus-rtu", firmware=MARLIN_2_0
    ),
}


def table_replaced(content: str, name: str, table: str) -> str:
    """Return a TOML text with the body of one table replaced."""
    head, _, rest = content.partition(f"[{name}]\n")
    _, end, tail = rest.partition("\n[")
    return f"{head}[{name}]\n{table}{end}{tail}"


def machine_text(machine_id: str, *, firmware: str | None = None, pressure: str | None = None, balance: str = "mt-sics") -> str:
    text = (files("recipes.library") / "machines" / f"{machine_id}.toml").read_text("utf-8")
    if firmware is not None:
        text = table_replaced(text, "firmware", firmware)
        if "baud" not in firmware:
            text = text.replace('"firmware.baud" = "Marlin default for USB-serial boards"\n', "")
    if pressure is not None:
        text = table_replaced(text, "pressure", pressure)
    return text.replace('driver = "mt-sics"', f'driver = "{balance}"')


def machine_for(variant: Variant) -> MachineProfile:
    pressure = MODBUS if variant.pressure == "modbus-rtu" else None
    machine_id = load_recipe(variant.case).machine
    return parse_machine(machine_text(machine_id, firmware=variant.firmware, pressure=pressure, balance=variant.balance).encode())


def job_for(variant: Variant, machine: MachineProfile, days: int | None = None) -> Job:
    """Return the demonstration job of a case with its recipe bound to this machine profile, signed anew."""
    content = recipe_bytes(variant.case).decode()
    content = content.replace(load_recipe(variant.case).machine_digest, machine.digest)
    recipe = parse_recipe(content.encode(), "variant.toml")
    prescription, ink, cartridge = load_demonstration(variant.case, TODAY)
    if days is not None:
        prescription = Prescription.model_validate({**prescription.model_dump(mode="json"), "days": days})
    order = DoseOrder.create("O-1", recipe=recipe, ink=ink, cartridge=cartridge, prescription=prescription)
    return Job(
        batch="B-1",
        order=order,
        entered=signature("pharmacist", MEANING_ENTERED, order.sha256),
        confirmed=signature("operator", MEANING_CONFIRMED, order.sha256),
        recipe_bundle=signed_bundle(content.encode()),
        ink_lot=ink,
        cartridge=cartridge,
        line_clearance=LineClearance(done_by="Demo operator"),
        actor=JobActor(username="operator", name="Demo operator", role="operator"),
    )


@functools.cache
def admitted_on(variant: Variant, days: int | None = None) -> Admitted:
    machine = machine_for(variant)
    job = job_for(variant, machine, days)
    return admit(
        job,
        run="B-1-R1",
        device="cell-1",
        machine=machine,
        trusted_people=TRUSTED,
        today=TODAY,
        standing=STANDING,
        demonstration=True,
        rate="1",
    )


def cell_with(variant: Variant, *faults: str, seed: int = 1, days: int | None = None, warm: bool = True) -> SimulatedCell:
    found = admitted_on(variant, days)
    bench = VirtualBench(
        bench_for(variant.case, faults=faults, seed=seed, dialect=variant.dialect, balance=variant.balance, pressure=variant.pressure)
    )
    if warm:
        bench.printer.nozzle.temperature = float(found.plan.limits.nozzle_set.value) - 1.0
        bench.printer.bed.temperature = float(found.plan.limits.plate_set.value) - 0.5
    # One line in flight: what is on its way for a tenth of a second, as in the other simulations, would starve the drive.
    return SimulatedCell(RunMachine(found.plan), bench, program=found.program, step_us=20_000)
