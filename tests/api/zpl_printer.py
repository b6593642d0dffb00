"""A thermal printer on paper: an independent reading of the ZPL II guide, as far as our labels use the language.

The symbol is drawn by zint from the field data, so that neither our writer nor our encoder is on this side.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

_FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSansCondensed-Bold.ttf"


@dataclass
class Page:
    """What a label came to: its picture, its texts with position and height, the data of its symbol as zint takes it."""

    picture: Image.Image
    texts: list[tuple[int, int, int, str]] = field(default_factory=list)
    symbol: str = ""
    symbol_box: tuple[int, int, int, int] = (0, 0, 0, 0)


def commands(data: bytes) -> list[tuple[str, str]]:
    """Split into commands: two letters after the caret (font commands `^A0` one letter), and their parameters."""
    text = data.decode("ascii").replace("\n", "")
    found = []
    for piece in text.split("^")[1:]:
        name = piece[:1] if piece.startswith("A0") else piece[:2]
        found.append((name, piece[len(name) :]))
    return found


def symbol_data(field_data: str, escape: str) -> str:
    """Return the data of ^BX with FNC1 written as GS: `_1` is FNC1, two escapes are one."""
    out, at = "", 0
    while at < len(field_data):
        if field_data[at] != escape:
            out, at = out + field_data[at], at + 1
        elif field_data[at + 1] == escape:
            out, at = out + escape, at + 2
        elif field_data[at + 1] == "1":
            out, at = out + "\x1d", at + 2
        else:
            raise AssertionError(f"no such escape: {field_data[at : at + 2]!r}")
    return out


def unescaped(text: str) -> str:
    raw = re.sub(rb"\\([0-9A-F]{2})", lambda match: bytes.fromhex(match.group(1).decode()), text.encode("ascii"))
    return raw.decode("utf-8")


def draw(data: bytes, folder: Path, zint: str | None) -> Page:
    """Print a label: return what is on it."""
    known = commands(data)
    settings = {name: value for name, value in known if name in ("PW", "LL", "CI")}
    assert settings["CI"] == "28" and known[0][0] == "XA" and known[-1][0] == "XZ"
    page = Page(Image.new("L", (int(settings["PW"]), int(settings["LL"])), 255))
    pen = ImageDraw.Draw(page.picture)
    x = y = size = 0
    module, escape, hexadecimal, reverse, kind = 0, "", False, False, ""
    for name, value in known:
        if name == "FO":
            x, y = (int(part) for part in value.split(","))
        elif name == "A":
            size, kind = int(value.split(",")[1]), "text"
        elif name == "FH":
            assert value == "\\"
            hexadecimal = True
        elif name == "FR":
            reverse = True
        elif name == "GB":
            width, height, thick = (int(part) for part in value.split(",")[:3])
            pen.rectangle((x, y, x + width, y + height), outline=0, width=thick, fill=0 if thick >= min(width, height) else None)
        elif name == "GD":
            width, height, thick, _, lean = value.split(",")
            ends = (x, y + int(height), x + int(width), y) if lean == "R" else (x, y, x + int(width), y + int(height))
            pen.line(ends, fill=0, width=int(thick))
        elif name == "BX":
            parts = value.split(",")
            assert parts[0] == "N" and parts[2] == "200"
            module, escape, kind = int(parts[1]), parts[6], "symbol"
        elif name == "FD" and kind == "symbol":
            page.symbol = symbol_data(value, escape)
            if zint is not None:
                picture = _symbol(page.symbol, module, folder, zint)
                page.picture.paste(picture, (x, y))
                page.symbol_box = (x, y, x + picture.width, y + picture.height)
        elif name == "FD":
            text = unescaped(value) if hexadecimal else value
            page.texts.append((x, y, size, text))
            _write(pen, x, y, size, text, white=reverse)
        elif name == "FS":
            hexadecimal = reverse = False
            kind = ""
    return page


def _write(pen: ImageDraw.ImageDraw, x: int, y: int, size: int, text: str, *, white: bool) -> None:
    font = ImageFont.truetype(_FONT, round(size * 0.8)) if Path(_FONT).exists() else ImageFont.load_default()
    pen.text((x, y), text, font=font, fill=255 if white else 0)


def _symbol(data: str, module: int, folder: Path, zint: str) -> Image.Image:
    """Have zint draw the symbol; FNC1 in the first place is what --gs1 makes of bracketed element strings, here given raw as GS."""
    target = folder / "symbol.png"
    bracketed = "".join(_bracketed(part) for part in data.removeprefix("\x1d").split("\x1d"))
    subprocess.run([zint, "--barcode=71", "--gs1", "--square", "-d", bracketed, "-o", str(target), "--scale=1"], check=True, timeout=20)
    with Image.open(target) as opened:
        small = opened.convert("L")
    return small.resize((small.width // 2 * module, small.height // 2 * module), Image.Resampling.NEAREST)


def _bracketed(part: str) -> str:
    """Write element strings with their identifiers in brackets, by the lengths that the standard fixes for these."""
    out = ""
    while part:
        ai, length = part[:2], {"01": 14, "17": 6}.get(part[:2], len(part) - 2)
        out += f"[{ai}]{part[2 : 2 + length]}"
        part = part[2 + length :]
    return out
