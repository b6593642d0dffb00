"""`dosewright replay`: print a run again, without a printer, from its review package alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from api import completions
from api.cli_options import AsJson, print_json
from api.errors import InputInvalid

_STATUS_DIFFERS = 1


def replay(
    package: Annotated[Path, typer.Argument(help="Review package (.zip).", autocompletion=completions.packages)],
    run: Annotated[str | None, typer.Option("--run", help="One run of the batch; without it, all of them.")] = None,
    as_json: AsJson = False,
) -> None:
    """Repeat every decision of a batch's runs from what is in its package.

    Each run is admitted anew (signatures, dose, program, proof), its sealed inputs are fed to a fresh run machine, and every
    entry is compared with the cell's trail. Who signed is for `dosewright verify`.

    Exit status: 0 identical; 1 a decision differs; 2 an error.
    """
    from api.replay_text import as_record, show  # what runs are made of loads only when one is repeated
    from audit.release.package import read_package  # the document writer comes with it, and only this command wants it
    from audit.release.package_runs import RecordedRun, recorded_runs
    from printer.replay_check import check_replay

    if package.exists() and not package.is_file():  # a pipe or a device may never end
        raise InputInvalid(f"{package} is {'a folder' if package.is_dir() else 'not a file'}.", remedy="Name a review package.")
    found = recorded_runs(read_package(package))
    names = [item.run for item in found]
    if run is not None and run not in names:
        raise InputInvalid(f"{package} holds no run {run!r}.", remedy=f"Its runs are: {', '.join(names) or 'none'}.")
    if not found:
        raise InputInvalid(f"{package} holds no run.", remedy="Name the package of a batch that was run.")
    chosen: list[RecordedRun] = [item for item in found if run in (None, item.run)]
    outcomes = [(item.software, check_replay(item.run, item.entries, item.files, item.journal)) for item in chosen]
    if as_json:
        print_json({outcome.run: as_record(outcome, software) for software, outcome in outcomes})
    else:
        console = Console(highlight=False, soft_wrap=True)
        for software, outcome in outcomes:
            show(console, outcome, software)
    raise typer.Exit(0 if all(outcome.identical for _, outcome in outcomes) else _STATUS_DIFFERS)
