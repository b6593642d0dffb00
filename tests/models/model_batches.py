"""Batches of the virtual bench for process models: varied ink, viscosity, surroundings; seeded, so that each run gives the same data."""

from __future__ import annotations

import json
import random
import tomllib
from dataclasses import dataclass, replace
from decimal import Decimal
from importlib.resources import files

from simulated_cell import TODAY, SimulatedCell, admitted, demonstration_job, signature

from audit.canonical import JsonObject
from audit.quantities import MilligramPerSquareMetre
from audit.release.model_testing import DataSet, read_data_set
from audit.release.process_models import ModelPlan, read_plan
from audit.release.unit_traces import features, read_trace
from firmware_bridge.nir_probe import ask_identity, ask_scan, read_identity, read_spectrum
from hil_tests.cases import bench_for
from hil_tests.virtual_bench import VirtualBench
from hil_tests.virtual_nir import InkConfig, NirConfig, NirProbe
from printer.admission import MEANING_CONFIRMED, MEANING_ENTERED
from printer.messages import Operation
from printer.plan import limits_of_heads
from printer.run import Phase, RunMachine
from printer.states import RunState
from recipes.library import load_demonstration, load_recipe
from recipes.order import DoseOrder

CASE = "cyclophosphamide"
ORIGIN = "virtual bench of cyclophosphamide, seeded; illustrative"
_LIMIT_US = 3_000_000_000


def plan_of(name: str) -> ModelPlan:
    return read_plan(tomllib.loads((files("recipes.library") / "models" / f"{name}.toml").read_text("utf-8")))


@dataclass(frozen=True)
class Made:
    """One batch off the bench: what the cell recorded of it, and what only the plant knows."""

    name: str
    cell: SimulatedCell

    @property
    def units(self) -> dict[str, tuple[JsonObject, bytes]]:
        """State and trace of each judged unit, by identifier."""
        found: dict[str, JsonObject] = {}
        traces: dict[str, bytes] = {}
        for entry in self.cell.entries:
            if entry.subject.type == "unit":
                found.setdefault(entry.subject.id, {}).update(entry.new)
                for name in entry.attachments:
                    if name.startswith("traces/"):
                        traces[entry.subject.id] = entry.attachments[name]
        return {id_: (state, traces[id_]) for id_, state in found.items() if id_ in traces and state.get("mass_mg") is not None}

    def truth(self, state: JsonObject) -> dict[str, str]:
        """What lies at the place of a unit."""
        return next(
            {name: str(value) for name, value in row.items()}
            for row in self.cell.bench.truth()
            if all(abs(Decimal(str(row[axis])) - Decimal(str(state[axis]))) < 8 for axis in ("x", "y"))
        )


def print_batch(name: str, seed: int, *, days: int = 5, dose: str = "7.4", faults: tuple[str, ...] = (), **plant: float) -> Made:
    """Print one batch in virtual time. `plant`: factors on density, strength and consistency of the ink, and `ambient_c`."""
    recipe = load_recipe(CASE)
    prescription, ink, cartridge = load_demonstration(CASE, TODAY)
    prescription = prescription.model_copy(update={"days": days, "prescribed": MilligramPerSquareMetre(dose)})
    order = DoseOrder.create("O-1", recipe=recipe, ink=ink, cartridge=cartridge, prescription=prescription)
    job = demonstration_job(
        CASE,
        order=order,
        entered=signature("pharmacist", MEANING_ENTERED, order.sha256),
        confirmed=signature("operator", MEANING_CONFIRMED, order.sha256),
    )
    made = admitted(job)
    config = bench_for(CASE, faults=faults, seed=seed)
    physics = config.plant
    rheology = replace(physics.rheology, consistency=physics.rheology.consistency * plant.get("consistency", 1.0))
    heaters = {part: replace(getattr(physics, part), ambient_c=plant.get("ambient_c", 20.0)) for part in ("nozzle", "plate")}
    physics = replace(
        physics,
        density=physics.density * plant.get("density", 1.0),
        strength=physics.strength * plant.get("strength", 1.0),
        rheology=rheology,
        **heaters,
    )
    cell = SimulatedCell(RunMachine(made.plan), VirtualBench(replace(config, plant=physics)), program=made.program)
    for nozzle, limits in zip(cell.bench.printer.nozzles, limits_of_heads(made.plan), strict=True):
        nozzle.temperature = float(limits.nozzle_set.value) - 1.0
    cell.bench.printer.bed.temperature = float(made.plan.limits.plate_set.value) - 0.5
    cell.command(Operation.PREPARE)
    while cell.machine.phase is not Phase.DONE and cell.now < _LIMIT_US:
        if cell.machine.phase is Phase.START:
            cell.command(Operation.START)
        elif cell.machine.state is RunState.PAUSED:
            cell.command(Operation.RESUME)
        cell.step()
    return Made(name, cell)


def certified_density() -> Decimal:
    return load_demonstration(CASE, TODAY)[1].density.value


def trace_inputs(made: Made) -> dict[str, JsonObject]:
    units = {id_: (read_trace(trace), Decimal(str(state["target_mass_mg"]))) for id_, (state, trace) in made.units.items()}
    return features(units, certified_density())


def mass_data(name: str, first: int, count: int, *, truth: bool = False) -> DataSet:
    """Batches with varied viscosity, density (± 0.4 % about the certificate, one standard deviation), size of unit and surroundings."""
    plan = plan_of("unit-mass")
    wanted = {item.name for item in plan.inputs}
    samples = []
    for seed in range(first, first + count):
        draw = random.Random(f"mass:{seed}")
        made = print_batch(
            f"{name}-{seed}",
            seed,
            days=draw.choice((4, 5, 6)),
            dose=draw.choice(("7.4", "9.5", "12", "16", "20")),
            consistency=draw.uniform(0.85, 1.15),
            density=draw.gauss(1.0, 0.004),
            ambient_c=draw.uniform(17.0, 24.0),
        )
        inputs = trace_inputs(made)
        for id_, (state, _) in made.units.items():
            mass = Decimal(made.truth(state)["true_mass_mg"] if truth else str(state["mass_mg"]))
            share = mass / Decimal(str(inputs[id_]["nominal_mass"])) * 100
            chosen = {key: value for key, value in inputs[id_].items() if key in wanted}
            samples.append({"sample": f"{made.name}/{id_[-3:]}", "batch": made.name, "inputs": chosen, "reference": f"{share:.4f}"})
    record = {"name": name, "origin": ORIGIN, "reference_method": plan.reference_method, "samples": samples}
    return read_data_set(json.loads(json.dumps(record)))


def probe_on(made: Made, seed: int, config: NirConfig | None = None) -> NirProbe:
    return NirProbe(config or NirConfig(), made.cell.bench.plant, seed)


def scan(probe: NirProbe, x: str, y: str) -> list[str]:
    """Scan one place through the driver, as a host does."""
    probe.receive(ask_identity())
    identity = read_identity(probe.output())
    probe.receive(ask_scan(Decimal(x), Decimal(y)))
    return read_spectrum(probe.output(), identity).texts


def nir_data(name: str, first: int, count: int) -> DataSet:
    """Batches of ink from 80 to 120 % of the strength, with varied water and temperature; every unit is scanned."""
    plan = plan_of("nir-strength")
    samples = []
    for seed in range(first, first + count):
        draw = random.Random(f"nir:{seed}")
        made = print_batch(f"{name}-{seed}", seed, days=4, strength=draw.uniform(0.8, 1.2), density=draw.gauss(1.0, 0.004))
        config = NirConfig(air_c=draw.uniform(19.0, 26.0), ink=InkConfig(water=draw.uniform(0.08, 0.12)))
        probe = probe_on(made, seed, config)
        for id_, (state, _) in made.units.items():
            truth = {key: Decimal(value) for key, value in made.truth(state).items() if key != "patch"}
            strength = truth["active_mg"] / (truth["true_mass_mg"] - truth["dried_mg"]) * 1000
            spectrum = scan(probe, str(state["x"]), str(state["y"]))
            inputs = {"absorbance": spectrum}
            samples.append({"sample": f"{made.name}/{id_[-3:]}", "batch": made.name, "inputs": inputs, "reference": f"{strength:.4f}"})
    record = {"name": name, "origin": ORIGIN, "reference_method": plan.reference_method, "samples": samples}
    return read_data_set(json.loads(json.dumps(record)))
