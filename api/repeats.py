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
        earlier = DoseOrder.model_validate(state["order"]).prescription
        what = f"as order {batch.get('order')}, batch {batch.get('batch')}"
        if earlier.number is not None and earlier.number == prescription.number:
            return f"prescription {prescription.number} of this patient was printed already, {what}"
        if _same_content(earlier, prescription) and (prescription.number is None or prescription.number == earlier.number):
            return f"the same course was printed for this patient already, {what}"
    return None


def _patient(state: JsonObject) -> str | None:
    return text_of(as_object(as_object(state.get("order")).get("prescription")).get("patient"))


def _same_content(one: Prescription, other: Prescription) -> bool:
    """Whether two prescriptions are for the same course, however amounts and times were written: 1.0 mg is 1 mg."""
    names = Prescription.model_fields.keys() - _NOT_CONTENT - {"schedule"}
    return same_times(one.schedule, other.schedule) and all(getattr(one, name) == getattr(other, name) for name in names)
