"""Times of the day as they are typed: one time between two semicolons, from a closed list or of the clock, and nothing that may be two."""

from __future__ import annotations

import pytest

from api.interop.fhir_amounts import EVENTS, times_of_day
from audit.quantities import QuantityError
from recipes.library import CASES, load_demonstration
from recipes.order import Intake
from recipes.times_of_day import read_schedule, same_times


def read(text: str) -> list[tuple[str, int]]:
    return [(intake.time, intake.parts) for intake in read_schedule(text)]


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("once daily", [("once daily", 1)]),
        ("einmal täglich", [("einmal täglich", 1)]),
        ("Morning; evening", [("Morning", 1), ("evening", 1)]),
        (" morning 2;  midday 1 ;evening 1; ", [("morning", 2), ("midday", 1), ("evening", 1)]),
        ("morgens; mittags 1; zur Nacht 3", [("morgens", 1), ("mittags", 1), ("zur Nacht", 3)]),
        ("mañana 2; por la noche 1", [("mañana", 2), ("por la noche", 1)]),
        ("8:00; um 20:00 Uhr", [("at 08:00", 1), ("at 20:00", 1)]),
        ("at 8:00 2; 14:30 1", [("at 08:00", 2), ("at 14:30", 1)]),
        ("first dose; second dose; third dose", [("first dose", 1), ("second dose", 1), ("third dose", 1)]),
    ],
)
def test_times_are_read_each_with_its_part(text: str, times: list[tuple[str, int]]) -> None:
    assert read(text) == times


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("morning, evening", "several times in one"),
        ("morning 1, evening 1", "several times in one"),
        ("8:00, 20:00", "several times in one"),
        ("morning/evening", "several times in one"),
        ("morning + evening", "several times in one"),
        ("morning & evening", "several times in one"),
        ("morning\nevening", "several times in one"),
        ("morning and evening", "several times in one"),
        ("morgens und abends", "several times in one"),
        ("por la mañana y por la noche", "several times in one"),
        ("morning evening", "not one time"),
        ("morgens abends", "not one time"),
        ("morgens 1 abends 1", "not one time"),
        ("8:00 20:00", "not one time"),
        ("twice daily", "not one time"),
        ("2x", "not one time"),
        ("2x täglich", "not one time"),
        ("zweimal täglich", "not one time"),
        ("dos veces al día", "not one time"),
        ("b.i.d.", "not one time"),
        ("every 8 hours", "not one time"),
        ("2", "not one time"),
        ("at 8", "not one time"),
        ("24:00", "not one time"),
        ("1-0-1", "'morning 1; evening 1'"),
        ("2-1-1-0", "'morning 2; midday 1; evening 1'"),
        ("1 - 0 – 0", "for example 'morning'"),
        ("0-0-0", "for example 'morning'"),
        ("once daily; evening", "stands alone"),
        ("morning 2", "the only time"),
        ("second dose", "begin with the first"),
        ("first dose; third dose", "begin with the first"),
        ("morning; Morgens", "named twice"),
        ("at 8:00; 08:00", "named twice"),
        ("morning 0; evening 1", "parts of"),
        ("morning 1.5; evening", "parts of"),
        ("morning 25; evening 1", "parts of"),
        (" ; ", "no time of day"),
    ],
)
def test_what_may_be_another_number_of_times_is_refused(text: str, words: str) -> None:
    with pytest.raises(QuantityError, match=words):
        read_schedule(text)


def test_what_a_request_is_read_as_and_what_the_library_prescribes_can_be_typed() -> None:
    assert read("; ".join(EVENTS.values()))
    for count in range(1, 13):
        timing = {"repeat": {"frequency": count, "period": 1, "periodUnit": "d"}}
        assert len(read("; ".join(times_of_day(timing)))) == count
    for case in CASES:
        schedule = load_demonstration(case, "2026-11-20")[0].schedule
        assert read_schedule("; ".join(f"{intake.time} {intake.parts}" for intake in schedule)) == schedule


def test_schedules_are_the_same_whatever_the_words_and_their_order() -> None:
    assert same_times(read_schedule("morning 2; evening 1"), read_schedule("abends 1; Morgens 2"))
    assert same_times(read_schedule("8:00; 20:00"), read_schedule("at 20:00; at 08:00"))
    assert not same_times(read_schedule("morning 2; evening 1"), read_schedule("morning 1; evening 2"))
    assert not same_times(read_schedule("morning; evening"), read_schedule("morning; midday; evening"))
    assert same_times([Intake(time="Fasting")], [Intake(time="fasting")])
