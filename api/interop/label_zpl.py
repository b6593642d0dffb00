"""A label for a thermal printer in ZPL II, with the printer's own Data Matrix.

`^BX` at quality 200 takes FNC1 as an escape: the escape character is given, because its default differs between firmware versions, and
is doubled where it stands in the data. Texts are UTF-8 (`^CI28`) written as hexadecimal escapes (`^FH`), so that the file is plain ASCII
and no text can be a command. Sizes are whole dots: 8 a millimetre at 203 dpi, 12 at 300 dpi.

Source: Zebra ZPL II Programming Guide, commands ^BX, ^CI, ^FH, ^A, ^GB, ^GD.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from api.interop.data_matrix import modules
from api.interop.label_pdf import HEIGHT_MM, PREVIEW, WIDTH_MM, PrintJob, broken_code, code_texts, lines
from audit.errors import LabelRefused
from audit.release.gs1 import PackCode
from audit.release.label import Label

Resolution = Literal[203, 300]
DOTS_PER_MM: dict[Resolution, int] = {203: 8, 300: 12}
MODULE_DOTS: dict[Resolution, int] = {203: 3, 300: 4}
"""0.375 mm and 0.333 mm a module."""
_ESCAPE = "_"
_MARGIN_MM, _CODE_MM, _BAND_MM = 3, 20, 6
_WIDEST = 0.55
"""Width of a character of font 0 by its height, taken wide: a line that is broken early is no fault, one that runs out of the label is."""
_HEIGHTS_MM = (2.9, 2.7, 2.5, 2.3, 2.1)
_LINE = 17


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of text: its height as a share of the label's text height, whether it is framed, and whether it runs beside the symbol."""

    text: str
    size: float = 1.0
    framed: bool = False
    beside: bool = False


def field_data(code: PackCode) -> str:
    """Return the field data of ^BX: FNC1 (`_1`) before the first element string and between them, the escape itself doubled."""
    return "".join(f"{_ESCAPE}1{segment.replace(_ESCAPE, _ESCAPE * 2)}" for segment in code.segments)


def escaped(text: str) -> str:
    r"""Return a text for `^FH\`: what is not plain ASCII, and what ZPL would read as a command, as bytes of UTF-8 in hexadecimal."""
    return "".join(character if _plain(character) else "".join(f"\\{byte:02X}" for byte in character.encode()) for character in text)


def _plain(character: str) -> bool:
    return " " <= character <= "~" and character not in "^~\\"


def render_zpl(label: Label, job: PrintJob, resolution: Resolution = 203) -> bytes:
    """Return the label as ZPL. Raises LabelRefused where its texts do not fit."""
    dots = DOTS_PER_MM[resolution]
    for height in _HEIGHTS_MM:
        placed = list(_placed(list(_lines(label, job)), dots, height, _MARGIN_MM + (_BAND_MM if _across(label, job) else 0)))
        if placed[-1][1] + placed[-1][2] <= (HEIGHT_MM - _MARGIN_MM) * dots:
            break
    else:
        raise LabelRefused(["its texts do not fit on it"], remedy="Shorten the recipe's texts in a new version.")
    commands = [
        "^XA",
        f"^FX mark {job.mark}^FS",
        "^CI28",
        f"^PW{WIDTH_MM * dots}",
        f"^LL{HEIGHT_MM * dots}",
        "^LH0,0",
        *(command for line, y, size in placed for command in _text(line, y, size, dots)),
        *_symbol(label, job, dots, resolution),
        *_crossing(label, job, dots),
        "^PQ1",
        "^XZ",
    ]
    return ("\n".join(commands) + "\n").encode("ascii")


def _lines(label: Label, job: PrintJob) -> Iterator[_Line]:
    first, *others = job.patient
    yield _Line(first, 1.2, beside=True)
    yield from (_Line(text, beside=True) for text in others)
    yield from (_Line(text, 1.25, beside=True) for text in label.strengths)
    yield _Line(label.product, beside=True)
    yield _Line(f"{label.quantity}, {label.route} use", beside=True)
    yield _Line(label.intake, 1.1, framed=True, beside=True)
    yield _Line(label.directions)
    yield from (_Line(text) for text in label.warnings)
    yield from (_Line(str(text)) for text in lines(label) if text)
    yield _Line(f"Use by {label.use_by}   Batch {label.batch}   Pack {label.pack}", 1.1)
    yield _Line(", ".join(label.pharmacy), 0.9)


def _placed(wanted: Sequence[_Line], dots: int, height_mm: float, top_mm: int) -> Iterator[tuple[_Line, int, int]]:
    """Give each line, broken where it is too long, with its upper edge and its height in dots."""
    y, bottom_of_symbol = top_mm * dots, (_MARGIN_MM + _CODE_MM) * dots
    for line in wanted:
        size = round(line.size * height_mm * dots)
        beside = line.beside or y < bottom_of_symbol
        room = (WIDTH_MM - 2 * _MARGIN_MM - (_CODE_MM + 1 if beside else 0)) * dots
        for text in _broken(line.text, max(1, int(room / (size * _WIDEST)))):
            yield _Line(text, line.size, line.framed, beside), y, size
            y += round(size * (1.6 if line.framed else 1.15))


def _broken(text: str, longest: int) -> Iterator[str]:
    """Break between words where there are any, within a word where it is longer than a line."""
    line = ""
    for word in text.split(" "):
        joined = f"{line} {word}" if line else word
        if len(joined) <= longest:
            line = joined
            continue
        if line:
            yield line
        while len(word) > longest:
            yield word[:longest]
            word = word[longest:]
        line = word
    if line:
        yield line


def _text(line: _Line, y: int, size: int, dots: int) -> list[str]:
    x = _MARGIN_MM * dots
    frame = []
    if line.framed:
        width = min(round(len(line.text) * size * _WIDEST) + 2 * dots, (WIDTH_MM - 2 * _MARGIN_MM - _CODE_MM - 1) * dots)
        frame = [f"^FO{x},{y}^GB{width},{round(size * 1.4)},2^FS"]
        x, y = x + dots, y + round(size * 0.2)
    return [*frame, f"^FO{x},{y}^A0N,{size},{size}^FH\\^FD{escaped(line.text)}^FS"]


def _symbol(label: Label, job: PrintJob, dots: int, resolution: Resolution) -> list[str]:
    module = MODULE_DOTS[resolution]
    side = len(modules(label.code)) * module
    x, y = (WIDTH_MM - _MARGIN_MM) * dots - side, _MARGIN_MM * dots
    found = [f"^FO{x},{y}^BXN,{module},200,,,,{_ESCAPE},1^FD{field_data(label.code)}^FS"]
    size, top = round(1.9 * dots), y + side + dots
    for text in broken_code(code_texts(label, job), _LINE):
        found.append(f"^FO{(WIDTH_MM - _MARGIN_MM - _CODE_MM) * dots},{top}^A0N,{size},{size}^FH\\^FD{escaped(text)}^FS")
        top += round(size * 1.1)
    return found


def _across(label: Label, job: PrintJob) -> str | None:
    return label.crossed or (PREVIEW if job.preview else None)


def _crossing(label: Label, job: PrintJob, dots: int) -> list[str]:
    """Cross out beside the symbol, which stays readable, and say why in white on black."""
    text = _across(label, job)
    if text is None:
        return []
    height = HEIGHT_MM * dots
    size, left = round(4.5 * dots), (WIDTH_MM - _MARGIN_MM - _CODE_MM - 2) * dots
    band = round(len(text) * size * _WIDEST)
    x = y = _MARGIN_MM * dots
    return [
        f"^FO0,0^GD{left},{height},2,B,R^FS",
        f"^FO0,0^GD{left},{height},2,B,L^FS",
        f"^FO{x},{y}^GB{band},{round(size * 1.2)},{round(size * 1.2)}^FS",
        f"^FO{x + dots},{y + round(size * 0.15)}^FR^A0N,{size},{size}^FH\\^FD{escaped(text)}^FS",
    ]
