"""`dosewright weigh`: one of the two entries of a unit that is weighed on the external balance, from the command line.

What is typed is not shown, and the value is no option of the command: neither the screen nor the history of a shell may tell
the second person what the first one entered.
"""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer
from pydantic import JsonValue
from rich.console import Console
from rich.prompt import Prompt

from api.cli_options import CellName, Url, User, ask_password
from api.demo_desk import Desk
from api.errors import WrongState
from api.site_names import CELL
from api.status import CellStatus, ExternalWeighingStatus

STATUS_NOTHING = 1
STATUS_AGAIN = 3
_POLL_S = 0.05
_PATIENCE_S = 60.0


def weigh(
    url: Url = "http://127.0.0.1:8080",
    user: User = "operator",
    cell: CellName = CELL,
    wait: Annotated[int, typer.Option(help="Seconds to wait for a unit that is to be weighed.", min=0, max=3600)] = 0,
) -> None:
    """Enter the weight of the unit that waits: as its operator, then again, blind and signed, as a second person.

    Exit status: 0 entered; 1 no unit waits; 3 the two entries differed, both are asked again or the unit is rejected.
    """
    console = Console(highlight=False, soft_wrap=True)
    desk = Desk.log_in(url, user, ask_password(console, user))
    try:
        status = _await(desk, cell, wait)
        waiting = status.external_weighing
        if waiting is None or status.batch is None:
            console.print(f"No unit of {cell} waits to be weighed.", markup=False)
            raise typer.Exit(STATUS_NOTHING)
        if waiting.entry == 2 and waiting.first_by == user:
            raise WrongState("The same person cannot make both entries.", remedy="Let a second person weigh the unit: --user.")
        _instruct(console, waiting)
        _enter(console, desk, f"/batches/{status.batch}/units/{waiting.n}/weight", waiting)
        if waiting.entry == 2:
            _outcome(console, desk, cell, waiting)
    finally:
        desk.close()


def _enter(console: Console, desk: Desk, path: str, waiting: ExternalWeighingStatus) -> None:
    """Read what a person read, and hand it on. Raises Refused."""
    try:
        read = _read(console, waiting)
        password = ask_password(console, desk.username, ", to sign the weight") if waiting.entry == 2 else ""
    except (KeyboardInterrupt, EOFError):
        console.print("Nothing was entered.")
        raise typer.Exit(STATUS_NOTHING) from None
    if waiting.entry == 1:
        desk.post(path, read)
        console.print("Entered. A second person follows, without being told the value: `dosewright weigh --user NAME`.", markup=False)
        return
    desk.post(f"{path}/second", {"weight": read, "signature": desk.sign_now(password=password)})
    console.print("Entered and signed.")


def _await(desk: Desk, cell: str, seconds: int) -> CellStatus:
    limit = time.monotonic() + seconds
    while True:
        status = desk.status(cell)
        if status.external_weighing is not None or status.ended or time.monotonic() >= limit:
            return status
        time.sleep(_POLL_S)


def _instruct(console: Console, waiting: ExternalWeighingStatus) -> None:
    who = "a second person" if waiting.entry == 2 else "the operator"
    console.print(f"Unit {waiting.n}: entry {waiting.entry} of 2, attempt {waiting.attempt} of 3, by {who}", style="bold", markup=False)
    if waiting.entry == 1 and waiting.attempt > 1:
        console.print("  The two entries differed: both weigh and enter anew.", style="yellow")
    for line in (
        f"Take unit {waiting.n}, and no other, off the plate by {waiting.removal}; the guard stays closed.",
        f"Weigh it on {waiting.asset}, {waiting.model}, serial number {waiting.serial}, tared.",
        f"Enter the net mass with {waiting.decimals} decimals, and the serial number as it stands on the balance.",
        "Put the unit into its own numbered place.",
    ):
        console.print(f"  {line}", markup=False)
    if waiting.time_left_s is not None:
        console.print(f"  Not entered within {waiting.time_left_s} s, the unit is rejected.", style="dim")


def _read(console: Console, waiting: ExternalWeighingStatus) -> dict[str, JsonValue]:
    return {
        "value_mg": _unseen(console, f"Net mass of unit {waiting.n}, mg (not shown)"),
        "balance_serial": _unseen(console, "Serial number on the balance (not shown)"),
    }


def _unseen(console: Console, what: str) -> str:
    """Read one line: typed unseen at a terminal, else the next line of standard input. Raises EOFError at its end."""
    if sys.stdin.isatty():
        return Prompt.ask(what, password=True, console=console).strip() or "-"
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.strip() or "-"


def _outcome(console: Console, desk: Desk, cell: str, entered: ExternalWeighingStatus) -> None:
    """Say what the two entries led to, as soon as the cell has judged the unit."""
    limit = time.monotonic() + _PATIENCE_S
    while time.monotonic() < limit:
        status = desk.status(cell)
        waiting = status.external_weighing
        unit = next((unit for unit in status.units if unit.n == entered.n), None)
        if waiting is not None and waiting.unit == entered.unit and waiting.attempt > entered.attempt:
            console.print("The two entries differed: both weigh and enter anew.", style="bold yellow")
            raise typer.Exit(STATUS_AGAIN)
        if unit is not None and unit.verdict is not None:
            mass = f"{unit.mass_mg} mg, " if unit.mass_mg is not None else ""
            console.print(f"Unit {unit.n}: {mass}{unit.verdict}{': ' if unit.reasons else ''}{'; '.join(unit.reasons)}", markup=False)
            if unit.mass_mg is None:
                raise typer.Exit(STATUS_AGAIN)
            return
        time.sleep(_POLL_S)
    console.print("The cell has not judged the unit yet; look at its page.", style="yellow")
