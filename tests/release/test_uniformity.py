"""Uniformity statistics against published and independently computed values."""

from __future__ import annotations

from decimal import Decimal as D

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.release import claims
from audit.release import uniformity as u
from audit.release.claims import Basis, Uniformity
from audit.release.tolerance import one_sided_factor, two_sided_factor

DATA_A = [D(x) for x in ["98.2", "99.1", "100.3", "99.8", "101.2", "99.5", "100.1", "98.9", "99.7", "100.0"]]
DATA_B = [D(x) for x in ["95.2", "96.8", "94.9", "97.1", "96.0", "95.5", "98.0", "96.4", "95.9", "97.2"]]
FILLS = [D(x) for x in ["467.2", "470.1", "465.8", "468.4", "463.9", "469.3", "466.0", "467.7", "471.2", "464.5"]]


def close(value: D, text: str) -> bool:
    return round(value, len(text.partition(".")[2])) == D(text)


@pytest.mark.parametrize(
    ("data", "mean", "sd", "reference", "av"),
    [(DATA_A, "99.68", "0.827042925", "99.68", "1.98490302"), (DATA_B, "96.3", "0.980929265", "98.5", "4.55423024")],
)
def test_acceptance_value_of_published_data(data: list[D], mean: str, sd: str, reference: str, av: str) -> None:
    statistic = u.acceptance_value(data)
    assert close(statistic.mean, mean) and close(statistic.sd, sd) and close(statistic.reference, reference) and close(statistic.value, av)


@pytest.mark.parametrize(
    ("content", "av", "passes"),
    [("98.5", "0", True), ("98.4", "0.1", True), ("83.5", "15.0", True), ("116.5", "15.0", True), ("83.4", "15.1", False)],
)
def test_edges_of_l1(content: str, av: str, passes: bool) -> None:
    statistic = u.acceptance_value([D(content)] * 10)
    assert statistic.value == D(av) and statistic.within_l1 is passes


def test_rounding_happens_once_at_the_end() -> None:
    assert u.acceptance_value([D("83.46")] * 10).within_l1  # 15.04 reads 15.0
    assert not u.acceptance_value([D("83.44")] * 10).within_l1


def test_target_above_101_5_widens_the_reference() -> None:
    assert u.reference_value(D(103), D(105)) == 103
    assert u.reference_value(D(106), D(105)) == 105
    assert u.reference_value(D(97), D(105)) == D("98.5")
    assert u.reference_value(D(103)) == D("101.5")


def test_mass_variation_and_why_it_is_not_used() -> None:
    masses = [D(x) for x in ["248.1", "251.3", "249.7", "252.0", "247.5", "250.4", "249.0", "251.8", "250.9", "248.8"]]
    assert u.mean(masses) == D("249.95")
    contents = u.mass_variation(masses, D("99.2"))
    assert close(contents[0], "98.46577")
    statistic = u.acceptance_value(contents)
    assert close(statistic.sd, "0.624235734") and close(statistic.value, "1.49816576")
    light = [mass * D("0.92") for mass in masses]
    assert close(u.mean(u.mass_variation(light, D("99.2"))), "99.2000000")


def test_content_by_mass_shows_a_light_batch() -> None:
    contents = [u.content_by_mass(mass, D("39.6"), D("18.5")) for mass in FILLS]
    statistic = u.acceptance_value(contents)
    assert close(statistic.mean, "100.051005405") and close(statistic.sd, "0.512782460") and close(statistic.value, "1.230677904")
    light = u.acceptance_value([u.content_by_mass(mass * D("0.92"), D("39.6"), D("18.5")) for mass in FILLS])
    assert close(light.mean, "92.046924973") and light.reference == D("98.5") and close(light.value, "7.585298699")


TWO_SIDED = {
    2: "36.5192",
    3: "9.7888",
    4: "6.3411",
    5: "5.0769",
    6: "4.4222",
    7: "4.0196",
    8: "3.7455",
    9: "3.5459",
    10: "3.3934",
    15: "2.9649",
    20: "2.7603",
    28: "2.5846",
    30: "2.5549",
}
ONE_SIDED = {2: "26.2597", 3: "7.6559", 4: "5.1439", 5: "4.2027", 10: "2.9110", 20: "2.3960", 28: "2.2458", 30: "2.2198"}


@pytest.mark.parametrize("n", TWO_SIDED)
def test_two_sided_factor(n: int) -> None:
    assert two_sided_factor(n) == D(TWO_SIDED[n])


@pytest.mark.parametrize("n", ONE_SIDED)
def test_one_sided_factor(n: int) -> None:
    assert one_sided_factor(n) == D(ONE_SIDED[n])


def test_factors_at_other_contents_and_confidences() -> None:
    assert two_sided_factor(10, 0.99, 0.95) == D("4.4369")
    assert two_sided_factor(43, 0.90, 0.99) == D("2.2228")
    assert one_sided_factor(43, 0.90, 0.99) == D("1.8740")
    assert one_sided_factor(3, 0.90, 0.95) == D("6.1553")


@pytest.mark.parametrize(
    ("form", "mean", "limit"),
    [
        ("tablet", "80", "10"),
        ("tablet", "80.01", "7.5"),
        ("tablet", "249.9", "7.5"),
        ("tablet", "250", "5"),
        ("capsule", "299.9", "10"),
        ("capsule", "300", "7.5"),
    ],
)
def test_limits_of_2_9_5(form: u.DosageForm, mean: str, limit: str) -> None:
    assert u.mass_limit_percent(form, D(mean)) == D(limit)


def test_2_9_5_counts_outside_and_outside_twice() -> None:
    base = [D(400)] * 18
    two_out = u.uniformity_of_mass([*base, D(375), D(425)], "tablet")
    assert (two_out.outside, two_out.outside_twice, two_out.met) == (2, 0, True)
    three_out = u.uniformity_of_mass([*base[:-1], D(375), D(425), D(424)], "tablet")
    assert (three_out.outside, three_out.met) == (3, False)
    far_out = u.uniformity_of_mass([*base, D(400), D(350)], "tablet")
    assert (far_out.outside, far_out.outside_twice, far_out.met) == (1, 1, False)
    with pytest.raises(ValueError, match="not claimed"):
        u.uniformity_of_mass(base, "tablet")


def test_capability_oracle() -> None:
    low, high = D("32.36") * D("0.9"), D("32.36") * D("1.1")
    values = [u.capability(D(m), D(s), low, high) for m, s in (("32.94", "0.41"), ("32.52", "0.75"), ("31.62", "0.58"))]
    assert [str(round(value, 2)) for value in values] == ["2.16", "1.37", "1.43"]


def evaluate(n: int, rsd: str | None = None, value: str = "100") -> Uniformity:
    contents = [D(value) + D(i % 3 - 1) / 2 for i in range(n)]
    return claims.evaluate(contents, [content * 4 for content in contents], Basis("tablet", validated_rsd=D(rsd) if rsd else None))


@pytest.mark.parametrize("n", [*range(1, 10), *range(11, 30), 31, 40])
def test_other_n_is_never_called_a_2_9_40_test(n: int) -> None:
    result = evaluate(n, "1.5")
    assert "not a 2.9.40 test" in result.claim and "comply" not in result.claim


@pytest.mark.parametrize("n", [10, 30])
def test_words_for_10_and_30(n: int) -> None:
    assert "would comply if tested, on the mass of every unit" in evaluate(n, "1.5").claim
    assert "would not comply" in evaluate(n, "1.5", "80").claim
    for rsd in (None, "2.1"):
        assert "not applicable" in evaluate(n, rsd).claim and "comply" not in evaluate(n, rsd).claim


@settings(deadline=None)
@given(st.integers(0, 45), st.sampled_from([None, "1", "2", "3"]), st.sampled_from(["100", "70", "92"]))
def test_no_claim_ever_says_complies(n: int, rsd: str | None, value: str) -> None:
    result = evaluate(n, rsd, value)
    assert "complies" not in result.claim and "complies" not in result.mass_claim
    assert ("not claimed" in result.mass_claim) is (n < 20)
    assert (result.statistic is None) is (n < 3)


def test_below_three_units_only_the_values() -> None:
    result = evaluate(2)
    assert result.statistic is None and result.sd is not None and result.within is True
    assert evaluate(1).sd is None and evaluate(0).mean is None and evaluate(0).within is None
    assert evaluate(1, None, "80").within is False


def test_more_than_20_units_say_so() -> None:
    assert "all 28 units" in evaluate(28).mass_claim and "all" not in evaluate(20).mass_claim


@settings(deadline=None)
@given(st.lists(st.decimals("50", "150", places=3), min_size=3, max_size=30))
def test_statistic_does_not_depend_on_order_and_bounds_the_bias(contents: list[D]) -> None:
    one, two = u.tolerance_statistic(contents), u.tolerance_statistic(sorted(contents))
    assert abs(one.value - two.value) < D("1e-20")
    assert one.value >= abs(one.reference - one.mean)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="10 or 30"):
        u.acceptance_value([D(100)] * 9)
    with pytest.raises(ValueError, match="three"):
        u.tolerance_statistic([D(100)] * 2)
    with pytest.raises(ValueError, match="above zero"):
        u.content_by_mass(D(1), D(0), D(1))
    with pytest.raises(ValueError, match="no values"):
        u.mean([])
    with pytest.raises(ValueError, match="two values"):
        u.standard_deviation([D(1)])
    with pytest.raises(ValueError, match="one content"):
        claims.evaluate([D(1)], [], Basis("tablet"))
    for factor in (two_sided_factor, one_sided_factor):
        with pytest.raises(ValueError, match="at least 2"):
            factor(1)
