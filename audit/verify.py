"""Whole-store check: every row of every table against the trail, the trail against its checkpoints.

Reads only; needs no key but the verifier keys that the caller trusts. Each finding names the table, the row and,
where there is one, the field. What the store alone cannot show is in `docs/trust.md`: who owns the disk and the key
can make another consistent store, and a tail cut off together with its checkpoints leaves no trace in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from audit.anchor_check import NOTHING_OUTSIDE, Trusted
from audit.canonical import canonical, sha256_hex
from audit.chain import GENESIS
from audit.checkpoint import VerifierKey, parse_checkpoint, verify_note
from audit.database import Connection, Database
from audit.errors import DosewrightError, NoteInvalid, StoreMissing
from audit.events import COMMITMENT_FIELD, ERASED_FIELD, EventKind
from audit.key_rotation import KeyHistory, Rotation, key_history
from audit.places import Place, database_at, is_url
from audit.report import Finding, Report
from audit.store import checkpoint_link
from audit.store_format import FORMAT, REVISION
from audit.trail_walk import TrailWalk
from audit.verify_anchors import store_anchors
from audit.verify_half import OtherHalf, walk_entries

_FINDINGS_LIMIT = 200
_REVISIONS = ("table", "alembic_version")


@dataclass(slots=True)
class _Walk:
    """What the entries say, and what was found and looked at so far."""

    findings: list[Finding] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)
    trail: TrailWalk = field(default_factory=TrailWalk)
    roots: dict[int, bytes] = field(default_factory=dict)
    signer_established: bool = False
    last_doubted: bool = False
    """Whether the object of the last entry names another as its last."""
    vouched: int = 0
    """The largest size whose root a checkpoint signs."""
    history: KeyHistory = field(default_factory=KeyHistory)

    def find(self, place: str, problem: str) -> None:
        self.findings.append(Finding(place, problem))


def verify_store(place: Place, trusted: Sequence[VerifierKey] = (), *, workers: int = 1, outside: Trusted = NOTHING_OUTSIDE) -> Report:
    """Check a store from its database alone; return the report, whatever is found.

    `place` is the path of a file or the URL of a PostgreSQL schema. With trusted keys, a store signed by another key is a finding;
    without, the signer is not established. `outside` has what shows that the trail was there by a time: keys of witnesses, certificates,
    notes. With two `workers` a long trail is walked in two processes. Raises StoreMissing where
    there is no store, RecordError where a server cannot be reached.
    """
    walk = _Walk()
    database = database_at(place)
    try:
        connection = database.connect_checker()
    except DosewrightError as error:
        if isinstance(error, StoreMissing) or is_url(str(place)):
            raise
        return Report((Finding(str(database), error.message),), False)
    try:
        try:
            return _check(database, connection, walk, trusted, workers, outside)
        except database.errors as error:
            if "UTF-8" not in str(error) or not database.lossy_text(connection):
                raise
        # Text that is not UTF-8 must be compared and named like any other change, not end the check.
        walk = _Walk()
        return _check(database, connection, walk, trusted, 1, outside)
    except database.errors as error:
        walk.find(str(database), database.record_error(error).message)
        return _report(walk)
    finally:
        connection.close()


def _report(walk: _Walk) -> Report:
    return Report(tuple(walk.findings[:_FINDINGS_LIMIT]), walk.signer_established, tuple(walk.checked))


def _check(
    database: Database, connection: Connection, walk: _Walk, trusted: Sequence[VerifierKey], workers: int, outside: Trusted
) -> Report:
    if not _check_schema(database, connection, walk):
        return Report(tuple(walk.findings), False, ("schema only: the tables are not those of a trail store",))
    anchors = [row[0] for row in connection.execute("SELECT size FROM checkpoints ORDER BY size")]
    other = OtherHalf.start(database, connection, anchors[-1] if anchors else 0) if workers > 1 else None
    try:
        _check_file(database, connection, walk)
        _check_entries(connection, anchors, walk, other)
    finally:
        if other is not None:
            other.close()
    _check_objects(connection, walk)
    _check_blobs(connection, walk)
    for table in COMMITMENT_FIELD:
        _check_sealed(connection, table, walk)
    _check_meta(connection, walk)
    count, link = _check_checkpoints(connection, walk, trusted)
    _check_head(connection, walk, count, link)
    _check_outside(connection, walk, outside)
    return _report(walk)


def _check_file(database: Database, connection: Connection, walk: _Walk) -> None:
    problems, looked_at = database.check_files(connection)
    for problem in problems:
        walk.find("file", problem)
    walk.checked.append(looked_at)


def _check_schema(database: Database, connection: Connection, walk: _Walk) -> bool:
    """Compare tables, indexes and triggers with what this software makes; say whether every table can be read as its own."""
    expected, found = database.expected_schema(), database.schema(connection)
    if not expected.keys() & found.keys():
        walk.find("file", "is a database, but not a trail store: it has none of its tables; give the path of a store")
        return False
    if expected.get(_REVISIONS) == found.get(_REVISIONS) is not None:
        revisions = [str(row[0]) for row in connection.execute("SELECT version_num FROM alembic_version")]
        if revisions != [REVISION]:
            walk.find("alembic_version row", f"is {revisions}, this software checks {REVISION}: use the version that made the store")
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


def _check_entries(connection: Connection, anchors: Sequence[int], walk: _Walk, other: OtherHalf | None) -> None:
    """Walk the entries; with another half, only as far as it began. Where the halves do not fit, one walk names the place."""
    walk.trail = walk_entries(connection, anchors, 0, other.begins if other else None)
    later = other.result() if other is not None and not walk.trail.findings else None
    if other is not None and (later is None or not walk.trail.joins(later)):
        walk.trail = walk_entries(connection, anchors)
    walk.trail.finish()
    for place, problem in walk.trail.findings:
        walk.find(place, problem)
    walk.roots = walk.trail.roots()
    walk.checked.append(f"entries: {walk.trail.size}, links and canonical form")
    walk.checked.append(f"entry_index: {walk.trail.indexed} terms against the entries up to the last checkpoint")


def _compare(walk: _Walk, place: str, columns: Sequence[str], found: Sequence[object], expected: Sequence[object]) -> None:
    for column, have, want in zip(columns, found, expected, strict=True):
        if have != want or type(have) is not type(want):
            walk.find(f"{place} field {column}", "differs from the trail")


def _check_objects(connection: Connection, walk: _Walk) -> None:
    trail = walk.trail
    missing = dict(trail.states)
    query = "SELECT type, id, version, last_seq, digest, state FROM objects"
    for type_, id_, version, last_seq, digest, state in connection.execute(query):
        place = f"objects row {type_}/{id_}"
        key = (type_, id_)
        expected = missing.pop(key, None)
        if expected is None:
            walk.find(place, "is not in the trail")
            continue
        columns, said = ("version", "last_seq", "digest"), (version, last_seq, digest)
        _compare(walk, place, columns, said, (trail.versions[key], trail.last_seqs[key], trail.digests[key]))
        if last_seq == trail.size - 1 and digest != trail.last:
            walk.last_doubted = True
        if state != canonical(expected).decode():
            _compare_state(walk, place, state, expected)
    for type_, id_ in missing:
        walk.find(f"objects row {type_}/{id_}", "is missing")
    walk.checked.append(f"objects: {len(trail.states)} rebuilt from the entries and compared")


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


def _check_blobs(connection: Connection, walk: _Walk) -> None:
    missing = dict(walk.trail.blobs)
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
    walk.checked.append(f"blobs: {len(walk.trail.blobs)} attachments, each named by an entry")


def _check_sealed(connection: Connection, table: str, walk: _Walk) -> None:
    """Check a committed table: each row has the digest that its subject's latest entry states, and none is missing."""
    type_, name = COMMITMENT_FIELD[table]
    committed = {id_: state for (kind, id_), state in walk.trail.states.items() if kind == type_ and name in state}
    erased = {id_ for id_, state in committed.items() if state.get(ERASED_FIELD) is True}
    expected = {id_: state[name] for id_, state in committed.items() if id_ not in erased}
    count = len(expected)
    queries = {"credentials": "SELECT id, sealed FROM credentials", "patients": "SELECT id, sealed FROM patients"}
    for id_, sealed in connection.execute(queries[table]):
        commitment = expected.pop(id_, None)
        if id_ in erased:
            walk.find(f"{table} row {id_}", "is there, though the trail says that it was destroyed")
        elif commitment is None:
            walk.find(f"{table} row {id_}", "is not in the trail")
        elif sha256_hex(sealed) != commitment:
            walk.find(f"{table} row {id_} field sealed", f"does not have the digest that the trail states ({name})")
    for id_ in expected:
        walk.find(f"{table} row {id_}", "is missing")
    destroyed = f"; {len(erased)} destroyed on record" if erased else ""
    walk.checked.append(f"{table}: {count} rows against their digests in the trail{destroyed}")


def _check_meta(connection: Connection, walk: _Walk) -> None:
    birth = walk.trail.birth
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
    walk.checked.append("meta: against entry 0")


def _check_checkpoints(connection: Connection, walk: _Walk, trusted: Sequence[VerifierKey]) -> tuple[int, str]:
    """Check signature, origin, size and root of each checkpoint; return the last size and the running digest."""
    history = _key_history(walk)
    anchored, count, link = 0, 0, GENESIS
    for size, note in connection.execute("SELECT size, note FROM checkpoints ORDER BY size"):
        place = f"checkpoints row size={size}"
        link = checkpoint_link(link, note)
        anchored, count = size, count + 1
        key = history.at(size)
        try:
            checkpoint = parse_checkpoint(verify_note(note, [key] if key else [])[0])
        except NoteInvalid as error:
            walk.find(f"{place} field note", history.misplaced(note, size) or error.message)
            continue
        if (checkpoint.origin, checkpoint.size) != (walk.trail.birth.get("origin"), size):
            walk.find(place, f"is signed for {checkpoint.origin} at size {checkpoint.size}")
        elif size > walk.trail.size:
            walk.find(place, f"counts {size} entries, the trail has {walk.trail.size}: its end was cut off")
        elif checkpoint.root != walk.roots.get(size):
            walk.find(place, f"signs another root: the first {size} entries are not those that were signed")
        else:
            walk.vouched = size
    if not count:
        walk.find("checkpoints", "there is none, so nothing anchors the trail")
    _check_signer(walk, history, trusted)
    walk.checked.append(f"checkpoints: {count}; entries 0 to {anchored - 1} are anchored by a signature")
    if walk.trail.size > anchored:
        walk.checked.append(
            f"not anchored: entries {anchored} to {walk.trail.size - 1} came after the last checkpoint; their links alone hold them"
        )
    return anchored, link


def _key_history(walk: _Walk) -> KeyHistory:
    """Return the keys of the trail, with a finding for each rotation that proves nothing."""
    origin, birth = str(walk.trail.birth.get("origin")), walk.trail.birth.get("verifier_key")
    rotations = [Rotation(kept.seq, kept.prev, kept.new) for kept in walk.trail.kept if kept.kind == EventKind.TRAIL_KEY_ROTATED]
    store = walk.trail.states.get(("store", origin), {})
    walk.history = key_history(origin, birth, rotations, store.get("verifier_key"))
    for seq, problem in walk.history.problems:
        walk.find(f"entries row seq={seq}", problem)
    return walk.history


def _check_signer(walk: _Walk, history: KeyHistory, trusted: Sequence[VerifierKey]) -> None:
    """Say whether the trusted keys establish who signs this trail, and where its keys do not follow each other."""
    walk.signer_established = history.established(trusted)
    for reign in history.reigns[1:]:
        how = "signed by the old and the new key" if reign.continuous else "NOT continuous: the old key did not sign"
        walk.checked.append(
            f"key: replaced by entry {reign.since - 1}, {how}; checkpoints from {reign.since} entries on are by {reign.key}"
        )
    if trusted and not walk.signer_established:
        gaps = [reign.since - 1 for reign in history.reigns[1:] if not reign.continuous]
        hint = f"; its key was replaced by entry {gaps[-1]} without the old key: the new one must come from outside" if gaps else ""
        walk.find("entries row seq=0", f"the store is signed by {history.present}, which is not among the trusted keys{hint}")


def _check_outside(connection: Connection, walk: _Walk, outside: Trusted) -> None:
    """Check the proofs that witnesses and time-stamping authorities gave; say what is anchored outside, and what is not."""

    def blob(sha256: str) -> bytes | None:
        row = connection.execute("SELECT data FROM blobs WHERE sha256 = ?", (sha256,)).fetchone()
        return None if row is None else bytes(row[0])

    def lines(size: int) -> Iterator[bytes]:
        return (bytes(row[0]) for row in connection.execute("SELECT canonical FROM entries WHERE seq < ? ORDER BY seq", (size,)))

    found = store_anchors(walk.trail, walk.history, outside, blob=blob, lines=lines)
    walk.findings += found.findings
    walk.checked += found.lines({str(walk.trail.birth.get("origin")): walk.trail.size})


def _check_head(connection: Connection, walk: _Walk, anchored: int, link: str) -> None:
    rows = connection.execute("SELECT id, checkpoints FROM head ORDER BY id").fetchall()
    for id_, checkpoints in rows:
        if id_ != 0:
            walk.find(f"head row id={id_}", "does not belong to a trail store")
        elif checkpoints != link:
            problem = f"a row of checkpoints was added, changed or deleted (the last left has size {anchored})"
            walk.find("head row id=0 field checkpoints", problem)
    if not any(row[0] == 0 for row in rows):
        walk.find("head row id=0", "is missing")
    if walk.last_doubted and walk.trail.size > walk.vouched:
        problem = "is another than its object names as its last, and no checkpoint vouches for it"
        walk.find(f"entries row seq={walk.trail.size - 1}", problem)
    walk.checked.append("head: digest of the checkpoints")
