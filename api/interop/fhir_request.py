"""A prescription from another system: a FHIR bundle (R4 or R5) with one MedicationRequest, read into the fields of the order form.

Nothing is ordered by it. What cannot be read exactly stays empty and is named in `findings`; what would change the meaning (a modifier
extension, a dose range, a taper, *as needed*) refuses the whole. The second person still enters the figures from the prescription.
Sources: HL7 FHIR R4 (4.0.1) and R5 (5.0.0), MedicationRequest; LOINC 8302-2 and 3137-7 (height), 29463-7 and 3141-9 (weight).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from pydantic import ValidationError

from api.interop.fhir_amounts import (
    Amount,
    amount,
    bounded_number,
    days_of,
    length_cm,
    mass_kg,
    period_of,
    refuse,
    shares,
    times_of_day,
    whole_days,
)
from audit.quantities import plain_text

LARGEST = 1 << 20
HEIGHT, WEIGHT = frozenset({"8302-2", "3137-7"}), frozenset({"29463-7", "3141-9"})
_LOINC = "http://loinc.org"
_INTENTS = frozenset({"order", "original-order", "filler-order", "instance-order"})
_FINAL = frozenset({"final", "amended", "corrected"})
_SEXES = {"female": "female", "male": "male"}
_R5_ONLY = "medication"


@dataclass(frozen=True, slots=True)
class Active:
    """A moiety and basis that an effective recipe is written for."""

    moiety: str
    basis: str


@dataclass(slots=True)
class FhirPrescription:
    """Fields of the order form, as text; identifying data of the patient, to be sealed; and what a person has to look at."""

    fields: dict[str, str] = field(default_factory=dict)
    identity: dict[str, str] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)

    def put(self, name: str, value: str | Decimal) -> None:
        """Fill a field; a number is written without trailing zeros, an empty text not at all."""
        if value:
            self.fields[name] = value if isinstance(value, str) else plain_text(value.normalize())


@dataclass(frozen=True, slots=True)
class _Bundle:
    """The resources of a bundle by type, each as plain values with exact decimals, and where to find one by reference."""

    by_type: Mapping[str, Sequence[Mapping[str, object]]]
    by_reference: Mapping[str, Mapping[str, object]]


def read_request(data: bytes, actives: Iterable[Active], *, today: date) -> FhirPrescription:
    """Read a MedicationRequest, alone or in a bundle with its Patient, Medication and Observations of height and weight.

    `actives`: what can be printed here, so that moiety and basis are filled in only where the request names one of them. `today`: the day
    on which an age is wanted. Raises InputInvalid naming what is wrong and what to do.
    """
    bundle = _read(data)
    request = _only_request(bundle)
    found = FhirPrescription()
    _refuse_what_changes_it(request)
    _medication(bundle, request, tuple(actives), found)
    _dosage(request, found)
    _patient(_patient_of(bundle, request.get("subject")), found, today)
    _body(bundle, request, found)
    found.put("prescriber", _text(_object(request.get("requester")).get("display")))
    found.put("number", _number(request))
    return found


def _read(data: bytes) -> _Bundle:
    if len(data) > LARGEST:
        raise refuse(f"it is larger than {LARGEST} bytes", "Send one prescription at a time.")
    try:
        tree = json.loads(data, parse_float=bounded_number, parse_int=_whole_number, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise refuse(f"it is no JSON: {str(error)[:120]}", "Send FHIR in JSON.") from None
    if not isinstance(tree, dict):
        raise refuse("it is no FHIR resource", "Send a MedicationRequest or a Bundle.")
    entries = tree.get("entry", []) if tree.get("resourceType") == "Bundle" else [{"resource": tree}]
    by_type: dict[str, list[Mapping[str, object]]] = {}
    by_reference: dict[str, Mapping[str, object]] = {}
    for entry in entries if isinstance(entries, list) else []:
        raw = _object(_object(entry).get("resource"))
        resource = _validated(raw)
        by_type.setdefault(_text(raw.get("resourceType")), []).append(resource)
        for name in filter(None, (_text(_object(entry).get("fullUrl")), _local_name(raw))):
            if by_reference.setdefault(name, resource) is not resource:
                raise refuse(f"two of its resources are {name}", "Have the sending system corrected.")
    return _Bundle(by_type, by_reference)


def _local_name(resource: Mapping[str, object]) -> str:
    """Return `Type/id`, empty for a resource without an id: nothing can refer to it."""
    own = _text(resource.get("id"))
    return f"{_text(resource.get('resourceType'))}/{own}" if own else ""


def _whole_number(text: str) -> int:
    return int(bounded_number(text))


def _no_constant(text: str) -> object:
    raise ValueError(f"{text} is no number")


def _validated(raw: Mapping[str, object]) -> Mapping[str, object]:
    """Return a resource held against its published definition (R5, or R4 where it is written so). Raises InputInvalid."""
    # the definitions are loaded where they are asked for
    from fhir.resources import get_fhir_model_class
    from fhir.resources.R4B import get_fhir_model_class as get_r4_model_class

    kind = _text(raw.get("resourceType"))
    is_r4 = kind == "MedicationRequest" and _R5_ONLY not in raw
    body = {name: value for name, value in raw.items() if name != "resourceType"}
    problem = ""
    for model_class in (get_r4_model_class,) if is_r4 else (get_fhir_model_class, get_r4_model_class):
        try:
            model_class(kind).model_validate(body)
            return raw  # as it was read: the model turns exact decimals into binary fractions when it gives its values out
        except ValidationError as error:
            first = error.errors()[0]
            problem = problem or f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
        except ValueError:  # the library's word for a type that it does not know
            problem = problem or "no such resource type"
    raise refuse(f"{kind or 'a resource'} is not valid FHIR: {problem}", "Have the sending system corrected.")


def _only_request(bundle: _Bundle) -> Mapping[str, object]:
    requests = bundle.by_type.get("MedicationRequest", ())
    if len(requests) != 1:
        named = ", ".join(_text(request.get("id")) or "unnamed" for request in requests) or "none"
        raise refuse(f"it holds {len(requests)} MedicationRequests ({named})", "Send one prescription at a time.")
    return requests[0]


def _refuse_what_changes_it(request: Mapping[str, object]) -> None:
    """Refuse whatever a receiver must not overlook (FHIR, isModifier elements)."""
    status, intent = _text(request.get("status")), _text(request.get("intent"))
    if status != "active":
        raise refuse(f"its status is {status}", "Only an active prescription can be taken over.")
    if intent not in _INTENTS:
        raise refuse(f"it is a {intent} and no order", "Send the order that the prescriber signed.")
    if request.get("doNotPerform"):
        raise refuse("it says that the medicine is not to be given (doNotPerform)", "Ask the prescriber.")
    if request.get("implicitRules"):
        raise refuse("it names implicit rules that are not known here", "Enter the prescription by hand.")
    if place := _modifier(request, "MedicationRequest"):
        raise refuse(f"{place} has a modifier extension that is not known here", "Enter the prescription by hand.")


def _modifier(value: object, where: str) -> str:
    """Return the place of the first modifier extension, empty where there is none."""
    if isinstance(value, Mapping):
        if value.get("modifierExtension"):
            return where
        return next((found for name, item in value.items() if (found := _modifier(item, f"{where}.{name}"))), "")
    if isinstance(value, (list, tuple)):
        return next((found for item in value if (found := _modifier(item, where))), "")
    return ""


def _medication(bundle: _Bundle, request: Mapping[str, object], actives: Sequence[Active], found: FhirPrescription) -> None:
    names = _names(_concept(bundle, request))
    if not names:
        found.findings.append("The request names no medicine that can be read: enter it.")
        return
    matching = [active for active in actives if active.moiety.casefold() in {name.casefold() for name in names}]
    moieties = {active.moiety for active in matching}
    shown = ", ".join(names)
    if len(moieties) != 1:
        found.findings.append(f"Medicine of the request: {shown}. No recipe here is of this name alone: choose the active yourself.")
        return
    found.put("moiety", matching[0].moiety)
    if len({active.basis for active in matching}) == 1:
        found.put("basis", matching[0].basis)
        found.findings.append(f"The request does not say of which basis its amount is: {matching[0].basis} is the recipe's. Check it.")


def _concept(bundle: _Bundle, request: Mapping[str, object]) -> Mapping[str, object]:
    medication = _object(request.get("medication"))
    concept = _object(request.get("medicationCodeableConcept")) or _object(medication.get("concept"))
    if concept:
        return concept
    reference = _reference(request.get("medicationReference")) or _reference(medication.get("reference"))
    contained = [item for item in map(_object, _list(request.get("contained"))) if f"#{_text(item.get('id'))}" == reference]
    return _object((contained[0] if contained else bundle.by_reference.get(reference, {})).get("code"))


def _names(concept: Mapping[str, object]) -> list[str]:
    names = [_text(concept.get("text")), *(_text(_object(coding).get("display")) for coding in _list(concept.get("coding")))]
    return list(dict.fromkeys(name for name in names if name))


def _dosage(request: Mapping[str, object], found: FhirPrescription) -> None:
    dosages = [_object(item) for item in _list(request.get("dosageInstruction"))]
    if not dosages:
        raise refuse("it has no dosage instruction that can be read", "Enter the prescription by hand.")
    if any(
        item.get("asNeeded") or item.get("asNeededBoolean") or item.get("asNeededCodeableConcept") or item.get("asNeededFor")
        for item in dosages
    ):
        raise refuse("it is to be taken as needed", "Units are printed for a course of fixed days and times: ask the prescriber.")
    _refuse_a_course_in_parts(dosages)
    times = [times_of_day(_object(item.get("timing"))) for item in dosages]
    amounts = [_ordered(item) for item in dosages]
    if len(dosages) == 1:
        _one(times[0], amounts[0], found)
    else:
        _several(times, amounts, found)
    _days(request, days_of(_object(dosages[0].get("timing"))), found)


def _one(times: tuple[str, ...], prescribed: Amount, found: FhirPrescription) -> None:
    found.put("prescribed", prescribed.value)
    found.put("unit", prescribed.unit)
    found.put("per", prescribed.per)
    found.put("schedule", "; ".join(times))


def _refuse_a_course_in_parts(dosages: Sequence[Mapping[str, object]]) -> None:
    """Refuse instructions that follow each other: only those that are followed together, on the same days, are parts of one day.

    FHIR, Dosage.sequence: instructions with different numbers are followed one after the other, those with the same one together.
    """
    remedy = "A dose that changes over days is not one course: enter each part by hand, as an order of its own."
    if len({item.get("sequence") for item in dosages}) > 1:
        raise refuse("its dosage instructions follow each other (sequence)", remedy)
    timings = [_object(item.get("timing")) for item in dosages]
    if len({days_of(timing) for timing in timings}) > 1:
        raise refuse("its dosage instructions are for different numbers of days, or only some say for how many", remedy)
    if len({period_of(timing) for timing in timings}) > 1:
        raise refuse("its dosage instructions are for different periods", remedy)


def _several(times: Sequence[tuple[str, ...]], amounts: Sequence[Amount], found: FhirPrescription) -> None:
    """Several instructions are parts of one day: amounts per dose in the same unit, each at times of its own."""
    named = [(time, each) for own, each in zip(times, amounts, strict=True) for time in own]
    if len({(each.unit, each.per) for _, each in named}) != 1 or named[0][1].per != "dose":
        raise refuse("its dosage instructions are not amounts per dose in one unit", "Enter the prescription by hand.")
    if len({time for time, _ in named}) != len(named):
        raise refuse("two of its dosage instructions are for the same time of the day", "A dose that changes over days is not one course.")
    parts = shares([each.value for _, each in named])
    found.put("prescribed", sum((each.value for _, each in named), Decimal(0)))
    found.put("unit", named[0][1].unit)
    found.put("per", "day")
    found.put("schedule", "; ".join(f"{time} {part}" for (time, _), part in zip(named, parts, strict=True)))
    found.findings.append("The request states an amount for each time of the day; here it is the day's amount and the part of each time.")


def _ordered(dosage: Mapping[str, object]) -> Amount:
    """Return the ordered amount of a dosage; a calculated one beside it is not taken."""
    stated = [_object(item) for item in _list(dosage.get("doseAndRate"))]
    ordered = [item for item in stated if "calculated" not in _codes(item.get("type"))]
    if len(ordered) != 1:
        raise refuse(f"it states {len(ordered)} ordered amounts for one time", "Enter the prescription by hand.")
    (item,) = ordered
    if any(name.startswith("rate") for name in item) or "doseRange" in item:
        raise refuse("it states a range or a rate and no amount", "Ask the prescriber for one amount.")
    return amount(_object(item.get("doseQuantity")), "its amount")


def _days(request: Mapping[str, object], stated: int | None, found: FhirPrescription) -> None:
    supply = _object(_object(request.get("dispenseRequest")).get("expectedSupplyDuration"))
    if stated is None and supply:
        stated = whole_days(supply, "the expected duration of the supply")
        found.findings.append("The number of days is that of the supply; the request states no end of the treatment. Check it.")
    if stated is None:
        found.findings.append("The request does not say for how many days: enter it.")
    else:
        found.put("days", str(stated))


def _patient(patient: Mapping[str, object], found: FhirPrescription, today: date) -> None:
    if not patient:
        found.findings.append("The request comes without its Patient: enter the patient's data.")
        return
    name = next((_object(item) for item in _list(patient.get("name"))), {})
    given = " ".join(_text(part) for part in _list(name.get("given")))
    shown = _text(name.get("text")) or f"{given} {_text(name.get('family'))}".strip()
    identifiers = [_object(item) for item in _list(patient.get("identifier"))]
    found.identity = {
        key: value
        for key, value in (
            ("name", shown),
            ("born", _text(patient.get("birthDate"))),
            ("identifier", next((_text(item.get("value")) for item in identifiers if item.get("value")), "")),
        )
        if value
    }
    if sex := _SEXES.get(_text(patient.get("gender"))):
        found.put("sex", sex)
        found.findings.append("Sex is the administrative gender of the request. Check it where the formula of body surface asks for it.")
    born = _text(patient.get("birthDate"))
    if len(born) == len("2020-01-01"):
        found.put("age_years", age_in_years(date.fromisoformat(born), today))


def _patient_of(bundle: _Bundle, subject: object) -> Mapping[str, object]:
    """Return the Patient that a subject refers to, or names by an identifier where it refers to none; empty where that is not one."""
    patients = bundle.by_type.get("Patient", ())
    if reference := _reference(subject):
        named = bundle.by_reference.get(reference)
        return next((patient for patient in patients if patient is named), {})
    wanted = _identifier(_object(subject).get("identifier"))
    having = [patient for patient in patients if wanted and wanted in map(_identifier, _list(patient.get("identifier")))]
    return having[0] if len(having) == 1 else {}


def _is_same(bundle: _Bundle, one: object, other: object) -> bool:
    """Say whether two subjects are the same person for certain: the same Patient, reference or identifier; an empty one is nobody."""
    if patient := _patient_of(bundle, one):
        return patient is _patient_of(bundle, other)
    reference = _reference(one)
    if reference or _reference(other):
        # what a resource contains has a name inside it alone
        return reference == _reference(other) and not reference.startswith("#")
    identifier = _identifier(_object(one).get("identifier"))
    return bool(identifier) and identifier == _identifier(_object(other).get("identifier"))


def _identifier(value: object) -> tuple[str, str] | None:
    """Return an identifier with the system that issued it; without one, two persons may bear the same value."""
    system, number = _text(_object(value).get("system")), _text(_object(value).get("value"))
    return (system, number) if system and number else None


def age_in_years(born: date, today: date) -> str:
    """Return an age as it is entered: whole years from two years on, below that in hundredths by whole months. Raises InputInvalid."""
    months = (today.year - born.year) * 12 + today.month - born.month - (today.day < born.day)
    if months < 0:
        raise refuse(f"the patient is born on {born.isoformat()}, after today", "Have the sending system corrected.")
    if months >= 24:
        return str(months // 12)
    return plain_text((Decimal(months) / 12).quantize(Decimal("0.01")).normalize()) if months else ""


def _body(bundle: _Bundle, request: Mapping[str, object], found: FhirPrescription) -> None:
    subject = request.get("subject")
    days: list[str] = []
    for field_name, codes, read in (("height_cm", HEIGHT, length_cm), ("weight_kg", WEIGHT, mass_kg)):
        mine = [
            item for item in bundle.by_type.get("Observation", ()) if _is_of(item, codes) and _is_same(bundle, subject, item.get("subject"))
        ]
        dated = sorted(mine, key=_measured)
        if not dated:
            continue
        last = [item for item in dated if _measured(item) == _measured(dated[-1])]
        values = {read(_object(item.get("valueQuantity"))) for item in last}
        if len(values) != 1 or not _measured(dated[-1]):
            found.findings.append(f"{field_name}: several values, or none with a date; enter it as it was measured.")
            continue
        found.put(field_name, values.pop())
        days.append(_measured(dated[-1])[:10])
    if days:
        found.put("measured", min(days))
    if len(set(days)) > 1:
        found.findings.append(
            f"Height and weight were measured on different days ({' and '.join(sorted(days))}); the older one is entered."
        )


def _is_of(observation: Mapping[str, object], codes: frozenset[str]) -> bool:
    if _text(observation.get("status")) not in _FINAL:
        return False
    codings = [_object(item) for item in _list(_object(observation.get("code")).get("coding"))]
    return any(item.get("system") == _LOINC and _text(item.get("code")) in codes for item in codings)


def _measured(observation: Mapping[str, object]) -> str:
    return _text(observation.get("effectiveDateTime") or observation.get("effectiveInstant") or "")


def _number(request: Mapping[str, object]) -> str:
    identifiers = [_object(item) for item in _list(request.get("identifier"))]
    official = [item for item in identifiers if item.get("use") == "official"] or identifiers
    return _text(official[0].get("value")) if official else ""


def _codes(concept: object) -> set[str]:
    return {_text(_object(coding).get("code")) for coding in _list(_object(concept).get("coding"))}


def _reference(value: object) -> str:
    return _text(_object(value).get("reference"))


def _text(value: object) -> str:
    if value is None:
        return ""
    return value.strip() if isinstance(value, str) else str(value)


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, (list, tuple)) else ()
