"""States of an alarm and what each event does in each of them, in one table; the diagram in the docs is made from it.

The letters are those of the state diagram of ISA-18.2 and IEC 62682 (normal A to suppressed by design H).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class AlarmState(StrEnum):
    NORMAL = "normal"
    UNACKNOWLEDGED = "unacknowledged"
    ACKNOWLEDGED = "acknowledged"
    RETURNED_UNACKNOWLEDGED = "returned, unacknowledged"
    LATCHED_UNACKNOWLEDGED = "latched, unacknowledged"
    LATCHED_ACKNOWLEDGED = "latched, acknowledged"
    SHELVED = "shelved"
    SUPPRESSED = "suppressed by design"


class AlarmEvent(StrEnum):
    """What happens to an alarm; the value is the last word of its kind in the trail."""

    RAISE = "raised"
    CLEAR = "returned"
    ACKNOWLEDGE = "acknowledged"
    RESET = "reset"
    SHELVE = "shelved"
    UNSHELVE = "unshelved"
    SUPPRESS = "suppressed"
    UNSUPPRESS = "unsuppressed"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a transition may depend on: the condition stands now, the alarm latches, a person has acknowledged it."""

    stands: bool
    latches: bool
    seen: bool


class Guard(StrEnum):
    STANDS = "the condition stands"
    LATCHES = "the alarm latches"
    SEEN = "it was acknowledged"

    def holds(self, facts: Facts) -> bool:
        match self:
            case Guard.STANDS:
                return facts.stands
            case Guard.LATCHES:
                return facts.latches
            case Guard.SEEN:
                return facts.seen


@dataclass(frozen=True, slots=True)
class Either:
    """One next state where the guard holds, another where it does not."""

    guard: Guard
    yes: AlarmState | Either
    no: AlarmState | Either


_S, _E = AlarmState, AlarmEvent
_AFTER_SUPPRESSION = Either(
    Guard.STANDS, Either(Guard.SEEN, _S.ACKNOWLEDGED, _S.UNACKNOWLEDGED), Either(Guard.SEEN, _S.NORMAL, _S.RETURNED_UNACKNOWLEDGED)
)

TABLE: dict[AlarmState, dict[AlarmEvent, AlarmState | Either]] = {
    _S.NORMAL: {
        _E.RAISE: _S.UNACKNOWLEDGED,
        _E.CLEAR: _S.NORMAL,
        _E.ACKNOWLEDGE: _S.NORMAL,
        _E.RESET: _S.NORMAL,
        _E.SHELVE: _S.SHELVED,
        _E.UNSHELVE: _S.NORMAL,
        _E.SUPPRESS: _S.NORMAL,
        _E.UNSUPPRESS: _S.NORMAL,
    },
    _S.UNACKNOWLEDGED: {
        _E.RAISE: _S.UNACKNOWLEDGED,
        _E.CLEAR: Either(Guard.LATCHES, _S.LATCHED_UNACKNOWLEDGED, _S.RETURNED_UNACKNOWLEDGED),
        _E.ACKNOWLEDGE: _S.ACKNOWLEDGED,
        _E.RESET: _S.UNACKNOWLEDGED,
        _E.SHELVE: _S.SHELVED,
        _E.UNSHELVE: _S.UNACKNOWLEDGED,
        _E.SUPPRESS: Either(Guard.LATCHES, _S.UNACKNOWLEDGED, _S.SUPPRESSED),
        _E.UNSUPPRESS: _S.UNACKNOWLEDGED,
    },
    _S.ACKNOWLEDGED: {
        _E.RAISE: _S.ACKNOWLEDGED,
        _E.CLEAR: Either(Guard.LATCHES, _S.LATCHED_ACKNOWLEDGED, _S.NORMAL),
        _E.ACKNOWLEDGE: _S.ACKNOWLEDGED,
        _E.RESET: _S.ACKNOWLEDGED,
        _E.SHELVE: _S.SHELVED,
        _E.UNSHELVE: _S.ACKNOWLEDGED,
        _E.SUPPRESS: Either(Guard.LATCHES, _S.ACKNOWLEDGED, _S.SUPPRESSED),
        _E.UNSUPPRESS: _S.ACKNOWLEDGED,
    },
    _S.RETURNED_UNACKNOWLEDGED: {
        _E.RAISE: _S.UNACKNOWLEDGED,
        _E.CLEAR: _S.RETURNED_UNACKNOWLEDGED,
        _E.ACKNOWLEDGE: _S.NORMAL,
        _E.RESET: _S.RETURNED_UNACKNOWLEDGED,
        _E.SHELVE: _S.SHELVED,
        _E.UNSHELVE: _S.RETURNED_UNACKNOWLEDGED,
        _E.SUPPRESS: _S.RETURNED_UNACKNOWLEDGED,
        _E.UNSUPPRESS: _S.RETURNED_UNACKNOWLEDGED,
    },
    _S.LATCHED_UNACKNOWLEDGED: {
        _E.RAISE: _S.UNACKNOWLEDGED,
        _E.CLEAR: _S.LATCHED_UNACKNOWLEDGED,
        _E.ACKNOWLEDGE: _S.LATCHED_ACKNOWLEDGED,
        _E.RESET: _S.LATCHED_UNACKNOWLEDGED,
        _E.SHELVE: _S.LATCHED_UNACKNOWLEDGED,
        _E.UNSHELVE: _S.LATCHED_UNACKNOWLEDGED,
        _E.SUPPRESS: _S.LATCHED_UNACKNOWLEDGED,
        _E.UNSUPPRESS: _S.LATCHED_UNACKNOWLEDGED,
    },
    _S.LATCHED_ACKNOWLEDGED: {
        _E.RAISE: _S.UNACKNOWLEDGED,
        _E.CLEAR: _S.LATCHED_ACKNOWLEDGED,
        _E.ACKNOWLEDGE: _S.LATCHED_ACKNOWLEDGED,
        _E.RESET: _S.NORMAL,
        _E.SHELVE: _S.LATCHED_ACKNOWLEDGED,
        _E.UNSHELVE: _S.LATCHED_ACKNOWLEDGED,
        _E.SUPPRESS: _S.LATCHED_ACKNOWLEDGED,
        _E.UNSUPPRESS: _S.LATCHED_ACKNOWLEDGED,
    },
    _S.SHELVED: {
        _E.RAISE: _S.SHELVED,
        _E.CLEAR: _S.SHELVED,
        _E.ACKNOWLEDGE: _S.SHELVED,
        _E.RESET: _S.SHELVED,
        _E.SHELVE: _S.SHELVED,
        _E.UNSHELVE: Either(Guard.STANDS, _S.UNACKNOWLEDGED, _S.NORMAL),
        _E.SUPPRESS: _S.SHELVED,
        _E.UNSUPPRESS: _S.SHELVED,
    },
    _S.SUPPRESSED: {
        _E.RAISE: _S.SUPPRESSED,
        _E.CLEAR: _S.SUPPRESSED,
        _E.ACKNOWLEDGE: _S.SUPPRESSED,
        _E.RESET: _S.SUPPRESSED,
        _E.SHELVE: _S.SHELVED,
        _E.UNSHELVE: _S.SUPPRESSED,
        _E.SUPPRESS: _S.SUPPRESSED,
        _E.UNSUPPRESS: _AFTER_SUPPRESSION,
    },
}

OPEN = frozenset({_S.UNACKNOWLEDGED, _S.RETURNED_UNACKNOWLEDGED, _S.LATCHED_UNACKNOWLEDGED})
"""States in which a person has still to acknowledge."""


def next_state(state: AlarmState, event: AlarmEvent, facts: Facts) -> AlarmState:
    """Return the state after an event; `facts` as they are after it."""
    target = TABLE[state][event]
    while isinstance(target, Either):
        target = target.yes if target.guard.holds(facts) else target.no
    return target


def mermaid() -> str:
    """Return the state diagram as mermaid text; what leaves a state as it is, is not drawn."""
    lines = ["stateDiagram-v2"]
    lines += [f'    state "{state}" as {state.name}' for state in AlarmState]
    lines.append("    [*] --> NORMAL")
    for state, row in TABLE.items():
        for event, target in row.items():
            lines += [
                f"    {state.name} --> {end.name}: {event}{f' ({words})' if words else ''}"
                for end, words in _ends(target)
                if end is not state
            ]
    return "\n".join(lines) + "\n"


def _ends(target: AlarmState | Either, words: str = "") -> list[tuple[AlarmState, str]]:
    if isinstance(target, AlarmState):
        return [(target, words)]
    so_far = f"{words}, " if words else ""
    return _ends(target.yes, f"{so_far}{target.guard}") + _ends(target.no, f"{so_far}not: {target.guard}")
