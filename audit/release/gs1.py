"""The GS1 element string of a pack: built here, and read back from what a scanner typed.

Fields with a fixed length come first, each variable field but the last is followed by a separator. A product made for one
patient has no GTIN; it is then named by its recipe and strength under an application identifier of our own, which only this
site can read.

Sources: GS1 General Specifications 24.0, sections 3.2 (element strings), 7.8.2 (processing), 7.11 figure 7.11-1 (character set 82),
3.9.12 (AI 91 to 99, company internal information).
"""

from __future__ import annotations

from dataclasses import dataclass

from audit.errors import LabelRefused

CHARACTERS = frozenset("!\"%&'()*+,-./0123456789:;<=>?ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz")
"""GS1 character set 82, for lot, serial and internal fields."""
SEPARATOR = "\x1d"
GTIN, EXPIRY, LOT, SERIAL, INTERNAL = "01", "17", "10", "21", "91"
LONGEST, LONGEST_INTERNAL = 20, 90
SYMBOLOGIES = ("]d2", "]C1", "]Q3", "]J1", "]e0")
"""Identifiers of symbols that carry GS1 element strings: DataMatrix, GS1-128, QR, DotCode, DataBar (ISO/IEC 15424)."""


@dataclass(frozen=True, slots=True)
class PackCode:
    """What the symbol on a pack says. `expiry` is an ISO date; one of `gtin` (14 digits) and `product` (our own text) is set."""

    expiry: str
    lot: str
    serial: str
    gtin: str | None = None
    product: str | None = None

    def __post_init__(self) -> None:
        """Refuse what the standard has no place for. Raises LabelRefused with every field that does not fit."""
        reasons = [*_text("lot", self.lot, LONGEST), *_text("serial", self.serial, LONGEST)]
        if (self.gtin is None) == (self.product is None):
            reasons.append("a pack is named by a GTIN or by a product text of our own, by one of them")
        if self.gtin is not None:
            reasons += _gtin(self.gtin)
        if self.product is not None:
            reasons += _text("product", self.product, LONGEST_INTERNAL)
        if not _is_date(self.expiry):
            reasons.append(f"expiry: {self.expiry!r} is not a date between 2000-01-01 and 2099-12-31")
        if reasons:
            raise LabelRefused(reasons, remedy="Correct the recipe, the batch number or the register of GTINs.")

    @property
    def fields(self) -> tuple[tuple[str, str], ...]:
        """Application identifiers with their values, in the order in which they stand in the symbol."""
        first = [] if self.gtin is None else [(GTIN, self.gtin)]
        last = [] if self.product is None else [(INTERNAL, self.product)]
        year, month, day = self.expiry.split("-")
        return (*first, (EXPIRY, year[2:] + month + day), (LOT, self.lot), (SERIAL, self.serial), *last)

    @property
    def segments(self) -> tuple[str, ...]:
        """The element strings between separators; FNC1 stands before the first and between them in a symbol."""
        found = [""]
        for number, (ai, value) in enumerate(self.fields):
            found[-1] += ai + value
            if ai not in (GTIN, EXPIRY) and number < len(self.fields) - 1:
                found.append("")
        return tuple(found)

    @property
    def text(self) -> str:
        """The element string as a scanner transmits it, without symbology identifier."""
        return SEPARATOR.join(self.segments)

    @property
    def printed(self) -> str:
        """The human-readable interpretation: `(17)271231(10)B00001…`."""
        return "".join(f"({ai}){value}" for ai, value in self.fields)


def read_code(scanned: str) -> dict[str, str]:
    """Return application identifiers with their values from a scan. Raises LabelRefused for what is no GS1 element string."""
    # biip has the tables of GS1, which take a while to load: at the first scan, not at the start of the process
    from biip import ParseConfig, ParseError
    from biip.gs1_messages import GS1Message

    try:
        message = GS1Message.parse(_normal(scanned), config=ParseConfig(separator_chars=(SEPARATOR,)))
    except (ParseError, ValueError) as error:
        raise LabelRefused([f"this is no GS1 code: {error}"], remedy="Scan the two-dimensional code on the pack.") from error
    found: dict[str, str] = {}
    for element in message.element_strings:
        if element.ai.ai in found:
            raise LabelRefused([f"({element.ai.ai}) is in it twice"], remedy="Scan the two-dimensional code on the pack.")
        found[element.ai.ai] = element.value
    if not found:
        raise LabelRefused(["nothing was scanned"], remedy="Scan the two-dimensional code on the pack.")
    return found


def is_code(scanned: str, code: PackCode) -> bool:
    """Whether a scan is exactly this code.

    Keyboard-wedge scanners send the separator as a control character, as another character that no field can hold, or not at all: it
    is compared without separators, and everything else has to be there, in order.
    """
    text = _normal(scanned)
    return text == code.text or text == "".join(code.segments)


def _normal(scanned: str) -> str:
    text = scanned.strip(" \t\r\n")
    for symbology in SYMBOLOGIES:
        text = text.removeprefix(symbology)
    text = text.lstrip(SEPARATOR)
    return "".join(character if character in CHARACTERS else SEPARATOR for character in text)


def _text(name: str, value: str, longest: int) -> list[str]:
    if not 1 <= len(value) <= longest:
        return [f"{name}: {value!r} has {len(value)} characters, 1 to {longest} are allowed"]
    foreign = sorted(set(value) - CHARACTERS)
    return [f"{name}: {value!r} holds {' '.join(map(repr, foreign))}, not of GS1 character set 82"] if foreign else []


def _gtin(value: str) -> list[str]:
    from biip import ParseError
    from biip.gtin import Gtin

    try:
        Gtin.parse(value)
    except ParseError as error:
        return [f"gtin: {error}"]
    return [] if len(value) == 14 and value.isascii() else [f"gtin: {value!r} is not written with 14 digits"]


def _is_date(value: str) -> bool:
    parts = value.split("-")
    if [len(part) for part in parts] != [4, 2, 2] or not all(part.isascii() and part.isdigit() for part in parts):
        return False
    year, month, day = (int(part) for part in parts)
    leap = year % 4 == 0
    days = (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    return 2000 <= year <= 2099 and 1 <= month <= 12 and 1 <= day <= days[month - 1]
