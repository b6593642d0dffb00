"""From a prescription to units: dose, rounding, caps, fill mass from the assayed ink, volume.

Intermediate values keep 28 digits; rounding happens at two places only: the dose of a unit goes to the recipe's grid,
and values are rounded to be shown. Limits hold for the calculated dose and again for the rounded one, and nothing is
capped silently: a dose beyond a limit is refused. The arithmetic is explained in docs/dose.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from audit.canonical import JsonValue
from audit.quantities import (
    EXACT,
    Kilogram,
    Microlitre,
    Milligram,
    MilligramPerKilogram,
    MilligramPerSquareMetre,
    Percent,
    SquareMetre,
    fill_mass,
    plain_text,
    round_to_grid,
    volume_of,
)
from recipes.bsa import METHODS, body_surface_area, caution, implausible
from recipes.errors import DoseRefused
from recipes.inks import active_mismatches, specification_mismatches
from recipes.model import InkLot, Intake, Prescription, Recipe

_UNIT_OF_BASIS = {"mg/m2": MilligramPerSquareMetre, "mg/kg": MilligramPerKilogram, "mg": Milligram}
_LIGHTEST, _HEAVIEST = Kilogram("1.5"), Kilogram(250)


@dataclass(frozen=True, slots=True)
class StrengthPlan:
    """The units of one strength: how many, for which times of day, and what each must hold.

    `calculated` and `deviation` are those of the intake that rounding moved most, where several share a strength.
    """

    label: Milligram
    units: int
    intakes: tuple[str, ...]
    calculated: Milligram
    deviation: Percent
    target_mass: Milligram
    target_volume: Microlitre


@dataclass(frozen=True, slots=True)
class DoseResult:
    """The dose with all that led to it. `calculated` and `rounded` are per day or per dose, as `per` says.

    `second`: the dose of the second active in the same units. `arithmetic` is then that of both.
    """

    formula: str | None
    bsa: SquareMetre | None
    per: str
    calculated: Milligram
    rounded: Milligram
    daily_calculated: Milligram
    daily_rounded: Milligram
    strengths: tuple[StrengthPlan, ...]
    arithmetic: tuple[str, ...]
    second: DoseResult | None = None

    @property
    def parts(self) -> tuple[DoseResult, ...]:
        """The dose of each active."""
        return (self,) if self.second is None else (self, self.second)

    @property
    def units(self) -> int:
        return sum(plan.units for plan in self.strengths)

    def as_record(self) -> dict[str, JsonValue]:
        """Return decimal strings: rounded as a person reads them, and under `exact` all digits that were used."""
        record: dict[str, JsonValue] = {
            "formula": self.formula,
            "bsa_m2": None if self.bsa is None else self.bsa.rounded(6).text,
            "per": self.per,
            "calculated_mg": self.calculated.rounded(4).text,
            "rounded_mg": self.rounded.text,
            "daily_calculated_mg": self.daily_calculated.rounded(4).text,
            "daily_rounded_mg": self.daily_rounded.text,
            "exact": {"bsa_m2": None if self.bsa is None else self.bsa.text, "calculated_mg": self.calculated.text},
            "strengths": [_plan_record(plan) for plan in self.strengths],
            "arithmetic": list(self.arithmetic),
        }
        return record if self.second is None else {**record, "second": self.second.as_record()}


def calculate(recipe: Recipe, prescription: Prescription, ink: InkLot, second: InkLot | None = None) -> DoseResult:
    """Calculate the units of a prescription under a recipe, from its assayed ink lot, or from two where the recipe has a second ink.

    Raises DoseRefused with every reason found at the stage that fails: mismatch of active, basis or unit; height and
    weight; range, grid, daily total and length of the course. The reasons of both actives are given together.
    """
    _refuse(_number_reasons(recipe, prescription, second))
    if second is None:
        return _calculate(recipe, prescription, ink)
    reasons: list[str] = []
    found: list[DoseResult] = []
    for part, prescribed, lot in zip(recipe.parts, prescription.parts, (ink, second), strict=True):
        try:
            found.append(_calculate(part, prescribed, lot))
        except DoseRefused as refused:
            reasons.extend(f"{part.active.moiety}: {reason}" for reason in refused.reasons)
        else:
            reasons.extend(f"{part.active.moiety}: {reason}" for reason in _one_strength_reasons(found[-1]))
    _refuse(reasons)
    one, other = found
    lines = [f"{part.active.moiety}: {line}" for part, dose in zip(recipe.parts, found, strict=True) for line in dose.arithmetic]
    return replace(one, arithmetic=tuple(lines), second=other)


def _number_reasons(recipe: Recipe, prescription: Prescription, second: InkLot | None) -> tuple[str, ...]:
    """Return where recipe, prescription and ink lots are not for the same number of actives."""
    if recipe.second_ink is None:
        if prescription.second is None and second is None:
            return ()
        return (f"recipe {recipe.reference} is for one active; choose a recipe for both, or leave the second out",)
    reasons = []
    if prescription.second is None:
        reasons.append(f"recipe {recipe.reference} is for two actives, and one is prescribed; enter {recipe.second_ink.active.moiety} too")
    if second is None:
        reasons.append(f"recipe {recipe.reference} prints two inks, and one lot is named; choose one of {recipe.second_ink.ink.ink} too")
    return tuple(reasons)


def _one_strength_reasons(dose: DoseResult) -> tuple[str, ...]:
    """A unit of two inks has one strength of each: which of several goes with which would have to be guessed."""
    if len(dose.strengths) == 1:
        return ()
    strengths = ", ".join(str(plan.label) for plan in dose.strengths)
    return (f"the times of day would need {strengths}, and a unit of two inks has one strength of each; have equal doses prescribed",)


def _calculate(recipe: Recipe, prescription: Prescription, ink: InkLot) -> DoseResult:
    _refuse(_form_reasons(recipe, prescription, ink))
    per = prescription.per
    lines: list[str] = []
    bsa, amount = _amount(recipe, prescription, lines)
    calculated = _capped(recipe, amount, per, lines)
    intakes = _share(prescription, calculated)
    daily = calculated if per == "day" else calculated * len(intakes)
    reasons: list[str] = []
    plans = _plans(recipe, prescription, ink, intakes, lines, reasons)
    daily_rounded = Milligram(0)
    for plan in plans:
        daily_rounded = daily_rounded + plan.label * len(plan.intakes)
    daily_rounded = _tidy(daily_rounded)
    reasons.extend(_daily_reasons(recipe, daily, daily_rounded))
    reasons.extend(_cap_reasons(recipe, daily_rounded if per == "day" else plans[0].label))
    _refuse(reasons)
    if len(prescription.schedule) > 1:
        deviation = _deviation(daily, daily_rounded)
        lines.append(
            f"Daily total: {daily.rounded(4)} calculated, {daily_rounded} as units ({_signed(deviation)}, "
            f"limit {recipe.dose.largest_daily_deviation.text} %)"
        )
    lines.append("Rounding: values above are rounded to be shown; each step was calculated from 28 digits.")
    return DoseResult(
        formula=recipe.dose.bsa_formula,
        bsa=bsa,
        per=per,
        calculated=calculated,
        rounded=daily_rounded if per == "day" else plans[0].label,
        daily_calculated=daily,
        daily_rounded=daily_rounded,
        strengths=plans,
        arithmetic=tuple(lines),
    )


def _form_reasons(recipe: Recipe, prescription: Prescription, ink: InkLot) -> tuple[str, ...]:
    rule = recipe.dose
    reasons = list(active_mismatches(recipe, prescription.moiety, prescription.basis, "the prescription"))
    reasons.extend(specification_mismatches(recipe, ink))
    if not isinstance(prescription.prescribed, _UNIT_OF_BASIS[rule.basis]):
        reasons.append(
            f"the prescription is in {prescription.prescribed.unit}, recipe {recipe.reference} is dosed in {rule.basis}; "
            "have it prescribed so, or choose another recipe"
        )
    if prescription.per != rule.per:
        reasons.append(f"the prescription is per {prescription.per}, recipe {recipe.reference} is dosed per {rule.per}; have it restated")
    if prescription.per == "dose" and any(intake.parts != 1 for intake in prescription.schedule):
        reasons.append("a prescription per dose has equal doses; leave the parts out, or prescribe per day")
    if prescription.days > rule.largest_days:
        reasons.append(
            f"{prescription.days} days are asked for, recipe {recipe.reference} allows {rule.largest_days}; order a shorter course"
        )
    return tuple(reasons)


def _amount(recipe: Recipe, prescription: Prescription, lines: list[str]) -> tuple[SquareMetre | None, Milligram]:
    """Return body surface area, where it counts, and the calculated amount per day or per dose."""
    prescribed, per = prescription.prescribed, prescription.per
    formula = recipe.dose.bsa_formula
    match prescribed:
        case MilligramPerSquareMetre() if formula is not None:
            method = METHODS[formula]
            height, weight = prescription.height, prescription.weight
            if weight is None or (height is None and method.height is not None):
                needed = "the weight; enter it" if method.height is None else "height and weight; enter both"
                raise DoseRefused([f"a dose in mg/m2 by {method.name} needs {needed}"])
            bsa = body_surface_area(formula, height, weight, sex=prescription.sex, age=prescription.age)
            cap = recipe.dose.bsa_cap
            used = bsa if cap is None else min(bsa, cap)
            amount = Milligram(EXACT.multiply(prescribed.value, used.value))
            body = ", ".join(
                str(part) for part in (height, weight, *((prescription.sex, prescription.age) if method.adults else ())) if part
            )
            lines.append(f"Body surface area ({method.name}, {method.expression}) of {body}: {bsa.rounded(6).text} m²")
            if (warned := caution(formula, weight)) is not None:
                lines.append(f"Caution: {warned}")
            if used is not bsa:
                lines.append(f"Capped: the recipe calculates from {used.text} m² at most")
            lines.append(f"Calculated: {prescribed.text} mg/m² per {per} × {used.rounded(6).text} m² = {amount.rounded(4)} per {per}")
            return bsa, amount
        case MilligramPerKilogram():
            if prescription.weight is None:
                raise DoseRefused(["a dose in mg/kg needs the weight; enter it"])
            if not _LIGHTEST <= prescription.weight <= _HEAVIEST:
                raise DoseRefused([f"weight {prescription.weight} is outside {_LIGHTEST.text} to {_HEAVIEST}; weigh again"])
            _refuse(_stated_body(prescription))
            amount = Milligram(EXACT.multiply(prescribed.value, prescription.weight.value))
            lines.append(f"Calculated: {prescribed.text} mg/kg per {per} × {prescription.weight} = {amount.rounded(4)} per {per}")
            return None, amount
        case Milligram():
            _refuse(_stated_body(prescription))
            lines.append(f"Prescribed: {prescribed} per {per}")
            return None, prescribed
    raise DoseRefused([f"recipe {recipe.reference} names no formula for {prescribed.unit}; correct the recipe"])


def _capped(recipe: Recipe, amount: Milligram, per: str, lines: list[str]) -> Milligram:
    """Bring an amount down to the recipe's cap, before it is shared and rounded, and say so."""
    cap = recipe.dose.amount_cap
    if cap is None or amount <= cap:
        return amount
    lines.append(f"Capped: {amount.rounded(4)} per {per} is above the recipe's cap; {cap} per {per} is used")
    return cap


def _cap_reasons(recipe: Recipe, rounded: Milligram) -> list[str]:
    cap = recipe.dose.amount_cap
    if cap is None or rounded <= cap:
        return []
    return [f"rounded to the grid the amount would be {rounded}, above the cap of recipe {recipe.reference}, {cap}; have less prescribed"]


def _stated_body(prescription: Prescription) -> tuple[str, ...]:
    # The height does not enter a dose in mg or mg/kg, but where both are stated they must be a possible patient's: exchanged, they are not.
    if prescription.height is None or prescription.weight is None:
        return ()
    return implausible("mosteller", prescription.height, prescription.weight)


def _share(prescription: Prescription, calculated: Milligram) -> tuple[tuple[Intake, Milligram], ...]:
    if prescription.per == "dose":
        return tuple((intake, calculated) for intake in prescription.schedule)
    whole = sum(intake.parts for intake in prescription.schedule)
    return tuple((intake, calculated * intake.parts / whole) for intake in prescription.schedule)


def _plans(
    recipe: Recipe,
    prescription: Prescription,
    ink: InkLot,
    intakes: tuple[tuple[Intake, Milligram], ...],
    lines: list[str],
    reasons: list[str],
) -> tuple[StrengthPlan, ...]:
    """Round each intake to the grid and gather those of one strength, in the order of the day."""
    grid = recipe.dose.grid
    gathered: dict[Milligram, list[tuple[Intake, Milligram]]] = {}
    for intake, calculated in intakes:
        label = _tidy(Milligram(round_to_grid(calculated.value, grid.value)))
        deviation = _deviation(calculated, label)
        reasons.extend(_unit_reasons(recipe, intake, calculated, label, deviation))
        lines.append(
            f"{intake.time}: {calculated.rounded(4)}, nearest multiple of {grid} is {label} "
            f"({_signed(deviation)}, limit {recipe.dose.largest_rounding_deviation.text} %)"
        )
        gathered.setdefault(label, []).append((intake, calculated))
    _refuse(reasons)
    plans = []
    for label, members in gathered.items():
        calculated = max((amount for _, amount in members), key=lambda amount: abs(_deviation(amount, label)))
        mass = fill_mass(label, ink.assay)
        volume = volume_of(mass, ink.density)
        units = len(members) * prescription.days
        lines.append(f"Fill mass: {label} × 1000 ÷ {ink.assay} ({ink.strength_text}) = {mass.rounded(2)} of ink per unit")
        lines.append(f"Fill volume: {mass.rounded(2)} ÷ {ink.density} = {volume.rounded(2).text} µL per unit")
        lines.append(f"Units of {label}: {len(members)} per day × {prescription.days} days = {units}")
        names = tuple(intake.time for intake, _ in members)
        plans.append(StrengthPlan(label, units, names, calculated, _deviation(calculated, label), mass, volume))
    return tuple(plans)


def _unit_reasons(recipe: Recipe, intake: Intake, calculated: Milligram, label: Milligram, deviation: Percent) -> list[str]:
    rule = recipe.dose
    reasons = []
    # Both are tested: a calculated dose just outside must not come in by rounding, nor one just inside go out.
    outside = next((amount for amount in (calculated, label) if not rule.minimum <= amount <= rule.maximum), None)
    if outside is not None:
        reasons.append(
            f"{intake.time}: {outside.rounded(4)} is outside the range of recipe {recipe.reference}, "
            f"{rule.minimum} to {rule.maximum} per unit; check height, weight and prescription, or choose a recipe for this dose"
        )
    if abs(deviation) > rule.largest_rounding_deviation:
        reasons.append(
            f"{intake.time}: {calculated.rounded(4)} would be rounded to {label}, {_signed(deviation)}, "
            f"and {rule.largest_rounding_deviation} is the limit; have a dose prescribed that lies nearer to a multiple of {rule.grid}, "
            "or use a recipe with a finer grid"
        )
    return reasons


def _daily_reasons(recipe: Recipe, calculated: Milligram, rounded: Milligram) -> list[str]:
    rule = recipe.dose
    reasons = []
    over = next((amount for amount in (calculated, rounded) if amount > rule.daily_maximum), None)
    if over is not None:
        reasons.append(
            f"the daily total {over.rounded(4)} is above the daily maximum of recipe {recipe.reference}, {rule.daily_maximum}; "
            "check the prescription with its prescriber"
        )
    deviation = _deviation(calculated, rounded)
    if abs(deviation) > rule.largest_daily_deviation:
        reasons.append(
            f"the daily total would be {rounded} instead of {calculated.rounded(4)} ({_signed(deviation)}), and "
            f"{rule.largest_daily_deviation} is the limit; have the parts of the day prescribed otherwise"
        )
    return reasons


def _deviation(calculated: Milligram, rounded: Milligram) -> Percent:
    return Percent(EXACT.multiply(EXACT.subtract(rounded.ratio(calculated), Decimal(1)), Decimal(100)))


def _signed(deviation: Percent) -> str:
    shown = deviation.rounded(2).value
    return f"{'+' if shown > 0 else '−' if shown < 0 else '±'}{plain_text(abs(shown))} %"


def _tidy(amount: Milligram) -> Milligram:
    """Drop trailing zeros after the decimal point: a label says 2.5 mg, not 2.50 mg, and 5 mg, never 5.0 mg (ISMP)."""
    text = amount.text
    return Milligram(text.rstrip("0").rstrip(".")) if "." in text else amount


def _plan_record(plan: StrengthPlan) -> dict[str, JsonValue]:
    return {
        "strength_mg": plan.label.text,
        "units": plan.units,
        "intakes": list(plan.intakes),
        "calculated_mg": plan.calculated.rounded(4).text,
        "deviation_percent": plan.deviation.rounded(2).text,
        "unit_target": {"mass_mg": plan.target_mass.rounded(2).text, "volume_uL": plan.target_volume.rounded(2).text},
        "exact": {"mass_mg": plan.target_mass.text, "volume_uL": plan.target_volume.text},
    }


def _refuse(reasons: tuple[str, ...] | list[str]) -> None:
    if reasons:
        raise DoseRefused(reasons)
