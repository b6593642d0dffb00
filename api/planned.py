"""What `dosewright plan` compiles and says of it. It loads the numerical kernels, so the command imports it when it is run."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from pathlib import Path

from api.cases import Demonstration
from audit.canonical import JsonObject, JsonValue
from recipes.compile import compile_program
from recipes.library import load_machine
from recipes.order import DoseOrder, InkLot
from recipes.program import PrintProgram
from recipes.proof_text import proof_text
from recipes.uncertainty import uncertainties


def compiled(demonstration: Demonstration, today: date) -> PrintProgram:
    """Compile and prove the program of a demonstration. Raises what `compile_program` raises."""
    order = DoseOrder.create(
        "plan",
        recipe=demonstration.recipe,
        ink=demonstration.ink,
        cartridge=demonstration.cartridge,
        prescription=demonstration.prescription,
        second=demonstration.second,
    )
    return compile_program(
        order=order,
        recipe=demonstration.recipe,
        ink=demonstration.ink,
        cartridge=demonstration.cartridge,
        machine=load_machine(demonstration.recipe.machine),
        today=today.isoformat(),
        demonstration=True,
        second=demonstration.second,
    )


def as_record(program: PrintProgram, file: Path) -> JsonObject:
    """Return what was planned as data: quantities as decimal text."""
    proof, dose = program.proof, program.dose
    found: dict[str, JsonValue] = {
        "file": str(file),
        "sha256": program.sha256,
        "units": dose.units,
        "arithmetic": list[JsonValue](dose.arithmetic),
        "proof": {
            "lines": proof.lines,
            "closure_max_percent": f"{proof.closure_max:.4f}",
            "step_closure_max_percent": f"{proof.step_closure_max:.4f}",
        },
    }
    return found


def shown(program: PrintProgram, inks: Iterable[InkLot], *, whole_proof: bool) -> str:
    """Return the arithmetic of the dose, its uncertainty, and what the proof found: in one line, or whole."""
    proof = program.proof
    lines = [f"  {line}" for line in program.dose.arithmetic]
    lines += [f"  {found.text}" for found in uncertainties(program.dose, inks, program.basis.machine)]
    lines.append(
        f"Proof: {program.dose.units} units read back from {proof.lines} lines; net volume within {proof.closure_max:.4f} % of target "
        f"({proof.step_closure_max:.4f} % in whole motor steps)."
    )
    return "\n".join([*lines, proof_text(proof)] if whole_proof else lines)
