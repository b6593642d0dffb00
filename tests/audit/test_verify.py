"""Every table, every column, every row: a change is found and named."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from audit import tables, trail_walk, verify_half
from audit.canonical import canonical, sha256_hex
from audit.checkpoint import SigningKey
from audit.events import SYSTEM, EntryDraft, EventKind, Subject
from audit.report import Report, VerificationStatus
from audit.verify import verify_store
from tests.audit.conftest import CLOCK, KEY, judged, new_store, open_store

COLUMNS = [(table.name, column.name) for table in tables.METADATA.sorted_tables for column in table.columns]
TABLES = sorted(tables.DECLARATIONS)
KEYS = {table.name: [column.name for column in table.primary_key] for table in tables.METADATA.sorted_tables}


def tamper(path: Path, act: Callable[[sqlite3.Connection], None]) -> Report:
    """Change a store as its owner could: drop the triggers, act, put them back."""
    connection = sqlite3.connect(path)
    triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        connection.execute(f"DROP TRIGGER {name}")
    act(connection)
    for _, sql in triggers:
        connection.execute(sql)
    connection.commit()
    connection.close()
    return verify_store(path, [KEY.verifier])


def named(report: Report, *words: str) -> bool:
    return report.status is VerificationStatus.FAILED and any(all(word in finding.place for word in words) for finding in report.findings)


def pick(connection: sqlite3.Connection, table: str, seed: int) -> dict[str, object]:
    connection.row_factory = sqlite3.Row
    rows = connection.execute(f"SELECT * FROM {table}").fetchall()
    connection.row_factory = None
    assert rows, f"the test store has no row in {table}"
    return dict(random.Random(seed).choice(rows))


def where(table: str) -> str:
    return " AND ".join(f"{key} = :key_{key}" for key in KEYS[table])


def keys(table: str, row: dict[str, object]) -> dict[str, object]:
    return {f"key_{key}": row[key] for key in KEYS[table]}


def changed(value: object, seed: int) -> object:
    generator = random.Random(seed)
    match value:
        case int():
            return value + 1000
        case bytes():
            place = generator.randrange(len(value))
            return value[:place] + bytes([value[place] ^ 1]) + value[place + 1 :]
        case str():
            place = generator.randrange(len(value))
            return value[:place] + ("x" if value[place] != "x" else "y") + value[place + 1 :]
        case _:
            raise AssertionError(value)


def label(row: dict[str, object], table: str) -> str:
    return str(row[KEYS[table][-1]]) if table != "alembic_version" else ""


def test_an_untouched_store_verifies(full_path: Path) -> None:
    report = verify_store(full_path, [KEY.verifier])
    assert (report.findings, report.status, report.exit_status) == ((), VerificationStatus.VERIFIED, 0)
    assert not any("not anchored" in line for line in report.checked)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_a_changed_column_is_found_and_named(full_path: Path, table: str, column: str, seed: int) -> None:
    row: dict[str, object] = {}

    def act(connection: sqlite3.Connection) -> None:
        row.update(pick(connection, table, seed))
        value = changed(row[column], seed)
        connection.execute(f"UPDATE {table} SET {column} = :value WHERE {where(table)}", {"value": value, **keys(table, row)})

    report = tamper(full_path, act)
    assert named(report, table, label(row, table)), [str(finding) for finding in report.findings]
    if column not in {"canonical", "data", "sealed"} | set(KEYS[table]) and table not in {"entries", "checkpoints"}:
        assert all(f"field {column}" in finding.place for finding in report.findings)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("table", TABLES)
def test_a_deleted_row_is_found_and_named(full_path: Path, table: str, seed: int) -> None:
    row: dict[str, object] = {}

    def act(connection: sqlite3.Connection) -> None:
        row.update(pick(connection, table, seed))
        connection.execute(f"DELETE FROM {table} WHERE {where(table)}", keys(table, row))

    report = tamper(full_path, act)
    # A deleted checkpoint leaves its mark in the head, which cannot say which row it was.
    assert named(report, "checkpoints") if table == "checkpoints" else named(report, table, label(row, table) if table != "entries" else "")


@pytest.mark.parametrize("table", TABLES)
def test_an_added_row_is_found_and_named(full_path: Path, table: str) -> None:
    row: dict[str, object] = {}

    def act(connection: sqlite3.Connection) -> None:
        row.update(pick(connection, table, 0))
        key = KEYS[table][-1]
        row[key] = row[key] + 500 if isinstance(row[key], int) else changed(row[key], 0)
        marks = ", ".join("?" * len(row))
        connection.execute(f"INSERT INTO {table} VALUES ({marks})", tuple(row.values()))

    assert named(tamper(full_path, act), table, label(row, table))


@pytest.mark.parametrize(
    "column", ["seq", "prev", "at", "zone", "actor", "name", "role", "device", "kind", "reason", "software", "demonstration"]
)
def test_a_member_changed_in_canonical_form_is_named_even_with_its_digest_remade(full_path: Path, column: str) -> None:
    import hashlib
    import json

    def act(connection: sqlite3.Connection) -> None:
        body = json.loads(connection.execute("SELECT canonical FROM entries WHERE seq = 4").fetchone()[0])
        body[column] = {"seq": 99, "demonstration": False}.get(column, "other")
        line = canonical(body)
        connection.execute("UPDATE entries SET canonical = ?, digest = ? WHERE seq = 4", (line, hashlib.sha256(line).hexdigest()))

    report = tamper(full_path, act)
    assert named(report, "entries", "seq=5") or named(report, "entries", "seq=4")
    assert named(report, "checkpoints")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b"{}",
        b"[" * 5000,
        b"\xff",
        b'{"a":NaN}',
        *(
            canonical(dict.fromkeys(judged_members, 0) | extra)
            for judged_members in [
                [
                    *("seq", "prev", "at", "zone", "clock", "actor", "name", "role", "device", "kind", "subject", "old", "new", "unit"),
                    *("reason", "attachments", "demonstration", "software"),
                ]
            ]
            for extra in (
                {},
                {"subject": {"type": [], "id": []}, "old": {}, "new": {}, "unit": {}, "clock": {}},
                {"subject": {"type": "a", "id": "b"}, "old": {}, "new": {}, "unit": {}, "clock": {}, "at": "", "kind": "", "actor": ""},
                {
                    **{
                        "subject": {"type": "a", "id": "b"},
                        "old": {},
                        "new": {},
                        "unit": {},
                        "clock": {},
                        "at": "",
                        "kind": "",
                        "actor": "",
                    },
                    "attachments": [{"name": "", "sha256": [], "bytes": 1}],
                },
            )
        ),
    ],
)
def test_an_entry_of_any_form_is_a_finding_and_never_a_crash(full_path: Path, line: bytes) -> None:
    report = tamper(full_path, lambda connection: connection.execute("UPDATE entries SET canonical = ? WHERE seq = 3", (line,)) and None)
    assert named(report, "entries", "seq=3")


def test_text_that_is_not_utf8_is_named(full_path: Path) -> None:
    report = tamper(full_path, lambda c: c.execute("UPDATE objects SET state = CAST(x'7bff7d' AS TEXT) WHERE id = 'P1'") and None)
    assert named(report, "objects", "patient/P1")


def test_a_cut_off_tail_is_found_by_the_last_checkpoint(full_path: Path) -> None:
    def act(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM entries WHERE seq = (SELECT max(seq) FROM entries)")

    report = tamper(full_path, act)
    assert any("cut off" in finding.problem for finding in report.findings)


def test_a_tail_after_the_last_checkpoint_is_stated(tmp_path: Path) -> None:
    store = new_store(tmp_path / "t.db")
    store.append(judged(1), judged(2))
    report = verify_store(tmp_path / "t.db", [KEY.verifier])
    assert report.status is VerificationStatus.VERIFIED
    assert any(line.startswith("not anchored: entries 1 to 2") for line in report.checked)
    store.close()
    assert not any("not anchored" in line for line in verify_store(tmp_path / "t.db").checked)


def test_missing_or_foreign_schema_is_named(full_path: Path) -> None:
    connection = sqlite3.connect(full_path)
    connection.execute("DROP TRIGGER entries_guard")
    connection.execute("CREATE TABLE notes (text)")
    connection.execute("DROP INDEX entry_index_kind")
    connection.commit()
    report = verify_store(full_path, [KEY.verifier])
    assert [finding.place for finding in report.findings] == [
        "schema index entry_index_kind",
        "schema table notes",
        "schema trigger entries_guard",
    ]
    connection.execute("DROP TABLE patients")
    connection.commit()
    connection.close()
    assert named(verify_store(full_path, [KEY.verifier]), "schema table patients")


def test_who_signed_is_only_established_by_a_trusted_key(full_path: Path) -> None:
    assert verify_store(full_path).status is VerificationStatus.SIGNER_NOT_ESTABLISHED
    other = SigningKey.generate(KEY.name).verifier
    report = verify_store(full_path, [other])
    assert (report.status, report.signer_established) == (VerificationStatus.FAILED, False)
    assert verify_store(full_path, [other, KEY.verifier]).status is VerificationStatus.VERIFIED


def test_a_store_remade_with_another_key_fails_against_the_trusted_one(tmp_path: Path) -> None:
    from audit.store import TrailStore

    forger = SigningKey.generate(KEY.name)
    TrailStore.create(tmp_path / "f.db", origin=KEY.name, key=forger, clock=CLOCK, software="x", demonstration=True).close()
    assert verify_store(tmp_path / "f.db", [KEY.verifier]).status is VerificationStatus.FAILED
    assert verify_store(tmp_path / "f.db", [forger.verifier]).status is VerificationStatus.VERIFIED


@pytest.mark.parametrize("seed", range(20))
def test_one_flipped_byte_in_the_content_of_the_file_is_never_verified_as_other_content(full_path: Path, seed: int) -> None:
    data = bytearray(full_path.read_bytes())
    generator = random.Random(seed)
    connection = sqlite3.connect(full_path)
    line = connection.execute("SELECT canonical FROM entries ORDER BY seq LIMIT 1 OFFSET ?", (seed % 8,)).fetchone()[0]
    connection.close()
    place = data.find(line[40:80]) + generator.randrange(40)
    data[place] ^= 1 << generator.randrange(8)
    full_path.write_bytes(bytes(data))
    assert verify_store(full_path, [KEY.verifier]).status is VerificationStatus.FAILED


def test_a_file_that_is_no_store_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "t.db").write_bytes(b"x" * 9000)
    assert verify_store(tmp_path / "t.db").status is VerificationStatus.FAILED
    (tmp_path / "e.db").touch()
    assert verify_store(tmp_path / "e.db").status is VerificationStatus.FAILED


def test_verify_reads_beside_a_writer_and_changes_nothing(full_path: Path) -> None:
    with open_store(full_path) as store:
        store.append(judged(9))
        assert verify_store(full_path, [KEY.verifier]).findings == ()
        assert store.append(judged(9))[0].seq == store.size - 1


@pytest.fixture
def in_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a short trail be checked in two processes, split after four entries."""
    for module in (trail_walk, verify_half):
        monkeypatch.setattr(module, "BATCH", 4)
    monkeypatch.setattr(verify_half, "_WORTH_A_PROCESS", 5)


@pytest.mark.usefixtures("in_halves")
def test_two_processes_find_what_one_finds(full_path: Path) -> None:
    with open_store(full_path) as store:
        for n in range(5):
            store.append(judged(n, "466.1"))
            store.append(EntryDraft(EventKind.RUN_STATE_CHANGED, Subject("run", "R1"), {"n": n, "flag": True}, SYSTEM, "cell"))
    connection = sqlite3.connect(full_path)
    other = verify_half.OtherHalf.start(full_path, connection)
    assert other is not None
    later = other.result()
    other.close()
    assert later is not None and later.size > 4
    assert verify_store(full_path, [KEY.verifier], workers=2) == verify_store(full_path, [KEY.verifier])

    def lie(connection: sqlite3.Connection) -> None:
        body = json.loads(connection.execute("SELECT canonical FROM entries WHERE seq = 12").fetchone()[0])
        body["old"] = dict.fromkeys(body["new"], "another")
        connection.execute("UPDATE entries SET canonical = ? WHERE seq = 12", (canonical(body),))

    connection.close()
    alone = tamper(full_path, lie)
    assert named(alone, "entries row seq=12")
    assert verify_store(full_path, [KEY.verifier], workers=2) == alone


def test_a_first_half_does_not_join_what_does_not_follow_from_it(full_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (trail_walk, verify_half):
        monkeypatch.setattr(module, "BATCH", 4)
    connection = sqlite3.connect(full_path)

    def halves() -> tuple[trail_walk.TrailWalk, trail_walk.TrailWalk]:
        return verify_half.walk_entries(connection, [], 0, 8), verify_half.walk_entries(connection, [], 8)

    first, later = halves()
    assert first.joins(later)
    assert first.batches == verify_half.walk_entries(connection, []).batches
    for change in ("first_prev", "demonstration", "start"):
        first, later = halves()
        setattr(later, change, "x")
        assert not first.joins(later)
    first, later = halves()
    known = next(known for known in later.objects.values() if known.needed)
    known.needed[next(iter(known.needed))] = "other"
    assert not first.joins(later)
    connection.close()


def test_true_is_not_taken_for_one(full_path: Path) -> None:
    with open_store(full_path) as store:
        for value in (1, 2):
            store.append(EntryDraft(EventKind.RUN_STATE_CHANGED, Subject("run", "R1"), {"n": value}, SYSTEM, "cell"))
        size = store.size

    def lie(connection: sqlite3.Connection) -> None:
        line = connection.execute("SELECT canonical FROM entries WHERE seq = ?", (size - 1,)).fetchone()[0]
        connection.execute(
            "UPDATE entries SET canonical = ? WHERE seq = ?", (line.replace(b'"old":{"n":1}', b'"old":{"n":true}'), size - 1)
        )

    report = tamper(full_path, lie)
    assert any("old is not" in finding.problem for finding in report.findings)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"new":{"n":2}', b'"new":{"n":2.0}'),
        (b'"new":{"n":2}', b'"new":{"n": 2}'),
        (b'"new":{"n":2}', b'"new":{"n":1,"n":2}'),
        (b'"new":{"n":2}', b'"new":{"n":9007199254740993}'),
        (b'"device":"cell"', b'"device":"\\u0063ell"'),
        (b'"reason":null,"role":"system"', b'"role":"system","reason":null'),
        (b'"zone":"Europe/Paris"', b'"zone":1'),
        (b'"rate":"1"', b'"rate":1.5'),
        (b'"zone":"Europe/Paris"}', b'"zone":"Europe/Paris"} '),
    ],
)
def test_another_form_of_an_entry_is_found_where_nothing_else_speaks_against_it(tmp_path: Path, old: bytes, new: bytes) -> None:
    """The last entry, signed by nobody yet, with its digest and the head remade: its form alone is wrong."""
    store = new_store(tmp_path / "t.db")
    for value in (1, 2):
        store.append(EntryDraft(EventKind.RUN_STATE_CHANGED, Subject("run", "R1"), {"n": value}, SYSTEM, "cell"))

    def act(connection: sqlite3.Connection) -> None:
        line = connection.execute("SELECT canonical FROM entries WHERE seq = 2").fetchone()[0]
        assert line.count(old) == 1
        changed = line.replace(old, new)
        connection.execute("UPDATE entries SET canonical = ?, digest = ? WHERE seq = 2", (changed, sha256_hex(changed)))
        connection.execute("UPDATE head SET digest = ?", (sha256_hex(changed),))

    report = tamper(tmp_path / "t.db", act)
    assert named(report, "entries row seq=2"), [str(finding) for finding in report.findings]
    store.close()
