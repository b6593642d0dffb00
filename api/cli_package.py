"""`dosewright package`: fetch the review package of a batch from a workstation."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer
from rich.console import Console

from api import completions
from api.cli_options import AsJson, PackageScope, Url, User, ask_password, print_json
from api.demo_desk import Desk
from api.errors import InputInvalid
from audit.release.selection import Scope


def package(
    batch: Annotated[str, typer.Argument(help="Number of a batch that has its disposition.", autocompletion=completions.batches)],
    out: Annotated[Path, typer.Option(help="File to write; it must not exist.")] = Path("review-package.zip"),
    scope: PackageScope = Scope.SELECTIVE,
    url: Url = "http://127.0.0.1:8080",
    user: User = "qp",
    as_json: AsJson = False,
) -> None:
    """Write the review package of a batch. The export is an entry of the trail.

    A selective package holds the entries of this batch, each proved to be in its trail; a whole one both trails with every other batch.
    """
    if out.exists() or not out.parent.is_dir():
        raise InputInvalid(f"{out} exists, or its folder does not.", remedy="Name a new file in a folder that exists with --out.")
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    desk = Desk.log_in(url, user, ask_password(console, user))
    try:
        data = desk.download(f"/batches/{quote(batch, safe='')}/package?scope={scope.value}")
    finally:
        desk.close()
    try:
        with out.open("xb") as file:
            file.write(data)
    except OSError as error:
        raise InputInvalid(f"{out} cannot be written: {error.strerror}.", remedy="Name another file with --out.") from None
    if as_json:
        print_json({"file": str(out), "scope": scope.value, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()})
        return
    console.print(f"{out}: {scope.value}, {len(data)} bytes; check it with `dosewright verify {out} --trusted-key site.vkey`", markup=False)
