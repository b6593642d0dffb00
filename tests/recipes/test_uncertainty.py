"""The uncertainty of a unit's dose, against a calculation by hand."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.quantities import Milligram
from recipes.dose import calculate
from recipes.library import load_demonstration, load_machine, load_recipe, load_second
from recipes.model import InkLot
from recipes.uncertainty import dose_uncertainty, uncertainties

TODAY = "2026-11-20"


def test_the_worked_prescription_by_hand():
    recipe, (prescription, ink, _) = load_recipe("cyclophosphamide"), load_demonstration("cyclophosphamide", TODAY)
    [plan] = calculate(recipe, prescription, ink).strengths
    found = dose_uncertainty(plan, ink, load_machine(recipe.machine))
    # by hand: 0.2/39.6; 0.0025/1.20; step 165.13/3200 uL, half of it over sqrt 3, of 389.31 uL; 0.25 of 467.17 mg
    concentration, density, step, balance = 0.505051, 0.208333, 165.13 / 3200 / 2 / 3**0.5 / 389.3098 * 100, 0.25 / 467.1717 * 100
    for value, expected in (
        (found.concentration, concentration),
        (found.density, density),
        (found.volume_step, step),
        (found.balance, balance),
        (found.by_mass, 2 * (concentration**2 + balance**2) ** 0.5),
        (found.by_volume, 2 * (concentration**2 + density**2 + step**2) ** 0.5),
    ):
        assert float(value.value) == pytest.approx(expected, rel=1e-5)
    record = found.as_record()
    assert record["expanded"]["by_mass_percent"] == "1.016" and record["expanded"]["by_mass_mg"] == "0.188"
    assert "± 0.188 mg (1.02 %) once weighed" in found.text


def test_units_that_are_weighed_elsewhere_have_the_uncertainty_of_that_balance():
    recipe, (prescription, ink, _) = load_recipe("cyclophosphamide"), load_demonstration("cyclophosphamide", TODAY)
    dose = calculate(recipe, prescription, ink)
    (found,) = uncertainties(dose, (ink,), load_machine(recipe.machine), Milligram("0.3"))
    assert float(found.balance.value) == pytest.approx(0.15 / 467.1717 * 100, rel=1e-5)
    assert found.by_volume == uncertainties(dose, (ink,), load_machine(recipe.machine))[0].by_volume


def test_each_strength_of_each_active_has_its_own():
    recipe, (prescription, ink, _) = load_recipe("polypill"), load_demonstration("polypill", TODAY)
    second = load_second("polypill", TODAY)[0]
    found = uncertainties(calculate(recipe, prescription, ink, second), (ink, second), load_machine(recipe.machine))
    assert [item.label.text for item in found] == ["12.5", "6.25"]
    assert found[0].concentration != found[1].concentration


@given(st.decimals(min_value="0.01", max_value=4, places=3), st.decimals(min_value="0.001", max_value="0.1", places=3))
def test_a_combination_is_at_least_its_largest_part_and_at_most_their_sum(assay, density):
    recipe, (prescription, lot, _) = load_recipe("sildenafil"), load_demonstration("sildenafil", TODAY)
    ink = InkLot.model_validate(lot.as_record() | {"assay_uncertainty": f"{assay} mg/g", "density_uncertainty": f"{density} g/mL"})
    [plan] = calculate(
        recipe.model_copy(
            update={
                "ink": recipe.ink.model_copy(
                    update={"largest_assay_uncertainty": type(recipe.ink.largest_assay_uncertainty)(100),
                            "largest_density_uncertainty": type(recipe.ink.largest_assay_uncertainty)(100)}
                )
            }
        ),
        prescription,
        ink,
    ).strengths  # fmt: skip
    found = dose_uncertainty(plan, ink, load_machine(recipe.machine))
    parts = [found.concentration.value, found.density.value, found.volume_step.value]
    assert 2 * max(parts) <= found.by_volume.value + Decimal("1e-20") and found.by_volume.value <= 2 * sum(parts) + Decimal("1e-20")
