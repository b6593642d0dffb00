"""`dosewright create-store`: make the store of a trail, in a file or in a schema of a PostgreSQL database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from api import completions
from api.cli_options import AsJson, print_json
from audit.checkpoint import SigningKey
from audit.clock import SystemClock
from audit.store import TrailStore
from audit.version import SOFTWARE


def create_store(
    place: Annotated[str, typer.Argument(help="A new file, or postgresql://user@host/database?schema=name.")],
    key: Annotated[
        Path,
        typer.Option("--key", help="The signing key of the trail; its name becomes the trail's origin.", autocompletion=completions.keys),
    ],
    zone: Annotated[str, typer.Option("--zone", help="The site's time zone.")] = "UTC",
    demonstration: Annotated[
        bool, typer.Option("--demonstration", help="Mark all that is ever recorded there as a demonstration.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a new store with its first entry and checkpoint; nothing that exists is touched."""
    signer = SigningKey.load(key)
    clock = SystemClock(zone=zone)
    with TrailStore.create(place, origin=signer.name, key=signer, clock=clock, software=SOFTWARE, demonstration=demonstration) as store:
        if as_json:
            print_json({"store": str(store.database), "origin": store.origin, "verifier_key": store.verifier_key})
        else:
            print(f"made {store.database} for {store.origin}")
