"""`dosewright serve`: a demonstration site that stays up, with its workstation page."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from api import cli_options as options
from api.cases import Changes, load_case
from api.certificates import write_private
from api.errors import FolderNotOurs
from api.processes import Children, free_port, read_bench, start_bench, start_cell, start_workstation, wait_for_file, wait_for_port
from api.settings import FILE_NAME, load_settings
from api.site import CELL, create_site, write_cell_configuration

_WATCH_S = 0.5


def serve(
    site: Annotated[Path, typer.Option(help="Folder of the demonstration site; laid out when it is empty.")] = Path("site"),
    case: options.Case = "cyclophosphamide",
    rate: Annotated[str, typer.Option(help="Seconds of process time per second.")] = "10",
    fault: Annotated[str | None, typer.Option(help="Fault of the bench, for example clog:3.")] = None,
    port: Annotated[int, typer.Option(help="Port of the workstation; 0 chooses one.", min=0, max=65535)] = 8080,
    seed: Annotated[int, typer.Option(help="Seed of everything random on the bench.")] = 1,
) -> None:
    """Serve a demonstration site: virtual bench, cell and workstation. Ctrl-C ends all three."""
    console = Console(highlight=False, soft_wrap=True)
    rate = options.read_rate(rate)
    demonstration = load_case(case, Changes(), datetime.now(UTC).date())
    if not (site / FILE_NAME).exists():
        if site.exists() and any(site.iterdir()):
            raise FolderNotOurs(f"{site} is not empty and is not a site.", remedy="Choose another folder with --site.")
        made = create_site(site, inks=[(demonstration.ink, demonstration.cartridge)])
        lines = [f"{username}  {password}" for username, password in made.passwords.items()]
        write_private(site / "accounts.txt", ("\n".join(lines) + "\n").encode())
    folder = load_settings(site).folder
    with Children(folder / "logs") as children:
        bench_child, ready = start_bench(
            children, folder / "bench.json", case=case, fault=fault or None, rate=rate, seed=seed, truth=folder / "bench-truth.json"
        )
        chosen = port or free_port()
        workstation = start_workstation(children, folder, chosen, page=True)
        bench = read_bench(bench_child, ready)
        write_cell_configuration(folder, machine=demonstration.recipe.machine, bench=bench)
        cell = start_cell(children, folder)
        wait_for_file(folder / CELL / "address.json", cell, 20.0)
        wait_for_port(chosen, workstation, 20.0)
        console.print("Demonstration, not for patients", style="bold")
        console.print(f"Workstation: http://127.0.0.1:{chosen}", markup=False)
        accounts = folder / "accounts.txt"
        console.print(f"Accounts (user name, password), from {accounts}:", markup=False)
        console.print(accounts.read_text(encoding="utf-8").rstrip(), markup=False)
        console.print("Ctrl-C ends bench, cell and workstation.")
        while True:
            children.check()
            time.sleep(_WATCH_S)
