"""Real-time release: evidence in, proposed disposition with reasons out.

A unit or batch is not releasable until every item of evidence speaks for it. An item that is not there counts like one
that is not met: nothing is assumed. The proposal is advice; a person decides and signs, and may always decide for less.
Nobody can decide for more: an exception is resolved by another person (`exceptions`), a failing result by nobody.

Source: EU GMP Annex 17 (real-time release testing), Annex 16 (certification by a Qualified Person).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Disposition(StrEnum):
    RELEASED = "released"
    PARTLY_RELEASED = "partly released"
    REJECTED = "rejected"
    HELD = "held"


class Item(StrEnum):
    """One item of evidence, worded so that `<item>: not met` can be read by a QP."""

    ORDER_CONFIRMED = "order confirmed by a second person"
    RECIPE_EFFECTIVE = "recipe version effective, digest as approved"
    INK_IN_DATE = "ink lot and cartridge in date"
    PROGRAM_PROVED = "program proved before it was printed"
    GATES_PASSED = "all gates passed before the print"
    RUN_ENDED = "run finished, or its recipe permits partial release"
    UNITS_JUDGED = "every printed unit weighed and judged"
    REMOVAL_CONFIRMED = "removal of rejected and scrapped units confirmed"
    TRAIL_CLOSED = "cell trail closed and as the workstation recorded it"
    ALARMS_ACKNOWLEDGED = "every critical alarm acknowledged"
    NO_OPEN_DEVIATION = "no open deviation touches an accepted unit"
    STATISTIC_WITHIN = "uniformity statistic within its limit for each strength"
    WEIGHTS_GUARDED = "every accepted mass within its limits by its raw readings and its uncertainty"
    VERDICTS_STAND = "no failing result of a unit was followed by a better one"
    TRACES_SEALED = "trace and journal of every accepted unit sealed"
    CORRECTIONS_PROVED = "every correction of the dose proved and within its bound"
    PEOPLE_ENTITLED = "everyone who acted has an account and the role acted in"
    EQUIPMENT_STATED = "equipment register signed and named by every run that printed"
    REJECTS_WITHIN = "share of rejected units within the recipe's limit, or its cause assigned"
    INK_RECONCILED = "ink issued accounted for within the recipe's limit, or the difference explained"
    MODELS_WITHIN = "process models within their domain and limits"


CONDITIONAL = frozenset({Item.REJECTS_WITHIN, Item.INK_RECONCILED, Item.MODELS_WITHIN})
"""Items that a recipe's control strategy may leave out by setting no limit or naming no model; every other item is asked of every batch."""


class State(StrEnum):
    MET = "met"
    NOT_MET = "not met"
    MISSING = "missing"
    NOT_REQUIRED = "not required"


@dataclass(frozen=True, slots=True, order=True)
class Link:
    """The entry of a trail (`workstation` or `cell`) that a finding rests on."""

    trail: str
    seq: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """One item, what was found, the finding in words, and the entries that it rests on."""

    item: Item
    state: State
    detail: str
    entries: tuple[Link, ...] = ()

    @property
    def speaks_for_release(self) -> bool:
        """Whether nothing of this item stands in the way; only a conditional item can be not required."""
        return self.state is State.MET or (self.state is State.NOT_REQUIRED and self.item in CONDITIONAL)

    @property
    def reason(self) -> str:
        return f"{self.item.value}: {self.state.value} ({self.detail})"


@dataclass(frozen=True, slots=True)
class Proposal:
    """The disposition proposed, the reasons for anything short of release, and the dispositions that may be signed."""

    disposition: Disposition
    reasons: tuple[str, ...]
    open: frozenset[Disposition]


def propose(evidence: Iterable[Evidence], *, planned: int, accepted: int) -> Proposal:
    """Propose a disposition from the evidence and the numbers of planned and accepted units.

    While the run has not ended nothing may be signed. Afterwards rejection is always open; release only when all items of
    `Item` are met (an item not given is missing).
    """
    by_item: Mapping[Item, Evidence] = {entry.item: entry for entry in evidence}
    complete = [by_item.get(item, Evidence(item, State.MISSING, "no evidence was found")) for item in Item]
    blocking = tuple(entry.reason for entry in complete if not entry.speaks_for_release)
    if next(entry for entry in complete if entry.item is Item.RUN_ENDED).state is State.MISSING:
        return Proposal(Disposition.HELD, blocking, frozenset())
    short = () if accepted >= planned else (f"{accepted} of {planned} planned units were accepted",)
    if accepted == 0:
        return Proposal(Disposition.REJECTED, ("no unit was accepted", *blocking), frozenset({Disposition.REJECTED}))
    if blocking:
        return Proposal(Disposition.HELD, (*blocking, *short), frozenset({Disposition.REJECTED}))
    proposed = Disposition.PARTLY_RELEASED if short else Disposition.RELEASED
    return Proposal(proposed, short, frozenset({proposed, Disposition.REJECTED}))


RELEASING = frozenset({Disposition.RELEASED, Disposition.PARTLY_RELEASED})
_MAY_RELEASE = frozenset({"qualified_person", "pharmacist"})
_MAY_REJECT = _MAY_RELEASE | {"quality_assurance"}


def releaser_refusals(
    disposition: Disposition,
    username: str,
    role: str,
    *,
    operators: Collection[str],
    entered_by: Collection[str],
    roles: Collection[str] = (),
) -> tuple[str, ...]:
    """Return why this person may not sign this disposition: role, or own part in the batch. Empty where they may.

    `operators` are those who ran the batch, `entered_by` those who entered its order (usernames).
    `roles` are those that the legal route of its recipe names for a release; none, where the recipe states no route.
    """
    if disposition is Disposition.HELD:
        return ("held is not a disposition that is signed",)
    allowed = (_MAY_RELEASE if not roles else frozenset(roles)) if disposition in RELEASING else _MAY_REJECT
    reasons = [] if role in allowed else [f"the role {role!r} may not sign a batch as {disposition.value}"]
    if disposition in RELEASING:
        if username in operators:
            reasons.append(f"{username} operated the printer for this batch and may not release it")
        if username in entered_by:
            reasons.append(f"{username} entered the order of this batch and may not release it")
    return tuple(reasons)
