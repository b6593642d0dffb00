"""Where the axes must be after a program, and whether they are there: an oracle beside the read-back. Pure.

Dead reckoning through `G90`/`G91`, `M82`/`M83`, `G92`, `G0`/`G1` and `G28`, by Marlin's rules: `G90` and `G91` set E as well,
`M82` and `M83` set E alone. What `M114` reports is the queued position. A reply has no checksum: where it differs, ask once
more before believing it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from audit.quantities import EXACT
from firmware_bridge.link_values import PositionReport

_WORD = re.compile(rb"([A-Z])([-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))?")
_AXES = ("X", "Y", "Z", "E")


@dataclass(frozen=True, slots=True)
class ExpectedTotals:
    """Position in mm; None: not known from the commands alone (homed, and where that leads is the firmware's)."""

    x: Decimal | None
    y: Decimal | None
    z: Decimal | None
    e: Decimal | None


def expected_totals(start: PositionReport | ExpectedTotals, commands: Iterable[bytes], *, relative_e: bool = False) -> ExpectedTotals:
    """Follow the commands from `start`, axes absolute, E absolute unless `relative_e`; exact, in mm.

    `G28` makes the axes that it homes unknown until they are set or moved to absolutely. An absolute move makes them known again.
    """
    position: dict[str, Decimal | None] = {"X": start.x, "Y": start.y, "Z": start.z, "E": start.e}
    relative = {"X": False, "Y": False, "Z": False, "E": relative_e}
    for command in commands:
        head, _, rest = command.partition(b" ")
        match head:
            case b"G0" | b"G1":
                _move(position, relative, rest)
            case b"G90" | b"G91":
                relative = dict.fromkeys(_AXES, head == b"G91")
            case b"M82" | b"M83":
                relative["E"] = head == b"M83"
            case b"G92":
                words = _words(rest)
                position.update(words or dict.fromkeys(_AXES, Decimal(0)))
            case b"G28":
                named = [axis for axis in ("X", "Y", "Z") if axis.encode() in rest]
                position.update(dict.fromkeys(named or ("X", "Y", "Z"), None))
            case _:
                pass
    return ExpectedTotals(position["X"], position["Y"], position["Z"], position["E"])


def differences(expected: ExpectedTotals, found: PositionReport, resolution: Decimal = Decimal("0.01")) -> tuple[str, ...]:
    """Return a sentence for every known axis that is not within one `resolution` (mm, that of the report) of where it must be."""
    pairs = (("X", expected.x, found.x), ("Y", expected.y, found.y), ("Z", expected.z, found.z), ("E", expected.e, found.e))
    return tuple(
        f"{axis}: {want} mm expected, {have} mm reported"
        for axis, want, have in pairs
        if want is not None and abs(EXACT.subtract(want, have)) > resolution
    )


def _move(position: dict[str, Decimal | None], relative: dict[str, bool], rest: bytes) -> None:
    for axis, value in _words(rest).items():
        before = position[axis]
        if not relative[axis]:
            position[axis] = value
        elif before is not None:
            position[axis] = EXACT.add(before, value)


def _words(rest: bytes) -> dict[str, Decimal]:
    """Return the axis words; a letter alone stands for 0, as in Marlin."""
    found = {match.group(1).decode(): Decimal((match.group(2) or b"0").decode()) for match in _WORD.finditer(rest)}
    return {axis: value for axis, value in found.items() if axis in _AXES}
