"""The web process is killed: another has its place at once; and what happens where none waits, where it cannot serve, and at the end."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api import web_supervisor
from api.errors import ProcessFailed
from api.processes import free_port
from api.site import create_site
from api.web_supervisor import WebSupervisor, bound
from audit.reader import TrailReader

pytestmark = pytest.mark.stack
UP_S = 120.0


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return create_site(tmp_path_factory.mktemp("supervised") / "site", inks=(), cells=1).folder


@pytest.fixture
def supervise(site: Path, tmp_path: Path) -> Iterator[Callable[..., WebSupervisor]]:
    made: list[WebSupervisor] = []

    def start(said: list[str], folder: Path = site, port: int = 0, spare_after_s: float = 0.0) -> WebSupervisor:
        log = tmp_path / "workstation.log"
        web = WebSupervisor(folder, "127.0.0.1", port or free_port(), log=log, tell=said.append, spare_after_s=spare_after_s)
        made.append(web)
        web.start()
        return web

    yield start
    for web in made:
        web.close()


def process(web: WebSupervisor) -> str:
    return str(httpx.get(f"http://127.0.0.1:{web.port}/api/v1/health", timeout=UP_S).json()["process"])


def kill(web: WebSupervisor) -> int:
    pid = web.pid
    os.kill(pid, signal.SIGKILL)
    return pid


def until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + UP_S
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.02)


def kinds(site: Path) -> list[str]:
    reader = TrailReader(site / "workstation.db")
    found = [str(entry.kind) for entry in reader.entries() if str(entry.kind).startswith("site.process.")]
    reader.close()
    return found


def test_the_one_that_waits_takes_over_and_whoever_connects_meanwhile_is_answered(
    supervise: Callable[..., WebSupervisor], site: Path
) -> None:
    said: list[str] = []
    web = supervise(said)
    seen = []
    for _ in range(3):
        web.wait(UP_S)
        web.wait(UP_S, spare=True)
        seen.append(process(web))
        kill(web)
        seen.append(process(web))  # asked at once: it waits for the answer of the next one, and is not refused
        assert seen[-1] != seen[-2]
    assert seen[1] == seen[2] and seen[3] == seen[4] and len(set(seen)) == 4
    assert said == ["the workstation ended with status -9; the one that waited has taken its place"] * 3
    pids = [web.pid]
    web.close()
    assert kinds(site)[-5:] == ["site.process.started"] * 4 + ["site.process.stopped"], "three were killed, the last one ended in order"
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", web.port), timeout=5)


def test_where_none_waits_the_port_is_closed_until_the_next_one_is_loaded(supervise: Callable[..., WebSupervisor]) -> None:
    said: list[str] = []
    web = supervise(said, spare_after_s=3600.0)
    web.wait(UP_S)
    before, pid = process(web), kill(web)
    limit = time.monotonic() + UP_S
    refused = 0
    while True:
        assert time.monotonic() < limit
        try:
            socket.create_connection(("127.0.0.1", web.port), timeout=5).close()
        except ConnectionRefusedError:
            refused += 1
            time.sleep(0.02)
            continue
        except ConnectionResetError:  # it was in the queue of the one that died
            continue
        if refused:
            break
    assert process(web) != before and web.pid != pid
    assert said == ["the workstation ended with status -9; another is started in 0.5 s"]


@pytest.mark.deep
def test_the_one_that_waits_may_die_too(supervise: Callable[..., WebSupervisor]) -> None:
    said: list[str] = []
    web = supervise(said)
    web.wait(UP_S, spare=True)
    first, pid = process(web), web.spare_pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: web.spare_pid not in (pid, None))
    web.wait(UP_S, spare=True)
    assert process(web) == first, "the one that serves serves on"
    kill(web)
    assert process(web) != first
    assert said[0] == "the workstation's process that was to wait ended with status -9; another is loaded in 0.5 s"


@pytest.mark.deep
def test_what_cannot_be_started_is_tried_again_while_the_one_that_serves_goes_on(
    supervise: Callable[..., WebSupervisor], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    web = supervise(said, spare_after_s=0.0)
    web.wait(UP_S, spare=True)
    first = process(web)
    begin, refused = web_supervisor._Web, list[int]()

    def no_memory(*arguments: Any) -> Any:
        if len(refused) < 3:
            refused.append(1)
            raise OSError(12, "Cannot allocate memory")
        return begin(*arguments)

    monkeypatch.setattr(web_supervisor, "_Web", no_memory)
    kill(web)  # the one that waits takes over; no other can be loaded at once
    assert process(web) != first
    web.wait(UP_S, spare=True)
    assert len(refused) == 3
    assert said[1:] == [
        f"the workstation's process that was to wait cannot be started: [Errno 12] Cannot allocate memory; another is loaded in {pause} s"
        for pause in ("0.5", "1", "2")
    ]


@pytest.mark.deep
def test_a_next_one_that_cannot_be_started_is_tried_again(supervise: Callable[..., WebSupervisor], monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    web = supervise(said, spare_after_s=3600.0)
    web.wait(UP_S)
    first, begin, refused = process(web), web_supervisor._Web, list[int]()

    def no_memory(*arguments: Any) -> Any:
        refused.append(1)
        if len(refused) == 1:
            raise OSError(12, "Cannot allocate memory")
        return begin(*arguments)

    monkeypatch.setattr(web_supervisor, "_Web", no_memory)
    kill(web)
    until(lambda: len(refused) == 2)
    web.wait(UP_S)
    assert process(web) != first
    assert said[1] == "the workstation cannot be started: [Errno 12] Cannot allocate memory; it is tried again in 1 s"


def test_a_site_that_cannot_be_served_is_given_up_with_what_it_said(supervise: Callable[..., WebSupervisor], tmp_path: Path) -> None:
    broken = create_site(tmp_path / "broken", inks=(), cells=1).folder
    settings = broken / "workstation.toml"
    settings.write_text(settings.read_text() + "\nno_such_key = 1\n")
    web = supervise([], folder=broken)
    with pytest.raises(ProcessFailed, match="no_such_key"):
        web.wait(UP_S)


@pytest.mark.deep
def test_a_site_that_was_served_once_is_not_given_up(supervise: Callable[..., WebSupervisor], tmp_path: Path) -> None:
    """A next process that is refused (here by its files; a database may still hold the place of the dead one) is tried again."""
    folder, said = create_site(tmp_path / "site", inks=(), cells=1).folder, list[str]()
    web = supervise(said, folder=folder, spare_after_s=3600.0)
    web.wait(UP_S)
    first, settings = process(web), folder / "workstation.toml"
    right = settings.read_text()
    settings.write_text(f"{right}\nno_such_key = 1\n")
    kill(web)
    until(lambda: len(said) >= 2)
    settings.write_text(right)
    web.wait(UP_S)
    assert process(web) != first
    assert said[1] == "the workstation ended with status 2; another is started in 1 s"


def test_a_port_that_another_program_has_is_named(site: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        web = WebSupervisor(site, "127.0.0.1", port)
        with pytest.raises(ProcessFailed, match=f"127.0.0.1:{port}: Address already in use"):
            web.start()
        web.close()
    bound("127.0.0.1", port).close()
