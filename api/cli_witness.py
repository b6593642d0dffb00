"""`dosewright witness`: the witness that a control site runs for its sites' trails."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Annotated

import typer

from api import completions
from api.cli_options import AsJson, print_json
from api.cli_verify import read_keys
from api.errors import InputInvalid
from audit.anchors import posix_text
from audit.checkpoint import SigningKey
from audit.cosignature import CosignerKey
from audit.witness_store import WitnessStore

app = typer.Typer(help="The witness of a control site (C2SP tlog-witness).", no_args_is_help=True, rich_markup_mode=None)
_Folder = Annotated[Path, typer.Argument(help="Folder of the witness: its key (witness.key) and its memory (witness.db).")]
_KEY, _MEMORY = "witness.key", "witness.db"


@app.command("create")
def create(
    folder: _Folder,
    name: Annotated[str, typer.Option(help="Name of the witness, for example control.example/w1.")],
    as_json: AsJson = False,
) -> None:
    """Make a witness: a key that only its account can read, and an empty memory; print the key that sites configure."""
    try:
        folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    except OSError as error:
        raise InputInvalid(f"{folder} cannot be made: {error.strerror}.", remedy="Name a folder that you may make.") from None
    key = SigningKey.generate(name)
    key.save(folder / _KEY)
    WitnessStore.create(folder / _MEMORY).close()
    _print_key(CosignerKey.of(key.verifier).text, as_json=as_json)


@app.command("key")
def key_of(folder: _Folder, as_json: AsJson = False) -> None:
    """Print the key by which the witness's cosignatures are known: what a site writes under [[witness]], and gives to verify."""
    _print_key(CosignerKey.of(SigningKey.load(folder / _KEY).verifier).text, as_json=as_json)


def _print_key(text: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"key": text})
    else:
        print(text)


@app.command("add-log")
def add_log(
    folder: _Folder,
    keys: Annotated[
        Path,
        typer.Argument(
            help="File with the verifier keys of a site's trails, one a line (its site.vkey).", autocompletion=completions.verifier_keys
        ),
    ],
    alone: Annotated[bool, typer.Option("--alone", help="After a rotation: believe no other key of these trails any more.")] = False,
    as_json: AsJson = False,
) -> None:
    """Witness the trails with these keys; a key's name is its trail's origin. Another key of a known trail is believed beside the first."""
    with WitnessStore.open(folder / _MEMORY) as store:
        trusted = read_keys([keys])
        for key in trusted:
            store.trust(key, int(time.time()), alone=alone)
            if not as_json:
                print(f"witnessing {key.name} with {key.text}")
    if as_json:
        print_json({"witnessing": [{"origin": key.name, "key": key.text} for key in trusted]})


@app.command("status")
def status(folder: _Folder, as_json: AsJson = False) -> None:
    """Print what is witnessed up to where, and how often something did not fit. Exit status: 0; 1 where there is evidence."""
    with WitnessStore.open(folder / _MEMORY) as store:
        logs, evidence = list(store.logs()), store.evidence()
    if as_json:
        rows = [
            {"origin": log.origin, "size": log.seen.size, "at": None if log.at is None else posix_text(log.at), "keys": len(log.keys)}
            for log in logs
        ]
        found = [{"origin": item.origin, "at": posix_text(item.at), "reason": item.reason} for item in evidence]
        print_json({"logs": rows, "evidence": found})
        raise typer.Exit(1 if evidence else 0)
    for log in logs:
        seen = f"{log.seen.size} entries, {posix_text(log.at)}" if log.at is not None else "nothing yet"
        print(f"{log.origin}: {seen}; {len(log.keys)} key{'s' if len(log.keys) > 1 else ''}")
    for item in evidence:
        print(f"EVIDENCE {posix_text(item.at)} {item.origin}: {item.reason}")
    raise typer.Exit(1 if evidence else 0)


@app.command("note")
def note(folder: _Folder, origin: Annotated[str, typer.Argument(help="Origin of the trail.")], as_json: AsJson = False) -> None:
    """Print the latest checkpoint that was cosigned: `dosewright verify --note` holds a store against it."""
    with WitnessStore.open(folder / _MEMORY) as store:
        found = next((log.seen.note for log in store.logs() if log.origin == origin and log.seen.note), None)
    if found is None:
        raise InputInvalid(f"No checkpoint of {origin!r} was cosigned here.", remedy="Look at `dosewright witness status`.")
    if as_json:
        print_json({"origin": origin, "note": found})
    else:
        print(found, end="")


@app.command("serve")
def serve(
    folder: _Folder,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 for any.", min=0, max=65535)] = 8081,
) -> None:
    """Answer POST /add-checkpoint until told to stop, and print where once callers are heard. Put a TLS proxy before it; nobody logs in."""
    import uvicorn  # only the process that serves needs a server

    from api.control_site.witness_app import create_witness

    with WitnessStore.open(folder / _MEMORY) as store:
        app = create_witness(store, SigningKey.load(folder / _KEY))
        with _listening(host, port) as door:
            taken_host, taken_port = door.getsockname()[:2]
            print(f"witness at http://{f'[{taken_host}]' if ':' in taken_host else taken_host}:{taken_port}", flush=True)
            settings = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=2)
            uvicorn.Server(settings).run([door])


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket at which callers may wait from now on. Raises InputInvalid."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise InputInvalid(
            f"The witness cannot listen at {host} port {port}: {error.strerror}.",
            remedy="Give another --port, or --host, or end what holds it.",
        ) from error
