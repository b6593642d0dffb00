"""A reviewed batch as a confirmatory batch: what of its record shows that the version works at this point of its dose range."""

from __future__ import annotations

from audit.canonical import JsonObject, JsonValue
from audit.quantities import Milligram
from audit.release.conformity import Item, State
from recipes.effectivity import ConfirmatoryBatch

_CLOSED = frozenset({"awaiting review", "rejected"})
"""A development batch is never released: it ends as reviewed or rejected."""
_NOT_ASKED = frozenset({Item.RECIPE_EFFECTIVE.value})
"""Before a version is effective, no batch of it can meet this item."""
_GOOD = frozenset({State.MET.value, State.NOT_REQUIRED.value})


def confirmatory_batch(name: str, record: JsonObject, status: str) -> ConfirmatoryBatch:
    """Return what a batch shows, from its record as reviewed now; every item of evidence that is not met is an exception."""
    recipe = _object(record.get("recipe"))
    exceptions = [
        f"{item.get('item')}: {item.get('state')} ({item.get('detail')})"[:200]
        for item in map(_object, _list(record.get("evidence")))
        if item.get("state") not in _GOOD and item.get("item") not in _NOT_ASKED
    ]
    rows = [_object(row) for row in _list(record.get("strengths"))]
    first = tuple(Milligram(str(row["strength_mg"])) for row in rows if row.get("part", 1) == 1)
    second = tuple(Milligram(str(row["strength_mg"])) for row in rows if row.get("part", 1) == 2)
    return ConfirmatoryBatch(
        batch=name,
        recipe_digest=str(recipe.get("digest")),
        strengths=(first, second) if second else (first,),
        planned=max(1, _count(record.get("units_planned"))),
        accepted=_count(record.get("units_accepted")),
        closed=status in _CLOSED,
        exceptions=tuple(exceptions),
    )


def _object(value: JsonValue) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _list(value: JsonValue) -> list[JsonValue]:
    return list(value) if isinstance(value, (list, tuple)) else []


def _count(value: JsonValue) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
