"""The device ports of one cell: which is where, which is open, and the wire log that sees every byte."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from audit.clock import Clock
from firmware_bridge.errors import BridgeError, LinkLost
from firmware_bridge.port_owner import PortInput, PortOwner
from firmware_bridge.transport import open_transport
from firmware_bridge.wire_log import WireLog
from printer.messages import Port

_NO_LOG = "0" * 64


class Ports:
    """Opens, writes and closes the ports of a cell.

    Lifetime: that of the cell; a lost port is opened anew when the next run is created. Concurrency: owned by the
    controller thread; the wire log is fed from the ports' threads under its own lock.
    """

    def __init__(self, places: Mapping[Port, str], baud: int, clock: Clock) -> None:
        self._places = dict(places)
        self._baud = baud
        self._clock = clock
        self._owners: dict[Port, PortOwner] = {}
        self._reasons: dict[Port, str] = {}
        self._log: WireLog | None = None
        self._log_lock = threading.Lock()

    def open_all(self, deliver: Callable[[PortInput], None]) -> None:
        for port in Port:
            self._open(port, deliver)

    def reopen(self, deliver: Callable[[PortInput], None]) -> None:
        """Open again what is missing, was lost or was stopped: an opened port begins with the device's identity."""
        for port in Port:
            owner = self._owners.get(port)
            if owner is not None and (owner.lost or owner.stopped):
                owner.close()
                del self._owners[port]
            if port not in self._owners:
                self._open(port, deliver)

    def missing(self) -> dict[str, str]:
        """Return why ports cannot serve a run: never opened, lost, or stopped."""
        reasons = {port.value: self._reasons[port] for port in Port if port not in self._owners}
        for port, owner in self._owners.items():
            if owner.lost:
                reasons[port.value] = "was lost; start the bench and the cell again"
            elif owner.stopped:
                reasons[port.value] = "was stopped; reset the printer, then start the bench and the cell again"
        return reasons

    def is_open(self, port: Port) -> bool:
        return port in self._owners

    def write(self, port: Port, data: bytes) -> str | None:
        """Queue bytes for a device. Returns why they could not be queued; the caller treats that as the loss of the port."""
        owner = self._owners.get(port)
        if owner is None:
            return f"port {port} is not open"
        try:
            owner.write(data)
        except LinkLost as error:
            return error.message
        return None

    def emergency_write(self, port: Port, data: bytes) -> None:
        owner = self._owners.get(port)
        if owner is not None:
            owner.emergency_write(data)

    def queued(self) -> dict[Port, int]:
        return {port: owner.bytes_queued for port, owner in self._owners.items() if not owner.lost}

    def begin_wire_log(self, path: Path) -> None:
        with self._log_lock:
            self._log = WireLog(path)

    def end_wire_log(self) -> str:
        """Flush and close the log of the run; return its digest."""
        with self._log_lock:
            if self._log is None:
                return _NO_LOG
            digest = self._log.sha256
            self._log.close()
            self._log = None
            return digest

    def close(self) -> None:
        for owner in self._owners.values():
            owner.close()
        self._owners.clear()
        self.end_wire_log()

    def _open(self, port: Port, deliver: Callable[[PortInput], None]) -> None:
        try:
            transport = open_transport(self._places[port], self._baud)
        except BridgeError as error:
            self._reasons[port] = str(error)
            return
        self._reasons.pop(port, None)
        self._owners[port] = PortOwner(port.value, transport, deliver, clock=self._clock.now, wire=self._wire)

    def _wire(self, direction: str, port: str, at_us: int, data: bytes) -> None:
        with self._log_lock:
            if self._log is not None:
                self._log.append(direction, port, at_us, data)
