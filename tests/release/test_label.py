"""What stands on a label, and what keeps one from being made."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.errors import LabelRefused
from audit.release.label import NOT_CLINICAL, Label, RecipeTexts, compose, dose_text, released_units, text_reasons

RECIPE = RecipeTexts(
    reference="cyclophosphamide@3",
    product="Cyclophosphamide printlet",
    form="tablet",
    route="oral; disperse in 5 mL of water",
    actives=(("cyclophosphamide (anhydrous)", "anhydrous"),),
    directions="Disperse one unit in 5 mL of water and take the whole amount at once.",
    storage="Store below 25 °C.",
    warnings=("Handle with gloves.",),
    excipients=("lactose monohydrate",),
    cytotoxic=True,
)
ROUTE = {"route": "magistral", "label": "Prepared in the pharmacy for the patient named"}
DOSE: dict[str, Any] = {
    "strengths": [
        {"strength_mg": "2.5", "units": 2, "intakes": ["morning"]},
        {"strength_mg": "1.25", "units": 1, "intakes": ["midday", "evening"]},
    ]
}


def unit(n: int, strength: str = "2.5", **more: object) -> dict[str, Any]:
    return {"unit": f"B1-R1/{n:03d}", "n": n, "strength_mg": strength, "verdict": "accepted", "removed": False, **more}


def record(*units: dict[str, Any], **more: object) -> dict[str, Any]:
    return {
        "batch": "B1",
        "disposition": "released",
        "demonstration": False,
        "units": list(units),
        "prescription": {"patient": "p-7", "days": 10, "prescriber": "Dr Example", "number": "RX-1", "schedule": [{"time": "noon"}]},
        "release": {"use_by": {"day": "2027-01-31"}, "legal_route": ROUTE},
        **more,
    }


def label(of: dict[str, Any], recipe: RecipeTexts = RECIPE, *, numbers: tuple[int, ...] = (), **more: Any) -> Label:
    units = [item for item in released_units(of) if not numbers or item.n in numbers]
    given: dict[str, Any] = {"pack": "B1-P01", "dose": DOSE, "pharmacy": ("Pharmacy", "Street 1"), "gtins": {}, **more}
    return compose(of, recipe, units, **given)


def test_a_label_says_what_the_record_the_recipe_and_the_order_say() -> None:
    found = label(record(unit(1), unit(2)))
    assert found.strengths == ("2.5 mg cyclophosphamide (anhydrous)",)
    assert (found.quantity, found.intake, found.route) == ("2 tablets", "One tablet: morning, for 10 days", "oral")
    assert (found.use_by, found.code.expiry, found.code.lot, found.code.serial) == ("2027-01-31", "2027-01-31", "B1", "B1-P01")
    assert found.code.product == "cyclophosphamide/3/2.5" and found.crossed is None
    assert found.warnings[0] == "CYTOTOXIC" and found.legal == ("Prepared in the pharmacy for the patient named", "Unlicensed medicine")
    assert found.excipients == "lactose monohydrate" and found.prescriber == "Dr Example RX-1"
    assert found.patient == "p-7" and found.as_record()["patient"] == "p-7"


COURSE: dict[str, Any] = {"strengths": [{"strength_mg": "2.5", "units": 14, "intakes": ["morning"]}]}


@pytest.mark.parametrize(
    ("held", "quantity", "intake"),
    [
        (tuple(range(1, 15)), "14 tablets", "One tablet: morning, for 10 days"),
        (tuple(range(1, 11)), "10 of 14 tablets", "One tablet: morning"),
        ((11, 12, 13, 14), "4 of 14 tablets", "One tablet: morning"),
        ((14,), "1 of 14 tablets", "One tablet: morning"),
    ],
)
def test_a_pack_states_the_whole_course_only_where_it_holds_it(held: tuple[int, ...], quantity: str, intake: str) -> None:
    """A batch that is split over packs."""
    found = label(record(*(unit(n) for n in range(1, 15))), numbers=held, dose=COURSE)
    assert (found.quantity, found.intake) == (quantity, intake)


def test_a_partly_released_batch_promises_no_whole_course() -> None:
    accepted = (unit(n) for n in range(1, 11))
    of = record(*accepted, *(unit(n, verdict="rejected") for n in range(11, 15)), disposition="partly released")
    found = label(of, dose=COURSE)
    assert (found.quantity, found.intake) == ("10 of 14 tablets", "One tablet: morning")
    unknown = label(of, dose={"strengths": [{"strength_mg": "2.5", "intakes": ["morning"]}]})
    assert (unknown.quantity, unknown.intake) == ("10 tablets", "One tablet: morning")


def test_packs_of_several_strengths_are_told_apart_by_their_times() -> None:
    both = record(unit(1), unit(2, "1.25"))
    one, other = label(both, numbers=(1,)), label(both, numbers=(2,))
    assert "morning" in one.intake and "midday, evening" in other.intake
    assert one.code.product != other.code.product
    with pytest.raises(LabelRefused, match="of one strength"):
        label(both)


def test_the_basis_is_named_where_the_text_does_not() -> None:
    recipe = RecipeTexts(**{**{name: getattr(RECIPE, name) for name in RecipeTexts.__slots__}, "actives": (("hydrocortisone", "base"),)})
    assert label(record(unit(1)), recipe).strengths == ("2.5 mg hydrocortisone (base)",)


def test_a_unit_of_two_inks_has_both_actives_on_its_label() -> None:
    parts = [{"part": 1, "strength_mg": "10"}, {"part": 2, "strength_mg": "0.50"}]
    recipe = RecipeTexts(
        **{**{name: getattr(RECIPE, name) for name in RecipeTexts.__slots__}, "actives": (("amlodipine", "base"), ("folic acid", "acid"))}
    )
    found = label(record(unit(1, "10", parts=parts)), recipe)
    assert found.strengths == ("10 mg amlodipine (base)", "0.5 mg (500 micrograms) folic acid")
    assert found.code.product == "cyclophosphamide/3/10/0.5"


def test_a_gtin_is_used_where_the_site_has_one() -> None:
    found = label(record(unit(1)), gtins={"cyclophosphamide/3/2.5": "07032069804988"})
    assert found.code.gtin == "07032069804988" and found.code.product is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"disposition": "held"}, "printed after release"),
        ({"disposition": "rejected"}, "printed after release"),
        ({"release": {}}, "states no pack"),
        ({"release": {"use_by": {}}}, "states no pack"),
    ],
)
def test_no_label_without_release_or_use_by(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(LabelRefused, match=words):
        label(record(unit(1), **changes))


def test_a_unit_that_was_rejected_or_removed_gets_no_label() -> None:
    of = record(unit(1), unit(2, verdict="rejected"), unit(3, verdict="scrapped"), unit(4, removed=True))
    assert [item.n for item in released_units(of)] == [1]
    partly = record(unit(1), unit(2, verdict="rejected"), disposition="partly released")
    assert [item.n for item in released_units(partly)] == [1]
    stranger = released_units(record(unit(9)))
    with pytest.raises(LabelRefused, match="unit 9 is not released"):
        compose(of, RECIPE, stranger, pack="B1-P01", dose=DOSE, pharmacy=("P",), gtins={})


def test_what_is_not_for_patients_is_crossed_out() -> None:
    assert label(record(unit(1), demonstration=True)).crossed == NOT_CLINICAL
    development = record(unit(1), disposition="rejected", purpose="development, not for patients")
    assert label(development).crossed == NOT_CLINICAL
    assert released_units(record(unit(1), disposition="held", purpose="development, not for patients")) == ()


def test_what_is_missing_or_error_prone_is_named_at_once() -> None:
    fields = {name: getattr(RECIPE, name) for name in RecipeTexts.__slots__}
    recipe = RecipeTexts(**{**fields, "directions": "Take .5 mL", "warnings": ("no more than 5.0 mg",)})
    with pytest.raises(LabelRefused) as refused:
        label(record(unit(1), release={}), recipe, pharmacy=())
    text = str(refused.value)
    assert all(words in text for words in ("states no pack", "pharmacy are not set", "naked decimal point", "trailing zero"))


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("5", "5 mg"),
        ("5.0", "5 mg"),
        ("5.00", "5 mg"),
        ("2.50", "2.5 mg"),
        ("0.25", "0.25 mg (250 micrograms)"),
        ("0.0125", "0.0125 mg (12.5 micrograms)"),
        ("100", "100 mg"),
        ("18.5", "18.5 mg"),
    ],
)
def test_doses_are_written_as_ismp_asks(typed: str, shown: str) -> None:
    assert dose_text(typed) == shown


@given(st.decimals(min_value="0.0001", max_value="5000", places=4))
def test_no_dose_has_a_trailing_zero_a_naked_point_or_another_value(value: Decimal) -> None:
    text = dose_text(format(value, "f"))
    assert not text_reasons("it", text)
    number = re.match(r"(\d+(?:\.\d*[1-9])?) mg", text)
    assert number is not None and Decimal(number.group(1)) == value
    if value < 1:
        micro = re.search(r"\((\d+(?:\.\d*[1-9])?) micrograms\)\Z", text)
        assert micro is not None and Decimal(micro.group(1)) == value * 1000
    else:
        assert "(" not in text


@pytest.mark.parametrize(
    "text", ["5.0 mg", "take 2.50 mL", ".5 mg", "take .25", "5 µg", "5 ug", "5 μg", "5mg", "10 U", "2 cc", "5 IU", "10.0 mcg"]
)
def test_error_prone_texts_are_found(text: str) -> None:
    assert text_reasons("it", text)


@pytest.mark.parametrize(
    "text", ["5 mg", "2.5 mL", "0.5 mg", "250 micrograms", "10 mg", "at 20 °C", "version 1.0", "100 units", "Take 1 unit in 5 mL of water."]
)
def test_texts_without_fault_pass(text: str) -> None:
    assert text_reasons("it", text) == ()
