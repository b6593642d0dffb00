"""Body surface area against published values, and the refusal of impossible bodies."""

import math
import re
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.quantities import Centimetre, Kilogram, Year, round_to
from recipes.bsa import METHODS, body_surface_area, caution, implausible
from recipes.errors import DoseRefused

# Published to three decimals: test suites of the R packages admiral and clinPK.
PUBLISHED = [
    (170, 75, {"mosteller": "1.882", "du_bois": "1.864", "haycock": "1.895", "gehan_george": "1.897", "boyd": "1.905"}),
    (185, 90, {"mosteller": "2.151", "du_bois": "2.141", "haycock": "2.161", "gehan_george": "2.160", "boyd": "2.158"}),
    (180, 80, {"mosteller": "2.000", "du_bois": "1.996", "haycock": "2.007", "gehan_george": "2.009", "boyd": "2.007"}),
]
# Six decimals, calculated with 30-digit arithmetic by another program.
PRECISE = [
    (170, 75, {"mosteller": "1.881932", "du_bois": "1.863558", "haycock": "1.894690", "gehan_george": "1.897470", "boyd": "1.905069"}),
    (110, 18, {"mosteller": "0.741620", "du_bois": "0.741083", "haycock": "0.740072", "gehan_george": "0.757509", "boyd": "0.755205"}),
]
# Livingston and Lee, and Schlich at 150 cm and 100 kg: the reference tables' own arithmetic.
BY_WEIGHT = [("18", "0.760251"), ("10", "0.5199"), ("9.9999999", "0.4877")]
BY_SEX = [("female", "1.8172"), ("male", "1.6649")]
CASES = [(h, w, f, v) for table in (PUBLISHED, PRECISE) for h, w, row in table for f, v in row.items()]


@pytest.mark.parametrize(("height", "weight", "formula", "value"), CASES)
def test_published_values(height, weight, formula, value):
    expected = Decimal(value)
    places = -expected.as_tuple().exponent
    found = body_surface_area(formula, Centimetre(height), Kilogram(weight))
    assert round_to(found.value, places) == expected


def test_square_of_mosteller_is_exact():
    bsa = body_surface_area("mosteller", Centimetre(110), Kilogram(18)).value
    assert abs(bsa * bsa - Decimal("0.55")) < Decimal("1e-26")


bodies = st.floats(min_value=12, max_value=40).flatmap(
    lambda bmi: st.floats(min_value=0.75, max_value=2.1).map(lambda m: (m * 100, bmi * m * m))
)


OF_BOTH = sorted(set(METHODS) - {"livingston_lee", "schlich"})


@pytest.mark.parametrize(("weight", "value"), BY_WEIGHT)
def test_livingston_and_lee_from_weight_alone_with_its_step(weight, value):
    expected = Decimal(value)
    found = body_surface_area("livingston_lee", None, Kilogram(weight))
    assert round_to(found.value, -expected.as_tuple().exponent) == expected
    assert body_surface_area("livingston_lee", Centimetre(75), Kilogram(weight)) == found


def test_near_its_step_livingston_and_lee_says_so():
    assert caution("livingston_lee", Kilogram("9.5")) == caution("livingston_lee", Kilogram("10.5"))
    assert "0.4877 m² just below, 0.5199 m² from there" in str(caution("livingston_lee", Kilogram("10.2")))
    assert caution("livingston_lee", Kilogram("10.6")) is None
    assert caution("mosteller", Kilogram(10)) is None


@pytest.mark.parametrize(("sex", "value"), BY_SEX)
def test_schlich_by_sex(sex, value):
    found = body_surface_area("schlich", Centimetre(150), Kilogram(100), sex=sex, age=Year(40))
    assert round_to(found.value, 4) == Decimal(value)


@pytest.mark.parametrize(
    ("sex", "age", "words"),
    [
        (None, Year(40), "enter age and sex"),
        ("female", None, "enter age and sex"),
        ("male", Year("17.9"), "holds for adults, the patient is 17.9 years old"),
    ],
)
def test_schlich_is_for_adults_of_stated_sex(sex, age, words):
    with pytest.raises(DoseRefused, match=words):
        body_surface_area("schlich", Centimetre(170), Kilogram(60), sex=sex, age=age)
    assert body_surface_area("schlich", Centimetre(170), Kilogram(60), sex="male", age=Year(18)).value > 1


def test_a_child_has_no_schlich_whatever_is_said_of_its_age():
    with pytest.raises(DoseRefused, match=r"height 110 cm is outside 140 to 230 cm"):
        body_surface_area("schlich", Centimetre(110), Kilogram(18), sex="female", age=Year(40))


@given(bodies, st.sampled_from(OF_BOTH))
def test_agrees_with_binary_floating_point(body, formula):
    height, weight = round(body[0], 1), round(body[1], 2)
    binary = {
        "mosteller": lambda h, w: math.sqrt(h * w / 3600),
        "du_bois": lambda h, w: 0.007184 * h**0.725 * w**0.425,
        "haycock": lambda h, w: 0.024265 * h**0.3964 * w**0.5378,
        "gehan_george": lambda h, w: 0.0235 * h**0.42246 * w**0.51456,
        "boyd": lambda h, w: 0.0003207 * h**0.3 * (1000 * w) ** (0.7285 - 0.0188 * math.log10(1000 * w)),
    }[formula](height, weight)
    found = body_surface_area(formula, Centimetre(str(height)), Kilogram(str(weight)))
    assert float(found.value) == pytest.approx(binary, rel=1e-12)


@given(bodies, st.sampled_from(OF_BOTH))
def test_grows_with_weight(body, formula):
    height, weight = Centimetre(str(round(body[0], 1))), Kilogram(str(round(body[1], 2)))
    assert body_surface_area(formula, height, weight) < body_surface_area(formula, height, weight + Kilogram("0.1"))


@pytest.mark.parametrize(
    ("height", "weight", "words"),
    [
        ("0", "18", "height"),
        ("1.10", "18", "height 1.10 cm"),
        ("110", "0.5", "weight"),
        ("110", "1800", "weight"),
        ("18", "110", "height"),
        ("60", "110", "do not belong together"),
    ],
)
def test_impossible_bodies_are_refused(height, weight, words):
    with pytest.raises(DoseRefused) as refusal:
        body_surface_area("mosteller", Centimetre(height), Kilogram(weight))
    assert words in str(refusal.value)
    assert any(verb in str(refusal.value) for verb in ("measure again", "weigh again", "check that"))


def test_both_reasons_are_given():
    assert len(implausible("mosteller", Centimetre(0), Kilogram(0))) == 2


def test_every_formula_states_source_and_validity():
    assert set(METHODS) == {"mosteller", "du_bois", "haycock", "gehan_george", "boyd", "livingston_lee", "schlich"}
    for method in METHODS.values():
        assert method.source
        assert method.validity
        assert method.expression


def shown(formula, height, weight, **body):
    try:
        return body_surface_area(formula, Centimetre(height), Kilogram(weight), **body).rounded(4).text
    except DoseRefused:
        return "refused"


def test_the_table_in_the_documentation_is_what_is_calculated():
    text = (Path(__file__).parents[2] / "docs" / "dose.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) kg, (\d+) cm \|(.+)\|$", text, re.MULTILINE)
    assert [row[0] for row in rows] == ["3", "10", "18", "30", "70"]
    for weight, height, cells in rows:
        child = shown("schlich", height, weight, sex="female", age=Year(10))
        adult = [shown("schlich", height, weight, sex=sex, age=Year(40)) for sex in ("female", "male")]
        expected = [shown(formula, height, weight) for formula in (*METHODS,)[:6]]
        expected.append("refused" if "refused" in adult else " / ".join(adult))
        found = [cell.strip() for cell in cells.split("|")]
        assert child == "refused" and found[:7] == expected, weight
        areas = [Decimal(area) for area in expected[:6] if area != "refused"]
        spread = (max(areas) / min(areas) - 1) * 100
        assert found[7] == f"{spread:.1f} %"
