"""Ink prepared on site, the use-by of a batch, and legal routes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from audit.quantities import Day
from audit.release.legal_routes import PHARMACIST_RELEASE, ROUTES, release_rule
from recipes.civil_days import added
from recipes.dose import calculate
from recipes.errors import RecipeRefused
from recipes.inks import course_reasons, specification_mismatches, use_by
from recipes.library import CASES, TWO_INK_CASES, load_demonstration, load_recipe, load_second, recipe_bytes
from recipes.model import Cartridge, InkLot, parse_recipe
from recipes.preparation import Preparation

TODAY = "2026-11-20"
RECIPE = load_recipe("sildenafil")
PRESCRIPTION, INK, CARTRIDGE = load_demonstration("sildenafil", TODAY)


def component(name, mass, **more):
    return {
        "name": name, "lot": f"{name[:3].upper()}-1", "expires": "2027-06-30", "mass": f"{mass} mg", "mass_uncertainty": "2 mg",
        "balance": "PB-2", "weighed_by": "operator", "checked_by": "second", **more,
    }  # fmt: skip


def record(**changes):
    return {
        "strength_basis": "theoretical strength",
        "procedure": "SIL-PASTE version 2",
        "prepared": TODAY,
        "components": [
            component("sildenafil citrate", 4000, content="71.0 %", content_uncertainty="0.6 %"),
            component("paste base", 96000),
        ],
        "mixing": {"method": "planetary mixer", "minutes": 10, "done_by": "operator", "checked_by": "second"},
    } | changes


def prepared(**changes):
    values = {**INK.as_record(), "assay": "28.40 mg/g", "assay_uncertainty": "0.3 mg/g", "preparation": record()} | changes
    return InkLot.model_validate({name: value for name, value in values.items() if name not in ("certificate", "concentration_rsd")})


def permitting():
    text = recipe_bytes("sildenafil").decode().replace("longest_at_temperature", 'on_site = "permitted"\nlongest_at_temperature')
    return parse_recipe(text.encode())


def test_the_strength_follows_from_the_weighings():
    made = Preparation.model_validate(record())
    # 4000 mg of 71.0 % in 100 g: 28.4 mg/g. By hand: weighing 2 mg: 28.4 (1/4000 - 1/100000) 2 = 0.01363, 28.4/100000 * 2 = 0.00057;
    # content 28.4 * 0.6/71 = 0.24
    assert made.strength.rounded(6).text == "28.400000" and made.total.text == "100000"
    assert float(made.strength_uncertainty.value) == pytest.approx((0.013632**2 + 0.000568**2 + 0.24**2) ** 0.5, rel=1e-6)


def test_such_an_ink_prints_only_where_the_recipe_permits_it_and_says_what_its_strength_is():
    lot = prepared()
    [reason] = specification_mismatches(RECIPE, lot)
    assert "prepared on site and its strength is theoretical" in reason
    assert specification_mismatches(permitting(), lot) == ()
    arithmetic = "\n".join(calculate(permitting(), PRESCRIPTION, lot).arithmetic)
    assert "theoretical strength of ink lot SIL-DEMO-01, prepared on site" in arithmetic and "assay" not in arithmetic
    assert "on_site" not in RECIPE.as_record()["ink"] and permitting().digest != RECIPE.digest


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"assay": "28.41 mg/g"}, "the weighings give 28.40 mg/g"),
        ({"assay_uncertainty": "0.2 mg/g"}, "must be 0.2404 mg/g or more"),
        ({"preparation": record(mixing={**record()["mixing"], "checked_by": "operator"})}, "operator mixed and cannot check it"),
        ({"preparation": record(components=[component("a", 1), component("b", 2)])}, "exactly one component holds the active"),
        (
            {"preparation": record(components=[component("a", 1, checked_by="operator"), component("b", 2)])},
            "weighed a and cannot check it",
        ),
    ],
)
def test_a_record_that_does_not_hold_together_is_refused(changes, words):
    with pytest.raises(ValidationError, match=words):
        prepared(**changes)


def test_an_ink_lot_has_a_certificate_or_a_record():
    for changes in ({"preparation": record(), "assay": "28.40 mg/g", "assay_uncertainty": "0.3 mg/g"}, {"certificate": None}):
        with pytest.raises(ValidationError, match="one of them"):
            InkLot.model_validate(INK.as_record() | changes)
    assert "preparation" not in INK.as_record()


def test_a_component_out_of_date_condemns_the_lot():
    components = [*record()["components"][:1], component("paste base", 96000, expires="2026-11-19")]
    [reason] = specification_mismatches(permitting(), prepared(preparation=record(components=components)))
    assert "paste base" in reason and "expired on 2026-11-19" in reason


@pytest.mark.parametrize(
    ("cartridge", "ink", "day", "because"),
    [
        ("2026-11-30", "2026-12-30", "2026-11-27", "a unit lasts 7 days"),
        ("2026-11-24", "2026-12-30", "2026-11-24", "cartridge SIL-DEMO-01-A is in use"),
        ("2026-11-30", "2026-11-22", "2026-11-22", "ink lot SIL-DEMO-01 expires"),
    ],
)
def test_the_use_by_is_the_earliest_of_three(cartridge, ink, day, because):
    lot, opened = INK.model_copy(update={"expires": ink}), CARTRIDGE.model_copy(update={"in_use_until": cartridge})
    found = use_by(RECIPE, [(lot, opened)], TODAY)
    assert found.day == day and found.because.startswith(because)


@given(st.integers(min_value=0, max_value=40), st.integers(min_value=1, max_value=40))
def test_a_course_fits_exactly_up_to_its_use_by(life, days):
    opened = CARTRIDGE.model_copy(update={"in_use_until": added(TODAY, Day(life))})
    lot = INK.model_copy(update={"expires": "2030-01-01"})
    reasons = course_reasons(RECIPE, [(lot, opened)], days, TODAY)
    fitting = min(life, 7) + 1
    assert (reasons == ()) == (days <= fitting)
    if reasons:
        assert f"have at most {fitting} days prescribed" in reasons[0]


def test_without_a_pack_nothing_is_known_and_nothing_judged():
    bare = RECIPE.model_copy(update={"pack": None})
    assert use_by(bare, [(INK, CARTRIDGE)], TODAY) is None and course_reasons(bare, [(INK, CARTRIDGE)], 300, TODAY) == ()


@pytest.mark.parametrize("case", [*CASES, *TWO_INK_CASES])
def test_every_demonstration_fits_its_use_by(case):
    prescription, ink, cartridge = load_demonstration(case, TODAY)
    second = load_second(case, TODAY)
    sources = [(ink, cartridge), *([second] if second else [])]
    assert course_reasons(load_recipe(case), sources, prescription.days, TODAY) == ()
    assert load_recipe(case).pack is not None


def test_words_of_release_need_an_authorisation_that_the_route_knows():
    for route in ROUTES:
        plain = release_rule(route, ())
        assert plain.statement == PHARMACIST_RELEASE and plain.roles == {"pharmacist"}
        assert "certified" not in plain.statement and "real-time" not in plain.statement
    certified = release_rule("uk_point_of_care", ("certified by a QP", "real-time release"))
    assert certified.statement == "certified by a QP; real-time release" and certified.roles == {"qualified_person"}
    with pytest.raises(ValueError, match="is not for a magistral preparation"):
        release_rule("magistral", ("certified by a QP",))
    assert "theoretical strength" in release_rule("magistral", (), theoretical=True).statement
    with pytest.raises(ValueError, match="nobody has assayed it"):
        release_rule("investigational", ("real-time release",), theoretical=True)


def with_lines(name, lines):
    text = recipe_bytes(name).decode()
    head, tail = text.split("\n[active]\n", 1)
    return parse_recipe(f"{head}\n{lines}\n[active]\n{tail}".encode())


def test_a_recipe_names_its_route_and_nothing_that_the_route_does_not_allow():
    assert with_lines("sildenafil", 'legal_route = "magistral"').legal_route == "magistral"
    for lines, words in (
        ('legal_route = "magistral"\nauthorised = ["certified by a QP"]', "is not for a magistral preparation"),
        ('authorised = ["certified by a QP"]', "state the route"),
        ('legal_route = "hospital"', "legal_route"),
    ):
        with pytest.raises(RecipeRefused, match=words):
            with_lines("sildenafil", lines)
    assert not {"legal_route", "authorised", "swallowability"} & set(RECIPE.as_record())


def test_a_cartridge_that_was_changed_is_another_one():
    assert Cartridge.model_validate(CARTRIDGE.as_record() | {"used": "10 uL"}).digest != CARTRIDGE.digest
