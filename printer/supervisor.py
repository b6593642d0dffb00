"""Keep a cell's process alive: `python -m printer.supervisor --config cell.toml`.

A cell that has died leaves a printer that may be hot and a run that is open. Started again, the first thing it does is to
tell the printer to stop and to close the run as INTERRUPTED; so it is started again at once, and then at growing intervals.
Where the operating system has a service manager, that does the same (docs/cell.md has the unit file).

Without `--keeper` the cell outlives its supervisor, so that a print goes on. A demonstration names a keeper: a module that runs
the cell's module and ends it when its standard input closes, as it does when the supervisor goes, however it goes.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

_FIRST_S, _LONGEST_S = 0.5, 30.0
_HEALTHY_S = 60.0
GRACE_S = 10.0
"""How long a cell has to end in order when its supervisor is asked to end."""
_LOOK_S = 1.0
CONFIGURATION = 2
"""Exit status of a cell whose files are wrong: a person must correct them."""
FAILED = 1
"""Exit status of a cell that failed at anything else: it is started again."""
_STARTING_S = 30.0
"""A cell whose files are wrong says so within this time; one that has lived longer has served, and may have left a printer hot."""


@dataclass(slots=True)
class Pauses:
    """How long to wait before a cell is started again: longer each time, until it has lived for a minute."""

    after_s: float = _FIRST_S

    def next(self, lived_s: float) -> float:
        if lived_s >= _HEALTHY_S:
            self.after_s = _FIRST_S
        pause, self.after_s = self.after_s, min(_LONGEST_S, self.after_s * 2)
        return pause


class Supervisor:
    """Runs one command until it ends in order or is asked to end.

    Lifetime: `run` returns the exit status of the command. The command does not end with its supervisor: where this process is
    killed, the cell prints on. Where it is `tied`, its standard input is a pipe that closes with the supervisor.
    Concurrency: `run` on one thread; `end` from a signal handler or any other.
    """

    def __init__(
        self, command: Sequence[str], tell: Callable[[str], None], clock: Callable[[], float] = time.monotonic, *, tied: bool = False
    ) -> None:
        self._command = list(command)
        self._input = subprocess.PIPE if tied else subprocess.DEVNULL
        self._tell = tell
        self._clock = clock
        self._ending = threading.Event()
        self._asked_at = 0.0
        self._child: subprocess.Popen[bytes] | None = None

    def end(self) -> None:
        """Ask the command to end; it is not started again, and killed where it has not ended after its time of grace."""
        if not self._ending.is_set():
            self._asked_at = self._clock()
        self._ending.set()
        if self._child is not None:
            self._child.terminate()

    def run(self) -> int:
        pauses = Pauses()
        lived_ever = False
        while True:
            began = self._clock()
            status = self._once()
            lived = self._clock() - began
            if self._ending.is_set() or status == 0:
                return 0
            lived_ever = lived_ever or status != CONFIGURATION or lived >= _STARTING_S
            if not lived_ever:
                return status
            pause = pauses.next(lived)
            self._tell(f"the cell ended with status {status} after {lived:.1f} s; it is started again in {pause:g} s")
            if self._ending.wait(pause):
                return 0

    def _once(self) -> int:
        child = subprocess.Popen(self._command, stdin=self._input, start_new_session=True)
        self._child = child
        if self._ending.is_set():  # asked to end while it was being started
            child.terminate()
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    return child.wait(_LOOK_S)
                if self._ending.is_set() and self._clock() - self._asked_at >= GRACE_S:
                    child.kill()
        finally:
            if child.stdin is not None:
                child.stdin.close()


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="printer.supervisor", description="Run one cell and start it again when it dies.")
    parser.add_argument("--config", required=True)
    parser.add_argument("--keeper", help="module that runs the cell and ends it when this process goes")
    options = parser.parse_args(arguments)
    keeper = [options.keeper] if options.keeper else []
    command = [sys.executable, "-m", *keeper, "printer.wiring_cell", "--config", options.config]
    supervisor = Supervisor(command, _say, tied=bool(keeper))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: supervisor.end())
    return supervisor.run()


if __name__ == "__main__":
    sys.exit(main())
