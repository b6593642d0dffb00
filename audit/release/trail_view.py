"""Parsed trail entries, and reading fields from them without trusting their shape.

A record is rebuilt from entries that others wrote, perhaps with another version or with intent to deceive: a field that
is missing or of another type reads as None, never as an exception in the middle of a record.
"""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import orjson

from audit.canonical import JsonObject, JsonValue
from audit.chain import MerkleTree, entry_digest, leaf_hash
from audit.errors import VerificationError
from audit.events import EventKind
from audit.quantities import QuantityError, decimal_from_text


def as_object(value: JsonValue) -> JsonObject:
    return value if isinstance(value, dict) else {}


def as_list(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []


def text_of(value: JsonValue) -> str | None:
    return value if isinstance(value, str) else None


def count_of(value: JsonValue) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def number_of(value: JsonValue) -> Decimal | None:
    """Return the number of `39.6`, `"39.6"` or `"39.6 mg/g"`; None for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    if not isinstance(value, str):
        return None
    try:
        return decimal_from_text(value.partition(" ")[0])
    except QuantityError:
        return None


@dataclass(frozen=True, slots=True)
class TrailEntry:
    """One entry with its digest; `body` as parsed."""

    seq: int
    digest: str
    body: JsonObject

    @property
    def kind(self) -> str:
        return text_of(self.body.get("kind")) or ""

    @property
    def subject(self) -> tuple[str, str]:
        subject = as_object(self.body.get("subject"))
        return text_of(subject.get("type")) or "", text_of(subject.get("id")) or ""

    @property
    def new(self) -> JsonObject:
        return as_object(self.body.get("new"))

    @property
    def at(self) -> str:
        return text_of(self.body.get("at")) or ""

    @property
    def who(self) -> JsonObject:
        return {field: text_of(self.body.get(key)) for field, key in (("username", "actor"), ("name", "name"), ("role", "role"))}

    @property
    def attachments(self) -> dict[str, str]:
        """Attachment names with their SHA-256."""
        items = [as_object(item) for item in as_list(self.body.get("attachments"))]
        return {text_of(item.get("name")) or "": text_of(item.get("sha256")) or "" for item in items}


_CHUNK = 1024


class _Index:
    """Where the entries of each subject and kind are, and the tree in chunks: some forty bytes an entry, whatever the entries hold."""

    def __init__(self, lines: Iterable[tuple[int, bytes]]) -> None:
        marks, self.seqs, self.chunks = array("q"), array("L"), list[bytes]()
        leaves: list[bytes] = []
        for seq, line in lines:
            entry = _parse(seq, line)
            type_, id_ = entry.subject
            keys: list[tuple[str, ...]] = [(type_, id_), (entry.kind,)]
            at = id_.find("/")
            while at >= 0:
                keys.append((type_, id_[:at], ""))
                at = id_.find("/", at + 1)
            for key in keys:
                marks.append(hash(key))
                self.seqs.append(seq)
            leaves.append(leaf_hash(line))
            if len(leaves) == _CHUNK:
                self._chunk(leaves)
                leaves = []
        self.marks = marks.tobytes()

    def _chunk(self, leaves: list[bytes]) -> None:
        tree = MerkleTree()
        tree.extend(leaves)
        self.chunks.append(tree.root())

    def find(self, key: tuple[str, ...], size: int) -> list[int]:
        """Return the numbers below `size` that may be of the key, in order; the caller leaves out what shares its hash."""
        mark, found = hash(key).to_bytes(8, sys.byteorder, signed=True), list[int]()
        at = self.marks.find(mark)
        while at >= 0:
            if at % 8 == 0:
                seq = self.seqs[at // 8]
                if seq >= size:
                    break
                found.append(seq)
            at = self.marks.find(mark, at + 1)
        return found


class TrailView:
    """The entries of one trail, from entry 0, and the objects that they make. Immutable.

    An entry is parsed when it is asked for, so that a view of a long trail is small.
    """

    def __init__(self, lines: Sequence[bytes]) -> None:
        """Raises VerificationError for lines that are not entries."""
        self._lines = lines
        self.size = len(lines)
        self._index = _Index(enumerate(lines))

    @property
    def origin(self) -> str | None:
        """The origin that entry 0 gives the trail."""
        return text_of(self[0].new.get("origin")) if self.size else None

    def first(self, size: int) -> TrailView:
        """Return the view of the first `size` entries."""
        if size >= self.size:
            return self
        view = object.__new__(TrailView)
        view._lines, view.size, view._index = self._lines, max(size, 0), self._index
        return view

    def root(self, size: int | None = None) -> str:
        """Return the base64 RFC 6962 root over the first `size` lines."""
        wanted = self.size if size is None else min(size, self.size)
        tree, whole = MerkleTree(), wanted // _CHUNK
        for chunk in self._index.chunks[:whole]:
            tree.append_subtrees(_CHUNK, (chunk,))
        tree.extend([leaf_hash(self._lines[seq]) for seq in range(whole * _CHUNK, wanted)])
        return base64.b64encode(tree.root()).decode("ascii")

    def of(self, type_: str, id_: str) -> list[TrailEntry]:
        found = (self[seq] for seq in self._index.find((type_, id_), self.size))
        return [entry for entry in found if entry.subject == (type_, id_)]

    def of_kind(self, kind: EventKind) -> list[TrailEntry]:
        return [entry for seq in self._index.find((kind.value,), self.size) if (entry := self[seq]).kind == kind]

    def under(self, type_: str, parent: str) -> dict[str, list[TrailEntry]]:
        """Return the entries of each object `type/parent/…`, in order of appearance."""
        found: dict[str, list[TrailEntry]] = {}
        for seq in self._index.find((type_, parent, ""), self.size):
            entry = self[seq]
            kind, id_ = entry.subject
            if kind == type_ and id_.startswith(f"{parent}/"):
                found.setdefault(id_, []).append(entry)
        return found

    def state(self, type_: str, id_: str) -> JsonObject:
        """Return the object: the merge of all `new` of its entries."""
        return fold(self.of(type_, id_))

    def last(self, type_: str, id_: str, kind: EventKind) -> TrailEntry | None:
        return next((entry for entry in reversed(self.of(type_, id_)) if entry.kind == kind), None)

    def __getitem__(self, seq: int) -> TrailEntry:
        return _parse(seq, self._lines[range(self.size)[seq]])

    def __iter__(self) -> Iterator[TrailEntry]:
        return (self[seq] for seq in range(self.size))


class SelectedView(TrailView):
    """Some entries of a trail, by their numbers, with the size of the whole and the roots that were proved for some sizes. Immutable."""

    def __init__(self, lines: Mapping[int, bytes], size: int, roots: Mapping[int, bytes]) -> None:
        """Raises VerificationError for lines that are not entries. `lines` ascend by number, and hold entry 0."""
        self._chosen, self._roots, self.size = lines, roots, size
        self._index = _Index(lines.items())

    def first(self, size: int) -> SelectedView:
        if size >= self.size:
            return self
        view = object.__new__(SelectedView)
        view._chosen, view._roots, view.size, view._index = self._chosen, self._roots, max(size, 0), self._index
        return view

    def root(self, size: int | None = None) -> str:
        """Return the base64 root over the first `size` lines of the whole trail. Raises VerificationError where it was not proved."""
        wanted = self.size if size is None else min(size, self.size)
        if wanted not in self._roots:
            raise VerificationError(f"The root over the first {wanted} entries of {self.origin} is not proved here.")
        return base64.b64encode(self._roots[wanted]).decode("ascii")

    def __getitem__(self, seq: int) -> TrailEntry:
        if seq not in self._chosen or seq >= self.size:
            raise VerificationError(f"Entry {seq} is not among those selected.")
        return _parse(seq, self._chosen[seq])

    def __iter__(self) -> Iterator[TrailEntry]:
        return (self[seq] for seq in self._chosen if seq < self.size)


def view_of(trail: Sequence[bytes] | TrailView) -> TrailView:
    """Return the view of a trail given as its lines, or the view itself."""
    return trail if isinstance(trail, TrailView) else TrailView(trail)


def fold(entries: Sequence[TrailEntry]) -> JsonObject:
    state: JsonObject = {}
    for entry in entries:
        state.update(entry.new)
    return state


def _parse(seq: int, line: bytes) -> TrailEntry:
    try:
        body = orjson.loads(line)
    except ValueError as error:
        raise VerificationError(f"Entry {seq} of the trail is not JSON: {error}.", remedy="Take the trail from its store again.") from error
    if not isinstance(body, dict):
        raise VerificationError(f"Entry {seq} of the trail is not an object.", remedy="Take the trail from its store again.")
    return TrailEntry(seq, entry_digest(line), body)
