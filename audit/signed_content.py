"""What each signature of the record is over, so that a later change of it shows: the signature then stands under something else.

A signature holds the SHA-256 of what was signed. Here is, for the objects of a record, how that digest follows from the object as it
stands. Clauses: 21 CFR 11.70; draft Annex 11 (2025) 13.7. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from audit.canonical import JsonObject, JsonValue, digest
from audit.events import Subject
from audit.signatures import removal_digest

_NOTHING: Final = ""
"""No digest is this one: what stands there was not signed."""
_Rule = Callable[[Subject, JsonObject, JsonObject, Mapping[str, JsonValue]], JsonValue]
"""Subject, its state, `new` of the entry that brought the signature, and the signature → the digest that it must have."""


def _order(subject: Subject, state: JsonObject, given: JsonObject, signature: Mapping[str, JsonValue]) -> JsonValue:
    return digest(state.get("order"))


def _recipe(subject: Subject, state: JsonObject, given: JsonObject, signature: Mapping[str, JsonValue]) -> JsonValue:
    return state.get("digest")


def _withdrawal(subject: Subject, state: JsonObject, given: JsonObject, signature: Mapping[str, JsonValue]) -> JsonValue:
    signed = state.get("withdrawal")
    statement = signed.get("withdrawal") if isinstance(signed, Mapping) else None
    if not isinstance(statement, Mapping) or statement.get("recipe_digest") != state.get("digest"):
        return _NOTHING
    return digest(statement)


def _disposition(subject: Subject, state: JsonObject, given: JsonObject, signature: Mapping[str, JsonValue]) -> JsonValue:
    """The record with its disposition; what else the entry says of it must be as it was signed."""
    meant = str(signature.get("meaning")).partition(":")[0]
    same = all(state.get(name) == given.get(name) for name in ("workstation_size", "cell_size", "cell_root"))
    return state.get("record_sha256") if same and state.get("disposition") == meant else _NOTHING


def _removal(subject: Subject, state: JsonObject, given: JsonObject, signature: Mapping[str, JsonValue]) -> JsonValue:
    return removal_digest(subject.id) if state.get("removed") is True else _NOTHING


def _resolution(subject: Subject, state: JsonObject, given: JsonObject, signature: Mapping[str, JsonValue]) -> JsonValue:
    names = ("batch", "exception", "finding", "reason_code", "cause")
    return digest({"statement": signature.get("meaning"), **{name: state.get(name) for name in names}})


def _whole(subject: Subject, state: JsonObject, given: JsonObject, signature: Mapping[str, JsonValue]) -> JsonValue:
    """All that came with the signature."""
    return digest({name: state.get(name) for name, value in given.items() if value != signature})


_RULES: Mapping[tuple[str, str], _Rule] = MappingProxyType(
    {
        ("order", "entered"): _order,
        ("order", "confirmed"): _order,
        ("recipe", "author_signature"): _recipe,
        ("recipe", "approver_signature"): _recipe,
        ("recipe", "returned"): _recipe,
        ("recipe", "withdrawal.signature"): _withdrawal,
        ("batch", "signature"): _disposition,
        ("unit", "confirmed"): _removal,
        ("calibration", "confirmed"): _removal,
        ("exception", "signature"): _resolution,
        ("ink_lot", "checked"): _whole,
        ("qualification", "signature"): _whole,
        ("training", "signature"): _whole,
    }
)
SIGNED_FIELDS: Final = tuple(_RULES)
"""(object type, path of the signature in its state) of every signature whose content is known here."""


def signed_digest(subject: Subject, path: str, state: JsonObject, given: JsonObject, signature: Mapping[str, JsonValue]) -> str | None:
    """Return the digest that a signature at `path` must have to be over its object as it stands; None where that is not known here.

    `given`: `new` of the entry that brought the signature.
    """
    rule = _RULES.get((subject.type, path))
    return None if rule is None else str(rule(subject, state, given, signature))
