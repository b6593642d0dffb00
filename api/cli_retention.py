"""`dosewright retention` and `dosewright archive`: how long documents are kept, and whether the archive can still be read."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from api import completions
from api.cli_options import AsJson, print_json
from api.cli_verify import read_keys
from api.errors import InputInvalid
from audit.canonical import JsonValue
from audit.reader import TrailReader
from audit.retention import Kept, Policy, kept_batches

_FAILED = 1


def retention(
    store: Annotated[Path, typer.Argument(help="The workstation's store.", autocompletion=completions.stores)],
    after_expiry: Annotated[int, typer.Option(help="Years after expiry; 1 or more.")] = 1,
    after_certification: Annotated[int, typer.Option(help="Years after certification; 5 or more.")] = 5,
    on: Annotated[str, typer.Option(help="As of this day, YYYY-MM-DD; today where it is not given.")] = "",
    as_json: AsJson = False,
) -> None:
    """List until when the documents of each batch are kept, what holds them, and which are due. Nothing is deleted."""
    try:
        today = date.fromisoformat(on) if on else datetime.now(UTC).date()
    except ValueError:
        raise InputInvalid(f"--on: {on} is no day.", remedy="Write for example 2031-03-01.") from None
    policy = Policy(after_expiry, after_certification)
    with TrailReader(store) as reader:
        rows = list(kept_batches(reader, policy))
    if as_json:
        print_json({"on": today.isoformat(), "batches": [_record(kept, today) for kept in rows]})
        return
    console = Console(highlight=False, soft_wrap=True)
    for kept in rows:
        until = f"kept until {kept.until}" if kept.until else "kept"
        held = f"; HELD {'; '.join(kept.holds)}" if kept.holds else ""
        console.print(f"{kept.batch}  {'DUE, ' if kept.is_due(today) else ''}{until}, {kept.because}{held}", markup=False)
    console.print(f"{len(rows)} batches, {sum(kept.is_due(today) for kept in rows)} due on {today}", markup=False)


def _record(kept: Kept, today: date) -> dict[str, JsonValue]:
    """Return what is known of one batch; the patient is not in it, pseudonym or not."""
    return {
        "batch": kept.batch,
        "until": None if kept.until is None else kept.until.isoformat(),
        "because": kept.because,
        "holds": list(kept.holds),
        "due": kept.is_due(today),
    }


def archive(
    folder: Annotated[Path, typer.Argument(help="Folder of the archive.")],
    add: Annotated[
        list[Path] | None, typer.Option(help="Package to archive; whole ones are meant for it.", autocompletion=completions.packages)
    ] = None,
    trusted_key: Annotated[
        list[Path] | None,
        typer.Option("--trusted-key", help="File with the site's verifier keys.", autocompletion=completions.verifier_keys),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Add packages to a readable archive, or, with none to add, read every package in it again. Exit status 1: one cannot be read."""
    from audit.release.archive_check import archive_package, check_archive  # the document writer comes with it

    console = Console(highlight=False, soft_wrap=True)
    if add:
        kept: list[str] = []
        for package in add:
            kept.append(str(archive_package(package, folder)))
            if not as_json:
                console.print(kept[-1], markup=False)
        if as_json:
            print_json({"archived": kept})
        return
    if not trusted_key:
        raise InputInvalid("No --trusted-key is given.", remedy="An archive is read against the site's keys, kept elsewhere.")
    failed, rows = 0, list[dict[str, str]]()
    for found in check_archive(folder, read_keys(trusted_key)):
        failed += bool(found.problem)
        rows.append({"package": found.path.name, "problem": found.problem or ""})
        if not as_json:
            console.print(
                f"{'✕' if found.problem else '✓'} {found.path.name}: {found.problem or 'can be read, and verifies'}", markup=False
            )
    if as_json:
        print_json({"packages": rows})
    raise typer.Exit(_FAILED if failed else 0)
