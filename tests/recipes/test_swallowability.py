"""What a patient can swallow: one rule for every family of shapes, held against the exact solid."""

import math
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.spatial.distance import pdist
from shape_cases import FAMILIES, hexagon, recipe_of, stl_bytes, stl_geometry, wide_machine

from audit.quantities import Milligram, Millimetre, Year
from recipes.compile import compile_program
from recipes.designs import swallowing_reasons
from recipes.errors import CompileRefused
from recipes.library import CASES, TWO_INK_CASES, load_demonstration, load_machine, load_recipe, load_second
from recipes.model import DoseOrder, Prescription, Recipe
from recipes.stl_solid import longest_distance
from recipes.swallowability import SwallowBand, age_reasons, largest_for, size_reasons

TODAY = "2026-11-20"
BANDS = (("2 years", "5 mm"), ("6 years", "10 mm"), ("12 years", "15 mm"))
"""The EMA's draft guideline on paediatric medicines (2011)."""


def bands(*pairs):
    return tuple(SwallowBand.model_validate({"from_age": age, "largest_dimension": largest}) for age, largest in pairs)


def bounded(recipe, *pairs):
    rows = [band.as_record() for band in bands(*pairs)]
    record = {name: value for name, value in recipe.as_record().items() if value is not None}
    return Recipe.model_validate(record | {"swallowability": rows, "sources": {**recipe.sources, "swallowability": "test"}})


def compiled(case, recipe, machine=None, *, solid=None, age=None, **changes):
    prescription, ink, cartridge = load_demonstration(case, TODAY)
    second = load_second(case, TODAY)
    more = {} if age is None else {"age": age, "body_confirmed": "test"}
    prescription = Prescription.model_validate(prescription.as_record() | more | changes)
    order = DoseOrder.create("T", recipe=recipe, ink=ink, cartridge=cartridge, prescription=prescription, second=second)
    return compile_program(
        order=order, recipe=recipe, ink=ink, cartridge=cartridge, machine=machine or load_machine(recipe.machine), today=TODAY,
        demonstration=True, second=second, solid=solid,
    )  # fmt: skip


def family(name):
    """A recipe of one shape, what is printed with it, and the largest dimension of its unit as the record says it."""
    if name == "stl":
        return recipe_of(stl_geometry(hexagon())), wide_machine(), stl_bytes(hexagon())
    if name in FAMILIES:
        return recipe_of(FAMILIES[name]), wide_machine(), None
    if name == "torus":
        return recipe_of({"family": "torus", "tube_to_ring": "0.4"}), wide_machine(), None
    return load_recipe("cyclophosphamide"), None, None


def test_the_bands_go_by_age():
    given_ = bands(*BANDS)
    for age, largest in ((Year(2), 5), (Year("5.99"), 5), (Year(6), 10), (Year(12), 15), (Year(80), 15)):
        assert largest_for(given_, age) == Millimetre(largest)
    assert largest_for(given_, Year("1.99")) is None
    assert "are for patients from 2 years, the patient is 1.5 years old" in age_reasons(given_, Year("1.5"))[0]
    assert "no age is stated; state it" in age_reasons(given_, None)[0]
    assert age_reasons((), None) == [] and age_reasons(given_, Year(2)) == []


def test_a_size_is_held_exactly_and_never_shown_smaller_than_it_is():
    given_ = bands(*BANDS)
    assert size_reasons(given_, Year(3), Milligram(4), Decimal(5)) == []
    [reason] = size_reasons(given_, Year(3), Milligram(4), Decimal("5.0000001"))
    assert reason.startswith("a unit of 4 mg would be 5.01 mm at its largest, and a patient of 3 years is given 5 mm at most")
    assert size_reasons((), Year(3), Milligram(4), Decimal(50)) == []


@pytest.mark.parametrize("name", ["cylinder", "torus", "stl", *FAMILIES])
def test_the_rule_holds_for_every_family(name):
    recipe, machine, solid = family(name)
    changes = {"age": "6 years"} | ({} if name == "cylinder" else {"days": 1})
    program = compiled("cyclophosphamide", recipe, machine, solid=solid, **changes)
    largest = max(Decimal(size) for unit in program.units for key, size in unit.shape.items() if key in SIZES)
    if name == "stl":
        # Bevelled: the largest distance is from corner to corner of its straight part, 10 mm across and 3 of 4 mm high.
        largest = Decimal(math.hypot(1, 0.3)) * largest
    over, under = largest - Decimal("0.02"), largest + Decimal("0.02")
    with pytest.raises(CompileRefused, match=rf"a unit of .* mg would be .* a patient of 6 years is given {over:.4f} mm at most"):
        compiled("cyclophosphamide", bounded(recipe, ("2 years", f"{over:.4f} mm")), machine, solid=solid, **changes)
    assert compiled("cyclophosphamide", bounded(recipe, ("2 years", f"{under:.4f} mm")), machine, solid=solid, **changes)
    with pytest.raises(CompileRefused, match="are for patients from 7 years"):
        compiled("cyclophosphamide", bounded(recipe, ("7 years", "40 mm")), machine, solid=solid, **changes)


SIZES = ("diameter_mm", "length_mm", "width_mm", "height_mm")


def test_a_dose_that_can_be_swallowed_at_six_is_too_large_at_three():
    recipe = bounded(load_recipe("hydrocortisone"), *BANDS)
    large = {"prescribed": "19.3 mg/m2", "schedule": [{"time": "morning"}, {"time": "noon"}, {"time": "night"}]}
    assert compiled("hydrocortisone", recipe).units[0].shape["diameter_mm"] == "4.47"
    with pytest.raises(CompileRefused, match=r"a unit of 4 mg would be 5\.\d+ mm at its largest, .* of 3 years is given 5 mm at most"):
        compiled("hydrocortisone", recipe, **large)
    assert compiled("hydrocortisone", recipe, age="6 years", **large)


def test_no_age_no_unit():
    recipe = bounded(load_recipe("sildenafil"), ("18 years", "30 mm"))
    prescription, _, _ = load_demonstration("sildenafil", TODAY)
    assert prescription.age is None
    with pytest.raises(CompileRefused, match="no age is stated"):
        compiled("sildenafil", recipe)


def test_two_parts_are_swallowed_as_one():
    recipe = load_recipe("polypill")
    unit = compiled("polypill", recipe, age="70 years").units
    together = sum(Decimal(part.shape["height_mm"]) for part in unit[:2])
    across = max(Decimal(part.shape["diameter_mm"]) for part in unit[:2])
    assert {part.part for part in unit[:2]} == {1, 2}
    limit = max(together, across) - Decimal("0.05")
    with pytest.raises(CompileRefused, match="at its largest"):
        compiled("polypill", bounded(recipe, ("2 years", f"{limit} mm")), age="70 years")
    assert compiled("polypill", bounded(recipe, ("2 years", f"{limit + Decimal('0.10')} mm")), age="70 years")


def test_two_parts_that_stand_higher_than_they_are_wide_are_as_large_as_they_are_high():
    recipe = load_recipe("polypill")
    parts = [replace(piece.design, largest=Decimal(1)) for piece in compiled("polypill", recipe, age="70 years").basis.pieces[:2]]
    together = Decimal(sum(part.height for part in parts)) / 1000
    assert together > 1
    [reason] = swallowing_reasons(bounded(recipe, ("2 years", f"{together - Decimal('0.001')} mm")), Year(70), parts)
    assert "at its largest" in reason
    assert swallowing_reasons(bounded(recipe, ("2 years", f"{together} mm")), Year(70), parts) == []


def test_a_capsule_is_judged_by_its_closed_length():
    plain = load_recipe("minoxidil")
    with pytest.raises(ValidationError, match=r"state geometry\.capsule_length"):
        bounded(plain, ("6 years", "15 mm"))
    record = plain.as_record()
    sized = Recipe.model_validate(
        {name: value for name, value in record.items() if value is not None}
        | {"geometry": {**record["geometry"], "capsule_length": "15.9 mm"}}
        | {"sources": {**plain.sources, "geometry": "test"}}
    )
    assert "capsule_length" not in record["geometry"] and sized.digest != plain.digest
    with pytest.raises(CompileRefused, match=r"would be 15\.90 mm at its largest, .* is given 15 mm at most"):
        compiled("minoxidil", bounded(sized, ("6 years", "15 mm")), age="40 years")
    assert compiled("minoxidil", bounded(sized, ("6 years", "15.9 mm")), age="40 years")


@pytest.mark.parametrize("case", [*CASES, *TWO_INK_CASES])
def test_unset_it_is_no_part_of_a_recipe(case):
    assert "swallow" not in str(load_recipe(case).as_record())
    assert bounded(load_recipe("sildenafil"), ("2 years", "5 mm")).digest != load_recipe("sildenafil").digest


def test_bands_that_do_not_rise_are_no_recipe():
    with pytest.raises(ValidationError, match="higher age"):
        bounded(load_recipe("sildenafil"), ("6 years", "10 mm"), ("2 years", "5 mm"))


@given(st.integers(0, 2**32 - 1), st.integers(4, 60))
@settings(deadline=None)
def test_the_largest_distance_is_that_of_all_pairs(seed, count):
    points = np.random.default_rng(seed).normal(size=(count, 3)) * [4, 2, 1]
    mesh = trimesh.Trimesh(vertices=points).convex_hull
    assert longest_distance(mesh) == pytest.approx(pdist(mesh.vertices).max(), rel=1e-12)


def test_a_solid_that_lies_askew_in_its_file_is_as_long_as_it_is():
    bar = trimesh.creation.box(extents=(12, 2, 2))
    long = longest_distance(bar)
    bar.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 4, [0, 0, 1]))
    assert max(bar.extents) < 10 < 12 < long == pytest.approx(longest_distance(bar)) == pytest.approx(math.sqrt(152))
