"""What is known of a cell's ports without opening one."""

from __future__ import annotations

import grp
import json
import os
from collections.abc import Sequence
from pathlib import Path

from api.doctor.gather_machine import holders
from api.doctor.ports import PortFacts
from firmware_bridge.errors import BridgeError
from firmware_bridge.port_discovery import USB_PREFIX, PortIdentity, find_port

_NETWORK = "socket://"
_STEADY = Path("/dev/serial/by-id")


def port(name: str, address: str, ports: Sequence[PortIdentity], *, is_bench: bool, own: int) -> PortFacts:
    """Look at one configured port. `ports` are those of the machine, `own` is the process of the cell, 0 where it rests."""
    if address.startswith(_NETWORK):
        return PortFacts(name, address, is_network=True)
    path = Path(address)
    if address.startswith(USB_PREFIX):
        try:
            path = Path(find_port(address, ports).path)
        except BridgeError as error:
            return PortFacts(name, address, problem=error.message, remedy=error.remedy)
    return PortFacts(
        name=name,
        address=address,
        path=str(path),
        is_bench=is_bench,
        exists=path.exists(),
        readable=os.access(path, os.R_OK),
        writable=os.access(path, os.W_OK),
        group=_group(path),
        holders=holders(path) if path.exists() else (),
        own=own,
        steady_name=_steady_name(path, ports),
    )


def _group(path: Path) -> str:
    try:
        return grp.getgrgid(path.stat().st_gid).gr_name
    except (OSError, KeyError):
        return ""


def _steady_name(path: Path, ports: Sequence[PortIdentity]) -> str:
    """Return a name of the device that stays: its USB identity, or its link in /dev/serial/by-id."""
    known = next((found.address for found in ports if found.path == str(path) and found.address != found.path), "")
    if known or not _STEADY.is_dir():
        return known
    return next((str(link) for link in sorted(_STEADY.iterdir()) if link.resolve() == path.resolve()), "")


def cell_process(address_file: Path) -> int:
    """Return the process of a cell that runs, 0 where it rests: the file is left when a cell is killed, so the process is looked for."""
    try:
        process = json.loads(address_file.read_text(encoding="utf-8"))["process"]
    except (OSError, ValueError, KeyError, TypeError):
        return 0
    return process if isinstance(process, int) and Path(f"/proc/{process}").exists() else 0
