"""The trail store: the one writer of a trail, in SQLite.

One transaction holds the entries, the object states they lead to, their attachments and sealed rows, and the head;
either all of it is on the disk when `append` returns, or nothing is. `append` compares the head on the disk with the
one it knows and swaps it, so that a second writer is found at its first word. SQLAlchemy owns the schema; the append
path is driver SQL.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock

from audit.canonical import JsonObject, canonical, sha256_hex
from audit.chain import GENESIS, MerkleTree
from audit.checkpoint import SigningKey, VerifierKey, format_checkpoint, parse_checkpoint, verify_note
from audit.clock import Clock
from audit.errors import EntryInvalid, HeadMoved, NoteInvalid, RecordError, VerificationError
from audit.events import COMMITMENT_FIELD, SYSTEM, Actor, Entry, EntryDraft, EventKind, SealedRow, Subject
from audit.reader import Head, TrailReader
from audit.sqlite_file import connect_writer, new_file, record_errors, rollback
from audit.tables import FORMAT, REVISION
from audit.writer_lock import WriterLock

__all__ = ["CHECKPOINT_INTERVAL", "SYSTEM", "Actor", "Entry", "EntryDraft", "EventKind", "Head", "SealedRow", "Subject", "TrailStore"]

CHECKPOINT_INTERVAL = 256
_TYPE = re.compile(r"[a-z][a-z_]*\Z")
_EVIDENCE = "Do not print and do not sign; run `dosewright verify` on the store, keep it as evidence, restore the backup."


@dataclass(frozen=True, slots=True)
class _Object:
    """The state of an object: how many entries made it, the last of them, and the merge of their `new`."""

    version: int
    last_seq: int
    state: JsonObject


@dataclass(slots=True)
class _Growth:
    """What an append has written so far but not yet committed."""

    size: int
    digest: str
    checkpoints: str
    tree: MerkleTree
    objects: dict[tuple[str, str], _Object] = field(default_factory=dict)


def checkpoint_link(previous: str, note: str) -> str:
    """Return the running digest of the checkpoints: SHA-256 hex of the previous digest and the note's digest, as text."""
    return sha256_hex(f"{previous}{sha256_hex(note.encode())}".encode())


class TrailStore(TrailReader):
    """A trail with its writer.

    Lifetime: `create` or `open`, then `close` (also as a context manager), which takes a checkpoint.
    Concurrency: one process writes; inside it any thread may append, one at a time under a lock. Reading takes
    connections of its own and does not wait for an append.
    """

    def __init__(self, path: Path, *, key: SigningKey, clock: Clock, software: str) -> None:
        """Use `open` or `create`. This opens the file and leaves the head unread."""
        self._writer = connect_writer(path)
        try:
            super().__init__(path)
        except BaseException:
            self._writer.close()
            raise
        self._lock = RLock()
        self._closed = False
        self._sole_writer: WriterLock | None = None
        self._key = key
        self._clock = clock
        self._software = software
        self._tree = MerkleTree()
        self._head = Head(0, GENESIS, GENESIS)

    @classmethod
    def create(cls, path: Path, *, origin: str, key: SigningKey, clock: Clock, software: str, demonstration: bool) -> TrailStore:
        """Make a new store whose entry 0 states origin, verifier key and whether it is a demonstration.

        Raises StoreExists, StoreMissing (no such folder), StoreReadOnly, NoteInvalid (origin of several lines).
        """
        meta = {"demonstration": "true" if demonstration else "false", "format": FORMAT, "origin": origin, "verifier_key": key.verifier_key}
        format_checkpoint(origin, 0, MerkleTree().root())
        with new_file(path) as draft:
            _write_meta(draft, meta)
            with cls(draft, key=key, clock=clock, software=software) as store:
                new: JsonObject = {**meta, "demonstration": demonstration}
                store.append(EntryDraft(EventKind.SITE_STORE_CREATED, Subject("store", origin), new, SYSTEM, origin))
        return cls.open(path, key=key, clock=clock, software=software)

    @classmethod
    def open(cls, path: Path, *, key: SigningKey, clock: Clock, software: str) -> TrailStore:
        """Open an existing store for writing, and check its head against its entries and its last checkpoint.

        Raises StoreMissing, StoreReadOnly, StoreBusy (another process writes it), RecordError (other schema, other key),
        VerificationError (the entries are not those of the last checkpoint).
        """
        store = cls(path, key=key, clock=clock, software=software)
        try:
            store._sole_writer = WriterLock.take(path)
            with record_errors(path):
                store._load()
        except BaseException:
            store._abandon()
            raise
        return store

    @property
    def head(self) -> Head:
        return self._head

    @property
    def key(self) -> VerifierKey:
        """The public key that this store's checkpoints are signed with."""
        return self._key.verifier

    @property
    def clock(self) -> Clock:
        return self._clock

    @property
    def software(self) -> str:
        return self._software

    def append(self, *drafts: EntryDraft) -> list[Entry]:
        """Write the drafts as the next entries, with all they change, in one transaction; return them.

        Raises EntryInvalid (a draft does not fit), HeadMoved (another writer), StoreReadOnly, RecordError. After an
        error nothing of the call is in the store.
        """
        if not drafts:
            return []
        with self._lock:
            growth = _Growth(self._head.size, self._head.digest, self._head.checkpoints, self._tree.copy())
            with self._writing():
                entries = [self._write_entry(draft, growth) for draft in drafts]
                for (type_, id_), changed in growth.objects.items():
                    self._write_object(type_, id_, changed)
                if growth.size // CHECKPOINT_INTERVAL > self._head.size // CHECKPOINT_INTERVAL:
                    self._write_checkpoint(growth)
                self._write_head(growth)
            self._tree = growth.tree
            self._head = Head(growth.size, growth.digest, growth.checkpoints)
        return entries

    def checkpoint(self) -> str:
        """Return a signed checkpoint (C2SP note) of the whole trail as it stands; it is stored as well.

        Raises HeadMoved, StoreReadOnly, RecordError.
        """
        with self._lock:
            growth = _Growth(self._head.size, self._head.digest, self._head.checkpoints, self._tree)
            with self._writing():
                row: tuple[str] | None = self._writer.execute("SELECT note FROM checkpoints WHERE size = ?", (growth.size,)).fetchone()
                note = row[0] if row is not None else self._write_checkpoint(growth)
                self._write_head(growth)
            self._head = Head(growth.size, growth.digest, growth.checkpoints)
            return note

    def close(self) -> None:
        """Take a checkpoint and let go of the file. Safe to call twice.

        A checkpoint that cannot be taken any more (disk full, another writer) leaves the tail unanchored, which
        `verify` states; it does not keep the file open.
        """
        with self._lock:
            if self._closed:
                return
            with suppress(RecordError):
                self.checkpoint()
            self._abandon()

    def _abandon(self) -> None:
        self._closed = True
        super().close()
        self._writer.close()
        if self._sole_writer is not None:
            self._sole_writer.release()

    def _require_open(self) -> None:
        if self._closed:
            raise RecordError(f"The store {self.path} is closed.", remedy="Open it again.")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the database's write lock for the block; compare the head first, commit at the end, undo on any error."""
        self._require_open()
        with record_errors(self.path):
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                found = self._writer.execute("SELECT size, digest, checkpoints FROM head WHERE id = 0").fetchone()
                if found != (self._head.size, self._head.digest, self._head.checkpoints):
                    raise HeadMoved(
                        f"The store {self.path} was written by another process: its head is not entry {self._head.size - 1} as known here.",
                        remedy="Stop the other writer, then open the store again.",
                    )
                yield
                self._writer.execute("COMMIT")
            except BaseException:
                rollback(self._writer)
                raise

    def _write_entry(self, draft: EntryDraft, growth: _Growth) -> Entry:
        _check(draft)
        before = self._present(draft.subject, growth)
        blobs = {name: (sha256_hex(data), data) for name, data in draft.attachments.items()}
        reading = self._clock.utc()
        body = {
            "seq": growth.size,
            "prev": growth.digest,
            "at": reading.at,
            "zone": reading.zone,
            "clock": {"sync": reading.sync, "process_us": self._clock.now(), "rate": str(self._clock.rate)},
            "actor": draft.actor.username,
            "name": draft.actor.name,
            "role": draft.actor.role,
            "device": draft.device,
            "kind": draft.kind.value,
            "subject": {"type": draft.subject.type, "id": draft.subject.id},
            "old": {name: before.state.get(name) for name in draft.new},
            "new": dict(draft.new),
            "unit": dict(draft.unit),
            "reason": draft.reason,
            "attachments": [{"name": name, "sha256": sha, "bytes": len(data)} for name, (sha, data) in sorted(blobs.items())],
            "demonstration": self.demonstration,
            "software": self._software,
        }
        entry = Entry(canonical(body))
        row = (growth.size, reading.at, draft.kind.value, draft.actor.username, draft.subject.type, draft.subject.id)
        self._writer.execute("INSERT INTO entries (seq, canonical, digest) VALUES (?, ?, ?)", (growth.size, entry.canonical, entry.digest))
        self._writer.execute("INSERT INTO entry_index (seq, at, kind, actor, subject_type, subject_id) VALUES (?, ?, ?, ?, ?, ?)", row)
        self._write_attached(draft, blobs)
        growth.tree.append(entry.canonical)
        growth.objects[draft.subject.type, draft.subject.id] = _Object(before.version + 1, growth.size, {**before.state, **draft.new})
        growth.size, growth.digest = growth.size + 1, entry.digest
        return entry

    def _present(self, subject: Subject, growth: _Growth) -> _Object:
        known = growth.objects.get((subject.type, subject.id))
        if known is not None:
            return known
        row: tuple[int, int, str] | None = self._writer.execute(
            "SELECT version, last_seq, state FROM objects WHERE type = ? AND id = ?", (subject.type, subject.id)
        ).fetchone()
        return _Object(0, 0, {}) if row is None else _Object(row[0], row[1], json.loads(row[2]))

    def _write_object(self, type_: str, id_: str, changed: _Object) -> None:
        self._writer.execute(
            "INSERT INTO objects (type, id, version, last_seq, state) VALUES (?, ?, ?, ?, ?) ON CONFLICT (type, id) DO UPDATE SET "
            "version = excluded.version, last_seq = excluded.last_seq, state = excluded.state",
            (type_, id_, changed.version, changed.last_seq, canonical(changed.state).decode()),
        )

    def _write_attached(self, draft: EntryDraft, blobs: dict[str, tuple[str, bytes]]) -> None:
        for sha, data in blobs.values():
            if self._writer.execute("SELECT 1 FROM blobs WHERE sha256 = ?", (sha,)).fetchone() is None:
                self._writer.execute("INSERT INTO blobs (sha256, bytes, data) VALUES (?, ?, ?)", (sha, len(data), data))
        for row in draft.sealed:
            statement = {
                "credentials": "INSERT INTO credentials (id, sealed) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET sealed = excluded.sealed",
                "patients": "INSERT INTO patients (id, sealed) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET sealed = excluded.sealed",
            }[row.table]
            self._writer.execute(statement, (draft.subject.id, row.sealed))

    def _write_checkpoint(self, growth: _Growth) -> str:
        note = self._key.sign_note(format_checkpoint(self.origin, growth.size, growth.tree.root()))
        self._writer.execute("INSERT INTO checkpoints (size, note) VALUES (?, ?)", (growth.size, note))
        growth.checkpoints = checkpoint_link(growth.checkpoints, note)
        return note

    def _write_head(self, growth: _Growth) -> None:
        changed = self._writer.execute(
            "UPDATE head SET size = ?, digest = ?, checkpoints = ? WHERE id = 0 AND size = ? AND digest = ?",
            (growth.size, growth.digest, growth.checkpoints, self._head.size, self._head.digest),
        ).rowcount
        if changed != 1:
            raise HeadMoved(f"The head of the store {self.path} moved during the append.", remedy="Open the store again.")

    def _load(self) -> None:
        """Walk the entries once: links, head, and the root at the last checkpoint."""
        self._check_meta()
        row: tuple[int, str] | None = self._writer.execute("SELECT size, note FROM checkpoints ORDER BY size DESC LIMIT 1").fetchone()
        anchored, note = row if row is not None else (0, None)
        root, last = None, GENESIS
        for (line,) in self._writer.execute("SELECT canonical FROM entries ORDER BY seq"):
            self._tree.append(line)
            last = sha256_hex(line)
            if self._tree.size == anchored:
                root = self._tree.root()
        self._head = super().head
        if (self._head.size, self._head.digest) != (self._tree.size, last):
            raise VerificationError(f"The head of the store {self.path} is not its last entry.", remedy=_EVIDENCE)
        if note is None or root is None:
            raise VerificationError(f"The store {self.path} lacks entries that its last checkpoint counts.", remedy=_EVIDENCE)
        try:
            checkpoint = parse_checkpoint(verify_note(note, [self._key.verifier])[0])
        except NoteInvalid as error:
            raise VerificationError(
                f"The last checkpoint of the store {self.path} is not valid: {error.message}", remedy=_EVIDENCE
            ) from error
        if (checkpoint.origin, checkpoint.size, checkpoint.root) != (self.origin, anchored, root):
            raise VerificationError(f"The entries of the store {self.path} are not those its last checkpoint signed.", remedy=_EVIDENCE)

    def _check_meta(self) -> None:
        revision: list[tuple[str]] = self._writer.execute("SELECT version_num FROM alembic_version").fetchall()
        if revision != [(REVISION,)] or self._meta.get("format") != FORMAT:
            raise RecordError(
                f"The store {self.path} has schema {revision} and format {self._meta.get('format')}, "
                f"this software writes {REVISION} and {FORMAT}.",
                remedy="Use the software version that made it, or migrate the store.",
            )
        if self.verifier_key != self._key.verifier_key:
            raise RecordError(
                f"The key {self._key.verifier_key} is not the key of the store {self.path} ({self.verifier_key}).",
                remedy="Give the key file that belongs to this store.",
            )


def _check(draft: EntryDraft) -> None:
    """Refuse a draft that no trail may hold. Raises EntryInvalid."""
    if not isinstance(draft.kind, EventKind):
        raise EntryInvalid(f"{draft.kind!r} is not an event kind.", remedy="Use a member of EventKind.")
    if not _TYPE.match(draft.subject.type) or not draft.subject.id or not draft.actor.username:
        raise EntryInvalid(f"{draft.kind}: the subject {draft.subject} or the actor is incomplete.", remedy="Give type, id and username.")
    for row in draft.sealed:
        type_, name = COMMITMENT_FIELD[row.table]
        if draft.subject.type != type_ or draft.new.get(name) != sha256_hex(row.sealed):
            raise EntryInvalid(f"{draft.kind}: a row of {row.table} needs subject {type_} and its SHA-256 in `{name}`.")


def _write_meta(path: Path, meta: dict[str, str]) -> None:
    connection = sqlite3.connect(path)
    try:
        with connection:
            connection.executemany("INSERT INTO meta (key, value) VALUES (?, ?)", sorted(meta.items()))
            connection.execute("INSERT INTO head (id, size, digest, checkpoints) VALUES (0, 0, ?, ?)", (GENESIS, GENESIS))
    finally:
        connection.close()
