"""Whether a prescription was printed before: a second course needs a second prescription."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from audit.canonical import JsonObject
from recipes.model import DoseOrder, Prescription

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
        if state is None:
            continue
        earlier = DoseOrder.model_validate(state["order"]).prescription
        what = f"as order {batch.get('order')}, batch {batch.get('batch')}"
        if earlier.patient == prescription.patient and earlier.number is not None and earlier.number == prescription.number:
            return f"prescription {prescription.number} of this patient was printed already, {what}"
        if _content(earlier) == _content(prescription) and (prescription.number is None or prescription.number == earlier.number):
            return f"the same course was printed for this patient already, {what}"
    return None


def _content(prescription: Prescription) -> JsonObject:
    return {name: value for name, value in prescription.as_record().items() if name not in _NOT_CONTENT}
