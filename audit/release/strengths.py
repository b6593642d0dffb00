"""The strengths of a batch: what was planned, printed and accepted of each, and the uniformity of its units."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from audit.canonical import JsonObject, JsonValue
from audit.quantities import EXACT
from audit.release.claims import Basis, Uniformity, evaluate
from audit.release.evidence import BatchEntries
from audit.release.release_rules import read_rules
from audit.release.small_batch import Prior
from audit.release.trail_view import as_list, as_object, count_of, number_of, text_of
from audit.release.uniformity import content_by_mass

_HUNDRED = Decimal(100)


def content_of(unit: JsonObject, assay: Decimal | None) -> Decimal | None:
    mass, label = number_of(unit.get("mass_mg")), number_of(unit.get("strength_mg"))
    if mass is None or assay is None or label is None or assay <= 0 or label <= 0:
        return None
    return content_by_mass(mass, assay, label)


def strengths_of(entries: BatchEntries, units: Sequence[JsonObject]) -> tuple[list[JsonValue], list[Uniformity], tuple[str, ...]]:
    """Return the record of each strength, the statistics of its accepted units, and, with two inks, the active of each.

    Strengths are never pooled; of units of two inks each active has strengths and statistics of its own, from the masses of its part.
    """
    dose, rules = as_object(entries.fact("dose")), read_rules(entries.fact("release_rules"))
    first = _Ink(entries.ink, dose, number_of(entries.fact("concentration_rsd_validation")), rules.prior)
    if not entries.second_ink:
        return *_of_ink(entries, units, first), ()
    rows: list[JsonValue] = []
    results: list[Uniformity] = []
    names: list[str] = []
    validated = number_of(entries.fact("second_concentration_rsd_validation"))
    second = _Ink(entries.second_ink, as_object(dose.get("second")), validated, rules.second_prior)
    for number, ink in enumerate((first, second), start=1):
        of_units = [(unit, as_object(part)) for unit in units for part in as_list(unit.get("parts"))]
        parts = [_of_whole(unit, part) for unit, part in of_units if part.get("part") == number and part["strength_mg"] is not None]
        found, evaluated = _of_ink(entries, parts, ink)
        named: JsonObject = {"part": number, "moiety": ink.certificate.get("moiety"), "ink_lot": ink.certificate.get("lot")}
        rows.extend({**as_object(row), **named} for row in found)
        results.extend(evaluated)
        names.extend([text_of(ink.certificate.get("moiety")) or ""] * len(evaluated))
    return rows, results, tuple(names)


@dataclass(frozen=True, slots=True)
class _Ink:
    """One ink of the units: its certificate, its dose, the recipe's validated concentration RSD (%) and its stated history."""

    certificate: JsonObject
    dose: JsonObject
    validated_rsd: Decimal | None
    prior: Prior | None

    @property
    def assay(self) -> Decimal | None:
        return number_of(self.certificate.get("assay"))

    def basis(self, entries: BatchEntries, strength: str, unit_mass: JsonValue) -> Basis:
        """Return what is known of the units of a strength beside their masses."""
        assay, uncertainty = self.assay, number_of(self.certificate.get("assay_uncertainty"))
        target = number_of(entries.fact("target_content_percent"))
        return Basis(
            form="capsule" if text_of(entries.fact("dosage_form")) == "capsule" else "tablet",
            active_mg=number_of(strength),
            unit_mass_mg=number_of(unit_mass),
            validated_rsd=self.validated_rsd,
            certificate_rsd=number_of(self.certificate.get("concentration_rsd")),
            target=_HUNDRED if target is None else target,
            assay_expanded_percent=EXACT.divide(EXACT.multiply(uncertainty, _HUNDRED), assay) if assay and uncertainty else None,
            prior=self.prior,
            real_time=entries.real_time,
        )


def _of_whole(unit: JsonObject, part: JsonObject) -> JsonObject:
    """Return a part for the statistics of its ink: it counts as accepted only where its whole unit is."""
    verdict = part.get("verdict") if unit["verdict"] == "accepted" else "rejected"
    return {**part, "verdict": verdict, "whole_mass_mg": unit.get("target_mass_mg")}


def _of_ink(entries: BatchEntries, units: Sequence[JsonObject], ink: _Ink) -> tuple[list[JsonValue], list[Uniformity]]:
    planned = _planned(entries, units, ink.dose)
    rows: list[JsonValue] = []
    results: list[Uniformity] = []
    for strength, (count, plan) in planned.items():
        mine = [unit for unit in units if unit["strength_mg"] == strength]
        first, target = mine[0] if mine else {}, as_object(plan.get("unit_target"))
        aimed = either(target, ("mass_mg",), first.get("target_mass_mg"))
        basis = ink.basis(entries, strength, either(first, ("whole_mass_mg",), aimed))
        accepted = _evaluate([unit for unit in mine if unit["verdict"] == "accepted"], ink.assay, basis)
        everything = _evaluate([unit for unit in mine if unit["mass_mg"] is not None], ink.assay, basis)
        results.append(accepted)
        rows.append(
            {
                "strength_mg": strength,
                "units_planned": count,
                "units_printed": len(mine),
                "units_accepted": sum(unit["verdict"] == "accepted" for unit in mine),
                "unit_target": {
                    "mass_mg": aimed,
                    "volume_uL": either(target, ("volume_uL",), first.get("target_volume_uL")),
                },
                "shape": as_object(first.get("shape")),
                "uniformity": accepted.as_record(),
                "uniformity_all": everything.as_record(),
            }
        )
    return rows, results


def either(source: JsonObject, names: Iterable[str], fallback: JsonValue) -> JsonValue:
    return next((source[name] for name in names if source.get(name) is not None), fallback)


def _planned(entries: BatchEntries, units: Sequence[JsonObject], dose: JsonObject) -> dict[str, tuple[int, JsonObject]]:
    """Return for each strength the number of planned units and its plan, from the dose that the cell calculated."""
    plans = [as_object(plan) for plan in as_list(dose.get("strengths"))]
    found: dict[str, tuple[int, JsonObject]] = {}
    for plan in plans:
        strength = text_of(either(plan, ("strength_mg", "label_mg"), None))
        if strength is not None:
            found[strength] = (count_of(plan.get("units")) or 0, plan)
    for unit in units:
        strength = text_of(unit["strength_mg"]) or ""
        if strength not in found:
            found[strength] = (sum(other["strength_mg"] == strength for other in units), {})
    if len(found) == 1 and not plans:
        # Without a dose in the trail, the run's own number of units is the plan: units never begun count as planned.
        runs = (count_of(state.get("units")) or 0 for state in entries.run_states.values())
        ((strength, (count, plan)),) = found.items()
        found[strength] = (max(count, *runs), plan)
    return found


def _evaluate(units: Sequence[JsonObject], assay: Decimal | None, basis: Basis) -> Uniformity:
    pairs = [(content_of(unit, assay), number_of(unit.get("mass_mg"))) for unit in units]
    known = [(content, mass) for content, mass in pairs if content is not None and mass is not None]
    return evaluate([content for content, _ in known], [mass for _, mass in known], basis)
