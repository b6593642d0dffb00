"""The key file of a trail while its key is replaced: at no moment is there a trail whose key is nowhere.

The new key is on the disk, under the name `….incoming`, before the trail names it; only then does it take the place of the old one,
which is kept as `….retired-<key id>` for a backup from before. Whoever is killed in between finds out at the next start: the trail says
which key is its own.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from audit.checkpoint import SigningKey
from audit.errors import RecordError
from audit.places import Place
from audit.reader import TrailReader


def incoming_path(key_file: Path) -> Path:
    """Return where the new key lies until it is the trail's."""
    return key_file.with_name(f"{key_file.name}.incoming")


def prepare(key_file: Path, name: str) -> SigningKey:
    """Make the new key and put it on the disk; one that an interrupted attempt left is used. Raises NoteInvalid."""
    path = incoming_path(key_file)
    if path.exists():
        return SigningKey.load(path)
    key = SigningKey.generate(name)
    key.save(path)
    return key


def settle(place: Place, key_file: Path) -> bool:
    """Put the new key in the place of the old one if the trail names it; say whether it did.

    Safe to call at every start. Raises NoteInvalid, StoreMissing, RecordError.
    """
    path = incoming_path(key_file)
    if not path.exists():
        return False
    with TrailReader(place) as reader:
        if reader.verifier_key != SigningKey.load(path).verifier_key:
            return False  # the attempt ended before the trail was written: the old key is still its own
    try:
        if key_file.exists():
            old = SigningKey.load(key_file).verifier
            key_file.replace(key_file.with_name(f"{key_file.name}.retired-{old.key_id.hex()}"))
        path.replace(key_file)
        _sync(key_file.parent)
    except OSError as error:
        raise RecordError(
            f"The new key {path} cannot take the place of {key_file} ({error.strerror}).", remedy="Rename it by hand; the trail names it."
        ) from error
    return True


def _sync(folder: Path) -> None:
    """Make the new names durable, where the platform lets a folder be synced."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
