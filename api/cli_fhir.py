"""`dosewright fhir`: what a FHIR prescription says to the order form, and a batch as FHIR."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from api import completions
from api.cli_options import AlwaysJson, AsJson, print_json
from api.errors import InputInvalid
from audit.canonical import JsonObject

app = typer.Typer(help="FHIR: a prescription in, a batch analysis or a dispense out.", no_args_is_help=True, rich_markup_mode=None)

_File = Annotated[
    Path,
    typer.Argument(
        help="A MedicationRequest, or a Bundle with its Patient and Observations, in JSON.", autocompletion=completions.json_files
    ),
]
_Package = Annotated[Path, typer.Argument(help="A review package.", autocompletion=completions.packages)]


@app.command("read")
def read(file: _File, as_json: AsJson = False) -> None:
    """Show what a FHIR prescription (R4 or R5) says to the order form. Nothing is kept and nothing is ordered."""
    from api.interop.fhir_request import LARGEST, Active, read_request  # the definitions of FHIR load only when they are wanted
    from recipes.library import load_recipe, recipe_ids

    recipes = [load_recipe(case) for case in recipe_ids()]
    actives = [Active(recipe.active.moiety, recipe.active.basis) for recipe in recipes]
    found = read_request(_content(file, LARGEST + 1), actives, today=datetime.now(UTC).date())
    if as_json:
        print_json({"fields": found.fields, "identity": found.identity, "findings": found.findings})
        return
    for name, value in found.fields.items():
        print(f"{name:12} {value}")
    for finding in found.findings:
        print(f"! {finding}")


@app.command("analysis")
def analysis(
    package: _Package, site: Annotated[str, typer.Option(help="Name of the site that made the batch.")], as_json: AlwaysJson = True
) -> None:
    """Write the batch analysis of a review package as a FHIR R5 bundle. Give the package to `verify` first."""
    from api.interop.fhir_batch import batch_analysis

    print(batch_analysis(_record(package), site=site).decode())


@app.command("dispense")
def dispensed(
    package: _Package,
    strength: Annotated[str, typer.Option(help="Strength of the units in mg, as in the record; of two actives 50/12.5.")],
    units: Annotated[int, typer.Option(help="Number of units.")],
    patient: Annotated[str, typer.Option(help="How the receiving system names the patient, for example Patient/123.")],
    as_json: AlwaysJson = True,
) -> None:
    """Write a MedicationDispense of units of a released batch as FHIR R5. Give the package to `verify` first."""
    from api.interop.fhir_batch import dispense

    moment = datetime.now(UTC).isoformat(timespec="seconds")
    print(dispense(_record(package), strength, units, patient=patient, handed_over=moment).decode())


def _record(package: Path) -> JsonObject:
    from audit.release.package import RECORD, read_package

    record: JsonObject = json.loads(read_package(package).files[RECORD])
    return record


def _content(file: Path, most: int) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(most)
    except OSError as error:
        raise InputInvalid(f"{file} cannot be read: {error.strerror}.", remedy="Name a file that you may read.") from None
