"""The trail store: the one writer of a trail, in SQLite or PostgreSQL.

One transaction holds the entries, the object states they lead to, their attachments and sealed rows; either all of it is on the disk
when `append` returns, or nothing is. Everything is composed first; the transaction then begins by asking whether the trail still ends
where it is known here to end, so that a second writer is found at its first word. Where the engine can, an entry by itself is one
statement that is all of this. A commit that fails leaves open whether it took hold: the end of the trail is read back, and says.
SQLAlchemy owns the schema; the append path is driver SQL.
"""

from __future__ import annotations

from contextlib import suppress
from threading import RLock

from audit.append_statements import CLAIM, INSERT_ENTRY, INSERT_INDEX, INSERT_STEP, PUT_OBJECT
from audit.canonical import JsonObject, parse_canonical, sha256_hex
from audit.chain import GENESIS, MerkleTree, entry_digest, leaf_hash
from audit.checkpoint import LostKey, Signer, VerifierKey, format_checkpoint, parse_checkpoint, sign_note, verify_note
from audit.clock import Clock
from audit.database import Connection, Database, Lock, record_errors
from audit.errors import EntryInvalid, HeadMoved, NoteInvalid, RecordError, VerificationError
from audit.events import SYSTEM, Actor, Entry, EntryDraft, EventKind, SealedRow, Subject
from audit.growth import Growth, Stamp, StoredObject, TailEntry, terms_of_entry
from audit.key_rotation import rotation_entry
from audit.places import Place, database_at
from audit.reader import Head, TrailReader, read_head
from audit.search_index import Terms, rows_of
from audit.store_format import FORMAT, REVISION

__all__ = ["CHECKPOINT_INTERVAL", "SYSTEM", "Actor", "Entry", "EntryDraft", "EventKind", "Head", "SealedRow", "Subject", "TrailStore"]

CHECKPOINT_INTERVAL = 256
_KNOWN_OBJECTS = 1024
_PAGE = 1024
_INSERT_BLOB = "INSERT INTO blobs (sha256, bytes, data) SELECT ?, ?, ? WHERE NOT EXISTS (SELECT 1 FROM blobs WHERE sha256 = ?)"
_PUT_SEALED = {
    "credentials": "INSERT INTO credentials (id, sealed) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET sealed = excluded.sealed",
    "patients": "INSERT INTO patients (id, sealed) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET sealed = excluded.sealed",
}
_INSERT_CHECKPOINT = "INSERT INTO checkpoints (size, note) VALUES (?, ?)"
_EVIDENCE = "Do not print and do not sign; have the store verified, keep it as evidence, restore the backup."


def checkpoint_link(previous: str, note: str) -> str:
    """Return the running digest of the checkpoints: SHA-256 hex of the previous digest and the note's digest, as text."""
    return sha256_hex(f"{previous}{sha256_hex(note.encode())}".encode())


class TrailStore(TrailReader):
    """A trail with its writer.

    Lifetime: `create` or `open`, then `close` (also as a context manager), which takes a checkpoint.
    Concurrency: one process writes; inside it any thread may append, one at a time under a lock. Reading takes
    connections of its own and does not wait for an append.
    """

    def __init__(self, database: Database, *, key: Signer, clock: Clock, software: str) -> None:
        """Use `open` or `create`. This opens the database and leaves the head unread."""
        self._writer: Connection = database.connect_writer()
        try:
            super().__init__(database)
        except BaseException:
            self._writer.close()
            raise
        self._lock = RLock()
        self._closed = False
        self._sole_writer: Lock | None = None
        self._key = key
        self._stamp = Stamp(clock, self.demonstration, software)
        self._anchored = MerkleTree()
        self._tail: list[TailEntry] = []
        self._head = Head(0, GENESIS, GENESIS)
        self._known: dict[tuple[str, str], StoredObject] = {}
        self._doubt: tuple[Growth, tuple[EntryDraft, ...]] | None = None
        self._settled: tuple[tuple[EntryDraft, ...], list[Entry]] = ((), [])
        self._wiped = True

    @classmethod
    def create(cls, place: Place, *, origin: str, key: Signer, clock: Clock, software: str, demonstration: bool) -> TrailStore:
        """Make a new store whose entry 0 states origin, verifier key and whether it is a demonstration.

        Raises StoreExists, StoreMissing (no such folder or database), StoreReadOnly, NoteInvalid (origin of several lines).
        """
        meta = {
            "demonstration": "true" if demonstration else "false",
            "format": FORMAT,
            "origin": origin,
            "verifier_key": key.verifier.text,
        }
        format_checkpoint(origin, 0, MerkleTree().root())
        new: JsonObject = {**meta, "demonstration": demonstration}
        making = database_at(place).create(meta, GENESIS)
        with making as draft, cls(draft, key=key, clock=clock, software=software) as store:
            store.append(EntryDraft(EventKind.SITE_STORE_CREATED, Subject("store", origin), new, SYSTEM, origin))
        return cls.open(place, key=key, clock=clock, software=software)

    @classmethod
    def open(cls, place: Place, *, key: Signer, clock: Clock, software: str) -> TrailStore:
        """Open an existing store for writing, and check its entries against its last checkpoint, and its end against the last object.

        `place` is the path of a file (SQLite) or the URL of a schema (PostgreSQL). Raises StoreMissing, StoreReadOnly,
        StoreBusy (another process writes it), RecordError (other schema, other key, a server that does not keep what it commits),
        VerificationError (the entries are not those of the last checkpoint).
        """
        database = database_at(place)
        store = cls(database, key=key, clock=clock, software=software)
        try:
            store._sole_writer = database.take_lock(store._writer)
            with record_errors(database):
                store._load()
            # whether an earlier process had come to wipe what it erased is not known
            store._wiped = not store.search(kind=EventKind.PATIENT_IDENTITY_ERASED.value, limit=1)
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
    def is_wiped(self) -> bool:
        """Whether nothing is left of the rows that were erased; else somebody read meanwhile, and each later write tries again."""
        return self._wiped

    @property
    def clock(self) -> Clock:
        return self._stamp.clock

    @property
    def software(self) -> str:
        return self._stamp.software

    def append(self, *drafts: EntryDraft) -> list[Entry]:
        """Write the drafts as the next entries, with all they change, in one transaction; return them.

        Raises EntryInvalid (a draft does not fit), HeadMoved (another writer), StoreReadOnly, RecordError. After an error nothing of
        the call is in the store, but for one case, which the error states: the disk failed so that even the end of the trail could not
        be read back. The next call finds out; given the same drafts again, it returns their entries where they had been written.
        """
        if not drafts:
            return []
        with self._lock:
            self._require_open()
            self._recall()
            if self._are_settled(drafts):
                (_, entries), self._settled = self._settled, ((), [])
                return entries
            growth = self._grow()
            for draft in drafts:
                growth.add(draft, self._present, self._stamp)
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
            with record_errors(self.database):
                found = self._writer.execute("SELECT note FROM checkpoints WHERE size = ?", (self._head.size,)).fetchone()
            growth = self._grow()
            note = str(found[0]) if found is not None else self._sign_checkpoint(growth)
            self._write(growth, ())
            return note

    def rotate_key(self, key: Signer, *, actor: Actor, device: str, reason: str) -> Entry:
        """Have `key` sign this trail from now on; return the entry that says so, which the old and the new key signed.

        A checkpoint by the old key over all before it, then in one transaction the entry and a checkpoint by the new key. Raises
        EntryInvalid (no reason, another name, the same key), HeadMoved, StoreReadOnly, RecordError: then the old key is still in use.
        """
        self.checkpoint()
        return self._rotate(key, self._key, actor, device, reason)

    @classmethod
    def replace_lost_key(
        cls, place: Place, *, key: Signer, clock: Clock, software: str, actor: Actor, device: str, reason: str
    ) -> TrailStore:
        """Open a store whose key is lost, and have `key` sign it from now on. The rotation is not continuous: `verify` says so,
        and believes the new key only when it comes from outside. Raises what `open` and `rotate_key` raise.
        """
        with TrailReader(place) as reader:
            lost = VerifierKey.parse(reader.verifier_key)
        store = cls.open(place, key=LostKey(lost), clock=clock, software=software)
        try:
            store._rotate(key, None, actor, device, reason)
        except BaseException:
            store._abandon()
            raise
        return store

    def _rotate(self, incoming: Signer, outgoing: Signer | None, actor: Actor, device: str, reason: str) -> Entry:
        with self._lock:
            self._require_open()
            self._recall()
            growth, old = self._grow(), self._key.verifier
            draft = rotation_entry(
                self.origin, growth.size, growth.digest,
                old=old, outgoing=outgoing, incoming=incoming, actor=actor, device=device, reason=reason,
            )  # fmt: skip
            growth.add(draft, self._present, self._stamp)
            growth.key = incoming
            self._sign_checkpoint(growth)
            self._write(growth, (draft,))
            return growth.entries[0]

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
            raise RecordError(f"The store {self.database} is closed.", remedy="Open it again.")

    def _grow(self) -> Growth:
        return Growth(self._head.size, self._head.digest, self._head.checkpoints)

    def _write(self, growth: Growth, drafts: tuple[EntryDraft, ...]) -> None:
        """Write in one transaction what has grown; afterwards head, tail and objects here are those on the disk."""
        database, writer = self.database, self._writer
        database.rollback(writer)
        try:
            step = growth.step() if database.takes_steps else None
            if step is None:
                self._begin(growth)
            self._doubt = growth, drafts
            self._wiped = self._wiped and not growth.erased
            try:
                if step is None:
                    writer.execute("COMMIT")
                else:
                    writer.execute(INSERT_STEP, step)
            except database.errors:
                if not self._settle():
                    raise
                return
        except database.errors as error:
            raise database.record_error(error) from error
        self._adopt()
        if not self._wiped:
            with suppress(*database.errors):  # the entries are committed; what is left of a row is tried again with the next ones
                self._wiped = database.wipe(writer)

    def _begin(self, growth: Growth) -> None:
        """Begin a transaction and write in it what has grown; after an error none is open."""
        try:
            self._writer.execute(self.database.begin)
            self._claim(growth)
            self._write_rows(growth)
        except BaseException as error:
            self.database.rollback(self._writer)
            if isinstance(error, self.database.errors):
                self._require_unmoved(error)
            raise

    def _require_unmoved(self, error: BaseException) -> None:
        """After a failed statement, raise HeadMoved where another wrote: the engine says only that a number is taken."""
        with suppress(*self.database.errors):
            if read_head(self._writer) != self._head:
                raise self._head_moved() from error

    def _settle(self) -> bool:
        """Find out whether the last commit, if it failed, took hold after all; say so.

        Raises HeadMoved where another wrote, RecordError where the head cannot be read.
        """
        if self._doubt is None:
            return False
        growth, _ = self._doubt
        try:
            self._revive()
            with record_errors(self.database):
                self.database.rollback(self._writer)
                found = read_head(self._writer)
        except RecordError as error:
            raise RecordError(
                f"The store {self.database} failed in a commit and cannot be read ({error}): entries {self._head.size} to "
                f"{growth.size - 1} may or may not be in it.",
                remedy="Nothing may move on their strength. The next append finds out; if it cannot, check the disk or the server.",
            ) from error
        if found != growth.head:
            self._doubt = None
            if found != self._head:
                raise self._head_moved()
            return False
        self._adopt()
        return True

    def _revive(self) -> None:
        """Take a new connection for one that was lost, with the lock that went with it: the old session can commit nothing any more."""
        if not self.database.is_lost(self._writer):
            return
        self._writer.close()
        self._writer = self.database.connect_writer()
        if self._sole_writer is not None:
            self._sole_writer.release()
            self._sole_writer = self.database.take_lock(self._writer)

    def _recall(self) -> None:
        """Settle what an earlier call had to leave open, and keep the entries of that call for when it is made again."""
        if self._doubt is not None:
            growth, drafts = self._doubt
            self._settled = (drafts, growth.entries) if self._settle() else ((), [])
        self._revive()

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
        self._head, self._key = growth.head, growth.key or self._key
        if growth.checkpoint is not None:
            self._anchored, self._tail = growth.checkpoint[0], []
        else:
            self._tail += growth.tail
        known = self._known
        for subject, changed in growth.objects.items():
            known.pop(subject, None)
            known[subject] = changed
        while len(known) > _KNOWN_OBJECTS:
            del known[next(iter(known))]

    def _present(self, key: tuple[str, str]) -> StoredObject:
        """Return an object as it stands. What is known here is what is on the disk, or the head there is another."""
        known = self._known.get(key)
        if known is not None:
            return known
        with record_errors(self.database):
            row: tuple[int, int, str, str] | None = self._writer.execute(
                "SELECT version, last_seq, digest, state FROM objects WHERE type = ? AND id = ?", key
            ).fetchone()
        if row is None:
            return StoredObject(0, 0, GENESIS, {})
        version, last_seq, digest, text = row
        try:
            state = parse_canonical(text.encode())
        except EntryInvalid as error:
            place, problem = f"The state of {key[0]}/{key[1]} in the store {self.database}", error.message.removesuffix(".")
            raise VerificationError(f"{place} cannot be what entries led to: {problem}.", remedy=_EVIDENCE) from error
        if not isinstance(state, dict):
            raise VerificationError(f"The state of {key[0]}/{key[1]} in the store {self.database} is no object.", remedy=_EVIDENCE)
        return StoredObject(version, last_seq, digest, state)

    def _write_rows(self, growth: Growth) -> None:
        execute, first = self._writer.execute, growth.size - len(growth.entries)
        for seq, entry in enumerate(growth.entries, first):
            execute(INSERT_ENTRY, (seq, entry.canonical))
        for key, known in growth.objects.items():
            execute(PUT_OBJECT, (*key, known.version, known.last_seq, known.digest, known.text))
        for sha, data in growth.blobs.items():
            execute(_INSERT_BLOB, (sha, len(data), data, sha))
        for table, id_, sealed in growth.sealed:
            execute(_PUT_SEALED[table], (id_, sealed))
        for id_ in growth.erased:
            self.database.delete_patient(self._writer, id_)
        if growth.checkpoint is not None:
            execute(_INSERT_CHECKPOINT, (growth.size, growth.checkpoint[1]))
            self._writer.executemany(INSERT_INDEX, rows_of(terms for _, terms in (*self._tail, *growth.tail)))

    def _sign_checkpoint(self, growth: Growth) -> str:
        tree = self._anchored.copy()
        tree.extend([bytes.fromhex(digest) for digest, _ in (*self._tail, *growth.tail)])
        note = sign_note(growth.key or self._key, format_checkpoint(self.origin, growth.size, tree.root()))
        growth.checkpoint = tree, note
        growth.checkpoints = checkpoint_link(growth.checkpoints, note)
        return note

    def _claim(self, growth: Growth) -> None:
        """Hold the end of the trail on the disk against the one known here, and keep every other writer out until the transaction ends."""
        if self._writer.execute(CLAIM, (growth.checkpoints, self._head.checkpoints, self._head.size)).rowcount != 1:
            raise self._head_moved()

    def _head_moved(self) -> HeadMoved:
        return HeadMoved(
            f"The store {self.database} was written by another process: its last entry is not entry {self._head.size - 1} as known here.",
            remedy="Stop the other writer, then open the store again.",
        )

    def _load(self) -> None:
        """Walk the entries once: links, head, the root at the last checkpoint, and the tail after it."""
        self._check_meta()
        row: tuple[int, str] | None = self._writer.execute("SELECT size, note FROM checkpoints ORDER BY size DESC LIMIT 1").fetchone()
        anchored, note = row if row is not None else (0, None)
        last, following, line = GENESIS, 0, b""
        while rows := self._writer.execute(
            "SELECT seq, canonical FROM entries WHERE seq >= ? ORDER BY seq LIMIT ?", (following, _PAGE)
        ).fetchall():
            before = max(0, anchored - self._anchored.size)
            self._anchored.extend([leaf_hash(line) for _, line in rows[:before]])
            for seq, line in rows[before:] if row is not None else ():
                self._tail.append((entry_digest(line), self._terms(seq, line)))
            last, following = entry_digest(rows[-1][1]), rows[-1][0] + 1
            line = rows[-1][1]
        self._head = super().head
        if (self._head.size, self._head.digest) != (self._anchored.size + len(self._tail), last) or not self._is_named(line):
            raise VerificationError(f"The last entry of the store {self.database} is not the one that its object names.", remedy=_EVIDENCE)
        if note is None or self._anchored.size != anchored:
            raise VerificationError(f"The store {self.database} lacks entries that its last checkpoint counts.", remedy=_EVIDENCE)
        try:
            checkpoint = parse_checkpoint(verify_note(note, [self._key.verifier])[0])
        except NoteInvalid as error:
            raise VerificationError(
                f"The last checkpoint of the store {self.database} is not valid: {error.message}", remedy=_EVIDENCE
            ) from error
        if (checkpoint.origin, checkpoint.size, checkpoint.root) != (self.origin, anchored, self._anchored.root()):
            raise VerificationError(f"The entries of the store {self.database} are not those its last checkpoint signed.", remedy=_EVIDENCE)

    def _is_named(self, line: bytes) -> bool:
        """Say whether the object of the last entry names this one: nothing else speaks for an entry that no checkpoint counts."""
        if not line:
            return True
        _, _, type_, id_, _ = self._terms(self._head.size - 1, line)
        row = self._writer.execute("SELECT digest FROM objects WHERE type = ? AND id = ?", (type_, id_)).fetchone()
        return row is not None and row[0] == self._head.digest

    def _terms(self, seq: int, line: bytes) -> Terms:
        try:
            return terms_of_entry(Entry(line))
        except (ValueError, TypeError, KeyError) as error:
            raise VerificationError(f"Entry {seq} of the store {self.database} is not of an entry's form.", remedy=_EVIDENCE) from error

    def _check_meta(self) -> None:
        revision: list[tuple[str]] = self._writer.execute("SELECT version_num FROM alembic_version").fetchall()
        if revision != [(REVISION,)] or self._meta.get("format") != FORMAT:
            raise RecordError(
                f"The store {self.database} has schema {revision} and format {self._meta.get('format')}, "
                f"this software writes {REVISION} and {FORMAT}.",
                remedy="Use the software version that made it.",
            )
        if self.verifier_key != self._key.verifier.text:
            raise RecordError(
                f"The key {self._key.verifier.text} is not the key of the store {self.database} ({self.verifier_key}).",
                remedy="Give the key file that belongs to this store.",
            )
