"""Canonical bytes: RFC 8785 (JCS) on the value domain of a record, which is what gets hashed and signed.

The domain is narrower than JSON: ASCII keys, text, booleans, null, and integers below 2⁵³ in magnitude, in lists and
objects. On it a plain JSON encoder that sorts its keys gives the bytes of RFC 8785 (the order of ASCII names is the same in
UTF-16 and in code points, and no number needs ECMAScript formatting). orjson encodes and reads values of the plain types, Python's
own encoder every other mapping, sequence and subclass; property tests hold both equal to the `rfc8785` package. Pure.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import orjson

from audit.errors import EntryInvalid

JsonValue: TypeAlias = "bool | int | str | Sequence[JsonValue] | Mapping[str, JsonValue] | None"
JsonObject: TypeAlias = "dict[str, JsonValue]"

_INTEGER_LIMIT = 2**53
_DEPTH_LIMIT = 64
_DOMAIN = "Use ASCII keys, text, booleans, null, integers below 2^53, lists and objects; write measured values as decimal text."


def _refuse(where: str, what: str) -> EntryInvalid:
    return EntryInvalid(f"{where or 'value'}: {what}.", remedy=_DOMAIN)


def _check(value: object, where: str, depth: int) -> None:
    """Walk the value and refuse whatever is outside the domain, naming the place."""
    if value is None or isinstance(value, (str, bool)):
        return
    if isinstance(value, int):
        if not -_INTEGER_LIMIT < value < _INTEGER_LIMIT:
            raise _refuse(where, "an integer of 2^53 or more does not survive JSON readers")
        return
    if depth >= _DEPTH_LIMIT:
        raise _refuse(where, f"nested deeper than {_DEPTH_LIMIT} levels")
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str) or not key.isascii():
                raise _refuse(where, f"the key {key!r} is not ASCII text")
            _check(item, f"{where}.{key}" if where else key, depth + 1)
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            _check(item, f"{where}[{number}]", depth + 1)
    elif isinstance(value, float):
        raise _refuse(where, f"the binary floating-point number {value!r} has no exact text")
    else:
        raise _refuse(where, f"a {type(value).__name__} is not a value of a record")


# `default` meets only the mappings that are not dicts: `_check` has refused everything else.
_ENCODER = json.JSONEncoder(ensure_ascii=False, check_circular=False, sort_keys=True, separators=(",", ":"), default=dict)
_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER
_SIMPLE = frozenset({str, int, bool, type(None)})


def is_plain(value: object, depth: int) -> bool:
    """Say whether a value is made of the plain types alone, in the domain but for the size of its integers."""
    items: Iterable[object]
    if type(value) is dict:
        if value and not "".join(value).isascii():
            return False
        items = value.values()
    elif type(value) is list:
        items = value
    else:
        return type(value) in _SIMPLE
    if depth >= _DEPTH_LIMIT:
        return False
    if _SIMPLE.issuperset(map(type, items)):
        return True
    for item in items:  # noqa: SIM110 - `all` over a generator takes twice as long
        if type(item) not in _SIMPLE and not is_plain(item, depth + 1):
            return False
    return True


def canonical(value: object) -> bytes:
    """Return the RFC 8785 bytes of a value.

    Raises EntryInvalid, naming the place, for floats, non-ASCII keys, integers of 2⁵³ or more, lone surrogates,
    nesting beyond 64 levels and every other type. Source: RFC 8785 §3.2.
    """
    try:
        if is_plain(value, 0):
            return orjson.dumps(value, option=_OPTIONS)
    except TypeError:
        pass  # a key that is no text, an integer too large, a lone surrogate: the walk below names the place
    _check(value, "", 0)
    try:
        return _ENCODER.encode(value).encode("utf-8")
    except UnicodeEncodeError as error:
        raise _refuse("value", f"text holds a lone surrogate (U+{ord(error.object[error.start]):04X})") from error


def canonical_of_plain(value: JsonObject, *unread: object) -> bytes:
    """Return what `canonical` returns, of an object that is known to be plain but for the members given again as `unread`: only they
    are looked through. Raises EntryInvalid.
    """
    try:
        for member in unread:
            if not is_plain(member, 1):
                return canonical(value)
        return orjson.dumps(value, option=_OPTIONS)
    except TypeError:
        pass  # as in `canonical`, which names the place
    return canonical(value)


def parse_canonical(data: bytes) -> JsonValue:
    """Return the value whose canonical bytes these are.

    Raises EntryInvalid where they are not JSON, not in canonical form (order, blanks, escapes, a name twice), or hold a
    value outside the domain.
    """
    try:
        value: JsonValue = orjson.loads(data)
    except ValueError as error:
        raise EntryInvalid(f"is not JSON: {error}") from error
    try:
        if is_plain(value, 0) and orjson.dumps(value, option=_OPTIONS) == data:
            return value
    except TypeError:
        pass  # an integer too large: said below
    if canonical(value) != data:
        raise EntryInvalid("is not in canonical form (RFC 8785)")
    return value


def sha256_hex(data: bytes) -> str:
    """Return SHA-256 as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def digest(value: object) -> str:
    """Return the SHA-256 hex digest of the canonical bytes of a value. Raises EntryInvalid."""
    return sha256_hex(canonical(value))
