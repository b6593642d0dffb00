"""Life cycle of a recipe version: the whole table is walked."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.identity import Role
from recipes.errors import TransitionRefused
from recipes.lifecycle import APPROVER_ROLES, AUTHOR_ROLES, TRANSITIONS, RecipeState, RecipeVersion, Step, advance

A, B = "a" * 64, "b" * 64
ENGINEER, QUALITY = {"process_engineer"}, {"quality_assurance"}


def take(version, step, person="quinn", roles=QUALITY, digest=A):
    return advance(version, step, person=person, roles=roles, digest=digest)


def in_review():
    return take(RecipeVersion("r@1", A), Step.SUBMIT, "erin", ENGINEER)


def test_the_way_to_effective_and_out():
    version = in_review()
    assert (version.state, version.author) == (RecipeState.IN_REVIEW, "erin")
    version = take(version, Step.APPROVE)
    assert (version.state, version.approver) == (RecipeState.APPROVED, "quinn")
    version = take(version, Step.MAKE_EFFECTIVE)
    assert take(version, Step.SUPERSEDE).state is RecipeState.SUPERSEDED
    assert take(version, Step.RETIRE).state is RecipeState.RETIRED
    assert take(version, Step.RETIRE).approver == "quinn"


@pytest.mark.parametrize(("state", "step"), list(itertools.product(RecipeState, Step)))
def test_only_the_steps_of_the_table_are_open(state, step):
    version = RecipeVersion("r@1", A, state=state, author="erin")
    expected = {
        "draft": {"submit": "in review", "retire": "retired"},
        "in review": {"return": "draft", "approve": "approved"},
        "approved": {"return": "draft", "make effective": "effective"},
        "effective": {"supersede": "superseded", "retire": "retired"},
        "superseded": {},
        "retired": {},
    }[state.value]
    everyone = {role.value for role in Role}
    if step.value in expected:
        assert take(version, step, roles=everyone).state.value == expected[step.value]
    else:
        with pytest.raises(TransitionRefused, match="cannot take the step"):
            take(version, step, roles=everyone)


def test_the_author_may_not_approve():
    with pytest.raises(TransitionRefused, match="may not approve"):
        take(in_review(), Step.APPROVE, "erin", ENGINEER | QUALITY)


@pytest.mark.parametrize(("state", "step"), sorted(TRANSITIONS))
def test_each_step_needs_a_role(state, step):
    version = RecipeVersion("r@1", A, state=state, author="erin")
    with pytest.raises(TransitionRefused, match="none of the roles"):
        take(version, step, roles={"operator", "administrator"})


def test_changed_content_goes_back_to_draft():
    for version, step in ((in_review(), Step.APPROVE), (take(in_review(), Step.APPROVE), Step.MAKE_EFFECTIVE)):
        with pytest.raises(TransitionRefused, match="not the content"):
            take(version, step, digest=B)
    returned = take(in_review(), Step.RETURN)
    assert (returned.author, returned.approver) == (None, None)
    assert take(returned, Step.SUBMIT, "erin", ENGINEER, B).digest == B


def test_roles_are_those_of_the_house():
    assert {role.value for role in Role} >= AUTHOR_ROLES | APPROVER_ROLES


people = st.sampled_from(["erin", "quinn", "robin"])


@given(st.lists(st.tuples(st.sampled_from(list(Step)), people, st.sampled_from([A, B])), max_size=30))
def test_nothing_becomes_effective_without_a_second_person(steps):
    version = RecipeVersion("r@1", A)
    for step, person, digest in steps:
        try:
            version = take(version, step, person, ENGINEER | QUALITY, digest)
        except TransitionRefused as refusal:
            assert refusal.remedy
        if version.state in {RecipeState.APPROVED, RecipeState.EFFECTIVE, RecipeState.SUPERSEDED}:
            assert version.author
            assert version.approver
            assert version.author != version.approver
