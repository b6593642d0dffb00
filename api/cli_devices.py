"""`dosewright devices`: the serial ports of this machine."""

from __future__ import annotations

from rich.console import Console


def devices() -> None:
    """List the serial ports of this machine, to be named in a cell's configuration."""
    from firmware_bridge.transport import list_ports  # only this command wants it

    console = Console(highlight=False, soft_wrap=True)
    found = list_ports()
    for port in found:
        facts = (port.path, port.description, port.manufacturer, port.usb_id, port.serial_number, port.location)
        console.print("  ".join(fact for fact in facts if fact), markup=False)
    if not found:
        console.print("No serial port is there. Connect a device, or use the demonstration bench: dosewright demo")
