"""A near-infrared probe's lines, without I/O: what is asked, and a reply read into a spectrum or refused.

Requests `ID` and `SCAN x y` (mm on the plate); each reply ends in `*` and two hex digits, the XOR of the bytes before it. A reply with
another check, of another length, or with anything but plain decimals is a protocol error: a spectrum is whole or it is none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from functools import reduce
from operator import xor

from audit.quantities import QuantityError, decimal_from_text, plain_text
from firmware_bridge.errors import RemoteProtocolError

_LINE = re.compile(rb"([ -)+-~]{1,8192})\*([0-9A-F]{2})\r?\n?\Z")
_REMEDY = "Measure again; if it happens again, look at the cable and at the probe."


@dataclass(frozen=True, slots=True)
class ProbeIdentity:
    """Who answers, and where it measures: `axis` in nm."""

    model: str
    serial: str
    axis: tuple[Decimal, ...]


@dataclass(frozen=True, slots=True)
class Spectrum:
    """One scan: its number on the probe, and the absorbance at each place of the axis. `saturated`: the detector was at its end."""

    scan: int
    saturated: bool
    values: tuple[Decimal, ...]

    @property
    def texts(self) -> list[str]:
        return [plain_text(value) for value in self.values]


def ask_identity() -> bytes:
    return b"ID\n"


def ask_scan(x: Decimal, y: Decimal) -> bytes:
    """Return the request for a scan of what lies at a place of the plate, in mm."""
    return f"SCAN {plain_text(x)} {plain_text(y)}\n".encode("ascii")


def read_identity(line: bytes) -> ProbeIdentity:
    """Read the reply to `ID`. Raises RemoteProtocolError."""
    words = _words(line)
    if len(words) != 6 or words[0] != "NIR":
        raise RemoteProtocolError(f"The probe does not say who it is: {_shown(line)}.", remedy=_REMEDY)
    first, step = _number(words[3], line), _number(words[4], line)
    count = int(words[5]) if words[5].isascii() and words[5].isdigit() and len(words[5]) <= 4 else 0
    if step <= 0 or not 2 <= count <= 4096:
        raise RemoteProtocolError(f"The probe states no axis: {_shown(line)}.", remedy=_REMEDY)
    return ProbeIdentity(words[1], words[2], tuple(first + step * place for place in range(count)))


def read_spectrum(line: bytes, identity: ProbeIdentity) -> Spectrum:
    """Read the reply to `SCAN`. Raises RemoteProtocolError, also where nothing lies under the probe."""
    words = _words(line)
    if words[:1] != ["SPC"] or len(words) < 3 or not (words[1].isascii() and words[1].isdigit() and len(words[1]) <= 12):
        raise RemoteProtocolError(f"The probe did not answer with a spectrum: {_shown(line)}.", remedy=_REMEDY)
    if words[2] == "NOTHING":
        raise RemoteProtocolError("Nothing lies under the probe.", remedy="Place it over the unit.")
    values = tuple(_number(word, line) for word in words[3:])
    if words[2] not in ("OK", "SAT") or len(values) != len(identity.axis):
        raise RemoteProtocolError(f"The spectrum has {len(values)} values, not {len(identity.axis)}: {_shown(line)}.", remedy=_REMEDY)
    return Spectrum(int(words[1]), words[2] == "SAT", values)


def _words(line: bytes) -> list[str]:
    found = _LINE.match(line)
    if found is None or reduce(xor, found[1], 0) != int(found[2], 16):
        raise RemoteProtocolError(f"The probe's line is damaged: {_shown(line)}.", remedy=_REMEDY)
    return found[1].decode("ascii").split(",")


def _number(text: str, line: bytes) -> Decimal:
    try:
        return decimal_from_text(text)
    except QuantityError as error:
        raise RemoteProtocolError(f"The probe gives {text[:40]!r} for a number: {_shown(line)}.", remedy=_REMEDY) from error


def _shown(line: bytes) -> str:
    return repr(line[:80])
