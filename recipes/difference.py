"""What differs between two versions of a recipe, field by field, as a person reads it: old and new value with their units. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from audit.canonical import JsonObject, JsonValue, canonical
from recipes.model import Recipe


class ChangeKind(StrEnum):
    CHANGED = "changed"
    ADDED = "added"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Change:
    """One field that differs: its dotted path, the old and the new value as written in the file; None where there is none."""

    path: str
    old: str | None
    new: str | None

    @property
    def kind(self) -> ChangeKind:
        if self.old is None:
            return ChangeKind.ADDED
        return ChangeKind.REMOVED if self.new is None else ChangeKind.CHANGED

    def as_record(self) -> JsonObject:
        return {"path": self.path, "old": self.old, "new": self.new, "change": self.kind.value}

    def __str__(self) -> str:
        return f"{self.path}: {self.old if self.old is not None else 'nothing'} -> {self.new if self.new is not None else 'nothing'}"


def difference(old: Recipe, new: Recipe) -> tuple[Change, ...]:
    """Return every field whose value differs, in the order of their paths; members of lists are numbered from 1.

    All that is in a recipe's digest is compared, so two recipes without a difference have one digest. A changed number of decimals is
    a difference: it states another precision.
    """
    before, after = dict(_leaves(old.as_record())), dict(_leaves(new.as_record()))
    paths = [*after, *(path for path in before if path not in after)]
    found = (Change(path, before.get(path), after.get(path)) for path in paths)
    return tuple(sorted((change for change in found if change.old != change.new), key=lambda change: change.path))


def _leaves(value: JsonValue | Mapping[str, JsonValue], path: str = "") -> Iterator[tuple[str, str]]:
    match value:
        case dict() if value:
            for name, item in value.items():
                yield from _leaves(item, f"{path}.{name}" if path else name)
        case list() | tuple() if value:
            for number, item in enumerate(value, start=1):
                yield from _leaves(item, f"{path}[{number}]")
        case str():
            yield path, value if value else '""'
        case _:
            yield path, canonical(value).decode("utf-8")
