"""Open a port: a serial device by path or USB identity, `socket://host:port`, or a pair in memory. The only import of `serial`."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
import struct
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import serial
from serial.tools import list_ports as serial_ports

from firmware_bridge.errors import LinkLost, PortBusy, PortMissing
from firmware_bridge.port_discovery import USB_PREFIX, PortIdentity, find_port

__all__ = [
    "DescriptorTransport",
    "MemoryPair",
    "PortIdentity",
    "SerialTransport",
    "SocketTransport",
    "Transport",
    "list_ports",
    "open_transport",
]

_READ_SIZE = 65536


class Transport(Protocol):
    """A byte stream with a file descriptor. `read` and `write` never block; a lost port raises LinkLost."""

    name: str

    def fileno(self) -> int: ...

    def read(self) -> bytes:
        """Return what is there; empty means nothing now. Raises LinkLost at the end of the stream."""
        ...

    def write(self, data: bytes) -> int:
        """Write what fits and return how many bytes were taken, possibly none. Raises LinkLost."""
        ...

    def discard_output(self) -> int:
        """Throw away what the operating system has not yet sent, where it can; return the number of bytes if known."""
        ...

    def close(self) -> None: ...


class DescriptorTransport:
    """A transport over one non-blocking file descriptor.

    Lifetime: from opening to `close`, which may be repeated. Concurrency: one reader; writers serialise themselves,
    except that a single `write` is safe beside another (the kernel takes each write whole or in order).
    """

    def __init__(self, name: str, descriptor: int) -> None:
        self.name = name
        self._descriptor = descriptor
        os.set_blocking(descriptor, False)

    def fileno(self) -> int:
        return self._descriptor

    def read(self) -> bytes:
        try:
            data = os.read(self._descriptor, _READ_SIZE)
        except BlockingIOError:
            return b""
        except OSError as problem:
            raise LinkLost(f"Port {self.name} was lost while reading: {problem.strerror}.") from problem
        if not data:
            raise LinkLost(f"Port {self.name} was closed at the other end.")
        return data

    def write(self, data: bytes) -> int:
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:
            return 0
        except OSError as problem:
            raise LinkLost(f"Port {self.name} was lost while writing: {problem.strerror}.") from problem

    def discard_output(self) -> int:
        return 0

    def close(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


class SerialTransport(DescriptorTransport):
    """A serial device opened by pyserial for us alone. A pty or USB device hangs up with EIO, a vanished one with no data."""

    def __init__(self, name: str, port: serial.Serial) -> None:
        super().__init__(name, port.fileno())
        self._port = port

    def read(self) -> bytes:
        # A terminal reads as empty when nothing is there and when it is gone; only the poll tells them apart.
        poller = select.poll()
        poller.register(self._descriptor, select.POLLIN)
        return super().read() if poller.poll(0) else b""

    def discard_output(self) -> int:
        try:
            with _as_system_errors():
                waiting = fcntl.ioctl(self._descriptor, termios.TIOCOUTQ, b"\0\0\0\0")
                termios.tcflush(self._descriptor, termios.TCOFLUSH)
        except OSError:
            return 0
        return int(struct.unpack("I", waiting)[0])

    def close(self) -> None:
        if self._descriptor >= 0:
            self._descriptor = -1
            with suppress(OSError, serial.SerialException):
                self._port.close()


class SocketTransport(DescriptorTransport):
    """A TCP connection without delay of small writes."""

    def __init__(self, name: str, connection: socket.socket) -> None:
        super().__init__(name, connection.fileno())
        self._connection = connection

    def close(self) -> None:
        if self._descriptor >= 0:
            self._descriptor = -1
            self._connection.close()


class MemoryPair:
    """Two connected transports inside one process, `ours` and `theirs`, for tests. Lifetime: close both ends."""

    def __init__(self, name: str = "memory") -> None:
        left, right = socket.socketpair()
        self.ours: Transport = SocketTransport(name, left)
        self.theirs: Transport = SocketTransport(f"{name} (far end)", right)

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()


def open_transport(
    address: str, baud: int = 250_000, *, framing: str = "8N1", write_timeout: float = 1.0, connect_timeout: float = 3.0
) -> Transport:
    """Open `address`, a device path, `socket://host:port` or a USB identity, for us alone; timeouts in s.

    `framing` is data bits, parity (N, E, O) and stop bits of a serial line. DTR and RTS are asserted, which says that somebody
    listens: boards with native USB and balances with hardware handshake answer nobody else. A board that restarts at it is met
    by the handshake.

    A USB identity (`usb:VID:PID:SERIAL`, `usb:VID:PID@SOCKET`) is looked up at every opening, so it finds the device in another
    socket or under another name. Raises PortMissing, PortBusy, PortAmbiguous, PortAddressWrong or LinkLost.
    """
    if address.startswith("socket://"):
        return _open_socket(address, connect_timeout)
    if address.startswith(USB_PREFIX):
        return _open_serial(find_port(address, list_ports()).path, baud, framing, write_timeout)
    return _open_serial(address, baud, framing, write_timeout)


def _open_socket(address: str, connect_timeout: float) -> Transport:
    parts = urlsplit(address)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if host is None or port is None:
        raise LinkLost(f"{address!r} is not a socket address.", remedy="Write it as socket://127.0.0.1:5000.")
    try:
        connection = socket.create_connection((host, port), timeout=connect_timeout)
    except OSError as problem:
        raise LinkLost(f"Nothing answers at {address}: {problem}.", remedy="Check the address and the device server.") from problem
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return SocketTransport(address, connection)


def _open_serial(address: str, baud: int, framing: str, write_timeout: float) -> Transport:
    if not Path(address).exists():
        raise PortMissing(address, [found.path for found in list_ports()])
    port = serial.Serial()
    port.port, port.baudrate = address, baud
    port.bytesize, port.parity, port.stopbits = int(framing[0]), framing[1], int(framing[2])
    port.timeout, port.write_timeout, port.exclusive = 0, write_timeout, True
    try:
        with _as_system_errors():
            port.open()
    except (OSError, ValueError) as problem:
        # pyserial's own exception is an OSError whose number is set only sometimes.
        if _is_busy(problem):
            raise PortBusy(address) from problem
        if getattr(problem, "errno", None) in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
            raise PortMissing(address, [found.path for found in list_ports()]) from problem
        raise LinkLost(f"Port {address} cannot be opened: {problem}.", remedy="Check the account's right to use serial ports.") from problem
    # Some adapters keep bytes back for 16 ms in case more come; a driver that knows no such mode, or a terminal, says so.
    with suppress(OSError, ValueError, NotImplementedError):
        port.set_low_latency_mode(True)
    return SerialTransport(address, port)


@contextmanager
def _as_system_errors() -> Iterator[None]:
    """A device that goes while its line is set or flushed raises termios' own error, which has the arguments of an OSError and is none."""
    try:
        yield
    except termios.error as problem:
        raise OSError(*problem.args) from problem


def _is_busy(problem: Exception) -> bool:
    return getattr(problem, "errno", None) in (errno.EBUSY, errno.EAGAIN) or "exclusively lock" in str(problem)


def list_ports() -> list[PortIdentity]:
    """Return the serial ports that are there, with their USB identity, in order of path."""
    found = []
    for port in serial_ports.comports():
        usb = f"{port.vid:04x}:{port.pid:04x}" if port.vid is not None and port.pid is not None else ""
        found.append(
            PortIdentity(
                path=str(port.device),
                description=str(port.description or ""),
                usb_id=usb,
                serial_number=str(port.serial_number or ""),
                manufacturer=str(port.manufacturer or ""),
                location=str(port.location or ""),
            )
        )
    return sorted(found, key=lambda identity: identity.path)
