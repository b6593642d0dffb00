"""`dosewright batch`: what is done to a batch from the command line besides printing and reviewing it."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import typer
from rich.console import Console

from api import completions
from api.cli_options import AsJson, Url, User, ask_password, print_json
from api.demo_desk import Desk

app = typer.Typer(help="Batches: cancel one whose run was never asked for.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Keep `cancel` a command of its own, though it is the only one."""


@app.command("cancel")
def cancel(
    batch: Annotated[str, typer.Argument(help="Number of the batch.", autocompletion=completions.batches)],
    reason: Annotated[str, typer.Option(help="Why; it is on record.")],
    url: Url = "http://127.0.0.1:8080",
    user: User = "pharmacist",
    as_json: AsJson = False,
) -> None:
    """Cancel a batch whose run was never asked for, as a pharmacist or as who opened it; its order may be made in another."""
    console = Console(stderr=as_json, highlight=False, soft_wrap=True)
    desk = Desk.log_in(url, user, ask_password(console, user))
    try:
        answer = desk.post(f"/batches/{quote(batch, safe='')}/cancel", {"reason": reason})
    finally:
        desk.close()
    if as_json:
        print_json(answer)
        return
    console.print(f"Batch {batch} is cancelled. Its order may be made in another batch.", markup=False)
