"""Pictures on paper: which SVG attachments may be drawn, and under what name.

A picture comes from the cell's trail, and nothing in it is believed: only the few elements and attributes that a drawing needs pass, and
no text that could name a file, a place or a style. What does not pass is left out, and the document says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from audit.canonical import JsonValue

FOLDER = "pictures/"
_NAME = re.compile(r"pictures/([0-9]{1,4}(?:\.[0-9]{1,6})?-mg(?:-part-[12])?)-(unit|layers)\.svg")
_LARGEST = 1_000_000
_MOST = 24
_HEAD = re.compile(rb'<svg xmlns="http://www\.w3\.org/2000/svg" viewBox="0 0 [0-9]{1,7} [0-9]{1,7}"(?: [a-z-]+="[A-Za-z0-9 .,:#-]*")*>')
_VALUE = rb'"[A-Za-z0-9 .,#()-]*"'
_NAMES = (
    rb"d|x|y|cx|cy|r|width|height|fill|fill-rule|stroke|stroke-width|stroke-linejoin|stroke-linecap|stroke-dasharray"
    rb"|font-size|text-anchor|transform"
)
_SHAPE = re.compile(rb"<(?:path|rect|circle)(?: (?:" + _NAMES + rb")=" + _VALUE + rb")*/>")
_TEXT = re.compile(rb"<text(?: (?:" + _NAMES + rb")=" + _VALUE + rb")*>[A-Za-z0-9 .,:()-]*</text>")


def drawable(data: bytes) -> bool:
    """Say whether an SVG is one of the plain form that this product draws, line by line."""
    if len(data) > _LARGEST or not data.isascii():
        return False
    lines = data.split(b"\n")
    if len(lines) < 3 or lines[-2:] != [b"</svg>", b""] or not _HEAD.fullmatch(lines[0]):
        return False
    return all(_SHAPE.fullmatch(line) or _TEXT.fullmatch(line) for line in lines[1:-2])


def chosen_pictures(files: Mapping[str, bytes]) -> tuple[dict[str, bytes], list[JsonValue], list[JsonValue]]:
    """Return what may be drawn: files by a name of ours, rows (`name`, `caption`, `kind`) for the template, and names left out."""
    found: dict[str, bytes] = {}
    rows: list[JsonValue] = []
    left_out: list[JsonValue] = []
    for name in sorted(files, key=_order):
        known = _NAME.fullmatch(name)
        if known is None or len(rows) >= _MOST or not drawable(files[name]):
            left_out.append(name[:80])
            continue
        own = f"picture-{len(rows)}.svg"
        found[own] = files[name]
        rows.append({"name": own, "caption": known[1].replace("-", " "), "kind": known[2]})
    return found, rows, left_out


def _order(name: str) -> tuple[str, bool]:
    known = _NAME.fullmatch(name)
    return (known[1], known[2] == "layers") if known else (name, False)
