"""Body surface area against published values, and the refusal of impossible bodies."""

import math
import re
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.quantities import Centimetre, Kilogram, round_to
from recipes.bsa import METHODS, body_surface_area, implausible
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


@given(bodies, st.sampled_from(sorted(METHODS)))
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


@given(bodies, st.sampled_from(sorted(METHODS)))
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
    assert set(METHODS) == {"mosteller", "du_bois", "haycock", "gehan_george", "boyd"}
    for method in METHODS.values():
        assert method.source
        assert method.validity
        assert method.expression


def test_the_table_in_the_documentation_is_what_is_calculated():
    text = (Path(__file__).parents[2] / "docs" / "dose.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) kg, (\d+) cm \|(.+)\|$", text, re.MULTILINE)
    assert [row[0] for row in rows] == ["3", "10", "18", "30", "70"]
    for weight, height, cells in rows:
        for formula, cell in zip(("mosteller", "du_bois", "haycock", "gehan_george", "boyd"), cells.split("|"), strict=True):
            try:
                shown = body_surface_area(formula, Centimetre(height), Kilogram(weight)).rounded(4).text
            except DoseRefused:
                shown = "refused"
            assert cell.strip() == shown, (weight, formula)
