"""What is in a trail, read in one look beside the process that writes it, and without a file being made beside it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from api.doctor.gather_machine import locked_by
from api.doctor.trails import Anchor, TrailFacts, WriterFacts
from api.quiet_store import connect_quietly, is_at_rest
from audit.anchors import AnchorState, anchor_states
from audit.checkpoint import VerifierKey, parse_checkpoint, verify_note
from audit.database import Connection, Database, record_errors
from audit.errors import NoteInvalid, RecordError, StoreMissing
from audit.events import Entry
from audit.places import Place, database_at
from audit.reader import TrailReader, read_head
from audit.sqlite_file import BUSY_SECONDS, SqliteFile, record_error, require_file
from audit.store_format import REVISION


class QuietFile(SqliteFile):
    """A store file that is read without a trace."""

    def connect_reader(self) -> sqlite3.Connection:
        if not is_at_rest(self.path):
            return super().connect_reader()
        require_file(self.path)
        try:
            return connect_quietly(self.path, BUSY_SECONDS)
        except sqlite3.Error as error:
            raise record_error(self.path, error) from error

    def connect_checker(self) -> sqlite3.Connection:
        connection = self.connect_reader()
        connection.execute("BEGIN")
        return connection


@dataclass(frozen=True, slots=True)
class TrailLook:
    """What was read: the facts to judge, the key that the trail names, when its last entry was made, and its anchors."""

    facts: TrailFacts
    verifier_key: str = ""
    last_at: datetime | None = None
    anchors: tuple[AnchorState, ...] = ()


def look(name: str, place: Place) -> TrailLook:
    """Read what there is to know of a trail. What stands in the way is part of the answer."""
    try:
        found = _look(name, place)
        if found.facts.problem and isinstance(place, Path) and not is_at_rest(place):
            return _look(name, place)  # its process may have started while the file was read as one at rest
    except OSError as error:
        text = f"The store {place} cannot be looked at: {error.strerror}."
        return TrailLook(TrailFacts(name, str(place), problem=text, remedy="Run the doctor as the account that runs the workstation."))
    return found


def _look(name: str, place: Place) -> TrailLook:
    try:
        database: Database = database_at(place)
        if isinstance(database, SqliteFile):
            database = QuietFile(database.path)
        with record_errors(database), closing(database.connect_checker()) as connection:
            seen = _read(name, database, connection)
        with TrailReader(database) as reader:
            return TrailLook(seen.facts, seen.verifier_key, seen.last_at, tuple(anchor_states(reader)))
    except StoreMissing as error:
        remedy = "Correct the path, or restore the store from its backup; a new one would be another trail: docs/backup.md."
        return TrailLook(TrailFacts(name, str(place), problem=error.message, remedy=remedy))
    except RecordError as error:
        return TrailLook(TrailFacts(name, str(place), problem=error.message, remedy=error.remedy))
    except (KeyError, ValueError, TypeError) as error:  # rows that no version of the software wrote
        return TrailLook(TrailFacts(name, str(place), problem=f"The store {place} is damaged ({type(error).__name__}: {error})."))


def _read(name: str, database: Database, connection: Connection) -> TrailLook:
    def one(query: str, *values: int | str) -> Sequence[object] | None:
        row: Sequence[object] | None = connection.execute(query, values).fetchone()
        return row

    meta: Mapping[str, str] = dict(connection.execute("SELECT key, value FROM meta"))
    head, revision = read_head(connection), one("SELECT version_num FROM alembic_version")
    if head is None:
        raise RecordError(f"The store {database} has no head.", remedy="Run `dosewright verify` on it.")
    last = one("SELECT canonical FROM entries WHERE seq = ?", head.size - 1)
    line = bytes(last[0]) if last is not None and isinstance(last[0], (bytes, memoryview)) else None
    subject = None if line is None else Entry(line).subject
    named = None if subject is None else one("SELECT digest FROM objects WHERE type = ? AND id = ?", subject.type, subject.id)
    stated = one("SELECT state FROM objects WHERE type = ? AND id = ?", "store", meta["origin"])
    key = _named_key(stated, meta["verifier_key"])
    note = one("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1")
    signed, problem = (None, "") if note is None else _checkpoint(str(note[0]), key, meta["origin"])
    here, expected = database.schema(connection), database.expected_schema()
    facts = TrailFacts(
        name=name,
        place=str(database),
        revision="" if revision is None else str(revision[0]),
        expected_revision=REVISION,
        schema_differs=tuple(sorted(" ".join(item) for item in here.keys() | expected.keys() if here.get(item) != expected.get(item))),
        origin=meta["origin"],
        size=head.size,
        named_digest="" if named is None else str(named[0]),
        last_digest=head.digest,
        checkpoint_size=signed,
        checkpoint_problem=problem,
        demonstration=meta["demonstration"] == "true",
    )
    return TrailLook(facts, key, None if line is None else datetime.fromisoformat(Entry(line).at))


def _named_key(stated: Sequence[object] | None, first: str) -> str:
    """Return the key that signs now: that of the last rotation, else the first."""
    if stated is None:
        return first
    state = json.loads(str(stated[0]))
    named = state.get("verifier_key") if isinstance(state, dict) else None
    return named if isinstance(named, str) else first


def _checkpoint(note: str, key: str, origin: str) -> tuple[int | None, str]:
    """Return how many entries the note signs, or what is wrong with it."""
    try:
        text, _ = verify_note(note, [VerifierKey.parse(key)])
        found = parse_checkpoint(text)
    except NoteInvalid as error:
        return None, f"the last checkpoint is not signed by the trail's key: {error.message}"
    if found.origin != origin:
        return None, f"the last checkpoint is of another trail, {found.origin}"
    return found.size, ""


def anchors_of(states: Sequence[AnchorState], origin: str, now: datetime) -> tuple[Anchor, ...]:
    """Return the last proof of each witness and authority for one trail."""
    return tuple(
        Anchor(state.by, state.size, int((now - datetime.fromisoformat(state.at)).total_seconds()) if state.at else None, state.refusal)
        for state in states
        if state.origin == origin
    )


def writer(place: Place) -> WriterFacts:
    """Say who writes a trail, without touching the lock."""
    if not isinstance(place, Path):
        return WriterFacts(known=False, why_unknown="PostgreSQL holds the lock of its trails; ask it (pg_locks)")
    process = locked_by(place.with_name(f"{place.name}.writer"))
    if process is None:
        return WriterFacts(known=False, why_unknown="this operating system does not say who holds a lock")
    return WriterFacts(known=True, process=process)


def behind_us(last: datetime, now: datetime) -> int:
    """Return by how many microseconds the clock is behind an entry, negative where it is later."""
    return round((last.astimezone(UTC) - now).total_seconds() * 1_000_000)
