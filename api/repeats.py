"""Whether a prescription was printed before: a second course needs a second prescription."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from audit.canonical import JsonObject
from audit.release.trail_view import as_object, text_of
from recipes.model import DoseOrder, Prescription
from recipes.times_of_day import same_times

_NOT_CONTENT = frozenset({"number", "prescriber", "measured", "body_confirmed", "height", "weight", "age", "sex"})


def printed_before(prescription: Prescription, batches: Iterable[JsonObject], orders: Mapping[str, JsonObject]) -> str | None:
    """Say where this prescription was printed already, None where it was not.

    It is the same where patient and number are the same; without a number, where patient, actives, amounts, times and days are. A
    batch that was rejected, or printed in development, was not supplied and does not count. `batches` with their names under `batch`,
    `orders` by name.
    """
    for batch in batches:
        if "run" not in batch or batch.get("disposition") == "rejected" or batch.get("purpose") is not None:
            continue
        state = orders.get(str(batch.get("order")))
        if state is None or _patient(state) != prescription.patient:
            continue
        found = repeated(DoseOrder.model_validate(state["order"]).prescription, prescription)
        if found is not None:
            return f"{found} was printed already, as order {batch.get('order')}, batch {batch.get('batch')}"
    return None


def repeated(earlier: Prescription, prescription: Prescription) -> str | None:
    """Say in what a prescription is an earlier one, None where it is another."""
    if earlier.patient != prescription.patient:
        return None
    if earlier.number is not None and earlier.number == prescription.number:
        return f"prescription {prescription.number} of this patient"
    same = _same_content(earlier, prescription) and (prescription.number is None or prescription.number == earlier.number)
    return "the same course of this patient" if same else None


def _patient(state: JsonObject) -> str | None:
    return text_of(as_object(as_object(state.get("order")).get("prescription")).get("patient"))


def _same_content(one: Prescription, other: Prescription) -> bool:
    """Whether two prescriptions are for the same course, however amounts and times were written: 1.0 mg is 1 mg."""
    names = Prescription.model_fields.keys() - _NOT_CONTENT - {"schedule"}
    return same_times(one.schedule, other.schedule) and all(getattr(one, name) == getattr(other, name) for name in names)
