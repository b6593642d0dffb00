"""How the threads of a cell stand beside the other programs of the computer.

The threads between a sensor's line and the stop (the controller and the ports') ask for real time, `SCHED_RR` of sched(7): no
page, browser or compiler is served before them. Every other thread of the cell keeps ordinary priority, raised by `nice`, because
it may hold the interpreter that the first ones wait for. Where the system refuses, the cell goes on and says so.

Real time cannot starve the computer: those threads wait for bytes, the kernel leaves 5 % of its time to others
(`sched_rt_runtime_us`), and one that computes for half a second without once waiting loses real time for all (`RLIMIT_RTTIME`).
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType

REAL_TIME, NICE = 10, -10
"""The lowest decade of real time, below the kernel's own threads (50); and what the cell's other threads are raised to."""
UNBROKEN_US = 500_000
_TASKS = Path("/proc/self/task")
_REMEDY = "grant it as docs/cell.md says (LimitRTPRIO, LimitNICE)"


class Priority:
    """What a cell's process has asked of the scheduler, and what it got.

    Lifetime: that of the process. Concurrency: `raise_all` and `claim` are called by the controller's thread, before it starts those
    that are to have the same; the notices may be read from any thread.
    """

    def __init__(self) -> None:
        self.real_time = False
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
            self._guard()
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(REAL_TIME))
        except (OSError, ValueError) as error:
            text = error.strerror if isinstance(error, OSError) else str(error)
            self._note(f"real-time priority was refused ({text}): a stop may come late on a busy computer; {_REMEDY}")
            return
        self.real_time = True

    def surrender(self) -> None:
        """Give real time up for every thread of the process, until it is started anew."""
        if not self.real_time:
            return
        self.real_time = False
        self._note("real-time priority was given up: a thread computed for half a second without waiting; report this, restart the cell")
        for task in _TASKS.iterdir():
            step_down(int(task.name))

    def _guard(self) -> None:
        """Have the kernel say so where a thread in real time does not come to rest."""

        def take_away(number: int, frame: FrameType | None) -> None:
            self.surrender()

        signal.signal(signal.SIGXCPU, take_away)
        _, hard = resource.getrlimit(resource.RLIMIT_RTTIME)
        # A hard limit kills without a word: one below ours is somebody's wish, and ours then lies below it.
        soft = UNBROKEN_US if hard == resource.RLIM_INFINITY else min(UNBROKEN_US, hard // 2)
        resource.setrlimit(resource.RLIMIT_RTTIME, (soft, hard))

    def _note(self, text: str) -> None:
        self._notices.append(text)
        sys.stderr.write(f"notice: {text}\n")
        sys.stderr.flush()


def step_down(thread: int = 0) -> None:
    """Give real time up for a thread, this one unless its id is given: it computes for long, or works for another program."""
    if hasattr(os, "sched_setscheduler"):
        with suppress(OSError):  # the thread has ended meanwhile
            os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))
