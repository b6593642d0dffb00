"""Children that are copies of a process which has loaded their module already: a test that starts a whole site loads nothing.

How a site's processes load by themselves is what `test_serve`, `test_demo` and `test_web_supervisor` show.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from api.processes import Child, Children

FORKED = frozenset({"api.app_process", "printer.wiring_cell", "hil_tests.serve"})
_SERVER = Path(__file__).with_name("fork_server.py")
_POLL_S = 0.005


class ForkServer:
    """One process that has loaded one module. Lifetime: that of this process, whose end it notices."""

    def __init__(self, module: str) -> None:
        self._address = f"\0dosewright-{os.getpid()}-{module}"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self._address)
            listener.listen(64)
            number = str(listener.fileno())
            command = [sys.executable, str(_SERVER), module, number]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, pass_fds=(listener.fileno(),), env={**os.environ, "PYTHONUNBUFFERED": "1"}
            )

    def ask(self, arguments: Sequence[str], read: int, log: int) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self._address)
        socket.send_fds(connection, [json.dumps(list(arguments)).encode()], [read, log])
        return connection


@functools.cache
def server(module: str) -> ForkServer:
    return ForkServer(module)


class Forked:
    """One process, as `subprocess.Popen` would show it."""

    def __init__(self, module: str, arguments: Sequence[str], output: IO[bytes]) -> None:
        read, write = os.pipe()
        self.stdin: IO[bytes] | None = os.fdopen(write, "wb")
        self._connection = server(module).ask((module, *arguments), read, output.fileno())
        os.close(read)
        self._said = b""
        while b"\n" not in self._said:
            self._hear()
        self.pid = int(self._said.split(b"\n")[0])
        self.returncode: int | None = None
        self._connection.setblocking(False)

    def _hear(self) -> None:
        found = self._connection.recv(256)
        if not found:
            raise ConnectionResetError("the process that was to attend this one is gone")
        self._said += found

    def poll(self) -> int | None:
        if self.returncode is None:
            try:
                while self._said.count(b"\n") < 2:
                    self._hear()
            except BlockingIOError:
                return None
            self.returncode = int(self._said.split(b"\n")[1])
            self._connection.close()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        limit = None if timeout is None else time.monotonic() + timeout
        while (status := self.poll()) is None:
            if limit is not None and time.monotonic() >= limit:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
            time.sleep(_POLL_S)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ForkedChild(Child):
    def _spawn(self, arguments: Sequence[str], output: IO[bytes]) -> subprocess.Popen[bytes]:
        if arguments[0] not in FORKED:
            return super()._spawn(arguments, output)
        return Forked(arguments[0], arguments[1:], output)  # type: ignore[return-value]  # all of it that a child uses


class ForkedChildren(Children):
    child = ForkedChild
