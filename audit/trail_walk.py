"""The entries of a trail in order: form, numbers, links, the tree over them, and the states that they lead to.

A walk may begin anywhere: what the entries before must have led to is then noted as *needed*, and `joins` holds it against the
walk that ends there. So a long trail can be checked in parts, side by side. Pure.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import orjson

from audit.canonical import JsonObject
from audit.chain import GENESIS, MerkleTree, fold_peaks
from audit.events import EntryBody, EventKind
from audit.search_index import BLOCK, terms_of
from audit.trail_lines import Columns, object_texts, read_flat, read_objects, shape_problem

_OLD: Final = "old is not the state that the earlier entries lead to"

BATCH: Final = BLOCK
"""Entries taken at once: as many as a processor keeps close, those that a row of the search index stands for. A power of two, so that
trees over whole batches are subtrees of the whole."""

Row = tuple[int, bytes]
"""seq and canonical bytes."""

Key = tuple[str, str]
"""Type and id of an object."""


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
    """One pass over consecutive entries from `start`, a multiple of BATCH. `findings` are places and what is wrong there."""

    def __init__(self, start: int = 0, reach: int = 0, index: Mapping[int, set[str]] | None = None) -> None:
        self.start = self.expected = start
        self.reach = reach
        """How many entries the search index stands for: it holds terms of these, and of none after."""
        self.index = dict(index or {})
        """The terms of each block as the search index has them, until they are compared."""
        self.terms: dict[int, set[str]] = {}
        """The terms of each block as its entries give them, until they are compared."""
        self.unread: set[int] = set()
        """Blocks with an entry that cannot be read: nobody knows its terms."""
        self.size = 0
        self.first_prev: str | None = None
        self.last = GENESIS
        self.batches: list[Batch] = []
        self.states: dict[Key, JsonObject] = {}
        """Each object as the entries lead to it: the merge of their `new`."""
        self.versions = Counter[Key]()
        """How many entries each object has."""
        self.last_seqs: dict[Key, int] = {}
        """The last entry of each object."""
        self.digests: dict[Key, str] = {}
        """The digest of the last entry of each object."""
        self.needed: dict[Key, JsonObject] = {}
        """Fields that an entry of this walk says were there before it began, with their values."""
        self.blobs: dict[str, tuple[int, int]] = {}
        self.birth: JsonObject = {}
        self.demonstration: bool | None = None
        self.indexed = 0
        self.kept: list[Kept] = []
        self.findings: list[tuple[str, str]] = []

    def find(self, seq: int, problem: str, column: str = "") -> None:
        self.findings.append((f"entries row seq={seq}" + (f" field {column}" if column else ""), problem))

    def take(self, rows: Sequence[Row], anchors: Sequence[int] = ()) -> None:
        """Check the next rows, BATCH of them but at the end; `anchors` are the tree sizes, ascending, whose roots are wanted."""
        if not rows:
            return
        seqs: tuple[int, ...]
        lines: tuple[bytes, ...]
        seqs, lines = zip(*rows, strict=True)
        if {*map(type, lines)} != {bytes}:
            lines = tuple(map(self._with_bytes, seqs, lines))
        leaves = [hashed.digest() for hashed in map(sha256, map(b"\x00".__add__, lines))]
        links = [*map(bytes.hex, leaves)]
        # What the first entry says, the others are held against: it is taken alone, however few there are.
        alone = 0 if self.size else 1
        if alone:
            self._take_one(seqs[0], lines[0], links[0])
        if len(rows) > alone and not self._take_flat(seqs[alone:], lines[alone:], links[alone:]):
            for seq, line, link in zip(seqs[alone:], lines[alone:], links[alone:], strict=True):
                self._take_one(seq, line, link)
        self._batch(leaves, anchors)
        whole = min(self.expected, self.reach) // BLOCK
        self._compare_blocks([block for block in self.terms if block < whole])

    def finish(self) -> None:
        """Compare what is left of the search index: there are no more rows."""
        self._compare_blocks(sorted(self.terms.keys() | self.index.keys()))

    def _with_bytes(self, seq: int, line: object) -> bytes:
        """A damaged file may give anything: name what is not bytes, and go on with bytes."""
        if isinstance(line, bytes):
            return line
        self.find(seq, f"holds {type(line).__name__}, not bytes", column="canonical")
        return str(line).encode("utf-8", "replace")

    def _take_one(self, seq: int, line: bytes, link: str) -> None:
        """Look closely at one entry, name what is wrong with it, and add what it changes."""
        missing = seq != self.expected
        if missing:
            self.find(self.expected, f"is missing; the next row is seq={seq}")
        self.expected = seq + 1
        problem = shape_problem(line)
        if problem is None:
            self._follow(seq, orjson.loads(line), link, missing)
        else:
            self.find(seq, problem)
            self.unread.add(seq // BLOCK)
        self.last = link
        self.size += 1

    def _take_flat(self, seqs: tuple[int, ...], lines: Sequence[bytes], links: list[str]) -> bool:
        """Take rows that have nothing wrong with them but, at most, their `old`; say whether they were such. If not, nothing has changed.

        Each question is asked of all rows at once, column by column.
        """
        if not self.size or self.demonstration is None:
            return False
        read = read_flat(lines, demonstration=self.demonstration)
        if read is None:
            return False
        if not (
            KEPT.isdisjoint(read.kind)
            and seqs == (*range(self.expected, self.expected + len(seqs)),)
            and read.seq == (*map(str, seqs),)
            and read.prev == (self.last, *links[:-1])
            and seqs[0] // BLOCK == seqs[-1] // BLOCK
        ):
            return False
        self._merge(seqs, lines, read, links)
        count = min(len(seqs), self.reach - seqs[0])
        if count > 0:
            said = terms_of(read.kind[:count], read.subject_type[:count], read.subject_id[:count], read.hour[:count])
            self.terms.setdefault(seqs[0] // BLOCK, set()).update(said)
        if any(read.attachments):
            for seq, items in zip(seqs, read.attachments, strict=True):
                for item in items:
                    self.blobs.setdefault(item["sha256"], (item["bytes"], seq))
        self.expected, self.last = seqs[-1] + 1, links[-1]
        self.size += len(seqs)
        return True

    def _compare_blocks(self, blocks: Sequence[int]) -> None:
        """Hold the search index against the entries."""
        for block in blocks:
            found, expected = self.index.pop(block, set()), self.terms.pop(block, set())
            self.indexed += len(found)
            if found == expected:
                continue
            self.findings += [(f"entry_index row {term}/{block}", "is missing") for term in sorted(expected - found)]
            if block not in self.unread:
                problem = "is a term of no entry up to the last checkpoint"
                self.findings += [(f"entry_index row {term}/{block}", problem) for term in sorted(found - expected)]

    def _merge(self, seqs: Sequence[int], lines: Sequence[bytes], read: Columns, links: Sequence[str]) -> None:
        """Add what entries change, and name those whose `old` is not the state so far."""
        subjects = [*zip(read.subject_type, read.subject_id, strict=True)]
        self.versions.update(subjects)
        self.last_seqs.update(zip(subjects, seqs, strict=True))
        self.digests.update(zip(subjects, links, strict=True))
        states, before = self.states, list[JsonObject]()
        for number, (key, new) in enumerate(zip(subjects, read.new, strict=True)):
            state = states.get(key)
            if state is not None and state.keys() == new.keys():
                before.append(state)
                states[key] = new
                continue
            if state is None:
                state = states[key] = {}
            if self.start:
                self._need(key, new, read.old[number])
            before.append({name: state.get(name) for name in new})
            state.update(new)
        # Each `old` holds one closing brace, so where the texts together are the same, each is: none of the others holds more than one.
        if object_texts(before) == ",".join(read.old):
            return
        for seq, line, expected, old in zip(seqs, lines, before, read.old, strict=True):
            if object_texts([expected]) != old:
                self.find(seq, shape_problem(line) or _OLD)

    def _need(self, key: Key, new: JsonObject, old: str) -> None:
        """Take the values of fields that were there before this walk began from the first entry that says them."""
        said = (read_objects([old]) or [{}])[0]
        state, needed = self.states[key], self.needed.setdefault(key, {})
        for name in new.keys() - state.keys():
            state[name] = needed.setdefault(name, said.get(name))

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

    def _follow(self, seq: int, body: EntryBody, link: str, missing: bool) -> None:
        """Hold an entry against the one before it, where that is not missing, and the states that lead to it; add what it changes."""
        subject, new = body["subject"], body["new"]
        if body["seq"] != seq:
            self.find(seq, f"says seq {body['seq']}")
        if self.size == 0 and self.start:
            self.first_prev = body["prev"]
        elif body["prev"] != self.last and not missing:
            if seq:
                self.find(seq - 1, f"is not the entry that entry {seq} follows: prev there is another digest")
            else:
                self.find(seq, "prev is not 64 zeros, as of the first entry")
        if body["demonstration"] is not self.demonstration:
            self._marked(seq, body)
        key = (subject["type"], subject["id"])
        self._before(seq, key, body["old"], new)
        self.versions[key] += 1
        self.last_seqs[key], self.digests[key] = seq, link
        self.states[key].update(new)
        if body["kind"] in KEPT:
            attached = {item["name"]: item["sha256"] for item in body["attachments"]}
            self.kept.append(Kept(seq, body["kind"], body["prev"], new, attached))
        for item in body["attachments"]:
            self.blobs.setdefault(item["sha256"], (item["bytes"], seq))
        if seq < self.reach:
            said = terms_of([body["kind"]], [subject["type"]], [subject["id"]], [body["at"]])
            self.terms.setdefault(seq // BLOCK, set()).update(said)

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

    def _before(self, seq: int, key: Key, old: JsonObject, new: JsonObject) -> None:
        """Hold `old` against the state so far; as bytes, because Python takes 1 and true for equal."""
        state = self.states.setdefault(key, {})
        if not self.start:
            if orjson.dumps(old) != orjson.dumps({name: state.get(name) for name in new}):
                self.find(seq, _OLD)
            return
        if old.keys() != new.keys() or any(orjson.dumps(old[name]) != orjson.dumps(state[name]) for name in new if name in state):
            self.find(seq, _OLD)
        needed = self.needed.setdefault(key, {})
        for name in new:
            if name not in state:
                needed.setdefault(name, old.get(name))

    def joins(self, later: TrailWalk) -> bool:
        """Continue with a walk that began where this one ends; say whether nothing speaks against it. If something does, use neither."""
        sound = not later.findings and (later.start, later.first_prev) == (self.start + self.size, self.last)
        sound = sound and self.size % BATCH == 0 and self.demonstration is later.demonstration
        for key, needed in later.needed.items():
            mine = self.states.get(key, {})
            sound = sound and all(orjson.dumps(mine.get(name)) == orjson.dumps(value) for name, value in needed.items())
        for key, state in later.states.items():
            self.states.setdefault(key, {}).update(state)
        self.versions.update(later.versions)
        self.last_seqs.update(later.last_seqs)
        self.digests.update(later.digests)
        for digest, named in later.blobs.items():
            self.blobs.setdefault(digest, named)
        for block, terms in later.terms.items():
            self.terms.setdefault(block, set()).update(terms)
        self.unread |= later.unread
        self.batches += later.batches
        self.kept += later.kept
        self.size, self.expected, self.last = self.size + later.size, later.expected, later.last
        self.indexed += later.indexed
        return sound
