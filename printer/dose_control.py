"""Run-to-run correction of the dose: from the masses of accepted units to the flow factor of the next one.

The gain of a unit is its mass over what its commanded volume would weigh by the ink certificate: 1 where nozzle, drive and
ink are what they were validated as. Its exponentially weighted mean is the estimate; the next unit is extruded with one
over the estimate. The first units count evenly until the memory of the mean is full, so that the first correction is not
a fraction of the error.

Two bounds, both of the recipe. A factor beyond `largest` ends the run. A gain further from 1 than the uncertainty of the
certificate's density and `ink_limit` together is an *ink identity hold*: an ink that has dried out, or is another one,
looks just like an error of the flow, and restoring its mass would misdose. It is never corrected away.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from audit.quantities import EXACT, GramPerMillilitre, Microlitre, Milligram, Percent, plain_text, round_to

ONE = Decimal(1)
_PLACES = 4


@dataclass(frozen=True, slots=True)
class CorrectionRule:
    """The recipe's rule with the ink certificate's density; `density_uncertainty` relative, in percent (k = 2)."""

    weight: Decimal
    largest: Percent
    ink_limit: Percent
    density: GramPerMillilitre
    density_uncertainty: Percent

    @property
    def identity_limit(self) -> Decimal:
        """Largest deviation in percent of mass per commanded volume that may be anything but another ink."""
        return EXACT.add(self.ink_limit.value, self.density_uncertainty.value)


@dataclass(frozen=True, slots=True)
class Observation:
    """One accepted unit: its mass with the drift taken off, what was commanded, and the gain that follows."""

    n: int
    mass: Milligram
    commanded: Microlitre
    gain: Decimal


@dataclass(slots=True)
class DoseControl:
    """The correction of one run. Without a rule the factor stays 1 and nothing is held.

    Concurrency: owned by the run machine.
    """

    rule: CorrectionRule | None
    estimate: Decimal = ONE
    observations: list[Observation] = field(default_factory=list)

    @property
    def factor(self) -> Decimal:
        """The flow factor for the next unit, rounded to 0.0001."""
        return round_to(EXACT.divide(ONE, self.estimate), _PLACES)

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

    def observe(self, n: int, mass: Milligram, commanded: Microlitre) -> None:
        """Take an accepted unit into the estimate."""
        rule = self.rule
        if rule is None:
            return
        gain = _gain(rule, mass, commanded)
        self.observations.append(Observation(n, mass, commanded, gain))
        weight = max(rule.weight, EXACT.divide(ONE, Decimal(len(self.observations))))
        self.estimate = EXACT.add(self.estimate, EXACT.multiply(weight, EXACT.subtract(gain, self.estimate)))

    def bound_reason(self) -> str | None:
        """Return why the next unit may not be corrected as it would have to be, or None."""
        rule = self.rule
        if rule is None or abs(self.factor - ONE) * 100 <= rule.largest.value:
            return None
        return f"the next unit would need a flow factor of {plain_text(self.factor)}, the recipe allows {rule.largest} about 1"


def _gain(rule: CorrectionRule, mass: Milligram, commanded: Microlitre) -> Decimal:
    # 1 µL of 1 g/mL weighs 1 mg.
    return EXACT.divide(mass.value, EXACT.multiply(commanded.value, rule.density.value))
