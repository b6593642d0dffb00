"""Parsed trail entries, and reading fields from them without trusting their shape.

A record is rebuilt from entries that others wrote, perhaps with another version or with intent to deceive: a field that
is missing or of another type reads as None, never as an exception in the middle of a record.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from audit.canonical import JsonObject, JsonValue
from audit.chain import entry_digest, root
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
    """One entry with the digest of its line; `body` as parsed."""

    seq: int
    sha256: str
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


class TrailView:
    """The entries of one trail, from entry 0, and the objects that they make. Immutable."""

    def __init__(self, lines: Sequence[bytes]) -> None:
        self._lines = tuple(lines)
        self.entries = tuple(_parse(seq, line) for seq, line in enumerate(self._lines))

    @property
    def size(self) -> int:
        return len(self.entries)

    @property
    def origin(self) -> str | None:
        """The origin that entry 0 gives the trail."""
        return text_of(self.entries[0].new.get("origin")) if self.entries else None

    def first(self, size: int) -> TrailView:
        """Return the view of the first `size` entries."""
        return self if size >= self.size else TrailView(self._lines[:size])

    def root(self, size: int | None = None) -> str:
        """Return the base64 RFC 6962 root over the first `size` lines."""
        return base64.b64encode(root(self._lines[:size])).decode("ascii")

    def of(self, type_: str, id_: str) -> list[TrailEntry]:
        return [entry for entry in self.entries if entry.subject == (type_, id_)]

    def under(self, type_: str, parent: str) -> dict[str, list[TrailEntry]]:
        """Return the entries of each object `type/parent/…`, in order of appearance."""
        found: dict[str, list[TrailEntry]] = {}
        for entry in self.entries:
            kind, id_ = entry.subject
            if kind == type_ and id_.startswith(f"{parent}/"):
                found.setdefault(id_, []).append(entry)
        return found

    def state(self, type_: str, id_: str) -> JsonObject:
        """Return the object: the merge of all `new` of its entries."""
        return fold(self.of(type_, id_))

    def last(self, type_: str, id_: str, kind: EventKind) -> TrailEntry | None:
        return next((entry for entry in reversed(self.entries) if entry.kind == kind and entry.subject == (type_, id_)), None)

    def __iter__(self) -> Iterator[TrailEntry]:
        return iter(self.entries)


def fold(entries: Sequence[TrailEntry]) -> JsonObject:
    state: JsonObject = {}
    for entry in entries:
        state.update(entry.new)
    return state


def _parse(seq: int, line: bytes) -> TrailEntry:
    try:
        body = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise VerificationError(f"Entry {seq} of the trail is not JSON: {error}.", remedy="Take the trail from its store again.") from error
    if not isinstance(body, dict):
        raise VerificationError(f"Entry {seq} of the trail is not an object.", remedy="Take the trail from its store again.")
    return TrailEntry(seq, entry_digest(line), body)
