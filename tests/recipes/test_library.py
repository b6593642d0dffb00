"""The demonstration files say what the cases say."""

from decimal import Decimal

import pytest

from audit.quantities import Milligram
from recipes import library
from recipes.capability import balance_reasons
from recipes.dose import calculate
from recipes.errors import RecipeRefused, RecipeUnknown
from recipes.inks import cartridge_reasons, ink_reasons
from recipes.library import CASES, TWO_INK_CASES, load_demonstration, load_machine, load_recipe, machine_ids, recipe_bytes, recipe_ids
from recipes.machine import BalanceProfile

TODAY = "2026-11-20"

RECIPES = {
    # id: process, form, range, grid, strength, density, machine, stage
    "cyclophosphamide": ("SSE", "tablet", "5", "40", "0.5", "40", "1.20", "sse-20g-10ml", "wet"),
    "sildenafil": ("SSE", "tablet", "2", "10", "0.25", "28.4", "1.15", "sse-18g-10ml", "wet"),
    "hydrocortisone": ("FDM", "tablet", "1", "10", "0.25", "50", "1.18", "fdm-0.4", "dry"),
    "minoxidil": ("dispense", "capsule", "0.25", "5", "0.25", "20", "1.10", "sse-18g-3ml", "filled capsule"),
}
MACHINES = {
    "sse-20g-10ml": ("165.13", "3200", "0.603"),
    "sse-18g-10ml": ("165.13", "3200", "0.84"),
    "fdm-0.4": ("2.405", "400", "0.4"),
    "sse-18g-3ml": ("58.90", "3200", "0.84"),
    "sse-two-heads": ("165.13", "3200", "0.603"),
}


@pytest.mark.parametrize("case", CASES)
def test_recipe_figures(case):
    process, form, low, high, grid, strength, density, machine, stage = RECIPES[case]
    recipe = load_recipe(case)
    assert (recipe.process, recipe.dosage_form, recipe.machine, recipe.weighing.stage) == (process, form, machine, stage)
    assert (recipe.dose.minimum.text, recipe.dose.maximum.text, recipe.dose.grid.text) == (low, high, grid)
    assert (recipe.ink.strength.set_point.text, recipe.ink.density.set_point.text) == (strength, density)
    assert recipe.dose.largest_rounding_deviation.text == "2.5"
    assert recipe.status_text == "demonstration, not for clinical use"
    assert recipe.concentration_rsd_validation is None


@pytest.mark.parametrize("machine_id", sorted(MACHINES))
def test_machine_figures(machine_id):
    machine = load_machine(machine_id)
    assert (machine.e_area.text, machine.steps_per_mm.text, machine.nozzle_diameter.text) == MACHINES[machine_id]
    assert len(set(machine.plate.positions)) >= 30
    assert {"AUTOREPORT_TEMP", "EMERGENCY_PARSER"} <= set(machine.firmware.capabilities)


def test_syringe_and_filament_areas_follow_from_their_diameters():
    pi = Decimal("3.14159265358979")
    for machine_id, diameter in (("sse-20g-10ml", "14.5"), ("fdm-0.4", "1.75"), ("sse-18g-3ml", "8.66")):
        area = load_machine(machine_id).e_area.value
        assert abs(pi / 4 * Decimal(diameter) ** 2 - area) <= Decimal("0.005")


def test_the_library_holds_these_files_and_no_other():
    assert set(recipe_ids()) == {*CASES, *TWO_INK_CASES}
    assert set(machine_ids()) == set(MACHINES)


@pytest.mark.parametrize("case", CASES)
def test_each_demonstration_is_ready(case):
    recipe = load_recipe(case)
    machine = load_machine(recipe.machine)
    prescription, ink, cartridge = load_demonstration(case, TODAY)
    dose = calculate(recipe, prescription, ink)
    volumes = [plan.target_volume for plan in dose.strengths for _ in range(plan.units)]
    assert ink_reasons(recipe, ink, TODAY) == ()
    assert cartridge_reasons(recipe, ink, cartridge, machine, volumes, TODAY) == ()
    assert balance_reasons(recipe, machine, [plan.target_mass for plan in dose.strengths]) == ()
    assert dose.units <= len(machine.plate.positions)
    assert machine.process == recipe.process
    assert recipe.parameters.nozzle_temperature.high <= machine.max_nozzle_temperature
    assert recipe.parameters.plate_temperature.high <= machine.max_plate_temperature
    assert recipe.parameters.travel_speed.high <= machine.max_travel
    assert max(recipe.parameters.flow_rate.high, recipe.parameters.retraction_rate.high) <= machine.max_volumetric_rate


def test_dates_follow_the_day_of_use():
    _, ink, cartridge = load_demonstration("hydrocortisone", "2027-01-01")
    assert (ink.expires, cartridge.opened, cartridge.in_use_until) == ("2027-04-01", "2026-12-31", "2027-01-15")


@pytest.mark.parametrize("load", [load_recipe, load_machine, recipe_bytes, lambda name: load_demonstration(name, TODAY)])
@pytest.mark.parametrize("name", ["aspirin", "../recipes", "", "machines"])
def test_unknown_names_are_refused_with_the_known_ones(load, name):
    with pytest.raises(RecipeUnknown, match="Choose one of"):
        load(name)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[ink_lot]\nexpires_in_days = 1\n[cartridge]\nopened_days_ago = 0\nin_use_days = 1\n[prescription]\n", "patient: missing"),
        ("ink_lot = 1", "lacks"),
    ],
)
def test_a_damaged_demonstration_file_is_refused(monkeypatch, content, words):
    monkeypatch.setattr(library, "_read", lambda *_: content.encode())
    with pytest.raises(RecipeRefused, match=words):
        load_demonstration("minoxidil", TODAY)


def test_a_balance_too_coarse_for_the_unit_is_named():
    recipe, machine = load_recipe("hydrocortisone"), load_machine("fdm-0.4")
    coarse = BalanceProfile.model_validate(machine.balance.as_record() | {"driver": "sartorius-sbi", "readability": "1 mg"})
    with_coarse = machine.model_copy(update={"balance": coarse})
    # 7.5 % of 24.8 mg is 1.86 mg, a quarter of it 0.465 mg.
    assert balance_reasons(recipe, machine, [Milligram("24.8")]) == ()
    [reason] = balance_reasons(recipe, with_coarse, [Milligram("24.8"), Milligram("24.8")])
    assert "0.47 mg" in reason
    assert "external balance" in reason


def test_uncertainty_must_be_known_at_the_temperature_of_the_plate():
    recipe = load_recipe("hydrocortisone")
    cold = load_machine("sse-20g-10ml")
    assert "establish it" in balance_reasons(recipe, cold, [])[0]
