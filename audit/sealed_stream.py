"""A file in three parts: a line that names its format, a payload of any size, sealed or not, and a signed note about it at the end.

Sealed is AES-256-GCM in pieces of 1 MiB, each under a nonce of a counter and a mark on the last one (the STREAM construction), so that
a payload of any size is written and read in bounded memory, and no piece can be changed, moved, left out or cut off unseen. The key of a
file follows (HKDF-SHA256) from a salt of its own and either a key file or a passphrase (argon2id). The footer is the last 17 bytes, the
length of the note: a file that was cut off has none.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from argon2.low_level import Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from audit.canonical import JsonObject
from audit.errors import BackupInvalid, RecordError

PIECE = 1 << 20
_TAG, _KEY, _SALT, _FOOTER, _LONGEST_NOTE = 16, 32, 16, 17, 1 << 20
_PASSES, _MEMORY_KIB, _LANES = 3, 65536, 4
_MOST_PASSES, _MOST_MEMORY_KIB, _MOST_LANES = 64, 1 << 20, 64
_SHORTEST_PASSPHRASE = 12
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
"""What file systems without hard links answer."""
_AGAIN = "Take another copy of the backup."


@dataclass(frozen=True, slots=True)
class Secret:
    """What a sealed file is opened with: a key of 32 bytes or a passphrase. `repr` shows neither."""

    _value: bytes
    kind: str

    @classmethod
    def of_passphrase(cls, text: str) -> Secret:
        """Raises BackupInvalid for a passphrase of fewer than 12 characters."""
        if len(text) < _SHORTEST_PASSPHRASE:
            raise BackupInvalid(f"The passphrase has fewer than {_SHORTEST_PASSPHRASE} characters.", remedy="Use several words.")
        return cls(unicodedata.normalize("NFKC", text).encode("utf-8", "surrogatepass"), "argon2id")

    @classmethod
    def of_key_file(cls, path: Path) -> Secret:
        """Read 64 hex digits from a file. Raises BackupInvalid."""
        try:
            value = bytes.fromhex(path.read_text(encoding="ascii"))
        except (OSError, ValueError):
            value = b""
        if len(value) != _KEY:
            raise BackupInvalid(
                f"The key file {path} does not hold 64 hexadecimal digits.", remedy="Make one with `openssl rand -hex 32`, and keep it."
            )
        return cls(value, "key file")

    def __repr__(self) -> str:
        return f"Secret({self.kind})"

    def parameters(self) -> JsonObject:
        """Return what a reader needs beside the secret, with a new salt."""
        found: JsonObject = {
            "cipher": "AES-256-GCM",
            "piece": PIECE,
            "key": self.kind,
            "salt": base64.b64encode(os.urandom(_SALT)).decode(),
        }
        return found | ({"passes": _PASSES, "memory_kib": _MEMORY_KIB, "lanes": _LANES} if self.kind == "argon2id" else {})

    def key(self, parameters: JsonObject) -> bytes:
        """Return the key of one file. Raises BackupInvalid where it was sealed in another way."""
        if parameters.get("cipher") != "AES-256-GCM" or parameters.get("piece") != PIECE or parameters.get("key") != self.kind:
            how = parameters.get("key")
            raise BackupInvalid(f"The backup is sealed with {how}, not with {self.kind}.", remedy="Give what it was sealed with.")
        salt, value = base64.b64decode(str(parameters.get("salt"))), self._value
        if self.kind == "argon2id":
            passes, memory, lanes = (parameters.get(name) for name in ("passes", "memory_kib", "lanes"))
            if not (_within(passes, _MOST_PASSES) and _within(memory, _MOST_MEMORY_KIB) and _within(lanes, _MOST_LANES)):
                raise BackupInvalid("The backup asks for an impossible cost of its passphrase.", remedy=_AGAIN)
            value = hash_secret_raw(value, salt, int(str(passes)), int(str(memory)), int(str(lanes)), _KEY, Type.ID)
        return HKDF(SHA256(), _KEY, salt, b"dosewright sealed stream").derive(value)


def _within(value: object, most: int) -> bool:
    return isinstance(value, int) and 0 < value <= most


@dataclass(frozen=True, slots=True)
class Written:
    """What is known of a payload once it is written: size and digest of what lies in the file."""

    size: int
    sha256: str


def write(path: Path, head: str, blocks: Iterable[bytes], key: bytes | None, note: Callable[[Written], str]) -> None:
    """Write a file in one step; `note` gives its end once the payload is written. Raises RecordError (it exists, or the disk refuses)."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(head.encode() + b"\n")
            size, digest = 0, hashlib.sha256()
            for piece in blocks if key is None else _seal(blocks, key):
                size += file.write(piece)
                digest.update(piece)
            text = note(Written(size, digest.hexdigest())).encode()
            file.write(text + b"%016d\n" % len(text))
            file.flush()
            os.fsync(file.fileno())
        give_name(part, path)
        _sync_folder(path.parent)
    except FileExistsError:
        raise RecordError(f"{path} exists already.", remedy="Give another name; a backup is never written over.") from None
    except OSError as error:
        raise RecordError(f"{path} cannot be written: {error.strerror}.", remedy="Free space, or name another folder.") from error
    finally:
        part.unlink(missing_ok=True)


def give_name(part: Path, path: Path) -> None:
    """Let a whole file have its name in one step, never in the place of another file. Raises FileExistsError, OSError.

    Where the file system has no hard links (FAT, some network shares), the name is taken first, by an empty file that cannot be there yet.
    """
    try:
        os.link(part, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        try:
            part.replace(path)
        except BaseException:
            path.unlink()
            raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _pieces(blocks: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Give the bytes in pieces of one size, and with each whether it is the last; the last may be empty."""
    held = bytearray()
    for block in blocks:
        held += block
        while len(held) > PIECE:
            yield bytes(held[:PIECE]), False
            del held[:PIECE]
    yield bytes(held), True


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + (b"\1" if last else b"\0")


def _seal(blocks: Iterable[bytes], key: bytes) -> Iterator[bytes]:
    cipher = AESGCM(key)
    for number, (piece, last) in enumerate(_pieces(blocks)):
        yield cipher.encrypt(_nonce(number, last), piece, None)


class SealedFile:
    """A file as `write` makes it, opened for reading. Lifetime: until `close`. Concurrency: one thread."""

    def __init__(self, path: Path, head: str) -> None:
        """Raises BackupInvalid where it is not such a file, or was cut off; RecordError where it cannot be read."""
        self.path = path
        try:
            self._file: IO[bytes] = path.open("rb")
        except OSError as error:
            raise RecordError(f"{path} cannot be read: {error.strerror}.", remedy="Check the path.") from error
        try:
            self._start = len(head) + 1
            if self._file.read(self._start) != head.encode() + b"\n":
                raise BackupInvalid(f"{path} is not a {head} file.", remedy="Check the path.")
            end = self._file.seek(0, os.SEEK_END)
            self._file.seek(max(end - _FOOTER, 0))
            footer = self._file.read(_FOOTER)
            length = int(footer) if len(footer) == _FOOTER and footer[:-1].isdigit() and footer[-1:] == b"\n" else -1
            self.payload_size = end - _FOOTER - length - self._start
            if not 0 < length <= _LONGEST_NOTE or self.payload_size < 0:
                raise BackupInvalid(f"{path} was cut off: it does not end as such a file ends.", remedy=_AGAIN)
            self._file.seek(self._start + self.payload_size)
            self.note = self._file.read(length).decode("utf-8", "replace")
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        self._file.close()

    def payload(self, sha256: str, key: bytes | None) -> Iterator[bytes]:
        """Give the payload, opened. Raises BackupInvalid at the first piece that is not as it was written, or at the end."""
        digest, left, number = hashlib.sha256(), self.payload_size, 0
        cipher, step = (None, PIECE) if key is None else (AESGCM(key), PIECE + _TAG)
        self._file.seek(self._start)
        while left or (number == 0 and cipher is not None):
            piece = self._file.read(min(step, left))
            if not piece:
                break
            left, last = left - len(piece), left == len(piece)
            digest.update(piece)
            yield piece if cipher is None else self._opened(cipher, piece, number, last)
            number += 1
        if digest.hexdigest() != sha256:
            raise BackupInvalid(f"{self.path} is damaged: its payload is not the one that its note was signed for.", remedy=_AGAIN)

    def _opened(self, cipher: AESGCM, piece: bytes, number: int, last: bool) -> bytes:
        try:
            return cipher.decrypt(_nonce(number, last), piece, None)
        except InvalidTag:
            what = "The secret is another one, or the file is damaged" if number == 0 else f"It is damaged in its {number + 1}th MiB"
            raise BackupInvalid(
                f"{self.path} does not open. {what}.", remedy="Give the secret it was sealed with, or another copy."
            ) from None
