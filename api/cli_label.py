"""`dosewright label`: the labels of a released batch, printed through a running workstation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import JsonValue
from rich.console import Console
from rich.prompt import Prompt

from api import completions
from api.cli_options import AsJson, Url, User, ask_password, print_json
from api.demo_desk import Desk
from api.errors import InputInvalid
from api.label_files import print_labels

_FORMS = ("pdf", "zpl")


def label(
    batch: Annotated[
        str, typer.Argument(help="A released batch, or one of its packs: B00001 or B00001-P01.", autocompletion=completions.batches)
    ],
    form: Annotated[str, typer.Option(help="pdf, or zpl for a thermal printer.")] = "pdf",
    resolution: Annotated[int, typer.Option(help="Of the thermal printer, in dpi: 203 or 300.")] = 203,
    to: Annotated[Path, typer.Option(help="Folder for the files.")] = Path(),
    reason: Annotated[str, typer.Option(help="Why a label is printed again.")] = "",
    second: Annotated[str, typer.Option(help="User name of the person who approves a further copy.")] = "",
    url: Url = "http://127.0.0.1:8080",
    user: User = "operator",
    as_json: AsJson = False,
) -> None:
    """Print the labels of a released batch: units in no pack are packed first, strengths kept apart; every print is on record."""
    if form not in _FORMS:
        raise InputInvalid(f"form: {form!r} is not one of {', '.join(_FORMS)}.", remedy="Write for example --form zpl.")
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    desk = Desk.log_in(url, user, ask_password(console, user))
    try:
        body: dict[str, JsonValue] = {"form": form, "resolution": resolution, "reason": reason}
        if second:
            password = Prompt.ask(f"Password of {second}", password=True, console=console)
            body["approval"] = {"username": second, "password": password}
        files = print_labels(desk, batch, body, to)
    finally:
        desk.close()
    if as_json:
        print_json({"batch": batch, "form": form, "files": [str(path) for path in files]})
        return
    for path in files:
        print(path)
