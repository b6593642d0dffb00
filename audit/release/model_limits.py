"""Limits of a model's domain: Hotelling's T² after the F distribution, the Q residual after Jackson and Mudholkar; pure, exact decimals.

Sources: Abramowitz and Stegun 26.5.4 (incomplete beta function as a series of positive terms), 6.1.12; MacGregor and Kourti, Control
Eng. Practice 3 (1995) 403 (T² of a new observation); Jackson and Mudholkar, Technometrics 21 (1979) 341 (Q).
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, InvalidOperation, Overflow
from functools import lru_cache

from audit.quantities import EXACT
from audit.release.distributions import normal_quantile

_WORK = Context(prec=50, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero, Overflow])
_PI = Decimal("3.1415926535897932384626433832795028841971693993751")
_ONE, _TWO, _HALF = Decimal(1), Decimal(2), Decimal("0.5")
_NEGLIGIBLE = Decimal("1e-40")
_STEPS = 120
_DIGITS = Decimal("1e-12")


def f_below(f: Decimal, first: int, second: int) -> Decimal:
    """Return P(F ≤ f) for whole degrees of freedom of numerator and denominator. Raises ValueError for degrees below 1."""
    if min(first, second) < 1:
        raise ValueError(f"degrees of freedom of at least 1, not {first} and {second}")
    if f <= 0:
        return Decimal(0)
    scaled = _WORK.multiply(Decimal(first), f)
    return EXACT.plus(_beta_share(_WORK.divide(scaled, _WORK.add(scaled, Decimal(second))), first, second))


@lru_cache(maxsize=256)
def f_quantile(probability: Decimal, first: int, second: int) -> Decimal:
    """Return f with P(F ≤ f) = probability, to twelve decimals; 0 < probability < 1."""
    if not 0 < probability < 1:
        raise ValueError("a quantile is asked for a probability between 0 and 1")
    low, high = Decimal(0), _ONE
    while f_below(high, first, second) < probability:
        high = _WORK.multiply(high, _TWO)
    for _ in range(_STEPS):
        if _WORK.subtract(high, low) < _DIGITS / 10:
            break
        middle = _WORK.divide(_WORK.add(low, high), _TWO)
        low, high = (middle, high) if f_below(middle, first, second) < probability else (low, middle)
    return _WORK.divide(_WORK.add(low, high), _TWO).quantize(_DIGITS)


def t2_limit(components: int, samples: int, confidence: Decimal) -> Decimal:
    """Return the limit of Hotelling's T² of a new observation: A(n² − 1)/(n(n − A))·F(A, n − A)."""
    a, n = components, samples
    factor = EXACT.divide(Decimal(a * (n * n - 1)), Decimal(n * (n - a)))
    return EXACT.multiply(factor, f_quantile(confidence, a, n - a))


def q_limit(theta: Sequence[Decimal], confidence: Decimal) -> Decimal:
    """Return the limit of Q = ‖e‖²; `theta`: the sums of the residuals' eigenvalues, of their squares and of their cubes.

    θ₁·[1 − θ₂h₀(1 − h₀)/θ₁² + z√(2θ₂h₀²)/θ₁]^(1/h₀), h₀ = 1 − 2θ₁θ₃/3θ₂². Raises ValueError where the approximation has no value.
    """
    one, two, three = theta
    if min(one, two) <= 0:
        raise ValueError("the sums of the residuals' eigenvalues are not positive")
    h = EXACT.subtract(
        _ONE, EXACT.divide(EXACT.multiply(EXACT.multiply(_TWO, one), three), EXACT.multiply(Decimal(3), EXACT.power(two, 2)))
    )
    if h <= 0:
        raise ValueError("the residuals' eigenvalues have no limit of Q in this approximation")
    z = normal_quantile(confidence)
    spread = EXACT.divide(EXACT.multiply(z, EXACT.sqrt(EXACT.multiply(EXACT.multiply(_TWO, two), EXACT.power(h, 2)))), one)
    shift = EXACT.divide(EXACT.multiply(EXACT.multiply(two, h), EXACT.subtract(_ONE, h)), EXACT.power(one, 2))
    base = EXACT.add(EXACT.subtract(_ONE, shift), spread)
    if base <= 0:
        raise ValueError("the residuals' eigenvalues have no limit of Q in this approximation")
    return EXACT.multiply(one, EXACT.exp(EXACT.divide(EXACT.ln(base), h)))


def _beta_share(x: Decimal, first: int, second: int) -> Decimal:
    """Return the regularised incomplete beta function I_x(first/2, second/2), from the side on which its series is short."""
    if _WORK.multiply(x, Decimal(first + second + 4)) > Decimal(first + 2):
        return _WORK.subtract(_ONE, _beta_series(_WORK.subtract(_ONE, x), second, first))
    return _beta_series(x, first, second)


def _beta_series(x: Decimal, first: int, second: int) -> Decimal:
    if x <= 0:
        return Decimal(0)
    a, b = _WORK.divide(Decimal(first), _TWO), _WORK.divide(Decimal(second), _TWO)
    top = _WORK.multiply(_half_power(x, first), _half_power(_WORK.subtract(_ONE, x), second))
    beta = _WORK.divide(_WORK.multiply(_gamma(first), _gamma(second)), _gamma(first + second))
    term, total, k = _ONE, _ONE, Decimal(0)
    while term > _WORK.multiply(total, _NEGLIGIBLE):
        # Σ (a + b)ₖ/(a + 1)ₖ·xᵏ
        term = _WORK.multiply(term, _WORK.multiply(x, _WORK.divide(a + b + k, a + _ONE + k)))
        total, k = _WORK.add(total, term), k + _ONE
    return _WORK.divide(_WORK.multiply(top, total), _WORK.multiply(a, beta))


def _half_power(x: Decimal, halves: int) -> Decimal:
    """Return x to the power halves/2."""
    whole = _WORK.power(x, Decimal(halves // 2))
    return _WORK.multiply(whole, _WORK.sqrt(x)) if halves % 2 else whole


@lru_cache(maxsize=1024)
def _gamma(halves: int) -> Decimal:
    """Return Γ(halves/2)."""
    value, at = (_ONE, 2) if halves % 2 == 0 else (_WORK.sqrt(_PI), 1)
    while at < halves:
        value = _WORK.multiply(value, _WORK.divide(Decimal(at), _TWO))
        at += 2
    return value
