"""Run-to-run correction of the dose: from the masses of accepted units to the flow factor of the next one.

The gain of a unit is its mass over what its commanded volume would weigh by the ink certificate: 1 where nozzle, drive and
ink are what they were validated as. It is followed by a scalar Kalman filter (R. E. Kalman, J. Basic Eng. 82 (1960) 35;
local-level model): the gain of a set-up is a random walk about 1, a unit shows it with its own scatter and with the standard
uncertainty of its weighing. The next unit is extruded with one over the estimate. A weighing that says little moves the
estimate little: no correction is larger than its evidence.

Two bounds, both of the recipe. A factor beyond `largest` ends the run. A gain further from 1 than the uncertainty of the
certificate's density and `ink_limit` together is an *ink identity hold*: an ink that has dried out, or is another one,
looks just like an error of the flow, and restoring its mass would misdose. It is never corrected away.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from audit.quantities import EXACT, GramPerMillilitre, Microlitre, Milligram, Percent, plain_text, round_to
from printer.acceptance import Against, Judgement, Verdict

ONE = Decimal(1)
_PLACES = 4


@dataclass(frozen=True, slots=True)
class CorrectionRule:
    """The recipe's rule with the ink certificate's density.

    `prior`, `repeatability` and `drift` are relative standard deviations; `density_uncertainty` is relative (k = 2).
    `start_up_largest` bounds the factor of the first unit, where the recipe has a start-up calibration.
    """

    prior: Percent
    repeatability: Percent
    drift: Percent
    largest: Percent
    ink_limit: Percent
    density: GramPerMillilitre
    density_uncertainty: Percent
    start_up_largest: Percent | None = None

    @property
    def identity_limit(self) -> Decimal:
        """Largest deviation in percent of mass per commanded volume that may be anything but another ink."""
        return EXACT.add(self.ink_limit.value, self.density_uncertainty.value)


@dataclass(frozen=True, slots=True)
class Observation:
    """One unit or purge unit: its mass with the drift taken off, what was commanded, the gain that follows and its standard uncertainty."""

    n: int
    purge: bool
    mass: Milligram
    commanded: Microlitre
    gain: Decimal
    uncertainty: Decimal


@dataclass(slots=True)
class DoseControl:
    """The correction of one run. Without a rule the factor stays 1 and nothing is held.

    `variance` is that of the estimate. Concurrency: owned by the run machine.
    """

    rule: CorrectionRule | None
    estimate: Decimal = ONE
    variance: Decimal = Decimal(0)
    observations: list[Observation] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.rule is not None:
            self.variance = _squared(self.rule.prior.fraction)

    @property
    def factor(self) -> Decimal:
        """The flow factor for the next unit, rounded to 0.0001."""
        return round_to(EXACT.divide(ONE, self.estimate), _PLACES)

    @property
    def standard_uncertainty(self) -> Decimal:
        """That of the estimate, relative."""
        return EXACT.sqrt(self.variance)

    def identity_reason(self, mass: Milligram, commanded: Microlitre) -> str | None:
        """Return why the ink cannot be taken for the one on the certificate, or None."""
        rule = self.rule
        if rule is None:
            return None
        deviation = EXACT.multiply(EXACT.subtract(_gain(rule, mass, commanded), ONE), Decimal(100))
        if abs(deviation) <= rule.identity_limit:
            return None
        shown, limit = plain_text(round_to(deviation, 2)), plain_text(round_to(rule.identity_limit, 2))
        return f"ink identity: mass per microlitre is {shown} % off the ink certificate, limit {limit} %"

    def observe(self, n: int, judgement: Judgement, commanded: Microlitre, *, purge: bool = False) -> None:
        """Take a judged unit into the estimate.

        Only the adjusted mass counts, and only of a unit that nothing speaks against: from a weight that drifts, or whose
        drift is not taken off, no correction is drawn.
        """
        rule = self.rule
        if rule is None or judgement.speaks(Against.DRIFT) or judgement.verdict not in (Verdict.ACCEPTED, Verdict.CALIBRATION):
            return
        expected = EXACT.multiply(commanded.value, rule.density.value)
        gain = _gain(rule, judgement.adjusted, commanded)
        # U is k = 2; relative to what the commanded volume should weigh, as the gain is.
        weighing = EXACT.divide(judgement.adjusted_uncertainty.value, EXACT.multiply(Decimal(2), expected))
        noise = EXACT.add(_squared(rule.repeatability.fraction), _squared(weighing))
        self.observations.append(Observation(n, purge, judgement.adjusted, commanded, gain, EXACT.sqrt(noise)))
        if len(self.observations) > 1:
            self.variance = EXACT.add(self.variance, _squared(rule.drift.fraction))
        weight = EXACT.divide(self.variance, EXACT.add(self.variance, noise))
        self.estimate = EXACT.add(self.estimate, EXACT.multiply(weight, EXACT.subtract(gain, self.estimate)))
        self.variance = EXACT.multiply(EXACT.subtract(ONE, weight), self.variance)

    def bound_reason(self, *, first: bool = False) -> str | None:
        """Return why the next unit may not be corrected as it would have to be, or None. `first`: it is the first one."""
        rule = self.rule
        if rule is None:
            return None
        largest = rule.start_up_largest if first and rule.start_up_largest is not None else rule.largest
        if abs(self.factor - ONE) * 100 <= largest.value:
            return None
        return f"the next unit would need a flow factor of {plain_text(self.factor)}, the recipe allows {largest} about 1"


def _gain(rule: CorrectionRule, mass: Milligram, commanded: Microlitre) -> Decimal:
    # 1 µL of 1 g/mL weighs 1 mg.
    return EXACT.divide(mass.value, EXACT.multiply(commanded.value, rule.density.value))


def _squared(value: Decimal) -> Decimal:
    return EXACT.multiply(value, value)
