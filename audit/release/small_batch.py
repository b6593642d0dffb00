"""Very small batches: what the history of ink and process, stated as a prior, and the few units together predict; pure.

Contents are taken as normal with unknown mean and standard deviation, the prior as normal-inverse-χ² (the conjugate one), so that the
predictive distribution of a further unit is Student's t in closed form: no sampling, no seed, the same digits everywhere. The uncertainty
of the ink's assay is common to all units and does not average out; it is allowed for by drawing the limits in by its expanded value.

A statement on a further unit made in the same way, under a stated prior. It is no test of 2.9.40, and says so.

Sources: Gelman et al., Bayesian Data Analysis, 3rd ed., 3.3; Box, J. R. Statist. Soc. A 143 (1980) 383 (prior predictive check).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal

from audit.quantities import EXACT, plain_text, round_to
from audit.release.distributions import student_t_below, student_t_between
from audit.release.uniformity import L1, mean, standard_deviation

SMALLEST_PROBABILITY = Decimal("0.95")
LARGEST_SURPRISE = Decimal("0.01")
"""A batch mean further out than 99 % of what the prior predicts contradicts the prior: nothing is then concluded from it."""

FEWEST_BATCHES = 5
LARGEST_WEIGHT = Decimal(100)
_HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True)
class Prior:
    """What earlier batches say of contents in % of label before this one is seen.

    `mean` and `sd` (of units within a batch); `degrees` of freedom behind `sd`; `weight`: the mean counts as that many units; `history`:
    which batches or report it rests on. Raises ValueError for figures that are no prior.
    """

    mean: Decimal
    sd: Decimal
    degrees: int
    weight: Decimal
    history: str

    def __post_init__(self) -> None:
        if self.sd <= 0 or self.weight <= 0 or self.degrees < 1 or not self.history.strip():
            raise ValueError("a prior needs a standard deviation, a weight and degrees of freedom above zero, and its history")

    @property
    def text(self) -> str:
        return (
            f"prior: mean {plain_text(self.mean)} %, standard deviation {plain_text(self.sd)} % with {self.degrees} degrees of freedom, "
            f"the mean weighing as {plain_text(self.weight)} units; from {self.history}"
        )


@dataclass(frozen=True, slots=True)
class Predictive:
    """Student's t of a further unit: `centre` and `scale` in % of label, `degrees`; P(low ≤ content ≤ high); `surprise` of the prior."""

    n: int
    centre: Decimal
    scale: Decimal
    degrees: int
    low: Decimal
    high: Decimal
    probability: Decimal
    surprise: Decimal
    prior: Prior

    @property
    def contradicted(self) -> bool:
        """Whether the batch contradicts its prior, so that the prediction says nothing."""
        return self.surprise < LARGEST_SURPRISE

    @property
    def within(self) -> bool:
        return not self.contradicted and self.probability >= SMALLEST_PROBABILITY

    @property
    def text(self) -> str:
        if self.contradicted:
            return f"the batch contradicts its prior (P = {_figure(self.surprise)}), so nothing is predicted; {self.prior.text}"
        between = f"{plain_text(round_to(self.low, 1))}–{plain_text(round_to(self.high, 1))} % of label"
        law = f"Student's t, {self.degrees} degrees of freedom; at least 0.95 wanted"
        return f"a further unit would lie within {between} with probability {_figure(self.probability)} ({law}); {self.prior.text}"


def predict(contents: Sequence[Decimal], prior: Prior, assay_expanded_percent: Decimal = Decimal(0)) -> Predictive:
    """Return the predictive of a further unit from one or more contents in % of label.

    `assay_expanded_percent`: expanded uncertainty (k = 2) of the ink's assay in % of the assay, taken off both limits of 85.0 to 115.0 %.
    Raises ValueError for no contents.
    """
    n, average = len(contents), mean(contents)
    weight = EXACT.add(prior.weight, Decimal(n))
    centre = EXACT.divide(EXACT.add(EXACT.multiply(prior.weight, prior.mean), EXACT.multiply(Decimal(n), average)), weight)
    offset = EXACT.subtract(average, prior.mean)
    squares = EXACT.multiply(Decimal(prior.degrees), EXACT.power(prior.sd, 2))
    for content in contents:
        squares = EXACT.add(squares, EXACT.power(EXACT.subtract(content, average), 2))
    shift = EXACT.divide(EXACT.multiply(EXACT.multiply(prior.weight, Decimal(n)), EXACT.power(offset, 2)), weight)
    degrees = prior.degrees + n
    variance = EXACT.divide(EXACT.add(squares, shift), Decimal(degrees))
    scale = EXACT.sqrt(EXACT.multiply(variance, EXACT.add(Decimal(1), EXACT.divide(Decimal(1), weight))))
    margin = EXACT.divide(EXACT.multiply(assay_expanded_percent, centre), _HUNDRED)
    low, high = EXACT.add(EXACT.subtract(_HUNDRED, L1), margin), EXACT.subtract(EXACT.add(_HUNDRED, L1), margin)
    probability = EXACT.subtract(_below(high, centre, scale, degrees), _below(low, centre, scale, degrees)) if low < high else Decimal(0)
    return Predictive(n, centre, scale, degrees, low, high, probability, _surprise(offset, n, prior), prior)


def _below(limit: Decimal, centre: Decimal, scale: Decimal, degrees: int) -> Decimal:
    return student_t_below(EXACT.divide(EXACT.subtract(limit, centre), scale), degrees)


def _surprise(offset: Decimal, n: int, prior: Prior) -> Decimal:
    """Return the prior probability of a mean of n units at least as far from the prior's mean as this one."""
    parts = EXACT.add(EXACT.divide(Decimal(1), prior.weight), EXACT.divide(Decimal(1), Decimal(n)))
    spread = EXACT.multiply(prior.sd, EXACT.sqrt(parts))
    return EXACT.subtract(Decimal(1), student_t_between(EXACT.divide(abs(offset), spread), prior.degrees))


def prior_from_history(batches: Sequence[Sequence[Decimal]], history: str) -> Prior:
    """Return a prior from the contents (% of label) of five or more earlier batches of two or more units each.

    Mean of the batch means; pooled standard deviation within batches, rounded up; `weight` so that the prior of the mean is as wide as the
    batch means scatter, rounded down; as many degrees of freedom as batches less one, fewer than the pooled ones: what is known of how
    batches differ is the weaker part. Raises ValueError for less.
    """
    if len(batches) < FEWEST_BATCHES or any(len(batch) < 2 for batch in batches):
        raise ValueError(f"a prior from history takes {FEWEST_BATCHES} batches of at least two units each")
    means = [mean(batch) for batch in batches]
    degrees = sum(len(batch) - 1 for batch in batches)
    squares = Decimal(0)
    for batch in batches:
        squares = EXACT.fma(Decimal(len(batch) - 1), EXACT.power(standard_deviation(batch), 2), squares)
    within, between = EXACT.divide(squares, Decimal(degrees)), EXACT.power(standard_deviation(means), 2)
    if within == 0:
        raise ValueError("units that do not differ at all are no history of a process")
    weight = LARGEST_WEIGHT if between == 0 else min(EXACT.divide(within, between), LARGEST_WEIGHT)
    sd = EXACT.add(EXACT.sqrt(within), Decimal("0.0005"))
    return Prior(
        mean=round_to(mean(means), 2),
        sd=round_to(sd, 3),
        degrees=len(batches) - 1,
        weight=max(round_to(weight, 2, ROUND_FLOOR), Decimal("0.01")),
        history=history,
    )


def _figure(value: Decimal) -> str:
    return plain_text(round_to(value, 4, ROUND_FLOOR))
