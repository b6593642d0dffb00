"""The device ports of one cell: which is where, which is open, and the wire log that sees every byte."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from audit.clock import Clock
from firmware_bridge.errors import BridgeError, LinkLost
from firmware_bridge.link_values import STOP_BYTES, StopStrength
from firmware_bridge.port_owner import PortInput, PortOwner
from firmware_bridge.transport import Transport, open_transport
from firmware_bridge.wire_log import LogFailed, LogSealed, WireLog
from printer.messages import Port
from printer.priority import step_down

STOP = STOP_BYTES[StopStrength.KILL]
_AGAIN = "is being opened and asked who is there; try again in a few seconds"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a device is, and how its line is set: `framing` is data bits, parity, stop bits."""

    address: str
    baud: int = 250_000
    framing: str = "8N1"


class Ports:
    """Opens, writes and closes the ports of a cell.

    A printer that is owed a stop gets it as the first bytes after its port is opened, before anything else, and is owed it until
    it has confirmed that, or has started anew.
    Lifetime: that of the cell; a lost port is opened anew when the next run is created. Concurrency: owned by the
    controller thread; the wire log is fed from the ports' threads and written by its own.
    """

    def __init__(self, places: Mapping[Port, Place], clock: Clock) -> None:
        self.places = dict(places)
        self._clock = clock
        self._owners: dict[Port, PortOwner] = {}
        self._reasons: dict[Port, str] = {}
        self._stop_owed: str | None = None
        self._log: WireLog | None = None

    def open_all(self, deliver: Callable[[PortInput], None]) -> None:
        for port in Port:
            self._open(port, deliver)

    def reopen(self, deliver: Callable[[PortInput], None], busy: Collection[Port] = ()) -> None:
        """Open again what is missing, was lost or was stopped, except for ports that are `busy`: an opened port begins with identity."""
        for port in Port:
            owner = self._owners.get(port)
            if owner is not None and (owner.lost or owner.stopped):
                if port is Port.PRINTER and owner.stop_waits:
                    self.owe_stop("it has not confirmed a stop")
                self._drop(port)
            if port not in self._owners and port in busy:
                self._reasons[port] = _AGAIN
            elif port not in self._owners:
                self._open(port, deliver)

    def away(self) -> dict[Port, str]:
        """Return the ports that are lost or were never opened, each with the reason. One that was stopped waits for a person."""
        lost = {port: "was lost" for port, owner in self._owners.items() if owner.lost}
        return {port: self._reasons.get(port, "is not open") for port in Port if port not in self._owners} | lost

    def adopt(self, port: Port, transport: Transport, deliver: Callable[[PortInput], None]) -> None:
        """Take over a transport whose device has been identified, or is the printer that is owed a stop."""
        self._drop(port)
        self._reasons.pop(port, None)
        self._own(port, transport, deliver)

    def not_there(self, port: Port, reason: str) -> None:
        """Keep why a port could not be opened again."""
        self._drop(port)
        self._reasons[port] = reason

    def owe_stop(self, reason: str) -> None:
        """Remember that the printer may still move or be hot: it is told to stop as soon as its port can be written."""
        self._stop_owed = self._stop_owed or reason

    @property
    def stop_owed(self) -> str | None:
        return self._stop_owed

    def take_stop_confirmed(self) -> str | None:
        """Return why the printer was owed a stop, once, when it has confirmed it: that is still to be recorded."""
        owner = self._owners.get(Port.PRINTER)
        if self._stop_owed is None or owner is None or not owner.stopped or owner.stop_waits:
            return None
        reason, self._stop_owed = self._stop_owed, None
        return reason

    def missing(self) -> dict[str, str]:
        """Return why ports cannot serve a run: never opened, lost, or stopped."""
        reasons = {port.value: self._reasons[port] for port in Port if port not in self._owners}
        for port, owner in self._owners.items():
            if owner.lost:
                reasons[port.value] = "was lost; start the bench and the cell again"
            elif owner.stopped:
                reasons[port.value] = "was stopped; reset the printer and try again (on a bench: start the bench and the cell again)"
        return reasons

    def stop_waits(self, port: Port) -> bool:
        """Whether a stop was written that the device has not confirmed: if the port is lost now, it may never have read it."""
        owner = self._owners.get(port)
        return owner is not None and owner.stop_waits

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

    def begin_wire_log(self, path: Path, deliver: Callable[[LogSealed | LogFailed], None], again_s: float) -> None:
        """Begin the log of a run. A file that is there already, left behind by a process that ended, keeps its name. Raises OSError."""
        for n in count(1):
            with suppress(FileExistsError):
                self._log = WireLog(path if n == 1 else path.with_suffix(f".{n}{path.suffix}"), deliver, again_s=again_s, begin=step_down)
                return

    def seal_wire_log(self) -> None:
        """End the log of the run; `deliver` is given LogSealed once it is on the disk, and LogFailed each time that fails."""
        if self._log is not None:
            self._log.seal()

    def wire_log_is_late(self, limit_s: float) -> bool:
        """Whether the disk has not answered the log for longer than that."""
        return self._log is not None and self._log.is_late(limit_s)

    def close(self) -> None:
        for owner in self._owners.values():
            owner.close()
        self._owners.clear()
        if self._log is not None:
            self._log.close()

    def _open(self, port: Port, deliver: Callable[[PortInput], None]) -> None:
        place = self.places[port]
        try:
            transport = open_transport(place.address, place.baud, framing=place.framing)
        except BridgeError as error:
            self._reasons[port] = str(error)
            return
        self._reasons.pop(port, None)
        self._own(port, transport, deliver)

    def _own(self, port: Port, transport: Transport, deliver: Callable[[PortInput], None]) -> None:
        owner = self._owners[port] = PortOwner(port.value, transport, deliver, clock=self._clock.now, wire=self._wire)
        if port is Port.PRINTER and self._stop_owed is not None:
            owner.emergency_write(STOP)

    def _drop(self, port: Port) -> None:
        owner = self._owners.pop(port, None)
        if owner is not None:
            owner.close()

    def _wire(self, direction: str, port: str, at_us: int, data: bytes) -> None:
        if self._log is not None:
            self._log.append(direction, port, at_us, data)
