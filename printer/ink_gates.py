"""The gate on which cartridge is in which head, where there are two.

Two inks that change places look alike in everything but content: only the serial that somebody reads on the cartridge in each head
tells them apart before they are printed.
"""

from __future__ import annotations

from collections.abc import Sequence

from printer.readiness import Gate


def mounting_gates(wanted: Sequence[str], mounted: tuple[str, ...]) -> tuple[Gate, ...]:
    """Return the gate, none with one head; `wanted` in the order of the heads, `mounted` the serials scanned there, in that order."""
    return (_in_its_head(tuple(wanted), mounted),) if len(wanted) > 1 else ()


def _in_its_head(wanted: tuple[str, ...], mounted: tuple[str, ...]) -> Gate:
    name = "cartridge in each head"
    if not mounted:
        return Gate(name, False, "nobody has scanned the cartridges in their heads; scan the one in head 1, then the one in head 2")
    if mounted == wanted:
        return Gate(name, True, "; ".join(f"head {number} holds {serial}, as ordered" for number, serial in enumerate(mounted, start=1)))
    found = ", ".join(f"head {number} holds {serial}" for number, serial in enumerate(mounted, start=1))
    asked = ", ".join(f"{serial} in head {number}" for number, serial in enumerate(wanted, start=1))
    return Gate(name, False, f"{found}; the order needs {asked}: change them and scan both again")
