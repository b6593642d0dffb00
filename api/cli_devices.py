"""`dosewright devices`: the serial ports of this machine, in words; with `--ask`, who is on them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from api.cli_options import AsJson, print_json
from api.command_name import command_name

_WARNING = (
    "Asking opens each port. Opening a port resets many printer boards: their motors are released and their heaters go off. "
    "Nothing that moves, heats or zeroes is sent. Do not ask while a printer works."
)


def devices(
    ports: Annotated[list[str] | None, typer.Argument(help="with --ask: only these ports (a path, usb: identity or socket://)")] = None,
    ask: Annotated[bool, typer.Option("--ask", help="open the ports and ask who is there; opening may reset a board")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask for a confirmation before the ports are opened")] = False,
    line: Annotated[str, typer.Option("--line", help="how the serial line is set: baud rate, data bits, parity, stop bits")] = "250000 8N1",
    as_json: AsJson = False,
) -> None:
    """Say which serial devices are connected and how to name each in a cell's configuration. No port is opened unless --ask is given."""
    from firmware_bridge.port_discovery import in_words  # only this command wants them
    from firmware_bridge.transport import list_ports

    console = Console(highlight=False, soft_wrap=True, stderr=as_json)
    if not ask and ports:
        raise typer.BadParameter("name ports only with --ask")
    if ask and as_json and not yes:
        raise typer.BadParameter("with --json a program is not asked whether ports may be opened: give --yes with --ask")
    found = list_ports() if not ports else []
    for port in found:
        console.print(in_words(port), markup=False)
    if not found and not ports:
        console.print(f"No serial port is there. Connect a device, or use the demonstration bench: {command_name()} demo")
    addresses = list(ports or [port.address for port in found])
    known = [{**asdict(port), "address": port.address} for port in found]
    if not ask or not addresses:
        if as_json:
            print_json({"ports": known})
        return
    console.print(_WARNING, markup=False)
    if not yes:
        typer.confirm(f"Open {', '.join(addresses)} and ask?", abort=True)
    said: dict[str, str] = {}
    for address in addresses:
        said[address] = _who(address, line)
        console.print(f"{address}: {said[address]}", markup=False)
    if as_json:
        print_json({"ports": known, "asked": said})


def _who(address: str, line: str) -> str:
    from audit.clock import SystemClock
    from firmware_bridge.errors import BridgeError
    from firmware_bridge.transport import open_transport
    from firmware_bridge.who_is_there import ask

    baud, _, framing = line.partition(" ")
    if not baud.isdigit() or framing not in _FRAMINGS:
        raise typer.BadParameter("write the line as for example '9600 8N1'", param_hint="--line")
    try:
        transport = open_transport(address, int(baud), framing=framing)
        try:
            said = ask(transport, SystemClock().now)
        finally:
            transport.close()
    except BridgeError as error:
        return str(error)
    return said or f"nobody known answers at {line}; check that it is on, or try another --line"


_FRAMINGS = frozenset(bits + parity + stop for bits in "78" for parity in "NEO" for stop in "12")
