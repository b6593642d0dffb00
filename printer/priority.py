"""How the threads of a cell stand beside the other programs of the computer.

The threads between a sensor's line and the stop (the controller and the ports') ask for real time, `SCHED_RR` of sched(7): no
page, browser or compiler is served before them. Every other thread of the cell keeps ordinary priority, raised by `nice`, because
it may hold the interpreter that the first ones wait for. Where the system refuses, the cell goes on and says so.

Real time cannot starve the computer: those threads wait for bytes, the kernel leaves 5 % of its time to others
(`sched_rt_runtime_us`), and where they take more than half of a processor for two seconds, all of them lose it. The kernel's own
`RLIMIT_RTTIME` would not notice: a thread that hands the interpreter over counts as one that rests.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

REAL_TIME, NICE = 10, -10
"""The lowest decade of real time, below the kernel's own threads (50); and what the cell's other threads are raised to."""
SHARE = 0.5
"""Of one processor, for all threads in real time together."""
_TASKS = Path("/proc/self/task")
_REMEDY = "grant it as docs/cell.md says (LimitRTPRIO, LimitNICE)"


class Priority:
    """What a cell's process has asked of the scheduler, and what it got.

    Lifetime: that of the process; a thread of its own looks every `every_s` at what real time is used for. Concurrency: `raise_all`
    and `claim` are called by the controller's thread, before it starts those that are to have the
    same; the notices may be read from any thread.
    """

    def __init__(self, every_s: float = 1.0) -> None:
        self.real_time = False
        self._every_s = every_s
        self._notices: list[str] = []

    @property
    def notices(self) -> tuple[str, ...]:
        """What was refused or taken away, in words; empty where all was granted or nothing was asked for."""
        return tuple(self._notices)

    def raise_all(self) -> None:
        """Raise this thread, and with it those that it starts, by `nice`."""
        try:
            os.setpriority(os.PRIO_PROCESS, 0, min(NICE, os.getpriority(os.PRIO_PROCESS, 0)))
        except OSError as error:
            self._note(
                f"a raised priority (nice {NICE}) was refused ({error.strerror}): a stop may come late on a busy computer; {_REMEDY}"
            )

    def claim(self) -> None:
        """Ask real time for this thread and those that it starts from now on."""
        if not hasattr(os, "sched_setscheduler"):
            self._note("this system gives no real-time priority to a program: a stop may come late on a busy computer")
            return
        try:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(REAL_TIME))
        except OSError as error:
            self._note(f"real-time priority was refused ({error.strerror}): a stop may come late on a busy computer; {_REMEDY}")
            return
        self.real_time = True
        threading.Thread(target=self._watch, name="priority", daemon=True).start()

    def surrender(self) -> None:
        """Give real time up for every thread of the process, until it is started anew."""
        if not self.real_time:
            return
        for thread in _threads():
            step_down(thread)
        self._note("real-time priority was given up: the cell took more than half a processor; report this and restart the cell")
        self.real_time = False  # last: who sees it sees the rest as well

    def _watch(self) -> None:
        used, late = _used_ns(), 0
        while self.real_time:
            time.sleep(self._every_s)
            now = _used_ns()
            late = late + 1 if now - used > SHARE * self._every_s * 1e9 else 0
            used = now
            if late == 2:
                self.surrender()

    def _note(self, text: str) -> None:
        self._notices.append(text)
        sys.stderr.write(f"notice: {text}\n")
        sys.stderr.flush()


def step_down(thread: int = 0) -> None:
    """Give real time up for a thread, this one unless its id is given: it computes for long, or works for another program."""
    if hasattr(os, "sched_setscheduler"):
        with suppress(OSError):  # the thread has ended meanwhile
            os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))


def _threads() -> list[int]:
    return [int(task.name) for task in _TASKS.iterdir()]


def _used_ns() -> int:
    """Return the processor time of all threads that are in real time now."""
    used = 0
    for thread in _threads():
        with suppress(OSError, ValueError):  # it has ended meanwhile
            if os.sched_getscheduler(thread) == os.SCHED_RR:
                used += int((_TASKS / str(thread) / "schedstat").read_text("ascii").split()[0])
    return used
