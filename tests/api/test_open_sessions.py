"""Sessions outlive the workstation's process: they come back locked, and nobody can make one up."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from api.app import create_app
from api.idempotency import ANSWERS_FILE
from api.open_sessions import SESSIONS_FILE, KeptSession, OpenSessions
from api.security import Sessions
from api.wiring import build_workstation
from audit.clock import SystemClock
from audit.identity import Role

SECRET = b"k" * 32


class Fixed(SystemClock):
    """Process time that stands still."""

    def now(self) -> int:
        return 5_000_000


def sessions(path: Path, minutes: int = 60, secret: bytes = SECRET) -> Sessions:
    return Sessions(Fixed(), minutes, kept=OpenSessions(path, secret))


def kept(key: str, until: datetime) -> KeptSession:
    return KeptSession(key, "qp", "A QP", frozenset({Role.QUALIFIED_PERSON}), False, "", until)


@contextmanager
def started_again(bench: Any) -> Iterator[Any]:
    """The same site, by another process that finds what a killed one left."""
    from starlette.testclient import TestClient

    folder = bench.workstation.settings.folder
    copy = folder.with_name("after")
    shutil.copytree(folder, copy)
    workstation = build_workstation(copy, connector=bench.cell.connect)
    try:
        with TestClient(create_app(workstation, page=False), base_url="http://localhost:8080", client=("127.0.0.1", 50000)) as client:
            yield type(bench)(bench.site, bench.cell, workstation, client, bench._tokens)
    finally:
        workstation.close()


def test_after_a_restart_the_session_is_locked_sees_and_stops_and_the_password_opens_it(bench: Any) -> None:
    bench.cell.status_now = {**bench.cell.status_now, "run": "B00001-R1"}
    bench.token("operator")
    with started_again(bench) as again:
        assert again.ask("operator", "GET", "/session").json()["locked"] is True
        assert again.ask("operator", "GET", "/cells/cell-1/status").status_code == 200
        refused = again.ask("operator", "POST", "/batches/none/start")
        assert refused.status_code == 423 and "started again" in refused.json()["detail"]
        assert again.ask("operator", "POST", "/cells/cell-1/stop", {"strength": "quickstop", "reason": "seen"}).status_code == 200
        assert again.ask("operator", "POST", "/session/resume", {"password": "wrong"}).status_code == 401
        assert again.ask("operator", "POST", "/session/resume", {"password": again.site.passwords["operator"]}).status_code == 200
        assert again.ask("operator", "POST", "/batches/none/start").status_code == 404
        entries = [(entry.kind, entry.reason) for entry in again.workstation.store.entries()]
        assert ("person.session.locked", "the workstation was started again") in entries


def test_what_was_closed_or_has_ended_does_not_come_back(bench: Any) -> None:
    for username in ("operator", "pharmacist", "second", "qp"):
        bench.token(username)
    bench.ask("operator", "DELETE", "/session")
    bench.ask("administrator", "POST", "/people/second/deactivate", {"reason": "has left"})
    bench.workstation.open_sessions.keep(kept(next(iter(key_of(bench, "qp"))), datetime.now(UTC) - timedelta(seconds=1)))
    with started_again(bench) as again:
        assert again.ask("pharmacist", "GET", "/session").json()["locked"] is True
        for username in ("operator", "second", "qp"):
            assert again.ask(username, "GET", "/session").status_code == 401, username
    # and one whose account went while no process was there
    with started_again_without(bench, "pharmacist") as again:
        assert again.ask("pharmacist", "GET", "/session").status_code == 401


def key_of(bench: Any, username: str) -> list[str]:
    return [session.key for session in bench.workstation.open_sessions.read() if session.username == username]


@contextmanager
def started_again_without(bench: Any, username: str) -> Iterator[Any]:
    bench.workstation.people._identity.deactivate(username, administrator(bench), "has left")
    shutil.rmtree(bench.workstation.settings.folder.with_name("after"))
    assert key_of(bench, username), "the session has to be in the file for this to show anything"
    with started_again(bench) as again:
        yield again


def administrator(bench: Any) -> Any:
    return bench.workstation.people._identity.person("administrator").actor(Role.ADMINISTRATOR)


def test_a_session_that_was_made_up_in_the_file_is_none(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    first = sessions(path)
    token = first.open("operator", "An operator", [Role.OPERATOR])
    with sqlite3.connect(path) as file:
        ((key, sealed),) = file.execute("SELECT key, sealed FROM sessions").fetchall()
        # the sealed row of one session under the name of another, and a row that somebody without the key has sealed
        file.execute("INSERT INTO sessions VALUES (?, ?)", ("f" * 64, sealed))
    file.close()
    foreign = OpenSessions(path, b"x" * 32)
    foreign.keep(kept("e" * 64, datetime.now(UTC) + timedelta(hours=1)))
    foreign.close()
    assert [session.key for session in OpenSessions(path, SECRET).read()] == [key]
    assert token.encode() not in path.read_bytes() + Path(f"{path}-wal").read_bytes(), "the file would open a session"
    assert OpenSessions(path, b"z" * 32).read() == ()


def test_no_session_is_longer_for_a_clock_that_was_set_back(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    before = OpenSessions(path, SECRET)
    before.keep(kept("a" * 64, datetime.now(UTC) + timedelta(days=400)))
    before.close()
    again = sessions(path, minutes=60)
    again.bring_back(lambda username: True)
    (opened,) = again._open.values()
    assert opened.session.locked and opened.session.expires == 5_000_000 + 3600 * 1_000_000


@pytest.mark.parametrize("found", [b"", b"no database at all, but long enough to be looked at as one" * 40])
def test_a_file_that_cannot_be_read_is_begun_anew(tmp_path: Path, found: bytes) -> None:
    path = tmp_path / "sessions.db"
    path.write_bytes(found)
    first = sessions(path)
    token = first.open("operator", "An operator", [Role.OPERATOR])
    again = sessions(path)
    again.bring_back(lambda username: True)
    assert (session := again.find(token)) is not None and session.locked
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("name", [SESSIONS_FILE, ANSWERS_FILE])
@pytest.mark.parametrize("first", [0, 4096], ids=["whole", "all but its first page"])
def test_a_damaged_side_file_does_not_keep_the_site_from_starting(bench: Any, name: Path, first: int) -> None:
    folder = bench.workstation.settings.folder
    hour = datetime.now(UTC) + timedelta(hours=1)
    for number in range(60):
        bench.workstation.open_sessions.keep(kept(f"{number:064x}", hour))
        bench.workstation.answers.begin("operator", f"{number:020d}", "f" * 64)
    with sqlite3.connect(folder / name) as file:
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    file.close()
    path = folder / name
    path.write_bytes(path.read_bytes()[:first] + b"\xa5" * (path.stat().st_size - first))
    with started_again(bench) as again:
        assert again.ask("qp", "GET", "/session").status_code == 200
        assert again.workstation.answers.begin("operator", "f" * 20, "f" * 64) is None


def test_a_disk_that_takes_nothing_costs_a_log_in_later_and_not_now(tmp_path: Path) -> None:
    first = sessions(tmp_path / "sessions.db")
    assert first._kept is not None
    first._kept._connection.execute("PRAGMA query_only=1")
    token = first.open("operator", "An operator", [Role.OPERATOR])
    assert first.find(token) is not None
    first.close(token)
    assert first.find(token) is None
    assert sessions(tmp_path / SESSIONS_FILE)._kept.read() == ()  # type: ignore[union-attr]
