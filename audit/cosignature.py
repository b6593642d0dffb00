"""Cosignatures: what a witness adds to a checkpoint, with the time at which it saw it.

A cosignature is a signature line on the same note: key id ‖ POSIX seconds (8 bytes, big endian) ‖ Ed25519 signature over
`cosignature/v1`, `time T` and the whole text of the note. It says: at T, this was the largest tree the witness had seen of this
origin, and consistent with all it had seen before. Ed25519 only (type 0x04).
Sources: C2SP tlog-cosignature, C2SP signed-note v1.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from audit.checkpoint import KEY_ID_BYTES, Signer, VerifierKey, key_id, parse_key, signature_line, split_note
from audit.errors import NoteInvalid

_COSIGNATURE = b"\x04"
_TIME_BYTES = 8
_SIGNATURE_BYTES = 64
_MOST_SECONDS = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class CosignerKey:
    """The public key of a witness, as `name+hash+base64(0x04 ‖ key)`."""

    name: str
    public: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text form. Raises NoteInvalid for a wrong form, another type than 0x04, or another hash."""
        name, public = parse_key(text, "The witness key", _COSIGNATURE)
        key = cls(name, public)
        if key.text != text.strip():
            raise NoteInvalid(f"The witness key of {name} does not carry its own hash.", remedy="Copy the whole line from its source.")
        return key

    @classmethod
    def of(cls, key: VerifierKey) -> Self:
        """Return the key under which the cosignatures of this key are known."""
        return cls(key.name, key.public)

    @property
    def key_id(self) -> bytes:
        return key_id(self.name, self.public, _COSIGNATURE)

    @property
    def text(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(_COSIGNATURE + self.public).decode()}"

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Cosignature:
    """A verified cosignature: by whom, at which POSIX second, and its line as it stands in the note."""

    name: str
    at: int
    line: str


def _message(text: str, at: int) -> bytes:
    return f"cosignature/v1\ntime {at}\n{text}".encode()


def cosign(signer: Signer, text: str, at: int) -> str:
    """Return the cosignature line of a checkpoint's text at a POSIX second. Raises NoteInvalid for a time out of range."""
    if not 0 <= at <= _MOST_SECONDS:
        raise NoteInvalid(f"The time {at} of a cosignature is not a POSIX second below 2^63.")
    key = CosignerKey.of(signer.verifier)
    return signature_line(signer.name, key.key_id + at.to_bytes(_TIME_BYTES, "big") + signer.sign(_message(text, at)))


def cosignatures(note: str, keys: Iterable[CosignerKey]) -> list[Cosignature]:
    """Return the cosignatures that these witnesses put on a note; lines of other keys are ignored.

    Raises NoteInvalid for a note that cannot be read and for a wrong cosignature of a known key. One key's several lines all count.
    """
    text, signatures = split_note(note)
    known = {(key.name, key.key_id): key for key in keys}
    found: list[Cosignature] = []
    for name, data in signatures:
        key = known.get((name, data[:KEY_ID_BYTES]))
        if key is None:
            continue
        at = int.from_bytes(data[KEY_ID_BYTES : KEY_ID_BYTES + _TIME_BYTES], "big")
        signature = data[KEY_ID_BYTES + _TIME_BYTES :]
        if len(signature) != _SIGNATURE_BYTES or at > _MOST_SECONDS:
            raise NoteInvalid(f"The cosignature of {name} does not have the form of a time and an Ed25519 signature.")
        if not VerifierKey(key.name, key.public).verifies(signature, _message(text, at)):
            raise NoteInvalid(f"The cosignature of {name} does not match the text of the note.")
        found.append(Cosignature(name, at, signature_line(name, data)))
    return found


def add_lines(note: str, lines: Iterable[str]) -> str:
    """Return a note with further signature lines, each once."""
    present = note.rpartition("\n\n")[2]
    return note + "".join(dict.fromkeys(line for line in lines if line not in present))
