"""The ports of the bench: pseudo-terminals, or TCP on the loopback where there are none or where it is asked for.

A port counts what it has really passed on (`sent`) and taken in (`received`); both are zeroed by `flush`.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from abc import ABC, abstractmethod

_CHUNK = 65536


class Port(ABC):
    """One device's port. Lifetime: from construction to `unplug`. Concurrency: one owner; all calls are non-blocking but `write`."""

    def __init__(self) -> None:
        self.sent = 0
        self.received = 0
        self.closed = False

    @property
    @abstractmethod
    def address(self) -> str:
        """Where a host opens it: a device path or a `socket://` URL."""

    @abstractmethod
    def descriptors(self) -> list[int]:
        """Return the descriptors whose readability means something."""

    @abstractmethod
    def read(self) -> bytes:
        """Return what has come in, b"" if nothing."""

    @abstractmethod
    def _put(self, data: bytes) -> int:
        """Pass on what fits now; return how many bytes. -1: nobody is there."""

    @abstractmethod
    def _output(self) -> int:
        """Return the descriptor that becomes writable, -1 if nobody is there."""

    @abstractmethod
    def flush(self) -> None:
        """Throw away what is under way in both directions and zero the counters."""

    @abstractmethod
    def unplug(self) -> None:
        """Close for good: the host sees the device vanish."""

    def write(self, data: bytes, patience_s: float = 0.0) -> None:
        """Pass on bytes. What the host does not take within `patience_s` of wall time is lost, as on a UART."""
        limit = time.monotonic() + patience_s
        while data and not self.closed:
            taken = self._put(data)
            if taken < 0:
                return
            self.sent += taken
            data = data[taken:]
            left = limit - time.monotonic()
            if not data or left <= 0.0:
                return
            select.select([], [self._output()], [], left)


class PtyPort(Port):
    """A pseudo-terminal in raw mode. The slave stays open here too, so that a host may close and open it again."""

    def __init__(self) -> None:
        super().__init__()
        import fcntl  # these three are not on every platform
        import termios
        import tty

        self._termios = termios
        self._ioctl = fcntl.ioctl
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self._name = os.ttyname(self._slave)

    @property
    def address(self) -> str:
        return self._name

    def descriptors(self) -> list[int]:
        return [] if self.closed else [self._master]

    def read(self) -> bytes:
        if self.closed:
            return b""
        try:
            data = os.read(self._master, _CHUNK)
        except BlockingIOError:
            return b""
        self.received += len(data)
        return data

    def _put(self, data: bytes) -> int:
        try:
            return os.write(self._master, data)
        except BlockingIOError:
            return 0

    def _output(self) -> int:
        return self._master

    def flush(self) -> None:
        if not self.closed:
            self._termios.tcflush(self._master, self._termios.TCIOFLUSH)
            self._termios.tcflush(self._slave, self._termios.TCIOFLUSH)
            # A host that died may have left the terminal marked exclusive; it never closes here, so nobody else lifts that.
            self._ioctl(self._slave, self._termios.TIOCNXCL)
            while self.read():
                pass
        self.sent = self.received = 0

    def unplug(self) -> None:
        if not self.closed:
            self.closed = True
            os.close(self._master)
            os.close(self._slave)


class TcpPort(Port):
    """A listening socket on the loopback with one host at a time; a new host takes the place of the old."""

    def __init__(self) -> None:
        super().__init__()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self._host: socket.socket | None = None
        self._address = f"socket://127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def address(self) -> str:
        return self._address

    def descriptors(self) -> list[int]:
        if self.closed:
            return []
        return [self._listener.fileno()] + ([self._host.fileno()] if self._host is not None else [])

    def read(self) -> bytes:
        self._welcome()
        if self._host is None:
            return b""
        try:
            data = self._host.recv(_CHUNK)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            self._leave()
        else:
            self._acknowledge_at_once(self._host)
        self.received += len(data)
        return data

    def _welcome(self) -> None:
        if self.closed:
            return
        try:
            host, _ = self._listener.accept()
        except BlockingIOError:
            return
        self._leave()
        host.setblocking(False)
        host.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._acknowledge_at_once(host)
        self._host = host

    @staticmethod
    def _acknowledge_at_once(host: socket.socket) -> None:
        """Keep Linux from delaying its acknowledgement: a host that sends small lines would wait 40 ms for it each time."""
        if hasattr(socket, "TCP_QUICKACK"):
            host.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def _leave(self) -> None:
        if self._host is not None:
            self._host.close()
            self._host = None

    def _put(self, data: bytes) -> int:
        if self._host is None:
            self._welcome()
        if self._host is None:
            return -1
        try:
            return self._host.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.ECONNRESET):
                raise
            self._leave()
            return -1

    def _output(self) -> int:
        return -1 if self._host is None else self._host.fileno()

    def flush(self) -> None:
        while self.read():
            pass
        self._leave()
        self.sent = self.received = 0

    def unplug(self) -> None:
        if not self.closed:
            self.closed = True
            self._leave()
            self._listener.close()


def open_port(tcp: bool) -> Port:
    """Return a new port: a pseudo-terminal where the platform has them, else (or if asked) TCP."""
    return TcpPort() if tcp or not hasattr(os, "openpty") else PtyPort()
