"""`dosewright anchor`: send checkpoints out now, and say what is anchored outside."""

from __future__ import annotations

import typer
from pydantic import JsonValue
from rich.console import Console

from api.cli_options import AsJson, Url, User, ask_password, print_json
from api.demo_desk import Desk

app = typer.Typer(help="Checkpoints at a witness and a time-stamping authority.", no_args_is_help=True, rich_markup_mode=None)
_NOT_ANCHORED = 1


@app.command("now")
def now(url: Url = "http://127.0.0.1:8080", user: User = "qp", as_json: AsJson = False) -> None:
    """Submit the checkpoint of every trail now.

    Exit status: 0 anchored; 1 somebody could not be reached or refused, which is said; 2 an error.
    """
    answer = _ask("POST", url, user)
    outcomes = [item for item in _list(answer.get("outcomes")) if isinstance(item, dict)]
    if as_json:
        print_json(answer)
    else:
        for item in outcomes:
            said = item["problem"] or f"entries 0 to {_count(item['size']) - 1} anchored"
            print(f"{'✕' if item['problem'] else '✓'} {item['origin']} {item['by']}: {said}")
        _show(answer)
    raise typer.Exit(_NOT_ANCHORED if not outcomes or any(item["problem"] for item in outcomes) else 0)


@app.command("status")
def status(url: Url = "http://127.0.0.1:8080", user: User = "qp", as_json: AsJson = False) -> None:
    """Say what of each trail is anchored outside, by whom and since when, and how many entries came since."""
    answer = _ask("GET", url, user)
    if as_json:
        print_json(answer)
    else:
        _show(answer)


def _ask(method: str, url: str, user: str) -> dict[str, JsonValue]:
    desk = Desk.log_in(url, user, ask_password(Console(stderr=True, highlight=False, soft_wrap=True), user))
    try:
        return desk.post("/anchors") if method == "POST" else desk.get("/anchors")
    finally:
        desk.close()


def _show(answer: dict[str, JsonValue]) -> None:
    for line in _list(answer.get("lines")):
        print(line)
    if not answer.get("configured"):
        print("no witness and no time-stamping authority is configured: see docs/integrator.md")


def _list(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []


def _count(value: JsonValue) -> int:
    return value if isinstance(value, int) else 0
