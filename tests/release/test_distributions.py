"""The exact distributions against SciPy, published tables and their own identities; every distribution that release rests on is here."""

from __future__ import annotations

from decimal import Decimal as D

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from audit.release import distributions as d
from audit.release.tolerance import one_sided_factor, two_sided_factor

DEGREES = st.integers(1, 400)


@settings(deadline=None, max_examples=150)
@given(st.decimals("-60", "60", places=4), DEGREES)
def test_student_t_equals_scipy(t: D, degrees: int) -> None:
    assert float(d.student_t_below(t, degrees)) == pytest.approx(stats.t.cdf(float(t), degrees), abs=1e-13)


@settings(deadline=None, max_examples=150)
@given(st.decimals("0", "600", places=4), DEGREES)
def test_chi_square_equals_scipy(x: D, degrees: int) -> None:
    assert float(d.chi_square_below(x, degrees)) == pytest.approx(stats.chi2.cdf(float(x), degrees), abs=1e-12)


@settings(deadline=None, max_examples=100)
@given(st.decimals("-8", "8", places=4))
def test_normal_equals_scipy(z: D) -> None:
    assert float(d.normal_below(z)) == pytest.approx(stats.norm.cdf(float(z)), abs=1e-14)


@settings(deadline=None, max_examples=25)
@given(st.decimals("0.001", "0.999", places=3), st.integers(1, 120))
def test_quantiles_equal_scipy(probability: D, degrees: int) -> None:
    p = float(probability)
    assert float(d.chi_square_quantile(probability, degrees)) == pytest.approx(stats.chi2.ppf(p, degrees), rel=1e-9, abs=1e-11)
    assert float(d.normal_quantile(probability)) == pytest.approx(stats.norm.ppf(p), abs=1e-11)


@pytest.mark.parametrize(
    ("degrees", "t"),
    [(1, "12.706204736175"), (2, "4.302652729749"), (5, "2.570581835636"), (10, "2.228138851986"), (30, "2.042272456301")],
)
def test_student_t_of_the_tables(degrees: int, t: str) -> None:
    assert abs(d.student_t_below(D(t), degrees) - D("0.975")) < D("1e-12")


@pytest.mark.parametrize(
    ("degrees", "x"), [(1, "3.841458820694"), (9, "16.918977604620"), (10, "18.307038053275"), (30, "43.772971825742")]
)
def test_chi_square_of_the_tables(degrees: int, x: str) -> None:
    assert d.chi_square_quantile(D("0.95"), degrees) == D(x)


@given(st.decimals("-30", "30", places=3), st.integers(1, 60))
def test_both_sides_of_student_t_make_one(t: D, degrees: int) -> None:
    assert abs(d.student_t_below(t, degrees) + d.student_t_below(-t, degrees) - 1) < D("1e-26")


def test_refusals() -> None:
    for degrees in (0, d.LARGEST_DEGREES + 1):
        with pytest.raises(ValueError, match="degrees"):
            d.student_t_below(D(1), degrees)
    with pytest.raises(ValueError, match="at least 0"):
        d.student_t_between(D(-1), 3)
    with pytest.raises(ValueError, match="between 0 and 1"):
        d.normal_quantile(D(1))


@pytest.mark.parametrize("n", [2, 3, 5, 9, 10, 14, 28, 30, 60, 100])
@pytest.mark.parametrize(("content", "confidence"), [(0.95, 0.95), (0.99, 0.95), (0.9375, 0.95)])
def test_one_sided_factor_is_the_noncentral_t_of_scipy(n: int, content: float, confidence: float) -> None:
    root = n**0.5
    exact = stats.nct.ppf(confidence, n - 1, stats.norm.ppf(content) * root) / root
    assert float(one_sided_factor(n, content, confidence)) == pytest.approx(exact, abs=6e-5)


@pytest.mark.parametrize("n", [3, 5, 9, 14, 28, 30])
def test_two_sided_factor_covers_as_scipy_integrates_it(n: int) -> None:
    def at(k: float) -> float:
        def density(mean: float) -> float:
            half = _half(mean)
            return float(stats.norm.pdf(mean, scale=n**-0.5) * stats.chi2.sf((n - 1) * half**2 / k**2, n - 1))

        return float(2 * integrate.quad(density, 0, 9 * n**-0.5, limit=200)[0])

    k = float(two_sided_factor(n))
    assert at(k - 6e-5) < 0.95 < at(k + 6e-5)


def _half(mean: float) -> float:
    """Half-width about `mean` that holds 95 % of a standard normal distribution: the square root of a noncentral χ² quantile."""
    return float(stats.ncx2.ppf(0.95, 1, mean**2) ** 0.5) if mean else float(stats.norm.ppf(0.975))
