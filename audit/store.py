"""The trail store: the one writer of a trail, in SQLite.

One transaction holds the entries, the object states they lead to, their attachments and sealed rows, and the head;
either all of it is on the disk when `append` returns, or nothing is. Everything is composed first; the transaction then begins
with the head, compared with the one known here and swapped, so that a second writer is found at its first word. A commit that
fails leaves open whether it took hold: the head is read back, and says. SQLAlchemy owns the schema; the append path is driver SQL.
"""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock

from audit.canonical import JsonObject, canonical, sha256_hex
from audit.chain import GENESIS, MerkleTree, leaf_hash
from audit.checkpoint import SigningKey, VerifierKey, format_checkpoint, parse_checkpoint, verify_note
from audit.clock import Clock
from audit.errors import EntryInvalid, HeadMoved, NoteInvalid, RecordError, VerificationError
from audit.events import COMMITMENT_FIELD, ERASED_FIELD, SYSTEM, Actor, Entry, EntryDraft, EventKind, SealedRow, Subject
from audit.reader import Head, TrailReader
from audit.sqlite_file import connect_writer, new_file, record_errors, rollback
from audit.tables import FORMAT, REVISION
from audit.writer_lock import WriterLock

__all__ = ["CHECKPOINT_INTERVAL", "SYSTEM", "Actor", "Entry", "EntryDraft", "EventKind", "Head", "SealedRow", "Subject", "TrailStore"]

CHECKPOINT_INTERVAL = 256
_KNOWN_OBJECTS = 1024
_PAGE = 1024
_INSERT_ENTRY = "INSERT INTO entries (seq, canonical, digest) VALUES (?, ?, ?)"
_INSERT_INDEX = "INSERT INTO entry_index (seq, at, kind, actor, subject_type, subject_id) VALUES (?, ?, ?, ?, ?, ?)"
_PUT_OBJECT = (
    "INSERT INTO objects (type, id, version, last_seq, state) VALUES (?, ?, ?, ?, ?) ON CONFLICT (type, id) DO UPDATE SET "
    "version = excluded.version, last_seq = excluded.last_seq, state = excluded.state"
)
_INSERT_BLOB = "INSERT INTO blobs (sha256, bytes, data) SELECT ?, ?, ? WHERE NOT EXISTS (SELECT 1 FROM blobs WHERE sha256 = ?)"
_PUT_SEALED = {
    "credentials": "INSERT INTO credentials (id, sealed) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET sealed = excluded.sealed",
    "patients": "INSERT INTO patients (id, sealed) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET sealed = excluded.sealed",
}
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
    """What a transaction writes, and the head, tree and objects that it leads to."""

    size: int
    digest: str
    checkpoints: str
    tree: MerkleTree
    objects: dict[tuple[str, str], _Object] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    index: list[tuple[int, str, str, str, str, str]] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)
    sealed: list[tuple[str, str, bytes]] = field(default_factory=list)
    erased: list[str] = field(default_factory=list)
    notes: list[tuple[int, str]] = field(default_factory=list)

    @property
    def head(self) -> Head:
        return Head(self.size, self.digest, self.checkpoints)


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
        self._known: dict[tuple[str, str], _Object] = {}
        self._doubt: tuple[_Growth, tuple[EntryDraft, ...]] | None = None
        self._settled: tuple[tuple[EntryDraft, ...], list[Entry]] = ((), [])

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

        Raises EntryInvalid (a draft does not fit), HeadMoved (another writer), StoreReadOnly, RecordError. After an error nothing of
        the call is in the store, but for one case, which the error states: the disk failed so that even the head could not be read
        back. The next call finds out; given the same drafts again, it returns their entries where they had been written.
        """
        if not drafts:
            return []
        with self._lock:
            self._require_open()
            self._recall()
            if self._are_settled(drafts):
                (_, entries), self._settled = self._settled, ((), [])
                return entries
            growth = self._grow(self._tree.copy())
            for draft in drafts:
                self._compose(draft, growth)
            if growth.size // CHECKPOINT_INTERVAL > self._head.size // CHECKPOINT_INTERVAL:
                self._sign_checkpoint(growth)
            self._write(growth, drafts)
            return growth.entries

    def checkpoint(self) -> str:
        """Return a signed checkpoint (C2SP note) of the whole trail as it stands; it is stored as well.

        Raises HeadMoved, StoreReadOnly, RecordError.
        """
        with self._lock:
            self._require_open()
            self._recall()
            with record_errors(self.path):
                found = self._writer.execute("SELECT note FROM checkpoints WHERE size = ?", (self._head.size,)).fetchone()
            growth = self._grow(self._tree)
            note = str(found[0]) if found is not None else self._sign_checkpoint(growth)
            self._write(growth, ())
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

    def _grow(self, tree: MerkleTree) -> _Growth:
        return _Growth(self._head.size, self._head.digest, self._head.checkpoints, tree)

    def _write(self, growth: _Growth, drafts: tuple[EntryDraft, ...]) -> None:
        """Write in one transaction what has grown; afterwards head, tree and objects here are those on the disk."""
        rollback(self._writer)
        with record_errors(self.path):
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                self._write_head(growth)
                self._write_rows(growth)
            except BaseException:
                rollback(self._writer)
                raise
            self._doubt = growth, drafts
            try:
                self._writer.execute("COMMIT")
            except sqlite3.Error:
                rollback(self._writer)
                if not self._settle():
                    raise
                return
            if growth.erased:
                self._adopt()
                self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the log still has the row as it was
        self._adopt()

    def _settle(self) -> bool:
        """Find out whether the last commit, if it failed, took hold after all; say so. Raises RecordError where the head cannot be read."""
        if self._doubt is None:
            return False
        growth, _ = self._doubt
        rollback(self._writer)
        try:
            found = self._writer.execute("SELECT size, digest, checkpoints FROM head WHERE id = 0").fetchone()
        except sqlite3.Error as error:
            raise RecordError(
                f"The store {self.path} failed in a commit and cannot be read ({error}): entries {self._head.size} to {growth.size - 1} "
                "may or may not be in it.",
                remedy="Nothing may move on their strength. The next append finds out; if it cannot, check the disk.",
            ) from error
        if found != (growth.size, growth.digest, growth.checkpoints):
            self._doubt = None
            return False
        self._adopt()
        return True

    def _recall(self) -> None:
        """Settle what an earlier call had to leave open, and keep the entries of that call for when it is made again."""
        if self._doubt is not None:
            growth, drafts = self._doubt
            self._settled = (drafts, growth.entries) if self._settle() else ((), [])

    def _are_settled(self, drafts: tuple[EntryDraft, ...]) -> bool:
        """Say whether these very drafts are those of a commit that seemed to have failed: they must not be written twice."""
        written = self._settled[0]
        return len(written) == len(drafts) and all(one is other for one, other in zip(written, drafts, strict=True))

    def _adopt(self) -> None:
        """Take what was committed as what is known."""
        if self._doubt is None:
            return
        growth, _ = self._doubt
        self._doubt = None
        self._tree, self._head = growth.tree, growth.head
        for subject, changed in growth.objects.items():
            self._known.pop(subject, None)
            self._known[subject] = changed
        while len(self._known) > _KNOWN_OBJECTS:
            del self._known[next(iter(self._known))]

    def _compose(self, draft: EntryDraft, growth: _Growth) -> None:
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
        growth.entries.append(entry)
        growth.index.append(
            (growth.size, reading.at, draft.kind.value, draft.actor.username, draft.subject.type, draft.subject.id),
        )
        growth.blobs.update(blobs.values())
        growth.sealed += [(row.table, draft.subject.id, row.sealed) for row in draft.sealed]
        growth.erased += [draft.subject.id] if draft.erased else []
        growth.tree.append(entry.canonical)
        growth.objects[draft.subject.type, draft.subject.id] = _Object(before.version + 1, growth.size, {**before.state, **draft.new})
        growth.size, growth.digest = growth.size + 1, entry.digest

    def _present(self, subject: Subject, growth: _Growth) -> _Object:
        """Return an object as it stands. What is known here is what is on the disk, or the head there is another."""
        key = (subject.type, subject.id)
        known = growth.objects.get(key) or self._known.get(key)
        if known is not None:
            return known
        with record_errors(self.path):
            row: tuple[int, int, str] | None = self._writer.execute(
                "SELECT version, last_seq, state FROM objects WHERE type = ? AND id = ?", key
            ).fetchone()
        return _Object(0, 0, {}) if row is None else _Object(row[0], row[1], json.loads(row[2]))

    def _write_rows(self, growth: _Growth) -> None:
        execute, first = self._writer.execute, growth.size - len(growth.entries)
        for seq, entry in enumerate(growth.entries, first):
            execute(_INSERT_ENTRY, (seq, entry.canonical, entry.digest))
        for row in growth.index:
            execute(_INSERT_INDEX, row)
        for key, known in growth.objects.items():
            execute(_PUT_OBJECT, (*key, known.version, known.last_seq, canonical(known.state).decode()))
        for sha, data in growth.blobs.items():
            execute(_INSERT_BLOB, (sha, len(data), data, sha))
        for table, id_, sealed in growth.sealed:
            execute(_PUT_SEALED[table], (id_, sealed))
        for id_ in growth.erased:
            execute("PRAGMA secure_delete=ON")
            execute("DELETE FROM patients WHERE id = ?", (id_,))
        for note in growth.notes:
            execute("INSERT INTO checkpoints (size, note) VALUES (?, ?)", note)

    def _sign_checkpoint(self, growth: _Growth) -> str:
        note = self._key.sign_note(format_checkpoint(self.origin, growth.size, growth.tree.root()))
        growth.notes.append((growth.size, note))
        growth.checkpoints = checkpoint_link(growth.checkpoints, note)
        return note

    def _write_head(self, growth: _Growth) -> None:
        """Compare the head on the disk with the one known here, and swap it."""
        changed = self._writer.execute(
            "UPDATE head SET size = ?, digest = ?, checkpoints = ? WHERE id = 0 AND size = ? AND digest = ? AND checkpoints = ?",
            (growth.size, growth.digest, growth.checkpoints, self._head.size, self._head.digest, self._head.checkpoints),
        ).rowcount
        if changed != 1:
            raise HeadMoved(
                f"The store {self.path} was written by another process: its head is not entry {self._head.size - 1} as known here.",
                remedy="Stop the other writer, then open the store again.",
            )

    def _load(self) -> None:
        """Walk the entries once: links, head, and the root at the last checkpoint."""
        self._check_meta()
        row: tuple[int, str] | None = self._writer.execute("SELECT size, note FROM checkpoints ORDER BY size DESC LIMIT 1").fetchone()
        anchored, note = row if row is not None else (0, None)
        root, last = None, GENESIS
        rows = self._writer.execute("SELECT canonical FROM entries ORDER BY seq")
        while batch := rows.fetchmany(_PAGE):
            leaves = [leaf_hash(line) for (line,) in batch]
            before = anchored - self._tree.size
            if 0 < before <= len(leaves):
                self._tree.extend(leaves[:before])
                root = self._tree.root()
                leaves = leaves[before:]
            self._tree.extend(leaves)
            last = sha256_hex(batch[-1][0])
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
    if draft.erased and (draft.subject.type != "patient" or draft.new.get(ERASED_FIELD) is not True or draft.sealed):
        raise EntryInvalid(f"{draft.kind}: only a patient's row is destroyed, and the entry says so in `{ERASED_FIELD}`.")
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
