"""`dosewright devices`: the serial ports of this machine, in words."""

from __future__ import annotations

from rich.console import Console

from api.command_name import command_name


def devices() -> None:
    """Say which serial devices are connected and how to name each in a cell's configuration. No port is opened."""
    from firmware_bridge.port_discovery import in_words  # only this command wants them
    from firmware_bridge.transport import list_ports

    console = Console(highlight=False, soft_wrap=True)
    found = list_ports()
    for port in found:
        console.print(in_words(port), markup=False)
    if not found:
        console.print(f"No serial port is there. Connect a device, or use the demonstration bench: {command_name()} demo")
