"""Charts and indices against the worked examples of the NIST/SEMATECH handbook, the published capability case, and SciPy."""

from __future__ import annotations

from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from audit.release import trends as t
from audit.release.trends import Rule


def numbers(text: str) -> list[D]:
    return [D(part) for part in text.split()]


FLOW = numbers("49.6 47.6 49.9 51.3 47.8 51.2 52.6 52.4 53.6 52.1")
EWMA = numbers("52.0 47.0 53.0 49.3 50.1 47.0 51.0 50.1 51.2 50.5 49.6 47.6 49.9 51.3 47.8 51.2 52.6 52.4 53.6 52.1")
CUSUM = numbers(
    "324.925 324.675 324.725 324.350 325.350 325.225 324.125 324.525 325.225 324.600 "
    "324.625 325.150 328.325 327.250 327.825 328.500 326.675 327.775 326.875 328.350"
)


def test_individuals_chart_of_nist_6_3_2_2() -> None:
    chart = t.individuals(FLOW)
    assert chart.centre == D("50.81")
    assert (round(chart.upper[0], 4), round(chart.lower[0], 4)) == (D("55.8041"), D("45.8159")) and chart.outside == ()


def test_ewma_of_nist_6_3_2_4() -> None:
    chart = t.ewma(EWMA, D(50), D("2.0539"), weight=D("0.3"), steady=True)
    shown = "50.60 49.52 50.56 50.18 50.16 49.21 49.75 49.85 50.26 50.33 50.11 49.36 49.52 50.05 49.38 49.92 50.73 51.23 51.94 51.99"
    assert [round(value, 2) for value in chart.values] == numbers(shown)
    assert abs(chart.upper[0] - D("52.5884")) < D("0.001") and abs(chart.lower[0] - D("47.4115")) < D("0.001") and chart.outside == ()


def test_exact_limits_of_an_ewma_grow_to_those_of_the_long_run() -> None:
    chart, steady = (t.ewma(EWMA, D(50), D(2), weight=D("0.3"), steady=flag) for flag in (False, True))
    assert chart.upper[0] == D(50) + 3 * D(2) * D("0.3"), "of one value: λ·3σ"
    assert list(chart.upper) == sorted(chart.upper) and steady.upper[0] - chart.upper[-1] < D("1e-5")
    assert t.ewma(EWMA, D(50), D(2), weight=D(1)).values == tuple(EWMA)


def test_cusum_of_nist_6_3_2_3() -> None:
    found = t.cusum(CUSUM, D(325), slack=D("0.3175"), decision=D("4.1959"))
    high = "0 0 0 0 0.03 0 0 0 0 0 0 0 3.01 4.94 7.45 10.63 11.99 14.44 16.00 19.04"
    low = "0 0.01 0 0.33 0 0 0.56 0.72 0.17 0.25 0.31 0 0 0 0 0 0 0 0 0"
    assert all(abs(value - D(text)) <= D("0.011") for value, text in zip(found.high, high.split(), strict=True))
    assert all(abs(value - D(text)) <= D("0.011") for value, text in zip(found.low, low.split(), strict=True))
    assert found.outside == (13, 14, 15, 16, 17, 18, 19), "the 14th group is the first out of control"


def test_capability_of_nist_6_1_6() -> None:
    """USL 20, LSL 8, mean 16, s 2: Cp 1.0, Cpk 0.6667."""
    assert t.index_p(D(2), 49, D(8), D(20)).value == 1
    assert round(t.index_pk(D(16), D(2), 50, 49, D(8), D(20)).value, 4) == D("0.6667")


@given(st.integers(2, 200), st.decimals("0.2", "5", places=2))
def test_bounds_of_the_indices_equal_scipys(degrees: int, sd: D) -> None:
    found, n = t.index_p(sd, degrees, D(90), D(110)), degrees + 1
    low, high = (float(found.value) * (stats.chi2.ppf(p, degrees) / degrees) ** 0.5 for p in (0.025, 0.975))
    assert float(found.lower) == pytest.approx(low, rel=1e-9) and float(found.upper) == pytest.approx(high, rel=1e-9)
    pk = t.index_pk(D(99), sd, n, degrees, D(90), D(110))
    width = stats.norm.ppf(0.975) * (1 / (9 * n) + float(pk.value) ** 2 / (2 * degrees)) ** 0.5
    assert float(pk.upper - pk.value) == pytest.approx(width, rel=1e-9) and pk.value <= found.value


MELATONIN = [t.Subgroup(name, 30, D(m), D(s)) for name, m, s in (("1", "32.94", "0.41"), ("2", "32.52", "0.75"), ("3", "31.62", "0.58"))]


def test_a_shift_between_batches_that_each_pass_is_flagged() -> None:
    chart = t.means_chart(MELATONIN)
    assert round(chart.centre, 2) == D("32.36") and chart.outside == (0, 2)
    low, high = D("32.36") * D("0.9"), D("32.36") * D("1.1")
    values = [str(round(t.index_pk(g.mean, g.sd, 30, 29, low, high).value, 2)) for g in MELATONIN]
    assert values == ["2.16", "1.37", "1.43"], "each by itself is capable"


@pytest.mark.parametrize("n", [2, 3, 5, 10, 14, 30, 100])
def test_c4_is_the_ratio_of_gamma_functions(n: int) -> None:
    exact = (2 / (n - 1)) ** 0.5 * special.gamma(n / 2) / special.gamma((n - 1) / 2)
    assert float(t.c4(n)) == pytest.approx(exact, rel=1e-12)


def test_deviations_chart() -> None:
    groups = [t.Subgroup(str(i), 5, D(100), D(sd)) for i, sd in enumerate(("1", "1.1", "0.9", "1", "4"))]
    chart = t.deviations_chart(groups)
    assert chart.outside == (4,) and chart.lower[0] == 0


RULES = {
    Rule.BEYOND_3: ("0 3.01", "0 3 -3"),
    Rule.NINE_ON_A_SIDE: (".1 .4 .2 .5 .1 .3 .2 .6 .1", ".1 .4 .2 .5 0 .3 .2 .6 .1"),
    Rule.SIX_IN_A_LINE: ("-.4 -.3 -.1 .1 .3 .5", "-.4 -.3 -.1 -.1 .3 .5"),
    Rule.FOURTEEN_ALTERNATING: ("0 .2 .1 .4 .3 .5 0 .1 -.1 .2 0 .3 .1 .2", "0 .2 .1 .4 .3 .5 0 .1 .1 .2 0 .3 .1 .2"),
    Rule.TWO_OF_THREE: ("2.1 0 2.2", "2.1 0 -2.2"),
    Rule.FOUR_OF_FIVE: ("1.1 1.2 0 1.3 1.4", "1.1 1.2 0 1.3 1"),
    Rule.FIFTEEN_WITHIN_1: (" ".join([".3 -.2 .1"] * 5), " ".join([".3 -.2 .1"] * 4 + [".3 1 .1"])),
    Rule.EIGHT_OUTSIDE_1: ("1.1 -1.2 1.3 1.1 -1.1 1.2 -1.1 1.2", "1.1 1.2 1.3 1.1 1.1 1.2 1.1 1.2"),
}


@pytest.mark.parametrize("rule", Rule)
def test_each_rule_signals_where_it_is_met_and_not_where_one_value_differs(rule: Rule) -> None:
    met, unmet = (numbers(text) for text in RULES[rule])
    found = [signal for signal in t.nelson(met, D(0), D(1)) if signal.rule is rule]
    assert [signal.index for signal in found] == [len(met) - 1]
    assert not [signal for signal in t.nelson(unmet, D(0), D(1)) if signal.rule is rule]


@given(st.lists(st.decimals("-4", "4", places=2), max_size=40), st.decimals("0.1", "5", places=1), st.decimals("-50", "50", places=1))
def test_rules_depend_on_distances_alone(scaled: list[D], sigma: D, centre: D) -> None:
    mirrored = t.nelson_scaled([-value for value in scaled])
    assert t.nelson_scaled(scaled) == mirrored
    assert t.nelson([centre + value * sigma for value in scaled], centre, sigma) == t.nelson_scaled(scaled)


def test_capability_of_batches() -> None:
    batches = [numbers("99 101 100"), numbers("102 104 103"), numbers("99 98 100")]
    found = t.capability_of(batches, D(85), D(115))
    assert found.cpk.value > found.ppk.value and found.cp.lower < found.cp.value < found.cp.upper
    with pytest.raises(ValueError, match="do not differ"):
        t.capability_of([[D(1), D(1)]], D(0), D(2))


def test_refusals() -> None:
    for refused, match in (
        (lambda: t.individuals([D(1)]), "two values"),
        (lambda: t.c4(1), "two values"),
        (lambda: t.nelson([D(1)], D(0), D(0)), "above zero"),
        (lambda: t.ewma([D(1)], D(0), D(1), weight=D(0)), "weight"),
        (lambda: t.pooled_sd([]), "two units"),
    ):
        with pytest.raises(ValueError, match=match):
            refused()
