"""What is recorded of a unit's evidence, and which alarm a rejected unit raises."""

from __future__ import annotations

from decimal import Decimal

from audit.canonical import JsonValue
from audit.events import EntryDraft
from audit.quantities import EXACT, Microlitre, plain_text, round_to
from printer.acceptance import Against, Judgement, UnitEvidence, Weighing
from printer.alarms import AlarmName
from printer.plan import PlannedUnit
from printer.watch import Watch

_ALARMS = (
    ((Against.DRIFT,), AlarmName.BALANCE_DRIFT),
    ((Against.IDENTITY,), AlarmName.INK_IDENTITY),
    ((Against.REPORT, Against.READ_BACK), AlarmName.VOLUME_MISMATCH),
    ((Against.MASS,), None),
    ((Against.TIME,), AlarmName.PRINT_TIME),
)
"""Which alarm a rejected unit raises: the first that fits. What comes before the mass explains it; what comes after does not."""


def alarm_of(judgement: Judgement, *, purge: bool) -> AlarmName:
    """Return the alarm that a rejected unit, or purge unit, raises."""
    name = next((name for against, name in _ALARMS if judgement.speaks(*against)), None)
    if name is not None:
        return name
    return AlarmName.CORRECTION_LIMIT if purge else AlarmName.MASS_OUT_OF_TOLERANCE


def measured(judgement: Judgement, before: Weighing, after: Weighing, evidence: UnitEvidence, watch: Watch) -> dict[str, JsonValue]:
    """Return what was measured of a unit, as decimal text in the units that the names say."""

    def text(value: Decimal | None, places: int) -> str | None:
        return None if value is None else plain_text(round_to(value, places))

    reported = evidence.reported
    return {
        "gross_before_mg": before.second.text,
        "gross_after_mg": after.second.text,
        "drift_mg_per_s": text(judgement.drift.value, 4),
        "drift_correction_mg": text(judgement.drift_correction.value, 2),
        "expanded_uncertainty_mg": text(judgement.uncertainty.value, 2),
        "commanded_uL": text(evidence.commanded.value, 3),
        "reported_uL": None if reported is None else text(reported.value, 3),
        "pressure_max_kPa": text(watch.pressure_max, 1),
        "nozzle_min_C": text(watch.nozzle_min, 2),
        "nozzle_max_C": text(watch.nozzle_max, 2),
        "plate_min_C": text(watch.plate_min, 2),
        "plate_max_C": text(watch.plate_max, 2),
        "printed_s": None if evidence.printed_us is None else text(EXACT.divide(Decimal(evidence.printed_us), Decimal(1_000_000)), 1),
    }


def reasons_of(draft: EntryDraft) -> tuple[str, ...]:
    """Return the reasons in the draft of a unit's end."""
    reasons = draft.new.get("reasons")
    return tuple(str(reason) for reason in reasons) if isinstance(reasons, list) else ()


def extruding_span(unit: PlannedUnit) -> tuple[int, int]:
    """Return the indices of the first and the last extruding command of the unit."""
    extruding = [index for index, line in enumerate(unit.lines) if line.exposure_nl > 0]
    return (extruding[0], extruding[-1]) if extruding else (0, 0)


def microlitres(nanolitres: int) -> Microlitre:
    """Return a volume of whole nL in µL, exactly."""
    return Microlitre(EXACT.divide(Decimal(nanolitres), Decimal(1000)))
