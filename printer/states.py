"""The states of a run and the transitions between them, in one table; the diagram in the docs is made from it."""

from __future__ import annotations

from enum import StrEnum

from printer.messages import Operation


class RunState(StrEnum):
    CREATED = "CREATED"
    PREFLIGHT = "PREFLIGHT"
    READY = "READY"
    PREPARING = "PREPARING"
    PRINTING = "PRINTING"
    PAUSING = "PAUSING"
    PAUSED = "PAUSED"
    RESUMING = "RESUMING"
    FINISHING = "FINISHING"
    ABORTING = "ABORTING"
    ABORTED = "ABORTED"
    FAULTED = "FAULTED"
    INTERRUPTED = "INTERRUPTED"
    AWAITING_REVIEW = "AWAITING_REVIEW"


_S = RunState

TRANSITIONS: dict[RunState, frozenset[RunState]] = {
    _S.CREATED: frozenset({_S.PREFLIGHT, _S.ABORTED, _S.FAULTED, _S.INTERRUPTED}),
    _S.PREFLIGHT: frozenset({_S.READY, _S.ABORTED, _S.FAULTED, _S.INTERRUPTED}),
    _S.READY: frozenset({_S.PREPARING, _S.ABORTED, _S.FAULTED, _S.INTERRUPTED}),
    _S.PREPARING: frozenset({_S.PRINTING, _S.ABORTING, _S.ABORTED, _S.FAULTED, _S.INTERRUPTED}),
    _S.PRINTING: frozenset({_S.PAUSING, _S.FINISHING, _S.ABORTING, _S.ABORTED, _S.FAULTED, _S.INTERRUPTED}),
    _S.PAUSING: frozenset({_S.PAUSED, _S.FINISHING, _S.ABORTING, _S.ABORTED, _S.FAULTED, _S.INTERRUPTED}),
    _S.PAUSED: frozenset({_S.RESUMING, _S.ABORTING, _S.ABORTED, _S.FAULTED, _S.INTERRUPTED}),
    _S.RESUMING: frozenset({_S.PRINTING, _S.ABORTING, _S.ABORTED, _S.FAULTED, _S.INTERRUPTED}),
    _S.FINISHING: frozenset({_S.ABORTED, _S.FAULTED, _S.INTERRUPTED, _S.AWAITING_REVIEW}),
    _S.ABORTING: frozenset({_S.ABORTED, _S.FAULTED, _S.INTERRUPTED}),
    _S.ABORTED: frozenset({_S.INTERRUPTED, _S.AWAITING_REVIEW}),
    _S.FAULTED: frozenset({_S.INTERRUPTED, _S.AWAITING_REVIEW}),
    _S.INTERRUPTED: frozenset({_S.AWAITING_REVIEW}),
    _S.AWAITING_REVIEW: frozenset(),
}

ACTIVE = frozenset({_S.PREPARING, _S.PRINTING, _S.PAUSING, _S.PAUSED, _S.RESUMING, _S.FINISHING, _S.ABORTING})
"""States in which something may move or be hot: a stop goes to the wire first, and silence of a sensor is a fault."""

ENDED = frozenset({_S.ABORTED, _S.FAULTED, _S.INTERRUPTED, _S.AWAITING_REVIEW})
"""States in which nothing is ever sent again."""

ALLOWED: dict[RunState, frozenset[Operation]] = {
    state: frozenset(
        operation
        for operation, states in {
            Operation.PREPARE: {_S.CREATED},
            Operation.START: {_S.READY},
            Operation.PAUSE: {_S.PRINTING},
            Operation.RESUME: {_S.PAUSED},
            Operation.STOP_FINISH_UNIT: set(RunState) - ENDED,
            Operation.STOP_QUICK: set(RunState) - ENDED,
            Operation.STOP_KILL: set(RunState) - ENDED,
            Operation.ACKNOWLEDGE: set(RunState),
            Operation.SHELVE: set(RunState) - ENDED,
            Operation.UNSHELVE: set(RunState) - ENDED,
            Operation.RESET: set(RunState),
            Operation.ENTER_WEIGHT: {_S.PRINTING, _S.PAUSING},
        }.items()
        if state in states
    )
    for state in RunState
}


def mermaid() -> str:
    """Return the state diagram as mermaid text."""
    lines = ["stateDiagram-v2", "    [*] --> CREATED"]
    for state, targets in TRANSITIONS.items():
        lines += [f"    {state} --> {target}" for target in RunState if target in targets]
    lines.append("    AWAITING_REVIEW --> [*]")
    return "\n".join(lines) + "\n"
