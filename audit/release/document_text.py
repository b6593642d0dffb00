"""Values of a record as a person reads them on paper; what is cut says so."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from audit.canonical import JsonObject, JsonValue
from audit.quantities import plain_text, round_to
from audit.release.trail_view import as_list, as_object, number_of, text_of

NONE = "–"
_EXTRA_GLYPHS = frozenset("–—‘’“”…·×÷−±√≤≥≈→←µ‰°²³⌀ΣΔαβγμσχ")
_LONGEST_TEXT = 2000
_BREAK = "\u200b"
_LONG_WORD = re.compile(r"[^\s\u200b]{31,}")
_EXACT = re.compile(r"[0-9a-f]{64}|[A-Za-z0-9+/]{43}=")
"""Digests and roots: they are to be copied as they stand, and have places that hold them."""


def show(value: JsonValue, places: int | None = None) -> str:
    """Return a value for print; a number is rounded to `places` where given, an object is written as names and values."""
    number = number_of(value) if places is not None else None
    if number is not None and places is not None:
        return plain_text(round_to(number, places)).replace("-", "−")
    if value is None or value == "":
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        # Units are ASCII in records; on paper they are written as a pharmacist writes them.
        return value.replace("mg/m2", "mg/m²").removesuffix(" uL") + (" µL" if value.endswith(" uL") else "")
    if isinstance(value, dict):
        return "; ".join(f"{words(name)} {show(item)}" for name, item in sorted(value.items()))
    if isinstance(value, list) and all(isinstance(item, str | int) for item in value):
        return ", ".join(show(item) for item in value) or NONE
    return str(value) if isinstance(value, int) else json.dumps(value, ensure_ascii=False)


def words(name: str) -> str:
    """Return the name of a field with its unit as a person writes it: `printed_uL` is *printed (µL)*."""
    for ending, unit in (("_uL", "µL"), ("_mg", "mg"), ("_kPa", "kPa"), ("_C", "°C"), ("_h", "h"), ("_percent", "%"), ("_s", "s")):
        if name.endswith(ending):
            return f"{name.removesuffix(ending).replace('_', ' ')} ({unit})"
    return name.replace("_", " ")


def moment(value: JsonValue) -> str:
    text = text_of(value)
    return text[:19].replace("T", " ") if text else NONE


def brief(text: str, length: int) -> str:
    """Return a text of the first page, cut with an ellipsis; the page says where the whole of it is."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def objects(value: JsonValue) -> list[JsonObject]:
    return [as_object(item) for item in as_list(value)]


def rows(found: Iterable[Iterable[str]]) -> list[JsonValue]:
    return [list(row) for row in found]


def label_of(row: JsonObject) -> str:
    """Return a strength as it is shown; the active is named where a unit has several."""
    return " ".join(text for text in (text_of(row.get("moiety")), f"{show(row.get('strength_mg'))} mg") if text)


def weighed(record: JsonObject) -> list[JsonObject]:
    """Return what was weighed and judged by itself: the units, or the parts of units of several inks, with their unit's number."""
    found: list[JsonObject] = []
    for unit in objects(record.get("units")):
        parts = objects(unit.get("parts"))
        found.extend({**part, "n": unit.get("n"), "whole": unit.get("verdict")} for part in parts)
        if not parts:
            found.append(unit)
    return found


def reasons_of(row: JsonObject) -> str:
    return "; ".join(show(reason) for reason in as_list(row.get("reasons")))


def printable(value: JsonValue) -> JsonValue:
    """Return texts as the fonts can set them: <U+XXXX> for what has no glyph, a break where a word would leave its column, a note at a cut.

    A document with a missing glyph is not PDF/A.
    """
    if isinstance(value, str):
        kept = value[:_LONGEST_TEXT]
        text = "".join(character if _in_fonts(character) else f"<U+{ord(character):04X}>" for character in kept)
        cut = len(value) - len(kept)
        return _LONG_WORD.sub(_breakable, text) + (f" … [{cut} characters more: in record.json]" if cut else "")
    if isinstance(value, dict):
        return {name: printable(item) for name, item in value.items()}
    return [printable(item) for item in value] if isinstance(value, list) else value


def _breakable(found: re.Match[str]) -> str:
    word = found[0]
    if _EXACT.fullmatch(word):
        return word
    return _BREAK.join(word[start : start + 10] for start in range(0, len(word), 10))


def _in_fonts(character: str) -> bool:
    return " " <= character <= "~" or ("\u00a1" <= character <= "\u017f" and character != "\u00ad") or character in _EXTRA_GLYPHS
