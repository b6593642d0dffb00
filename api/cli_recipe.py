"""`dosewright recipe`: the life cycle of recipes and their way from site to site, from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from pydantic import JsonValue
from rich.console import Console
from rich.table import Table

from api.cli_options import Url, User, ask_password
from api.cli_solid import content_of
from api.demo_desk import Desk
from api.errors import InputInvalid
from api.life_steps import steps_here
from recipes.model import parse_recipe
from recipes.store import solid_text

app = typer.Typer(help="Recipes: versions, differences, life cycle, signed bundles.", no_args_is_help=True, rich_markup_mode=None)

_URL = "http://127.0.0.1:8080"
Version = Annotated[str, typer.Argument(help="Recipe version, for example hydrocortisone@2.")]
Why = Annotated[str, typer.Option("--reason", help="Why; it stands in the record.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True)


def _desk(url: str, user: str) -> Desk:
    return Desk.log_in(url, user, ask_password(Console(stderr=True), user))


@app.command("list")
def list_versions(url: Url = _URL, user: User = "engineer", as_json: AsJson = False) -> None:
    """List all versions with their state."""
    desk = _desk(url, user)
    try:
        found = desk.list("/recipes")
    finally:
        desk.close()
    if as_json:
        print(json.dumps(found, indent=1, sort_keys=True))
        return
    table = Table(box=None, pad_edge=False)
    for head in ("version", "state", "review by", "digest", "title"):
        table.add_column(head)
    for item in found:
        cells = (f"{item.get('id')}@{item.get('version')}", item.get("status"), item.get("review_by") or "", str(item.get("digest"))[:12])
        table.add_row(*(str(cell) for cell in (*cells, item.get("title"))))
    _console().print(table)


@app.command("show")
def show(version: Version, url: Url = _URL, user: User = "engineer", as_json: AsJson = False) -> None:
    """Show one version: its life so far, and each step from here with what stands against it."""
    found = _get(url, user, f"/recipe-versions/{version}")
    if as_json:
        print(json.dumps(found, indent=1, sort_keys=True))
        return
    console = _console()
    console.print(f"{version}: {found.get('title')}, {found.get('status')}, digest {found.get('digest')}", markup=False, style="bold")
    for entry in _objects(found.get("life")):
        reason = f": {entry['reason']}" if entry.get("reason") else ""
        console.print(f"  {str(entry.get('at'))[:19]}  {entry.get('kind')}  {entry.get('name')}, {entry.get('role')}{reason}", markup=False)
    for listed in steps_here(found):
        text = "; ".join(listed.reasons)
        console.print(f"  {'open' if listed.open else 'not open'}: {listed.step.value}{f' ({text})' if text else ''}", markup=False)
    _print_difference(console, found)


@app.command("diff")
def diff(
    version: Version,
    other: Annotated[str | None, typer.Argument(help="The version to compare with; else the one that it follows.")] = None,
    url: Url = _URL,
    user: User = "engineer",
    as_json: AsJson = False,
) -> None:
    """Show field by field what differs, with units."""
    found = _get(url, user, f"/recipe-versions/{version}/difference{f'?other={other}' if other else ''}")
    if as_json:
        print(json.dumps(found, indent=1, sort_keys=True))
    else:
        _print_difference(_console(), found)


@app.command("submit")
def submit(
    file: Annotated[Path, typer.Argument(help="The recipe file.")],
    reason: Why,
    url: Url = _URL,
    user: User = "engineer",
    solid: Annotated[Path | None, typer.Option(help="The STL file that the recipe binds.")] = None,
) -> None:
    """Write down a recipe file as a new version, show its difference, sign it as the author, and hand it in for review."""
    content = _read(file)
    reference = parse_recipe(content, str(file)).reference
    desk = _desk(url, user)
    try:
        body = {"recipe_toml": content.decode("utf-8"), "reason": reason}
        drafted = desk.post("/recipe-versions", body if solid is None else body | {"solid": solid_text(content_of(solid))})
        _print_difference(_console(), drafted)
        desk.post(f"/recipe-versions/{reference}/submit", {"signature": desk.sign_now(digest=str(drafted.get("digest")))})
    finally:
        desk.close()
    print(f"{reference} is in review. Another person approves it: dosewright recipe approve {reference} --user NAME")


@app.command("approve")
def approve(version: Version, url: Url = _URL, user: User = "quality") -> None:
    """Show the difference, approve as another person than the author, and sign."""
    _step(url, user, version, "approve", {})
    print(f"{version} is approved.")


@app.command("return")
def give_back(version: Version, reason: Why, url: Url = _URL, user: User = "quality") -> None:
    """Return a version to its author."""
    _step(url, user, version, "return", {"reason": reason})
    print(f"{version} is a draft again; changed content needs a new version number.")


@app.command("develop")
def develop(version: Version, url: Url = _URL, user: User = "engineer") -> None:
    """Open a version for development runs; nothing made in them is for patients."""
    _step(url, user, version, "development", {})
    print(f"{version} is open for development runs, not for patients.")


@app.command("effective")
def effective(
    version: Version,
    reason: Why,
    batch: Annotated[list[str] | None, typer.Option(help="A confirmatory batch; give one option for each.")] = None,
    review_by: Annotated[str, typer.Option(help="Last day before it has to be reviewed, YYYY-MM-DD; else a year from now.")] = "",
    url: Url = _URL,
    user: User = "quality",
) -> None:
    """Make an approved version effective in place of the former one, on its confirmatory batches, and tell the cells."""
    batches: list[JsonValue] = list(batch or ())
    answer = _step(url, user, version, "effective", {"reason": reason, "review_by": review_by, "batches": batches})
    former = f" in place of {answer['supersedes']}" if answer.get("supersedes") else ""
    print(f"{version} is effective until {answer.get('review_by')}{former}.")
    _print_told(answer)


@app.command("retire")
def retire(version: Version, reason: Why, url: Url = _URL, user: User = "quality") -> None:
    """Withdraw a version for good, and tell the cells."""
    answer = _step(url, user, version, "retire", {"reason": reason})
    print(f"{version} is withdrawn.")
    _print_told(answer)


@app.command("export")
def export(
    version: Version,
    out: Annotated[Path | None, typer.Option(help="Where to write the file; else VERSION.recipe.json.")] = None,
    url: Url = _URL,
    user: User = "quality",
) -> None:
    """Write the signed bundle of an approved version to a file."""
    desk = _desk(url, user)
    try:
        data = desk.download(f"/recipe-versions/{version}/export")
    finally:
        desk.close()
    path = out or Path(f"{version}.recipe.json")
    try:
        path.write_bytes(data)
    except OSError as error:
        raise InputInvalid(f"{path} cannot be written: {error.strerror}.", remedy="Name a file in a folder that you may write.") from None
    print(f"{path}, {len(data)} bytes")


@app.command("import")
def take_in(
    file: Annotated[Path, typer.Argument(help="A bundle file that another site exported.")], url: Url = _URL, user: User = "quality"
) -> None:
    """Take in a bundle signed by people whom this site trusts; it is approved here, and becomes effective by a signature here."""
    content = _read(file)
    desk = _desk(url, user)
    try:
        answer = desk.post("/recipe-bundles", {"bundle": content.decode("utf-8", "replace")})
    finally:
        desk.close()
    print(f"{answer.get('recipe')} is here, {answer.get('status')}.")
    for signer in ("author", "approver"):
        print(f"  {answer.get(signer)}")


def _get(url: str, user: str, path: str) -> dict[str, JsonValue]:
    desk = _desk(url, user)
    try:
        return desk.get(path)
    finally:
        desk.close()


def _step(url: str, user: str, version: str, step: str, body: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Show what is signed, then sign."""
    desk = _desk(url, user)
    try:
        _print_difference(_console(), desk.get(f"/recipe-versions/{version}/difference"))
        shown = str(desk.get(f"/recipe-versions/{version}").get("digest"))
        return desk.post(f"/recipe-versions/{version}/{step}", {**body, "signature": desk.sign_now(digest=shown)})
    finally:
        desk.close()


def _print_difference(console: Console, found: dict[str, JsonValue]) -> None:
    compared, changes = found.get("compared_with"), _objects(found.get("difference"))
    if compared is None:
        console.print("  A first version: there is none to compare it with.")
        return
    console.print(f"  {len(changes)} field{'' if len(changes) == 1 else 's'} changed from {compared}:", markup=False)
    for change in changes:
        console.print(f"    {change.get('path')}: {change.get('old') or 'nothing'} -> {change.get('new') or 'nothing'}", markup=False)


def _print_told(answer: dict[str, JsonValue]) -> None:
    told = answer.get("told")
    for cell, outcome in told.items() if isinstance(told, dict) else ():
        print(f"  {cell}: {'told' if outcome is True else f'not told: {outcome}'}")


def _objects(value: JsonValue) -> list[dict[str, JsonValue]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputInvalid(f"{file} cannot be read: {error.strerror}.", remedy="Name a file that exists.") from None
