"""Errors of devices and ports.

    DosewrightError
    └── BridgeError                 FB-000   anything between us and a device
        ├── LocalProtocolError      FB-001   we asked for something the protocol does not allow now: our own mistake, nothing happened
        ├── RemoteProtocolError     FB-002   the device said something that its protocol does not allow
        └── LinkLost                FB-010   the port is gone or does not answer as a port
            ├── PortMissing         FB-011   there is no such port; those that are there are named
            ├── PortBusy            FB-012   another program holds the port
            ├── WriteQueueFull      FB-013   the device takes no bytes and the bounded queue is full
            ├── PortAmbiguous       FB-014   more than one port fits the USB identity
            ├── PortAddressWrong    FB-015   not an address of a port
            └── OtherDevice         FB-016   the port is there, but the device on it is not the one that is expected

Faults of the pure machines are values (`LinkFault`, `BalanceFault`) with codes from FB-1xx (printer link) and FB-2xx
(balances): a pure machine does not raise for what a device does.
"""

from __future__ import annotations

from collections.abc import Sequence

from audit.errors import DosewrightError


class BridgeError(DosewrightError):
    code = "FB-000"


class LocalProtocolError(BridgeError):
    code = "FB-001"


class RemoteProtocolError(BridgeError):
    code = "FB-002"


class LinkLost(BridgeError):
    code = "FB-010"


class PortMissing(LinkLost):
    code = "FB-011"

    def __init__(self, port: str, present: Sequence[str]) -> None:
        there = ", ".join(present) if present else "none"
        super().__init__(
            f"There is no port {port}. Serial ports that are there: {there}.",
            remedy="Check that the device is switched on and its cable is in, or correct the port in the deployment file.",
        )
        self.port = port
        self.present = tuple(present)


class PortBusy(LinkLost):
    code = "FB-012"

    def __init__(self, port: str) -> None:
        super().__init__(
            f"Port {port} is held by another program.",
            remedy="Close the other program (a slicer, a print host, a second cell); two programs on one port split the answers.",
        )
        self.port = port


class WriteQueueFull(LinkLost):
    code = "FB-013"


class PortAmbiguous(LinkLost):
    code = "FB-014"

    def __init__(self, address: str, paths: Sequence[str]) -> None:
        super().__init__(
            f"More than one port is {address}: {', '.join(paths)}.",
            remedy="Give one of the devices a serial number of its own, or name them by their USB sockets (usb:VID:PID@SOCKET).",
        )


class PortAddressWrong(LinkLost):
    code = "FB-015"

    def __init__(self, address: str) -> None:
        super().__init__(
            f"{address!r} is not an address of a port.",
            remedy="Write usb:VID:PID:SERIAL, usb:VID:PID@SOCKET, a device path or socket://host:port; `dosewright devices` lists them.",
        )


class OtherDevice(LinkLost):
    code = "FB-016"

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(
            f"The device at {address} is not the one that is expected: {reason}",
            remedy="Connect the device that the machine profile names; a change of device is a change of the machine.",
        )
