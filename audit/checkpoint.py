"""Signed notes and checkpoints: what leaves the machine so that a trail cannot be rewritten unseen.

A note is text, a blank line, and signature lines `— name base64(key id ‖ signature)`; a checkpoint is a note whose
text is origin, size and base64 root. Ed25519 only (algorithm byte 0x01; the cosignatures of witnesses are in
`audit.cosignature`). Whoever signs is a `Signer`: a key in a file here, or one in a hardware module.
Sources: C2SP signed-note v1, C2SP tlog-checkpoint v1.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from audit.chain import HASH_BYTES
from audit.errors import NoteInvalid, RecordError

_ED25519 = b"\x01"
KEY_ID_BYTES = 4
_SIGNATURE_LINES = 100
DASH = "\N{EM DASH} "


def key_id(name: str, public: bytes, algorithm: bytes = _ED25519) -> bytes:
    """Return SHA-256(name ‖ "\\n" ‖ algorithm ‖ public key)[:4]. Source: C2SP signed-note, "Signature types"."""
    return hashlib.sha256(name.encode() + b"\n" + algorithm + public).digest()[:KEY_ID_BYTES]


def _check_name(name: str) -> str:
    if not name or "+" in name or any(character.isspace() for character in name):
        raise NoteInvalid(f"The key name {name!r} is empty or holds a blank or '+'.", remedy="Use a name such as site.example/cell-1.")
    return name


def from_base64(text: str, what: str) -> bytes:
    """Read base64 with padding; the spare bits must be zero, so that no changed character goes unseen."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NoteInvalid(f"{what} is not base64.") from error
    if base64.b64encode(data).decode() != text:
        raise NoteInvalid(f"{what} is not the standard base64 of its bytes.")
    return data


def parse_key(text: str, what: str, algorithm: bytes = _ED25519) -> tuple[str, bytes]:
    """Read `name+hash+base64(algorithm ‖ key)`; return name and the 32 key bytes, the hash still unchecked."""
    parts = text.strip().split("+", 2)
    if len(parts) != 3:
        raise NoteInvalid(f"{what} is not of the form name+hash+base64.", remedy="Copy the whole line.")
    name, _, encoded = parts
    data = from_base64(encoded, what)
    if len(data) != 33 or data[:1] != algorithm:
        raise NoteInvalid(f"{what} is not an Ed25519 key (algorithm {algorithm[0]}, 32 bytes).")
    return _check_name(name), data[1:]


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key with its name, as `name+hash+base64`."""

    name: str
    public: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text form. Raises NoteInvalid for a wrong form, algorithm or hash."""
        name, public = parse_key(text, "The verifier key")
        key = cls(name, public)
        if key.text != text.strip():
            raise NoteInvalid(f"The verifier key of {name} does not carry its own hash.", remedy="Copy the whole line from its source.")
        return key

    @property
    def key_id(self) -> bytes:
        return key_id(self.name, self.public)

    @property
    def text(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(_ED25519 + self.public).decode()}"

    def __str__(self) -> str:
        return self.text

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Say whether this key made the Ed25519 signature over the data. Source: RFC 8032 §5.1."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, data)
        except (InvalidSignature, ValueError):
            return False
        return True


class Signer(Protocol):
    """Whoever signs for a trail: an Ed25519 key with its name, wherever its private half is.

    `sign` returns the 64-byte Ed25519 signature and raises RecordError where the key cannot be reached: nothing is signed then.
    """

    @property
    def name(self) -> str: ...

    @property
    def verifier(self) -> VerifierKey: ...

    def sign(self, data: bytes) -> bytes: ...


def sign_note(signer: Signer, text: str) -> str:
    """Return the note: text, blank line, the signer's signature line. The text must end with a newline."""
    check_text(text)
    return f"{text}\n{signature_line(signer.name, signer.verifier.key_id + signer.sign(text.encode()))}"


def signature_line(name: str, data: bytes) -> str:
    """Return one signature line of a note: the key's name, and key id ‖ signature in base64."""
    return f"{DASH}{name} {base64.b64encode(data).decode()}\n"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private Ed25519 key with its name. `repr` never shows the seed."""

    name: str
    _private: Ed25519PrivateKey

    @classmethod
    def generate(cls, name: str) -> Self:
        """Make a new key. Raises NoteInvalid for a name with blanks or '+'."""
        return cls(_check_name(name), Ed25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, name: str, seed: bytes) -> Self:
        """Make the key of a 32-byte seed."""
        return cls(_check_name(name), Ed25519PrivateKey.from_private_bytes(seed))

    @property
    def seed(self) -> bytes:
        return self._private.private_bytes_raw()

    @property
    def verifier(self) -> VerifierKey:
        return VerifierKey(self.name, self._private.public_key().public_bytes_raw())

    @property
    def verifier_key(self) -> str:
        """The public key as `name+hash+base64`."""
        return self.verifier.text

    def __repr__(self) -> str:
        return f"SigningKey({self.verifier_key!r})"

    def sign(self, data: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature over the data."""
        return self._private.sign(data)

    def sign_note(self, text: str) -> str:
        """Return the note: text, blank line, this key's signature line. The text must end with a newline."""
        return sign_note(self, text)

    def save(self, path: Path) -> None:
        """Write the key to a new file that only its owner can read (mode 0600). Raises NoteInvalid."""
        text = f"PRIVATE+KEY+{self.name}+{self.verifier.key_id.hex()}+{base64.b64encode(_ED25519 + self.seed).decode()}\n"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise NoteInvalid(
                f"The key file {path} cannot be written: {error.strerror}.", remedy="Give a new file name in a folder that can be written."
            ) from error

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a key file. Raises NoteInvalid where it is missing, or its content is not a key with its own hash."""
        try:
            text = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise NoteInvalid(f"The key file {path} cannot be read.", remedy="Restore the key file from its safe place.") from error
        if not text.startswith("PRIVATE+KEY+"):
            raise NoteInvalid(f"The file {path} is not a private key.", remedy="Give the file that holds PRIVATE+KEY+….")
        name, seed = parse_key(text.removeprefix("PRIVATE+KEY+"), f"The key in {path}")
        key = cls.from_seed(name, seed)
        if text.split("+")[3] != key.verifier.key_id.hex():
            raise NoteInvalid(f"The key in {path} does not carry its own hash.", remedy="Restore the key file from its safe place.")
        return key


@dataclass(frozen=True, slots=True)
class LostKey:
    """The public half of a key whose private half is gone: it verifies, and signs nothing."""

    verifier: VerifierKey

    @property
    def name(self) -> str:
        return self.verifier.name

    def sign(self, data: bytes) -> bytes:
        raise RecordError(f"The private key of {self.verifier.text} is not here.", remedy="Sign with the key that replaces it.")


def check_text(text: str) -> None:
    if not text.endswith("\n"):
        raise NoteInvalid("The text of a note must end with a newline.")
    if any((character < " " and character != "\n") or "\ud800" <= character <= "\udfff" for character in text):
        raise NoteInvalid("The text of a note holds a control character.")


def read_signatures(block: str) -> list[tuple[str, bytes]]:
    """Read the signature lines; each gives the key name and key id ‖ signature."""
    lines = block.removesuffix("\n").split("\n")
    if not block.endswith("\n") or len(lines) > _SIGNATURE_LINES:
        raise NoteInvalid("The signature lines of the note are cut off or too many.")
    found: list[tuple[str, bytes]] = []
    for line in lines:
        name, blank, encoded = line.removeprefix(DASH).partition(" ")
        if not line.startswith(DASH) or not blank:
            raise NoteInvalid(f"This is not a signature line: {line[:80]!r}.")
        data = from_base64(encoded, f"The signature of {name}")
        if len(data) <= KEY_ID_BYTES:
            raise NoteInvalid(f"The signature of {name} is too short.")
        found.append((_check_name(name), data))
    return found


def split_note(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    """Return the text of a note and its signatures (name, key id ‖ signature), unverified. Raises NoteInvalid."""
    text, gap, block = note.rpartition("\n\n")
    if not gap:
        raise NoteInvalid("The note has no signature.", remedy="Copy the whole note, signature lines included.")
    text += "\n"
    check_text(text)
    return text, read_signatures(block)


def verify_note(note: str, keys: Iterable[VerifierKey]) -> tuple[str, list[str]]:
    """Check a note; return its text and the names of the keys that signed it.

    Signatures of unknown keys are ignored; a wrong signature of a known key, and a note that no known key signed,
    raise NoteInvalid. Source: C2SP signed-note, "Signature verification".
    """
    text, signatures = split_note(note)
    known = {(key.name, key.key_id): key for key in keys}
    signers: list[str] = []
    for name, data in signatures:
        key = known.get((name, data[:KEY_ID_BYTES]))
        if key is None:
            continue
        if not key.verifies(data[KEY_ID_BYTES:], text.encode()):
            raise NoteInvalid(f"The signature of {name} does not match the text of the note.")
        if name not in signers:
            signers.append(name)
    if not signers:
        names = ", ".join(dict.fromkeys(name for name, _ in signatures))
        raise NoteInvalid(f"No known key signed the note; it is signed by {names}.", remedy="Give the verifier key of the signer.")
    return text, signers


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint states: the trail's origin, its number of entries, and the root over them (32 bytes)."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()


def format_checkpoint(origin: str, size: int, root: bytes) -> str:
    """Return the checkpoint text: origin, decimal size, base64 root, each on a line. Raises NoteInvalid."""
    if not origin or "\n" in origin or size < 0 or len(root) != HASH_BYTES:
        raise NoteInvalid(f"A checkpoint needs an origin of one line, a size and a root of 32 bytes ({origin!r}, {size}).")
    return f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"


def parse_checkpoint(text: str) -> Checkpoint:
    """Read a checkpoint text (the verified text of a note). Raises NoteInvalid. Source: C2SP tlog-checkpoint."""
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
        raise NoteInvalid("A checkpoint has three lines: origin, size and root.")
    origin, size, encoded = lines[:3]
    if not (size.isascii() and size.isdigit()) or (size != "0" and size.startswith("0")):
        raise NoteInvalid(f"The size {size[:40]!r} of the checkpoint is not a decimal number.")
    root = from_base64(encoded, "The root of the checkpoint")
    if len(root) != HASH_BYTES:
        raise NoteInvalid(f"The root of the checkpoint has {len(root)} bytes instead of {HASH_BYTES}.")
    return Checkpoint(origin, int(size), root, tuple(lines[3:-1]))
