"""Process time granted by a demonstration bench: the cell's side of the bench's time port.

The bench simulates a step, sends the devices' bytes, and grants the time up to which it has come together with the
number of bytes it has sent on each port. The cell handles all of them, then acknowledges with the number of bytes it
has queued; only then does the bench go on. A busy machine is slow, never wrong.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from printer.errors import BenchTimeLost
from printer.messages import Port


@dataclass(frozen=True, slots=True)
class Grant:
    """Process time in µs up to which the bench has come; bytes sent per open port; ports that the bench has closed."""

    now: int
    sent: Mapping[Port, int]
    closed: frozenset[Port]


@dataclass(frozen=True, slots=True)
class BenchGone:
    reason: str


class BenchTime:
    """The connection to the bench's time port.

    Lifetime: `connect`, then open the ports, then `begin`. Concurrency: grants arrive on an own thread through
    `deliver`; `acknowledge` is called by the controller thread.
    """

    def __init__(self, address: str, token: str, cell: str) -> None:
        host, _, port = address.rpartition(":")
        try:
            self._socket = socket.create_connection((host, int(port)), timeout=10)
        except (OSError, ValueError) as error:
            raise BenchTimeLost(f"No bench answers at {address}: {error}.", remedy="Start the bench, then the cell.") from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")
        self._send({"hello": cell, "token": token})
        welcome = self._receive()
        if welcome.get("welcome") is not True:
            raise BenchTimeLost(f"The bench at {address} refuses this cell: {welcome.get('error', 'no reason given')}.")
        self.rate = Decimal(str(welcome["rate"]))
        self.now = int(str(welcome["now"]))
        self._socket.settimeout(None)
        self._thread: threading.Thread | None = None

    def begin(self, deliver: Callable[[Grant | BenchGone], None]) -> None:
        """Say that the ports are open and take grants from now on."""
        self._send({"ready": True})
        self._thread = threading.Thread(target=self._run, args=(deliver,), name="bench-time", daemon=True)
        self._thread.start()

    def acknowledge(self, now: int, queued: Mapping[Port, int]) -> None:
        self._send({"ack": now, "queued": {port.value: count for port, count in queued.items()}})

    def close(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # the bench has gone already
        finally:
            if self._thread is not None:
                self._thread.join(timeout=5)
            self._file.close()
            self._socket.close()

    def _run(self, deliver: Callable[[Grant | BenchGone], None]) -> None:
        while True:
            try:
                message = self._receive()
                sent = {Port(name): int(str(count)) for name, count in _mapping(message["sent"]).items()}
                grant = Grant(int(str(message["grant"])), sent, frozenset(Port(str(name)) for name in _list(message["closed"])))
            except (BenchTimeLost, OSError, KeyError, ValueError) as error:
                deliver(BenchGone(str(error)))
                return
            deliver(grant)

    def _send(self, message: Mapping[str, object]) -> None:
        try:
            self._socket.sendall(json.dumps(message).encode("ascii") + b"\n")
        except OSError as error:
            raise BenchTimeLost(f"The bench has gone: {error}.", remedy="Start the bench and the cell again.") from error

    def _receive(self) -> dict[str, object]:
        try:
            line = self._file.readline(65536)
        except OSError as error:
            raise BenchTimeLost(f"The bench has gone: {error}.", remedy="Start the bench and the cell again.") from error
        if not line.endswith(b"\n"):
            raise BenchTimeLost("The bench has closed its time port.", remedy="Start the bench and the cell again.")
        return _mapping(json.loads(line))


def _mapping(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise BenchTimeLost("The bench does not speak this protocol.", remedy="Use the bench of the same version.")
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise BenchTimeLost("The bench does not speak this protocol.", remedy="Use the bench of the same version.")
    return value
