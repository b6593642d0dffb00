"""Distributions in exact decimals: normal, chi-square and Student's t with whole degrees of freedom; pure.

Only + − × ÷, square root and the correctly rounded exponential of `decimal` are used, in a context of 50 digits, so that every
platform gives the same digits. Results are rounded once, to 28 digits.

Sources: Abramowitz and Stegun 26.7.3 and 26.7.4 (Student's t in closed form), 6.5.29 (incomplete gamma function as a series of positive
terms), 6.1.12 (gamma function of half-integers).
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, InvalidOperation, Overflow

from audit.quantities import EXACT

_WORK = Context(prec=50, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero, Overflow])
_PI = Decimal("3.1415926535897932384626433832795028841971693993751")
_HALF, _ONE, _TWO = Decimal("0.5"), Decimal(1), Decimal(2)
_NEGLIGIBLE = Decimal("1e-48")
_QUANTILE_STEPS = 110
LARGEST_DEGREES = 20_000
"""The sums are finite but as long as the degrees of freedom: more than this is a mistake, not a batch."""


def student_t_between(t: Decimal, degrees: int) -> Decimal:
    """Return P(|T| ≤ t) for t ≥ 0 and whole degrees of freedom ≥ 1. Raises ValueError outside."""
    _check(degrees)
    if t < 0:
        raise ValueError("P(|T| ≤ t) is asked for t of at least 0")
    n, square = Decimal(degrees), _WORK.multiply(t, t)
    whole = _WORK.add(n, square)
    sine = _WORK.divide(t, _WORK.sqrt(whole))
    cosine_2 = _WORK.divide(n, whole)
    if degrees % 2 == 0:
        return EXACT.plus(_WORK.multiply(sine, _powers(cosine_2, first=2, last=degrees - 2)))
    angle = _arctan(_WORK.divide(t, _WORK.sqrt(n)))
    if degrees > 1:
        odd = _WORK.multiply(_WORK.sqrt(cosine_2), _powers(cosine_2, first=3, last=degrees - 2))
        angle = _WORK.fma(sine, odd, angle)
    return EXACT.plus(_WORK.divide(_WORK.multiply(_TWO, angle), _PI))


def student_t_below(t: Decimal, degrees: int) -> Decimal:
    """Return P(T ≤ t)."""
    half = _WORK.divide(student_t_between(abs(t), degrees), _TWO)
    return EXACT.add(_HALF, half) if t >= 0 else EXACT.subtract(_HALF, half)


def chi_square_below(x: Decimal, degrees: int) -> Decimal:
    """Return P(χ² ≤ x) for whole degrees of freedom ≥ 1."""
    _check(degrees)
    return EXACT.plus(_lower_gamma(degrees, _WORK.divide(x, _TWO))) if x > 0 else Decimal(0)


def normal_below(z: Decimal) -> Decimal:
    """Return P(Z ≤ z) of the standard normal distribution."""
    half = _WORK.divide(_lower_gamma(1, _WORK.divide(_WORK.multiply(z, z), _TWO)), _TWO)
    return EXACT.add(_HALF, half) if z >= 0 else EXACT.subtract(_HALF, half)


def chi_square_quantile(probability: Decimal, degrees: int) -> Decimal:
    """Return x with P(χ² ≤ x) = probability, to twelve decimals; 0 < probability < 1."""
    return _quantile(lambda x: chi_square_below(x, degrees), probability, lowest=Decimal(0))


def normal_quantile(probability: Decimal) -> Decimal:
    """Return z with P(Z ≤ z) = probability, to twelve decimals; 0 < probability < 1."""
    return _quantile(normal_below, probability, lowest=None)


def _check(degrees: int) -> None:
    if not 1 <= degrees <= LARGEST_DEGREES:
        raise ValueError(f"degrees of freedom from 1 to {LARGEST_DEGREES}, not {degrees}")


def _powers(cosine_2: Decimal, *, first: int, last: int) -> Decimal:
    """Return 1 + (first−1)/first·c² + (first−1)(first+1)/(first(first+2))·c⁴ + … up to the factor with `last`."""
    total = term = _ONE
    for k in range(first, last + 1, 2):
        term = _WORK.divide(_WORK.multiply(_WORK.multiply(term, cosine_2), Decimal(k - 1)), Decimal(k))
        total = _WORK.add(total, term)
        if term < _NEGLIGIBLE:
            break
    return total


def _arctan(x: Decimal) -> Decimal:
    halvings = 0
    while x > Decimal("0.05"):
        x = _WORK.divide(x, _WORK.add(_ONE, _WORK.sqrt(_WORK.fma(x, x, _ONE))))
        halvings += 1
    square, power, total, k = _WORK.multiply(x, x), x, x, 1
    while abs(power) > _NEGLIGIBLE:
        k += 2
        power = _WORK.minus(_WORK.multiply(power, square))
        total = _WORK.add(total, _WORK.divide(power, Decimal(k)))
    return _WORK.multiply(total, Decimal(2**halvings))


def _lower_gamma(degrees: int, x: Decimal) -> Decimal:
    """Return the regularised lower incomplete gamma function P(degrees/2, x), all terms of its series being positive."""
    if x <= 0:
        return Decimal(0)
    # x^a e^(−x) / Γ(a + 1), built up factor by factor so that no power and no factorial grows out of bounds.
    if degrees % 2:
        term = _WORK.divide(_WORK.multiply(_TWO, _WORK.sqrt(_WORK.divide(x, _PI))), _WORK.exp(x))
        a = _HALF
    else:
        term, a = _WORK.divide(x, _WORK.exp(x)), _ONE
    goal = _WORK.divide(Decimal(degrees), _TWO)
    while a < goal:
        a = _WORK.add(a, _ONE)
        term = _WORK.divide(_WORK.multiply(term, x), a)
    total = term
    while term > _WORK.multiply(total, _NEGLIGIBLE):
        a = _WORK.add(a, _ONE)
        term = _WORK.divide(_WORK.multiply(term, x), a)
        total = _WORK.add(total, term)
    return min(total, _ONE)


def _quantile(below: Callable[[Decimal], Decimal], probability: Decimal, *, lowest: Decimal | None) -> Decimal:
    if not 0 < probability < 1:
        raise ValueError("a quantile is asked for a probability between 0 and 1")
    high = _ONE
    while below(high) < probability:
        high = _WORK.multiply(high, _TWO)
    low = lowest if lowest is not None else -_ONE
    while lowest is None and below(low) > probability:
        low = _WORK.multiply(low, _TWO)
    for _ in range(_QUANTILE_STEPS):
        middle = _WORK.divide(_WORK.add(low, high), _TWO)
        if _WORK.subtract(high, low) < Decimal("1e-13"):
            break
        low, high = (middle, high) if below(middle) < probability else (low, middle)
    return _WORK.divide(_WORK.add(low, high), _TWO).quantize(Decimal("1e-12"))
