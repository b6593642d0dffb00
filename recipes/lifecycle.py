"""Life cycle of a recipe version: draft → in review → approved → effective → superseded or retired. Process models live by the same.

A pure transition table. What is approved is a digest: a version whose content changes goes back to draft. The person
who wrote a version may not approve it (EU GMP Annex 11 and chapter 4: documents are approved by others than their author).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never

from recipes.errors import TransitionRefused


class RecipeState(StrEnum):
    DRAFT = "draft"
    IN_REVIEW = "in review"
    APPROVED = "approved"
    EFFECTIVE = "effective"
    SUPERSEDED = "superseded"
    RETIRED = "retired"


class Step(StrEnum):
    SUBMIT = "submit"
    RETURN = "return"
    APPROVE = "approve"
    MAKE_EFFECTIVE = "make effective"
    SUPERSEDE = "supersede"
    RETIRE = "retire"


AUTHOR_ROLES = frozenset({"process_engineer", "pharmacist"})
APPROVER_ROLES = frozenset({"quality_assurance", "qualified_person"})


@dataclass(frozen=True, slots=True)
class Transition:
    """Where a step leads, and the roles of which the person must hold one."""

    state: RecipeState
    roles: frozenset[str]


TRANSITIONS: Mapping[tuple[RecipeState, Step], Transition] = {
    (RecipeState.DRAFT, Step.SUBMIT): Transition(RecipeState.IN_REVIEW, AUTHOR_ROLES),
    (RecipeState.DRAFT, Step.RETIRE): Transition(RecipeState.RETIRED, AUTHOR_ROLES | APPROVER_ROLES),
    (RecipeState.IN_REVIEW, Step.RETURN): Transition(RecipeState.DRAFT, AUTHOR_ROLES | APPROVER_ROLES),
    (RecipeState.IN_REVIEW, Step.APPROVE): Transition(RecipeState.APPROVED, APPROVER_ROLES),
    (RecipeState.APPROVED, Step.RETURN): Transition(RecipeState.DRAFT, APPROVER_ROLES),
    (RecipeState.APPROVED, Step.MAKE_EFFECTIVE): Transition(RecipeState.EFFECTIVE, APPROVER_ROLES),
    (RecipeState.EFFECTIVE, Step.SUPERSEDE): Transition(RecipeState.SUPERSEDED, APPROVER_ROLES),
    (RecipeState.EFFECTIVE, Step.RETIRE): Transition(RecipeState.RETIRED, APPROVER_ROLES),
}


@dataclass(frozen=True, slots=True)
class RecipeVersion:
    """The state of one version. `author` and `approver` are user names; `digest` is what they stand for; `noun`: of what it is one."""

    reference: str
    digest: str
    state: RecipeState = RecipeState.DRAFT
    author: str | None = None
    approver: str | None = None
    noun: str = "recipe"

    @property
    def name(self) -> str:
        return f"{self.noun} {self.reference}"

    @property
    def title(self) -> str:
        return f"{self.name[0].upper()}{self.name[1:]}"


def advance(version: RecipeVersion, step: Step, *, person: str, roles: Collection[str], digest: str) -> RecipeVersion:
    """Return the version after a step taken by a person on the content with this digest.

    Raises TransitionRefused where the table has no such step, the person holds none of its roles, the author would
    approve or make effective, or the content is not the one that was submitted.
    """
    transition = TRANSITIONS.get((version.state, step))
    if transition is None:
        open_steps = ", ".join(known.value for state, known in TRANSITIONS if state is version.state) or "none"
        raise TransitionRefused(
            f"{version.title} is {version.state.value}: it cannot take the step '{step.value}'.",
            remedy=f"Open steps: {open_steps}.",
        )
    if not transition.roles & set(roles):
        raise TransitionRefused(
            f"{person} holds none of the roles for '{step.value}'.",
            remedy=f"Ask a person with one of: {', '.join(sorted(transition.roles))}.",
        )
    if step is not Step.SUBMIT and digest != version.digest:
        raise TransitionRefused(
            f"{version.title} is not the content that was submitted.", remedy="Return it to draft and submit it as it is now."
        )
    match step:
        case Step.SUBMIT:
            return replace(version, state=transition.state, author=person, approver=None, digest=digest)
        case Step.APPROVE:
            if person == version.author:
                raise TransitionRefused(f"{person} wrote {version.name} and may not approve it.", remedy="Another person approves it.")
            return replace(version, state=transition.state, approver=person)
        case Step.RETURN:
            return replace(version, state=transition.state, author=None, approver=None)
        case Step.MAKE_EFFECTIVE:
            if person == version.author:
                raise TransitionRefused(
                    f"{person} wrote {version.name} and may not make it effective.", remedy="Another person makes it effective."
                )
            return replace(version, state=transition.state)
        case Step.SUPERSEDE | Step.RETIRE:
            return replace(version, state=transition.state)
        case _:
            assert_never(step)


def steps_of(state: RecipeState) -> tuple[Step, ...]:
    """Return the steps that the table has from a state, whoever takes them."""
    return tuple(step for known, step in TRANSITIONS if known is state)
