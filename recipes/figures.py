"""Figures in documents: quantities with their proven acceptable range, and where each figure comes from.

A document (recipe, machine profile, order, certificate) is frozen, knows only its own keys, and has one digest: SHA-256
over the canonical bytes of what was parsed. Comments and the order of keys in a file do not matter to it; a changed
value does, and so does a changed number of decimals, because that is a statement of precision.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Annotated, Generic, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StrictInt,
    ValidationError,
    model_validator,
)

from audit.canonical import JsonValue, canonical, sha256_hex
from audit.quantities import Quantity, decimal_from_text, plain_text
from recipes.errors import RecipeRefused

Q = TypeVar("Q", bound=Quantity)

DEMONSTRATION_STATUS = "demonstration, not for clinical use"
Process = Literal["SSE", "FDM", "dispense"]


def _text_only(value: object) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if isinstance(value, str):
        return decimal_from_text(value)
    raise ValueError(f"write the number as text, for example '1.069', not as a {type(value).__name__}")


def _positive(value: Q) -> Q:
    if value.value <= 0:
        raise ValueError(f"must be above zero, found {value}")
    return value


def _not_negative(value: Q) -> Q:
    if value.value < 0:
        raise ValueError(f"must not be negative, found {value}")
    return value


PlainNumber = Annotated[Decimal, BeforeValidator(_text_only), PlainSerializer(plain_text, return_type=str)]
Count = Annotated[StrictInt, Field(ge=1, le=10_000)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
IsoDate = Annotated[str, Field(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$")]
Hex256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Positive = AfterValidator(_positive)
NotNegative = AfterValidator(_not_negative)


class Document(BaseModel):
    """A frozen record that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def as_record(self) -> dict[str, JsonValue]:
        """Return the canonical tree: quantities as `18.5 mg`, bare decimals as text, absent values as null."""
        tree: dict[str, JsonValue] = self.model_dump(mode="json")
        return tree

    @property
    def digest(self) -> str:
        """SHA-256 hex of the canonical bytes (RFC 8785) of `as_record()`."""
        return sha256_hex(canonical(self.as_record()))


class Parameter(Document, Generic[Q]):
    """A process parameter: set point inside its proven acceptable range, both ends included (ICH Q8 glossary)."""

    set_point: Q
    low: Q
    high: Q

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low.value <= self.set_point.value <= self.high.value:
            raise ValueError(f"the set point {self.set_point} must lie between low {self.low} and high {self.high}")
        return self

    def holds(self, value: Q) -> bool:
        """Say whether a value lies in the proven acceptable range."""
        return self.low.value <= value.value <= self.high.value


def numeric_leaves(document: Document, prefix: str = "") -> Iterator[str]:
    """Yield the dotted path of every figure in a document: quantities, bare decimals and counts."""
    for name in type(document).model_fields:
        yield from _leaves(getattr(document, name), f"{prefix}{name}")


def _leaves(value: object, path: str) -> Iterator[str]:
    if isinstance(value, Document):
        yield from numeric_leaves(value, f"{path}.")
    elif isinstance(value, tuple):
        for item in value:
            yield from _leaves(item, path)
    elif isinstance(value, (Quantity, Decimal)) or (isinstance(value, int) and not isinstance(value, bool)):
        yield path


def source_of(path: str, sources: Mapping[str, str]) -> str | None:
    """Return the source text of a figure: that of the longest dotted prefix that has one."""
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        found = sources.get(".".join(parts[:length]))
        if found is not None:
            return found
    return None


def check_sources(document: Document, sources: Mapping[str, str], *, exempt: frozenset[str]) -> None:
    """Refuse a document with a figure of unknown origin, or with a source that no figure uses. Raises ValueError."""
    paths = [path for path in numeric_leaves(document) if path not in exempt]
    without = sorted({path for path in paths if not (source_of(path, sources) or "").strip()})
    if without:
        raise ValueError("no source for " + ", ".join(without) + "; add it to [sources], or write 'illustrative' there")
    unused = sorted(key for key in sources if not any(path == key or path.startswith(f"{key}.") for path in paths))
    if unused:
        raise ValueError("[sources] names " + ", ".join(unused) + ", where there is no figure; correct the name or take it out")


def explain(error: ValidationError) -> str:
    """Return the findings of a validation, one per field, without the words of the library that found them."""
    found = []
    for item in error.errors(include_url=False, include_context=False):
        where = ".".join(str(part) for part in item["loc"]) or "as a whole"
        match item["type"]:
            case "extra_forbidden":
                what = "unknown key"
            case "missing":
                what = "missing"
            case "string_too_short":
                what = "must not be empty"
            case "string_pattern_mismatch":
                what = f"{item['input']!r} has a form that is not allowed here (names: letters, digits, . _ - only; dates: 2026-11-20)"
            case _:
                what = str(item["msg"]).removeprefix("Value error, ")
        found.append(f"{where}: {what}")
    return "; ".join(found)


def read_toml(content: bytes, name: str) -> dict[str, object]:
    """Read a TOML file; raises RecipeRefused with the line that is wrong."""
    try:
        return dict(tomllib.loads(content.decode("utf-8")))
    except (ValueError, RecursionError) as error:  # also a number of too many digits, and values within values without end
        raise RecipeRefused(f"{name} is not a readable TOML file: {error}.", remedy="Correct the file or take the signed copy.") from error
