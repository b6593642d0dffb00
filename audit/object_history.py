"""What changed in a record: the history of one object, field by field with old and new, and whether its signatures still stand.

Each row says who (name, user name, role), when (UTC and the zone of the site), why, and each single value that changed, with its unit.
A signature stands under the content that it was given for; from the entry on that changed this content, it is shown as not signed. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from audit.canonical import JsonObject, JsonValue
from audit.errors import VerificationError
from audit.events import Entry, Subject
from audit.signatures import verify_signature
from audit.signed_content import signed_digest
from audit.trail_search import leaves

_SIGNATURE = frozenset({"signer", "name", "role", "meaning", "at", "zone", "digest", "key", "value"})
_ABSENT = "no such value"
"""Stands for what is not there, where null would be a value."""


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One value that changed: `old` or `new` is None where it was not there, or is no more. `unit` is empty for what has none."""

    path: str
    old: JsonValue
    new: JsonValue
    unit: str

    def as_record(self) -> JsonObject:
        return {"field": self.path, "old": self.old, "new": self.new, "unit": self.unit or None}


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One entry of an object, and what it changed."""

    entry: Entry
    changes: tuple[FieldChange, ...]

    def as_record(self) -> JsonObject:
        entry = self.entry
        return {
            "seq": entry.seq, "at": entry.at, "zone": entry.zone, "actor": entry.actor.username, "name": entry.actor.name,
            "role": entry.actor.role, "device": entry.device, "kind": entry.kind, "reason": entry.reason,
            "changes": [change.as_record() for change in self.changes],
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class SignatureStanding:
    """A signature in an object: where it stands, who gave it when, and whether it still is over what is there.

    `changed_by`: the entry from which on it is not. `known`: whether it is known here what the signature is over; where it is not, nothing
    is said of it. `problem`: what is wrong with the signature itself, or empty.
    """

    path: str
    seq: int
    line: str
    known: bool
    changed_by: int | None = None
    problem: str = ""

    @property
    def stands(self) -> bool:
        return self.known and self.changed_by is None and not self.problem

    @property
    def text(self) -> str:
        """The line that a person is shown."""
        if self.problem:
            return f"not signed: {self.problem}"
        if self.changed_by is not None:
            return f"not signed: {'given for something else' if self.changed_by == self.seq else f'changed by entry {self.changed_by}'}"
        return "signed" if self.known else "signed; what it is over is not compared here"

    def as_record(self) -> JsonObject:
        return {
            "field": self.path, "seq": self.seq, "signature": self.line, "standing": self.text,
            "signed": self.stands if self.known or self.problem else None, "changed_by": self.changed_by,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class ObjectHistory:
    """The entries of an object, oldest first, its state after them, and its signatures."""

    subject: Subject
    rows: tuple[HistoryRow, ...]
    state: JsonObject
    signatures: tuple[SignatureStanding, ...]

    def as_record(self) -> JsonObject:
        return {
            "object": {"type": self.subject.type, "id": self.subject.id},
            "entries": [row.as_record() for row in self.rows],
            "signatures": [signature.as_record() for signature in self.signatures],
        }


def object_history(subject: Subject, entries: Iterable[Entry]) -> ObjectHistory:
    """Build the history of an object from all of its entries, oldest first."""
    rows: list[HistoryRow] = []
    state: JsonObject = {}
    given: dict[str, _Given] = {}
    for entry in entries:
        rows.append(HistoryRow(entry, tuple(changes_of(entry))))
        state.update(entry.new)
        present = dict(_signatures(state))
        for path in [path for path in given if path not in present]:
            given[path].end(entry.seq)
        for path, signature in present.items():
            if path not in given or given[path].signature != signature:
                given[path] = _Given(subject, path, entry, signature)
            given[path].compare(state, entry.seq)
    return ObjectHistory(subject, tuple(rows), state, tuple(known.standing() for known in given.values()))


def changes_of(entry: Entry) -> Iterator[FieldChange]:
    """Give each single value that an entry changed; what it says again as it was is no change."""
    for name, value in entry.new.items():
        before = _values(entry.old.get(name), name)
        after = _values(value, name)
        for path in dict.fromkeys((*before, *after)):
            old, new = before.get(path, _ABSENT), after.get(path, _ABSENT)
            if type(old) is not type(new) or old != new:
                unit = entry.unit.get(path) or entry.unit.get(name) or ""
                yield FieldChange(path, None if old is _ABSENT else old, None if new is _ABSENT else new, unit)


def _values(value: JsonValue, name: str) -> dict[str, JsonValue]:
    return {} if value is None else dict(leaves(value, name))


def _signatures(value: JsonValue, path: str = "") -> Iterator[tuple[str, Mapping[str, JsonValue]]]:
    """Give every signature in a tree with its path."""
    if not isinstance(value, Mapping):
        return
    if value.keys() >= _SIGNATURE:
        yield path, value
        return
    for name, item in value.items():
        yield from _signatures(item, f"{path}.{name}" if path else name)


class _Given:
    """A signature since the entry that brought it."""

    def __init__(self, subject: Subject, path: str, entry: Entry, signature: Mapping[str, JsonValue]) -> None:
        self.signature = signature
        self._subject, self._path, self._entry = subject, path, entry
        self._known = True
        self._changed_by: int | None = None
        self._problem = ""
        try:
            verify_signature(signature)
        except VerificationError as error:
            self._problem = error.message

    def compare(self, state: JsonObject, seq: int) -> None:
        """Hold the signature against the object after entry `seq`."""
        expected = signed_digest(self._subject, self._path, state, self._entry.new, self.signature)
        self._known = expected is not None
        if self._changed_by is None and expected is not None and expected != self.signature.get("digest"):
            self._changed_by = seq

    def end(self, seq: int) -> None:
        """Take note that the signature was taken away by entry `seq`."""
        if self._changed_by is None:
            self._changed_by = seq

    def standing(self) -> SignatureStanding:
        said = {name: str(self.signature.get(name)) for name in ("name", "signer", "role", "meaning", "at", "zone")}
        line = f"{said['name']} ({said['signer']}), {said['role']}: {said['meaning']}, {said['at']} [{said['zone']}]"
        if self.signature.get("scripted") is True:
            line += " (scripted demonstration signature)"
        return SignatureStanding(self._path, self._entry.seq, line, self._known, self._changed_by, self._problem)
