"""The uncertainty of the dose in one unit, before it is weighed and after.

By the root sum of squares of independent relative standard uncertainties; the expanded uncertainty has the coverage factor 2.
Certificates state expanded uncertainties (k = 2), which are halved; half a motor step is a rectangular distribution, divided by the
square root of 3. Source: JCGM 100:2008 (GUM) 4.3.7, 5.1.2, 6.2.1.

Before weighing the content rests on the commanded volume: concentration, density, motor step. Once weighed it rests on the mass:
concentration, balance. What the process itself scatters is not in it: the tolerance and the weighing are there for that.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from audit.canonical import JsonValue
from audit.quantities import EXACT, Milligram, Percent, plain_text, round_to
from recipes.dose import DoseResult, StrengthPlan
from recipes.model import InkLot, MachineProfile

_HUNDRED, _TWO = Decimal(100), Decimal(2)


@dataclass(frozen=True, slots=True)
class DoseUncertainty:
    """Relative standard uncertainties (k = 1) of one unit's dose in percent, and both combinations expanded (k = 2)."""

    label: Milligram
    concentration: Percent
    density: Percent
    volume_step: Percent
    balance: Percent
    by_volume: Percent
    by_mass: Percent

    def as_record(self) -> dict[str, JsonValue]:
        """Return percents as decimal text of three decimals, and the expanded uncertainties in mg of the active."""
        shown = ("concentration", "density", "volume_step", "balance")
        standard: dict[str, JsonValue] = {f"{name}_percent": _text(getattr(self, name).value) for name in shown}
        return {
            "strength_mg": self.label.text,
            "standard": standard,
            "expanded": {
                "k": 2,
                "by_volume_percent": _text(self.by_volume.value),
                "by_mass_percent": _text(self.by_mass.value),
                "by_volume_mg": _text((self.label * self.by_volume.fraction).value),
                "by_mass_mg": _text((self.label * self.by_mass.fraction).value),
            },
        }

    @property
    def text(self) -> str:
        """One line for a person."""
        mg = _text((self.label * self.by_mass.fraction).value)
        return (
            f"Uncertainty of {self.label} (k = 2): ± {mg} mg ({_short(self.by_mass)} %) once weighed, {_short(self.by_volume)} % by volume "
            f"alone; standard: concentration {_short(self.concentration)} %, density {_short(self.density)} %, "
            f"motor step {_short(self.volume_step)} %, balance {_short(self.balance)} %"
        )


def dose_uncertainty(plan: StrengthPlan, ink: InkLot, machine: MachineProfile, weighing: Milligram | None = None) -> DoseUncertainty:
    """Return the uncertainty of the dose in a unit of this plan from this ink on this machine.

    `weighing`: expanded uncertainty (k = 2) of the balance that the units are judged on, where it is not the one under the plate.
    """
    step = EXACT.divide(machine.e_area.value, machine.steps_per_mm.value)
    half_step = EXACT.divide(step, EXACT.multiply(_TWO, EXACT.sqrt(Decimal(3))))
    concentration = _relative(EXACT.divide(ink.assay_uncertainty.value, _TWO), ink.assay.value)
    density = _relative(EXACT.divide(ink.density_uncertainty.value, _TWO), ink.density.value)
    volume_step = _relative(half_step, plan.target_volume.value)
    judged_on = machine.balance.expanded_uncertainty if weighing is None else weighing
    balance = _relative(EXACT.divide(judged_on.value, _TWO), plan.target_mass.value)
    return DoseUncertainty(
        label=plan.label,
        concentration=concentration,
        density=density,
        volume_step=volume_step,
        balance=balance,
        by_volume=_expanded(concentration, density, volume_step),
        by_mass=_expanded(concentration, balance),
    )


def uncertainties(
    dose: DoseResult, inks: Iterable[InkLot], machine: MachineProfile, weighing: Milligram | None = None
) -> tuple[DoseUncertainty, ...]:
    """Return the uncertainty of each strength of each active, in the order of the dose; `inks` in the order of the heads.

    `weighing` as for `dose_uncertainty`.
    """
    parts = zip(dose.parts, inks, machine.heads, strict=False)
    return tuple(dose_uncertainty(plan, ink, head, weighing) for part, ink, head in parts for plan in part.strengths)


def _relative(standard: Decimal, value: Decimal) -> Percent:
    return Percent(EXACT.multiply(_HUNDRED, EXACT.divide(standard, value)))


def _expanded(*standard: Percent) -> Percent:
    squares = Decimal(0)
    for share in standard:
        squares = EXACT.add(squares, EXACT.multiply(share.value, share.value))
    return Percent(EXACT.multiply(_TWO, EXACT.sqrt(squares)))


def _text(value: Decimal) -> str:
    return plain_text(round_to(value, 3))


def _short(value: Percent) -> str:
    return plain_text(round_to(value.value, 2))
