"""Keeps the web process of a site up: one serves, and another that is loaded already waits to take its place.

A web process loads for seconds before it can answer anybody. Where the one that serves dies, the one that waits takes over at once; it has
opened nothing of the site before. The port belongs to this side: what connects between the two waits, and is not refused. Where none is
loaded the port is closed meanwhile, so that nothing is asked for now and carried out long after whoever asked has gone.

What each process says of itself comes over a pipe, which the operating system closes when it dies, however it dies; and each ends when the
pipe on its standard input closes, so none outlives this side.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from types import TracebackType
from typing import IO, Self

from api.errors import ProcessFailed
from printer.supervisor import CONFIGURATION, Pauses

_LOADED, _SERVING = "loaded", "serving"
_GO = b"go\n"
_SPARE_AFTER_S = 5.0
"""The one that waits is loaded when the one that serves has had time for the pages that came back to it."""
_ASK_S = 4.0


class _Web:
    """One web process. Lifetime: until `end`."""

    def __init__(self, arguments: list[str], listener: socket.socket, log: Path | None) -> None:
        output: IO[bytes] | None = None if log is None else log.open("ab")
        heard, told = os.pipe()
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "api.app_process", *arguments, "--listener", str(listener.fileno()), "--tell", str(told)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=None if output is None else subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
                pass_fds=(listener.fileno(), told),
            )
        except OSError:
            os.close(heard)
            raise
        finally:
            os.close(told)
            if output is not None:
                output.close()
        self.pipe = heard
        self.state = ""
        self.began = time.monotonic()
        self._rest = b""

    def go(self) -> None:
        """Have it serve, now or when it is loaded."""
        if self.process.stdin is not None:
            with suppress(BrokenPipeError):
                self.process.stdin.write(_GO)
                self.process.stdin.flush()

    def hear(self) -> bool:
        """Read what it says of itself; return whether it is alive."""
        found = os.read(self.pipe, 4096)
        *lines, self._rest = (self._rest + found).split(b"\n")
        if lines:
            self.state = lines[-1].decode("ascii", "replace")
        return bool(found)

    def end(self) -> int:
        """Ask it to end, then insist; return its status."""
        with suppress(ProcessLookupError):
            self.process.terminate()
        try:
            self.process.wait(_ASK_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
        return self.reap()

    def reap(self) -> int:
        """Return the status of a process that has said its last, and close what led to it."""
        status = self.process.wait()
        if self.process.stdin is not None:
            with suppress(BrokenPipeError):
                self.process.stdin.close()
        os.close(self.pipe)
        return status


class WebSupervisor:
    """Keeps one site served.

    Lifetime: `start`, then until `close`. Concurrency: a thread of its own watches; every method may be called from any thread.
    `tell` hears, on that thread, what a person should know. `log` is where the processes write; their parent's streams where it is None.
    """

    def __init__(
        self,
        folder: Path,
        host: str,
        port: int,
        *,
        log: Path | None = None,
        tell: Callable[[str], None] = lambda text: None,
        spare_after_s: float = _SPARE_AFTER_S,
    ) -> None:
        self._arguments = ["--site", str(folder)]
        self._address = (host, port)
        self._log = log
        self._tell = tell
        self._spare_after_s = spare_after_s
        self._serving: _Web | None = None
        self._spare: _Web | None = None
        self._listener: socket.socket | None = None
        self._pauses, self._spare_pauses = Pauses(), Pauses()
        self._spare_due = 0.0
        self._lived = False
        self._lock = threading.Lock()  # over the processes and the port
        self._ending = threading.Event()
        self._failed: ProcessFailed | None = None
        self._up = threading.Event()
        self._spare_ready = threading.Event()
        self._wake_r, self._wake_w = os.pipe()
        self._thread = threading.Thread(target=self._watch, name="web-supervisor", daemon=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The process that serves now."""
        with self._lock:
            if self._serving is None:
                raise ProcessFailed("No web process serves now.", remedy="Ask again in a moment.")
            return self._serving.process.pid

    @property
    def spare_pid(self) -> int | None:
        """The process that waits, loaded or not yet."""
        with self._lock:
            return None if self._spare is None else self._spare.process.pid

    @property
    def port(self) -> int:
        return self._address[1]

    def start(self) -> None:
        """Take the port, and have the first process load and serve. Raises ProcessFailed where the port is taken."""
        with self._lock:
            self._begin()
        self._thread.start()

    def wait(self, seconds: float, *, spare: bool = False) -> None:
        """Wait until the site is served, or until `spare`, one that is loaded, waits beside it. Raises ProcessFailed."""
        limit = time.monotonic() + seconds
        event = self._spare_ready if spare else self._up
        while not event.wait(0.05):
            self.check()
            if time.monotonic() >= limit:
                raise ProcessFailed(f"The workstation did not come up within {seconds:g} s.", remedy="Look at its log.")
        self.check()

    def check(self) -> None:
        """Raise ProcessFailed where the workstation cannot be started at all."""
        if self._failed is not None:
            raise self._failed

    def close(self) -> None:
        """End the processes in order and give the port back."""
        if self._ending.is_set():
            return
        self._ending.set()
        with suppress(OSError):
            os.write(self._wake_w, b"x")
        if self._thread.is_alive():
            self._thread.join()
        with self._lock:
            for web in (self._spare, self._serving):
                if web is not None:
                    web.end()
            self._spare = self._serving = None
            self._close_port()
        os.close(self._wake_r)
        os.close(self._wake_w)

    def _begin(self) -> None:
        """Have a process load that serves as soon as it can; until then the port is bound and takes nothing."""
        self._serving = self._load()
        self._serving.go()

    def _load(self) -> _Web:
        if self._listener is None:
            self._listener = bound(*self._address)
            self._address = (self._address[0], self._listener.getsockname()[1])
        return _Web(self._arguments, self._listener, self._log)

    def _close_port(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _watch(self) -> None:
        while not self._ending.is_set() and self._failed is None:
            if self._serving is not None:
                self._look(self._serving)
                continue
            try:
                with self._lock:
                    self._begin()
            except (OSError, ProcessFailed) as error:  # no memory, no room for the log, a port that another program took
                pause = self._pauses.next(0.0)
                self._tell(f"the workstation cannot be started: {error}; it is tried again in {pause:g} s")
                self._ending.wait(pause)
        self._up.set()
        self._spare_ready.set()

    def _look(self, serving: _Web) -> None:
        """Wait for the next word of a process, for its end, or for the time to load the one that waits; do what follows."""
        spare = self._spare
        due = None if spare is not None or serving.state != _SERVING else self._spare_due - time.monotonic()
        with DefaultSelector() as selector:
            selector.register(self._wake_r, EVENT_READ)
            for web in (serving, spare):
                if web is not None:
                    selector.register(web.pipe, EVENT_READ, web)
            heard = [key.data for key, _ in selector.select(due if due is None else max(0.0, due))]
        if self._ending.is_set():
            return
        if spare in heard and spare is not None:
            self._hear_spare(spare)
        if serving in heard:
            self._hear_serving(serving)
        elif not heard and spare is None:
            self._load_spare()

    def _load_spare(self) -> None:
        try:
            with self._lock:
                self._spare = self._load()
        except (OSError, ProcessFailed) as error:
            self._no_spare(f"cannot be started: {error}")

    def _no_spare(self, why: str) -> None:
        pause = self._spare_pauses.next(0.0)
        self._spare_due = time.monotonic() + pause
        self._tell(f"the workstation's process that was to wait {why}; another is loaded in {pause:g} s")

    def _hear_spare(self, spare: _Web) -> None:
        if spare.hear():
            if spare.state == _LOADED:
                self._spare_pauses = Pauses()
                self._spare_ready.set()
            return
        with self._lock:
            self._spare = None
        self._spare_ready.clear()
        self._no_spare(f"ended with status {spare.reap()}")

    def _hear_serving(self, serving: _Web) -> None:
        if serving.hear():
            if serving.state == _SERVING:
                self._lived = True
                self._spare_due = time.monotonic() + self._spare_after_s
                self._up.set()
            return
        served, lived = serving.state == _SERVING, time.monotonic() - serving.began
        with self._lock:
            status = serving.reap()
            self._serving = None
            self._up.clear()
            spare, self._spare = self._spare, None
            self._spare_ready.clear()
            if spare is not None and spare.state == _LOADED:
                self._serving = spare
                spare.go()
        if self._serving is not None:
            self._tell(f"the workstation ended with status {status}; the one that waited has taken its place")
            return
        with self._lock:
            if spare is not None:
                spare.end()
            self._close_port()
        if status == CONFIGURATION and not self._lived:  # later it is not the files: a database that has not noticed the death yet, for one
            self._failed = ProcessFailed(f"The workstation ended with status {status}{self._last_words()}", remedy="Correct what it names.")
            return
        pause = self._pauses.next(lived if served else 0.0)
        self._tell(f"the workstation ended with status {status}; another is started in {pause:g} s")
        self._ending.wait(pause)

    def _last_words(self) -> str:
        if self._log is None:
            return "."
        words = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f": {words[-1]}" if words else "; it said nothing."


def bound(host: str, port: int) -> socket.socket:
    """Return a socket that has the address and does not listen yet. Raises ProcessFailed."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
    except OSError as error:
        made.close()
        raise ProcessFailed(
            f"The workstation cannot have {host}:{port}: {error.strerror or error}.",
            remedy="End the program that has this port, or choose another (port in workstation.toml, --port).",
        ) from None
    return made
