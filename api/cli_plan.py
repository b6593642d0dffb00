"""`dosewright plan`: dose, program and proof without any device."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from api import cli_options as options
from api.cases import Changes, load_case
from api.command_name import command_name
from api.errors import InputInvalid


def plan(
    case: options.Case = "cyclophosphamide",
    recipe: options.RecipeId = None,
    height: options.Height = None,
    weight: options.Weight = None,
    dose: options.Dose = None,
    units: options.Units = None,
    basis: options.Basis = None,
    ink_assay: options.InkAssay = None,
    ink_expires: options.InkExpires = None,
    cartridge_ml: options.CartridgeMl = None,
    out: Annotated[Path, typer.Option(help="Where to write the program.")] = Path("program.gcode"),
) -> None:
    """Calculate a dose, compile its program, prove it, and write it to a file. Nothing is printed."""
    changes = Changes(recipe, height, weight, dose, units, basis, ink_assay, ink_expires, cartridge_ml)
    today = datetime.now(UTC).date()
    demonstration = load_case(case, changes, today)
    prescription = demonstration.prescription
    from recipes.compile import compile_program  # numerical kernels load only when something is compiled
    from recipes.library import load_machine
    from recipes.order import DoseOrder
    from recipes.uncertainty import uncertainties

    order = DoseOrder.create(
        "plan",
        recipe=demonstration.recipe,
        ink=demonstration.ink,
        cartridge=demonstration.cartridge,
        prescription=prescription,
        second=demonstration.second,
    )
    program = compile_program(
        order=order,
        recipe=demonstration.recipe,
        ink=demonstration.ink,
        cartridge=demonstration.cartridge,
        machine=load_machine(demonstration.recipe.machine),
        today=today.isoformat(),
        demonstration=True,
        second=demonstration.second,
    )
    try:
        out.write_bytes(program.planned)
    except OSError as error:
        raise InputInvalid(
            f"The program cannot be written to {out}: {error.strerror}.", remedy="Name a file in a folder that you may write."
        ) from None
    console = Console(highlight=False, soft_wrap=True)
    console.print("Demonstration, not for patients", style="bold")
    for line in program.dose.arithmetic:
        console.print(f"  {line}", markup=False)
    inks = [ink for ink, _ in demonstration.sources]
    for found in uncertainties(program.dose, inks, program.basis.machine):
        console.print(f"  {found.text}", markup=False)
    proof = program.proof
    console.print(
        f"Proof: {program.dose.units} units read back from {proof.lines} lines; net volume within {proof.closure_max:.4f} % of target "
        f"({proof.step_closure_max:.4f} % in whole motor steps)."
    )
    console.print(f"Program: {out}, SHA-256 {program.sha256}", markup=False)
    console.print(f"Next: {command_name()} demo --case {case}")
