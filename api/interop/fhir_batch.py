"""A batch as other systems read it: a batch analysis (certificate of analysis as data) and a dispense, as FHIR R5.

Made from the batch record alone, so that what goes out is what was signed. The batch analysis is a collection after the *Batch Analysis*
bundle of HL7's Pharmaceutical Quality (Industry) guide 1.0.0: protocol, test methods with their limits, results, report, organisation; no
profile is claimed, because the guide also wants the substance's full definition. Never a patient: the analysis carries no pseudonym.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Sequence
from decimal import Decimal

from pydantic import ValidationError

from api.errors import WrongState
from api.interop.fhir_amounts import UCUM
from audit.canonical import JsonObject, JsonValue
from audit.errors import RecordError
from audit.release.batch_record import record_sha256
from audit.release.label import released_units
from audit.release.trail_view import as_list, as_object, number_of, text_of

_NAMESPACE = uuid.UUID("6a2f4c1e-0d0b-5b0c-8f57-6f2a6b1c9d11")
_RELEASED = frozenset({"released", "partly released"})
_STATISTICS = (("mean_percent", "mean content by mass"), ("sd_percent", "standard deviation of content by mass"))

Resource = dict[str, object]


def batch_analysis(record: JsonObject, *, site: str) -> bytes:
    """Return the batch analysis of a signed batch as FHIR JSON (UTF-8). Raises WrongState where there is no disposition yet."""
    _signed(record)
    organisation = _entry(record, "Organization", "site", {"name": site, "active": True, "identifier": [_identifier("site", site)]})
    definitions: list[Resource] = []
    results: list[Resource] = []
    for strength in map(as_object, as_list(record.get("strengths"))):
        for definition, observation in _tests(record, strength):
            definitions.append(definition)
            results.append(observation)
    plan = _entry(
        record,
        "PlanDefinition",
        "control-strategy",
        {
            "status": "active",
            "version": text_of(as_object(record.get("recipe")).get("reference")),
            "identifier": [_identifier("recipe-digest", text_of(as_object(record.get("recipe")).get("digest")) or "unknown")],
            "title": text_of(as_object(record.get("recipe")).get("title")),
            "action": [{"title": _title(item), "definitionUri": str(item["fullUrl"])} for item in definitions],
        },
    )
    report = _entry(
        record,
        "DiagnosticReport",
        "report",
        {
            "status": "final",
            "code": {"text": "batch analysis"},
            "identifier": [_identifier("record-sha256", record_sha256(record))],
            "effectiveDateTime": _moment(as_object(record.get("times")).get("last_entry")),
            "performer": [{"reference": organisation["fullUrl"]}],
            "result": [{"reference": item["fullUrl"]} for item in results],
            "conclusion": _conclusion(record),
        },
    )
    medications = [_medication(record, actives) for actives in _kinds_of_units(record).values()]
    bundle: Resource = {
        "resourceType": "Bundle",
        "type": "collection",
        "identifier": _identifier("batch", text_of(record.get("batch")) or ""),
        "timestamp": _moment(as_object(record.get("times")).get("last_entry")),
        "entry": [*medications, plan, *definitions, report, *results, organisation],
    }
    return _checked(bundle)


def dispense(record: JsonObject, strength_mg: str, quantity: int, *, patient: str, handed_over: str) -> bytes:
    """Return the MedicationDispense of units of one strength of a released batch as FHIR JSON.

    `strength_mg` of units of two actives is both, in the order of the inks (`50/12.5`). `patient` is the reference by which the receiving
    system knows the patient; `handed_over` is RFC 3339. Raises WrongState where the batch is not released, has no such strength, or has
    fewer accepted units of it that were not taken away.
    """
    _signed(record)
    if text_of(record.get("disposition")) not in _RELEASED:
        raise WrongState(f"Batch {record.get('batch')} is {record.get('disposition')}.", remedy="Only what was released is dispensed.")
    strengths = tuple(strength_mg.split("/"))
    actives = _kinds_of_units(record).get(strengths)
    accepted = sum(unit.strengths == strengths for unit in released_units(record))
    if actives is None or not 1 <= quantity <= accepted:
        raise WrongState(
            f"Batch {record.get('batch')} has {accepted} accepted units of {strength_mg} mg, not {quantity}.", remedy="Check the pack."
        )
    prescription = as_object(record.get("prescription"))
    medication = _unit(record, actives)
    number = text_of(prescription.get("number"))
    resource: Resource = {
        "resourceType": "MedicationDispense",
        "status": "completed",
        "identifier": [_identifier("batch", f"{text_of(record.get('batch'))}/{strength_mg}")],
        "contained": [medication],
        "medication": {"reference": {"reference": f"#{medication['id']}"}},
        "subject": {"reference": patient},
        "quantity": {"value": quantity, "unit": "unit", "system": UCUM, "code": "{unit}"},
        "whenHandedOver": handed_over,
        **({"authorizingPrescription": [{"identifier": _identifier("prescription", number)}]} if number else {}),
        **({"note": [{"text": str(record["notice"])}]} if record.get("notice") else {}),
    }
    return _checked(resource)


def _kinds_of_units(record: JsonObject) -> dict[tuple[str, ...], tuple[JsonObject, ...]]:
    """Return each kind of unit by its strengths in mg, one for each active, with the record's row of each.

    The rows of a record are those of its inks: which of them are together in a unit, the units say.
    """
    rows = [as_object(row) for row in as_list(record.get("strengths"))]
    if all(row.get("part") is None for row in rows):
        return {(text_of(row.get("strength_mg")) or "",): (row,) for row in rows}
    of_part = {(row.get("part"), row.get("strength_mg")): row for row in rows}
    found: dict[tuple[str, ...], tuple[JsonObject, ...]] = {}
    for unit in map(as_object, as_list(record.get("units"))):
        parts = [(part.get("part"), part.get("strength_mg")) for part in map(as_object, as_list(unit.get("parts")))]
        if parts and all(part in of_part for part in parts):
            found.setdefault(tuple(str(strength) for _, strength in parts), tuple(of_part[part] for part in parts))
    return found


def _signed(record: JsonObject) -> None:
    if not as_list(record.get("signatures")) or text_of(record.get("disposition")) in (None, "held"):
        raise WrongState(f"Batch {record.get('batch')} has no signed disposition.", remedy="Sign its disposition first.")


def _tests(record: JsonObject, strength: JsonObject) -> Iterator[tuple[Resource, Resource]]:
    """Give each test of a strength as its definition (with limits, where there are any) and its result."""
    label, result = text_of(strength.get("strength_mg")) or "", as_object(strength.get("uniformity"))
    statistic = as_object(result.get("statistic"))
    named: list[tuple[str, str, JsonValue, Decimal | None]] = [(name, title, result.get(name), None) for name, title in _STATISTICS]
    limit = number_of(statistic.get("limit_percent"))
    named.append(("statistic", text_of(statistic.get("name")) or "statistic", statistic.get("value_percent"), limit))
    moiety = _moiety(as_object(record.get("product")), strength)
    for name, title, value, high in named:
        number = number_of(value)
        if number is None:
            continue
        code = {"text": f"{title}, {moiety} {label} mg"}
        key = f"{label}/{moiety}/{name}"
        definition: Resource = {"status": "active", "code": code, "title": code["text"]}
        if high is not None:
            definition["qualifiedValue"] = [{"rangeCategory": "absolute", "range": {"high": _percent(high)}}]
        defined = _entry(record, "ObservationDefinition", f"definition/{key}", definition)
        observation: Resource = {
            "status": "final",
            "code": code,
            "instantiatesReference": {"reference": defined["fullUrl"]},
            "valueQuantity": _percent(number),
        }
        if name == "statistic":
            observation["note"] = [{"text": text_of(result.get("claim")) or ""}]
        yield defined, _entry(record, "Observation", f"result/{key}", observation)


def _medication(record: JsonObject, actives: Sequence[JsonObject]) -> Resource:
    unit = _unit(record, actives)
    return _entry(record, "Medication", f"medication/{unit['id']}", unit)


def _unit(record: JsonObject, actives: Sequence[JsonObject]) -> Resource:
    """Return a unit as a Medication: each active with its basis and strength, batch and expiry."""
    product, use_by = as_object(record.get("product")), as_object(as_object(record.get("release")).get("use_by"))
    stated = [_stated(product, row) for row in actives]
    labels = [text_of(row.get("strength_mg")) or "0" for row in actives]
    moieties = [_moiety(product, row) for row in actives]
    batch: Resource = {"lotNumber": text_of(record.get("batch"))}
    if day := text_of(use_by.get("day")):
        batch["expirationDate"] = day
    named = " and ".join(f"{name} {label} mg" for name, label in zip(stated, labels, strict=True))
    return {
        "resourceType": "Medication",
        "id": re.sub(r"[^A-Za-z0-9-]", "-", "-".join(("unit", *labels, *moieties)))[:64],
        "code": {"text": f"{named} {text_of(product.get('dosage_form')) or ''}".strip()},
        "doseForm": {"text": text_of(product.get("dosage_form")) or "unit"},
        "batch": batch,
        "ingredient": [
            {
                "item": {"concept": {"text": name}},
                "isActive": True,
                "strengthRatio": {"numerator": _milligrams(label), "denominator": {"value": 1, "system": UCUM, "code": "{unit}"}},
            }
            for name, label in zip(stated, labels, strict=True)
        ],
    }


def _moiety(product: JsonObject, row: JsonObject) -> str:
    return text_of(row.get("moiety")) or text_of(product.get("moiety")) or ""


def _stated(product: JsonObject, row: JsonObject) -> str:
    """Return an active with the basis that its strength is stated as."""
    basis = text_of(product.get("second_basis" if row.get("part") == 2 else "basis"))
    return f"{_moiety(product, row)} (stated as {basis})" if basis else _moiety(product, row)


def _conclusion(record: JsonObject) -> str:
    claims = []
    for row in map(as_object, as_list(record.get("strengths"))):
        named = " ".join(text for text in (text_of(row.get("moiety")), f"{text_of(row.get('strength_mg'))} mg") if text)
        claims.append(f"{named}: {text_of(as_object(row.get('uniformity')).get('claim'))}")
    notice = text_of(record.get("notice"))
    return ". ".join([f"Disposition: {text_of(record.get('disposition'))}", *claims, *([notice] if notice else [])])


def _entry(record: JsonObject, kind: str, key: str, body: Resource) -> Resource:
    """Return a bundle entry whose name follows from the record and its place in it: the same record gives the same bytes."""
    name = uuid.uuid5(_NAMESPACE, f"{record_sha256(record)}/{kind}/{key}")
    present = {field: value for field, value in body.items() if value is not None}
    return {"fullUrl": f"urn:uuid:{name}", "resource": {"resourceType": kind, "id": str(name), **present}}


def _title(entry: Resource) -> str:
    resource = entry["resource"]
    return str(resource["title"]) if isinstance(resource, dict) else ""


def _identifier(kind: str, value: str) -> Resource:
    return {"system": f"urn:dosewright:{kind}", "value": value}


def _percent(value: Decimal) -> Resource:
    return {"value": value, "unit": "% of label", "system": UCUM, "code": "%"}


def _milligrams(text: str) -> Resource:
    return {"value": Decimal(text), "unit": "mg", "system": UCUM, "code": "mg"}


def _moment(value: JsonValue) -> str | None:
    return text_of(value)


def _checked(resource: Resource) -> bytes:
    """Hold a resource against its published definition and write it with exact decimals. Raises RecordError where it does not fit."""
    kind = str(resource["resourceType"])
    body = {name: value for name, value in resource.items() if name != "resourceType" and value is not None}
    from fhir.resources import get_fhir_model_class  # the definitions are loaded where they are asked for

    try:
        get_fhir_model_class(kind).model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise RecordError(
            f"The record cannot be written as FHIR: {place}: {first['msg']}.", remedy="Report it with record.json."
        ) from error
    return _with_exact_decimals({"resourceType": kind, **body}).encode()


def _with_exact_decimals(tree: object) -> str:
    """Return JSON text in which a Decimal stands digit by digit, as FHIR asks of its decimals (significant digits are kept)."""
    marks: dict[str, str] = {}

    def write(value: object) -> object:
        if isinstance(value, Decimal):
            mark = f"\u0000{len(marks)}\u0000"
            marks[json.dumps(mark)] = format(value, "f")
            return mark
        raise TypeError(f"a {type(value).__name__} is no value of FHIR")

    text = json.dumps(tree, ensure_ascii=False, default=write, separators=(",", ":"))
    return re.sub(r'"\\u0000\d+\\u0000"', lambda found: marks[found.group()], text)
