"""A batch whose tolerance the plate balance cannot judge: recipe, machine and register made for it, and hands that weigh."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from decimal import Decimal

from simulated_cell import (
    OPERATOR,
    REGISTER,
    STANDING,
    TODAY,
    TRUSTED,
    SimulatedCell,
    demonstration_job,
    signature,
    signed_bundle,
    signed_register,
)

from audit.canonical import canonical
from audit.events import Actor
from audit.quantities import Milligram
from audit.signatures import weight_digest
from hil_tests.cases import bench_for
from hil_tests.virtual_bench import VirtualBench
from printer.admission import MEANING_CONFIRMED, MEANING_ENTERED, Admitted, Job, admit
from printer.equipment import EquipmentRegister, ExternalBalanceEntry, Standing
from printer.messages import Command, EnteredWeight, Operation
from printer.run import Phase, RunMachine
from printer.unit_cycle import Step
from recipes.library import load_demonstration, load_recipe, machine_ids, recipe_bytes
from recipes.machine import MachineProfile, parse_machine
from recipes.model import parse_recipe
from recipes.order import DoseOrder

CASE = "hydrocortisone"
SECOND = Actor("pharmacist", "Demo pharmacist", "pharmacist")
SERIAL = "EXT-0042"
ENTRY = ExternalBalanceEntry(
    asset="bench-2",
    model="MX-5",
    serial=SERIAL,
    certificate="demonstration-X-1",
    calibrated_until="2027-11-19",
    readability=Milligram("0.01"),
    expanded_uncertainty=Milligram("0.10"),
    removal="demonstration procedure EW-1",
)
PERMITTED = b'drift_window = "4 s"\nexternal_balance = "permitted"\nexternal_timeout = "600 s"\n'


def coarse_machine() -> MachineProfile:
    """The machine of the case with a balance that is ten times as uncertain."""
    from importlib.resources import files

    name = load_recipe(CASE).machine
    assert name in machine_ids()
    content = (files("recipes.library") / "machines" / f"{name}.toml").read_bytes()
    return parse_machine(content.replace(b'expanded_uncertainty = "0.35 mg"', b'expanded_uncertainty = "3.5 mg"'))


def recipe_text(*, permitted: bool = True) -> bytes:
    found = load_recipe(CASE)
    content = recipe_bytes(CASE).replace(found.machine_digest.encode(), coarse_machine().digest.encode())
    return content.replace(b'drift_window = "4 s"\n', PERMITTED) if permitted else content


def register_with(entry: ExternalBalanceEntry | None = ENTRY) -> EquipmentRegister:
    return REGISTER.model_copy(update={"external_balance": entry})


def standing_with(entry: ExternalBalanceEntry | None = ENTRY) -> Standing:
    return STANDING.model_copy(update={"register_file": signed_register(register_with(entry))})


def job(*, permitted: bool = True) -> Job:
    content = recipe_text(permitted=permitted)
    recipe = parse_recipe(content)
    prescription, ink, cartridge = load_demonstration(CASE, TODAY)
    prescription = prescription.model_copy(update={"days": 1})
    order = DoseOrder.create("O-1", recipe=recipe, ink=ink, cartridge=cartridge, prescription=prescription)
    return demonstration_job(
        CASE,
        order=order,
        entered=signature("pharmacist", MEANING_ENTERED, order.sha256),
        confirmed=signature("operator", MEANING_CONFIRMED, order.sha256),
        recipe_bundle=signed_bundle(content),
    )


def admitted(standing: Standing | None = None, *, permitted: bool = True) -> Admitted:
    return admit(
        job(permitted=permitted),
        run="B-1-R1",
        device="cell-1",
        machine=coarse_machine(),
        trusted_people=TRUSTED,
        today=TODAY,
        standing=standing or standing_with(),
        demonstration=True,
        rate="1",
    )


@dataclass
class Hand:
    """Takes the unit that waits off the plate and weighs it by what the bench alone knows, with the balance's noise."""

    cell: SimulatedCell
    draw: random.Random = field(default_factory=lambda: random.Random("external balance"))
    wait_us: int = 20_000_000

    @property
    def weighing(self) -> bool:
        return self.cell.machine.cycle.step is Step.EXTERNAL_WEIGHING

    def true_mass(self) -> Decimal:
        unit = self.cell.machine.cycle.unit
        assert unit is not None
        rows = [
            row for row in self.cell.bench.truth() if abs(Decimal(str(row["x"])) - unit.x) < 8 and abs(Decimal(str(row["y"])) - unit.y) < 8
        ]
        return sum((Decimal(str(row["true_mass_mg"])) for row in rows), Decimal(0))

    def weigh(self) -> str:
        return str((self.true_mass() + Decimal(str(self.draw.gauss(0, 0.03)))).quantize(Decimal("0.01")))

    def entry(self, value: str, **changes: object) -> Command:
        """The entry that is awaited, as it should be made; `changes` says what of it is otherwise."""
        external = self.cell.machine.cycle.external
        assert external is not None
        second = external.awaited == 2
        given: dict[str, object] = {
            "who": SECOND if second else OPERATOR,
            "serial": SERIAL,
            "attempt": external.attempt,
            "entry": external.awaited,
        }
        given |= {"target": external.unit, **changes}
        signed = (
            signature("pharmacist", "weight entered", weight_digest(external.unit, external.attempt, SERIAL, value)) if second else None
        )
        text = "" if signed is None else canonical(signed.as_record()).decode("utf-8")
        weight = EnteredWeight(int(str(given["entry"])), int(str(given["attempt"])), value, str(given["serial"]), text)
        who = given["who"]
        assert isinstance(who, Actor)
        return Command(Operation.ENTER_WEIGHT, who, target=str(given["target"]), weight=weight)

    def enter(self, value: str, **changes: object) -> tuple[str, ...]:
        """Enter a weight; return why it was refused."""
        command = self.entry(value, **changes)
        reasons = self.cell.machine.refusal(command)
        self.cell.give(command)
        return reasons

    def both(self, first: str, second: str | None = None) -> None:
        assert self.enter(first) == ()
        assert self.enter(first if second is None else second) == ()

    def to_weighing(self) -> None:
        """Bring the run to the next unit that waits to be weighed."""
        if self.cell.machine.phase is Phase.IDLE:
            self.cell.command(Operation.PREPARE)
            self.cell.until(lambda m: m.phase in (Phase.START, Phase.DONE))
            self.cell.command(Operation.START)
        self.cell.until(lambda m: m.cycle.step is Step.EXTERNAL_WEIGHING or m.phase is Phase.DONE)

    def whole_run(self) -> None:
        """Weigh every unit as one should, until the run has ended."""
        self.to_weighing()
        while self.weighing:
            for _ in range(self.wait_us // self.cell.step_us):
                self.cell.step()
            self.both(self.weigh())
            self.to_weighing()


def simulated(*faults: str, standing: Standing | None = None, seed: int = 1) -> Hand:
    found = admitted(standing)
    bench = VirtualBench(bench_for(CASE, faults=faults, seed=seed))
    bench.printer.nozzle.temperature = float(found.plan.limits.nozzle_set.value) - 1.0
    bench.printer.bed.temperature = float(found.plan.limits.plate_set.value) - 0.5
    return Hand(SimulatedCell(RunMachine(found.plan), bench, program=found.program))
