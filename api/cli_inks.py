"""`dosewright ink` and `dosewright cartridge`: received, prepared, weighed and shown, from files that a person can read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from pydantic import JsonValue
from rich.console import Console
from rich.prompt import Prompt

from api import completions
from api.cli_options import AlwaysJson, Url, User, ask_password, print_json
from api.demo_desk import Desk
from api.errors import InputInvalid
from recipes.figures import read_toml

ink = typer.Typer(help="Ink lots: with a certificate, or prepared on site.", no_args_is_help=True, rich_markup_mode=None)
cartridge = typer.Typer(help="Cartridges: filled, weighed, used.", no_args_is_help=True, rich_markup_mode=None)

_File = Annotated[
    Path,
    typer.Argument(help='A TOML file, quantities as text with their unit: assay = "39.6 mg/g".', autocompletion=completions.toml_files),
]
Serial = Annotated[str, typer.Argument(help="Serial number of the cartridge.", autocompletion=completions.cartridges)]
_LARGEST = 256 * 1024


@ink.command("receive")
def receive(file: _File, url: Url = "http://127.0.0.1:8080", user: User = "operator", as_json: AlwaysJson = True) -> None:
    """Receive an ink lot with its certificate of analysis."""
    _post("/inks", _read(file), url, user)


@ink.command("prepare")
def prepare(
    file: _File,
    checker: Annotated[str, typer.Option(help="User name of the second person, who checked every weighing and the mixing.")],
    url: Url = "http://127.0.0.1:8080",
    user: User = "operator",
    as_json: AlwaysJson = True,
) -> None:
    """Record an ink prepared on site; the second person signs. Its strength is theoretical, and is shown as that everywhere."""
    record = _read(file)
    password = Prompt.ask(f"Password of {checker}", password=True, console=Console(stderr=True))
    desk = Desk.log_in(url, user, ask_password(Console(stderr=True, highlight=False, soft_wrap=True), user))
    try:
        print_json(desk.post("/inks/prepared", {"ink": record, "checker": desk.sign_now(username=checker, password=password)}))
    finally:
        desk.close()


@ink.command("show")
def show_inks(url: Url = "http://127.0.0.1:8080", user: User = "operator", as_json: AlwaysJson = True) -> None:
    """Print every ink lot as JSON."""
    _get("/inks", url, user)


@cartridge.command("receive")
def receive_cartridge(file: _File, url: Url = "http://127.0.0.1:8080", user: User = "operator", as_json: AlwaysJson = True) -> None:
    """Receive a filled cartridge of a known ink lot."""
    _post("/cartridges", _read(file), url, user)


@cartridge.command("weigh")
def weigh(
    serial: Serial,
    gross_mg: Annotated[str, typer.Option(help="Gross mass in mg, as the balance shows it.")],
    uncertainty_mg: Annotated[str, typer.Option(help="Expanded uncertainty of one weighing on it (k = 2), in mg.")],
    balance: Annotated[str, typer.Option(help="Which balance.")],
    empty_mg: Annotated[str, typer.Option(help="Mass of the empty cartridge in mg, where it is known.")] = "",
    url: Url = "http://127.0.0.1:8080",
    user: User = "operator",
    as_json: AlwaysJson = True,
) -> None:
    """Enter a weighing: what runs took is compared with it, and a batch that waits for its cartridge has its ink left."""
    body: dict[str, JsonValue] = {"gross_mg": gross_mg, "uncertainty_mg": uncertainty_mg, "balance": balance, "empty_mg": empty_mg}
    _post(f"/cartridges/{serial}/weight", body, url, user)


@cartridge.command("show")
def show(serial: Serial, url: Url = "http://127.0.0.1:8080", user: User = "operator", as_json: AlwaysJson = True) -> None:
    """Print a cartridge with what is left in it and all that happened to it, as JSON."""
    _get(f"/cartridges/{serial}", url, user)


def _read(file: Path) -> dict[str, JsonValue]:
    try:
        content = file.read_bytes()[: _LARGEST + 1]
    except OSError as error:
        raise InputInvalid(f"{file} cannot be read: {error.strerror}.", remedy="Name a file that you may read.") from None
    if len(content) > _LARGEST:
        raise InputInvalid(f"{file} is larger than {_LARGEST} bytes.", remedy="Name the file of one ink lot or cartridge.")
    try:
        found: dict[str, JsonValue] = json.loads(json.dumps(read_toml(content, file.name)))
    except TypeError:
        raise InputInvalid(f"{file} holds a date without quotes.", remedy='Write dates as text: expires = "2026-11-20".') from None
    return found


def _post(path: str, body: dict[str, JsonValue], url: str, user: str) -> None:
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    desk = Desk.log_in(url, user, ask_password(console, user))
    try:
        print_json(desk.post(path, body))
    finally:
        desk.close()


def _get(path: str, url: str, user: str) -> None:
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    desk = Desk.log_in(url, user, ask_password(console, user))
    try:
        print_json(desk.get(path))
    finally:
        desk.close()
