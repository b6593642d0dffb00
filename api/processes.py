"""The processes of a demonstration: bench, cell, workstation. Each ends with its parent, in every case.

Every child is started with a pipe as standard input; it ends when that pipe closes, which the operating system does even
where the parent is killed. `close` is the orderly way: it asks, waits, and then insists.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol, Self, TypeVar

from api.errors import ProcessFailed
from api.site_names import CELL, Bench

_ASK_S = 4.0
_ASK_SUPERVISOR_S = 15.0  # longer than a supervisor waits for its cell before it insists
_POLL_S = 0.02
_KEEPER = "api.kept"


class Child:
    """One child process with its log file. Lifetime: until `close`."""

    def __init__(self, name: str, arguments: Sequence[str], log: Path, ask_s: float = _ASK_S) -> None:
        self.name = name
        self._log = log
        self._ask_s = ask_s
        with log.open("ab") as output:
            self._process = self._spawn(arguments, output)

    def _spawn(self, arguments: Sequence[str], output: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", _KEEPER, *arguments],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,  # Ctrl-C reaches the parent alone, which ends its children in order
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def check(self) -> None:
        """Raise ProcessFailed with the last words of the process if it has ended."""
        if not self.ended:
            return
        words = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = next((line for line in reversed(words) if line.strip()), "it said nothing")
        raise ProcessFailed(f"The {self.name} ended with status {self._process.returncode}: {last}", remedy=f"Its log is {self._log}.")

    def close(self) -> None:
        """Ask the process to end, then insist."""
        if not self.ended:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(self._ask_s)
        if not self.ended:
            self._process.kill()
            self._process.wait()
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()


class Kept(Protocol):
    """What is watched and ended with the children: a child, or something that keeps children of its own."""

    def check(self) -> None: ...

    def close(self) -> None: ...


KeptT = TypeVar("KeptT", bound=Kept)


class Children:
    """The children of one demonstration, ended in the reverse order of their start."""

    child: type[Child] = Child

    def __init__(self, log_folder: Path) -> None:
        self._folder = log_folder
        self._folder.mkdir(parents=True, exist_ok=True)
        self._children: list[Kept] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def start(self, name: str, *arguments: str, ask_s: float = _ASK_S) -> Child:
        """Start a child; `ask_s` is how long it has to end when it is asked to."""
        return self.keep(self.child(name, arguments, self._folder / f"{name}.log", ask_s))

    def keep(self, kept: KeptT) -> KeptT:
        """Watch this too, and end it in its turn."""
        self._children.append(kept)
        return kept

    def check(self) -> None:
        """Raise ProcessFailed if any of them has ended."""
        for child in self._children:
            child.check()

    def close(self) -> None:
        while self._children:
            self._children.pop().close()


def wait_for_file(path: Path, child: Child, seconds: float) -> dict[str, object]:
    """Wait until a child has written its JSON file, and read it. Raises ProcessFailed."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        child.check()
        with suppress(OSError, ValueError):
            found = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(found, dict):
                return found
        time.sleep(_POLL_S)
    raise ProcessFailed(f"The {child.name} did not come up within {seconds:g} s.", remedy=f"Look at its log beside {path}.")


def wait_for_port(port: int, child: Child, seconds: float) -> None:
    """Wait until a child accepts connections on a loopback port. Raises ProcessFailed."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        child.check()
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(_POLL_S)
    raise ProcessFailed(f"The {child.name} did not come up within {seconds:g} s.", remedy="Look at its log.")


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start_bench(
    children: Children, ready: Path, *, case: str, fault: str | None, rate: str, seed: int, truth: Path, name: str = "bench"
) -> tuple[Child, Path]:
    """Start a virtual bench, one for each cell; it is up when `ready` is there."""
    ready.unlink(missing_ok=True)
    arguments = ["hil_tests.serve", "--case", case, "--rate", rate, "--seed", str(seed), "--ready", str(ready), "--truth", str(truth)]
    if os.name == "nt":
        arguments.append("--tcp")
    if fault:
        arguments += ["--fault", fault]
    return children.start(name, *arguments), ready


def read_bench(child: Child, ready: Path) -> Bench:
    """Wait for the bench and return where its ports are."""
    found = wait_for_file(ready, child, 15.0)
    ports = found.get("ports")
    if not isinstance(ports, dict):
        raise ProcessFailed("The bench does not say where its ports are.", remedy=f"Look at {ready}.")
    return Bench({str(name): str(place) for name, place in ports.items()}, str(found["time"]), str(found["token"]))


def start_cell(children: Children, folder: Path, cell: str = CELL) -> Child:
    """Start a cell of a site folder; it is up when its address file is there."""
    (folder / cell / "address.json").unlink(missing_ok=True)
    return children.start(cell, "printer.wiring_cell", "--config", str(folder / cell / "cell.toml"))


def supervise_cell(children: Children, folder: Path, cell: str = CELL) -> Child:
    """Start a cell of a site folder under its supervisor, which starts it again when it dies; both end with their parent."""
    (folder / cell / "address.json").unlink(missing_ok=True)
    arguments = ("--config", str(folder / cell / "cell.toml"), "--keeper", _KEEPER)
    return children.start(cell, "printer.supervisor", *arguments, ask_s=_ASK_SUPERVISOR_S)


@contextmanager
def ended_in_order() -> Iterator[None]:
    """Within: SIGTERM and a closed terminal end this process as Ctrl-C does, and what ends it then is not interrupted again."""
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in (signal.Signals[name] for name in names)}

    def leave(*_: object) -> None:
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # under nohup a closed terminal is no reason to end
            signal.signal(number, leave)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def start_workstation(children: Children, folder: Path, port: int, *, page: bool) -> Child:
    arguments = ["api.app_process", "--site", str(folder), "--port", str(port)]
    return children.start("workstation", *arguments, *([] if page else ["--no-page"]))
