"""Uniformity of dosage units from their masses; pure, exact decimals.

Content is taken from the mass of each unit and the assayed strength of the ink: 100 · mass · strength / label. That keeps
a light batch light, where the mass-variation form w·A/W̄ (exact for a composite assay of the very units) would centre it.

The pharmacopoeial tests are market standards on tested units. A statistic on weighed units is therefore named as what it
is, and the only words used for 10 or 30 units are those of the General Notices: *would comply, if tested*.

Sources: Ph. Eur. 2.9.40 (harmonised with USP <905>), 2.9.5; exact normal tolerance factors after Odeh and Owen. Sums and
statistics run in `audit.quantities.EXACT`; only the tolerance factor is computed in binary floating point, and rounded to
four decimals before it is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from typing import Literal

from audit.quantities import EXACT, plain_text, round_to

DosageForm = Literal["tablet", "capsule"]

L1 = Decimal("15.0")
L2 = Decimal("25.0")
ACCEPTABILITY_CONSTANT = {10: Decimal("2.4"), 30: Decimal("2.0")}
LARGEST_CONCENTRATION_RSD = Decimal(2)
SMALLEST_N_FOR_STATISTIC = 3
UNITS_OF_2_9_5 = 20
_HUNDRED = Decimal(100)
_LOW = Decimal("98.5")
_HIGH = Decimal("101.5")


def content_by_mass(mass_mg: Decimal, assay_mg_per_g: Decimal, label_mg: Decimal) -> Decimal:
    """Return the content of a unit in % of label: 100 · mass · assay / (1000 · label).

    mass in mg, assay in mg of active per g of ink, label in mg. Raises ValueError for a label or assay that is not positive.
    """
    if label_mg <= 0 or assay_mg_per_g <= 0:
        raise ValueError("label and assay must be above zero")
    return EXACT.divide(EXACT.multiply(mass_mg, assay_mg_per_g), EXACT.multiply(label_mg, Decimal(10)))


def mass_variation(masses_mg: Sequence[Decimal], assay_percent: Decimal) -> tuple[Decimal, ...]:
    """Return w·A/W̄ in % of label, for a composite assay A (% of label) of these very units (2.9.40, mass variation).

    Its mean is always A: it cannot show a light batch, and is never used here for release on mass.
    """
    average = mean(masses_mg)
    return tuple(EXACT.divide(EXACT.multiply(mass, assay_percent), average) for mass in masses_mg)


def mean(values: Sequence[Decimal]) -> Decimal:
    """Return the arithmetic mean. Raises ValueError for no values."""
    if not values:
        raise ValueError("no values")
    total = Decimal(0)
    for value in values:
        total = EXACT.add(total, value)
    return EXACT.divide(total, Decimal(len(values)))


def standard_deviation(values: Sequence[Decimal]) -> Decimal:
    """Return the sample standard deviation, n − 1 in the denominator. Raises ValueError for fewer than two values."""
    if len(values) < 2:
        raise ValueError("a standard deviation needs at least two values")
    centre = mean(values)
    squares = Decimal(0)
    for value in values:
        deviation = EXACT.subtract(value, centre)
        squares = EXACT.fma(deviation, deviation, squares)
    return EXACT.sqrt(EXACT.divide(squares, Decimal(len(values) - 1)))


def reference_value(average: Decimal, target: Decimal = _HUNDRED) -> Decimal:
    """Return M of 2.9.40 for a mean in % of label and the target content T (100 unless approved otherwise)."""
    upper = max(_HIGH, target)
    return min(max(average, _LOW), upper)


@dataclass(frozen=True, slots=True)
class Statistic:
    """|M − mean| + k·s in % of label, with the parts it was made of."""

    n: int
    mean: Decimal
    sd: Decimal
    reference: Decimal
    k: Decimal
    value: Decimal

    @property
    def within_l1(self) -> bool:
        """Whether the value, rounded to the decimals of L1, is at most 15.0 (General Notices, rounding at the end)."""
        return round_to(self.value, 1) <= L1


def acceptance_value(contents: Sequence[Decimal], target: Decimal = _HUNDRED) -> Statistic:
    """Return the acceptance value of 2.9.40 for exactly 10 or 30 contents in % of label. Raises ValueError for other n."""
    if len(contents) not in ACCEPTABILITY_CONSTANT:
        raise ValueError(f"an acceptance value is defined for 10 or 30 units, not {len(contents)}")
    return _statistic(contents, ACCEPTABILITY_CONSTANT[len(contents)], target)


def tolerance_statistic(contents: Sequence[Decimal], target: Decimal = _HUNDRED) -> Statistic:
    """Return |M − mean| + k·s with the exact two-sided 95/95 tolerance factor; n ≥ 3. Not a 2.9.40 test."""
    if len(contents) < SMALLEST_N_FOR_STATISTIC:
        raise ValueError("the tolerance statistic needs at least three units")
    return _statistic(contents, two_sided_factor(len(contents)), target)


def _statistic(contents: Sequence[Decimal], k: Decimal, target: Decimal) -> Statistic:
    average, sd = mean(contents), standard_deviation(contents)
    reference = reference_value(average, target)
    value = EXACT.fma(k, sd, abs(EXACT.subtract(reference, average)))
    return Statistic(len(contents), average, sd, reference, k, value)


def capability(average: Decimal, sd: Decimal, low: Decimal, high: Decimal) -> Decimal:
    """Return Cpk: the distance of the mean to the nearer limit in units of three standard deviations."""
    return EXACT.divide(min(EXACT.subtract(high, average), EXACT.subtract(average, low)), EXACT.multiply(Decimal(3), sd))


@dataclass(frozen=True, slots=True)
class UniformityOfMass:
    """Ph. Eur. 2.9.5 on n masses: how many lie outside the limit and outside twice the limit."""

    n: int
    mean_mg: Decimal
    limit_percent: Decimal
    outside: int
    outside_twice: int

    @property
    def met(self) -> bool:
        return self.outside <= 2 and self.outside_twice == 0


def mass_limit_percent(form: DosageForm, mean_mg: Decimal) -> Decimal:
    """Return the percentage deviation of 2.9.5 for uncoated tablets or capsules at an average mass in mg."""
    if form == "capsule":
        return Decimal(10) if mean_mg < 300 else Decimal("7.5")
    if mean_mg <= 80:
        return Decimal(10)
    return Decimal("7.5") if mean_mg < 250 else Decimal(5)


def uniformity_of_mass(masses_mg: Sequence[Decimal], form: DosageForm) -> UniformityOfMass:
    """Evaluate 2.9.5 on 20 or more masses in mg. Raises ValueError for fewer: the test is then not claimed.

    The text weighs 20 units; for more, its criterion (two outside, none outside twice) is applied to all of them, which is stricter.
    """
    if len(masses_mg) < UNITS_OF_2_9_5:
        raise ValueError(f"2.9.5 is not claimed for {len(masses_mg)} units; it needs 20")
    average = mean(masses_mg)
    limit = mass_limit_percent(form, average)
    allowed = EXACT.divide(EXACT.multiply(average, limit), _HUNDRED)
    deviations = [abs(EXACT.subtract(mass, average)) for mass in masses_mg]
    twice = EXACT.multiply(allowed, Decimal(2))
    return UniformityOfMass(len(masses_mg), average, limit, sum(d > allowed for d in deviations), sum(d > twice for d in deviations))


# --- exact normal tolerance factors -------------------------------------------------------------------------------------


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


# --- what may be said ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Uniformity:
    """The statistics of the units of one strength, with the name of the statistic and the claim it carries.

    `statistic` is None below three units; `within` says whether what was computed lies within its limit, None for no units.
    """

    n: int
    mean: Decimal | None
    sd: Decimal | None
    minimum: Decimal | None
    maximum: Decimal | None
    statistic: Statistic | None
    name: str
    claim: str
    within: bool | None
    mass: UniformityOfMass | None
    mass_claim: str


def evaluate(
    contents: Sequence[Decimal], masses_mg: Sequence[Decimal], form: DosageForm, concentration_rsd: Decimal | None = None
) -> Uniformity:
    """Evaluate the units of one strength: contents in % of label, masses in mg; strengths are never pooled.

    `concentration_rsd` is the validated relative standard deviation of concentration in finished units (%), None if the recipe
    holds no such data; at most 2 % opens mass variation to units with under 25 mg or 25 % of active (2.9.40).
    """
    if len(contents) != len(masses_mg):
        raise ValueError("one content for each mass")
    n = len(contents)
    mass = uniformity_of_mass(masses_mg, form) if n >= UNITS_OF_2_9_5 else None
    average = mean(contents) if n else None
    sd = standard_deviation(contents) if n >= 2 else None
    low, high = (min(contents), max(contents)) if n else (None, None)
    if n < SMALLEST_N_FOR_STATISTIC:
        within = all(_HUNDRED - L1 <= value <= _HUNDRED + L1 for value in contents) if n else None
        name = "individual contents only" if n else "no units"
        claim = (
            f"{_units(n)}: individual contents by mass and their mean; no statistic is claimed, not a 2.9.40 test"
            if n
            else "no unit to evaluate; nothing is claimed"
        )
        return Uniformity(n, average, sd, low, high, None, name, claim, within, mass, _mass_claim(mass, n))
    statistic = acceptance_value(contents) if n in ACCEPTABILITY_CONSTANT else tolerance_statistic(contents)
    name, claim = _claim(statistic, concentration_rsd)
    return Uniformity(n, average, sd, low, high, statistic, name, claim, statistic.within_l1, mass, _mass_claim(mass, n))


def _claim(statistic: Statistic, rsd: Decimal | None) -> tuple[str, str]:
    n, k = statistic.n, plain_text(statistic.k)
    side = "at most" if statistic.within_l1 else "above"
    if n not in ACCEPTABILITY_CONSTANT:
        name = f"|M − mean| + k·s with the exact two-sided 95/95 normal tolerance factor, k = {k}"
        return name, f"{name}, for n = {n}: {side} 15.0 % of label; not a 2.9.40 test"
    name = "acceptance value (Ph. Eur. 2.9.40) computed on content by mass"
    if rsd is None or rsd > LARGEST_CONCENTRATION_RSD:
        held = "no validation data" if rsd is None else f"{plain_text(rsd)} %"
        return name, (
            f"{name}, n = {n}: {side} L1 = 15.0; mass variation is not applicable to this ink (concentration RSD of at most 2 % in finished"
            f" units: {held}), so no statement on 2.9.40 is made"
        )
    verdict = "would comply if tested" if statistic.within_l1 else "would not comply if tested at this stage"
    return name, f"{name}, n = {n}: {verdict}, by real-time release on mass (concentration RSD {plain_text(rsd)} % in finished units)"


def _mass_claim(mass: UniformityOfMass | None, n: int) -> str:
    if mass is None:
        return f"Ph. Eur. 2.9.5 is not claimed: it takes 20 units, {n} are evaluated"
    found = f"{mass.outside} outside ± {plain_text(mass.limit_percent)} % and {mass.outside_twice} outside twice that"
    verdict = "the criterion of Ph. Eur. 2.9.5 is met" if mass.met else "the criterion of Ph. Eur. 2.9.5 is not met"
    more = "" if mass.n == UNITS_OF_2_9_5 else f"; applied to all {mass.n} units as weighed, where the text takes 20"
    return f"{verdict} on mass as weighed: {found} of the average{more}"


def _units(n: int) -> str:
    return "1 unit" if n == 1 else f"{n} units"
