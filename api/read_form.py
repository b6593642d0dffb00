"""Reads the fields of a form on a page into the same model that the interface reads, and says of each field what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from api.errors import InputInvalid

M = TypeVar("M", bound=BaseModel)


def read_form(model: type[M], fields: Mapping[str, object]) -> M:
    """Return the fields as a model; what was left empty is absent. Raises InputInvalid with every field that does not fit."""
    typed = {name: str(value).strip() for name, value in fields.items() if value is not None and str(value).strip()}
    try:
        return model.model_validate(typed)
    except ValidationError as error:
        raise does_not_fit(error) from error


def does_not_fit(error: ValidationError) -> InputInvalid:
    """Return the refusal that names every field that does not fit."""
    places = [f"{'.'.join(str(part) for part in item['loc']).replace('_', ' ')}: {_plain(item)}" for item in error.errors()]
    return InputInvalid(f"{'; '.join(places)}.", remedy="Correct these fields.")


def _plain(item: Mapping[str, object]) -> str:
    """Say what is wrong in words that a person at a form understands."""
    kind = item["type"]
    if kind == "missing":
        return "nothing is entered"
    if kind == "string_pattern_mismatch":
        return f"{item['input']!r} cannot be read; write a day as 2027-06-30"
    if kind == "string_too_long" and isinstance(limits := item.get("ctx"), dict):
        return f"at most {limits['max_length']} characters"
    return str(item["msg"])
