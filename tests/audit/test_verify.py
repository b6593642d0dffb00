"""Every table, every column, every row: a change is found and named."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from audit import tables, trail_walk, verify_half
from audit.canonical import canonical
from audit.chain import entry_digest
from audit.checkpoint import SigningKey
from audit.database import Connection
from audit.events import SYSTEM, EntryDraft, EventKind, Subject
from audit.growth import terms_of_entry
from audit.places import Place, database_at
from audit.report import Report, VerificationStatus
from audit.search_index import rows_of
from audit.store import TrailStore
from audit.verify import verify_store
from tests.audit.conftest import CLOCK, KEY, ON_POSTGRESQL, ON_SQLITE, judged, open_store, place_of
from tests.audit.engines import KEYS, TABLES, Engine, rows

COLUMNS = [(table.name, column.name) for table in tables.METADATA.sorted_tables for column in table.columns]
SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.deep) for seed in (1, 2))]


def tamper(engine: Engine, place: Place, act: Callable[[Connection], object]) -> Report:
    """Change a store as its owner could: put the triggers down, act, put them back."""
    with engine.tampering(place) as connection:
        act(connection)
    return verify_store(place, [KEY.verifier])


def named(report: Report, *words: str) -> bool:
    return report.status is VerificationStatus.FAILED and any(all(word in finding.place for word in words) for finding in report.findings)


def pick(connection: Connection, table: str, seed: int) -> dict[str, object]:
    found = rows(connection, table)
    assert found, f"the test store has no row in {table}"
    return random.Random(seed).choice(found)


def where(table: str) -> str:
    return " AND ".join(f"{key} = ?" for key in KEYS[table])


def keys(table: str, row: dict[str, object]) -> tuple[object, ...]:
    return tuple(row[key] for key in KEYS[table])


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


def test_an_untouched_store_verifies(engine: Engine, full: Place) -> None:
    report = verify_store(full, [KEY.verifier])
    assert (report.findings, report.status, report.exit_status) == ((), VerificationStatus.VERIFIED, 0)
    assert not any("not anchored" in line for line in report.checked)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_a_changed_column_is_found_and_named(engine: Engine, full: Place, table: str, column: str, seed: int) -> None:
    row: dict[str, object] = {}

    def act(connection: Connection) -> None:
        row.update(pick(connection, table, seed))
        value = changed(row[column], seed)
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE {where(table)}", (value, *keys(table, row)))

    report = tamper(engine, full, act)
    assert named(report, table, label(row, table)), [str(finding) for finding in report.findings]
    if column not in {"canonical", "data", "sealed"} | set(KEYS[table]) and table not in {"entries", "checkpoints"}:
        assert all(f"field {column}" in finding.place for finding in report.findings)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("table", TABLES)
def test_a_deleted_row_is_found_and_named(engine: Engine, full: Place, table: str, seed: int) -> None:
    row: dict[str, object] = {}

    def act(connection: Connection) -> None:
        row.update(pick(connection, table, seed))
        connection.execute(f"DELETE FROM {table} WHERE {where(table)}", keys(table, row))

    report = tamper(engine, full, act)
    # A deleted checkpoint leaves its mark in the head, which cannot say which row it was.
    assert named(report, "checkpoints") if table == "checkpoints" else named(report, table, label(row, table) if table != "entries" else "")


@pytest.mark.parametrize("table", TABLES)
def test_an_added_row_is_found_and_named(engine: Engine, full: Place, table: str) -> None:
    row: dict[str, object] = {}

    def act(connection: Connection) -> None:
        row.update(pick(connection, table, 0))
        key = KEYS[table][-1]
        row[key] = row[key] + 500 if isinstance(row[key], int) else changed(row[key], 0)
        marks = ", ".join("?" * len(row))
        connection.execute(f"INSERT INTO {table} VALUES ({marks})", tuple(row.values()))

    assert named(tamper(engine, full, act), table, label(row, table))


@pytest.mark.parametrize(
    "column", ["seq", "prev", "at", "zone", "actor", "name", "role", "device", "kind", "reason", "software", "demonstration"]
)
def test_a_member_changed_in_canonical_form_is_named(engine: Engine, full: Place, column: str) -> None:
    def act(connection: Connection) -> None:
        body = json.loads(connection.execute("SELECT canonical FROM entries WHERE seq = 4").fetchone()[0])
        body[column] = {"seq": 99, "demonstration": False}.get(column, "other")
        line = canonical(body)
        connection.execute("UPDATE entries SET canonical = ? WHERE seq = 4", (line,))

    report = tamper(engine, full, act)
    assert named(report, "entries", "seq=4")
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
def test_an_entry_of_any_form_is_a_finding_and_never_a_crash(engine: Engine, full: Place, line: bytes) -> None:
    report = tamper(engine, full, lambda connection: connection.execute("UPDATE entries SET canonical = ? WHERE seq = 3", (line,)) and None)
    assert named(report, "entries", "seq=3")


@ON_SQLITE
def test_text_that_is_not_utf8_is_named(engine: Engine, full: Place) -> None:
    report = tamper(engine, full, lambda c: c.execute("UPDATE objects SET state = CAST(x'7bff7d' AS TEXT) WHERE id = 'P1'") and None)
    assert named(report, "objects", "patient/P1")


def test_a_cut_off_tail_is_found_by_the_last_checkpoint(engine: Engine, full: Place) -> None:
    def act(connection: Connection) -> None:
        connection.execute("DELETE FROM entries WHERE seq = (SELECT max(seq) FROM entries)")

    report = tamper(engine, full, act)
    assert any("cut off" in finding.problem for finding in report.findings)


def test_a_tail_after_the_last_checkpoint_is_stated(store: TrailStore) -> None:
    store.append(judged(1), judged(2))
    report = verify_store(place_of(store), [KEY.verifier])
    assert report.status is VerificationStatus.VERIFIED
    assert any(line.startswith("not anchored: entries 1 to 2") for line in report.checked)
    store.close()
    assert not any("not anchored" in line for line in verify_store(place_of(store)).checked)


def test_missing_or_foreign_schema_is_named(engine: Engine, full: Place) -> None:
    with engine.raw(full) as connection:
        connection.execute("DROP TRIGGER entries_guard" + ("" if engine.name == "sqlite" else " ON entries"))
        connection.execute("CREATE TABLE notes (text TEXT)")
        connection.execute("CREATE INDEX mine ON entry_index (block)")
        report = verify_store(full, [KEY.verifier])
        assert [finding.place for finding in report.findings] == [
            "schema index mine",
            "schema table notes",
            "schema trigger entries_guard",
        ]
        connection.execute("DROP TABLE patients")
    assert named(verify_store(full, [KEY.verifier]), "schema table patients")


@ON_POSTGRESQL
@pytest.mark.parametrize(
    ("statement", "place"),
    [
        ("ALTER TABLE entries DISABLE TRIGGER entries_no_update", "schema trigger entries_no_update"),
        ("ALTER TABLE entries ENABLE TRIGGER entries_no_delete", "schema trigger entries_no_delete"),
        ("ALTER TABLE blobs SET UNLOGGED", "schema table blobs"),
        ("ALTER TABLE meta ADD COLUMN note text", "schema table meta"),
        ("ALTER TABLE head ALTER COLUMN checkpoints DROP NOT NULL", "schema table head"),
        ("ALTER TABLE head ALTER COLUMN checkpoints SET DEFAULT ''", "schema table head"),
        ("ALTER TABLE objects ENABLE ROW LEVEL SECURITY", "schema table objects"),
        ("ALTER TABLE objects DROP CONSTRAINT objects_pkey", "schema constraint objects.objects_pkey"),
        ("CREATE RULE silent AS ON INSERT TO entry_index DO INSTEAD NOTHING", "schema rule silent on entry_index"),
        (
            "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
            "function refuse_change",
        ),
        ("CREATE VIEW notes AS SELECT seq FROM entries", "schema table notes"),
        ("CREATE SEQUENCE numbers", "schema table numbers"),
    ],
)
def test_what_an_administrator_changed_in_the_catalogue_is_named(engine: Engine, full: Place, statement: str, place: str) -> None:
    with engine.raw(full) as connection:
        connection.execute(statement)
    assert named(verify_store(full, [KEY.verifier]), place), [str(finding) for finding in verify_store(full).findings]


def test_the_last_entry_changed_is_named_although_a_checkpoint_counts_it(engine: Engine, full: Place) -> None:
    def act(connection: Connection) -> None:
        seq, line = connection.execute("SELECT seq, canonical FROM entries ORDER BY seq DESC LIMIT 1").fetchone()
        changed.append(seq)
        connection.execute("UPDATE entries SET canonical = ? WHERE seq = ?", (line.replace(b'"device":"', b'"device":"x'), seq))

    changed: list[int] = []
    report = tamper(engine, full, act)
    assert named(report, f"entries row seq={changed[0]}") and named(report, "checkpoints row size=")


def test_a_store_of_an_earlier_schema_is_said_to_be_one_before_anything_else(engine: Engine, full: Place) -> None:
    def act(connection: Connection) -> None:
        connection.execute("UPDATE alembic_version SET version_num = '0001'")
        connection.execute("ALTER TABLE entries ADD COLUMN digest TEXT")

    first, *others = tamper(engine, full, act).findings
    assert (first.place, "use the version that made the store" in first.problem) == ("alembic_version row", True)
    assert all(finding.place.startswith("schema ") for finding in others)


def test_who_signed_is_only_established_by_a_trusted_key(engine: Engine, full: Place) -> None:
    assert verify_store(full).status is VerificationStatus.SIGNER_NOT_ESTABLISHED
    other = SigningKey.generate(KEY.name).verifier
    report = verify_store(full, [other])
    assert (report.status, report.signer_established) == (VerificationStatus.FAILED, False)
    assert verify_store(full, [other, KEY.verifier]).status is VerificationStatus.VERIFIED


def test_a_store_remade_with_another_key_fails_against_the_trusted_one(engine: Engine) -> None:
    forger, place = SigningKey.generate(KEY.name), engine.place("f")
    TrailStore.create(place, origin=KEY.name, key=forger, clock=CLOCK, software="x", demonstration=True).close()
    assert verify_store(place, [KEY.verifier]).status is VerificationStatus.FAILED
    assert verify_store(place, [forger.verifier]).status is VerificationStatus.VERIFIED


@ON_SQLITE
@pytest.mark.parametrize("seed", range(20))
def test_one_flipped_byte_in_the_content_of_the_file_is_never_verified_as_other_content(engine: Engine, full: Place, seed: int) -> None:
    data = bytearray(full.read_bytes())
    generator = random.Random(seed)
    with engine.raw(full) as connection:
        line = connection.execute("SELECT canonical FROM entries WHERE seq = ?", (seed % 8,)).fetchall()[0][0]
    place = data.find(line[40:80]) + generator.randrange(40)
    data[place] ^= 1 << generator.randrange(8)
    full.write_bytes(bytes(data))
    assert verify_store(full, [KEY.verifier]).status is VerificationStatus.FAILED


def test_a_file_that_is_no_store_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "t.db").write_bytes(b"x" * 9000)
    assert verify_store(tmp_path / "t.db").status is VerificationStatus.FAILED
    (tmp_path / "e.db").touch()
    assert verify_store(tmp_path / "e.db").status is VerificationStatus.FAILED


def test_the_search_index_reaches_to_the_last_checkpoint_and_no_further(engine: Engine, store: TrailStore) -> None:
    store.append(judged(1), judged(2))
    store.checkpoint()
    later, _ = store.append(judged(3), judged(4))

    place = place_of(store)
    with engine.raw(place) as connection:
        rows = connection.execute("SELECT term, block FROM entry_index ORDER BY term").fetchall()
        assert [*map(tuple, rows)] == rows_of(map(terms_of_entry, store.entries(0, 3)))
    assert verify_store(place, [KEY.verifier]).findings == ()
    insert, early = "INSERT INTO entry_index (term, block) VALUES (?, ?)", (f"id:{later.subject.id}", 0)
    report = tamper(engine, place, lambda connection: connection.execute(insert, early))
    assert [str(finding) for finding in report.findings] == ["entry_index row id:R1/003/0: is a term of no entry up to the last checkpoint"]
    tamper(engine, place, lambda connection: connection.execute("DELETE FROM entry_index WHERE term = ? AND block = ?", early))
    report = tamper(engine, place, lambda connection: connection.execute("DELETE FROM entry_index WHERE term = 'id:R1/002'"))
    assert [str(finding) for finding in report.findings] == ["entry_index row id:R1/002/0: is missing"]
    report = tamper(engine, place, lambda connection: connection.execute(insert, ("id:R1/002", 7)))
    assert {str(finding) for finding in report.findings} == {
        "entry_index row id:R1/002/0: is missing",
        "entry_index row id:R1/002/7: is a term of no entry up to the last checkpoint",
    }


def test_verify_reads_beside_a_writer_and_changes_nothing(engine: Engine, full: Place) -> None:
    with open_store(full) as store:
        store.append(judged(9))
        assert verify_store(full, [KEY.verifier]).findings == ()
        assert store.append(judged(9))[0].seq == store.size - 1


@pytest.fixture
def in_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a short trail be checked in two processes, split after four entries."""
    for module in (trail_walk, verify_half):
        monkeypatch.setattr(module, "BATCH", 4)
    monkeypatch.setattr(verify_half, "_WORTH_A_PROCESS", 5)


@pytest.mark.usefixtures("in_halves")
def test_two_processes_find_what_one_finds(engine: Engine, full: Place) -> None:
    with open_store(full) as store:
        for n in range(5):
            store.append(judged(n, "466.1"))
            store.append(EntryDraft(EventKind.RUN_STATE_CHANGED, Subject("run", "R1"), {"n": n, "flag": True}, SYSTEM, "cell"))
    connection = database_at(full).connect_checker()
    other = verify_half.OtherHalf.start(database_at(full), connection, 0)
    assert other is not None
    later = other.result()
    other.close()
    connection.close()
    assert later is not None and later.size > 4
    assert verify_store(full, [KEY.verifier], workers=2) == verify_store(full, [KEY.verifier])

    def lie(connection: Connection) -> None:
        body = json.loads(connection.execute("SELECT canonical FROM entries WHERE seq = 12").fetchone()[0])
        body["old"] = dict.fromkeys(body["new"], "another")
        connection.execute("UPDATE entries SET canonical = ? WHERE seq = 12", (canonical(body),))

    alone = tamper(engine, full, lie)
    assert named(alone, "entries row seq=12")
    assert verify_store(full, [KEY.verifier], workers=2) == alone


@pytest.mark.usefixtures("in_halves")
def test_an_entry_that_is_missing_anywhere_is_named_by_two_processes_as_by_one(engine: Engine, full: Place) -> None:
    """Where a trail is cut in halves its last number alone tells: the edges are the end of the first and the start of the second."""
    database = database_at(full)
    connection = database.connect_checker()
    other = verify_half.OtherHalf.start(database, connection, 0)
    assert other is not None
    other.close()
    ((last,),) = connection.execute("SELECT max(seq) FROM entries").fetchall()
    connection.close()
    for seq in (0, 1, other.begins - 1, other.begins, other.begins + 1, last):
        copy = engine.copy(full, f"without_{seq}")
        alone = tamper(engine, copy, lambda changed, seq=seq: changed.execute("DELETE FROM entries WHERE seq = ?", (seq,)))
        assert alone.status is VerificationStatus.FAILED
        assert named(alone, f"entries row seq={seq}") or seq == last, [str(finding) for finding in alone.findings]
        assert verify_store(copy, [KEY.verifier], workers=2) == alone


def test_a_first_half_does_not_join_what_does_not_follow_from_it(engine: Engine, full: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (trail_walk, verify_half):
        monkeypatch.setattr(module, "BATCH", 4)
    connection = database_at(full).connect_checker()

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
    needed = next(needed for needed in later.needed.values() if needed)
    needed[next(iter(needed))] = "other"
    assert not first.joins(later)
    connection.close()


def test_the_last_entry_changed_before_any_checkpoint_counts_it_is_named(engine: Engine, store: TrailStore) -> None:
    """Nothing follows it, nobody signed it, and no state shows the member: the digest in its object's row alone speaks against it."""
    store.append(EntryDraft(EventKind.RUN_STATE_CHANGED, Subject("run", "R1"), {"n": 1}, SYSTEM, "cell", reason="true"))
    change = "UPDATE entries SET canonical = ? WHERE seq = 1"
    (line,) = store.lines(1)
    report = tamper(engine, place_of(store), lambda c: c.execute(change, (line.replace(b'"reason":"true"', b'"reason":"lies"'),)))
    assert [finding.place for finding in report.findings] == ["objects row run/R1 field digest", "entries row seq=1"]


def test_true_is_not_taken_for_one(engine: Engine, full: Place) -> None:
    with open_store(full) as store:
        for value in (1, 2):
            store.append(EntryDraft(EventKind.RUN_STATE_CHANGED, Subject("run", "R1"), {"n": value}, SYSTEM, "cell"))
        size = store.size

    def lie(connection: Connection) -> None:
        line = connection.execute("SELECT canonical FROM entries WHERE seq = ?", (size - 1,)).fetchone()[0]
        connection.execute(
            "UPDATE entries SET canonical = ? WHERE seq = ?", (line.replace(b'"old":{"n":1}', b'"old":{"n":true}'), size - 1)
        )

    report = tamper(engine, full, lie)
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
def test_another_form_of_an_entry_is_found_where_nothing_else_speaks_against_it(
    engine: Engine, store: TrailStore, old: bytes, new: bytes
) -> None:
    """The last entry, signed by nobody yet, with its object's digest remade: its form alone is wrong."""
    for value in (1, 2):
        store.append(EntryDraft(EventKind.RUN_STATE_CHANGED, Subject("run", "R1"), {"n": value}, SYSTEM, "cell"))

    def act(connection: Connection) -> None:
        line = connection.execute("SELECT canonical FROM entries WHERE seq = 2").fetchone()[0]
        assert line.count(old) == 1
        changed = line.replace(old, new)
        connection.execute("UPDATE entries SET canonical = ? WHERE seq = 2", (changed,))
        connection.execute("UPDATE objects SET digest = ? WHERE id = 'R1'", (entry_digest(changed),))

    report = tamper(engine, place_of(store), act)
    assert named(report, "entries row seq=2"), [str(finding) for finding in report.findings]
