"""The search index: which terms the entries of each block can be found by. Pure.

A trail is cut into blocks of BLOCK entries. A row (term, block) says that some entry of the block has the term: its kind, the type or
the id of its object, or the hour of its time. One row stands for all entries of a block that share a term, so the index is a small
part of a store; a search takes the blocks that have every term asked for and reads their entries.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

BLOCK = 256
"""Entries of a block."""
HOUR = len("2026-01-31T00")
"""Characters of a time that its hour takes."""
NEXT = "\1"
"""The first character that text in a store can hold: nothing lies between a term and the term with this behind it."""
LAST = "\U0010ffff"
"""Follows every other character: a term, and whatever begins with it, is below the term with this behind it."""

IndexRow: TypeAlias = tuple[str, int]
"""A term and a block."""

Terms: TypeAlias = tuple[int, str, str, str, str]
"""What an entry can be found by: its number, its kind, type and id of its object, its time."""


def kind_term(kind: str) -> str:
    return f"kind:{kind}"


def type_term(type: str) -> str:
    return f"type:{type}"


def id_term(id: str) -> str:
    return f"id:{id}"


def hour_term(at: str) -> str:
    return f"hour:{at[:HOUR]}"


def terms_of(kinds: Iterable[str], types: Iterable[str], ids: Iterable[str], times: Iterable[str]) -> set[str]:
    """Return the terms of entries that lie in one block: their kinds, types and ids of their objects, and times, or the hours of these."""
    return {*map(kind_term, {*kinds}), *map(type_term, {*types}), *map(id_term, {*ids}), *map(hour_term, {*times})}


def rows_of(entries: Iterable[Terms]) -> list[IndexRow]:
    """Return the rows of entries, in order, each once."""
    found: set[IndexRow] = set()
    for seq, kind, type_, id_, at in entries:
        found.update((term, seq // BLOCK) for term in terms_of([kind], [type_], [id_], [at]))
    return sorted(found)
