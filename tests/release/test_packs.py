"""Packs and labels: the table of transitions walked, and the count that holds closing."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.errors import PackRefused
from audit.release.packs import SETTLED, TRANSITIONS, Act, Copy, Pack, after, closing_reasons, count_labels

# The same table, written down a second time as sentences: what a pack in each state is open for.
EXPECTED = {
    "packed": {"given a label": "packed", "marked as labelled": "labelled", "recalled": "recalled", "destroyed": "destroyed"},
    "labelled": {"given a label": "packed", "dispensed": "dispensed", "recalled": "recalled", "destroyed": "destroyed"},
    "dispensed": {"taken back": "returned", "recalled": "recalled"},
    "recalled": {"taken back": "returned", "written off as not recovered": "not recovered"},
    "not recovered": {"taken back": "returned"},
    "returned": {"destroyed": "destroyed"},
    "destroyed": {},
}


@pytest.mark.parametrize(("state", "act"), list(product(Pack, Act)))
def test_every_act_in_every_state(state: Pack, act: Act) -> None:
    wanted = EXPECTED[state.value].get(act.value)
    if wanted is None:
        with pytest.raises(PackRefused, match=f"P1 is {state} and cannot be {act}"):
            after("P1", state, act)
    else:
        assert after("P1", state, act) == wanted


def _reachable(start: Pack) -> set[Pack]:
    found, edge = {start}, [start]
    while edge:
        here = edge.pop()
        new = {to for (of, _), to in TRANSITIONS.items() if of is here} - found
        found |= new
        edge += new
    return found


def test_every_state_is_reached_and_only_destruction_is_final() -> None:
    assert _reachable(Pack.PACKED) == set(Pack)
    assert {state for state in Pack if not any(of is state for of, _ in TRANSITIONS)} == {Pack.DESTROYED}


def test_what_came_back_or_was_recalled_never_reaches_a_patient_again() -> None:
    for state in (Pack.RETURNED, Pack.RECALLED, Pack.NOT_RECOVERED, Pack.DESTROYED):
        assert Pack.DISPENSED not in _reachable(state)
    for state in set(Pack) - SETTLED - {Pack.RECALLED}:
        assert TRANSITIONS[state, Act.RECALL] is Pack.RECALLED, "whatever may still reach a patient can be recalled"


@given(st.lists(st.sampled_from(list(Copy)), max_size=40))
def test_the_difference_is_the_labels_that_are_nowhere(copies: list[Copy]) -> None:
    found = count_labels(copies)
    assert found.difference == copies.count(Copy.ISSUED)
    assert found.issued == found.applied + found.spoiled + found.returned + found.difference
    reasons = closing_reasons({"P1": "labelled"}, [], found)
    assert bool(reasons) is (Copy.ISSUED in copies)


def test_closing_names_all_that_it_waits_for() -> None:
    reasons = closing_reasons({"P2": "packed", "P1": "labelled"}, [7, 3], count_labels(["applied", "issued"]))
    assert reasons == (
        "units 3, 7 are released and in no pack",
        "pack P2 is packed, not labelled",
        "labels are not accounted for: issued 2 = applied 1 + spoiled 0 + returned 0 + difference 1",
    )
    assert closing_reasons({}, [], count_labels([])) == ("there is no pack",)
    assert closing_reasons({"P1": "labelled"}, [], count_labels(["applied"])) == ()
