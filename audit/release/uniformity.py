"""Uniformity of dosage units from their masses; pure, exact decimals.

Content is taken from the mass of each unit and the assayed strength of the ink: 100 · mass · strength / label. That keeps
a light batch light, where the mass-variation form w·A/W̄ (exact for a composite assay of the very units) would centre it.

The pharmacopoeial tests are market standards on tested units. A statistic on weighed units is therefore named as what it
is, and the only words used for 10 or 30 units are those of the General Notices: *would comply, if tested*.

Sources: Ph. Eur. 2.9.40 (harmonised with USP <905>), 2.9.5. Sums and statistics run in `audit.quantities.EXACT` and are rounded once, at
the end. What may be said of them is in `claims`, the tolerance factors in `tolerance`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Literal

from audit.quantities import EXACT, round_to
from audit.release.tolerance import two_sided_factor

DosageForm = Literal["tablet", "capsule"]

L1 = Decimal("15.0")
L2 = Decimal("25.0")
ACCEPTABILITY_CONSTANT = {10: Decimal("2.4"), 30: Decimal("2.0")}
SMALLEST_N_FOR_STATISTIC = 3
UNITS_OF_2_9_5 = 20
UNITS_OF_STAGE_2 = 30
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
    return statistic_with(contents, ACCEPTABILITY_CONSTANT[len(contents)], target)


def tolerance_statistic(contents: Sequence[Decimal], target: Decimal = _HUNDRED) -> Statistic:
    """Return |M − mean| + k·s with the exact two-sided 95/95 tolerance factor; n ≥ 3. Not a 2.9.40 test."""
    if len(contents) < SMALLEST_N_FOR_STATISTIC:
        raise ValueError("the tolerance statistic needs at least three units")
    return statistic_with(contents, two_sided_factor(len(contents)), target)


def statistic_with(contents: Sequence[Decimal], k: Decimal, target: Decimal) -> Statistic:
    """Return |M − mean| + k·s with a given k."""
    average, sd = mean(contents), standard_deviation(contents)
    reference = reference_value(average, target)
    value = EXACT.fma(k, sd, abs(EXACT.subtract(reference, average)))
    return Statistic(len(contents), average, sd, reference, k, value)


class StageOutcome(StrEnum):
    MET = "requirements met"
    SECOND_STAGE = "20 further units to be tested"
    NOT_MET = "requirements not met"


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of 2.9.40 on tested units: its acceptance value, and at stage 2 how many contents lie outside (1 ± L2/100)·M."""

    stage: Literal[1, 2]
    statistic: Statistic
    outside_l2: int
    outcome: StageOutcome


def stage_of(contents: Sequence[Decimal], target: Decimal = _HUNDRED) -> Stage:
    """Evaluate stage 1 (10 contents) or stage 2 (all 30, the first 10 among them) of 2.9.40, contents in % of label.

    Stage 1 asks for AV ≤ L1 alone; stage 2 for AV ≤ L1 with k = 2.0 and for no content outside (1 ± L2/100)·M, M being that of the 30.
    Raises ValueError for any other number: the test is not defined for it.
    """
    statistic = acceptance_value(contents, target)
    outside = outside_l2(contents, statistic.reference)
    if len(contents) == UNITS_OF_STAGE_2:
        met = statistic.within_l1 and outside == 0
        return Stage(2, statistic, outside, StageOutcome.MET if met else StageOutcome.NOT_MET)
    return Stage(1, statistic, outside, StageOutcome.MET if statistic.within_l1 else StageOutcome.SECOND_STAGE)


def outside_l2(contents: Sequence[Decimal], reference: Decimal) -> int:
    """Return how many contents lie outside (1 ± L2/100)·M, unrounded (2.9.40, maximum allowed range)."""
    allowed = EXACT.divide(EXACT.multiply(reference, L2), _HUNDRED)
    return sum(abs(EXACT.subtract(content, reference)) > allowed for content in contents)


@dataclass(frozen=True, slots=True)
class CompositeAssay:
    """An assay of a composite of the units named: its result in % of label, and the certificate that states it."""

    units: frozenset[str]
    percent: Decimal
    certificate: str


def mass_variation_stage(masses_mg: Mapping[str, Decimal], assay: CompositeAssay, target: Decimal = _HUNDRED) -> Stage:
    """Evaluate 2.9.40 mass variation, w·A/W̄, for 10 or 30 units by name. Raises ValueError where A is not of these very units.

    The assay of an ink is no such assay: its form would have the assay as its mean, whatever the units weigh.
    """
    if assay.units != masses_mg.keys():
        raise ValueError(f"the composite assay {assay.certificate} is not of these units: w·A/W̄ takes an assay of the very units weighed")
    return stage_of(mass_variation(tuple(masses_mg.values()), assay.percent), target)


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
