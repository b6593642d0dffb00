"""How fast units are planned, written and proved, beside slicers; how fast the proof reads; what it misses.

28 cylinders of 100 to 500 mg, 0.6 mm nozzle, 0.4 mm layers, filled throughout: each an order of its own, compiled as every order is.
The slicers get the very solids that our tool path is cut from.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from pathlib import Path

from audit.quantities import Milligram, Millimetre
from recipes.compile import compile_program
from recipes.dose import calculate
from recipes.gcode_check import examine
from recipes.library import CASES, TWO_INK_CASES, load_demonstration, load_machine, load_recipe, load_second
from recipes.machine import MachineProfile
from recipes.model import Recipe
from recipes.order import Cartridge, DoseOrder, InkLot, Intake, Prescription
from recipes.program import PrintProgram
from recipes.proof import UnitTarget
from recipes.shapes import Range, build_solid
from tests.benchmarks import Row
from tests.peers.environments import ROOT, PeerMissing
from tests.peers.slicers import Slicer, cura_engine, extruded, prusa_slicer, slice_each, slice_plate
from tests.recipes.mutation_survey import survey

TODAY = "2026-11-20"
UNITS = 28
FIRST_MG, STEP_MG = Decimal("4.0"), Decimal("0.6")
ROUNDS = 5
MUTATIONS = 2000


@cache
def workload() -> tuple[Recipe, MachineProfile, InkLot, Cartridge, tuple[Prescription, ...]]:
    """The cyclophosphamide case with doses in mg from 4.0 to 20.2 in steps of 0.6, and layers of 0.4 mm; one unit a prescription."""
    recipe = load_recipe("cyclophosphamide")
    prescription, ink, cartridge = load_demonstration("cyclophosphamide", TODAY)
    rule = {"minimum": Milligram(4), "grid": Milligram("0.1"), "basis": "mg", "per": "dose", "bsa_formula": None}
    layer = {"set_point": Millimetre("0.40"), "low": Millimetre("0.35"), "high": Millimetre("0.45")}
    parameters = recipe.parameters.model_copy(update={"layer_height": recipe.parameters.layer_height.model_copy(update=layer)})
    recipe = recipe.model_copy(update={"dose": recipe.dose.model_copy(update=rule), "parameters": parameters})
    one = {"per": "dose", "schedule": (Intake(time="once"),), "days": 1}
    doses = [Milligram(FIRST_MG + n * STEP_MG) for n in range(UNITS)]
    prescriptions = tuple(prescription.model_copy(update={**one, "prescribed": dose}) for dose in doses)
    return recipe, load_machine(recipe.machine), ink, cartridge, prescriptions


def compiled(prescription: Prescription) -> PrintProgram:
    """Plan, write and prove the program of one unit."""
    recipe, machine, ink, cartridge, _ = workload()
    order = DoseOrder.create("O-1", recipe=recipe, ink=ink, cartridge=cartridge, prescription=prescription)
    return compile_program(order=order, recipe=recipe, ink=ink, cartridge=cartridge, machine=machine, today=TODAY, demonstration=True)


def export_solids(folder: Path) -> tuple[list[Path], list[float]]:
    """Write the 28 solids as STL; return the files and their volumes in µL."""
    recipe, _, ink, _, prescriptions = workload()
    height = recipe.parameters.layer_height
    layer = Range(height.set_point.value, height.low.value, height.high.value)
    files, volumes = [], []
    for n, prescription in enumerate(prescriptions):
        (plan,) = calculate(recipe, prescription, ink).strengths
        solid = build_solid("cylinder", plan.target_volume, aspect=Decimal("0.4"), layer_height=layer)
        files.append(folder / f"unit-{n:02d}.stl")
        solid.mesh.export(files[-1])
        volumes.append(solid.mesh_volume)
    return files, volumes


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def plan_28() -> list[Row]:
    """28 doses planned, written and proved, warm; the slicers on the same solids in the same run; and what each puts into them."""
    prescriptions = workload()[-1]
    programs = [compiled(prescription) for prescription in prescriptions]
    ours = min(_seconds(lambda: [compiled(prescription) for prescription in prescriptions]) for _ in range(ROUNDS))
    closure = max(abs(unit.net_volume.ratio(unit.target_volume) - 1) * 100 for program in programs for unit in program.units)
    rows = [_unit_row(prescriptions)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files, volumes = export_solids(folder)
        for figure, find in (("dose.plan_28_s", prusa_slicer), ("dose.plan_28_s (second peer)", cura_engine)):
            try:
                rows.extend(_beside(figure, find(), files, volumes, folder, ours, closure))
            except PeerMissing as missing:
                rows.append(Row(figure, f"{ours:.2f}", "s", f"not run: {missing}", None, None))
    return [*rows, _cold_row()]


def _beside(figure: str, slicer: Slicer, files: list[Path], volumes: list[float], folder: Path, ours: float, closure: Decimal) -> list[Row]:
    each, programs = min((slice_each(slicer, files, folder) for _ in range(2)), key=lambda found: found[0])
    theirs, how = each, "one process a solid"
    if slicer.program.name == "prusa-slicer":
        plate = slice_plate(slicer, files, folder)
        theirs, how = min((each, how), (plate, "one plate of 28"))
    errors = [(extruded(slicer, program) / volume - 1) * 100 for program, volume in zip(programs, volumes, strict=True)]
    worst = max(errors, key=abs)
    return [
        Row(figure, f"{ours:.2f}", "s", f"{slicer.name}, {how}, the same 28 solids", f"{theirs:.2f}", f"{ours / theirs:.2f}"),
        Row(
            figure.replace("dose.plan_28_s", "dose.error_28_percent"),
            f"{closure:.4f}",
            "%",
            f"{slicer.name}: worst of the same 28 solids, mean {statistics.mean(errors):+.1f}",
            f"{worst:+.1f}",
            f"{float(closure) / abs(worst):.5f}",
        ),
    ]


def _unit_row(prescriptions: tuple[Prescription, ...]) -> Row:
    """The mean of the 28 programs of one unit; beside it how the cost grows: 7 and 14 units of one dose."""
    each = [min(_seconds(lambda one=one: compiled(one)) for _ in range(ROUNDS)) * 1000 for one in prescriptions]
    few, many = (prescriptions[UNITS // 2].model_copy(update={"days": days}) for days in (7, 14))
    grown = [min(_seconds(lambda one=one: compiled(one)) for _ in range(ROUNDS)) * 1000 for one in (few, many)]
    setting = f"none: 100 mg {each[0]:.1f}, 500 mg {each[-1]:.1f}; units of one dose together: 7 {grown[0]:.1f}, 14 {grown[1]:.1f}"
    return Row("dose.unit_ms", f"{statistics.mean(each):.1f}", "ms", setting, None, None)


def _cold_row() -> Row:
    """28 doses by one `dosewright plan`, its start included."""
    square_metres = Decimal("0.741620")  # of the case; the doses are then 5.5 to 19 mg, the units 139 to 480 mg
    amounts = [((Decimal("5.5") + Decimal("0.5") * n) / square_metres).quantize(Decimal("0.0001")) for n in range(UNITS)]
    doses = [text for amount in amounts for text in ("--dose", str(amount))]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "api.cli", "plan", "--units", "1", *doses, "--out", f"{folder}/program.gcode"]
        taken = min(_seconds(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)) for _ in range(3))
    return Row(
        "dose.plan_28_cold_s",
        f"{taken:.2f}",
        "s",
        "none: 28 doses, 139 to 480 mg, by one `dosewright plan`; 0.5 mm layers",
        None,
        None,
    )


def proof_rate() -> Row:
    """Lines a second that the proof reads, worst of the demonstration programs."""
    rates = {}
    for case in (*CASES, *TWO_INK_CASES):
        recipe = load_recipe(case)
        machine = load_machine(recipe.machine)
        prescription, ink, cartridge = load_demonstration(case, TODAY)
        second = load_second(case, TODAY) if case in TWO_INK_CASES else None
        order = DoseOrder.create("O-1", recipe=recipe, ink=ink, cartridge=cartridge, prescription=prescription, second=second)
        program = compile_program(
            order=order, recipe=recipe, ink=ink, cartridge=cartridge, machine=machine, today=TODAY, demonstration=True, second=second
        )
        units = [UnitTarget(unit.n, unit.strength, unit.target_volume, *unit.centre, unit.part) for unit in program.units]
        purges = [UnitTarget(unit.n, None, unit.target_volume, *unit.centre) for unit in program.purges]

        def read(program=program, recipe=recipe, machine=machine, units=units, purges=purges) -> None:
            proof = examine(program.planned, recipe=recipe, machine=machine, units=units, demonstration=True, purges=purges)
            if proof.refusals:
                raise RuntimeError(f"a compiled program is not proved: {proof.refusals[0]}")

        rates[case] = program.proof.lines / min(_seconds(read) for _ in range(4 * ROUNDS))
    others = ", ".join(f"{case} {rate:.0f}" for case, rate in rates.items())
    return Row("dose.proof_lines_per_s", f"{min(rates.values()):.0f}", "1/s", f"none: worst of {others}", None, None)


def mutations() -> Row:
    """Corrupted programs that would do harm and are not refused."""
    found = survey(MUTATIONS)
    setting = (
        f"none: of {found.corrupted} corrupted programs {found.harmful.total()} harmful by the simulated printer, "
        f"{found.refused.total()} refused, {found.harmless.total()} harmless and let through"
    )
    return Row("dose.mutations_missed", str(len(found.missed)), "", setting, None, None)
