"""The entries of a trail in order: form, numbers, links, the tree over them, and the states that they lead to.

A walk may begin anywhere: what the entries before must have led to is then noted as *needed*, and `joins` holds it against the
walk that ends there. So a long trail can be checked in parts, side by side. Pure.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

import orjson

from audit.canonical import JsonObject
from audit.chain import GENESIS, MerkleTree, fold_peaks
from audit.events import EntryBody, EventKind
from audit.trail_lines import Columns, object_texts, read_flat, read_objects, shape_problem

_OLD: Final = "old is not the state that the earlier entries lead to"
INDEX_COLUMNS: Final = ("at", "kind", "actor", "subject_type", "subject_id")

BATCH: Final = 256
"""Entries taken at once: as many as a processor keeps close. A power of two, so that trees over whole batches are subtrees of the whole."""

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
"""Kinds of the entries kept: rows among which there is one are looked at one by one."""


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
        if not rows:
            return
        columns = [*zip(*rows, strict=True)]
        if {*map(type, columns[1])} != {bytes}:
            rows = [self._with_bytes(row) for row in rows]
            columns = [*zip(*rows, strict=True)]
        lines: tuple[bytes, ...] = columns[1]
        links = [hashed.hexdigest() for hashed in map(sha256, lines)]
        # What the first entry says, the others are held against: it is taken alone, however few there are.
        alone = 0 if self.size else 1
        if alone:
            self._take_one(rows[0], links[0])
        if len(rows) > alone and not self._take_flat([column[alone:] for column in columns], links[alone:]):
            for row, link in zip(rows[alone:], links[alone:], strict=True):
                self._take_one(row, link)
        self._batch([hashed.digest() for hashed in map(sha256, map(b"\x00".__add__, lines))], anchors)

    def _with_bytes(self, row: Row) -> Row:
        """A damaged file may give anything: name what is not bytes, and go on with bytes."""
        seq, line, *others = row
        if isinstance(line, bytes):
            return row
        self.find(seq, f"holds {type(line).__name__}, not bytes", column="canonical")
        return (seq, str(line).encode("utf-8", "replace"), *others)

    def _take_one(self, row: Row, link: str) -> None:
        """Look closely at one entry, name what is wrong with it, and add what it changes."""
        seq, line, digest, *indexed = row
        if seq != self.expected:
            self.find(self.expected, f"is missing; the next row is seq={seq}")
        self.expected = seq + 1
        problem = shape_problem(line)
        if problem is None:
            self._follow(seq, orjson.loads(line), indexed)
        else:
            self.find(seq, problem)
            if indexed[0] is None and seq < self.reach:
                self.find(seq, "is missing", "entry_index")
        self.last = link
        if digest != link:
            self.find(seq, "digest is not the SHA-256 of the canonical bytes")
        self.size += 1

    def _take_flat(self, columns: Sequence[tuple[Any, ...]], links: list[str]) -> bool:
        """Take rows that have nothing wrong with them but, at most, their `old`; say whether they were such. If not, nothing has changed.

        Each question is asked of all rows at once, column by column.
        """
        seqs, lines, digests, *indexed = columns
        read = read_flat(lines) if self.size and self.demonstration is not None else None
        if read is None:
            return False
        if not (
            KEPT.isdisjoint(read.kind)
            and seqs == (*range(self.expected, self.expected + len(seqs)),)
            and read.seq == (*map(str, seqs),)
            and digests == (*links,)
            and read.prev == (self.last, *links[:-1])
            and [read.at, read.kind, read.actor, read.subject_type, read.subject_id] == indexed
            and read.demonstration.count("true" if self.demonstration else "false") == len(seqs)
        ):
            return False
        self._merge(seqs, lines, read)
        if any(read.attachments):
            for seq, items in zip(seqs, read.attachments, strict=True):
                for item in items:
                    self.blobs.setdefault(item["sha256"], (item["bytes"], seq))
        self.expected, self.last = seqs[-1] + 1, links[-1]
        self.size += len(seqs)
        self.indexed += len(seqs)
        return True

    def _merge(self, seqs: Sequence[int], lines: Sequence[bytes], read: Columns) -> None:
        """Add what entries change, and name those whose `old` is not the state so far."""
        objects, later, before = self.objects, self.start > 0, list[JsonObject]()
        subjects = zip(read.subject_type, read.subject_id, strict=True)
        for seq, key, new, old in zip(seqs, subjects, read.new, read.old, strict=True):
            known = objects.get(key)
            if known is None:
                known = objects[key] = ObjectState()
            state = known.state
            known.version += 1
            known.last_seq = seq
            if state.keys() == new.keys():
                before.append(state)
                known.state = new
                continue
            if later:
                self._need(known, new, old)
            before.append({name: state.get(name) for name in new})
            state.update(new)
        # Each `old` holds one closing brace, so where the texts together are the same, each is: none of the others holds more than one.
        if object_texts(before) == ",".join(read.old):
            return
        for seq, line, expected, old in zip(seqs, lines, before, read.old, strict=True):
            if object_texts([expected]) != old:
                self.find(seq, shape_problem(line) or _OLD)

    def _need(self, known: ObjectState, new: JsonObject, old: str) -> None:
        """Take the values of fields that were there before this walk began from the first entry that says them."""
        said = (read_objects([old]) or [{}])[0]
        for name in new.keys() - known.state.keys():
            known.state[name] = known.needed.setdefault(name, said.get(name))

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
                self.find(seq, _OLD)
            return
        if old.keys() != new.keys() or any(orjson.dumps(old[name]) != orjson.dumps(state[name]) for name in new if name in state):
            self.find(seq, _OLD)
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
