"""Whole-store check: every row of every table against the trail, the trail against its checkpoints.

Reads only; needs no key but the verifier keys that the caller trusts. Each finding names the table, the row and,
where there is one, the field. What the store alone cannot show is in `docs/trust.md`: who owns the disk and the key
can make another consistent store, and a tail cut off together with its checkpoints leaves no trace in it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from audit.canonical import JsonObject, canonical, sha256_hex
from audit.chain import GENESIS, MerkleTree
from audit.checkpoint import VerifierKey, parse_checkpoint, verify_note
from audit.errors import DosewrightError, EntryInvalid, NoteInvalid
from audit.events import COMMITMENT_FIELD, EntryBody, EventKind
from audit.report import Finding, Report
from audit.sqlite_file import connect_reader, record_error
from audit.store import checkpoint_link
from audit.tables import FORMAT, REVISION, SCHEMA_QUERY, expected_schema, normal_sql

_MEMBERS = frozenset(EntryBody.__required_keys__)
_FINDINGS_LIMIT = 200
_INDEX_COLUMNS = ("at", "kind", "actor", "subject_type", "subject_id")


@dataclass(slots=True)
class _ObjectState:
    version: int = 0
    last_seq: int = 0
    state: JsonObject = field(default_factory=dict)


@dataclass(slots=True)
class _Walk:
    """What the entries say, collected in one pass."""

    findings: list[Finding] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)
    size: int = 0
    last: str = GENESIS
    tree: MerkleTree = field(default_factory=MerkleTree)
    roots: dict[int, bytes] = field(default_factory=dict)
    objects: dict[tuple[str, str], _ObjectState] = field(default_factory=dict)
    blobs: dict[str, tuple[int, int]] = field(default_factory=dict)
    birth: JsonObject = field(default_factory=dict)
    signer_established: bool = False

    def find(self, place: str, problem: str) -> None:
        self.findings.append(Finding(place, problem))


def verify_store(path: Path, trusted: Sequence[VerifierKey] = ()) -> Report:
    """Check a store from the file alone; return the report, whatever is found.

    With trusted keys, a store signed by another key is a finding; without, the signer is not established.
    Raises StoreMissing where there is no file.
    """
    walk = _Walk()
    try:
        connection = connect_reader(path)
    except DosewrightError as error:
        if not path.is_file():
            raise
        return Report((Finding(str(path), error.message),), False)
    try:
        # Text that is not UTF-8 must be compared and named like any other change, not end the check.
        connection.text_factory = lambda data: data.decode("utf-8", "replace")
        connection.execute("BEGIN")
        _check_file(connection, walk)
        if not _check_schema(connection, walk):
            return Report(tuple(walk.findings), False, ("schema only: the tables are not those of a trail store",))
        _check_entries(connection, walk)
        _check_index(connection, walk)
        _check_objects(connection, walk)
        _check_blobs(connection, walk)
        for table in COMMITMENT_FIELD:
            _check_sealed(connection, table, walk)
        _check_meta(connection, walk)
        count, link = _check_checkpoints(connection, walk, trusted)
        _check_head(connection, walk, count, link)
    except sqlite3.Error as error:
        walk.find(str(path), record_error(path, error).message)
    finally:
        connection.close()
    return Report(tuple(walk.findings[:_FINDINGS_LIMIT]), walk.signer_established, tuple(walk.checked))


def _check_file(connection: sqlite3.Connection, walk: _Walk) -> None:
    for (line,) in connection.execute("PRAGMA integrity_check(20)"):
        if line != "ok":
            walk.find("file", f"SQLite reports: {line}")


def _check_schema(connection: sqlite3.Connection, walk: _Walk) -> bool:
    """Compare tables, indexes and triggers with what this software makes; say whether every table can be read as its own."""
    expected = expected_schema()
    found = {(row[0], row[1]): normal_sql(row[2]) for row in connection.execute(SCHEMA_QUERY)}
    if not expected.keys() & found.keys():
        walk.find("file", "is a database, but not a trail store: it has none of its tables; give the path of a store")
        return False
    for key in sorted(expected.keys() | found.keys()):
        place = f"schema {key[0]} {key[1]}"
        if key not in found:
            walk.find(place, "is missing")
        elif key not in expected:
            walk.find(place, "does not belong to a trail store")
        elif expected[key] != found[key]:
            walk.find(place, "differs from what this software makes")
    walk.checked.append(f"schema: {len(expected)} tables, indexes and triggers")
    return all(found.get(key) == sql for key, sql in expected.items() if key[0] == "table")


def _check_entries(connection: sqlite3.Connection, walk: _Walk) -> None:
    anchors = {row[0] for row in connection.execute("SELECT size FROM checkpoints")}
    expected = 0
    for seq, line, digest in connection.execute("SELECT seq, canonical, digest FROM entries ORDER BY seq"):
        place = f"entries row seq={seq}"
        if seq != expected:
            walk.find(f"entries row seq={expected}", f"is missing; the next row is seq={seq}")
        expected = seq + 1
        _check_entry(place, seq, line, walk)
        walk.last = sha256_hex(line)
        if digest != walk.last:
            walk.find(place, "digest is not the SHA-256 of the canonical bytes")
        walk.tree.append(line)
        walk.size += 1
        if walk.size in anchors:
            walk.roots[walk.size] = walk.tree.root()
    walk.checked.append(f"entries: {walk.size}, links, digests and canonical form")


def _check_entry(place: str, seq: int, line: bytes, walk: _Walk) -> None:
    """Check one entry by itself and against the one before, and add what it changes to the expected state."""
    try:
        body: EntryBody = json.loads(line)
        problem = _shape_problem(body, line)
    except (ValueError, RecursionError) as error:
        walk.find(place, f"canonical is not JSON ({error})")
        return
    if problem is not None:
        walk.find(place, problem)
        return
    if body["seq"] != seq:
        walk.find(place, f"says seq {body['seq']}")
    if body["prev"] != walk.last:
        walk.find(place, "prev is not the digest of the entry before it")
    subject = body["subject"]
    known = walk.objects.setdefault((subject["type"], subject["id"]), _ObjectState())
    if body["old"] != {name: known.state.get(name) for name in body["new"]}:
        walk.find(place, "old is not the state that the earlier entries lead to")
    known.version, known.last_seq = known.version + 1, seq
    known.state.update(body["new"])
    for item in body["attachments"]:
        walk.blobs.setdefault(item["sha256"], (item["bytes"], seq))
    if seq == 0:
        walk.birth = body["new"]
        if body["kind"] != EventKind.SITE_STORE_CREATED:
            walk.find(place, f"is {body['kind']}, not {EventKind.SITE_STORE_CREATED}")
    elif body["demonstration"] is not walk.birth.get("demonstration"):
        walk.find(place, "demonstration differs from entry 0")


def _shape_problem(body: EntryBody, line: bytes) -> str | None:
    """Return what is wrong with the form of an entry, or None."""
    if not isinstance(body, dict) or body.keys() != _MEMBERS:
        return "does not have exactly the members of an entry"
    try:
        if canonical(body) != line:
            return "is not in canonical form (RFC 8785)"
    except EntryInvalid as error:
        return f"is not in canonical form (RFC 8785): {error.message}"
    subject = body["subject"]
    objects = (subject, body["old"], body["new"], body["unit"], body["clock"])
    if not all(isinstance(item, dict) for item in objects) or subject.keys() != {"type", "id"}:
        return "has a member of the wrong type"
    if not all(isinstance(text, str) for text in (*subject.values(), body["at"], body["kind"], body["actor"])):
        return "has a member of the wrong type"
    items = body["attachments"]
    if not isinstance(items, list) or not all(_is_attachment(item) for item in items):
        return "has attachments of the wrong form"
    return None


def _is_attachment(item: object) -> bool:
    if not isinstance(item, dict) or item.keys() != {"name", "sha256", "bytes"}:
        return False
    return isinstance(item["name"], str) and isinstance(item["sha256"], str) and isinstance(item["bytes"], int)


def _compare(walk: _Walk, place: str, columns: Sequence[str], found: Sequence[object], expected: Sequence[object]) -> None:
    for column, have, want in zip(columns, found, expected, strict=True):
        if have != want or type(have) is not type(want):
            walk.find(f"{place} field {column}", "differs from the trail")


def _check_index(connection: sqlite3.Connection, walk: _Walk) -> None:
    """Compare the search index with the entries, row by row."""
    entries: Iterator[tuple[int, bytes]] = connection.cursor().execute("SELECT seq, canonical FROM entries ORDER BY seq")
    expected: dict[int, bytes] = {}
    seen = 0
    query = "SELECT seq, at, kind, actor, subject_type, subject_id FROM entry_index ORDER BY seq"
    for seq, *columns in connection.cursor().execute(query):
        for entry_seq, line in entries:
            expected[entry_seq] = line
            if entry_seq >= seq:
                break
        line = expected.pop(seq, b"")
        if not line:
            walk.find(f"entry_index row seq={seq}", "belongs to no entry")
            continue
        seen += 1
        try:
            body: EntryBody = json.loads(line)
            subject = body["subject"]
            want = (body["at"], body["kind"], body["actor"], subject["type"], subject["id"])
        except (ValueError, RecursionError, KeyError, TypeError):
            continue
        _compare(walk, f"entry_index row seq={seq}", _INDEX_COLUMNS, columns, want)
    expected.update(entries)
    for seq in expected:
        walk.find(f"entry_index row seq={seq}", "is missing")
    walk.checked.append(f"entry_index: {seen} rows against the entries")


def _check_objects(connection: sqlite3.Connection, walk: _Walk) -> None:
    missing = dict(walk.objects)
    for type_, id_, version, last_seq, state in connection.execute("SELECT type, id, version, last_seq, state FROM objects"):
        place = f"objects row {type_}/{id_}"
        known = missing.pop((type_, id_), None)
        if known is None:
            walk.find(place, "is not in the trail")
            continue
        _compare(walk, place, ("version", "last_seq"), (version, last_seq), (known.version, known.last_seq))
        if state != canonical(known.state).decode():
            _compare_state(walk, place, state, known.state)
    for type_, id_ in missing:
        walk.find(f"objects row {type_}/{id_}", "is missing")
    walk.checked.append(f"objects: {len(walk.objects)} rebuilt from the entries and compared")


def _compare_state(walk: _Walk, place: str, text: str, expected: Mapping[str, object]) -> None:
    """Name the fields in which a stored state differs from the rebuilt one."""
    try:
        stored = json.loads(text)
    except (ValueError, RecursionError):
        stored = None
    if not isinstance(stored, dict):
        walk.find(f"{place} field state", "is not a JSON object")
        return
    absent = object()
    names = [name for name in sorted(stored.keys() | expected.keys()) if stored.get(name, absent) != expected.get(name, absent)]
    for name in names:
        walk.find(f"{place} field state.{name}", "differs from the trail")
    if not names:
        walk.find(f"{place} field state", "is not in canonical form")


def _check_blobs(connection: sqlite3.Connection, walk: _Walk) -> None:
    missing = dict(walk.blobs)
    for sha256, size, data in connection.execute("SELECT sha256, bytes, data FROM blobs"):
        place = f"blobs row {sha256}"
        if sha256_hex(data) != sha256:
            walk.find(f"{place} field data", "does not have this SHA-256")
        if size != len(data):
            walk.find(f"{place} field bytes", f"says {size}, the data has {len(data)}")
        named = missing.pop(sha256, None)
        if named is None:
            walk.find(place, "is an attachment of no entry")
        elif named[0] != len(data):
            walk.find(place, f"has {len(data)} bytes, entry {named[1]} says {named[0]}")
    for sha256, (_, seq) in missing.items():
        walk.find(f"blobs row {sha256}", f"is missing; entry {seq} names it as an attachment")
    walk.checked.append(f"blobs: {len(walk.blobs)} attachments, each named by an entry")


def _check_sealed(connection: sqlite3.Connection, table: str, walk: _Walk) -> None:
    """Check a committed table: each row has the digest that its subject's latest entry states, and none is missing."""
    type_, name = COMMITMENT_FIELD[table]
    expected = {id_: known.state[name] for (kind, id_), known in walk.objects.items() if kind == type_ and name in known.state}
    count = len(expected)
    queries = {"credentials": "SELECT id, sealed FROM credentials", "patients": "SELECT id, sealed FROM patients"}
    for id_, sealed in connection.execute(queries[table]):
        commitment = expected.pop(id_, None)
        if commitment is None:
            walk.find(f"{table} row {id_}", "is not in the trail")
        elif sha256_hex(sealed) != commitment:
            walk.find(f"{table} row {id_} field sealed", f"does not have the digest that the trail states ({name})")
    for id_ in expected:
        walk.find(f"{table} row {id_}", "is missing")
    walk.checked.append(f"{table}: {count} rows against their digests in the trail")


def _check_meta(connection: sqlite3.Connection, walk: _Walk) -> None:
    birth = walk.birth
    expected: dict[str, object] = {name: birth.get(name) for name in ("format", "origin", "verifier_key")}
    expected["demonstration"] = "true" if birth.get("demonstration") is True else "false"
    if expected["format"] != FORMAT:
        walk.find("entries row seq=0", f"states the format {expected['format']}, not {FORMAT}")
    for key, value in connection.execute("SELECT key, value FROM meta"):
        if key not in expected:
            walk.find(f"meta row {key}", "does not belong to a trail store")
        elif expected.pop(key) != value:
            walk.find(f"meta row {key} field value", "differs from entry 0")
    for key in expected:
        walk.find(f"meta row {key}", "is missing")
    revisions = [row[0] for row in connection.execute("SELECT version_num FROM alembic_version")]
    if revisions != [REVISION]:
        walk.find("alembic_version row", f"is {revisions}, not {REVISION}")
    walk.checked.append("meta: against entry 0")


def _check_checkpoints(connection: sqlite3.Connection, walk: _Walk, trusted: Sequence[VerifierKey]) -> tuple[int, str]:
    """Check signature, origin, size and root of each checkpoint; return the last size and the running digest."""
    own = str(walk.birth.get("verifier_key", ""))
    try:
        keys = [VerifierKey.parse(own)]
    except NoteInvalid as error:
        keys = []
        walk.find("entries row seq=0", f"states no usable verifier key: {error.message}")
    anchored, count, link = 0, 0, GENESIS
    for size, note in connection.execute("SELECT size, note FROM checkpoints ORDER BY size"):
        place = f"checkpoints row size={size}"
        link = checkpoint_link(link, note)
        anchored, count = size, count + 1
        try:
            checkpoint = parse_checkpoint(verify_note(note, keys)[0])
        except NoteInvalid as error:
            walk.find(f"{place} field note", error.message)
            continue
        if (checkpoint.origin, checkpoint.size) != (walk.birth.get("origin"), size):
            walk.find(place, f"is signed for {checkpoint.origin} at size {checkpoint.size}")
        elif size > walk.size:
            walk.find(place, f"counts {size} entries, the trail has {walk.size}: its end was cut off")
        elif checkpoint.root != walk.roots.get(size):
            walk.find(place, f"signs another root: the first {size} entries are not those that were signed")
    if not count:
        walk.find("checkpoints", "there is none, so nothing anchors the trail")
    if trusted and own not in {key.text for key in trusted}:
        walk.find("entries row seq=0", f"the store is signed by {own}, which is not among the trusted keys")
    walk.signer_established = own in {key.text for key in trusted}
    walk.checked.append(f"checkpoints: {count}; entries 0 to {anchored - 1} are anchored by a signature")
    if walk.size > anchored:
        walk.checked.append(
            f"not anchored: entries {anchored} to {walk.size - 1} came after the last checkpoint; their links alone hold them"
        )
    return anchored, link


def _check_head(connection: sqlite3.Connection, walk: _Walk, anchored: int, link: str) -> None:
    rows = connection.execute("SELECT id, size, digest, checkpoints FROM head ORDER BY id").fetchall()
    for row in rows:
        if row[0] != 0:
            walk.find(f"head row id={row[0]}", "does not belong to a trail store")
    if not any(row[0] == 0 for row in rows):
        walk.find("head row id=0", "is missing")
    for id_, size, digest, checkpoints in rows:
        if id_ == 0:
            _compare(walk, "head row id=0", ("size", "digest"), (size, digest), (walk.size, walk.last))
            if checkpoints != link:
                walk.find(
                    "head row id=0 field checkpoints",
                    f"a row of checkpoints was added, changed or deleted (the last left has size {anchored})",
                )
    walk.checked.append("head: size, last digest and digest of the checkpoints")
