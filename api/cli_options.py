"""Options that several commands share. Values are text: what they mean is read, and refused, by the code that uses them."""

from __future__ import annotations

import json
import os
from typing import Annotated

import typer
from rich.console import Console
from rich.prompt import Prompt

from api import completions
from api.errors import InputInvalid
from audit.quantities import QuantityError, decimal_from_text
from audit.release.selection import Scope

Case = Annotated[
    str,
    typer.Option(
        help="Demonstration case: cyclophosphamide, sildenafil, hydrocortisone, minoxidil or polypill (two inks).",
        autocompletion=completions.cases,
    ),
]
RecipeId = Annotated[
    str | None, typer.Option("--recipe", help="Another recipe than that of the case.", autocompletion=completions.recipe_ids)
]
Height = Annotated[str | None, typer.Option(help="Height in cm.")]
Weight = Annotated[str | None, typer.Option(help="Weight in kg.")]
Dose = Annotated[str | None, typer.Option(help="Prescribed amount, in the unit of the case (mg/m2 or mg).")]
Doses = Annotated[
    list[str] | None,
    typer.Option("--dose", help="Prescribed amount, in the unit of the case; given several times, each is a program of its own, numbered."),
]
Units = Annotated[str | None, typer.Option(help="Number of units.")]
Basis = Annotated[str | None, typer.Option(help="Basis in which the prescription states the active, for example anhydrous.")]
InkAssay = Annotated[str | None, typer.Option(help="Assayed strength of the ink lot in mg/g.")]
InkExpires = Annotated[str | None, typer.Option(help="Expiry of the ink lot, YYYY-MM-DD.")]
CartridgeMl = Annotated[str | None, typer.Option(help="Filling of the cartridge in mL.")]

PackageScope = Annotated[Scope, typer.Option(help="What of the trails is in the package: selective (this batch alone) or whole.")]
Url = Annotated[str, typer.Option(help="Address of the workstation.")]
User = Annotated[
    str, typer.Option(help="User name; the password is asked for, or taken from DOSEWRIGHT_PASSWORD.", autocompletion=completions.people)
]
CellName = Annotated[str, typer.Option("--cell", help="Name of the cell.", autocompletion=completions.cells)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else; an error is one JSON object on standard error.")]
AlwaysJson = Annotated[
    bool, typer.Option("--json", help="The answer is JSON with it or without; with it, an error is one JSON object on standard error.")
]
PASSWORD_VARIABLE = "DOSEWRIGHT_PASSWORD"  # noqa: S105 the name of a variable, not a password


def print_json(answer: object) -> None:
    """Print an answer for a program: UTF-8, one document, keys in order."""
    print(json.dumps(answer, indent=1, sort_keys=True, ensure_ascii=False))


def ask_password(console: Console, user: str, what: str = "") -> str:
    """Return the password of an account, from the environment or typed unseen; `what` says what it is for."""
    known = os.environ.get(PASSWORD_VARIABLE)
    return known if known is not None else Prompt.ask(f"Password of {user}{what}", password=True, console=console)


def read_rate(text: str) -> str:
    """Return a rate of process time as typed. Raises InputInvalid outside 1 to 1000."""
    try:
        rate = decimal_from_text(text, "rate")
    except QuantityError as error:
        raise InputInvalid(f"{error}.", remedy="Write for example 60.") from None
    if not 1 <= rate <= 1000:
        raise InputInvalid(f"rate: {text} is not between 1 and 1000.", remedy="Write for example 60.")
    return text.strip()
