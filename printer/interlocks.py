"""What is blocked now and why. Returns reasons, not booleans: an empty tuple means allowed."""

from __future__ import annotations

from printer.messages import Operation
from printer.states import ALLOWED, ENDED, RunState

_WHEN: dict[Operation, str] = {
    Operation.PREPARE: "a run is prepared once, right after it was created",
    Operation.START: "a run starts from READY, after its gates have passed",
    Operation.PAUSE: "a run pauses while it prints; it stops between two units",
    Operation.RESUME: "only a paused run resumes",
    Operation.STOP_FINISH_UNIT: "the run has ended",
    Operation.STOP_QUICK: "the run has ended",
    Operation.STOP_KILL: "the run has ended",
    Operation.ACKNOWLEDGE: "",
    Operation.SHELVE: "the shelf ends with its run",
    Operation.UNSHELVE: "the shelf ends with its run",
    Operation.RESET: "",
    Operation.ENTER_WEIGHT: "a weight is entered while a printed unit waits to be weighed",
}


def blocked(operation: Operation, state: RunState, *, guard_open: bool = False) -> tuple[str, ...]:
    """Return why `operation` is not open in `state`."""
    reasons = []
    if operation not in ALLOWED[state]:
        reasons.append(f"the run is {state}: {_WHEN[operation]}")
        if state in ENDED and operation in (Operation.START, Operation.RESUME):
            reasons.append("a stopped run never sends again; create a new run")
    if guard_open and operation in (Operation.START, Operation.RESUME):
        reasons.append("the guard is open; close it")
    return tuple(reasons)
