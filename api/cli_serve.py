"""`dosewright serve`: a demonstration site that stays up, with its workstation page and one or several cells."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from api import cli_options as options
from api import completions
from api.cases import Changes, Demonstration, load_case
from api.certificates import write_private
from api.command_name import command_name
from api.errors import FolderNotOurs, InputInvalid, ProcessFailed
from api.processes import (
    Child,
    Children,
    ended_in_order,
    free_port,
    read_bench,
    start_bench,
    supervise_cell,
    wait_for_file,
)
from api.set_up import TOKEN_HOURS, write_token
from api.settings import FILE_NAME, load_settings
from api.site_names import CELL, MOST_CELLS
from api.web_supervisor import WebSupervisor
from audit.clock import SystemClock
from recipes.order import Cartridge, InkLot

_WATCH_S = 0.5
_START_S = 20.0


@dataclass(frozen=True, slots=True)
class _Place:
    """One cell of the site with the case that its bench is set up for."""

    cell: str
    case: str
    demonstration: Demonstration

    @property
    def bench(self) -> str:
        return "bench" if self.cell == CELL else f"bench-{self.cell}"


class _Cell:
    """A cell at work: its bench, its supervisor, and which process its supervisor runs now."""

    def __init__(self, place: _Place, folder: Path, bench: Child, supervisor: Child) -> None:
        self.name = place.cell
        self._children = (bench, supervisor)
        self._address = folder / place.cell / "address.json"
        self._process = wait_for_file(self._address, supervisor, _START_S).get("process")

    def check(self) -> bool:
        """Return whether the cell has died and is up again since this was asked last. Raises ProcessFailed where it stays down."""
        for child in self._children:
            child.check()
        before, self._process = self._process, wait_for_file(self._address, self._children[1], _START_S).get("process")
        return before != self._process


def serve(
    site: Annotated[Path, typer.Option(help="Folder of the demonstration site; laid out when it is empty.")] = Path("site"),
    case: Annotated[
        list[str] | None,
        typer.Option(
            help="Demonstration case (cyclophosphamide); given again, the next cell has the machine of the next case.",
            autocompletion=completions.cases,
        ),
    ] = None,
    cells: Annotated[int, typer.Option(help="Number of cells, each with a bench of its own.", min=1, max=MOST_CELLS)] = 1,
    rate: Annotated[str, typer.Option(help="Seconds of process time per second.")] = "10",
    fault: Annotated[
        str | None, typer.Option(help="Fault of the first bench, for example clog:3.", autocompletion=completions.faults)
    ] = None,
    port: Annotated[int, typer.Option(help="Port of the workstation; 0 chooses one.", min=0, max=65535)] = 8080,
    seed: Annotated[int, typer.Option(help="Seed of everything random on the bench.")] = 1,
    empty: Annotated[
        bool, typer.Option("--empty", help="Lay it out without accounts, inks and signed recipes: a first day, from the set-up page on.")
    ] = False,
) -> None:
    """Serve a demonstration site: workstation, and for each cell its process and its virtual bench. Ctrl-C ends them all.

    A cell that dies is started again, and closes the run that it was printing. A workstation that dies has another take its place.
    """
    console = Console(highlight=False, soft_wrap=True)
    rate = options.read_rate(rate)
    places = _places(case or ["cyclophosphamide"], cells)
    folder, token = _site(site, places, empty=empty)
    with ended_in_order(), Children(folder / "logs") as children:
        from api.site import write_cell_configuration  # a site, its people and recipes load only where one is served

        chosen = port or free_port()
        benches = {place.cell: _start_bench(children, folder, place, rate=rate, fault=fault, seed=seed) for place in places}
        web = WebSupervisor(
            folder, load_settings(folder).host, chosen, log=folder / "logs" / "workstation.log", tell=functools.partial(_warn, console)
        )
        children.keep(web).start()
        supervisors: dict[str, Child] = {}
        for place in places:
            child, ready = benches[place.cell]
            machine = place.demonstration.recipe.machine
            write_cell_configuration(folder, machine=machine, bench=read_bench(child, ready), cell=place.cell)
            supervisors[place.cell] = supervise_cell(children, folder, place.cell)
        running = [_Cell(place, folder, benches[place.cell][0], supervisors[place.cell]) for place in places]
        web.wait(_START_S)
        _greet(console, chosen, folder, places, token)
        _watch(console, web, running)


def _places(cases: Sequence[str], cells: int) -> tuple[_Place, ...]:
    """Give each cell its case, in turn. Raises RecipeUnknown, InputInvalid."""
    from api.site import cell_names

    names, today = cell_names(max(cells, len(cases))), datetime.now(UTC).date()
    chosen = [cases[at % len(cases)] for at in range(len(names))]
    found = {case: load_case(case, Changes(), today) for case in dict.fromkeys(chosen)}
    return tuple(_Place(name, case, found[case]) for name, case in zip(names, chosen, strict=True))


def _site(site: Path, places: Sequence[_Place], *, empty: bool) -> tuple[Path, str]:
    """Lay the site out where the folder is empty; return its folder, and the set-up token where one was made.

    Raises FolderNotOurs, InputInvalid, SettingsInvalid.
    """
    from api.site import create_site

    token = ""
    if not (site / FILE_NAME).exists():
        if site.exists() and any(site.iterdir()):
            raise FolderNotOurs(f"{site} is not empty and is not a site.", remedy="Choose another folder with --site.")
        made = create_site(site, inks=() if empty else _inks(places), cells=len(places), empty=empty)
        if empty:
            token = write_token(load_settings(site).path(load_settings(site).set_up_token), SystemClock().utc().at)
        else:
            lines = [f"{username}  {password}" for username, password in made.passwords.items()]
            write_private(site / "accounts.txt", ("\n".join(lines) + "\n").encode())
    settings = load_settings(site)
    known = [cell.name for cell in settings.cells]
    if missing := [place.cell for place in places if place.cell not in known]:
        raise InputInvalid(
            f"cells: the site in {site} was laid out with {len(known)} ({', '.join(known)}); it has no {missing[0]}.",
            remedy="Ask for no more, or choose an empty folder with --site.",
        )
    return settings.folder, token


def _inks(places: Sequence[_Place]) -> list[tuple[InkLot, Cartridge]]:
    """Return for each cell a cartridge of its own, of the ink lot of its case: one cartridge is in one cell."""
    found: list[tuple[InkLot, Cartridge]] = []
    for at, place in enumerate(places):
        number = 1 + sum(1 for earlier in places[:at] if earlier.case == place.case)
        for ink, cartridge in place.demonstration.sources:
            found.append((ink, cartridge if number == 1 else cartridge.model_copy(update={"serial": f"{cartridge.serial}-{number}"})))
    return found


def _start_bench(children: Children, folder: Path, place: _Place, *, rate: str, fault: str | None, seed: int) -> tuple[Child, Path]:
    """Start the bench of one cell; a fault is of the first one."""
    return start_bench(
        children,
        folder / f"{place.bench}.json",
        case=place.case,
        fault=fault or None if place.cell == CELL else None,
        rate=rate,
        seed=seed,
        truth=folder / f"{place.bench}-truth.json",
        name=place.bench,
    )


def _greet(console: Console, port: int, folder: Path, places: Sequence[_Place], token: str) -> None:
    console.print("Demonstration, not for patients", style="bold")
    console.print(f"Workstation: http://127.0.0.1:{port}", markup=False)
    for place in places if len(places) > 1 else ():
        machine = place.demonstration.recipe.machine
        console.print(f"  {place.cell}  machine {machine}  http://127.0.0.1:{port}/?cell={place.cell}", markup=False)
    accounts = folder / "accounts.txt"
    if token:
        console.print(f"Set-up token, shown this once, good for {TOKEN_HOURS} hours: {token}", markup=False)
        console.print(f"Make the first administrator with it: http://127.0.0.1:{port}/set-up", markup=False)
    elif accounts.exists():
        console.print(f"Accounts (user name, password), from {accounts}:", markup=False)
        console.print(accounts.read_text(encoding="utf-8").rstrip(), markup=False)
    else:
        console.print(f"Accounts are those that its people made. No administrator yet? {command_name()} site token {folder}", markup=False)
    console.print("Ctrl-C ends benches, cells and workstation." if len(places) > 1 else "Ctrl-C ends bench, cell and workstation.")


def _warn(console: Console, text: str) -> None:
    console.print(text, markup=False, style="bold red")


def _watch(console: Console, web: WebSupervisor, cells: list[_Cell]) -> None:
    """Stay up as long as the workstation can be kept up and a cell is; say which cell is up again, or stays down. Raises ProcessFailed."""
    while True:
        web.check()
        for cell in list(cells):
            try:
                if cell.check():
                    console.print(f"{cell.name} died and was started again; a run that it was printing is interrupted.", style="bold red")
            except ProcessFailed as failed:
                cells.remove(cell)
                if not cells:
                    raise
                console.print(f"{cell.name} is down: {failed} The others go on.", markup=False, style="bold red")
        time.sleep(_WATCH_S)
