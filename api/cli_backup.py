"""`dosewright backup`, `restore` and `backup-check`: copies of a store, put back only where nothing is lost unseen."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.prompt import Prompt

from api import completions
from api.cli_options import AsJson, User, ask_password, print_json
from api.demo_desk import Desk
from api.errors import InputInvalid
from api.settings import FILE_NAME, load_settings
from audit.backup import back_up, read_manifest
from audit.canonical import canonical
from audit.checkpoint import Signer, SigningKey
from audit.clock import SystemClock
from audit.events import Actor
from audit.key_backup import back_up_keys, restore_keys
from audit.reader import TrailReader
from audit.restore import keys_of, restore, seen_in
from audit.restore_test import Outcome, record_outcome, restore_due, try_restore
from audit.sealed_stream import Secret
from audit.signer import load_signer
from audit.store import TrailStore
from audit.version import SOFTWARE

PASSPHRASE_VARIABLE = "DOSEWRIGHT_BACKUP_PASSPHRASE"  # noqa: S105 the name of a variable, not a passphrase
_FAILED = 1

_Key = Annotated[
    Path | None,
    typer.Option("--key", help="The private key of the store, for example site/keys/workstation.key.", autocompletion=completions.keys),
]
_Configuration = Annotated[
    Path | None,
    typer.Option(
        help="workstation.toml or cell.toml of the store, in place of --key: the key is where it says, in a file or on a token.",
        autocompletion=completions.toml_files,
    ),
]
_KeyFile = Annotated[Path | None, typer.Option(help="Seal or open with the 64 hexadecimal digits in this file.")]
_Passphrase = Annotated[bool, typer.Option("--passphrase", help=f"Seal or open with a passphrase: asked for, or {PASSPHRASE_VARIABLE}.")]
_By = Annotated[str, typer.Option(help="Who does this; it becomes part of the entry. The command line asks for no password.")]


def _console(beside_json: bool) -> Console:
    return Console(highlight=False, soft_wrap=True, stderr=beside_json)


def _secret(key_file: Path | None, passphrase: bool) -> Secret | None:
    if key_file is not None and passphrase:
        raise InputInvalid("Both --key-file and --passphrase are given.", remedy="Give one of them.")
    if key_file is not None:
        return Secret.of_key_file(key_file)
    if not passphrase:
        return None
    known = os.environ.get(PASSPHRASE_VARIABLE)
    return Secret.of_passphrase(known or Prompt.ask("Passphrase of the backup", password=True, console=Console(stderr=True)))


def _signer(key: Path | None, configuration: Path | None) -> Signer | None:
    """Return the signer of a store, None where none is named. Raises InputInvalid, NoteInvalid, RecordError, SettingsInvalid."""
    if key is not None and configuration is not None:
        raise InputInvalid("Both --key and --configuration are given.", remedy="Give one of them.")
    if key is not None:
        return SigningKey.load(key)
    if configuration is None:
        return None
    if configuration.name == FILE_NAME:
        site = load_settings(configuration.parent)
        return load_signer(site.path(site.signing_key), site.signing_token, site.folder)
    if not configuration.is_file():
        raise InputInvalid(f"There is no {configuration}.", remedy="Name workstation.toml, or the cell.toml of the cell.")
    from printer.wiring_cell import read_settings  # what a cell is built with loads only where a cell is meant

    cell = read_settings(configuration)
    return load_signer(cell.signing_key, cell.signing_token, cell.signing_key.parent)


def _clock() -> SystemClock:
    return SystemClock(zone="UTC", sync="unknown")


def _actor(by: str) -> Actor:
    name = by.strip()
    if not name or name == "system":
        raise InputInvalid("--by names nobody.", remedy="Give the name of the person who does this.")
    return Actor(name, name, "command line")


def backup(
    store: Annotated[
        Path,
        typer.Argument(help="The store, for example site/workstation.db; its process may be running.", autocompletion=completions.stores),
    ],
    to: Annotated[Path, typer.Option(help="The new file.")],
    key: _Key = None,
    configuration: _Configuration = None,
    key_file: _KeyFile = None,
    passphrase: _Passphrase = False,
    logical: Annotated[bool, typer.Option("--logical", help="As lines of text that either engine can be made from again.")] = False,
    keys: Annotated[
        list[Path] | None, typer.Option(help="Private keys, files or folders of them, to seal into a file of their own, TO.keys.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a signed, verified backup of a store while its process works. Private keys are not in it; --keys seals them apart.

    Who holds an unsealed backup can read the trail: pseudonyms, doses, names of staff. Patients' names and people's keys are sealed in it
    anyway.
    """
    secret, signer, created = _secret(key_file, passphrase), _signer(key, configuration), _clock().utc().at
    if signer is None:
        raise InputInvalid("Neither --key nor --configuration is given.", remedy="A backup is signed with the key of its store.")
    if keys and secret is None:
        raise InputInvalid("Private keys are not written unsealed.", remedy="Give --key-file or --passphrase with --keys.")
    manifest = back_up(store, to, key=signer, created=created, software=SOFTWARE, secret=secret, logical=logical)
    console = _console(as_json)
    how = "unsealed" if manifest.sealed is None else f"sealed with {manifest.sealed['key']}"
    console.print(f"{to}: {manifest.origin}, {manifest.size} entries, verified, signed, {how}", markup=False)
    console.print(f"  root    {manifest.body['root']}\n  SHA-256 {manifest.sha256}", markup=False)
    place, names = None, list[str]()
    if keys and secret is not None:
        place = to.with_name(f"{to.name}.keys")
        names = [str(name) for name in back_up_keys(keys, place, key=signer, created=created, secret=secret)]
        console.print(f"{place}: {', '.join(names)}; keep it apart from the backup", markup=False)
    if as_json:
        sealed = manifest.sealed is not None
        found = {
            "file": str(to),
            "origin": manifest.origin,
            "size": manifest.size,
            "root": manifest.body["root"],
            "sha256": manifest.sha256,
        }
        print_json({**found, "sealed": sealed, "keys": None if place is None else {"file": str(place), "names": names}})


def restore_store(
    backup: Annotated[Path, typer.Argument(help="A backup, or a file of sealed keys (TO.keys).")],
    to: Annotated[Path, typer.Option(help="Where the store is put; nothing may be there.")],
    by: _By,
    key: Annotated[Path | None, typer.Option("--key", help="The private key of the store.")] = None,
    configuration: _Configuration = None,
    key_file: _KeyFile = None,
    passphrase: _Passphrase = False,
    seen: Annotated[
        list[Path] | None,
        typer.Option(help="What shows how far the trail had gone: the lost store, the other stores, checkpoints of a witness, packages."),
    ] = None,
    nothing_seen: Annotated[bool, typer.Option("--nothing-seen", help="Nothing else of this trail is left anywhere.")] = False,
    trusted_key: Annotated[
        list[Path] | None,
        typer.Option(
            "--trusted-key",
            help="File with verifier keys of the trail, for example site.vkey: what they signed counts too after a replacement of the key.",
            autocompletion=completions.verifier_keys,
        ),
    ] = None,
    accept_loss: Annotated[str, typer.Option(help="Why entries may be lost; the reason becomes an entry.")] = "",
    as_json: AsJson = False,
) -> None:
    """Put a store back from a backup. Refused where it is known that entries would be lost, until a person says why that is accepted."""
    secret, console = _secret(key_file, passphrase), _console(as_json)
    if backup.suffix == ".keys":
        if secret is None:
            raise InputInvalid(f"{backup} is sealed.", remedy="Give --key-file or --passphrase.")
        names = [str(name) for name in restore_keys(backup, to, secret=secret)]
        console.print(f"{to}: {', '.join(names)}", markup=False)
        if as_json:
            print_json({"folder": str(to), "keys": names})
        return
    signer = _signer(key, configuration)
    if signer is None:
        raise InputInvalid(
            "Neither --key nor --configuration is given.", remedy="A restored store states that it was restored; its own key signs that."
        )
    if not seen and not nothing_seen:
        raise InputInvalid(
            "Nothing says how far the trail had gone.",
            remedy="Give with --seen what is left of it (the old file, the other stores, checkpoints, packages), or --nothing-seen.",
        )
    actor = _actor(by)
    manifest = read_manifest(backup, [signer.verifier])
    from api.cli_verify import read_keys  # what a package is verified with comes with it

    keys = keys_of(seen or [], manifest.origin, [signer.verifier, *read_keys(trusted_key or [])])
    known = [found for path in seen or [] for found in seen_in(path, manifest.origin, keys, manifest.size)]
    restore(
        backup,
        to,
        key=signer,
        clock=_clock(),
        software=SOFTWARE,
        secret=secret,
        seen=known,
        by=actor,
        accept_loss=accept_loss or None,
    )
    console.print(f"{to}: {manifest.origin}, {manifest.size} entries of {manifest.created}, and the entry that says so", markup=False)
    lost = max((found.size for found in known), default=0) - manifest.size
    if lost > 0:
        console.print(
            f"LOST: {lost} entries or more. The trail goes on as another history, which a witness that saw more refuses: docs/backup.md.",
            markup=False,
            style="bold",
        )
    if as_json:
        print_json({"file": str(to), "origin": manifest.origin, "size": manifest.size, "created": manifest.created, "lost": max(lost, 0)})


def backup_check(
    backup: Annotated[Path | None, typer.Argument(help="The backup to try; without one, when the next test is due.")] = None,
    live: Annotated[Path | None, typer.Option(help="The store that the backup is of.")] = None,
    key_file: _KeyFile = None,
    passphrase: _Passphrase = False,
    key: Annotated[Path | None, typer.Option("--key", help="Record the outcome in the live store, whose process must not run.")] = None,
    configuration: _Configuration = None,
    by: Annotated[str, typer.Option(help="Who tests, for the entry of --key or --configuration.")] = "",
    url: Annotated[str | None, typer.Option(help="Record the outcome at the running workstation of this address.")] = None,
    user: User = "admin",
    as_json: AsJson = False,
) -> None:
    """Restore a backup where nobody works, compare it with the live store, and remove it again: the restore test.

    Exit status: 0 it passed (or is not due yet); 1 it failed (or is overdue).
    """
    if live is None:
        raise InputInvalid("No --live store is given.", remedy="Name the store that the backup is of.")
    today, console = datetime.now(UTC).date(), _console(as_json)
    if backup is None:
        with TrailReader(live) as reader:
            due = restore_due(reader, today)
        console.print(due.text, markup=False)
        if as_json:
            print_json({"due": None if due.due is None else due.due.isoformat(), "overdue": due.overdue, "text": due.text})
        raise typer.Exit(_FAILED if due.overdue else 0)
    signer = _signer(key, configuration)
    actor = _actor(by) if signer is not None else None
    outcome = try_restore(backup, live, secret=_secret(key_file, passphrase), today=today)
    show(console, outcome)
    seq: object = None
    if signer is not None and actor is not None:
        with TrailStore.open(live, key=signer, clock=_clock(), software=SOFTWARE) as store:
            entry = record_outcome(store, outcome, actor, store.origin)
            seq = entry.seq
            console.print(f"recorded as entry {seq}; {restore_due(store, today).text}", markup=False)
    elif url is not None:
        desk = Desk.log_in(url, user, ask_password(Console(stderr=True), user))
        try:
            answer = desk.post("/stores/restore-tests", {"origin": outcome.origin, "outcome": json.loads(canonical(outcome.body))})
        finally:
            desk.close()
        seq = answer["seq"]
        console.print(f"recorded as entry {seq}; {answer['text']}", markup=False)
    else:
        console.print("not recorded: give --key or --configuration while the store's process rests, or --url", markup=False)
    if as_json:
        print_json({"origin": outcome.origin, "problem": outcome.problem, "outcome": outcome.body, "recorded_as": seq})
    raise typer.Exit(_FAILED if outcome.problem else 0)


def show(console: Console, outcome: Outcome) -> None:
    if outcome.problem:
        console.print(f"✕ the restore test failed: {outcome.problem}", markup=False, style="bold")
        return
    body = outcome.body
    console.print(f"✓ restored and compared: {body['backup_size']} entries of {body['backup_created']}", markup=False, style="bold")
    console.print(f"  every row verified, projections made again; the live store's {body['live_size']} entries extend them", markup=False)
    console.print(f"  record opened: {body['record']}", markup=False)
