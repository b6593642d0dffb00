"""A store restored from a backup, and what must hold before it may take the place of the one that was lost.

A trail that goes on from an older state is a second history: whoever saw the first one (a witness, a review package, the other trail)
will see the fork. So a restore asks for what is known of the trail elsewhere, refuses a backup that is behind it, and where a person
accepts the loss, the first new entry says how much is lost and why.
"""

from __future__ import annotations

import base64
import binascii
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from audit.backup import Manifest, unpack, working_folder
from audit.canonical import JsonObject
from audit.chain import MerkleTree, leaf_hash
from audit.checkpoint import Signer, VerifierKey, parse_checkpoint, split_note, verify_note
from audit.clock import Clock
from audit.errors import BackupOutdated, NoteInvalid, RecordError, StoreExists
from audit.events import Actor, Entry, EntryDraft, EventKind, Subject
from audit.key_rotation import stored_history
from audit.reader import TrailReader
from audit.sealed_stream import Secret, give_name
from audit.sqlite_file import record_errors
from audit.store import TrailStore

_SQLITE, _ZIP = b"SQLite format 3\x00", b"PK\x03\x04"
_LARGEST_NOTE = 1 << 20
_ALL = 1_000_000


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a trail from elsewhere: a size, the root at it (hex) where that is known, and where it was seen."""

    size: int
    root: str | None
    place: str


def keys_of(paths: Iterable[Path], origin: str, trusted: Sequence[VerifierKey]) -> list[VerifierKey]:
    """Return the trusted keys of a trail with those that its stores among these files believe by them: after a replacement of the key,
    what another key signed is evidence too. Raises RecordError for a store that cannot be read."""
    found = [key for key in trusted if key.name == origin]
    for path in paths:
        if _starts_with(path, _SQLITE):
            with TrailReader(path) as reader:
                if reader.origin == origin:
                    found += stored_history(reader).believed(found)
    return list(dict.fromkeys(found))


def seen_in(path: Path, origin: str, keys: Sequence[VerifierKey], size: int) -> list[Seen]:
    """Return what a file knows of a trail: a checkpoint note, a store (its own entries, or the cells' heads that it names), a package.

    `keys` may have signed it; `size` is the backup's, up to which a store of the trail has to be the same. Raises RecordError for a file
    that cannot be read or is none of these.
    """
    from audit.release.package import checkpoint_name, read_package  # the document writer comes with it, and only this wants it

    try:
        if _starts_with(path, _SQLITE):
            return _in_store(path, origin, size)
        if _starts_with(path, _ZIP):
            note = read_package(path).files.get(checkpoint_name(origin))
            return [] if note is None else _in_note(note.decode(), origin, keys, str(path))
        return _in_note(path.read_bytes()[:_LARGEST_NOTE].decode(), origin, keys, str(path))
    except OSError as error:
        raise RecordError(f"{path} cannot be read: {error.strerror}.", remedy="Check the path.") from error
    except (UnicodeDecodeError, binascii.Error, NoteInvalid) as error:
        raise RecordError(
            f"{path} is no checkpoint of {origin}, store or review package ({error}).",
            remedy="Give what shows how far the trail had gone; after a replacement of the key, the one that signed it with --trusted-key.",
        ) from error


def _starts_with(path: Path, start: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(start)) == start
    except OSError as error:
        raise RecordError(f"{path} cannot be read: {error.strerror}.", remedy="Check the path.") from error


def _in_note(note: str, origin: str, keys: Sequence[VerifierKey], place: str) -> list[Seen]:
    verify_note(note, keys)
    stated = parse_checkpoint(split_note(note)[0])
    if stated.origin != origin:
        raise NoteInvalid(f"it is a checkpoint of {stated.origin}")
    return [Seen(stated.size, stated.root.hex(), place)]


def _in_store(path: Path, origin: str, size: int) -> list[Seen]:
    with TrailReader(path) as reader:
        if reader.origin == origin:
            return _of_itself(reader, size, f"{path}, the store itself")
        closed = reader.search(kind=EventKind.BATCH_RUN_CLOSED.value, limit=_ALL)
        return [found for entry in closed if (found := _tied(entry, origin, f"{path} entry {entry.seq}")) is not None]


def _of_itself(reader: TrailReader, size: int, place: str) -> list[Seen]:
    """Return how far a store of the trail goes, with its roots there and at the backup's size."""
    own = reader.size
    try:
        roots = _roots(reader, {own, min(own, size)})
    except RecordError:
        return [Seen(own, None, f"{place}, which cannot be read whole")]
    return [Seen(at, root.hex(), place) for at, root in roots.items()]


def _tied(entry: Entry, origin: str, place: str) -> Seen | None:
    """Return what an entry that closes a run knows of the cell's trail, None where it is another cell's."""
    size, root = entry.new.get("cell_size"), entry.new.get("cell_root")
    if entry.new.get("cell_origin") != origin or not isinstance(size, int):
        return None
    return Seen(size, base64.b64decode(root).hex() if isinstance(root, str) else None, place)


def restore(
    backup: Path,
    to: Path,
    *,
    key: Signer,
    clock: Clock,
    software: str,
    secret: Secret | None,
    seen: Sequence[Seen],
    by: Actor,
    accept_loss: str | None = None,
) -> Manifest:
    """Put the store of a backup at `to`, its first new entry saying so. What does not come to its end leaves nothing there.

    Raises StoreExists (a store, or a log of one, is there), BackupInvalid, BackupOutdated (the trail is known to have gone further and
    no reason is given; or, whatever is given, it is another history), VerificationError, RecordError.
    """
    for place in (to, *(to.with_name(to.name + end) for end in ("-wal", "-shm", "-journal"))):
        if place.exists():
            raise StoreExists(f"{place} is there.", remedy="Move it away, and keep it as evidence; a restore never writes over a store.")
    with working_folder(to.parent) as folder:
        draft = folder / "store.db"
        manifest = unpack(backup, draft, secret, [key.verifier])
        _require_known(draft, manifest, seen, accept_loss)
        with TrailStore.open(draft, key=key, clock=clock, software=software) as store:
            store.append(_entry(manifest, seen, by, accept_loss))
        with closing(sqlite3.connect(draft)) as connection, record_errors(draft):
            connection.execute("PRAGMA journal_mode=DELETE")
        try:
            give_name(draft, to)
        except FileExistsError:
            raise StoreExists(f"{to} is there.", remedy="Move it away, and keep it as evidence.") from None
    return manifest


def _require_known(store: Path, manifest: Manifest, seen: Sequence[Seen], accept_loss: str | None) -> None:
    """Everything seen elsewhere is in the backup, or its loss is accepted; nothing seen elsewhere is of another history."""
    with TrailReader(store) as reader:
        roots = _roots(reader, {found.size for found in seen})
    for found in seen:
        if found.root is not None and found.size in roots and roots[found.size].hex() != found.root:
            raise BackupOutdated(
                f"{found.place} is of another history: its root at {found.size} entries is not that of the backup.",
                remedy="One of the two is forged or forked. Keep both, restore neither, and tell who holds the witness.",
            )
    furthest = max(seen, key=lambda found: found.size, default=None)
    if furthest is not None and furthest.size > manifest.size and not (accept_loss or "").strip():
        raise BackupOutdated(
            f"The backup has {manifest.size} entries; {furthest.place} shows that the trail had {furthest.size}. "
            f"Its entries from {manifest.size} on would be lost, {furthest.size - manifest.size} or more.",
            remedy="Give a later backup, or say with --accept-loss why the loss is accepted; the reason becomes an entry.",
        )


def _roots(reader: TrailReader, sizes: set[int]) -> dict[int, bytes]:
    tree, found = MerkleTree(), dict[int, bytes]()
    for line in reader.lines():
        tree.append_hash(leaf_hash(line))
        if tree.size in sizes:
            found[tree.size] = tree.root()
    return found


def _entry(manifest: Manifest, seen: Sequence[Seen], by: Actor, accept_loss: str | None) -> EntryDraft:
    furthest = max((found.size for found in seen), default=0)
    restored: JsonObject = {
        "backup_size": manifest.size,
        "backup_root": str(manifest.body["root"]),
        "backup_sha256": manifest.sha256,
        "backup_created": manifest.created,
        "known_size": furthest,
        "lost": max(furthest - manifest.size, 0),
        "known_from": list(dict.fromkeys(found.place for found in seen)),
    }
    subject = Subject("store", manifest.origin)
    return EntryDraft(EventKind.STORE_RECORD_RESTORED, subject, {"restored": restored}, by, manifest.origin, reason=accept_loss)
