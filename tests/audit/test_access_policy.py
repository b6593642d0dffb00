"""What a password may be, under each reading of the sources."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.access_policy import PRESETS, AccessPolicy, below_floor, common_words, password_reasons, policy_of

NIST = PRESETS["NIST SP 800-63B-4"]
DRAFT = PRESETS["draft Annex 11 (2025)"]


def reasons(password: str, policy: AccessPolicy = PRESETS["21 CFR 11.300(b), periodic"]) -> str:
    return "; ".join(password_reasons(policy, password, username="mara", name="Mara Lindqvist", site="workstation.sankt-erik"))


@pytest.mark.parametrize(
    ("password", "says"),
    [
        ("short words", "it has 11 characters; 12 to 256 are needed"),
        ("x" * 257, "it has 257 characters"),
        ("my name is mara here", "contains the username"),
        ("LINDQVIST is my name", "a name or a word of this site: lindqvist"),
        ("we are at sankt erik", "a name or a word of this site: erik, sankt"),
        ("P4ssw0rd!2026##", "a common password"),
        ("Welcome-Welcome-12", "a common password"),
        ("letmein1234567", "a common password"),
        ("aaaaaaaaaaaaaa", "run or repetition"),
        ("abcabcabcabcabc", "run or repetition"),
        ("qwertyuiopasdf", "run or repetition"),
        ("098765432109876", "run or repetition"),
    ],
)
def test_what_is_refused_says_why(password: str, says: str) -> None:
    assert says in reasons(password)


@pytest.mark.parametrize("password", ["seven grey herons wade", "6f2a9c-0b77d1-53e1aa-99c0ff", "drei Birken im Nebel", "пять серых цапель"])
def test_a_sentence_of_ones_own_is_taken(password: str) -> None:
    assert reasons(password) == ""


def test_the_sources_disagree_and_each_reading_can_be_chosen() -> None:
    sentence = "seven herons"
    assert "15 to 256" in reasons(sentence, NIST)
    assert "3 are needed" in reasons(sentence, DRAFT)
    assert reasons("Seven grey herons 7", DRAFT) == "" == reasons("seven grey herons", NIST)
    assert (NIST.maximum_age_days, NIST.classes, PRESETS["21 CFR 11.300(b), periodic"].maximum_age_days) == (0, 0, 90)
    assert all(below_floor(preset) == () for preset in PRESETS.values())


@given(st.builds(AccessPolicy, minimum_length=st.integers(1, 64), words=st.lists(st.text(max_size=9), max_size=4).map(tuple)))
def test_a_policy_is_read_as_it_was_written(policy: AccessPolicy) -> None:
    assert policy_of(policy.as_record()) == policy


@given(st.sampled_from(sorted(common_words())), st.integers(0, 10**8), st.sampled_from(["", "!", "#?", "..."]))
def test_no_listed_word_passes_with_digits_and_signs_around_it(word: str, number: int, signs: str) -> None:
    assert "common password" in reasons(f"{number}{word.capitalize()}{signs}{number}")
