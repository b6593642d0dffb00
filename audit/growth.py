"""What one transaction adds to a trail: entries from drafts, the object states, attachments and sealed rows that belong to them.

Nothing here touches a database. The *tail* are the entries after the last checkpoint: they are in the trail, durable and linked, but
no signature counts them yet and the search index does not hold them. The next checkpoint brings both up to date in one transaction.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from audit.canonical import JsonObject, canonical_of_plain, sha256_hex
from audit.chain import MerkleTree
from audit.checkpoint import Signer
from audit.clock import Clock
from audit.database import Value
from audit.errors import EntryInvalid
from audit.events import COMMITMENT_FIELD, ERASED_FIELD, Entry, EntryDraft, EventKind
from audit.reader import Head
from audit.search_index import Terms

_TYPE = re.compile(r"[a-z][a-z_]*\Z")


class StoredObject(NamedTuple):
    """The state of an object: how many entries made it, number and digest of the last of them, and the merge of their `new`."""

    version: int
    last_seq: int
    digest: str
    state: JsonObject

    @property
    def text(self) -> str:
        """The state as it is stored: what entries said, so that it is plain."""
        return canonical_of_plain(self.state).decode()


TailEntry: TypeAlias = tuple[str, Terms]
"""An entry after the last checkpoint: its digest, and what the search index will find it by."""


@dataclass(slots=True)
class Growth:
    """What a transaction writes, and the head that it leads to; `checkpoint` where it signs the trail."""

    size: int
    digest: str
    checkpoints: str
    objects: dict[tuple[str, str], StoredObject] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    tail: list[TailEntry] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)
    sealed: list[tuple[str, str, bytes]] = field(default_factory=list)
    erased: list[str] = field(default_factory=list)
    """Patients whose sealed row is destroyed."""
    checkpoint: tuple[MerkleTree, str] | None = None
    """The tree over all entries and the note that signs it."""
    key: Signer | None = None
    """The key that signs from this transaction on, where it is another."""

    @property
    def head(self) -> Head:
        return Head(self.size, self.digest, self.checkpoints)

    def step(self) -> tuple[Value, ...] | None:
        """Return the values of `INSERT_STEP` where the transaction is one entry that brings nothing else with it."""
        if len(self.entries) != 1 or self.blobs or self.sealed or self.erased or self.checkpoint is not None:
            return None
        ((key, changed),) = self.objects.items()
        return changed.last_seq, self.entries[0].canonical, *key, changed.version, changed.digest, changed.text

    def add(self, draft: EntryDraft, present: Callable[[tuple[str, str]], StoredObject], stamp: Stamp) -> None:
        """Make the next entry of a draft. `present` gives an object as it stands before this transaction. Raises EntryInvalid."""
        check_draft(draft)
        subject = draft.subject
        key = (subject.type, subject.id)
        before = self.objects.get(key) or present(key)
        state, new, seq = before.state, dict(draft.new), self.size
        body = stamp.body(draft, seq, self.digest)
        attachments: list[JsonObject] = []
        for name in sorted(draft.attachments):
            data = draft.attachments[name]
            sha = sha256_hex(data)
            self.blobs[sha] = data
            attachments.append({"name": name, "sha256": sha, "bytes": len(data)})
        body["old"] = {name: state.get(name) for name in new}
        body["new"] = new
        body["attachments"] = attachments
        actor = draft.actor
        said = [actor.username, actor.name, actor.role, draft.device, draft.reason]
        entry = Entry(canonical_of_plain(body, new, body["unit"], said))
        self.entries.append(entry)
        self.tail.append((entry.digest, (seq, str(draft.kind), *key, str(body["at"]))))
        for row in draft.sealed:
            self.sealed.append((row.table, subject.id, row.sealed))
        if draft.erased:
            self.erased.append(subject.id)
        self.objects[key] = StoredObject(before.version + 1, seq, entry.digest, {**state, **new})
        self.size, self.digest = seq + 1, entry.digest


@dataclass(frozen=True, slots=True)
class Stamp:
    """What every entry of a store says of the store and of the moment."""

    clock: Clock
    demonstration: bool
    software: str

    def body(self, draft: EntryDraft, seq: int, prev: str) -> JsonObject:
        """Return the members of an entry, but for what changes and what is attached."""
        reading = self.clock.utc()
        return {
            "seq": seq,
            "prev": prev,
            "at": reading.at,
            "zone": reading.zone,
            "clock": {"sync": reading.sync, "process_us": self.clock.now(), "rate": str(self.clock.rate)},
            "actor": draft.actor.username,
            "name": draft.actor.name,
            "role": draft.actor.role,
            "device": draft.device,
            "kind": str(draft.kind),
            "subject": {"type": draft.subject.type, "id": draft.subject.id},
            "unit": dict(draft.unit),
            "reason": draft.reason,
            "demonstration": self.demonstration,
            "software": self.software,
        }


def terms_of_entry(entry: Entry) -> Terms:
    """Return what an entry is found by."""
    body = entry.body
    return body["seq"], body["kind"], body["subject"]["type"], body["subject"]["id"], body["at"]


def check_draft(draft: EntryDraft) -> None:
    """Refuse a draft that no trail may hold. Raises EntryInvalid."""
    subject, username = draft.subject, draft.actor.username
    if not isinstance(draft.kind, EventKind):
        raise EntryInvalid(f"{draft.kind!r} is not an event kind.", remedy="Use a member of EventKind.")
    if not _TYPE.match(subject.type) or not subject.id or not username:
        raise EntryInvalid(f"{draft.kind}: the subject {subject} or the actor is incomplete.", remedy="Give type, id and username.")
    if "\0" in subject.id or "\0" in username:
        raise EntryInvalid(f"{draft.kind}: the subject {subject} or the actor holds the character NUL.", remedy="Leave it out.")
    if draft.erased and (subject.type != "patient" or draft.new.get(ERASED_FIELD) is not True or draft.sealed):
        raise EntryInvalid(f"{draft.kind}: only a patient's row is destroyed, and the entry says so in `{ERASED_FIELD}`.")
    for row in draft.sealed:
        type_, name = COMMITMENT_FIELD[row.table]
        if subject.type != type_ or draft.new.get(name) != sha256_hex(row.sealed):
            raise EntryInvalid(f"{draft.kind}: a row of {row.table} needs subject {type_} and its SHA-256 in `{name}`.")
