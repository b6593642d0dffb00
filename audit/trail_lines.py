"""Reading many lines of a trail at once: which are entries in canonical form, and what is wrong with one that is not. Pure.

Nearly all lines are flat: their text holds no escape, and no object inside another but those that every entry has. What is canonical
can then be said of the text itself, by one expression for all lines at once, without reading and encoding each again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from typing import Final, NamedTuple

import orjson

from audit.canonical import JsonObject, JsonValue, is_plain, parse_canonical
from audit.errors import EntryInvalid
from audit.events import AttachmentBody, EntryBody
from audit.search_index import HOUR

_MEMBERS: Final = tuple(sorted(EntryBody.__required_keys__))
_SUBJECT: Final = ("id", "type")
_SIMPLE: Final = frozenset({str, int, bool, type(None)})
_STRICT: Final = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER

_TEXT: Final = r'"[^"]*+"'
_TAKEN: Final = r'"([^"]*+)"'
_OBJECT: Final = r"(\{[^}]*+\})"
_FORM: Final = {
    "at": rf'"([^"]{{{HOUR}}})[^"]*+"', "attachments": r"(?:\[\]|(\[[^\]]*+\]))",
    "clock": r'\{"process_us":(?:null|0|-?[1-9][0-9]{0,14}+),"rate":' + _TEXT + r',"sync":' + _TEXT + r"\}",
    "kind": _TAKEN, "new": _OBJECT, "old": _OBJECT, "prev": _TAKEN, "reason": f"(?:null|{_TEXT})",
    "seq": "(0|[1-9][0-9]{0,14}+)", "subject": r'\{"id":' + _TAKEN + r',"type":' + _TAKEN + r"\}", "unit": r"(?:\{\}|" + _OBJECT + ")",
}  # fmt: skip


def _flat(demonstration: str) -> re.Pattern[str]:
    form = {**_FORM, "demonstration": demonstration}
    return re.compile(r"^\{" + ",".join(f'"{name}":{form.get(name, _TEXT)}' for name in _MEMBERS) + r"\}$", re.MULTILINE)


_FLAT: Final = {True: _flat("true"), False: _flat("false")}
"""What flat lines look like in a trail that is a demonstration, and in one that is none."""
_ESCAPED: Final = bytes(range(32)) + b"\\"
"""What text in canonical JSON holds only as an escape, and the escape itself."""


class Columns(NamedTuple):
    """What entries say, each member of all of them together; `seq` and `old` as their canonical text."""

    hour: Sequence[str]
    """The beginning of `at`."""
    attachments: Sequence[Sequence[AttachmentBody]]
    kind: Sequence[str]
    new: Sequence[JsonObject]
    old: Sequence[str]
    prev: Sequence[str]
    seq: Sequence[str]
    subject_id: Sequence[str]
    subject_type: Sequence[str]


def read_flat(lines: Sequence[bytes], *, demonstration: bool) -> Columns | None:
    """Read lines as entries; None where one is not flat, says something else of `demonstration`, or `shape_problem` has anything to say
    of one but for its `old`.

    `old` has the braces of one object around it: that it is one, in canonical form, its reader finds by comparing it with the text of
    such an object. Every line is one match: there are as many as lines, and each begins where a line does.
    """
    text = b"\n".join(lines)
    if len(text.translate(None, _ESCAPED)) != len(text) - (len(lines) - 1):
        return None
    try:
        found = _FLAT[demonstration].findall(text.decode())
    except UnicodeDecodeError:
        return None
    if len(found) != len(lines):
        return None
    hour, named, kind, new, old, prev, seq, subject_id, subject_type, unit = zip(*found, strict=True)
    changes, attachments = read_objects(new), _read_attachments(named)
    if changes is None or attachments is None or (any(unit) and read_objects([*{*unit} - {""}]) is None):
        return None
    return Columns(hour, attachments, kind, changes, old, prev, seq, subject_id, subject_type)


def read_objects(texts: Sequence[str]) -> list[JsonObject] | None:
    """Read texts that hold one closing brace each, at their end; None where one is not a canonical object of values of a record.

    They are read as one list. Where it has as many objects as there are texts, each brace closes one of them, and so each text is one.
    """
    text = f"[{','.join(texts)}]".encode()
    try:
        objects: list[JsonObject] = orjson.loads(text)
        if len(objects) != len(texts) or {*map(type, objects)} != {dict} or orjson.dumps(objects, option=_STRICT) != text:
            return None
    except (ValueError, TypeError):  # no JSON; an integer too large
        return None
    if not text.isascii() and not "".join(chain.from_iterable(objects)).isascii():
        return None
    if _SIMPLE.issuperset(map(type, chain.from_iterable(map(dict.values, objects)))):
        return objects
    return objects if is_plain(objects, 0) else None


def _read_attachments(texts: Sequence[str]) -> list[Sequence[AttachmentBody]] | None:
    """Read lists of attachments, where an empty one has no text; None where one is not canonical, or no such list."""
    if not any(texts):
        return [()] * len(texts)
    try:
        lists: list[Sequence[AttachmentBody]] = [orjson.loads(text) if text else () for text in texts]
        same = all(not text or orjson.dumps(items, option=_STRICT) == text.encode() for items, text in zip(lists, texts, strict=True))
    except (ValueError, TypeError):
        return None
    return lists if same and all(map(_is_attachment, chain.from_iterable(lists))) else None


def object_texts(objects: Sequence[JsonObject]) -> str:
    """Return the canonical texts of objects, with a comma between each two."""
    return orjson.dumps(objects, option=orjson.OPT_SORT_KEYS)[1:-1].decode()


def _types(reason: type) -> tuple[type, ...]:
    known: dict[str, type] = {
        "attachments": list, "clock": dict, "demonstration": bool, "new": dict, "old": dict, "reason": reason, "seq": int,
        "subject": dict, "unit": dict,
    }  # fmt: skip
    return tuple(known.get(name, str) for name in _MEMBERS)


_TYPES: Final = frozenset({_types(str), _types(type(None))})


def shape_problem(line: bytes) -> str | None:
    """Return what is wrong with the form of an entry, or None."""
    try:
        body = parse_canonical(line)
    except EntryInvalid as error:
        return error.message
    if not isinstance(body, dict) or tuple(body) != _MEMBERS:
        return "does not have exactly the members of an entry"
    subject, attachments = body["subject"], body["attachments"]
    if tuple(map(type, body.values())) not in _TYPES or not isinstance(subject, dict) or not isinstance(attachments, list):
        return "has a member of the wrong type"
    if tuple(subject) != _SUBJECT or not all(isinstance(text, str) for text in subject.values()):
        return "has a member of the wrong type"
    return None if all(_is_attachment(item) for item in attachments) else "has attachments of the wrong form"


def _is_attachment(item: JsonValue | AttachmentBody) -> bool:
    if not isinstance(item, dict) or tuple(item) != ("bytes", "name", "sha256"):
        return False
    return isinstance(item["name"], str) and isinstance(item["sha256"], str) and type(item["bytes"]) is int
