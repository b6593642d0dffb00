"""Ink lots and cartridges: identity, specification, dates, volume."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.quantities import Microlitre
from recipes.dose import calculate
from recipes.inks import active_mismatches, batch_need, cartridge_reasons, ink_reasons, specification_mismatches
from recipes.library import load_demonstration, load_machine, load_recipe
from recipes.model import Cartridge, InkLot, Prescription

TODAY = "2026-11-20"
RECIPE = load_recipe("cyclophosphamide")
MACHINE = load_machine(RECIPE.machine)
PRESCRIPTION, INK, CARTRIDGE = load_demonstration("cyclophosphamide", TODAY)
UNITS = [plan.target_volume for plan in calculate(RECIPE, PRESCRIPTION, INK).strengths for _ in range(plan.units)]


def lot(**changes):
    return InkLot.model_validate(INK.as_record() | changes)


def cartridge(**changes):
    return Cartridge.model_validate(CARTRIDGE.as_record() | changes)


def found(one, units=UNITS, today=TODAY):
    return cartridge_reasons(RECIPE, INK, one, MACHINE, units, today)


def test_the_demonstration_ink_may_be_used():
    assert specification_mismatches(RECIPE, INK) == ()
    assert ink_reasons(RECIPE, INK, TODAY) == () == found(CARTRIDGE)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"moiety": "sildenafil", "basis": "base"}, "names sildenafil"),
        ({"basis": "monohydrate"}, "not converted"),
        ({"ink": "cyclophosphamide-20"}, "needs cyclophosphamide-40"),
        ({"assay": "37.9 mg/g"}, "strength 37.9 mg/g"),
        ({"assay": "42.1 mg/g"}, "strength 42.1 mg/g"),
        ({"density": "1.15 g/mL"}, "density 1.15 g/mL"),
        ({"assay_uncertainty": "0.8 mg/g"}, "uncertainty of its strength is above 2.0 %"),
        ({"density_uncertainty": "0.02 g/mL"}, "uncertainty of its density is above 1.0 %"),
    ],
)
def test_a_lot_outside_the_specification_is_refused(changes, words):
    [reason] = specification_mismatches(RECIPE, lot(**changes))
    assert words in reason
    assert "CYC-DEMO-01" in reason


@pytest.mark.parametrize(("until", "fits"), [("2026-12-04", True), ("2026-12-05", False)])
def test_a_cartridge_is_in_use_no_longer_than_the_recipe_allows(until, fits):
    reasons = found(cartridge(opened=TODAY, in_use_until=until))
    assert ("allows 14 d" in "".join(reasons)) is not fits


def test_what_a_recipe_does_not_state_is_no_part_of_its_digest():
    stated = {"indication", "training"}
    tree = RECIPE.as_record()
    assert stated <= set(tree) and {"longest_in_use", "rheology", "storage"} <= set(tree["ink"])
    older = load_recipe("minoxidil").as_record()
    assert not stated & set(older) and not {"longest_in_use", "rheology", "storage"} & set(older["ink"])


@pytest.mark.parametrize("assay", ["38 mg/g", "42 mg/g"])
def test_the_ends_of_the_specification_belong_to_it(assay):
    assert specification_mismatches(RECIPE, lot(assay=assay)) == ()


def test_the_last_day_of_use_is_the_day_named():
    assert ink_reasons(RECIPE, lot(expires="2026-11-20"), TODAY) == ()
    [reason] = ink_reasons(RECIPE, lot(expires="2026-11-19"), TODAY)
    assert "expired on 2026-11-19" in reason
    assert "quarantine" in reason
    assert found(cartridge(in_use_until="2026-11-20")) == ()
    assert "discard it" in found(cartridge(in_use_until="2026-11-19"))[0]


def test_a_cartridge_of_another_lot_or_another_day_is_refused():
    assert "holds ink lot CYC-DEMO-02" in found(cartridge(ink_lot="CYC-DEMO-02"))[0]
    assert "after today" in found(cartridge(opened="2026-11-21"))[0]
    assert "takes 10000 at most" in found(cartridge(filled="10001 uL"))[0]


def test_need_counts_priming():
    assert batch_need(RECIPE, UNITS).rounded(1) == Microlitre("5570.3")
    assert batch_need(RECIPE, []) == Microlitre(120)


def test_a_course_that_needs_more_than_a_cartridge_is_refused_with_the_split():
    prescription = Prescription.model_validate(PRESCRIPTION.as_record() | {"prescribed": "53.9 mg/m2"})
    [plan] = calculate(RECIPE, prescription, INK).strengths
    assert plan.label.text == "40"
    units = [plan.target_volume] * plan.units
    assert batch_need(RECIPE, units).rounded(0) == Microlitre("11905")
    [reason] = found(cartridge(filled="10000 uL"), units)
    assert "a course of at most 11 units" in reason
    assert found(cartridge(filled="10000 uL"), units[:11]) == ()
    assert found(cartridge(filled="10000 uL"), units[:12])


def test_a_nearly_empty_cartridge_has_no_split_to_offer():
    [reason] = found(cartridge(used="9300 uL"))
    assert "take a fuller cartridge" in reason
    assert "split" not in reason


@given(st.integers(min_value=1, max_value=9500), st.integers(min_value=1, max_value=30), st.integers(min_value=10, max_value=900))
def test_a_cartridge_serves_exactly_what_it_can_give(used, count, volume):
    units = [Microlitre(volume)] * count
    can_give = 9500 - used - 300
    assert (found(cartridge(used=f"{used} uL"), units) == ()) == (120 + count * volume <= can_give)


def test_every_reason_is_given_at_once():
    assert len(ink_reasons(RECIPE, lot(expires="2026-01-01", basis="monohydrate"), TODAY)) == 2
    assert len(found(cartridge(used="9000 uL", ink_lot="another"))) == 2


@pytest.mark.parametrize("today", ["20.11.2026", "2026-11-2", ""])
def test_today_must_be_a_date(today):
    with pytest.raises(ValueError, match="today must be a date"):
        ink_reasons(RECIPE, INK, today)


def test_another_moiety_is_one_reason_not_two():
    assert len(active_mismatches(RECIPE, "sildenafil", "base", "the label")) == 1
