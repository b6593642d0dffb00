"""What may happen to a pack and to the labels printed for it; pure.

A pack is made of accepted units of one strength of a released batch. It is labelled when a scan of the label on it matched, may be
dispensed then, and what came back is never dispensed again. A recall stops every pack that is not in hand again or destroyed.

Sources: EU GMP Part I chapter 5 (5.56 to 5.61 packaging, reconciliation of printed materials) and chapter 8 (8.20 to 8.30, recalls);
Directive 2001/83/EC article 80 (returned products).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from audit.canonical import JsonObject
from audit.errors import PackRefused


class Pack(StrEnum):
    """Where a pack is."""

    PACKED = "packed"
    LABELLED = "labelled"
    DISPENSED = "dispensed"
    RETURNED = "returned"
    RECALLED = "recalled"
    NOT_RECOVERED = "not recovered"
    DESTROYED = "destroyed"


class Act(StrEnum):
    """What a person does to a pack, worded so that `cannot be …` reads."""

    PRINT = "given a label"
    LABEL = "marked as labelled"
    DISPENSE = "dispensed"
    RETURN = "taken back"
    RECALL = "recalled"
    GIVE_UP = "written off as not recovered"
    DESTROY = "destroyed"


TRANSITIONS: Mapping[tuple[Pack, Act], Pack] = {
    (Pack.PACKED, Act.PRINT): Pack.PACKED,
    (Pack.PACKED, Act.LABEL): Pack.LABELLED,
    (Pack.PACKED, Act.RECALL): Pack.RECALLED,
    (Pack.PACKED, Act.DESTROY): Pack.DESTROYED,
    (Pack.LABELLED, Act.PRINT): Pack.PACKED,
    (Pack.LABELLED, Act.DISPENSE): Pack.DISPENSED,
    (Pack.LABELLED, Act.RECALL): Pack.RECALLED,
    (Pack.LABELLED, Act.DESTROY): Pack.DESTROYED,
    (Pack.DISPENSED, Act.RETURN): Pack.RETURNED,
    (Pack.DISPENSED, Act.RECALL): Pack.RECALLED,
    (Pack.RECALLED, Act.RETURN): Pack.RETURNED,
    (Pack.RECALLED, Act.GIVE_UP): Pack.NOT_RECOVERED,
    (Pack.NOT_RECOVERED, Act.RETURN): Pack.RETURNED,
    (Pack.RETURNED, Act.DESTROY): Pack.DESTROYED,
}
"""Every act that is open, and where it leads; whatever is not here is refused. A label printed again takes the first one's place: the
pack has to be scanned again."""

SETTLED = frozenset({Pack.RETURNED, Pack.NOT_RECOVERED, Pack.DESTROYED})
"""Where a recall has nothing more to do with a pack."""


def after(pack: str, state: Pack, act: Act) -> Pack:
    """Return where an act leads. Raises PackRefused where it is not open."""
    found = TRANSITIONS.get((state, act))
    if found is None:
        allowed = ", ".join(sorted(other.value for of, other in TRANSITIONS if of is state)) or "nothing any more"
        raise PackRefused(f"Pack {pack} is {state} and cannot be {act}.", remedy=f"Open for it now: {allowed}.")
    return found


class Copy(StrEnum):
    """What became of one printed label."""

    ISSUED = "issued"
    APPLIED = "applied"
    SPOILED = "spoiled"
    RETURNED = "returned"


@dataclass(frozen=True, slots=True)
class LabelCount:
    """The labels of a batch: issued = applied + spoiled (destroyed) + returned, or packing cannot be closed."""

    issued: int
    applied: int
    spoiled: int
    returned: int

    @property
    def difference(self) -> int:
        """Labels that are printed and nowhere."""
        return self.issued - self.applied - self.spoiled - self.returned

    @property
    def text(self) -> str:
        return (
            f"issued {self.issued} = applied {self.applied} + spoiled {self.spoiled} + returned {self.returned}"
            f" + difference {self.difference}"
        )

    def as_record(self) -> JsonObject:
        return {
            "issued": self.issued,
            "applied": self.applied,
            "spoiled": self.spoiled,
            "returned": self.returned,
            "difference": self.difference,
        }


def count_labels(copies: Iterable[str]) -> LabelCount:
    """Count labels by what became of each."""
    found = list(copies)
    return LabelCount(len(found), *(found.count(kind) for kind in (Copy.APPLIED, Copy.SPOILED, Copy.RETURNED)))


def closing_reasons(packs: Mapping[str, str], unpacked: Iterable[int], labels: LabelCount) -> tuple[str, ...]:
    """Return why packing cannot be closed; empty where it can. `packs`: state of each, `unpacked`: released units in no pack."""
    reasons = []
    if left := sorted(unpacked):
        reasons.append(f"units {', '.join(map(str, left))} are released and in no pack")
    reasons += [f"pack {name} is {state}, not labelled" for name, state in sorted(packs.items()) if state == Pack.PACKED]
    if not packs:
        reasons.append("there is no pack")
    if labels.difference:
        reasons.append(f"labels are not accounted for: {labels.text}")
    return tuple(reasons)
