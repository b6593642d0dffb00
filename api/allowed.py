"""What a person may do to a thing now, and everything that stands against it: one form for every resource.

Each act of a desk has one function that says what stands against it. The act is carried out only where nothing does (`refuse`), and the
view of the thing lists what that same function returns (`allowed_actions`), so that the two cannot differ. A missing role is a reason
like any other. The keys are the last parts of the paths that carry the acts out: `POST /orders/{order}/confirm` is `confirm`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from audit.canonical import JsonObject, JsonValue
from audit.errors import DosewrightError

Against = tuple[DosewrightError, ...]
"""What stands against an act, each as the error that the act would raise; empty where it is open."""
Acts = Mapping[str, Against]


def against(*checks: Callable[[], object]) -> Against:
    """Make every check and return what they raise, in their order; what a check returns does not matter."""
    found: list[DosewrightError] = []
    for check in checks:
        try:
            check()
        except DosewrightError as error:
            found.append(error)
    return tuple(found)


def reasons_of(found: Against) -> list[str]:
    """Return the reasons as people read them: those that an error lists, else what it says with what to do, each once."""
    reasons: dict[str, None] = {}
    for error in found:
        reasons |= dict.fromkeys(error.reasons or (str(error),))
    return list(reasons)


def refuse(found: Against) -> None:
    """Go on where nothing stands against an act; else raise the first error, which lists the reasons of all."""
    if not found:
        return
    first, *others = found
    if others:
        first.reasons = tuple(reasons_of(found))
    raise first


def allowed_actions(acts: Acts) -> JsonObject:
    """Return `{"confirm": {"allowed": false, "reasons": ["…"]}, …}`, as the status of a cell has it."""
    return {name: shown(reasons_of(found)) for name, found in acts.items()}


def shown(reasons: list[str]) -> JsonObject:
    """Return one act with its reasons; without any it is open."""
    listed: list[JsonValue] = [*reasons]
    return {"allowed": not reasons, "reasons": listed}
