"""Trends across batches: Shewhart, EWMA and CUSUM charts, Nelson's rules, capability with confidence bounds; pure, exact decimals.

A chart speaks of a process, never of a batch: what it signals is a reason to look, and no disposition follows from it.

Sources: NIST/SEMATECH e-Handbook of Statistical Methods 6.1.6 (capability), 6.3.2 (charts); Nelson, J. Qual. Technol. 16 (1984) 237 (eight
tests); Bissell, Appl. Statist. 39 (1990) 331 (bounds of Cpk).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise

from audit.quantities import EXACT
from audit.release.distributions import chi_square_quantile, normal_quantile
from audit.release.uniformity import mean, standard_deviation

FEWEST_POINTS = 2
_MOVING_RANGE_FACTOR = Decimal("1.128")
"""d2 for two values: the mean of their range is 1.128 standard deviations."""
_PI = Decimal("3.141592653589793238462643383")
_THREE, _ONE, _TWO = Decimal(3), Decimal(1), Decimal(2)


@dataclass(frozen=True, slots=True)
class Chart:
    """The values of a chart in order, its centre, and a lower and an upper limit for each value."""

    values: tuple[Decimal, ...]
    centre: Decimal
    lower: tuple[Decimal, ...]
    upper: tuple[Decimal, ...]

    @property
    def outside(self) -> tuple[int, ...]:
        """Indices of the values beyond their limits."""
        rows = enumerate(zip(self.lower, self.values, self.upper, strict=True))
        return tuple(i for i, (low, value, high) in rows if not low <= value <= high)


@dataclass(frozen=True, slots=True)
class Subgroup:
    """One batch on a chart: how many units, their mean and their standard deviation, in % of label."""

    name: str
    n: int
    mean: Decimal
    sd: Decimal

    @classmethod
    def of(cls, name: str, contents: Sequence[Decimal]) -> Subgroup:
        """Make a subgroup of two or more contents. Raises ValueError for fewer."""
        return cls(name, len(contents), mean(contents), standard_deviation(contents))


# --- Shewhart ---


def individuals(values: Sequence[Decimal]) -> Chart:
    """Chart single values about their mean, ± 3 standard deviations from the mean moving range (NIST 6.3.2.2). Two values at least."""
    sigma = moving_range_sigma(values)
    centre = mean(values)
    return _band(tuple(values), centre, [EXACT.multiply(_THREE, sigma)] * len(values))


def moving_range_sigma(values: Sequence[Decimal]) -> Decimal:
    """Return the mean of |xᵢ − xᵢ₋₁| over 1.128. Raises ValueError for fewer than two values."""
    if len(values) < FEWEST_POINTS:
        raise ValueError("a chart needs at least two values")
    ranges = [abs(EXACT.subtract(b, a)) for a, b in pairwise(values)]
    return EXACT.divide(mean(ranges), _MOVING_RANGE_FACTOR)


def pooled_sd(subgroups: Sequence[Subgroup]) -> Decimal:
    """Return the standard deviation within subgroups, pooled by their degrees of freedom."""
    squares = Decimal(0)
    for group in subgroups:
        squares = EXACT.fma(Decimal(group.n - 1), EXACT.power(group.sd, 2), squares)
    return EXACT.sqrt(EXACT.divide(squares, Decimal(within_degrees(subgroups))))


def within_degrees(subgroups: Sequence[Subgroup]) -> int:
    """Return the degrees of freedom within subgroups. Raises ValueError where there are none."""
    degrees = sum(group.n - 1 for group in subgroups)
    if degrees < 1:
        raise ValueError("no subgroup has two units")
    return degrees


def means_chart(subgroups: Sequence[Subgroup]) -> Chart:
    """Chart subgroup means about the grand mean of all units, ± 3·s/√n with the pooled s within subgroups, each with its own n."""
    sigma = pooled_sd(subgroups)
    total = sum((EXACT.multiply(Decimal(group.n), group.mean) for group in subgroups), Decimal(0))
    centre = EXACT.divide(total, Decimal(sum(group.n for group in subgroups)))
    widths = [EXACT.divide(EXACT.multiply(_THREE, sigma), EXACT.sqrt(Decimal(group.n))) for group in subgroups]
    return _band(tuple(group.mean for group in subgroups), centre, widths)


def deviations_chart(subgroups: Sequence[Subgroup]) -> Chart:
    """Chart subgroup standard deviations: c4·s ± 3·s·√(1 − c4²) with the pooled s, the lower limit not below zero."""
    sigma = pooled_sd(subgroups)
    lower, upper = [], []
    for group in subgroups:
        factor = c4(group.n)
        width = EXACT.multiply(_THREE, EXACT.sqrt(EXACT.subtract(_ONE, EXACT.power(factor, 2))))
        lower.append(EXACT.multiply(sigma, max(EXACT.subtract(factor, width), Decimal(0))))
        upper.append(EXACT.multiply(sigma, EXACT.add(factor, width)))
    return Chart(tuple(group.sd for group in subgroups), sigma, tuple(lower), tuple(upper))


def c4(n: int) -> Decimal:
    """Return √(2/(n − 1))·Γ(n/2)/Γ((n − 1)/2), the mean of a standard deviation of n normal values in units of σ. n ≥ 2."""
    if n < FEWEST_POINTS:
        raise ValueError("c4 is for two values and more")
    ratio = EXACT.divide(_ONE, EXACT.sqrt(_PI))
    for m in range(2, n):
        ratio = EXACT.divide(EXACT.divide(Decimal(m - 1), _TWO), ratio)
    return EXACT.multiply(EXACT.sqrt(EXACT.divide(_TWO, Decimal(n - 1))), ratio)


def _band(values: tuple[Decimal, ...], centre: Decimal, widths: Sequence[Decimal]) -> Chart:
    lower = tuple(EXACT.subtract(centre, width) for width in widths)
    return Chart(values, centre, lower, tuple(EXACT.add(centre, width) for width in widths))


# --- EWMA and CUSUM ---


def ewma(
    values: Sequence[Decimal], centre: Decimal, sigma: Decimal, *, weight: Decimal, width: Decimal = _THREE, steady: bool = False
) -> Chart:
    """Chart zᵢ = λ·xᵢ + (1 − λ)·zᵢ₋₁ from z₀ = centre, with limits of `width` standard deviations of z (NIST 6.3.2.4).

    `weight` is λ, above 0 and at most 1; `steady`: the limits of the long run for every value, as the handbook draws them.
    """
    if not 0 < weight <= 1:
        raise ValueError("the weight of an EWMA lies above 0 and is at most 1")
    rest, z = EXACT.subtract(_ONE, weight), centre
    long_run = EXACT.divide(weight, EXACT.subtract(_TWO, weight))
    found, widths, left = [], [], _ONE
    for value in values:
        z = EXACT.fma(weight, value, EXACT.multiply(rest, z))
        left = EXACT.multiply(left, EXACT.power(rest, 2))
        variance = long_run if steady else EXACT.multiply(long_run, EXACT.subtract(_ONE, left))
        found.append(z)
        widths.append(EXACT.multiply(EXACT.multiply(width, sigma), EXACT.sqrt(variance)))
    return _band(tuple(found), centre, widths)


@dataclass(frozen=True, slots=True)
class Cusum:
    """The two one-sided sums in the unit of the values, and the decision limit h that neither should pass."""

    high: tuple[Decimal, ...]
    low: tuple[Decimal, ...]
    decision: Decimal

    @property
    def outside(self) -> tuple[int, ...]:
        rows = enumerate(zip(self.high, self.low, strict=True))
        return tuple(i for i, (high, low) in rows if max(high, low) > self.decision)


def cusum(values: Sequence[Decimal], centre: Decimal, *, slack: Decimal, decision: Decimal) -> Cusum:
    """Sum max(0, S + x − centre − k) and max(0, S + centre − k − x) from zero; k = `slack`, h = `decision` (NIST 6.3.2.3)."""
    high, low, zero = [Decimal(0)], [Decimal(0)], Decimal(0)
    for value in values:
        offset = EXACT.subtract(value, centre)
        high.append(max(zero, EXACT.subtract(EXACT.add(high[-1], offset), slack)))
        low.append(max(zero, EXACT.subtract(EXACT.subtract(low[-1], offset), slack)))
    return Cusum(tuple(high[1:]), tuple(low[1:]), decision)


# --- Nelson's rules ---


class Rule(StrEnum):
    """Nelson's eight tests; a value on a boundary is not beyond it."""

    BEYOND_3 = "1: a value beyond 3 standard deviations"
    NINE_ON_A_SIDE = "2: nine values in a row on one side of the centre"
    SIX_IN_A_LINE = "3: six values in a row rising or falling"
    FOURTEEN_ALTERNATING = "4: fourteen values in a row alternating up and down"
    TWO_OF_THREE = "5: two of three values beyond 2 standard deviations on one side"
    FOUR_OF_FIVE = "6: four of five values beyond 1 standard deviation on one side"
    FIFTEEN_WITHIN_1 = "7: fifteen values in a row within 1 standard deviation"
    EIGHT_OUTSIDE_1 = "8: eight values in a row beyond 1 standard deviation, on both sides"


@dataclass(frozen=True, slots=True)
class Signal:
    """A rule that is met, and the index of the value that completes it."""

    rule: Rule
    index: int


def nelson(values: Sequence[Decimal], centre: Decimal, sigma: Decimal) -> tuple[Signal, ...]:
    """Return every signal, in order of value and rule. Raises ValueError for a standard deviation that is not above zero."""
    if sigma <= 0:
        raise ValueError("the rules need a standard deviation above zero")
    scaled = [EXACT.divide(EXACT.subtract(value, centre), sigma) for value in values]
    return nelson_scaled(scaled)


def nelson_scaled(scaled: Sequence[Decimal]) -> tuple[Signal, ...]:
    """Return every signal of values given as distances from the centre in standard deviations (means of unequal n)."""
    found = []
    for end in range(1, len(scaled) + 1):
        for rule, (length, holds) in _RULES.items():
            if end >= length and holds(scaled[end - length : end]):
                found.append(Signal(rule, end - 1))
    return tuple(found)


def _one_side(values: Sequence[Decimal], beyond: int, wanted: int) -> bool:
    last = values[-1]
    high = sum(value > beyond for value in values) >= wanted and last > beyond
    return high or (sum(value < -beyond for value in values) >= wanted and last < -beyond)


def _steps(values: Sequence[Decimal]) -> list[int]:
    return [(b > a) - (b < a) for a, b in pairwise(values)]


def _in_a_line(values: Sequence[Decimal]) -> bool:
    return set(_steps(values)) in ({1}, {-1})


def _alternating(values: Sequence[Decimal]) -> bool:
    steps = _steps(values)
    return 0 not in steps and all(a != b for a, b in pairwise(steps))


def _both_sides(values: Sequence[Decimal]) -> bool:
    return all(abs(value) > 1 for value in values) and any(v > 0 for v in values) and any(v < 0 for v in values)


_RULES: dict[Rule, tuple[int, Callable[[Sequence[Decimal]], bool]]] = {
    Rule.BEYOND_3: (1, lambda values: abs(values[0]) > 3),
    Rule.NINE_ON_A_SIDE: (9, lambda values: _one_side(values, 0, 9)),
    Rule.SIX_IN_A_LINE: (6, _in_a_line),
    Rule.FOURTEEN_ALTERNATING: (14, _alternating),
    Rule.TWO_OF_THREE: (3, lambda values: _one_side(values, 2, 2)),
    Rule.FOUR_OF_FIVE: (5, lambda values: _one_side(values, 1, 4)),
    Rule.FIFTEEN_WITHIN_1: (15, lambda values: all(abs(value) < 1 for value in values)),
    Rule.EIGHT_OUTSIDE_1: (8, _both_sides),
}


# --- capability ---


@dataclass(frozen=True, slots=True)
class Index:
    """A capability index with its two-sided confidence bounds."""

    value: Decimal
    lower: Decimal
    upper: Decimal


@dataclass(frozen=True, slots=True)
class Capability:
    """Cp and Cpk from the standard deviation within batches, Pp and Ppk from that of all units together."""

    cp: Index
    cpk: Index
    pp: Index
    ppk: Index


def index_p(sd: Decimal, degrees: int, low: Decimal, high: Decimal, confidence: Decimal = Decimal("0.95")) -> Index:
    """Return (high − low)/6s with the exact bounds from χ² (NIST 6.1.6)."""
    value = EXACT.divide(EXACT.subtract(high, low), EXACT.multiply(Decimal(6), sd))
    tail = EXACT.divide(EXACT.subtract(_ONE, confidence), _TWO)
    bounds = [
        EXACT.multiply(value, EXACT.sqrt(EXACT.divide(chi_square_quantile(p, degrees), Decimal(degrees))))
        for p in (tail, EXACT.subtract(_ONE, tail))
    ]
    return Index(value, bounds[0], bounds[1])


def index_pk(
    average: Decimal, sd: Decimal, n: int, degrees: int, low: Decimal, high: Decimal, confidence: Decimal = Decimal("0.95")
) -> Index:
    """Return min(high − mean, mean − low)/3s with Bissell's normal bounds: ± z·√(1/9n + Cpk²/2ν); a wide approximation for small n."""
    nearer = min(EXACT.subtract(high, average), EXACT.subtract(average, low))
    value = EXACT.divide(nearer, EXACT.multiply(_THREE, sd))
    z = normal_quantile(EXACT.divide(EXACT.add(_ONE, confidence), _TWO))
    spread = EXACT.add(EXACT.divide(_ONE, Decimal(9 * n)), EXACT.divide(EXACT.power(value, 2), Decimal(2 * degrees)))
    width = EXACT.multiply(z, EXACT.sqrt(spread))
    return Index(value, EXACT.subtract(value, width), EXACT.add(value, width))


def capability_of(batches: Sequence[Sequence[Decimal]], low: Decimal, high: Decimal) -> Capability:
    """Return the four indices of all units of several batches against limits in the same unit. Raises ValueError for too few units."""
    everything = [value for batch in batches for value in batch]
    groups = [Subgroup.of(str(i), batch) for i, batch in enumerate(batches) if len(batch) >= FEWEST_POINTS]
    n, average, overall = len(everything), mean(everything), standard_deviation(everything)
    within, degrees = pooled_sd(groups), within_degrees(groups)
    if within == 0 or overall == 0:
        raise ValueError("units that do not differ at all have no capability index")
    return Capability(
        cp=index_p(within, degrees, low, high),
        cpk=index_pk(average, within, n, degrees, low, high),
        pp=index_p(overall, n - 1, low, high),
        ppk=index_pk(average, overall, n, n - 1, low, high),
    )
