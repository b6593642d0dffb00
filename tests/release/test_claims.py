"""Stages of 2.9.40, applicability, 2.9.47, small batches, and what may be said of each."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from audit.release import large_samples as large
from audit.release import uniformity as u
from audit.release.applicability import Route, decide
from audit.release.claims import Basis, evaluate
from audit.release.small_batch import Prior, predict, prior_from_history
from audit.release.uniformity import CompositeAssay, StageOutcome

MASSES = ["248.1", "251.3", "249.7", "252.0", "247.5", "250.4", "249.0", "251.8", "250.9", "248.8"]


def spread(n: int, centre: str, half: str) -> list[D]:
    """n contents about `centre`, alternately above and below it by `half`."""
    return [D(centre) + (D(half) if i % 2 else -D(half)) for i in range(n)]


def test_stage_1_is_met_or_asks_for_20_more_and_never_fails() -> None:
    assert u.stage_of(spread(10, "100", "2")).outcome is StageOutcome.MET
    assert u.stage_of(spread(10, "100", "7")).outcome is StageOutcome.SECOND_STAGE
    assert u.stage_of([D(20)] * 10).outcome is StageOutcome.SECOND_STAGE


def test_stage_2_needs_the_value_and_no_content_outside_l2() -> None:
    assert u.stage_of(spread(30, "100", "7")).outcome is StageOutcome.MET, "k = 2.0 lets pass what 2.4 did not"
    one_far = [*([D(100)] * 29), D("124.9")]
    far = u.stage_of([*([D(100)] * 29), D("126.1")])
    assert u.stage_of(one_far).outcome is StageOutcome.MET
    assert far.statistic.within_l1 and far.outside_l2 == 1 and far.outcome is StageOutcome.NOT_MET


def test_l2_is_taken_about_the_reference_of_the_30_and_is_not_rounded() -> None:
    contents = [*([D(100)] * 29), D("75.00")]
    reference = u.stage_of(contents).statistic.reference
    assert 99 < reference < 100, "the mean of all 30, the far one among them"
    assert u.outside_l2([D("75.0")], D(100)) == 0 and u.outside_l2([D("74.9999999")], D(100)) == 1
    assert u.outside_l2([D("125.0")], D(100)) == 0 and u.outside_l2([D("125.0000001")], D(100)) == 1


def test_stages_at_a_target_above_101_5() -> None:
    contents = spread(10, "104", "1")
    assert u.stage_of(contents, D(105)).statistic.value < u.stage_of(contents).statistic.value
    assert u.stage_of([D(105)] * 10, D(105)).statistic.value == 0


@pytest.mark.parametrize("n", [9, 11, 20, 29, 31])
def test_there_is_no_stage_of_another_size(n: int) -> None:
    with pytest.raises(ValueError, match="10 or 30"):
        u.stage_of([D(100)] * n)


def test_mass_variation_takes_a_composite_assay_of_these_very_units() -> None:
    masses = {f"R1/{n:03d}": D(mass) for n, mass in enumerate(MASSES, 1)}
    stage = u.mass_variation_stage(masses, CompositeAssay(frozenset(masses), D("99.2"), "COA-9"))
    assert round(stage.statistic.value, 8) == D("1.49816576") and stage.outcome is StageOutcome.MET
    for others in (frozenset(), frozenset(list(masses)[1:]), frozenset({*masses, "R1/011"}), frozenset({"ink lot CYC-0426"})):
        with pytest.raises(ValueError, match="is not of these units"):
            u.mass_variation_stage(masses, CompositeAssay(others, D("99.2"), "COA-9"))


@pytest.mark.parametrize(
    ("active", "mass", "validated", "certificate", "route"),
    [
        ("25", "100", None, None, Route.AMOUNT_AND_SHARE),
        ("24.99", "50", None, None, Route.NOT_APPLICABLE),
        ("25", "100.1", None, None, Route.NOT_APPLICABLE),
        ("18.5", "467.17", "2", None, Route.VALIDATED_CONCENTRATION),
        ("18.5", "467.17", "2.01", None, Route.NOT_APPLICABLE),
        ("18.5", "467.17", None, "0.5", Route.NOT_APPLICABLE),
        (None, None, None, None, Route.NOT_APPLICABLE),
        (None, None, "1.5", None, Route.VALIDATED_CONCENTRATION),
    ],
)
def test_applicability(active: str | None, mass: str | None, validated: str | None, certificate: str | None, route: Route) -> None:
    found = decide(*(None if figure is None else D(figure) for figure in (active, mass, validated, certificate)))
    assert found.route is route
    assert ("no substitute" in found.text) is (certificate is not None)
    assert ("not applicable" in found.text) is (route is Route.NOT_APPLICABLE)


def test_a_batch_of_ten_by_amount_and_share_would_comply() -> None:
    basis = Basis("tablet", active_mg=D(50), unit_mass_mg=D(100))
    claim = evaluate(spread(10, "100", "1"), [D(100)] * 10, basis).claim
    assert "would comply if tested, on the mass of every unit" in claim and "25 mg and 25 %" in claim and "real-time" not in claim
    claim = evaluate(spread(10, "100", "1"), [D(100)] * 10, replace(basis, real_time=True)).claim
    assert "would comply if tested, by real-time release on mass" in claim


def test_thirty_units_with_one_far_out_are_not_within() -> None:
    contents = [*([D(100)] * 29), D("126.1")]
    result = evaluate(contents, contents, Basis("tablet", validated_rsd=D(1)))
    assert result.statistic is not None and result.statistic.within_l1
    assert result.within is False and result.outside_l2 == 1 and "would not comply" in result.claim


# --- 2.9.47 ---


@pytest.mark.parametrize(("n", "k", "c2"), [(385, "2.23", 3), (400, "2.23", 3), (450, "2.24", 3), (500, "2.24", 4)])
def test_rows_of_the_published_examples(n: int, k: str, c2: int) -> None:
    row = large.row_for(n)
    assert (row.k, row.c2) == (D(k), c2)


@pytest.mark.parametrize("n", [100, 384, 401, 451, 489, 501, 10_000])
def test_a_row_that_is_not_held_is_never_guessed(n: int) -> None:
    with pytest.raises(ValueError, match="not held"):
        large.row_for(n)
    with pytest.raises(ValueError, match="100 units and more"):
        large.row_for(99)


TABLE = "n,k,c1,c2\n100,2.15,3,0\n120,2.16,4,0\n200,2.19,7,1\n"
"""Made up beyond its first row: the form of the chapter's table, not its figures."""


def test_both_alternatives_with_a_table_of_the_site() -> None:
    table = large.read_table(TABLE)
    assert [(row.first, row.last) for row in table] == [(100, 119), (120, 199), (200, None)]
    good = spread(100, "100", "5")
    assert large.parametric(good, table=table).met and large.counting(good, table=table).met
    far = [*([D(100)] * 199), D("126")]
    assert large.parametric(far, table=table).outside_l2 == 1 and large.parametric(far, table=table).met
    assert not large.parametric([*far[:-2], D(126), D(126)], table=table).met
    three = [*([D(100)] * 97), *([D("115.1")] * 3)]
    assert large.counting(three, table=table).met and not large.counting([*three[1:], D("84.9")], table=table).met
    with pytest.raises(ValueError, match="c1"):
        large.counting(spread(400, "100", "1"))


@pytest.mark.parametrize(
    "text", ["n,k,c1,c2\n", "n,k,c1,c2\n120,2.1,3,0\n", TABLE + "150,2.2,8,1\n", TABLE + "300,2.1,9,1\n", TABLE + "x,y,z,0\n"]
)
def test_a_table_that_cannot_be_the_chapters_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="table"):
        large.read_table(text)


def test_large_batches_say_would_and_only_where_the_row_is_held() -> None:
    basis = Basis("tablet", validated_rsd=D(1))
    assert "would be met if tested" in evaluate(spread(400, "100", "2"), spread(400, "100", "2"), basis).claim
    assert "not held" in evaluate(spread(100, "100", "2"), spread(100, "100", "2"), basis).claim
    assert "not applicable" in evaluate(spread(400, "100", "2"), spread(400, "100", "2"), Basis("tablet")).claim


# --- very small batches ---

PRIOR = Prior(D(100), D("1.5"), 11, D("0.8"), "12 batches of cyclophosphamide@1")


def test_predictive_is_the_conjugate_one_and_scipys() -> None:
    """Normal-inverse-χ² by hand: prior (100, 1.5, ν 11, κ 0.8), contents 98.4 and 99.2."""
    found = predict([D("98.4"), D("99.2")], PRIOR, D("0.5"))
    weight, degrees = 2.8, 13
    centre = (0.8 * 100 + 2 * 98.8) / weight
    variance = (11 * 1.5**2 + 0.32 + 0.8 * 2 / weight * 1.2**2) / degrees
    scale = (variance * (1 + 1 / weight)) ** 0.5
    assert float(found.centre) == pytest.approx(centre, rel=1e-12) and float(found.scale) == pytest.approx(scale, rel=1e-12)
    margin = 0.005 * centre
    law = stats.t(degrees, centre, scale)
    assert float(found.probability) == pytest.approx(law.cdf(115 - margin) - law.cdf(85 + margin), abs=1e-12)
    surprise = 2 * stats.t.sf(1.2 / (1.5 * (1 / 0.8 + 1 / 2) ** 0.5), 11)
    assert float(found.surprise) == pytest.approx(surprise, abs=1e-12)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.decimals("80", "120", places=2), min_size=1, max_size=9), st.integers(1, 60), st.decimals("0.1", "20", places=1))
def test_predictive_equals_scipy(contents: list[D], degrees: int, weight: D) -> None:
    found = predict(contents, Prior(D("99.5"), D("2"), degrees, weight, "history"))
    law = stats.t(found.degrees, float(found.centre), float(found.scale))
    assert float(found.probability) == pytest.approx(law.cdf(115) - law.cdf(85), abs=1e-10)
    assert found.degrees == degrees + len(contents) and 0 <= found.probability <= 1


def test_a_batch_that_contradicts_its_history_is_not_saved_by_it() -> None:
    found = predict([D("88")], PRIOR)
    assert found.contradicted and not found.within and "contradicts" in found.text
    result = evaluate([D("88")], [D(400)], Basis("tablet", assay_expanded_percent=D("0.5"), prior=PRIOR))
    assert result.within is False, "within 85-115 as a single content, yet not what this process makes"
    assert evaluate([D("88")], [D(400)], Basis("tablet")).within is True


def test_small_batches_with_a_prior_say_what_they_rest_on() -> None:
    basis = Basis("tablet", validated_rsd=D(1), assay_expanded_percent=D("0.5"), prior=PRIOR)
    for n in (1, 2, 3, 9):
        result = evaluate(spread(n, "99.8", "0.6"), [D(400)] * n, basis)
        assert result.within is True and result.predictive is not None
        assert "12 batches of cyclophosphamide@1" in result.claim and "not a 2.9.40 test" in result.claim and "comply" not in result.claim
    assert evaluate(spread(10, "100", "1"), [D(400)] * 10, basis).predictive is None
    assert evaluate([], [], basis).predictive is None
    unknown = Basis("tablet", prior=PRIOR)
    assert evaluate([D(100)], [D(400)], unknown).predictive is None, "without the assay's uncertainty nothing is predicted"


def test_a_wide_assay_leaves_nothing_to_predict() -> None:
    assert predict([D(100)], PRIOR, D(20)).probability == 0


def test_a_prior_from_history_is_wider_than_what_it_was_made_of() -> None:
    batches = [spread(n, centre, "1") for n, centre in ((10, "99"), (14, "100"), (10, "101"), (12, "100.5"), (8, "99.5"))]
    prior = prior_from_history(batches, "five batches")
    within = (sum((len(b) - 1) * u.standard_deviation(b) ** 2 for b in batches) / sum(len(b) - 1 for b in batches)).sqrt()
    between = u.standard_deviation([u.mean(batch) for batch in batches])
    assert prior.mean == 100 and prior.degrees == 4 and within <= prior.sd < within + D("0.001")
    assert prior.sd**2 / prior.weight >= between**2
    same = prior_from_history([spread(4, "100", "1")] * 5, "equal batches")
    assert same.weight == 100
    for few in (batches[:4], [*batches[:4], [D(1)]]):
        with pytest.raises(ValueError, match="5 batches"):
            prior_from_history(few, "x")
    with pytest.raises(ValueError, match="do not differ"):
        prior_from_history([[D(100), D(100)]] * 5, "x")


@pytest.mark.parametrize("wrong", [{"sd": D(0)}, {"weight": D(0)}, {"degrees": 0}, {"history": " "}])
def test_what_is_no_prior_is_refused(wrong: dict[str, object]) -> None:
    fields: dict[str, object] = {"mean": D(100), "sd": D(1), "degrees": 5, "weight": D(1), "history": "x", **wrong}
    with pytest.raises(ValueError, match="prior needs"):
        Prior(**fields)  # type: ignore[arg-type]
