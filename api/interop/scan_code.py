"""What a scanner read: a GS1 element string (DataMatrix, GS1-128, GS1 QR), a bare number or text, or a FHIR prescription.

No GS1 code carries a prescription: it names a product, a lot, an expiry and a serial. A two-dimensional code carries a prescription
only where a FHIR resource is written in it; the tokens of national services are references to one, and cannot be read here.

Sources: GS1 General Specifications 24.0, sections 3.2, 3.4.7 (a day of 00 is the last of the month), 7.8.2, 7.12 (years of two digits);
ISO/IEC 15424 (symbology identifiers).
"""

from __future__ import annotations

from dataclasses import dataclass

from biip import ParseConfig, ParseError
from biip.gs1_messages import GS1Message

from api.errors import InputInvalid
from audit.release.gs1 import EXPIRY, GTIN, LOT, SEPARATOR, SERIAL, SYMBOLOGIES

LONGEST = 1 << 20
_CONFIG = ParseConfig(separator_chars=(SEPARATOR,))
_WRITTEN = ("<GS>", "{GS}", "<FNC1>", "{FNC1}", "\\F")
"""How scanners that cannot send a control character are set up to write the separator."""
_PLAIN = ("]C0", "]Q0", "]Q1", "]d0", "]d1")
"""Identifiers of the same symbols where they carry plain text."""


@dataclass(frozen=True, slots=True)
class ScanCode:
    """One scan. `serial`, `lot`, `gtin` and `expiry` (ISO date) are those of a GS1 code; a plain code is its `text` alone."""

    text: str
    gs1: bool = False
    gtin: str | None = None
    lot: str | None = None
    serial: str | None = None
    expiry: str | None = None
    fhir: bool = False

    @property
    def name(self) -> str:
        """What the code calls the thing that it is on: its serial number, or the text of a plain code."""
        return self.serial or ("" if self.gs1 else self.text)


def read_scan(scanned: str) -> ScanCode:
    """Return what was scanned, whatever the scanner was set up to send around it.

    A text that begins with a symbology identifier of GS1, or that a GS1 parser reads to its end and that names a GTIN, is a GS1 code;
    any other is plain text. Raises InputInvalid for nothing, for too much, and for a GS1 code that is damaged.
    """
    text = scanned.strip(" \t\r\n\x02\x03")
    if not text:
        raise InputInvalid("Nothing was scanned.", remedy="Scan the code again.")
    if len(text) > LONGEST:
        raise InputInvalid(f"What was scanned is longer than {LONGEST} characters.", remedy="Scan one code.")
    if text.startswith("{") and not text.startswith(_WRITTEN):
        return ScanCode(text, fhir=True)
    marked = text.startswith(SYMBOLOGIES)
    for prefix in (*SYMBOLOGIES, *_PLAIN):
        text = text.removeprefix(prefix)
    for written in _WRITTEN:
        text = text.replace(written, SEPARATOR)
    begun, text = text.startswith(SEPARATOR), text.strip(SEPARATOR)
    try:
        fields = _fields(text)
    except (ParseError, ValueError) as error:
        if marked or begun or SEPARATOR in text:
            reason = str(error).rstrip(".")
            raise InputInvalid(
                f"This GS1 code cannot be read: {reason[:200]}.",
                remedy="Scan it again; a damaged code is not used, type the serial number.",
            ) from None
        return ScanCode(text)
    if not (marked or begun or SEPARATOR in text or GTIN in fields):
        return ScanCode(text)  # digits that happen to begin like an application identifier
    return ScanCode(
        text,
        gs1=True,
        gtin=fields.get(GTIN),
        lot=fields.get(LOT),
        serial=fields.get(SERIAL),
        expiry=fields.get(EXPIRY),
    )


def _fields(text: str) -> dict[str, str]:
    """Return application identifiers with their values, a date in ISO form. Raises ParseError, ValueError."""
    found: dict[str, str] = {}
    for element in GS1Message.parse(text, config=_CONFIG).element_strings:
        if element.ai.ai in found:
            raise ValueError(f"({element.ai.ai}) is in it twice")
        if element.gtin_error is not None:
            raise ValueError(element.gtin_error)
        found[element.ai.ai] = element.value if element.date is None else element.date.isoformat()
    return found
