"""`dosewright trail`: look through a trail store, and see what changed in one object; nothing is written."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from api import completions
from api.cli_options import AsJson, print_json
from api.errors import InputInvalid, NotFound
from api.trail_question import read_filter
from audit.events import Entry, Subject
from audit.object_history import ObjectHistory, changes_of, object_history
from audit.reader import TrailReader
from audit.trail_export import as_csv, as_json, value_text
from audit.trail_search import StoredTrail, TrailFilter, find_all

_MOST = 1_000_000
_LONGEST_VALUE = 60
_WIDE = 220
"""Columns where the output goes into a file or another program."""


def trail(
    store: Annotated[
        Path, typer.Argument(help="A trail store, for example site/workstation.db or site/cell-1.db.", autocompletion=completions.stores)
    ],
    kind: Annotated[list[str] | None, typer.Option(help="A kind of entry, or the beginning of one: alarm. (may be given again)")] = None,
    preset: Annotated[
        str, typer.Option(help="access, refusals, signatures, people, alarms, recipes or clock.", autocompletion=completions.presets)
    ] = "",
    person: Annotated[str, typer.Option(help="A user name, or a part of a name.")] = "",
    role: Annotated[str, typer.Option(help="The role in which the person acted.")] = "",
    device: Annotated[str, typer.Option(help="Where it was entered.")] = "",
    object: Annotated[str, typer.Option(help="A type, or type/id: unit, order/O00001.")] = "",
    since: Annotated[str, typer.Option(help="A day, or a time with its zone.")] = "",
    until: Annotated[str, typer.Option(help="A day, all of it, or a time with its zone.")] = "",
    reason: Annotated[str, typer.Option(help="Words in the reason.")] = "",
    text: Annotated[str, typer.Option(help="Words in anything that the entry says.")] = "",
    oldest_first: Annotated[bool, typer.Option("--oldest-first", help="Begin with the oldest.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=_MOST, help="So many entries at most.")] = 50,
    history: Annotated[bool, typer.Option("--history", help="What changed in the object, old beside new, and its signatures.")] = False,
    as_json_: AsJson = False,
    as_csv_: Annotated[bool, typer.Option("--csv", help="Print CSV, one row for each value that changed.")] = False,
) -> None:
    """Search a trail by person, object, time, kind, role, device and words; newest first."""
    if as_json_ and as_csv_:
        raise InputInvalid("Give --json or --csv, not both.", remedy="Choose one.")
    fields = {
        "person": person, "role": role, "device": device, "object": object, "since": since, "until": until, "reason": reason, "text": text,
    }  # fmt: skip
    wanted = read_filter(fields, kind or (), preset)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)
    with TrailReader(store) as reader:
        source = StoredTrail(reader)
        if history:
            _show_history(console, _history(source, wanted), as_json_, as_csv_)
            return
        found = list(islice(find_all(source, wanted, newest_first=not oldest_first), limit + 1))
        more, found = len(found) > limit, found[:limit]
        if as_json_:
            sys.stdout.write(as_json(source.origin, source.size, wanted, found).decode())
        elif as_csv_:
            sys.stdout.write(as_csv(found).decode())
        else:
            console.print(_entries(found))
            console.print(
                f"{len(found)} of {source.size} entries" + ("; there are more: raise --limit, or narrow the search" if more else "")
            )


def _history(source: StoredTrail, wanted: TrailFilter) -> ObjectHistory:
    if not (wanted.object_type and wanted.object_id):
        raise InputInvalid("A history is of one object.", remedy="Give it as --object type/id, for example --object order/O00001.")
    subject = Subject(wanted.object_type, wanted.object_id)
    found = object_history(subject, find_all(source, TrailFilter(object_type=subject.type, object_id=subject.id)))
    if not found.rows:
        raise NotFound(f"The trail says nothing of {subject}.", remedy="Look for its type alone: --object " + subject.type)
    return found


def _entries(entries: list[Entry]) -> Table:
    table = Table("seq", "at (UTC)", "who", "what", "of", "changed", "why")
    for entry in entries:
        changed = "; ".join(f"{change.path}: {_short(value_text(change.new))}" for change in islice(changes_of(entry), 4))
        at = entry.at[:19].replace("T", " ")
        table.add_row(*map(_plain, (str(entry.seq), at, _who(entry), entry.kind, str(entry.subject), changed, entry.reason or "")))
    return table


def _show_history(console: Console, found: ObjectHistory, as_json_: bool, as_csv_: bool) -> None:
    if as_json_:
        print_json(found.as_record())
        return
    if as_csv_:
        sys.stdout.write(as_csv(row.entry for row in found.rows).decode())
        return
    table = Table("seq", "at (UTC), zone", "who", "field", "old", "new", "unit", "why")
    for row in found.rows:
        entry = row.entry
        head = (
            str(entry.seq),
            f"{entry.at[:19].replace('T', ' ')}, {entry.zone}",
            f"{entry.actor.name} ({entry.actor.username}), {entry.actor.role}",
        )
        for number, change in enumerate(row.changes):
            said = (change.path, _short(value_text(change.old)), _short(value_text(change.new)), change.unit)
            table.add_row(*map(_plain, (*(head if not number else ("", "", "")), *said, "" if number else entry.reason or "")))
        if not row.changes:
            table.add_row(*map(_plain, (*head, entry.kind, "", "", "", entry.reason or "")))
    console.print(table)
    for signature in found.signatures:
        console.print(f"{signature.path}, entry {signature.seq}: {signature.line}: {signature.text.upper()}", markup=False)


def _who(entry: Entry) -> str:
    return f"{entry.actor.name} ({entry.actor.username}), {entry.actor.role}"


def _plain(text: str) -> Text:
    """Return text for a terminal: nothing in it is a command to the terminal."""
    return Text("".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text))


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"
