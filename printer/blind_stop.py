"""A stop for a printer of which nothing is known: written to its port, and nothing else."""

from __future__ import annotations

import select
import time

from firmware_bridge.errors import LinkLost
from firmware_bridge.transport import Transport, open_transport
from printer.ports import STOP, Place

_STOP_LIMIT_S = 2.0


def tell_to_stop(place: Place) -> None:
    """Write the stop to a printer. Raises BridgeError where its port cannot be opened or takes no bytes."""
    transport = open_transport(place.address, place.baud, framing=place.framing)
    try:
        _write_all(transport, STOP, _STOP_LIMIT_S)
    finally:
        transport.close()


def _write_all(transport: Transport, data: bytes, limit_s: float) -> None:
    """Write every byte. Raises LinkLost where the device has not taken them within the limit."""
    until = time.monotonic() + limit_s
    while data:
        data = data[transport.write(data) :]
        left = until - time.monotonic()
        if data and left <= 0:
            raise LinkLost(f"The device at {transport.name} takes no bytes.", remedy="Switch it off: it could not be told to stop.")
        if data:
            select.select([], [transport.fileno()], [], left)
