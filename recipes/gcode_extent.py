"""The rectangle that a unit's moves stay in, read from the final bytes: what the walls of a blister cavity ask. Lengths mm."""

from __future__ import annotations

import re
from decimal import Decimal

from recipes.machine import Plate

_WORD = re.compile(rb"([XYZ])(-?[0-9]+\.[0-9]+)")


def cavity_refusals(content: bytes, name: str, place: tuple[Decimal, Decimal], section: str, plate: Plate) -> list[str]:
    """Return where a section's moves below the rim of its cavity come nearer to a wall than the profile allows, or stand above the rim."""
    cavity = plate.cavity
    if cavity is None:
        return []
    rim = plate.surface_z.value + cavity.depth.value
    room = (cavity.length.value / 2 - cavity.wall.value, cavity.width.value / 2 - cavity.wall.value)
    found: list[Decimal | None] = [None, None, None]
    refusals: list[str] = []
    for line in _lines(content, section):
        words = {word.decode(): Decimal(value.decode()) for word, value in _WORD.findall(line)}
        for axis, word in enumerate("XYZ"):
            found[axis] = words.get(word, found[axis])
        x, y, z = found
        below = z is not None and z < rim
        if below and any(at is None or abs(at - middle) > half for at, middle, half in zip((x, y), place, room, strict=True)):
            refusals.append(f"{name}: at X {x} Y {y} Z {z} the nozzle is nearer to the wall of its cavity than {cavity.wall}")
        if z is not None and z > rim and b" E" in line and words.keys() & {"X", "Y"}:
            refusals.append(f"{name}: it stands out of its cavity of {cavity.depth}")
        if refusals:
            break
    return refusals


def _lines(content: bytes, section: str) -> list[bytes]:
    """The lines between a section's brackets; none where it has none."""
    start = content.find(f"\n;{section}\n".encode("ascii"))
    end = content.find(f"\n;END {section}\n".encode("ascii"), start + 1)
    return content[start:end].split(b"\n")[2:] if 0 <= start < end else []
