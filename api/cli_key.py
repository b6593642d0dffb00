"""`dosewright key`: which key signs a trail, its replacement, and the acceptance of a cell's new one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from pydantic import JsonValue
from rich.console import Console

from api import completions
from api.cli_options import AlwaysJson, AsJson, Url, User, ask_password, print_json
from api.demo_desk import Desk
from api.errors import InputInvalid, SiteIncomplete
from api.settings import load_settings
from api.site_names import VERIFIER_KEYS
from audit.checkpoint import Signer, SigningKey
from audit.clock import SystemClock
from audit.errors import RecordError, RoleMissing
from audit.events import Actor, EventKind
from audit.identity import Identity, Role
from audit.key_file import prepare, settle
from audit.places import Place
from audit.reader import TrailReader
from audit.signer import TokenEntry, load_signer
from audit.store import TrailStore
from audit.version import SOFTWARE

app = typer.Typer(help="The keys that sign the trails.", no_args_is_help=True, rich_markup_mode=None)
_Site = Annotated[Path, typer.Argument(help="Folder of the site.")]
_Cell = Annotated[
    str | None, typer.Option("--cell", help="The trail of this cell; without it, the workstation's.", autocompletion=completions.cells)
]
_Reason = Annotated[str, typer.Option(help="Why.")]

# without the workstation's key its trail cannot be written, so nobody can be authenticated against it
_WHO_HAS_THE_MACHINE = Actor("system", "whoever has the machine's account", "system")


@dataclass(frozen=True, slots=True)
class _Trail:
    """Where a trail and its keys are."""

    store: Place
    key_file: Path
    token: TokenEntry | None
    folder: Path
    device: str


def _trail(site: Path, cell: str | None) -> _Trail:
    if cell is None:
        found = load_settings(site)
        key_file = found.path(found.signing_key)
        return _Trail(found.store_place, key_file, found.signing_token, found.folder, "workstation")
    path = site / cell / "cell.toml"
    if not path.is_file():
        raise SiteIncomplete(f"There is no {path}.", remedy="Name a cell of this site that was started once.")
    from printer.wiring_cell import read_settings  # what a cell is built with loads only where a cell is meant

    settings = read_settings(path)
    return _Trail(settings.store, settings.signing_key, settings.signing_token, settings.signing_key.parent, cell)


@app.command("show")
def show(site: _Site, cell: _Cell = None, as_json: AsJson = False) -> None:
    """Print the verifier key that signs the trail now, and every replacement of it."""
    with TrailReader(_trail(site, cell).store) as reader:
        present, replaced = reader.verifier_key, reader.search(kind=EventKind.TRAIL_KEY_ROTATED, limit=10_000)
    if as_json:
        rows = [
            {
                "seq": entry.seq,
                "at": entry.at,
                "by": entry.actor.username,
                "continuous": entry.new.get("continuous") is True,
                "reason": entry.reason or "",
                "before": entry.old.get("verifier_key"),
            }
            for entry in replaced
        ]
        print_json({"verifier_key": present, "replacements": rows})
        return
    print(present)
    for entry in replaced:
        how = "the old and the new key signed it" if entry.new.get("continuous") is True else "NOT continuous: the old key did not sign"
        print(f"  entry {entry.seq}, {entry.at}, {entry.actor.username}: {how}; {entry.reason}")
        print(f"    before: {entry.old.get('verifier_key')}")


@app.command("rotate")
def rotate(
    site: _Site,
    reason: _Reason,
    cell: _Cell = None,
    user: Annotated[str, typer.Option(help="Who does it: an administrator of this site.")] = "administrator",
    lost: Annotated[
        bool, typer.Option("--lost", help="The old key is gone: the replacement is not continuous, and shown as that.")
    ] = False,
    to_token: Annotated[bool, typer.Option("--to-token", help="The new key is the one on the configured token.")] = False,
    as_json: AsJson = False,
) -> None:
    """Replace the key of a trail while its process is stopped. The new verifier key is printed, and added to site.vkey.

    Give it to everybody who has the old one: reviewers, witnesses (`dosewright witness add-log`); a cell's is accepted at the workstation
    with `dosewright key accept`.
    """
    trail = _trail(site, cell)
    if settle(trail.store, trail.key_file):
        typer.echo("the new key of an interrupted attempt took its place; it is the trail's", err=True)
    with TrailReader(trail.store) as reader:
        present, origin = reader.verifier_key, reader.origin
    actor = _WHO_HAS_THE_MACHINE if lost and cell is None else _administrator(site, user)
    if to_token and trail.token is None:
        raise InputInvalid("No token is configured.", remedy="Write [signing_token] into the configuration first.")
    incoming: Signer = load_signer(trail.key_file, trail.token, trail.folder) if to_token else prepare(trail.key_file, origin)
    clock = SystemClock()
    if lost:
        with TrailStore.replace_lost_key(
            trail.store, key=incoming, clock=clock, software=SOFTWARE, actor=actor, device=trail.device, reason=reason
        ):
            pass
    else:
        with TrailStore.open(trail.store, key=_outgoing(trail, present), clock=clock, software=SOFTWARE) as store:
            store.rotate_key(incoming, actor=actor, device=trail.device, reason=reason)
    settle(trail.store, trail.key_file)
    _publish(site / VERIFIER_KEYS, incoming.verifier.text)
    if as_json:
        print_json({"verifier_key": incoming.verifier.text, "before": present, "continuous": not lost})
    else:
        print(incoming.verifier.text)
    if not as_json and not to_token and trail.token is not None:
        print("the key is in a file now: take [signing_token] out of the configuration")


def _publish(file: Path, key: str) -> None:
    """Add the new key to the site's list of verifier keys. Raises RecordError, which says that the key itself was replaced."""
    try:
        with file.open("a", encoding="utf-8") as keys:
            keys.write(f"{key}\n")
    except OSError as error:
        raise RecordError(
            f"The key of the trail was replaced, but {file} cannot be written ({error.strerror}).", remedy=f"Add this line to it: {key}"
        ) from error


def _outgoing(trail: _Trail, present: str) -> Signer:
    """Return the signer that holds the trail's present key: the file or the token. Raises InputInvalid where neither does."""
    if trail.key_file.is_file() and (found := SigningKey.load(trail.key_file)).verifier_key == present:
        return found
    if trail.token is not None and (token := load_signer(trail.key_file, trail.token, trail.folder)).verifier.text == present:
        return token
    raise InputInvalid(
        f"Neither {trail.key_file} nor a token holds the trail's key {present}.",
        remedy="Find the key; --lost only where it is gone for good.",
    )


def _administrator(site: Path, user: str) -> Actor:
    """Authenticate an administrator against the workstation's trail, which records it. Raises LoginFailed, RoleMissing, StoreBusy."""
    trail = _trail(site, None)
    settle(trail.store, trail.key_file)
    with TrailReader(trail.store) as reader:
        present = reader.verifier_key
    password = ask_password(Console(stderr=True, highlight=False, soft_wrap=True), user)
    clock = SystemClock()
    with TrailStore.open(trail.store, key=_outgoing(trail, present), clock=clock, software=SOFTWARE) as store:
        person = Identity(store, clock).authenticate(user, password)
    if Role.ADMINISTRATOR not in person.roles:
        raise RoleMissing(f"{user} may not replace a key.", remedy="It takes the role of administrator.")
    return Actor(person.username, person.name, Role.ADMINISTRATOR.value)


@app.command("accept")
def accept(
    cell: Annotated[str, typer.Argument(help="The cell whose key was replaced.", autocompletion=completions.cells)],
    reason: _Reason,
    key: Annotated[str, typer.Option(help="The new verifier key, as received from the site by another way than from the cell.")] = "",
    url: Url = "http://127.0.0.1:8080",
    user: User = "quality",
    as_json: AlwaysJson = True,
) -> None:
    """Believe a cell's new key, signed by quality assurance at the running workstation."""
    password = ask_password(Console(stderr=True, highlight=False, soft_wrap=True), user)
    desk = Desk.log_in(url, user, password)
    try:
        body: dict[str, JsonValue] = {"key": key, "reason": reason, "signature": {"password": password}}
        print_json(desk.post(f"/cells/{cell}/key", body))
    finally:
        desk.close()
