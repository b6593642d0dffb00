"""A selection of a trail as a file: CSV with a row for each value that changed, or JSON with the entries as they are. Pure."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from typing import Final

from audit.canonical import JsonValue
from audit.events import Entry
from audit.object_history import FieldChange, changes_of
from audit.trail_search import TrailFilter

COLUMNS: Final = (
    "seq", "at", "zone", "actor", "name", "role", "device", "kind", "object type", "object id", "field", "old", "new", "unit", "reason",
    "attachments", "demonstration", "digest",
)  # fmt: skip
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


def value_text(value: JsonValue) -> str:
    """Return a value as a person reads it: text as it is, nothing for what is not there, anything else as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def cell_text(value: JsonValue) -> str:
    """Return a cell of a table that a spreadsheet takes for text: what it would run as a formula gets an apostrophe before it.

    Source: OWASP, CSV injection.
    """
    text = value_text(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def as_csv(entries: Iterable[Entry]) -> bytes:
    """Return entries as CSV (RFC 4180, UTF-8): one row for each value that an entry changed, one for an entry that changed none."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for entry in entries:
        for change in tuple(changes_of(entry)) or (None,):
            writer.writerow([cell_text(value) for value in _row(entry, change)])
    return stream.getvalue().encode("utf-8")


def _row(entry: Entry, change: FieldChange | None) -> Sequence[JsonValue]:
    actor, subject = entry.actor, entry.subject
    changed = ("", None, None, "") if change is None else (change.path, change.old, change.new, change.unit)
    named = "; ".join(f"{item['name']} {item['sha256']}" for item in entry.attachments)
    return (
        entry.seq, entry.at, entry.zone, actor.username, actor.name, actor.role, entry.device, entry.kind, subject.type, subject.id,
        *changed, entry.reason, named, entry.demonstration, entry.digest,
    )  # fmt: skip


def as_json(origin: str, size: int, wanted: TrailFilter, entries: Iterable[Entry]) -> bytes:
    """Return entries as JSON: the trail, its size when they were read, what was asked for, and each entry with its digest."""
    tree = {
        "trail": origin,
        "size": size,
        "filter": wanted.as_record(),
        "entries": [{"digest": entry.digest, "entry": entry.body} for entry in entries],
    }
    return json.dumps(tree, ensure_ascii=False, indent=1).encode("utf-8") + b"\n"
