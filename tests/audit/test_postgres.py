"""What is PostgreSQL's own: addresses, a server that forgets, a connection that is cut, roles, and a driver that is not there."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from audit.database import Cursor, Value
from audit.errors import RecordError, StoreBusy, StoreExists, StoreMissing, StoreReadOnly
from audit.places import database_at
from audit.postgres import _Session
from audit.postgres_url import parse_postgres_url
from audit.reader import TrailReader
from audit.store import TrailStore
from audit.verify import verify_store
from tests.audit.conftest import KEY, ON_POSTGRESQL, ORIGIN, judged, new_store, open_store, place_of
from tests.audit.engines import TABLES, PostgresEngine, schema_of

ROOT = Path(__file__).parents[2]
pytestmark = ON_POSTGRESQL


@contextmanager
def owner(url: str, *, database: str = "postgres") -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    with psycopg.connect(url, dbname=database, autocommit=True) as connection:
        yield connection


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit.postgres.WAIT_SECONDS", 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("postgresql://u@/db", "no schema"),
        ("postgresql://u@/db?schema=", "no schema"),
        ("postgresql://u@/db?schema=a&schema=b", "no schema"),
        ("postgresql://u@/db?schema=a;drop", "no schema"),
        ("postgresql://u@/db?schema=Site", "no schema"),
        ("postgresql://u@/db?schema=a__new", "no schema"),
        ("postgresql://u@/?schema=a", "no database"),
        ("postgresql://u@h:99999/db?schema=a", "not a URL"),
        ("postgresql://u@[::1/db?schema=a", "not a URL"),
        ("sqlite:///trail.db", "kind sqlite://"),
        ("postgresql://u:geheim@h/db?schema=a", "holds a password"),
        ("postgresql://u@h/db?schema=a&sslpassword=geheim", "holds a password"),
    ],
)
def test_an_address_that_is_none_is_refused_and_a_password_not_repeated(engine: PostgresEngine, text: str, said: str) -> None:
    with pytest.raises(RecordError, match=said) as caught:
        database_at(text)
    assert caught.value.remedy and "geheim" not in str(caught.value)


def test_a_server_elsewhere_is_spoken_to_encrypted_and_checked(engine: PostgresEngine) -> None:
    assert parse_postgres_url("postgresql://u@db.example/x?schema=a").conninfo == "postgresql://u@db.example/x?sslmode=verify-full"
    assert "sslmode=require" in parse_postgres_url("postgresql://u@db.example/x?schema=a&sslmode=require").conninfo
    assert "sslmode" in parse_postgres_url("postgresql://u@/x?schema=a&host=db.example").conninfo
    for here in ("postgresql://u@localhost/x?schema=a", "postgresql://u@/x?schema=a&host=/run/postgresql"):
        assert "sslmode" not in parse_postgres_url(here).conninfo
        assert str(parse_postgres_url(str(parse_postgres_url(here)))) == str(parse_postgres_url(here))


def test_nothing_is_made_at_a_wrong_address(engine: PostgresEngine) -> None:
    place = engine.place("typo")
    for attempt in (open_store, TrailReader, verify_store):
        with pytest.raises(StoreMissing, match="no store at"):
            attempt(place)
    with owner(engine.url) as connection:
        assert connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (schema_of(place),)).fetchone() is None


def test_a_server_that_is_not_there_is_said_with_its_address(engine: PostgresEngine, tmp_path: Path) -> None:
    for attempt in (open_store, verify_store, new_store):
        with pytest.raises(RecordError, match=r"cannot be reached.*PGPASSFILE"):
            attempt(f"postgresql://u@/db?host={tmp_path}&schema=a")


def test_a_schema_that_is_no_trail_is_not_opened(engine: PostgresEngine) -> None:
    place = engine.place("other")
    with owner(engine.url) as connection:
        connection.execute(f"CREATE SCHEMA {schema_of(place)}")  # type: ignore[arg-type]
    with pytest.raises(RecordError, match="is not a trail store"):
        open_store(place)
    assert "none of its tables" in str(verify_store(place).findings[0])
    with pytest.raises(StoreExists):
        new_store(place)


def test_a_creation_that_fails_leaves_nothing_and_one_that_was_cut_off_is_begun_anew(
    engine: PostgresEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = engine.place("made")

    def schemas() -> list[object]:
        with owner(engine.url) as connection:
            query = "SELECT nspname FROM pg_namespace WHERE starts_with(nspname, %s)"
            return [row[0] for row in connection.execute(query, (schema_of(place),))]

    with monkeypatch.context() as patch:

        def fail(self: TrailStore, *drafts: object) -> None:
            raise RecordError("no room")

        patch.setattr(TrailStore, "append", fail)
        with pytest.raises(RecordError, match="no room"):
            new_store(place)
    assert schemas() == []
    with owner(engine.url) as connection:
        connection.execute(f"CREATE SCHEMA {schema_of(place)}__new CREATE TABLE entries (half text)")  # type: ignore[arg-type]
    new_store(place).close()
    assert schemas() == [schema_of(place)]


@pytest.mark.parametrize("name", ["fsync", "full_page_writes", "synchronous_commit"])
def test_a_server_that_may_forget_what_it_committed_is_refused(engine: PostgresEngine, store: TrailStore, name: str) -> None:
    place = place_of(store)
    store.close()
    with owner(engine.url) as connection:

        def is_set(value: str) -> None:
            """Reload, and wait until a new session has the setting."""
            connection.execute("SELECT pg_reload_conf()")
            while True:
                with owner(engine.url) as fresh:
                    if fresh.execute(f"SHOW {name}").fetchone() == (value,):  # type: ignore[arg-type]
                        return

        connection.execute(f"ALTER SYSTEM SET {name} = off")  # type: ignore[arg-type]
        try:
            is_set("off")
            with pytest.raises(RecordError, match=f"{name} = off.*Set {name} = on"):
                open_store(place)
            assert verify_store(place, [KEY.verifier]).findings == ()
        finally:
            connection.execute(f"ALTER SYSTEM RESET {name}")  # type: ignore[arg-type]
            is_set("on")
    open_store(place).close()


def test_a_role_that_does_not_wait_for_the_disk_is_refused(engine: PostgresEngine, store: TrailStore) -> None:
    store.close()
    with owner(engine.url) as connection:
        connection.execute("CREATE ROLE hasty SUPERUSER LOGIN")
        connection.execute("ALTER ROLE hasty SET synchronous_commit = local")
        try:
            with pytest.raises(RecordError, match="synchronous_commit = local"):
                open_store(place_of(store).replace("postgres@", "hasty@"))
        finally:
            connection.execute("DROP ROLE hasty")


def test_an_open_session_keeps_to_the_disk_whatever_the_server_is_set_to_later(engine: PostgresEngine, store: TrailStore) -> None:
    with owner(engine.url) as connection:
        connection.execute("ALTER SYSTEM SET synchronous_commit = off")
        connection.execute("SELECT pg_reload_conf()")
        try:
            store.append(judged(1))
            assert store._writer.execute("SHOW synchronous_commit").fetchone() == ("on",)
        finally:
            connection.execute("ALTER SYSTEM RESET synchronous_commit")
            connection.execute("SELECT pg_reload_conf()")


def test_a_database_in_another_encoding_is_refused(engine: PostgresEngine) -> None:
    with owner(engine.url) as connection:
        connection.execute("CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0")
    with pytest.raises(RecordError, match="UTF-8"):
        new_store(engine.place("t").replace("/postgres?", "/ascii?"))


@pytest.mark.parametrize("table", TABLES)
def test_no_table_is_emptied_even_by_a_session_that_replays(engine: PostgresEngine, store: TrailStore, table: str) -> None:
    with engine.raw(place_of(store)) as connection:
        connection.execute("SET session_replication_role = replica")
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="never changed or deleted"):
            connection.execute(f"TRUNCATE {table} CASCADE")


def test_a_temporary_table_takes_no_place_of_the_trail(engine: PostgresEngine, store: TrailStore) -> None:
    store._writer.execute("CREATE TEMPORARY TABLE entries (seq bigint, canonical bytea)")
    store.append(judged(1))
    assert verify_store(place_of(store), [KEY.verifier]).findings == ()
    assert store.size == 2 and sum(1 for _ in store.lines()) == 2


def test_the_grants_of_the_manual_are_enough_to_record_and_not_to_change(engine: PostgresEngine, store: TrailStore) -> None:
    schema = schema_of(place_of(store))
    manual = (ROOT / "docs/integrator.md").read_text(encoding="utf-8")
    grants = re.findall(r"^GRANT [^;]+;", manual, re.MULTILINE)
    assert len(grants) >= 3
    store.close()
    with owner(engine.url) as connection:
        connection.execute("CREATE ROLE recorder LOGIN")
        try:
            for grant in grants:
                connection.execute(grant.replace("site_a", schema))  # type: ignore[arg-type]
            place = place_of(store).replace("postgres@", "recorder@")
            with open_store(place) as opened:
                opened.append(judged(1))
                opened.checkpoint()
                for statement in ("DELETE FROM entries", "ALTER TABLE entries DISABLE TRIGGER USER", "DROP TABLE entries"):
                    with pytest.raises(psycopg.errors.InsufficientPrivilege):
                        opened._writer.execute(statement)
            assert verify_store(place, [KEY.verifier]).findings == ()
            connection.execute(f"REVOKE INSERT ON {schema}.entries FROM recorder")  # type: ignore[arg-type]
            with open_store(place) as opened, pytest.raises(StoreReadOnly, match=r"may not be used so by this role.*Grant"):
                opened.append(judged(2))
        finally:
            connection.execute("DROP OWNED BY recorder; DROP ROLE recorder")


def test_a_standby_or_read_only_server_says_so(engine: PostgresEngine, store: TrailStore) -> None:
    store._writer.execute("SET default_transaction_read_only = on")
    with pytest.raises(StoreReadOnly, match="refuses writes"):
        store.append(judged(1))
    store._writer.execute("SET default_transaction_read_only = off")
    assert store.append(judged(1))[0].seq == 1


def test_a_row_that_another_session_holds_names_the_other_writer(engine: PostgresEngine, store: TrailStore) -> None:
    store._writer.execute("SET lock_timeout = '10ms'")
    with engine.raw(place_of(store)) as holder:
        holder.execute("BEGIN")
        holder.execute("UPDATE head SET checkpoints = checkpoints")
        with pytest.raises(RecordError, match="another writer"):
            store.append(judged(1))
        assert store.state("unit", "R1/001") is None, "a reader does not wait"
        holder.execute("ROLLBACK")
    assert store.append(judged(1))[0].seq == 1


@pytest.mark.parametrize(("state", "said"), [("53100", "no room left"), ("XX001", "is damaged"), ("58030", "failed")])
def test_what_the_server_cannot_do_is_said_and_leaves_a_sound_store(
    engine: PostgresEngine, store: TrailStore, state: str, said: str
) -> None:
    """The server's own error, raised in the middle of a transaction; what a full disk does to PostgreSQL itself is not tried here."""
    with engine.raw(place_of(store)) as connection:
        body = f"BEGIN RAISE EXCEPTION 'it fails' USING ERRCODE = '{state}'; END"
        connection.execute(f"CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $${body}$$")
        connection.execute("CREATE TRIGGER fail BEFORE INSERT ON objects FOR EACH ROW EXECUTE FUNCTION fail()")
        with pytest.raises(RecordError, match=said):
            store.append(judged(1))
        connection.execute("DROP TRIGGER fail ON objects")
        connection.execute("DROP FUNCTION fail()")
    assert store.append(judged(1))[0].seq == 1
    assert verify_store(place_of(store), [KEY.verifier]).findings == ()


class CutCable:
    """A session whose cable is cut at COMMIT: before the word is sent, after the answer, or while the server is at work on it."""

    def __init__(self, session: _Session, when: str) -> None:
        self.session, self.when = session, when

    @property
    def in_transaction(self) -> bool:
        return self.session.in_transaction

    @property
    def is_lost(self) -> bool:
        return self.session.is_lost

    def execute(self, sql: str, parameters: tuple[Value, ...] = (), /) -> Cursor:
        if sql != "COMMIT":
            return self.session.execute(sql, parameters)
        raw = self.session.raw
        if self.when == "after":
            raw.execute("COMMIT")
        if self.when == "during":
            raw.pgconn.send_query(b"COMMIT")
            raw.pgconn.flush()
        with socket.socket(fileno=os.dup(raw.fileno())) as cable:
            cable.shutdown(socket.SHUT_RDWR)
        if self.when == "during":
            raw.pgconn.finish()
            raise psycopg.OperationalError("consuming input failed: the connection was cut")
        return self.session.execute(sql)

    def executemany(self, sql: str, rows: Iterable[tuple[Value, ...]], /) -> None:
        self.session.executemany(sql, rows)

    def close(self) -> None:
        self.session.close()


def cut(store: TrailStore, when: str) -> None:
    assert isinstance(store._writer, _Session)
    store._writer = CutCable(store._writer, when)


def test_a_connection_that_is_lost_before_commit_leaves_nothing(engine: PostgresEngine, store: TrailStore) -> None:
    cut(store, "before")
    with pytest.raises(RecordError, match="failed"):
        store.append(judged(1))
    assert store.size == 1
    assert store.append(judged(1))[0].seq == 1
    assert verify_store(place_of(store), [KEY.verifier]).findings == ()


def test_a_commit_whose_answer_is_lost_is_read_back_on_a_new_connection(engine: PostgresEngine, store: TrailStore) -> None:
    cut(store, "after")
    assert [entry.seq for entry in store.append(judged(1), judged(2))] == [1, 2]
    assert store.append(judged(3))[0].seq == 3
    assert verify_store(place_of(store), [KEY.verifier]).findings == ()


def test_a_commit_that_goes_on_after_the_cable_was_cut_is_waited_for(engine: PostgresEngine, store: TrailStore) -> None:
    """The old session still commits when the new one is there: only its lock, which ends with it, says when the head can be read."""
    with engine.raw(place_of(store)) as connection:
        connection.execute("CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(1); RETURN NULL; END$$")
        connection.execute(
            "CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON entries DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait()"
        )
        cut(store, "during")
        began = time.monotonic()
        assert store.append(judged(1))[0].seq == 1
        assert time.monotonic() - began > 0.9, "the commit took a second"
        connection.execute("DROP TRIGGER wait ON entries")
        connection.execute("DROP FUNCTION wait()")
    assert store.append(judged(2))[0].seq == 2
    assert verify_store(place_of(store), [KEY.verifier]).findings == ()


def test_a_writer_that_lost_its_place_to_another_does_not_write(engine: PostgresEngine, store: TrailStore, at_once: None) -> None:
    assert isinstance(store._writer, _Session)
    with owner(engine.url) as connection:
        connection.execute("SELECT pg_terminate_backend(%s, 5000)", (store._writer.raw.info.backend_pid,))
    with open_store(place_of(store)) as other:
        with pytest.raises(RecordError):
            store.append(judged(1))
        with pytest.raises(StoreBusy):
            store.append(judged(1))
        assert other.append(judged(2))[0].seq == 1
    with pytest.raises(RecordError, match="written by another process"):
        store.append(judged(1))


def test_readers_find_their_way_back_after_the_server_ended_their_sessions(engine: PostgresEngine, store: TrailStore) -> None:
    assert store.state("store", ORIGIN) is not None
    with owner(engine.url) as connection:
        query = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'dosewright'"
        connection.execute(query)
    with pytest.raises(RecordError):
        store.state("store", ORIGIN)
    assert store.state("store", ORIGIN) is not None


def test_several_trails_lie_side_by_side_in_one_database(engine: PostgresEngine) -> None:
    places = [engine.place(name) for name in ("one", "two")]
    stores = [new_store(place) for place in places]
    for n, one in enumerate(stores):
        one.append(*(judged(k) for k in range(n + 1)))
    assert [one.size for one in stores] == [2, 3]
    for one, place in zip(stores, places, strict=True):
        one.close()
        assert verify_store(place, [KEY.verifier]).findings == ()


def test_without_the_driver_the_error_says_what_to_install(engine: PostgresEngine) -> None:
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from audit.errors import RecordError\n"
        "from audit.store import TrailStore\n"
        "from audit.verify import verify_store\n"
        "try: verify_store('postgresql://u@/db?schema=a')\n"
        "except RecordError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert "pip install 'dosewright[postgresql]'" in done.stdout, done.stderr


def test_a_store_in_a_file_loads_no_driver(engine: PostgresEngine) -> None:
    code = "import sys, audit.store, audit.verify, audit.identity; print('psycopg' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "False\n", done.stderr
