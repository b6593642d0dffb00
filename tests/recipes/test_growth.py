"""Height and weight against age, slips of units, and how old a measurement may be."""

from datetime import date
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.quantities import Centimetre, Day, Kilogram, Year
from recipes.civil_days import added, days_between, iso_date, ordinal
from recipes.compile import compile_program
from recipes.dose import calculate
from recipes.errors import CompileRefused, DoseRefused
from recipes.growth import ROWS, against_age, usual
from recipes.library import load_demonstration, load_machine, load_recipe
from recipes.model import DoseOrder, Prescription, Recipe
from recipes.plausibility import prescription_reasons

TODAY = "2026-11-20"
RECIPE = load_recipe("cyclophosphamide")
PRESCRIPTION, INK, CARTRIDGE = load_demonstration("cyclophosphamide", TODAY)


def changed(**values: object) -> Prescription:
    record = {name: value for name, value in (PRESCRIPTION.as_record() | values).items() if value is not None}
    return Prescription.model_validate(record)


# CDC growth charts 2000, months, 50th percentile of boys and girls: stature in cm, weight in kg.
MEDIANS = ((48.5, 102.51, 101.03, 16.32, 15.88), (96.5, 128.12, 127.83, 25.75, 25.76), (144.5, 149.31, 151.49, 40.67, 41.83))


@pytest.mark.parametrize(("months", "boy_cm", "girl_cm", "boy_kg", "girl_kg"), MEDIANS)
def test_a_child_of_median_size_is_believed_and_one_in_pounds_or_inches_is_not(months, boy_cm, girl_cm, boy_kg, girl_kg):
    age = Year((Decimal(str(months)) / 12).quantize(Decimal("0.01")))
    for cm, kg in ((boy_cm, boy_kg), (girl_cm, girl_kg)):
        height, weight = Centimetre(str(cm)), Kilogram(str(kg))
        assert against_age(height, weight, age) == ()
        [pounds] = against_age(height, Kilogram((weight.value / Decimal("0.45359237")).quantize(Decimal("0.1"))), age)
        assert "it may be in pounds" in pounds
        [inches] = against_age(Centimetre((height.value / Decimal("2.54")).quantize(Decimal("0.1"))), weight, age)
        assert "it may be in inches" in inches
        [metres] = against_age(Centimetre(height.value / 100), weight, age)
        assert "it may be in m" in metres
        [grams] = against_age(height, weight * 1000, age)
        assert "it may be in g" in grams


def test_the_rows_rise_and_age_between_rows_is_between_them():
    for earlier, later in pairwise(ROWS):
        assert all(Decimal(one) < Decimal(other) for one, other in zip(earlier, later, strict=True))
    six = usual(Year(6))
    assert six.height == (Centimetre("105.9"), Centimetre("125.25")) and six.weight == (Kilogram(16), Kilogram("29.15"))
    assert usual(Year(0)).height[0] == Centimetre("43.6")
    assert usual(Year("20.1")) is None and against_age(Centimetre(50), Kilogram(2), Year(40)) == ()


@given(st.decimals(min_value=0, max_value=20, places=2))
def test_at_every_age_the_middle_of_the_range_is_believed(age):
    found = usual(Year(age))
    height, weight = (found.height[0] + found.height[1]) / 2, (found.weight[0] + found.weight[1]) / 2
    assert against_age(height, weight, Year(age)) == ()
    assert len(against_age(height * 2, weight * 4, Year(age))) == 2


def test_an_unusual_patient_is_confirmed_and_printed():
    small = changed(weight="9 kg")
    [reason] = prescription_reasons(RECIPE, small, TODAY)
    assert "9 kg is not believed at 5 years" in reason and "enter who measured again" in reason
    assert prescription_reasons(RECIPE, changed(weight="9 kg", body_confirmed="ward 3, second measurement"), TODAY) == ()


@pytest.mark.parametrize(
    ("measured", "age", "part"),
    [
        ("2026-10-23", "5 years", None),
        ("2026-10-22", "5 years", "29 days ago; recipe cyclophosphamide@1 allows 28 days for a child"),
        ("2026-08-22", "40 years", None),
        ("2026-08-21", "40 years", "91 days ago; recipe cyclophosphamide@1 allows 90 days for an adult"),
        ("2026-11-21", "5 years", "which is after today"),
    ],
)
def test_a_measurement_has_an_age(measured, age, part):
    reasons = prescription_reasons(RECIPE, changed(measured=measured, age=age, body_confirmed="test"), TODAY)
    assert (reasons == ()) if part is None else (len(reasons) == 1 and part in reasons[0])


def test_the_recipe_says_what_must_be_on_a_prescription_and_the_cell_holds_to_it():
    bare = changed(age=None, measured=None, prescriber=None, number=None)
    reasons = prescription_reasons(RECIPE, bare, TODAY)
    assert [reason.split(" asks for ")[1].split(";")[0] for reason in reasons] == [
        "the age of the patient",
        "the day on which height and weight were measured",
        "the prescriber",
        "the prescription number",
    ]
    order = DoseOrder.create("T", recipe=RECIPE, ink=INK, cartridge=CARTRIDGE, prescription=bare)
    with pytest.raises(CompileRefused, match="asks for the prescriber"):
        compile_program(
            order=order,
            recipe=RECIPE,
            ink=INK,
            cartridge=CARTRIDGE,
            machine=load_machine(RECIPE.machine),
            today=TODAY,
            demonstration=True,
        )


def test_what_is_not_stated_does_not_change_the_digest_of_an_order():
    bare = changed(age=None, measured=None, prescriber=None, number=None)
    assert not {"age", "measured", "prescriber", "number", "body_confirmed"} & set(bare.as_record())
    old = RECIPE.as_record()["dose"]
    assert "amount_cap" not in old
    assert "body" not in load_recipe("sildenafil").as_record()["dose"]


def with_rule(**rule: object) -> Recipe:
    record = RECIPE.as_record()
    sources = {f"dose.{name}": "test" for name in rule}
    return Recipe.model_validate(record | {"dose": record["dose"] | rule, "sources": record["sources"] | sources})


def test_caps_come_before_rounding_hold_after_it_and_are_said():
    capped = calculate(with_rule(bsa_cap="0.70 m2"), PRESCRIPTION, INK)
    assert capped.rounded.text == "17.5" and "Capped: the recipe calculates from 0.70 m² at most" in capped.arithmetic
    assert capped.bsa.rounded(6).text == "0.741620"
    above = calculate(with_rule(amount_cap="18 mg"), PRESCRIPTION, INK)
    assert above.rounded.text == "18" and any(line.startswith("Capped: 18.5405 mg per day") for line in above.arithmetic)
    assert calculate(with_rule(amount_cap="20 mg"), PRESCRIPTION, INK).rounded.text == "18.5"
    with pytest.raises(DoseRefused, match=r"would be 18\.5 mg, above the cap of recipe cyclophosphamide@1, 18\.3 mg"):
        calculate(with_rule(amount_cap="18.3 mg"), PRESCRIPTION, INK)


@given(st.dates(min_value=date(1, 1, 1), max_value=date(9990, 1, 1)), st.integers(min_value=0, max_value=2000))
def test_days_are_those_of_the_calendar(day, more):
    text = day.isoformat()
    assert ordinal(text) == day.toordinal() and iso_date(day.toordinal()) == text
    assert days_between(text, added(text, Day(more))) == more
