"""What a FHIR prescription says besides what was read of it: named one by one, so that nothing is passed over in silence.

The reader (`api.interop.fhir_request`) takes what the order form has a field for. Everything else that a person would want to have seen
is listed here with its place and, where it is short, its text. Source: HL7 FHIR R5, MedicationRequest, Dosage, Patient, Observation.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

_MOST, _LONGEST = 40, 120
_FRAME = frozenset({"resourceType", "id", "meta", "text", "language", "status", "intent", "subject", "contained"})
_READ: Mapping[str, frozenset[str]] = {
    "MedicationRequest": _FRAME
    | {"identifier", "medication", "medicationCodeableConcept", "medicationReference", "requester", "dosageInstruction", "dispenseRequest"},
    "dosageInstruction": frozenset({"timing", "doseAndRate", "sequence"}),
    "dispenseRequest": frozenset({"expectedSupplyDuration"}),
    "Patient": _FRAME | {"identifier", "name", "birthDate", "gender"},
    "Observation": _FRAME | {"code", "valueQuantity", "effectiveDateTime", "effectiveInstant"},
}
_ABOUT = ("MedicationRequest", "Patient", "Observation", "Medication")
"""Types of resource of which something is read."""


def not_taken_over(data: bytes) -> tuple[str, ...]:
    """Return what stands in a request and was not read, each with its place; `data` is one that `read_request` has accepted."""
    tree = json.loads(data)
    entries = tree.get("entry", []) if tree.get("resourceType") == "Bundle" else [{"resource": tree}]
    found: list[str] = []
    for entry in entries:
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if isinstance(resource, dict):
            found += _of(resource)
    if len(found) > _MOST:
        return (*found[:_MOST], f"and {len(found) - _MOST} more")
    return tuple(found)


def _of(resource: Mapping[str, object]) -> Iterator[str]:
    kind = str(resource.get("resourceType", "resource"))
    if kind not in _ABOUT:
        yield f"{kind} {resource.get('id', '')}".strip()
        return
    yield from _beside(resource, kind, kind)
    if kind == "MedicationRequest":
        dosages = resource.get("dosageInstruction")
        for number, dosage in enumerate(dosages if isinstance(dosages, list) else [], 1):
            if isinstance(dosage, dict):
                yield from _beside(dosage, "dosageInstruction", f"dosageInstruction {number}")
        supply = resource.get("dispenseRequest")
        if isinstance(supply, dict):
            yield from _beside(supply, "dispenseRequest", "dispenseRequest")


def _beside(value: Mapping[str, object], known: str, place: str) -> Iterator[str]:
    read = _READ.get(known)
    for name, item in value.items():
        if read is not None and name not in read and not name.startswith("_"):
            shown = _text(item)
            yield f"{place}.{name}: {shown}" if shown else f"{place}.{name}"


def _text(value: object) -> str:
    """Return the text of a value where it is short: itself, or what its parts call their text or display."""
    if isinstance(value, (str, int, float, bool)):
        return str(value)[:_LONGEST]
    if isinstance(value, list):
        return "; ".join(filter(None, map(_text, value)))[:_LONGEST]
    if isinstance(value, dict):
        return next((str(value[name])[:_LONGEST] for name in ("text", "display", "value", "allowedBoolean") if name in value), "")
    return ""
