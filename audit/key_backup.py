"""Private keys of a site in one sealed file: apart from the backups of the stores, and never in the clear.

Who holds a store's backup and its key can write a second history; so the two are kept in two places, by two people.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Sequence
from pathlib import Path

from audit.canonical import canonical
from audit.checkpoint import Signer, VerifierKey, sign_note, verify_note
from audit.errors import BackupInvalid, NoteInvalid, RecordError
from audit.sealed_stream import SealedFile, Secret, Written, write

FORMAT = "dosewright-keys/1"
_LARGEST = 1 << 16
_AGAIN = "Take another copy of it."


def back_up_keys(places: Sequence[Path], to: Path, *, key: Signer, created: str, secret: Secret) -> list[str]:
    """Seal key files, and every file of folders of keys, into the new file `to`; return their names. Raises RecordError."""
    files: dict[str, bytes] = {}
    for place in places:
        try:
            for path in sorted(path for path in place.iterdir() if path.is_file()) if place.is_dir() else [place]:
                if path.name in files or path.stat().st_size > _LARGEST:
                    raise RecordError(f"{path} has a name that is there already, or is too large for a key.", remedy="Name the key files.")
                files[path.name] = path.read_bytes()
        except OSError as error:
            raise RecordError(f"{place} cannot be read: {error.strerror}.", remedy="Name key files, or folders of them.") from error
    if not files:
        raise RecordError("There is no key to seal in what was named.", remedy="Name key files, or folders of them.")
    sealed = secret.parameters()

    def note(written: Written) -> str:
        body = {"created": created, "sealed": sealed, "sha256": written.sha256, "verifier_key": key.verifier.text}
        return sign_note(key, f"{FORMAT}\n{canonical(body).decode()}\n")

    content = canonical({name: base64.b64encode(data).decode() for name, data in files.items()})
    write(to, FORMAT, [content], secret.key(sealed), note)
    return sorted(files)


def restore_keys(path: Path, folder: Path, *, secret: Secret, trusted: Sequence[VerifierKey] = ()) -> list[str]:
    """Put the keys of a sealed file into a new folder that only its owner can read; return their names.

    Raises BackupInvalid (damaged, another secret, not signed by a trusted key), RecordError (the folder exists or cannot be made).
    """
    file = SealedFile(path, FORMAT)
    try:
        line = file.note.split("\n")[1]
        body = json.loads(line)
        verify_note(file.note, trusted or [VerifierKey.parse(str(body["verifier_key"]))])
        if canonical(body).decode() != line or not isinstance(body["sealed"], dict):
            raise BackupInvalid(f"{path}: its note does not state what it should.", remedy=_AGAIN)
        content = json.loads(b"".join(file.payload(str(body["sha256"]), secret.key(body["sealed"]))))
        files = {name: base64.b64decode(text, validate=True) for name, text in content.items()}
    except (ValueError, IndexError, KeyError, TypeError, NoteInvalid) as error:
        raise BackupInvalid(f"{path}: its note cannot be read, or its signature fails ({error}).", remedy=_AGAIN) from error
    finally:
        file.close()
    if any(Path(name).name != name for name in files):
        raise BackupInvalid(f"{path} names a file outside its folder.", remedy=_AGAIN)
    try:
        folder.mkdir(mode=0o700)
        for name, data in files.items():
            with os.fdopen(os.open(folder / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as out:
                out.write(data)
    except OSError as error:
        raise RecordError(f"{folder} cannot be made: {error.strerror}.", remedy="Name a folder that does not exist yet.") from error
    return sorted(files)
