"""`dosewright site`: set up a site for patients, serve it, and what only the machine's own account may do with it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.prompt import Prompt

from api import completions
from api.cli_options import AlwaysJson, AsJson, print_json
from api.errors import InputInvalid, SiteExists
from api.processes import ended_in_order
from api.settings import Settings, load_settings
from api.site_names import MOST_CELLS
from api.web_supervisor import WebSupervisor
from audit.clock import SystemClock
from audit.events import SYSTEM
from audit.identity import Identity, Role
from audit.signer import load_signer
from audit.store import TrailStore
from audit.version import SOFTWARE

app = typer.Typer(help="Set up a site for patients and serve it.", no_args_is_help=True, rich_markup_mode=None)
Folder = Annotated[Path, typer.Argument(help="Folder of the site.")]
_WATCH_S = 0.5


@app.command("create")
def create(
    folder: Folder,
    site: Annotated[str, typer.Option(help="Name of the site, a-z, 0-9 and '-'; it stands in the origin of every trail, for good.")],
    zone: Annotated[str, typer.Option(help="Time zone of the site, for example Europe/Berlin.")],
    cells: Annotated[int, typer.Option(help="Number of cells.", min=1, max=MOST_CELLS)] = 1,
    port: Annotated[int, typer.Option(help="Port of the workstation.", min=1, max=65535)] = 8080,
    administrator: Annotated[
        str | None, typer.Option(help="User name of the first administrator, whose password is asked for here.")
    ] = None,
    full_name: Annotated[str | None, typer.Option(help="Full name of the first administrator.")] = None,
    as_json: AsJson = False,
) -> None:
    """Lay out an empty site, once: folder, keys, certificates, stores, workstation.toml. No password comes with it.

    The first administrator is made here, with --administrator, or on the set-up page with a token that is shown this once.
    """
    console = Console(highlight=False, soft_wrap=True, stderr=as_json)
    if (administrator is None) != (full_name is None):
        raise InputInvalid(
            "The first administrator needs a user name and a full name.", remedy="Give --administrator and --full-name, or neither."
        )
    from api.clinical_site import create_clinical_site  # what a site is made of loads only where one is made

    made = create_clinical_site(folder, site=site, zone=zone, cells=cells, port=port)
    console.print(f"The site is in {made.folder}. Keep these verifier keys outside it too:", markup=False)
    for key in made.verifier_keys:
        console.print(f"  {key}", markup=False)
    settings = load_settings(made.folder)
    if administrator is not None and full_name is not None:
        with _identity(settings) as identity:
            _ask_until_fit(console, identity, administrator, full_name)
        console.print(f"{administrator} is the administrator. Start the workstation: dosewright site serve {made.folder}", markup=False)
    token = _show_token(console, settings) if administrator is None else None
    if as_json:
        keys = list(made.verifier_keys)
        print_json({"folder": str(made.folder), "verifier_keys": keys, "administrator": administrator, "set_up_token": token})


@app.command("token")
def token(folder: Folder, as_json: AsJson = False) -> None:
    """Make another set-up token, as long as the site has no administrator."""
    settings = load_settings(folder)
    with _identity(settings) as identity:
        if any(person.has(Role.ADMINISTRATOR) for person in identity.people()):
            raise SiteExists("This site is set up: it has an administrator.", remedy="An administrator makes further accounts.")
    settings.path(settings.set_up_token).unlink(missing_ok=True)
    from api.set_up import TOKEN_HOURS

    text = _show_token(Console(highlight=False, soft_wrap=True, stderr=as_json), settings)
    if as_json:
        print_json({"set_up_token": text, "hours": TOKEN_HOURS})


@app.command("serve")
def serve(folder: Folder, port: Annotated[int | None, typer.Option(help="Another port than that of workstation.toml.")] = None) -> None:
    """Serve the workstation of a site, and have another process take its place where it dies. Cells are processes of their own."""
    settings = load_settings(folder)
    web = WebSupervisor(settings.folder, settings.host, settings.port if port is None else port, tell=_say)
    with ended_in_order(), web:
        web.start()
        while True:
            web.check()
            time.sleep(_WATCH_S)


def _say(text: str) -> None:
    typer.echo(text, err=True)


@app.command("trust")
def trust(
    folder: Folder,
    cell: Annotated[str, typer.Option(help="Name of the cell.", autocompletion=completions.cells)],
    as_json: AlwaysJson = True,
) -> None:
    """Write the list of people whose signatures a cell believes: accounts that are open, with the roles they hold for good."""
    settings = load_settings(folder)
    place = settings.folder / cell / "trusted"
    if not place.is_dir():
        raise InputInvalid(f"{settings.folder} has no folder for {cell}.", remedy="Name a cell of this site.")
    with _identity(settings) as identity:
        people = [person for person in identity.people() if person.active and not person.has(Role.ADMINISTRATOR)]
    from api.site import write_trusted

    write_trusted(place / "people.json", people)
    print_json({"cell": cell, "people": [person.username for person in people]})


@app.command("unlock-administrator")
def unlock_administrator(
    folder: Folder,
    username: str,
    reason: Annotated[str, typer.Option(help="Why, and how the person's identity was checked.")],
    as_json: AsJson = False,
) -> None:
    """Unlock an administrator where no other can: from the machine itself, with the workstation stopped. It is on record."""
    with _identity(load_settings(folder)) as identity:
        identity.unlock_last_administrator(username, reason)
    if as_json:
        print_json({"username": username, "locked": False})
    else:
        print(f"{username} is unlocked.")


def _show_token(console: Console, settings: Settings) -> str:
    from api.set_up import TOKEN_HOURS, write_token

    text = write_token(settings.path(settings.set_up_token), SystemClock().utc().at)
    console.print(f"Set-up token, shown this once, good for {TOKEN_HOURS} hours:", markup=False)
    console.print(f"  {text}", markup=False)
    console.print(
        f"Start the workstation (dosewright site serve {settings.folder}), open http://127.0.0.1:{settings.port}/set-up, "
        "and make the first administrator with it.",
        markup=False,
    )
    return text


def _ask_until_fit(console: Console, identity: Identity, username: str, full_name: str) -> None:
    """Ask for the password twice, unseen, and make the account. Raises InputInvalid where they differ, AccessDenied."""
    first = Prompt.ask(f"Password for {username}", password=True, console=console)
    if Prompt.ask("The same again", password=True, console=console) != first:
        raise InputInvalid("The two passwords differ; there is no administrator yet.", remedy="Make a token: dosewright site token FOLDER.")
    identity.create_person(username, full_name, [Role.ADMINISTRATOR], first, SYSTEM)


@contextmanager
def _identity(settings: Settings) -> Iterator[Identity]:
    """Open the site's own record, which no other process may hold. Raises StoreBusy where the workstation runs."""
    clock = SystemClock(zone=settings.zone, sync=settings.clock_sync)
    key = load_signer(settings.path(settings.signing_key), settings.signing_token, settings.folder)
    store = TrailStore.open(settings.store_place, key=key, clock=clock, software=SOFTWARE)
    try:
        yield Identity(store, clock)
    finally:
        store.close()
