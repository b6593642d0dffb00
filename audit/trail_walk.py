"""The entries of a trail in order: form, numbers, links, the tree over them, and the states that they lead to.

A walk may begin anywhere: what the entries before must have led to is then noted as *needed*, and `joins` holds it against the
walk that ends there. So a long trail can be checked in parts, side by side. Pure.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

import orjson

from audit.canonical import JsonObject, JsonValue, parse_canonical
from audit.chain import GENESIS, MerkleTree, fold_peaks
from audit.errors import EntryInvalid
from audit.events import EntryBody, EventKind

INDEX_COLUMNS: Final = ("at", "kind", "actor", "subject_type", "subject_id")
_MEMBERS: Final = tuple(sorted(EntryBody.__required_keys__))
_SUBJECT: Final = ("id", "type")
_SIMPLE: Final = frozenset({str, int, bool, type(None)})
_STRICT: Final = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER


def _types(reason: type) -> tuple[type, ...]:
    known: dict[str, type] = {
        "attachments": list, "clock": dict, "demonstration": bool, "new": dict, "old": dict, "reason": reason, "seq": int,
        "subject": dict, "unit": dict,
    }  # fmt: skip
    return tuple(known.get(name, str) for name in _MEMBERS)


_TYPES: Final = frozenset({_types(str), _types(type(None))})

BATCH: Final = 4096
"""Entries taken at once. A power of two, so that the trees over whole batches are subtrees of the tree over all."""

Row = tuple[int, bytes, str, str | None, str | None, str | None, str | None, str | None]
"""seq, canonical bytes, stored digest, and at, kind, actor, subject type and id as the search index has them (None where it has no row)."""


@dataclass(slots=True)
class ObjectState:
    """An object as the entries lead to it: how many there were, the last of them, and the merge of their `new`."""

    version: int = 0
    last_seq: int = 0
    state: JsonObject = field(default_factory=dict)
    needed: JsonObject = field(default_factory=dict)
    """Fields that an entry of this walk says were there before it began, with their values."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows taken at once: how many, the peaks of the tree over them, and those up to each size that was asked for."""

    count: int
    peaks: tuple[bytes, ...]
    wanted: tuple[tuple[int, tuple[bytes, ...]], ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """An entry that says who vouches for a trail: a rotation, a proof from outside, a cell's key. `attached`: SHA-256 by name."""

    seq: int
    kind: str
    prev: str
    new: JsonObject
    attached: dict[str, str]


KEPT: Final = frozenset(
    {
        EventKind.TRAIL_KEY_ROTATED,
        EventKind.TRAIL_CHECKPOINT_COSIGNED,
        EventKind.TRAIL_CHECKPOINT_TIMESTAMPED,
        EventKind.CELL_RECORD_ENROLLED,
        EventKind.CELL_KEY_ACCEPTED,
    }
)
"""Kinds of the entries kept. They are never *usual*: a rotation holds a signed note, which is not ASCII, a proof has attachments,
an enrolment is the first of its object, an acceptance holds a signature, which is an object."""


class TrailWalk:
    """One pass over consecutive entries from `start`, a multiple of BATCH. `findings` are (table, seq, field, problem)."""

    def __init__(self, start: int = 0, reach: int = 0) -> None:
        self.start = self.expected = start
        self.reach = reach
        """How many entries the search index must hold: it may lack those after."""
        self.size = 0
        self.first_prev: str | None = None
        self.last = GENESIS
        self.batches: list[Batch] = []
        self.objects: dict[tuple[str, str], ObjectState] = {}
        self.blobs: dict[str, tuple[int, int]] = {}
        self.birth: JsonObject = {}
        self.demonstration: bool | None = None
        self.indexed = 0
        self.kept: list[Kept] = []
        self.findings: list[tuple[str, int, str, str]] = []

    def find(self, seq: int, problem: str, table: str = "entries", column: str = "") -> None:
        self.findings.append((table, seq, column, problem))

    def take(self, rows: Sequence[Row], anchors: Sequence[int] = ()) -> None:
        """Check the next rows, BATCH of them but at the end; `anchors` are the tree sizes, ascending, whose roots are wanted."""
        leaves: list[bytes] = []
        loads, usual, hashed, prefix = orjson.loads, self._usual, sha256, b"\x00"
        for row in rows:
            seq, line, digest = row[:3]
            if seq != self.expected:
                self.find(self.expected, f"is missing; the next row is seq={seq}")
            self.expected = seq + 1
            try:
                body = loads(line)
                taken = usual(row, body, *body.values())
            except (ValueError, TypeError, AttributeError):
                taken = False  # of an unusual form, if not a wrong one
            if not taken:
                self._unusual(seq, line, row[3:])
            self.last = hashed(line).hexdigest()
            if digest != self.last:
                self.find(seq, "digest is not the SHA-256 of the canonical bytes")
            leaves.append(hashed(prefix + line).digest())
            self.size += 1
        self._batch(leaves, anchors)

    def _batch(self, leaves: list[bytes], anchors: Sequence[int]) -> None:
        tree, done, wanted = MerkleTree(), 0, []
        before = self.start + self.size - len(leaves)
        for anchor in anchors[bisect_right(anchors, before) : bisect_right(anchors, before + len(leaves))]:
            tree.extend(leaves[done : anchor - before])
            done = anchor - before
            wanted.append((anchor, tree.peaks))
        tree.extend(leaves[done:])
        self.batches.append(Batch(len(leaves), tree.peaks, tuple(wanted)))

    def roots(self) -> dict[int, bytes]:
        """Return the root at each size that was asked for (a walk from entry 0)."""
        tree, found = MerkleTree(), dict[int, bytes]()
        for batch in self.batches:
            found |= {anchor: fold_peaks((*tree.peaks, *peaks)) for anchor, peaks in batch.wanted}
            tree.append_subtrees(batch.count, batch.peaks)
        return found

    def _usual(
        self, row: Row, body: EntryBody, actor: str, at: str, attachments: list[JsonValue], clock: JsonObject, demonstration: bool,
        device: str, kind: str, name: str, new: JsonObject, old: JsonObject, prev: str, reason: str | None, role: str, number: int,
        software: str, subject: JsonObject, unit: JsonObject, zone: str,
    ) -> bool:  # fmt: skip
        """Take an entry in which nothing is unusual, and nothing wrong; say whether it was. Anything else changes nothing here.

        That the line is what its own reading gives again proves the order and form of all members; equality with text proves text.
        """
        seq, line, _, i_at, i_kind, i_actor, i_type, i_id = row
        if not (
            prev == self.last
            and number == seq
            and demonstration is self.demonstration
            and not unit
            and not attachments
            and (at, kind, actor, subject["type"], subject["id"]) == (i_at, i_kind, i_actor, i_type, i_id)
            and type(device) is type(name) is type(role) is type(software) is type(zone) is str
            and (reason is None or type(reason) is str)
            and type(number) is int
            and tuple(body) == _MEMBERS
            and len(subject) == 2
            and _SIMPLE.issuperset(map(type, new.values()))
            and _SIMPLE.issuperset(map(type, clock.values()))
            and line.isascii()
            and orjson.dumps(body, option=_STRICT) == line
        ):
            return False
        known = self.objects.get((body["subject"]["type"], body["subject"]["id"]))
        if known is None:
            return False
        state = known.state
        if (self.start and not state.keys() >= new.keys()) or orjson.dumps(old) != orjson.dumps({key: state.get(key) for key in new}):
            return False
        known.version += 1
        known.last_seq = seq
        state.update(new)
        self.indexed += 1
        return True

    def _unusual(self, seq: int, line: bytes, indexed: Sequence[str | None]) -> None:
        """Look closely at an entry, name what is wrong with it, and add what it changes."""
        problem = shape_problem(line)
        if problem is None:
            self._follow(seq, orjson.loads(line), indexed)
            return
        self.find(seq, problem)
        if indexed[0] is None and seq < self.reach:
            self.find(seq, "is missing", "entry_index")

    def _follow(self, seq: int, body: EntryBody, indexed: Sequence[str | None]) -> None:
        """Hold an entry against the one before it, the states that lead to it and its row in the search index; add what it changes."""
        subject, new = body["subject"], body["new"]
        if body["seq"] != seq:
            self.find(seq, f"says seq {body['seq']}")
        if self.size == 0 and self.start:
            self.first_prev = body["prev"]
        elif body["prev"] != self.last:
            self.find(seq, "prev is not the digest of the entry before it")
        if body["demonstration"] is not self.demonstration:
            self._marked(seq, body)
        known = self.objects.get((subject["type"], subject["id"]))
        if known is None:
            known = self.objects[subject["type"], subject["id"]] = ObjectState()
        self._before(seq, known, body["old"], new)
        known.version += 1
        known.last_seq = seq
        known.state.update(new)
        if body["kind"] in KEPT:
            attached = {item["name"]: item["sha256"] for item in body["attachments"]}
            self.kept.append(Kept(seq, body["kind"], body["prev"], new, attached))
        for item in body["attachments"]:
            self.blobs.setdefault(item["sha256"], (item["bytes"], seq))
        want = (body["at"], body["kind"], body["actor"], subject["type"], subject["id"])
        if tuple(indexed) != want:
            self._index(seq, indexed, want)
        else:
            self.indexed += 1

    def _marked(self, seq: int, body: EntryBody) -> None:
        """Take what the first entry says the trail is; any later one must say the same."""
        if self.demonstration is not None:
            self.find(seq, "demonstration differs from entry 0")
            return
        self.demonstration = body["demonstration"]
        if seq == 0:
            self.birth = body["new"]
            if body["kind"] != EventKind.SITE_STORE_CREATED:
                self.find(seq, f"is {body['kind']}, not {EventKind.SITE_STORE_CREATED}")
            if self.birth.get("demonstration") is not self.demonstration:
                self.find(seq, "demonstration differs from what it states of the store")

    def _before(self, seq: int, known: ObjectState, old: JsonObject, new: JsonObject) -> None:
        """Hold `old` against the state so far; as bytes, because Python takes 1 and true for equal."""
        state = known.state
        if not self.start:
            if orjson.dumps(old) != orjson.dumps({name: state.get(name) for name in new}):
                self.find(seq, "old is not the state that the earlier entries lead to")
            return
        if old.keys() != new.keys() or any(orjson.dumps(old[name]) != orjson.dumps(state[name]) for name in new if name in state):
            self.find(seq, "old is not the state that the earlier entries lead to")
        for name in new:
            if name not in state:
                known.needed.setdefault(name, old.get(name))

    def _index(self, seq: int, indexed: Sequence[str | None], want: Sequence[str]) -> None:
        if all(column is None for column in indexed):
            if seq < self.reach:
                self.find(seq, "is missing", "entry_index")
            return
        self.indexed += 1
        for column, have, expected in zip(INDEX_COLUMNS, indexed, want, strict=True):
            if have != expected:
                self.find(seq, "differs from the trail", "entry_index", column)

    def joins(self, later: TrailWalk) -> bool:
        """Continue with a walk that began where this one ends; say whether nothing speaks against it. If something does, use neither."""
        sound = not later.findings and (later.start, later.first_prev) == (self.start + self.size, self.last)
        sound = sound and self.size % BATCH == 0 and self.demonstration is later.demonstration
        for key, known in later.objects.items():
            mine = self.objects.setdefault(key, ObjectState())
            sound = sound and all(orjson.dumps(mine.state.get(name)) == orjson.dumps(value) for name, value in known.needed.items())
            mine.version, mine.last_seq = mine.version + known.version, known.last_seq
            mine.state.update(known.state)
        for digest, named in later.blobs.items():
            self.blobs.setdefault(digest, named)
        self.batches += later.batches
        self.kept += later.kept
        self.size, self.expected, self.last = self.size + later.size, later.expected, later.last
        self.indexed += later.indexed
        return sound


def shape_problem(line: bytes) -> str | None:
    """Return what is wrong with the form of an entry, or None."""
    try:
        body = parse_canonical(line)
    except EntryInvalid as error:
        return error.message
    if not isinstance(body, dict) or tuple(body) != _MEMBERS:
        return "does not have exactly the members of an entry"
    subject, attachments = body["subject"], body["attachments"]
    if tuple(map(type, body.values())) not in _TYPES or not isinstance(subject, dict) or not isinstance(attachments, list):
        return "has a member of the wrong type"
    if tuple(subject) != _SUBJECT or not all(isinstance(text, str) for text in subject.values()):
        return "has a member of the wrong type"
    return None if all(_is_attachment(item) for item in attachments) else "has attachments of the wrong form"


def _is_attachment(item: JsonValue) -> bool:
    if not isinstance(item, dict) or tuple(item) != ("bytes", "name", "sha256"):
        return False
    return isinstance(item["name"], str) and isinstance(item["sha256"], str) and type(item["bytes"]) is int
