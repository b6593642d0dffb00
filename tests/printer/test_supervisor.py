"""A cell that dies is started again; one that ends in order, or cannot start, is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from stack import Stack

from api.processes import wait_for_file
from audit.checkpoint import SigningKey
from audit.clock import SystemClock
from audit.errors import StoreBusy
from audit.store import TrailStore
from printer.supervisor import CONFIGURATION, GRACE_S, Pauses, Supervisor


def counting(folder: Path, ends: str) -> list[str]:
    """A command that counts its starts in a file; `ends`: Python that decides by `n`, the number of this start."""
    code = f"import os, pathlib; f = pathlib.Path({str(folder / 'starts')!r}); n = len(f.read_text()) if f.exists() else 0; "
    return [sys.executable, "-c", code + f"f.write_text('x' * (n + 1)); {ends}"]


def starts(folder: Path) -> int:
    return len((folder / "starts").read_text())


def test_a_command_that_dies_is_started_again_until_it_ends_in_order(tmp_path: Path) -> None:
    said: list[str] = []
    command = counting(tmp_path, "os._exit([1, -1][0]) if n == 0 else (os.kill(os.getpid(), 9) if n == 1 else None)")
    assert Supervisor(command, said.append).run() == 0
    assert starts(tmp_path) == 3
    assert ["status 1" in said[0], "status -9" in said[1]] == [True, True]


def test_wrong_files_are_told_at_once_but_not_after_it_has_lived(tmp_path: Path) -> None:
    assert Supervisor(counting(tmp_path, "os._exit(2)"), lambda text: None).run() == CONFIGURATION
    assert starts(tmp_path) == 1
    later = tmp_path / "later"
    later.mkdir()
    # A disk that is full for a moment refuses the second start; the third succeeds.
    assert Supervisor(counting(later, "os._exit({0: 1, 1: 2}.get(n, 0))"), lambda text: None).run() == 0
    assert starts(later) == 3


def test_pauses_grow_and_shrink_again() -> None:
    pauses = Pauses()
    assert [pauses.next(1.0) for _ in range(8)] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert pauses.next(61.0) == 0.5


def test_asked_to_end_it_asks_the_command_and_does_not_start_it_again(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    command = counting(tmp_path, f"open({str(ready)!r}, 'w').close(); import signal; signal.pause()")
    supervisor = Supervisor(command, lambda text: None)
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    with ready.open():
        pass
    supervisor.end()
    thread.join(20)
    assert not thread.is_alive()
    assert starts(tmp_path) == 1


class Lives:
    """A command in pretended time: each start lives as long, and ends with the status, as it is told."""

    stdin = None

    def __init__(self, *lives: tuple[float, int]) -> None:
        self.now = 0.0
        self.left = list(lives)

    def __call__(self, *_: object, **__: object) -> Lives:
        return self

    def wait(self, timeout: float) -> int:
        lived, status = self.left.pop(0)
        self.now += lived
        return status


def test_wrong_files_are_not_believed_of_a_cell_that_has_served(monkeypatch: pytest.MonkeyPatch) -> None:
    command = Lives((3_600.0, CONFIGURATION), (2.0, CONFIGURATION), (60.0, 0))
    monkeypatch.setattr("printer.supervisor.subprocess.Popen", command)
    supervisor = Supervisor(["cell"], lambda text: None, lambda: command.now)
    monkeypatch.setattr(supervisor._ending, "wait", lambda pause: False)
    assert supervisor.run() == 0
    assert command.left == []


class SlowToEnd:
    """A command in pretended time: it does not end by itself, and is asked to end in mid-wait."""

    stdin = None

    def __init__(self) -> None:
        self.now = 0.0
        self.asked: float | None = None
        self.killed: float | None = None
        self.supervisor: Supervisor | None = None

    def __call__(self, *_: object, **__: object) -> SlowToEnd:
        return self

    def wait(self, timeout: float) -> int:
        if self.killed is not None:
            return -9
        self.now += timeout
        if self.asked is None and self.now >= 29.5 and self.supervisor is not None:
            self.supervisor.end()
        raise subprocess.TimeoutExpired("cell", timeout)

    def terminate(self) -> None:
        self.asked = self.now

    def kill(self) -> None:
        self.killed = self.now


def test_a_command_has_its_whole_time_of_grace_whenever_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    command = SlowToEnd()
    monkeypatch.setattr("printer.supervisor.subprocess.Popen", command)
    command.supervisor = Supervisor(["cell"], lambda text: None, lambda: command.now)
    assert command.supervisor.run() == 0
    assert command.asked is not None and command.killed is not None
    assert GRACE_S <= command.killed - command.asked < GRACE_S + 2


@pytest.mark.stack
def test_a_killed_cell_comes_back_and_closes_its_run(tmp_path: Path) -> None:
    stack = Stack.start(tmp_path / "site")
    try:
        assert stack.client is not None
        stack.client.close()
        os.kill(stack.cell_pid, signal.SIGTERM)
        address_file = stack.folder / "cell-1" / "address.json"
        stack.supervise_cell()
        run = stack.begin()
        stack.until(lambda status: status["units"][0]["state"] == "printing")  # type: ignore[index, call-overload]
        address_file.unlink()
        stack.kill_cell()
        stack.connect(wait_for_file(address_file, stack.supervisor(), 30.0))
        status = stack.ask().status()
        assert (status["state"], status["ended"], status["run"]) == ("AWAITING_REVIEW", "INTERRUPTED", run)
    finally:
        stack.close()


@pytest.mark.stack
def test_a_second_cell_on_the_same_store_is_refused_and_the_first_prints_on(tmp_path: Path) -> None:
    stack = Stack.start(tmp_path / "site")
    try:
        run = stack.begin()
        stack.until(lambda status: status["units"][0]["state"] == "printing")  # type: ignore[index, call-overload]
        command = [sys.executable, "-m", "printer.wiring_cell", "--config", str(stack.folder / "cell-1" / "cell.toml")]
        second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert second.returncode == CONFIGURATION
        key = SigningKey.load(stack.folder / "cell-1" / "cell.key")
        with pytest.raises(StoreBusy):
            TrailStore.open(stack.folder / "cell-1.db", key=key, clock=SystemClock(), software="test")
        status = stack.ask().status()
        assert (status["run"], status["state"]) == (run, "PRINTING")
    finally:
        stack.close()
