"""Where a cell of a site folder listens now, as its own address file says."""

from __future__ import annotations

import json
from pathlib import Path

from printer.cell_client import CellAddress


def address_of(folder: Path, cell: str) -> CellAddress:
    """Return the address of a cell that is up. Raises OSError, ValueError where its file is not there or not whole."""
    found, tls = json.loads((folder / cell / "address.json").read_text()), folder / "tls"
    return CellAddress(
        host=str(found["host"]),
        port=int(str(found["port"])),
        name=cell,
        ca=tls / "ca.pem",
        certificate=tls / "workstation.pem",
        key=tls / "workstation.key",
    )
