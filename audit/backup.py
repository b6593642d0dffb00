"""Backups of a trail store: taken while its writer works, signed, sealed on request; unpacked only where they verify.

A backup is one file (`sealed_stream`): the store as SQLite's online backup copies it, or its logical export, and a note signed with the
store's key that states origin, size, root, last checkpoint and digests. Before it is written the copy is verified, whole, by itself:
what does not verify is evidence, not a backup. Private keys are not in it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from audit.canonical import JsonObject, canonical
from audit.chain import MerkleTree, leaf_hash
from audit.checkpoint import Signer, VerifierKey, sign_note, verify_note
from audit.errors import BackupInvalid, NoteInvalid, RecordError, VerificationError
from audit.logical_export import export_lines, lines_in, rebuild
from audit.reader import TrailReader
from audit.sealed_stream import SealedFile, Secret, Written, write
from audit.sqlite_file import connect_reader, record_errors
from audit.verify import verify_store

FORMAT = "dosewright-backup/1"
_DRAFTS, _DAY_S = ".dosewright-", 86_400
_BLOCK = 1 << 20
_MEMBERS = frozenset({
    "checkpoint", "content", "created", "origin", "payload_bytes", "payload_sha256", "root", "sealed", "size", "software",
    "store_bytes", "store_sha256", "verifier_key",
})  # fmt: skip
_AGAIN = "Take another copy of the backup."


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the signed note of a backup states. `established`: a key from outside says so, not only the one inside."""

    path: Path
    body: JsonObject
    established: bool

    @property
    def origin(self) -> str:
        return str(self.body["origin"])

    @property
    def size(self) -> int:
        return int(str(self.body["size"]))

    @property
    def root(self) -> bytes:
        return base64.b64decode(str(self.body["root"]))

    @property
    def sha256(self) -> str:
        return str(self.body["payload_sha256"])

    @property
    def created(self) -> str:
        return str(self.body["created"])

    @property
    def sealed(self) -> JsonObject | None:
        value = self.body["sealed"]
        return value if isinstance(value, dict) else None


def tree_of(lines: Iterable[bytes]) -> MerkleTree:
    tree = MerkleTree()
    for line in lines:
        tree.append_hash(leaf_hash(line))
    return tree


def back_up(
    store: Path, to: Path, *, key: Signer, created: str, software: str, secret: Secret | None = None, logical: bool = False
) -> Manifest:
    """Write a backup of a store to the new file `to`; the writer of the store goes on. Return what it states.

    `created` is RFC 3339 UTC. Raises StoreMissing, RecordError (`to` exists, no room, another key), VerificationError (the store does
    not verify: the copy is not kept).
    """
    if to.exists():
        raise RecordError(f"{to} exists already.", remedy="Give another name; a backup is never written over.")
    with working_folder(store.parent) as folder:
        copy = folder / "copy.db"
        _copy(store, copy)
        remedy = "Keep the store as evidence: stop its process and copy the file as it is."
        require_sound(copy, f"The store {store} does not verify, so no backup was made", remedy)
        body = _statement(copy, key) | {"content": "export" if logical else "sqlite", "created": created, "software": software}
        sealed = None if secret is None else secret.parameters()
        clear = _exported(copy, folder / "export.txt") if logical else copy
        body |= {"sealed": sealed, "store_bytes": clear.stat().st_size, "store_sha256": _sha256(clear)}

        def note(written: Written) -> str:
            text = canonical({**body, "payload_bytes": written.size, "payload_sha256": written.sha256}).decode()
            return sign_note(key, f"{FORMAT}\n{text}\n")

        write(to, FORMAT, _blocks(clear), secret.key(sealed) if secret and sealed else None, note)
    return read_manifest(to, [key.verifier])


def _statement(copy: Path, key: Signer) -> JsonObject:
    with TrailReader(copy) as reader:
        if reader.verifier_key != key.verifier.text:
            raise RecordError(
                f"The key {key.verifier.text} is not the key of {reader.origin}.", remedy="Give the key file that belongs to this store."
            )
        return {
            "origin": reader.origin,
            "size": reader.size,
            "root": base64.b64encode(tree_of(reader.lines()).root()).decode(),
            "checkpoint": reader.last_checkpoint(),
            "verifier_key": reader.verifier_key,
        }


def _exported(store: Path, to: Path) -> Path:
    with to.open("wb") as file:
        file.writelines(export_lines(store))
    return to


@contextmanager
def working_folder(parent: Path) -> Iterator[Path]:
    """Give a private folder beside a store, gone afterwards; those that a killed process left a day ago go too. Raises RecordError."""
    try:
        for left in parent.glob(f"{_DRAFTS}*"):
            if left.is_dir() and time.time() - left.stat().st_mtime > _DAY_S:
                shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=_DRAFTS, dir=parent))
    except OSError as error:
        raise RecordError(f"{parent} cannot be written: {error.strerror}.", remedy="Check the path and its permissions.") from error
    try:
        yield folder
    except OSError as error:
        raise RecordError(f"{folder} cannot be written: {error.strerror}.", remedy="Free space on this disk.") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy(store: Path, to: Path) -> None:
    """Copy a store in one step of SQLite's online backup: one committed state, while the writer appends to its log."""
    with closing(connect_reader(store)) as source, record_errors(to):
        os.close(os.open(to, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with closing(sqlite3.connect(to)) as copy:
            source.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, with no log beside it


def require_sound(store: Path, what: str, remedy: str) -> None:
    """Raises VerificationError with the first finding of `verify_store`."""
    report = verify_store(store, workers=min(2, os.cpu_count() or 1))
    if report.findings:
        raise VerificationError(f"{what}: {report.findings[0]}.", remedy=remedy)


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(path: Path, trusted: Sequence[VerifierKey] = ()) -> Manifest:
    """Read and check the signed note of a backup. Raises BackupInvalid, RecordError (it cannot be read)."""
    file = SealedFile(path, FORMAT)
    file.close()
    return _manifest(file, trusted)


def _manifest(file: SealedFile, trusted: Sequence[VerifierKey]) -> Manifest:
    try:
        line = file.note.split("\n")[1]
        body = json.loads(line)
        if not isinstance(body, dict) or set(body) != _MEMBERS or canonical(body).decode() != line:
            raise BackupInvalid(f"{file.path}: its note does not state what a backup states.", remedy=_AGAIN)
        own = VerifierKey.parse(str(body["verifier_key"]))
        text, _ = verify_note(file.note, [own])
        if text != f"{FORMAT}\n{line}\n" or type(body["size"]) is not int or body["payload_bytes"] != file.payload_size:
            raise BackupInvalid(f"{file.path}: its note does not fit the file.", remedy=_AGAIN)
    except (ValueError, IndexError, RecursionError, NoteInvalid) as error:
        raise BackupInvalid(f"{file.path}: its note cannot be read, or its signature fails ({error}).", remedy=_AGAIN) from error
    if trusted and own not in trusted:
        raise BackupInvalid(f"{file.path} is signed by {own}, which is not a trusted key.", remedy="Give a backup of this store.")
    return Manifest(file.path, body, own in trusted)


def unpack(path: Path, to: Path, secret: Secret | None, trusted: Sequence[VerifierKey] = ()) -> Manifest:
    """Write the store of a backup to the new file `to` and verify it, whole; what does not verify is not left there.

    Raises BackupInvalid (damaged, cut off, another secret), VerificationError, RecordError (no room).
    """
    file = SealedFile(path, FORMAT)
    try:
        manifest = _manifest(file, trusted)
        sealed = manifest.sealed
        if (sealed is None) != (secret is None):
            what = "is not sealed" if sealed is None else f"is sealed with {sealed.get('key')}"
            remedy = "Give the key file or passphrase it was sealed with, or none where it is not sealed."
            raise BackupInvalid(f"{path} {what}.", remedy=remedy)
        blocks = file.payload(manifest.sha256, secret.key(sealed) if secret and sealed else None)
        if manifest.body["content"] == "export":
            rebuild(lines_in(blocks), to)
        else:
            _write(to, blocks)
        _require_stated(to, manifest)
    except BaseException:
        with suppress(OSError):
            to.unlink(missing_ok=True)
        raise
    finally:
        file.close()
    return manifest


def _write(to: Path, blocks: Iterable[bytes]) -> None:
    try:
        with os.fdopen(os.open(to, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.writelines(blocks)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise RecordError(f"{to} cannot be written: {error.strerror}.", remedy="Free space on this disk.") from error


def _require_stated(store: Path, manifest: Manifest) -> None:
    """The store verifies, and is the one that the note states."""
    remedy = "Take an earlier backup, and keep this one as evidence."
    if manifest.body["content"] == "sqlite" and _sha256(store) != manifest.body["store_sha256"]:
        raise BackupInvalid(f"{manifest.path}: its store is not the one that its note was signed for.", remedy=remedy)
    require_sound(store, f"The store in {manifest.path} does not verify", remedy)
    with TrailReader(store) as reader:
        stated = (manifest.origin, manifest.size, manifest.root, str(manifest.body["verifier_key"]))
        if (reader.origin, reader.size, tree_of(reader.lines()).root(), reader.verifier_key) != stated:
            raise BackupInvalid(f"{manifest.path}: origin, size, root or key of its store are not those of its note.", remedy=remedy)
