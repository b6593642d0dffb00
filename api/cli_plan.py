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
from audit.canonical import JsonObject


def plan(
    case: options.Case = "cyclophosphamide",
    recipe: options.RecipeId = None,
    height: options.Height = None,
    weight: options.Weight = None,
    dose: options.Doses = None,
    units: options.Units = None,
    basis: options.Basis = None,
    ink_assay: options.InkAssay = None,
    ink_expires: options.InkExpires = None,
    cartridge_ml: options.CartridgeMl = None,
    proof: Annotated[bool, typer.Option("--proof", help="Show the whole proof: each limit with its margin, each unit.")] = False,
    out: Annotated[Path, typer.Option(help="Where to write the program.")] = Path("program.gcode"),
    as_json: options.AsJson = False,
) -> None:
    """Calculate a dose, compile its program, prove it, and write it to a file. Nothing is printed."""
    from api.planned import as_record, compiled, shown  # numerical kernels load only when something is compiled

    console = Console(highlight=False, soft_wrap=True)
    doses: list[str | None] = [None] if not dose else [*dose]
    today = datetime.now(UTC).date()
    programs: list[JsonObject] = []
    for number, amount in enumerate(doses, start=1):
        changes = Changes(recipe, height, weight, amount, units, basis, ink_assay, ink_expires, cartridge_ml)
        file = out if len(doses) == 1 else out.with_stem(f"{out.stem}-{number}")
        demonstration = load_case(case, changes, today)
        program = compiled(demonstration, today)
        try:
            file.write_bytes(program.planned)
        except OSError as error:
            raise InputInvalid(
                f"The program cannot be written to {file}: {error.strerror}.", remedy="Name a file in a folder that you may write."
            ) from None
        if as_json:
            programs.append(as_record(program, file))
            continue
        console.print("Demonstration, not for patients", style="bold")
        console.print(shown(program, [ink for ink, _ in demonstration.sources], whole_proof=proof), markup=False)
        console.print(f"Program: {file}, SHA-256 {program.sha256}", markup=False)
    if as_json:
        options.print_json({"demonstration": True, "programs": programs})
        return
    console.print(f"Next: {command_name()} demo --case {case}")
