"""Exact normal tolerance factors, one-sided (noncentral t) and two-sided; pure.

Computed in binary floating point by integration over the mean, and rounded to four decimals before they are used. Source: exact factors
after Odeh and Owen, Tables for Normal Tolerance Limits (1980).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache


@lru_cache(maxsize=256)
def two_sided_factor(n: int, content: float = 0.95, confidence: float = 0.95) -> Decimal:
    """Return the exact two-sided tolerance factor k, four decimals: mean ± k·s holds `content` with `confidence`.

    k solves P(χ²(n−1) ≥ (n−1)·r(x̄)²/k²) = confidence over the distribution of the mean, where r is the half-width about
    x̄ that holds `content`. Raises ValueError for n < 2.
    """
    if n < 2:
        raise ValueError("a tolerance factor needs n of at least 2")
    root_n = math.sqrt(n)
    nodes = _simpson(0.0, 9.0, 180)
    weighted = [(2 * weight * _density(z), _half_width(z / root_n, content)) for z, weight in nodes]
    return _solve(n, weighted, confidence)


@lru_cache(maxsize=256)
def one_sided_factor(n: int, content: float = 0.95, confidence: float = 0.95) -> Decimal:
    """Return the exact one-sided tolerance factor k, four decimals (the noncentral t quantile over √n). n ≥ 2."""
    if n < 2:
        raise ValueError("a tolerance factor needs n of at least 2")
    quantile = _normal_quantile(content)
    # The half-width is zero beyond this mean, and the integrand has a corner there: the two parts are integrated apart.
    corner = quantile * math.sqrt(n)
    nodes = _simpson(-9.0, min(corner, 9.0), 720) + (_simpson(corner, 9.0, 360) if corner < 9.0 else [])
    weighted = [(weight * _density(z), max(quantile - z / math.sqrt(n), 0.0)) for z, weight in nodes]
    return _solve(n, weighted, confidence)


def _solve(n: int, weighted: Sequence[tuple[float, float]], confidence: float) -> Decimal:
    degrees = n - 1

    def coverage(k: float) -> float:
        return math.fsum(weight * _chi_square_tail(degrees * (half / k) ** 2, degrees) for weight, half in weighted)

    k = _bisect(lambda trial: coverage(trial) - confidence, 0.1, 500.0, 1e-7)
    return Decimal(repr(k)).quantize(Decimal("0.0001"), rounding=ROUND_HALF_UP)


def _bisect(function: Callable[[float], float], low: float, high: float, precision: float = 1e-11) -> float:
    for _ in range(60):
        middle = (low + high) / 2
        if high - low < precision:
            break
        low, high = (middle, high) if function(middle) < 0 else (low, middle)
    return (low + high) / 2


def _simpson(low: float, high: float, intervals: int) -> list[tuple[float, float]]:
    step = (high - low) / intervals
    weights = [1.0 if i in (0, intervals) else 4.0 if i % 2 else 2.0 for i in range(intervals + 1)]
    return [(low + i * step, weight * step / 3) for i, weight in enumerate(weights)]


def _density(z: float) -> float:
    return math.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def _cumulative(z: float) -> float:
    return math.erfc(-z / math.sqrt(2)) / 2


def _normal_quantile(probability: float) -> float:
    return _bisect(lambda z: _cumulative(z) - probability, -10.0, 10.0)


def _half_width(centre: float, content: float) -> float:
    return _bisect(lambda half: _cumulative(centre + half) - _cumulative(centre - half) - content, 0.0, 30.0)


def _chi_square_tail(x: float, degrees: int) -> float:
    """Return P(χ² ≥ x) for whole degrees of freedom, by the finite series."""
    if x <= 0:
        return 1.0
    half = x / 2
    if degrees % 2:
        total, exponent = math.erfc(math.sqrt(half)), 0.5
    else:
        total, exponent = 0.0, 0.0
    while exponent < degrees / 2 - 0.25:
        total += math.exp(exponent * math.log(half) - half - math.lgamma(exponent + 1))
        exponent += 1
    return min(total, 1.0)
