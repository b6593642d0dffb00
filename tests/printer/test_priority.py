"""What a cell asks of the scheduler: granted, refused, and taken away from a thread that does not rest."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from api.status import CellStatus
from api.workstation import panels
from printer.door import Door
from printer.priority import NICE, REAL_TIME, Priority, step_down
from recipes.library import load_machine


def permitted() -> bool:
    code = "import os; os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10)); os.setpriority(os.PRIO_PROCESS, 0, -10)"
    return subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL, check=False).returncode == 0


needs_permission = pytest.mark.skipif(not permitted(), reason="this account may not use real-time priority")


def told(code: str) -> list[str]:
    """What a process of its own prints: priorities are the process's."""
    text = "import os, threading, time\nfrom printer.priority import Priority, step_down\n" + code
    return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True, timeout=120).stdout.splitlines()


@needs_permission
def test_the_threads_of_the_stop_get_real_time_and_those_that_work_for_others_do_not() -> None:
    said = told(
        """
priority = Priority()
priority.raise_all()
priority.claim()
def say():
    print(os.sched_getscheduler(0) == os.SCHED_RR, os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
def other():
    step_down()
    say()
    inner = threading.Thread(target=say); inner.start(); inner.join()
for target in (say, other):
    thread = threading.Thread(target=target); thread.start(); thread.join()
say()
print(priority.real_time, priority.notices)
"""
    )
    assert said == [f"True {NICE}", f"False {NICE}", f"False {NICE}", f"True {NICE}", "True ()"]


@needs_permission
def test_threads_that_take_too_much_lose_real_time_for_all() -> None:
    said = told(
        """
import printer.priority as module
at_once = module.step_down
module.step_down = lambda thread=0: (time.sleep(0.05), at_once(thread))  # whoever sees that it is given up sees all of it
priority = Priority(0.1)
priority.claim()
until = time.monotonic() + 60
def spin():
    while priority.real_time and time.monotonic() < until: pass
time.sleep(0.35)
print(priority.real_time)
thread = threading.Thread(target=spin); thread.start(); thread.join()
print(priority.real_time, os.sched_getscheduler(0) == os.SCHED_OTHER, [notice[:33] for notice in priority.notices])
priority.surrender()
print(len(priority.notices))
"""
    )
    assert said == ["True", "False True ['real-time priority was given up: ']", "1"]


def refuse(*_: object) -> None:
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


def test_a_refusal_is_said_and_nothing_else_changes(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("setpriority", "sched_setscheduler"):
        monkeypatch.setattr(os, name, refuse)
    found = Priority()
    found.raise_all()
    found.claim()
    found.surrender()
    step_down()
    assert not found.real_time and len(found.notices) == 2
    assert "nice" in found.notices[0] and "real-time priority was refused" in found.notices[1]
    assert all("docs/cell.md" in notice for notice in found.notices)
    assert capfd.readouterr().err.splitlines() == [f"notice: {notice}" for notice in found.notices]


def test_the_lowest_decade_of_real_time() -> None:
    assert 0 < REAL_TIME < 50, "the kernel's own threads have 50"


def test_what_was_refused_is_in_the_status_and_on_the_page(tmp_path: Path) -> None:
    refused = Priority()
    cell: Any = SimpleNamespace(status=lambda since: {"state": "IDLE"})
    machine = load_machine("sse-20g-10ml")
    door = Door(cell, "cell-1", machine, tmp_path, tmp_path, demonstration=False, rate="1", notices=lambda: refused.notices)
    status = door.handlers()["status"]
    assert CellStatus.model_validate(status({})).notices == ()
    refused._note("real-time priority was <refused>")
    shown = CellStatus.model_validate(status({}))
    assert shown.notices == ("real-time priority was <refused>",)
    assert "real-time priority was &lt;refused&gt;" in panels.sensor_panel(shown)
    cell.status = lambda since: {"state": "FINISHING", "notices": ["the end of run B-1-R1 is not on record yet"]}
    assert CellStatus.model_validate(status({})).notices == (*shown.notices, "the end of run B-1-R1 is not on record yet")
