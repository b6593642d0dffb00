"""The steps of a life cycle as they are listed: recipes and process models have the same, and so have their pages and commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from api.status import Allowed
from recipes.lifecycle import RecipeState, Step, steps_of

KEYS: Mapping[Step, str] = {
    Step.SUBMIT: "submit",
    Step.RETURN: "return",
    Step.APPROVE: "approve",
    Step.MAKE_EFFECTIVE: "effective",
    Step.RETIRE: "retire",
}
"""The last part of the path that takes a step; a version is superseded by its successor, in one act, and has none."""


@dataclass(frozen=True, slots=True)
class ListedStep:
    """A step that leads on from the state of a version: its word, and why this person may not take it; no reason, it is open."""

    step: Step
    reasons: tuple[str, ...]

    @property
    def open(self) -> bool:
        return not self.reasons


def steps_here(view: Mapping[str, object]) -> list[ListedStep]:
    """Return the steps that lead on from the state of a version which is shown with its `allowed_actions`."""
    found = []
    for step in steps_of(RecipeState(str(view.get("status")))):
        if (key := KEYS.get(step)) is not None:
            found.append(ListedStep(step, _act(view, key).reasons))
    return found


def may(view: Mapping[str, object], act: str) -> bool:
    """Whether an act is open to the person for whom a thing is shown."""
    return _act(view, act).allowed


def _act(view: Mapping[str, object], act: str) -> Allowed:
    acts = view.get("allowed_actions")
    return Allowed.model_validate(acts[act]) if isinstance(acts, dict) and act in acts else Allowed(reasons=("it is not offered",))
