"""`dosewright serve`: a cell that dies comes back under its supervisor, and however serve ends, no process of it stays."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from api.demo_desk import Desk, Refused
from audit.reader import TrailReader

pytestmark = [pytest.mark.stack, pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="processes are found in /proc")]


def until(what: str, condition: Callable[[], object], seconds: float = 60.0) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)


class Serve:
    """`dosewright serve` on a site, as a process of its own; what it says goes into a file."""

    def __init__(self, site: Path) -> None:
        self.site, self._said = site, site.parent / "said.txt"
        command = [sys.executable, "-m", "api.cli", "serve", "--site", str(site), "--case", "minoxidil", "--port", "0"]
        with self._said.open("w") as output:
            self.process = subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # even where these tests run under nohup
            )
        until("it is up", lambda: "Ctrl-C ends" in self.said)

    @property
    def said(self) -> str:
        return self._said.read_text()

    @property
    def base(self) -> str:
        found = re.search(r"http://127\.0\.0\.1:\d+", self.said)
        assert found is not None
        return found.group(0)

    @property
    def cell(self) -> int:
        return int(json.loads((self.site / "cell-1" / "address.json").read_text())["process"])

    def workstation(self) -> str:
        """What names the web process that answers; empty while none does."""
        try:
            return str(httpx.get(f"{self.base}/api/v1/health", timeout=60.0).json()["process"])
        except httpx.TransportError:
            return ""

    def others(self) -> dict[int, str]:
        """All processes of this site but serve itself, by what they run."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                ended = (folder / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
            except OSError:
                continue
            if str(self.site) in command and not ended and int(folder.name) not in (self.process.pid, os.getpid()):
                found[int(folder.name)] = command
        return found


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[], Serve]]:
    site = tmp_path / "site"
    lives: list[Serve] = []

    def start() -> Serve:
        lives.append(Serve(site))
        return lives[-1]

    yield start
    for life in lives:
        for pid in (life.process.pid, *life.others()):
            if life.process.poll() is None or pid != life.process.pid:
                os.kill(pid, signal.SIGKILL)
        life.process.wait()


def answers(desk: Desk) -> bool:
    try:
        return desk.status("cell-1").state == "IDLE"
    except Refused:
        return False


def password(site: Path, username: str) -> str:
    return dict(line.split() for line in (site / "accounts.txt").read_text().splitlines())[username]


def kinds(site: Path) -> list[str]:
    reader = TrailReader(site / "cell-1.db")
    found = [str(entry.kind) for entry in reader.entries()]
    reader.close()
    return found


def test_a_dead_cell_comes_back_and_a_closed_terminal_ends_all_in_order(serve: Callable[[], Serve]) -> None:
    life = serve()
    desk = Desk.log_in(life.base, "operator", password(life.site, "operator"))
    try:
        until("the cell answers", lambda: answers(desk))
        workstation = life.workstation()
        dead = life.cell
        os.kill(dead, signal.SIGKILL)
        until("another cell", lambda: life.cell != dead)
        until("it is said", lambda: "cell-1 died and was started again" in life.said)
        until("the workstation found it", lambda: answers(desk))
        assert life.workstation() == workstation, "the workstation ran on"
        for pid in (pid for pid, command in life.others().items() if "api.app_process" in command):
            os.kill(pid, signal.SIGKILL)  # the one that serves, and the one that waits if it is there already
        until("it is said", lambda: "the workstation ended with status -9" in life.said)
        until("another workstation", lambda: life.workstation() not in ("", workstation))
        until("it found the cell, and knows who was logged in", lambda: answers(desk))
    finally:
        desk.close()
    life.process.send_signal(signal.SIGHUP)
    life.process.send_signal(signal.SIGHUP)
    assert life.process.wait(30) == 130
    assert life.others() == {}
    assert "Traceback" not in life.said
    assert [kind for kind in kinds(life.site) if kind.startswith("cell.process.")] == [
        "cell.process.started", "cell.process.started", "cell.process.stopped",
    ]  # fmt: skip


@pytest.mark.deep
@pytest.mark.parametrize("victim", ["serve", "supervisor"])
def test_nothing_stays_where_serve_or_the_supervisor_is_killed(serve: Callable[[], Serve], victim: str) -> None:
    life = serve()
    if victim == "supervisor":
        (supervisor,) = (pid for pid, command in life.others().items() if "printer.supervisor" in command)
        os.kill(supervisor, signal.SIGKILL)
        assert life.process.wait(30) == 2, "the only cell is down for good"
        assert "The cell-1 ended with status -9" in life.said
    else:
        life.process.kill()
        life.process.wait()
    until("no process is left", lambda: not life.others(), 20.0)
    assert kinds(life.site)[-1] == "cell.process.stopped"
