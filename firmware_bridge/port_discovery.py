"""Which port is which device: USB identity instead of a name that changes with the plug. Pure: ports are given as a list.

An address is a device path, `socket://host:port`, or a USB identity: `usb:VID:PID:SERIAL` for a device with a serial number of
its own, `usb:VID:PID@SOCKET` for one without, which can only be told by the USB socket that it is plugged into. VID and PID are
four hex digits. An identity that fits no port, or more than one, is refused: nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from firmware_bridge.errors import PortAddressWrong, PortAmbiguous, PortMissing

_ADDRESS = re.compile(r"usb:([0-9a-fA-F]{4}):([0-9a-fA-F]{4})(?::([!-~]{1,126})|@([0-9a-zA-Z.:-]{1,40}))\Z")
USB_PREFIX = "usb:"


@dataclass(frozen=True, slots=True)
class PortIdentity:
    """A serial port with what its USB device says of itself; empty texts where it is not a USB device."""

    path: str
    description: str
    usb_id: str
    serial_number: str
    manufacturer: str
    location: str

    @property
    def address(self) -> str:
        """The steadiest address of this port: by serial number, else by USB socket, else by path."""
        serial_number = self.serial_number.strip()
        if self.usb_id and serial_number and _ADDRESS.match(f"usb:{self.usb_id}:{serial_number}"):
            return f"usb:{self.usb_id}:{serial_number}"
        if self.usb_id and self.location:
            return f"usb:{self.usb_id}@{self.location}"
        return self.path


@dataclass(frozen=True, slots=True)
class UsbAddress:
    """A USB identity; exactly one of `serial_number` and `location` is set."""

    usb_id: str
    serial_number: str
    location: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `usb:VID:PID:SERIAL` or `usb:VID:PID@SOCKET`. Raises PortAddressWrong."""
        match = _ADDRESS.match(text)
        if match is None:
            raise PortAddressWrong(text)
        vendor, product, serial_number, location = match.groups()
        return cls(f"{vendor}:{product}".lower(), serial_number or "", location or "")

    def fits(self, port: PortIdentity) -> bool:
        if port.usb_id.lower() != self.usb_id:
            return False
        return port.serial_number.strip() == self.serial_number if self.serial_number else port.location == self.location


def find_port(address: str, ports: Sequence[PortIdentity]) -> PortIdentity:
    """Return the one port that is this device. Raises PortAddressWrong, PortMissing or PortAmbiguous."""
    wanted = UsbAddress.parse(address)
    found = [port for port in ports if wanted.fits(port)]
    if not found:
        raise PortMissing(address, [f"{port.path} ({port.address})" for port in ports])
    if len(found) > 1:
        raise PortAmbiguous(address, [port.path for port in found])
    return found[0]


def in_words(port: PortIdentity) -> str:
    """Say what a port is, for a person: the device, its numbers, its socket, and how to name it in a configuration."""
    name = port.description if port.description not in ("", "n/a") else ""
    maker = port.manufacturer if port.manufacturer and port.manufacturer.lower() not in name.lower() else ""
    device = " ".join(text for text in (maker, name) if text) or "a serial port without a description"
    if not port.usb_id:
        return f"{port.path}: {device}. Not a USB device. Name it as {port.path}"
    socket = f", in USB socket {port.location}" if port.location else ""
    if port.address.startswith(f"usb:{port.usb_id}:"):
        who = f"serial number {port.serial_number.strip()}"
        steadiness = "stays the same in any socket"
    elif port.address.startswith(USB_PREFIX):
        who = "no serial number of its own"
        steadiness = "holds while it stays in this socket"
    else:
        who, steadiness = "no serial number of its own", "changes with the plug"
    return f"{port.path}: {device}, USB {port.usb_id}, {who}{socket}. Name it as {port.address} ({steadiness})"
