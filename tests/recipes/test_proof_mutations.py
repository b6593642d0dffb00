"""The proof against seeded corruptions of valid programs, judged by a simulated printer that shares nothing with it.

Every corruption that changes a unit's volume by more than 0.5 %, leaves the envelope or a validated range must be refused.
What is not refused is listed by kind.
"""

from __future__ import annotations

import sys

import pytest

from tests.recipes.mutation_survey import ALL, subject, survey
from tests.recipes.program_mutations import CORRUPTIONS


@pytest.mark.parametrize("case", ALL)
def test_a_valid_program_is_proved_and_prints_without_harm(case):
    valid = subject(case)
    assert not valid.refused(valid.planned)
    assert valid.harms(valid.planned) == set()


def test_no_harmful_corruption_passes_the_proof():
    found = survey(500)
    sys.stdout.write(found.text + "\n")
    assert found.missed == []
    assert found.harmful.total() >= 200


@pytest.mark.deep
def test_no_harmful_corruption_of_many_passes_the_proof():
    found = survey(6000, first=100_000)
    sys.stdout.write(found.text + "\n")
    assert found.missed == []
    assert found.harmful.total() >= 2500
    # A printer does not read header and brackets: changed, they do no harm there, and are refused all the same.
    unread = {"changed_header", "changed_bracket"}
    assert all(found.harmful[how.__name__] for how in CORRUPTIONS if how.__name__ not in unread)
