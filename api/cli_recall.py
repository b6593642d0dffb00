"""`dosewright recall`: search through a running workstation or in files, open, follow and close."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import JsonValue
from rich.console import Console

from api import completions
from api.cli_options import AlwaysJson, Url, User, ask_password, print_json
from api.demo_desk import Desk
from api.errors import InputInvalid
from api.recall_search import RecallSearch

app = typer.Typer(help="Recalls: search, open, follow, close.", no_args_is_help=True, rich_markup_mode=None)

_Criterion = Annotated[
    list[str],
    typer.Option("--by", help="What to search by, as name=value; again to narrow: ink_lot, cartridge, cell, printer, recipe, equipment, "
    "operator, batch, since, until.", autocompletion=completions.criteria),
]  # fmt: skip
Recall = Annotated[str, typer.Argument(help="Number of the recall.", autocompletion=completions.recalls)]
_NAMES = tuple(RecallSearch.model_fields)


@app.command("search")
def search(
    by: _Criterion,
    trail: Annotated[list[Path] | None, typer.Option(help="Trails as files (.db, .jsonl, .zip) instead of a workstation.")] = None,
    url: Url = "http://127.0.0.1:8080",
    user: User = "qp",
    as_json: AlwaysJson = True,
) -> None:
    """Print batches, units, packs and patients (by pseudonym) that meet every criterion, as JSON."""
    wanted = _criteria(by)
    if trail:
        from api.trail_files import read_files  # trails load only where files are searched
        from audit.release.recall import search as search_trails

        files = read_files(trail)
        found = search_trails(wanted.criteria(), [file.view for file in files]).as_record()
        print_json({**found, "notes": [f"{file.name}: {file.problem}" for file in files if file.problem]})
        return
    desk = _desk(url, user)
    try:
        print_json(desk.post("/recalls/search", wanted.model_dump(exclude_none=True)))
    finally:
        desk.close()


@app.command("open")
def open_recall(
    by: _Criterion,
    reason: Annotated[str, typer.Option()],
    url: Url = "http://127.0.0.1:8080",
    user: User = "qp",
    as_json: AlwaysJson = True,
) -> None:
    """Open a recall and sign it with the password that is asked for: packs are recalled, ink lots and cartridges held."""
    wanted: dict[str, JsonValue] = _criteria(by).model_dump(exclude_none=True)
    desk = _desk(url, user)
    try:
        print_json(desk.post("/recalls", {"search": wanted, "reason": reason, "signature": {"password": desk.password}}))
    finally:
        desk.close()


@app.command("show")
def show(recall: Recall, url: Url = "http://127.0.0.1:8080", user: User = "qp", as_json: AlwaysJson = True) -> None:
    """Print a recall with the state of its packs and patients, and what closing waits for, as JSON."""
    desk = _desk(url, user)
    try:
        print_json(desk.get(f"/recalls/{recall}"))
    finally:
        desk.close()


@app.command("close")
def close(
    recall: Recall,
    reason: Annotated[str, typer.Option()],
    url: Url = "http://127.0.0.1:8080",
    user: User = "qp",
    as_json: AlwaysJson = True,
) -> None:
    """Close a recall and sign it; refused until every pack and patient is accounted for."""
    desk = _desk(url, user)
    try:
        print_json(desk.post(f"/recalls/{recall}/close", {"reason": reason, "signature": {"password": desk.password}}))
    finally:
        desk.close()


def _desk(url: str, user: str) -> Desk:
    return Desk.log_in(url, user, ask_password(Console(stderr=True, highlight=False, soft_wrap=True), user))


def _criteria(given: list[str]) -> RecallSearch:
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or name not in _NAMES or name in found or not value:
            raise InputInvalid(f"--by {text}: write name=value, each once, with one of {', '.join(_NAMES)}.", remedy="--by ink_lot=L-1")
        found[name] = value
    return RecallSearch.model_validate(found)
