"""Loads one module, then makes processes that run it: `fork_server.py MODULE DESCRIPTOR`, whose descriptor is that of a listening socket.

Each process is a copy of this one from before it ran anything, with its own arguments, input and log; it costs nothing to load. It is
run as `python -m api.kept MODULE …` runs it. One connection is one process: what to run comes over it, its number and then its status go
back, and it is read to its end by whoever asked. This one ends when its own input closes.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys
from contextlib import suppress
from select import select

from api.kept import end_with_parent

LONGEST = 1 << 16
_MANY = 1024
LOADED_FIRST = {"api.app_process": ("api.app", "api.workstation.page")}
"""What a module loads only when it runs."""


def _load(module: str) -> None:
    for name in (*LOADED_FIRST.get(module, ()), module):
        importlib.import_module(name)
    del sys.modules[module]  # it is run as the main module


def _asked(listener: socket.socket) -> socket.socket:
    """Wait for the next one that asks; end where nobody can any more."""
    while True:
        ready, _, _ = select([listener, sys.stdin.fileno()], [], [])
        if sys.stdin.fileno() in ready and not os.read(sys.stdin.fileno(), LONGEST):
            sys.exit(0)
        if listener in ready:
            return listener.accept()[0]


def _become(arguments: list[str], descriptors: list[int], connection: socket.socket) -> None:
    """Make this copy the process that was asked for, all but running it."""
    os.setsid()
    connection.detach()  # closed by its number below, which is another's afterwards
    read, log = descriptors
    os.dup2(read, 0)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.closerange(3, _MANY)
    sys.argv = arguments
    end_with_parent()


def _attend(connection: socket.socket) -> list[str] | None:
    """In a copy: make the process, wait for its end and tell it. Returns in the process itself what it shall run."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    data, descriptors, _, _ = socket.recv_fds(connection, LONGEST, 2)
    arguments = json.loads(data)
    pid = os.fork()
    if pid == 0:
        _become(arguments, descriptors, connection)
        return list(arguments)
    for descriptor in descriptors:
        os.close(descriptor)
    connection.sendall(f"{pid}\n".encode())
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with suppress(BrokenPipeError):
        connection.sendall(f"{status}\n".encode())
    return None


def main() -> None:
    module, listener = sys.argv[1], socket.socket(fileno=int(sys.argv[2]))
    gc.disable()
    _load(module)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # those that attend are nobody's to wait for
    while True:
        connection = _asked(listener)
        if os.fork() == 0:
            listener.detach()
            if _attend(connection) is not None:
                break
            os._exit(0)
        connection.close()
    gc.enable()
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
