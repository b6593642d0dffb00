"""`dosewright demo`: the whole job on the virtual bench, from prescription to verified package."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from api import cli_options as options
from api import completions
from api.site_names import CELL, VERIFIER_KEYS
from audit.release.selection import Scope

STATUS_NOT_RELEASED = 3
_STATUS_NOT_VERIFIED = 1


def demo(
    case: options.Case = "cyclophosphamide",
    fault: Annotated[
        str | None,
        typer.Option(help="Fault of the bench: clog, bubble, drift, unplug; with a unit: clog:3.", autocompletion=completions.faults),
    ] = None,
    directory: Annotated[Path, typer.Option("--dir", help="Folder to leave the files in; made fresh.")] = Path("demo"),
    rate: Annotated[str, typer.Option(help="Seconds of process time per second.")] = "100",
    seed: Annotated[int, typer.Option(help="Seed of everything random on the bench.")] = 1,
    recipe: options.RecipeId = None,
    height: options.Height = None,
    weight: options.Weight = None,
    dose: options.Dose = None,
    units: options.Units = None,
    basis: options.Basis = None,
    ink_assay: options.InkAssay = None,
    ink_expires: options.InkExpires = None,
    cartridge_ml: options.CartridgeMl = None,
    scope: options.PackageScope = Scope.SELECTIVE,
    port_printer: Annotated[str | None, typer.Option(help="Another address for the printer than the bench's.")] = None,
    port_balance: Annotated[str | None, typer.Option(help="Another address for the balance than the bench's.")] = None,
    port_pressure: Annotated[str | None, typer.Option(help="Another address for the pressure sensor than the bench's.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Print a made-up prescription on the virtual bench and prove it.

    Exit status: 0 released and verified; 3 not released (with a fault this is the right end); 1 the package does not verify.
    """
    from api.cases import Changes  # a site, its processes and its bench load only when they are wanted
    from api.cli_verify import check, read_keys
    from api.demo import PACKAGE, DemoOptions, run_demo
    from api.demo_summary import summarise
    from audit.report import VerificationStatus

    began = time.monotonic()
    places = {"printer": port_printer, "balance": port_balance, "pressure": port_pressure}
    asked = DemoOptions(
        folder=directory,
        case=case,
        fault=fault or None,
        rate=options.read_rate(rate),
        seed=seed,
        changes=Changes(recipe, height, weight, dose, units, basis, ink_assay, ink_expires, cartridge_ml),
        scope=scope,
        ports={name: place for name, place in places.items() if place is not None},
    )
    console = Console(highlight=False, soft_wrap=True, stderr=as_json)
    console.print("Demonstration, not for patients: virtual bench, process time at " + asked.rate + "×", style="bold")
    outcome = run_demo(asked, console)
    if asked.fault and outcome.disposition == "released":
        console.print(
            f"The fault {asked.fault} stopped nothing: it did not occur in this run, or is one that the link makes good.", markup=False
        )
    keys = read_keys([directory / VERIFIER_KEYS])
    reports = {name: check(str(directory / name), keys) for name in (PACKAGE, "workstation.db", f"{CELL}.db")}
    summarise(console, outcome, reports, case, time.monotonic() - began)
    if as_json:
        verified = {name: report.status.value for name, report in reports.items()}
        options.print_json(
            {"disposition": outcome.disposition, "folder": str(outcome.folder), "verified": verified, "record": outcome.record}
        )
    if any(report.status is not VerificationStatus.VERIFIED for report in reports.values()):
        raise typer.Exit(_STATUS_NOT_VERIFIED)
    raise typer.Exit(0 if outcome.disposition == "released" else STATUS_NOT_RELEASED)
