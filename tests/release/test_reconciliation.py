"""The ink of a cartridge adds up, or says by how much it does not."""

from __future__ import annotations

from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.release.evidence_links import links_text
from audit.release.reconciliation import InkBalance, balance

MASSES = st.lists(st.decimals("0", "500", places=1), max_size=8)


def of(**changes: D | list[D]) -> InkBalance:
    masses = {"accepted": [D(400)], "rejected": [D(50)], "purged": [D(100)], "unweighed": [], "remaining": D(450), "issued": D(1000)}
    return balance("C-1", **{**masses, **changes})  # type: ignore[arg-type]


def test_it_adds_up() -> None:
    assert of().difference == 0 and of().unaccounted_percent == 0 and of().within(D(0))
    assert of(remaining=D(400)).unaccounted_percent == 5 and of(remaining=D(400)).within(D(5)) and not of(remaining=D(399)).within(D(5))
    assert of(remaining=D(500)).unaccounted_percent == 5, "more than was issued is as wrong as less"


def test_a_unit_that_was_never_weighed_explains_up_to_its_mass_and_no_more() -> None:
    for remaining, percent in ((450, 0), (430, 0), (410, 0), (400, 1), (460, 1)):
        assert of(unweighed=[D(40)], remaining=D(remaining)).unaccounted_percent == percent


@given(MASSES, MASSES, MASSES, st.decimals("0", "5000", places=1))
def test_what_is_all_there_is_accounted_for(accepted: list[D], rejected: list[D], purged: list[D], remaining: D) -> None:
    issued = sum((*accepted, *rejected, *purged), remaining) or D(1)
    found = balance("C", issued=issued, accepted=accepted, rejected=rejected, purged=purged, unweighed=[], remaining=remaining)
    assert found.unaccounted_percent == 0 or issued == 1


@pytest.mark.parametrize("wrong", [{"issued": D(0)}, {"remaining": D(-1)}, {"accepted": [D(-1)]}])
def test_what_cannot_be_added_up_is_refused(wrong: dict[str, D | list[D]]) -> None:
    with pytest.raises(ValueError, match="cannot be added up"):
        of(**wrong)


def test_links_are_drawn_together() -> None:
    assert links_text([("cell", 4), ("workstation", 2), ("cell", 8), ("cell", 7), ("cell", 9)]) == "cell 4, 7–9; workstation 2"
    assert links_text([]) == ""
