"""Dose arithmetic: the worked prescriptions, rounding, limits, refusals."""

from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from audit.quantities import Kilogram, Milligram, MilligramPerGram, SquareMetre
from recipes.dose import calculate
from recipes.errors import DoseRefused, PrescriptionRefused
from recipes.library import CASES, load_demonstration, load_recipe
from recipes.model import DoseRule, InkLot, Prescription, Recipe
from recipes.prescription import PrescriptionEntry, read_prescription

TODAY = "2026-11-20"


def case(name, *, recipe=None, ink=None, **changes):
    prescription, lot, _ = load_demonstration(name, TODAY)
    return (
        recipe or load_recipe(name),
        Prescription.model_validate(prescription.as_record() | changes),
        InkLot.model_validate(lot.as_record() | (ink or {})),
    )


def with_rule(name, **changes):
    record = load_recipe(name).as_record()
    return Recipe.model_validate(record | {"dose": record["dose"] | changes})


def test_worked_prescription():
    dose = calculate(*case("cyclophosphamide"))
    [plan] = dose.strengths
    record = dose.as_record()
    assert record["bsa_m2"] == "0.741620"
    assert record["calculated_mg"] == "18.5405"
    assert record["rounded_mg"] == "18.5"
    assert (plan.label.text, plan.units) == ("18.5", 14)
    assert plan.deviation.rounded(2).text == "-0.22"
    assert plan.target_mass.rounded(2).text == "467.17"
    assert plan.target_volume.rounded(2).text == "389.31"
    text = "\n".join(dose.arithmetic)
    for figure in ("0.741620 m²", "18.5405 mg", "18.5 mg (−0.22 %", "467.17 mg", "389.31 µL", "14 days = 14", "Mosteller"):
        assert figure in text


@pytest.mark.parametrize(("prescribed", "dose_mg"), [("25 mg/m2", "18.5"), ("15 mg/m2", "11.1")])
def test_published_doses_at_a_surface_area_of_0_74(prescribed, dose_mg):
    # 109.52 cm and 18 kg are 0.74 m² exactly by Mosteller; 15 mg/m² is a textbook's methotrexate example.
    dose = calculate(
        *case("cyclophosphamide", recipe=with_rule("cyclophosphamide", grid="0.1 mg"), height="109.52 cm", prescribed=prescribed)
    )
    assert dose.bsa == SquareMetre("0.74")
    assert (dose.calculated, dose.rounded.text) == (Milligram(dose_mg), dose_mg)


def test_intermediates_are_not_rounded():
    dose = calculate(*case("cyclophosphamide"))
    assert dose.bsa.value**2 == pytest.approx(Decimal("0.55"), abs=Decimal("1e-26"))
    assert dose.calculated.value != Decimal("18.5405")
    assert dose.as_record()["exact"]["calculated_mg"].startswith("18.54049")


def test_unequal_doses_of_a_day_become_separate_strengths():
    dose = calculate(*case("hydrocortisone"))
    assert [(plan.label.text, plan.units, plan.intakes) for plan in dose.strengths] == [
        ("2.5", 10, ("morning",)),
        ("1.25", 20, ("midday", "evening")),
    ]
    assert (dose.daily_rounded.text, dose.rounded.text, dose.units) == ("5", "5", 30)
    assert all(abs(plan.deviation.value) < Decimal("2.5") for plan in dose.strengths)
    assert "Daily total: 4.9746 mg calculated, 5 mg as units" in "\n".join(dose.arithmetic)


def test_dose_per_intake_is_taken_as_written():
    dose = calculate(*case("sildenafil"))
    assert [(plan.label.text, plan.units) for plan in dose.strengths] == [("4", 12)]
    assert (dose.bsa, dose.rounded.text, dose.daily_rounded.text) == (None, "4", "12")
    assert [(plan.label.text, plan.units) for plan in calculate(*case("minoxidil")).strengths] == [("1", 14)]


def test_dose_by_weight():
    recipe = with_rule("cyclophosphamide", basis="mg/kg", bsa_formula=None)
    dose = calculate(*case("cyclophosphamide", recipe=recipe, prescribed="1 mg/kg"))
    assert (dose.calculated, dose.rounded.text, dose.formula) == (Milligram(18), "18", None)
    for weight, words in ((None, "needs the weight"), ("0.4 kg", "weigh again")):
        with pytest.raises(DoseRefused, match=words):
            calculate(*case("cyclophosphamide", recipe=recipe, prescribed="1 mg/kg", weight=weight))
    # exchanged, they would be a dose of 110 mg
    for exchanged, words in (({"height": "18 cm", "weight": "110 kg"}, "height 18 cm"), ({"height": "60 cm"}, "do not belong together")):
        heavy = {"weight": "40 kg"} | exchanged
        with pytest.raises(DoseRefused, match=words):
            calculate(*case("cyclophosphamide", recipe=recipe, prescribed="0.2 mg/kg", **heavy))


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("cyclophosphamide", {"moiety": "ifosfamide"}, "ifosfamide"),
        ("cyclophosphamide", {"basis": "monohydrate"}, "as monohydrate"),
        ("cyclophosphamide", {"prescribed": "18.5 mg"}, "dosed in mg/m2"),
        ("cyclophosphamide", {"per": "dose"}, "dosed per day"),
        ("cyclophosphamide", {"days": 29}, "allows 28"),
        ("cyclophosphamide", {"height": None}, "needs height and weight"),
        ("cyclophosphamide", {"height": "1.1 cm"}, "measure again"),
        ("cyclophosphamide", {"prescribed": "250 mg/m2"}, "outside the range of recipe cyclophosphamide@1, 5 mg to 40 mg"),
        ("cyclophosphamide", {"prescribed": "2.5 mg/m2"}, "outside the range"),
        ("cyclophosphamide", {"prescribed": "9.8 mg/m2"}, "finer grid"),
        ("cyclophosphamide", {"ink": {"basis": "monohydrate"}}, "ink lot CYC-DEMO-01 states cyclophosphamide as monohydrate"),
        ("cyclophosphamide", {"ink": {"assay": "45 mg/g"}}, "strength 45 mg/g is outside 38 to 42 mg/g"),
        ("sildenafil", {"basis": "citrate"}, "as citrate"),
        ("sildenafil", {"prescribed": "10 mg", "schedule": [{"time": t} for t in ("1", "2", "3", "4")]}, "daily maximum"),
        ("sildenafil", {"schedule": [{"time": "1", "parts": 2}, {"time": "2"}]}, "equal doses"),
        ("sildenafil", {"prescribed": "4.11 mg"}, "2.5 % is the limit"),
        ("sildenafil", {"height": "18 cm", "weight": "92 kg"}, "height"),
        ("hydrocortisone", {"schedule": [{"time": "1", "parts": 9}, {"time": "2"}]}, "outside the range"),
    ],
)
def test_refusals_name_the_cause_and_what_to_do(name, changes, words):
    ink = changes.get("ink")
    rest = {key: value for key, value in changes.items() if key != "ink"}
    with pytest.raises(DoseRefused) as refusal:
        calculate(*case(name, ink=ink, **rest))
    assert any(words in reason for reason in refusal.value.reasons), refusal.value.reasons


def test_all_reasons_of_a_stage_are_given():
    with pytest.raises(DoseRefused) as refusal:
        calculate(*case("cyclophosphamide", basis="monohydrate", per="dose", days=40))
    assert len(refusal.value.reasons) == 3


def test_limits_hold_before_and_after_rounding():
    # 40.1 mg would round to 40 mg, which is inside; 4.9 mg to 5 mg.
    rule = {"basis": "mg", "bsa_formula": None, "daily_maximum": "100 mg"}
    for prescribed in ("40.1 mg", "4.9 mg"):
        with pytest.raises(DoseRefused, match="outside the range"):
            calculate(*case("cyclophosphamide", recipe=with_rule("cyclophosphamide", **rule), prescribed=prescribed))
    # 39.8 mg is below a daily maximum of 39.9 mg, the 40 mg it rounds to is not.
    tight = with_rule("cyclophosphamide", basis="mg", bsa_formula=None, daily_maximum="39.9 mg")
    with pytest.raises(DoseRefused, match="daily total 40"):
        calculate(*case("cyclophosphamide", recipe=tight, prescribed="39.8 mg"))


def test_daily_total_has_its_own_rounding_limit():
    # Three times 2.04 mg become 2 mg each: 1.96 % on each and on the day.
    rule = {"basis": "mg", "per": "day", "bsa_formula": None, "largest_daily_deviation": "1.9 %"}
    schedule = [{"time": time} for time in ("morning", "midday", "evening")]
    with pytest.raises(DoseRefused, match="parts of the day"):
        calculate(*case("hydrocortisone", recipe=with_rule("hydrocortisone", **rule), prescribed="6.12 mg", schedule=schedule))


def test_intakes_that_share_a_strength_show_the_larger_deviation():
    rule = {"basis": "mg", "per": "day", "bsa_formula": None}
    schedule = [{"time": "morning", "parts": 20}, {"time": "evening", "parts": 21}]
    [plan] = calculate(*case("hydrocortisone", recipe=with_rule("hydrocortisone", **rule), prescribed="10 mg", schedule=schedule)).strengths
    assert (plan.label.text, plan.units, plan.intakes) == ("5", 20, ("morning", "evening"))
    assert plan.calculated.rounded(4).text == "4.8780"
    assert plan.deviation.rounded(2).text == "2.50"


def test_a_recipe_without_its_formula_gives_no_dose():
    recipe = load_recipe("cyclophosphamide")
    broken = recipe.model_copy(update={"dose": recipe.dose.model_copy(update={"bsa_formula": None})})
    with pytest.raises(DoseRefused, match="names no formula"):
        calculate(*case("cyclophosphamide", recipe=broken))


def test_tie_goes_away_from_zero():
    rule = {"basis": "mg", "bsa_formula": None}
    dose = calculate(*case("cyclophosphamide", recipe=with_rule("cyclophosphamide", **rule), prescribed="18.25 mg"))
    assert dose.rounded.text == "18.5"


weights = st.integers(min_value=80, max_value=900).map(lambda tenths: Decimal(tenths) / 10)
heights = st.integers(min_value=700, max_value=2000).map(lambda tenths: Decimal(tenths) / 10)
assays = st.integers(min_value=3800, max_value=4200).map(lambda hundredths: Decimal(hundredths) / 100)


def outcome(height, weight, assay="39.6"):
    try:
        return calculate(*case("cyclophosphamide", ink={"assay": f"{assay} mg/g"}, height=f"{height} cm", weight=f"{weight} kg"))
    except DoseRefused as refusal:
        assert refusal.reasons
        return None


@given(heights, weights, assays)
def test_a_dose_is_on_the_grid_within_its_limits_or_refused(height, weight, assay):
    dose = outcome(height, weight, assay)
    assume(dose is not None)
    rule: DoseRule = load_recipe("cyclophosphamide").dose
    [plan] = dose.strengths
    assert plan.label.value % rule.grid.value == 0
    assert rule.minimum <= plan.label <= rule.maximum
    assert abs(plan.label.value - dose.calculated.value) <= rule.grid.value / 2
    assert abs(plan.deviation) <= rule.largest_rounding_deviation
    assert abs(plan.target_mass.value * assay / 1000 - plan.label.value) <= Decimal("1e-20")
    assert abs(plan.target_volume.value * Decimal("1.20") - plan.target_mass.value) <= Decimal("1e-20")


@given(heights, weights, st.integers(min_value=1, max_value=50))
def test_the_dose_never_falls_as_the_patient_grows(height, weight, more):
    smaller, larger = outcome(height, weight), outcome(height, weight + Decimal(more) / 10)
    assume(smaller is not None and larger is not None)
    assert smaller.bsa < larger.bsa
    assert smaller.calculated < larger.calculated
    assert smaller.rounded <= larger.rounded


@given(assays, assays)
def test_a_stronger_ink_needs_less(one, other):
    assume(one < other)
    weak, strong = outcome("110", "18", one).strengths[0], outcome("110", "18", other).strengths[0]
    assert weak.label == strong.label
    assert weak.target_mass > strong.target_mass
    assert weak.target_volume > strong.target_volume


@pytest.mark.parametrize("name", CASES)
def test_records_are_text_and_whole_numbers_only(name):
    def walk(value):
        match value:
            case dict():
                for item in value.values():
                    walk(item)
            case list():
                for item in value:
                    walk(item)
            case _:
                assert value is None or type(value) in (str, int)

    walk(calculate(*case(name)).as_record())


def test_the_same_figures_give_the_same_record():
    assert calculate(*case("hydrocortisone")) == calculate(*case("hydrocortisone"))


ENTRY = {
    "patient": "P-1",
    "moiety": "cyclophosphamide",
    "basis": "anhydrous",
    "height_cm": "110",
    "weight_kg": "18",
    "prescribed": "25",
    "unit": "mg/m2",
    "per": "day",
    "schedule": "once daily",
    "days": "14",
}


def test_a_typed_prescription_gives_the_worked_dose():
    recipe, _, ink = case("cyclophosphamide")
    dose = calculate(recipe, read_prescription(PrescriptionEntry(**ENTRY)), ink)
    assert (dose.rounded.text, dose.units) == ("18.5", 14)


def test_a_typed_prescription_per_dose():
    typed = {"moiety": "minoxidil", "basis": "base", "height_cm": "", "weight_kg": "", "prescribed": "1", "unit": "mg", "per": "dose"}
    recipe, prescription, ink = case("minoxidil")
    read = read_prescription(PrescriptionEntry(**ENTRY | typed))
    dose = calculate(recipe, read, ink)
    assert (dose.rounded.text, dose.units) == ("1", 14)
    assert dose.units == read.units == prescription.units


def test_a_typed_schedule_with_parts():
    prescription = read_prescription(PrescriptionEntry(**ENTRY | {"schedule": "morning 2; midday 1 ;evening 1", "height_cm": " "}))
    assert [(intake.time, intake.parts) for intake in prescription.schedule] == [("morning", 2), ("midday", 1), ("evening", 1)]
    assert prescription.height is None
    assert prescription.weight == Kilogram(18)


@pytest.mark.parametrize(
    ("field", "text", "words"),
    [
        ("prescribed", "1,250", "comma"),
        ("prescribed", "1,255", "comma"),
        ("prescribed", "1e3", "not a number"),
        ("prescribed", "NaN", "not a number"),
        ("prescribed", "", "not a number"),
        ("prescribed", "0", "not above zero"),
        ("prescribed", "-25", "not above zero"),
        ("prescribed", "1" * 30, "too many digits"),
        ("height_cm", "0", "height in cm"),
        ("height_cm", "1m10", "height in cm"),
        ("weight_kg", "abc", "weight in kg"),
        ("weight_kg", "-18", "weight in kg"),
        ("unit", "g", "unit"),
        ("per", "week", "neither"),
        ("schedule", " ; ", "no time of day"),
        ("schedule", "morning; morning", "named twice"),
        ("schedule", "morning, evening", "several times in one"),
        ("schedule", "twice daily", "not one time"),
        ("schedule", ";".join(f"{hour}:00" for hour in range(13)), "schedule"),
        ("days", "1.5", "whole number"),
        ("days", "0", "whole number"),
        ("days", "999", "days"),
        ("patient", "Jane Doe", "patient"),
        ("moiety", "", "moiety"),
    ],
)
def test_typed_fields_are_refused_by_name(field, text, words):
    with pytest.raises(PrescriptionRefused, match=words):
        read_prescription(PrescriptionEntry(**ENTRY | {field: text}))


def test_every_unreadable_field_is_named_at_once():
    with pytest.raises(PrescriptionRefused) as refusal:
        read_prescription(PrescriptionEntry(**ENTRY | {"height_cm": "x", "weight_kg": "1,800", "days": "two"}))
    assert len(refusal.value.reasons) == 3


def test_target_mass_of_a_stated_strength():
    recipe, prescription, ink = case("cyclophosphamide", ink={"assay": "40 mg/g"})
    assert ink.assay == MilligramPerGram(40)
    assert calculate(recipe, prescription, ink).strengths[0].target_mass == Milligram("462.5")


def by(formula):
    recipe = load_recipe("cyclophosphamide")
    return recipe.model_copy(update={"dose": recipe.dose.model_copy(update={"bsa_formula": formula})})


def calculated_by(formula, **entry):
    _, ink, _ = load_demonstration("cyclophosphamide", "2026-11-20")
    typed = {
        "moiety": "cyclophosphamide",
        "basis": "anhydrous",
        "prescribed": "25",
        "unit": "mg/m2",
        "per": "day",
        "schedule": "once daily",
    }
    return calculate(by(formula), read_prescription(PrescriptionEntry(**ENTRY | typed | {"days": "7"} | entry)), ink)


def test_a_formula_from_weight_alone_needs_no_height():
    result = calculated_by("livingston_lee", height_cm="", weight_kg="18")
    assert result.bsa is not None and result.bsa.rounded(6).text == "0.760251"
    assert "of 18 kg: 0.760251 m²" in result.arithmetic[0]
    near = calculated_by("livingston_lee", height_cm="75", weight_kg="10.2")
    assert any(line.startswith("Caution: Livingston and Lee steps at 10 kg") for line in near.arithmetic)


def test_a_formula_for_adults_shows_what_it_was_calculated_from():
    result = calculated_by("schlich", height_cm="150", weight_kg="50", sex="female", age_years="40", prescribed="20")
    assert "of 150 cm, 50 kg, female, 40 years" in result.arithmetic[0]
    with pytest.raises(DoseRefused, match="enter age and sex"):
        calculated_by("schlich", height_cm="150", weight_kg="50", prescribed="20")
    for wrong in ({"sex": "f"}, {"age_years": "130"}, {"age_years": "-1"}, {"age_years": "4 months"}):
        with pytest.raises(PrescriptionRefused):
            calculated_by("schlich", height_cm="150", weight_kg="50", **({"sex": "female", "age_years": "40"} | wrong))


def test_age_and_sex_are_part_of_an_order_only_where_they_are_stated():
    plain, stated = (read_prescription(PrescriptionEntry(**ENTRY | extra)) for extra in ({}, {"sex": "male", "age_years": "9.5"}))
    assert "sex" not in plain.as_record() and "age" not in plain.as_record()
    assert (stated.as_record()["sex"], stated.as_record()["age"]) == ("male", "9.5 years")
    assert Prescription.model_validate(stated.as_record()) == stated and plain.digest != stated.digest
