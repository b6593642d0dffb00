"""`dosewright check`: the daily check of a cell's balance, and its cleaning, from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import JsonValue
from rich.console import Console
from rich.prompt import Prompt

from api.bench_hand import BenchHand, find_hand
from api.cli_options import AsJson, CellName, Url, User, ask_password, print_json
from api.demo_care import Check, carry_out
from api.demo_desk import Desk
from api.errors import InputInvalid
from api.site_names import CELL

app = typer.Typer(help="Checks and care before the first print of a day.", no_args_is_help=True, rich_markup_mode=None)
STATUS_NOT_PASSED = 1


@app.command("balance")
def balance(
    url: Url = "http://127.0.0.1:8080",
    user: User = "operator",
    cell: CellName = CELL,
    as_json: AsJson = False,
    demonstration: Annotated[
        Path | None, typer.Option("--demonstration", help="Folder of a demonstration site: its bench moves the weight, nobody is asked.")
    ] = None,
) -> None:
    """Do the daily check of the balance: put the weight where it is asked for and confirm, step by step.

    Exit status: 0 passed, 1 not passed or abandoned. Ctrl-C abandons the check, which is recorded.
    """
    hand = None
    if demonstration is not None and (hand := find_hand(demonstration)) is None:
        raise InputInvalid(f"{demonstration} is not a demonstration site whose bench runs.", remedy="Start it with `dosewright serve`.")
    console = Console(highlight=False, soft_wrap=True, stderr=as_json)
    desk = Desk.log_in(url, user, ask_password(console, user))
    try:
        check = carry_out(desk, cell, lambda state: _do(console, state, hand), lambda state: _show(console, state))
    except (KeyboardInterrupt, EOFError):
        desk.post(f"/cells/{cell}/check/abandon", {"reason": "interrupted at the command line"})
        console.print("Abandoned; this is on record, and a print needs another check.")
        raise typer.Exit(STATUS_NOT_PASSED) from None
    finally:
        desk.close()
    passed = check.get("passed") is True
    if as_json:
        print_json(check)
    else:
        _verdict(console, check, passed=passed)
    raise typer.Exit(0 if passed else STATUS_NOT_PASSED)


@app.command("readiness")
def readiness(
    url: Url = "http://127.0.0.1:8080",
    user: User = "operator",
    cell: CellName = CELL,
    as_json: AsJson = False,
) -> None:
    """Show the gates of a cell that can be judged without a job. Exit status: 0 all met, 1 not."""
    console = Console(highlight=False, soft_wrap=True, stderr=as_json)
    desk = Desk.log_in(url, user, ask_password(console, user))
    try:
        found = desk.get(f"/cells/{cell}/readiness")
    finally:
        desk.close()
    gates = [gate for gate in _list(found.get("gates")) if isinstance(gate, dict)]
    if as_json:
        print_json(found)
    for gate in gates:
        met = gate.get("met") is True
        console.print(f"{'✓' if met else '✕'} {gate.get('gate')}: {gate.get('evidence' if met else 'reason')}", markup=False)
    raise typer.Exit(0 if gates and all(gate.get("met") is True for gate in gates) else STATUS_NOT_PASSED)


@app.command("cleaning")
def cleaning(
    method: Annotated[str, typer.Argument(help="What was done, by which procedure.")],
    url: Url = "http://127.0.0.1:8080",
    user: User = "operator",
    cell: CellName = CELL,
    as_json: AsJson = False,
) -> None:
    """Put on record that the cell was cleaned."""
    console = Console(highlight=False, soft_wrap=True, stderr=as_json)
    desk = Desk.log_in(url, user, ask_password(console, user))
    try:
        done = desk.post(f"/cells/{cell}/cleaning", {"method": method})
    finally:
        desk.close()
    if as_json:
        print_json(done)
        return
    console.print(f"On record: {cell} cleaned on {done.get('day')}: {done.get('method')}", markup=False)


def _do(console: Console, check: Check, hand: BenchHand | None) -> None:
    if hand is not None:
        hand.follow(check)
        return
    Prompt.ask("  press Enter when it is done (Ctrl-C gives the check up)", default="", show_default=False, console=console)


def _show(console: Console, check: Check) -> None:
    if check.get("instruction"):
        console.print(f"Step {check.get('number')} of {check.get('of')}: {check['instruction']}", markup=False)
    else:
        readings = _list(check.get("readings"))
        last = readings[-1] if readings else None
        if isinstance(last, dict):
            console.print(f"  last reading, {last.get('step')}: {last.get('value_mg')} mg", markup=False, style="dim")
    failures = _list(check.get("failures"))
    if failures and check.get("instruction"):
        console.print(f"  not usable: {failures[-1]}", markup=False, style="yellow")


def _verdict(console: Console, check: Check, *, passed: bool) -> None:
    console.print(
        "Passed." if passed else "NOT passed: nothing is printed until a check passes.", style="bold green" if passed else "bold red"
    )
    for reason in _list(check.get("reasons")):
        console.print(f"  {reason}", markup=False)


def _list(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []
