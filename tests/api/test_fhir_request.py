"""A prescription that comes in as FHIR: read exactly, or named as what it is."""

from __future__ import annotations

import copy
import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import cli
from api.errors import InputInvalid
from api.interop.fhir_amounts import UNITS, amount, shares, times_of_day
from api.interop.fhir_request import LARGEST, Active, age_in_years, read_request
from audit.quantities import plain_text

TODAY = date(2026, 11, 20)
ACTIVES = [Active("cyclophosphamide", "anhydrous"), Active("hydrocortisone", "base")]
UCUM = "http://unitsofmeasure.org"

# HL7's own example MedicationRequest/medrx0318 (FHIR R5, 5.0.0), without its narrative.
MEDRX0318: dict[str, Any] = {
    "resourceType": "MedicationRequest",
    "id": "medrx0318",
    "contained": [
        {
            "resourceType": "Medication",
            "id": "med0301",
            "code": {
                "coding": [{"system": "http://hl7.org/fhir/sid/ndc", "code": "0409-6531-02"}],
                "text": "Vancomycin Hydrochloride (VANCOMYCIN HYDROCHLORIDE)",
            },
        }
    ],
    "identifier": [{"use": "official", "system": "http://www.bmc.nl/portal/prescriptions", "value": "12345689"}],
    "status": "active",
    "intent": "order",
    "medication": {"reference": {"reference": "#med0301"}},
    "subject": {"reference": "Patient/pat1", "display": "Donald Duck"},
    "encounter": {"reference": "Encounter/f001", "display": "encounter who leads to this prescription"},
    "authoredOn": "2015-01-15",
    "requester": {"reference": "Practitioner/f007", "display": "Patrick Pump"},
    "dosageInstruction": [
        {
            "sequence": 1,
            "text": "500mg IV q6h x 3 days",
            "timing": {
                "event": ["2020-01-01"],
                "repeat": {"boundsPeriod": {"start": "2020-01-01", "end": "2020-01-10"}, "frequency": 1, "period": 6, "periodUnit": "h"},
            },
            "doseAndRate": [
                {
                    "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/dose-rate-type", "code": "ordered"}]},
                    "doseQuantity": {"value": 500, "unit": "mg", "system": UCUM, "code": "mg"},
                }
            ],
        }
    ],
}


def quantity(value: float | int, code: str) -> dict[str, Any]:
    return {"value": value, "unit": code, "system": UCUM, "code": code}


def observation(name: str, loinc: str, value: float | int, code: str, day: str, status: str = "final") -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": name,
        "status": status,
        "code": {"coding": [{"system": "http://loinc.org", "code": loinc}]},
        "subject": {"reference": "Patient/p"},
        "effectiveDateTime": day,
        "valueQuantity": quantity(value, code),
    }


def request(**changes: Any) -> dict[str, Any]:
    body = {
        "resourceType": "MedicationRequest",
        "id": "m",
        "status": "active",
        "intent": "order",
        "identifier": [{"system": "urn:example", "value": "RX-7"}],
        "medicationCodeableConcept": {"text": "Cyclophosphamide"},
        "subject": {"reference": "Patient/p"},
        "requester": {"display": "demonstration prescriber"},
        "dosageInstruction": [
            {
                "timing": {"repeat": {"boundsDuration": quantity(14, "d"), "frequency": 1, "period": 1, "periodUnit": "d"}},
                "doseAndRate": [{"doseQuantity": quantity(25, "mg/m2")}],
            }
        ],
    }
    return {name: value for name, value in {**body, **changes}.items() if value is not None}


PATIENT = {
    "resourceType": "Patient",
    "id": "p",
    "gender": "female",
    "birthDate": "2021-03-01",
    "name": [{"family": "Demonstration", "given": ["Patient"]}],
    "identifier": [{"system": "urn:example", "value": "0001"}],
}
BODY = [observation("h", "8302-2", 1.1, "m", "2026-11-18"), observation("w", "29463-7", 18, "kg", "2026-11-18")]


def bundle(*resources: dict[str, Any]) -> bytes:
    entries = [{"fullUrl": f"urn:uuid:{number}", "resource": resource} for number, resource in enumerate(resources)]
    return json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries}).encode()


def read(*resources: dict[str, Any]) -> Any:
    return read_request(bundle(*resources), ACTIVES, today=TODAY)


def test_the_worked_prescription_comes_out_as_it_is_typed_by_hand() -> None:
    found = read(request(), PATIENT, *BODY)
    assert found.fields == {
        "moiety": "cyclophosphamide",
        "basis": "anhydrous",
        "prescribed": "25",
        "unit": "mg/m2",
        "per": "dose",
        "schedule": "once daily",
        "days": "14",
        "sex": "female",
        "age_years": "5",
        "height_cm": "110",
        "weight_kg": "18",
        "measured": "2026-11-18",
        "prescriber": "demonstration prescriber",
        "number": "RX-7",
    }
    assert found.identity == {"name": "Patient Demonstration", "born": "2021-03-01", "identifier": "0001"}
    assert any("basis" in finding for finding in found.findings)


def test_hl7s_own_example_is_read_up_to_what_this_place_cannot_take() -> None:
    with pytest.raises(InputInvalid, match="single moments"):
        read(MEDRX0318)
    without_event = copy.deepcopy(MEDRX0318)
    del without_event["dosageInstruction"][0]["timing"]["event"]
    found = read(without_event)
    assert found.fields == {
        "prescribed": "500",
        "unit": "mg",
        "per": "dose",
        "schedule": "first dose; second dose; third dose; fourth dose",
        "days": "10",
        "prescriber": "Patrick Pump",
        "number": "12345689",
    }
    assert any("Vancomycin Hydrochloride" in finding for finding in found.findings)
    assert any("without its Patient" in finding for finding in found.findings)


def test_unequal_doses_of_a_day_become_its_amount_and_parts() -> None:
    def dose(value: float, when: str) -> dict[str, Any]:
        return {
            "timing": {"repeat": {"boundsDuration": quantity(10, "d"), "when": [when], "frequency": 1, "period": 1, "periodUnit": "d"}},
            "doseAndRate": [{"doseQuantity": quantity(value, "mg")}],
        }

    found = read(
        request(
            medicationCodeableConcept={"text": "hydrocortisone"},
            dosageInstruction=[dose(2.5, "MORN"), dose(1.25, "NOON"), dose(1.25, "EVE")],
        )
    )
    assert (found.fields["prescribed"], found.fields["unit"], found.fields["per"]) == ("5", "mg", "day")
    assert (found.fields["schedule"], found.fields["days"]) == ("morning 2; midday 1; evening 1", "10")


def _part(value: float, when: str, sequence: int | None = None, **bounds: Any) -> dict[str, Any]:
    timing = {"repeat": {"when": [when], "frequency": 1, "period": 1, "periodUnit": "d", **bounds}}
    numbered = {} if sequence is None else {"sequence": sequence}
    return {"timing": timing, "doseAndRate": [{"doseQuantity": quantity(value, "mg")}], **numbered}


def _coded(*codes: str, **repeat: Any) -> list[dict[str, Any]]:
    system = "http://terminology.hl7.org/CodeSystem/v3-GTSAbbreviation"
    return _dosage(
        timing={"code": {"coding": [{"system": system, "code": code} for code in codes]}, **({"repeat": repeat} if repeat else {})}
    )


WEEK = {"boundsDuration": quantity(7, "d")}
FIRST_WEEK = {"boundsPeriod": {"start": "2026-12-01", "end": "2026-12-07"}}
SECOND_WEEK = {"boundsPeriod": {"start": "2026-12-08", "end": "2026-12-14"}}


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([_part(20, "MORN", 1, **WEEK), _part(10, "EVE", 2, **WEEK)], "follow each other"),
        ([_part(20, "MORN", 1, **WEEK), _part(10, "EVE", **WEEK)], "follow each other"),
        ([_part(20, "MORN", **FIRST_WEEK), _part(10, "EVE", **SECOND_WEEK)], "different periods"),
        ([_part(20, "MORN", **WEEK), _part(10, "EVE", **FIRST_WEEK)], "different periods"),
        ([_part(20, "MORN", boundsPeriod={"start": "2026-12-01"}), _part(10, "EVE", boundsPeriod={"start": "2026-12-08"})], "periods"),
        ([_part(20, "MORN", boundsPeriod={"end": "2026-12-07"}), _part(10, "EVE")], "different periods"),
        ([_part(20, "MORN", **WEEK), _part(10, "EVE")], "only some say"),
    ],
)
def test_parts_of_a_course_are_not_added_up_into_a_day(parts: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(InputInvalid, match=words) as refused:
        read(request(medicationCodeableConcept={"text": "hydrocortisone"}, dosageInstruction=parts))
    assert "not one course" in refused.value.remedy


@pytest.mark.parametrize("bounds", [WEEK, FIRST_WEEK])
def test_parts_of_one_day_are_those_that_are_followed_together(bounds: dict[str, Any]) -> None:
    found = read(request(dosageInstruction=[_part(20, "MORN", 1, **bounds), _part(10, "EVE", 1, **bounds)]))
    assert (found.fields["prescribed"], found.fields["schedule"], found.fields["days"]) == ("30", "morning 2; evening 1", "7")


def _dosage(**changes: Any) -> list[dict[str, Any]]:
    item = copy.deepcopy(request()["dosageInstruction"][0])
    return [{**item, **changes}]


def _repeat(**changes: Any) -> list[dict[str, Any]]:
    repeat = {"frequency": 1, "period": 1, "periodUnit": "d", **changes}
    return _dosage(timing={"repeat": {name: value for name, value in repeat.items() if value is not None}})


REFUSED = {
    "a draft": (request(status="draft"), "status is draft"),
    "a plan": (request(intent="plan"), "is a plan"),
    "not to be given": (request(doNotPerform=True), "doNotPerform"),
    "implicit rules": (request(implicitRules="urn:example:rules"), "implicit rules"),
    "a modifier": (request(modifierExtension=[{"url": "urn:example:not", "valueBoolean": True}]), "modifier extension"),
    "a modifier deep inside": (
        request(dosageInstruction=_dosage(modifierExtension=[{"url": "urn:example:not", "valueBoolean": True}])),
        "dosageInstruction has a modifier",
    ),
    "as needed": (request(dosageInstruction=_dosage(asNeededBoolean=True)), "as needed"),
    "no dosage": (request(dosageInstruction=None), "no dosage"),
    "micrograms by another code": (
        request(dosageInstruction=_dosage(doseAndRate=[{"doseQuantity": {"value": 250, "unit": "mcg"}}])),
        "'mcg'",
    ),
    "tablets": (
        request(dosageInstruction=_dosage(doseAndRate=[{"doseQuantity": {"value": 2, "system": "urn:example", "code": "TAB"}}])),
        "'TAB'",
    ),
    "a bound": (
        request(dosageInstruction=_dosage(doseAndRate=[{"doseQuantity": {**quantity(25, "mg"), "comparator": "<"}}])),
        "a bound and no amount",
    ),
    "a range": (
        request(dosageInstruction=_dosage(doseAndRate=[{"doseRange": {"low": quantity(10, "mg"), "high": quantity(20, "mg")}}])),
        "a range or a rate",
    ),
    "nothing": (request(dosageInstruction=_dosage(doseAndRate=[{"doseQuantity": quantity(0, "mg")}])), "no value above zero"),
    "weekdays": (request(dosageInstruction=_repeat(dayOfWeek=["mon"])), "dayOfWeek"),
    "every other day": (request(dosageInstruction=_repeat(period=2)), "every 2 d"),
    "five times in two days": (request(dosageInstruction=_repeat(frequency=5, period=2)), "every 2 d"),
    "once a week": (request(dosageInstruction=_repeat(periodUnit="wk")), "every 1 wk"),
    "up to": (request(dosageInstruction=_repeat(frequencyMax=3)), "frequencyMax"),
    "three times, two named": (request(dosageInstruction=_repeat(frequency=3, timeOfDay=["07:00:00", "19:00:00"])), "names 2 times"),
    "a taper": (
        request(dosageInstruction=[*_repeat(boundsDuration=quantity(3, "d")), *_repeat(boundsDuration=quantity(4, "d"), when=["EVE"])]),
        "different numbers of days",
    ),
    "once a day, two named": (request(dosageInstruction=_repeat(when=["MORN", "EVE"])), "1 times a day and names 2"),
    "every twelve hours, one named": (
        request(dosageInstruction=_repeat(frequency=None, period=12, periodUnit="h", timeOfDay=["08:00:00"])),
        "2 times a day and names 1",
    ),
    "a code against its timing": (request(dosageInstruction=_coded("BID", frequency=1, period=1, periodUnit="d")), "its code says 2"),
    "two codes": (request(dosageInstruction=_coded("BID", "TID")), "its codes say different times"),
    "a code that is not every day": (
        request(dosageInstruction=_coded("QOD", frequency=1, period=1, periodUnit="d")),
        "its timing is QOD",
    ),
    "thirty days, ten doses": (request(dosageInstruction=_repeat(boundsDuration=quantity(30, "d"), count=10)), "for 10 and 30 days"),
    "a period against its doses": (request(dosageInstruction=_repeat(**FIRST_WEEK, count=10)), "for 7 and 10 days"),
    "a period in months": (
        request(dosageInstruction=_repeat(boundsPeriod={"start": "2026-12", "end": "2027-01"})),
        "2026-12 to 2027-01 is not stated in days",
    ),
    "half a day": (request(dosageInstruction=_repeat(boundsDuration=quantity(1.5, "d"))), "whole number of days"),
    "no such element": (request(dose="25 mg"), "not valid FHIR"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_change_the_meaning_is_refused_and_named(name: str) -> None:
    body, words = REFUSED[name]
    with pytest.raises(InputInvalid, match=words) as refused:
        read(body, PATIENT)
    assert refused.value.remedy


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no JSON"),
        (b"[]", "no FHIR resource"),
        (b'{"resourceType": "Bundle", "type": "collection"}', "holds 0 MedicationRequests"),
        (b'{"resourceType": "Nothing"}', "not valid FHIR"),
        (b'{"resourceType": "MedicationRequest", "status": NaN}', "NaN is no number"),
        (b'{"resourceType": "MedicationRequest", "priority": 1e9999999}', "1e9999999 is out of range"),
        (b'{"resourceType": "MedicationRequest", "priority": 1e99999999999999999999}', "out of range"),
        (b'{"resourceType": "MedicationRequest", "priority": -1e-999999}', "out of range"),
        (b'{"resourceType": "MedicationRequest", "priority": 0.%b}' % (b"1" * 29), "out of range"),
        (b'{"resourceType": "MedicationRequest", "priority": 1%b}' % (b"0" * 5000), "out of range"),
        (b"[" * 100_000, "no JSON"),
        (b" " * (LARGEST + 1), "larger than"),
        (bundle(request(), request(id="n")), r"2 MedicationRequests \(m, n\)"),
    ],
)
def test_what_is_no_single_prescription_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(InputInvalid, match=words):
        read_request(data, ACTIVES, today=TODAY)


def test_a_salt_in_the_name_is_not_taken_for_the_moiety() -> None:
    found = read(request(medicationCodeableConcept={"text": "Cyclophosphamide monohydrate"}))
    assert "moiety" not in found.fields and "basis" not in found.fields
    assert any("Cyclophosphamide monohydrate" in finding for finding in found.findings)


def test_of_several_measurements_the_last_final_one_counts() -> None:
    found = read(
        request(),
        PATIENT,
        observation("a", "29463-7", 17, "kg", "2026-10-01"),
        observation("b", "29463-7", 18000, "g", "2026-11-18"),
        observation("c", "29463-7", 40, "kg", "2026-11-19", status="entered-in-error"),
        observation("d", "8302-2", 110, "cm", "2026-11-10"),
    )
    assert (found.fields["weight_kg"], found.fields["height_cm"], found.fields["measured"]) == ("18", "110", "2026-11-10")
    assert any("different days" in finding for finding in found.findings)


def test_two_values_of_one_day_are_not_chosen_between() -> None:
    found = read(
        request(), PATIENT, observation("a", "29463-7", 17, "kg", "2026-11-18"), observation("b", "29463-7", 18, "kg", "2026-11-18")
    )
    assert "weight_kg" not in found.fields
    assert any("weight_kg: several values" in finding for finding in found.findings)


def _by_identifier(value: str, system: str | None = "urn:example:hospital") -> dict[str, Any]:
    identifier = {"value": value} if system is None else {"system": system, "value": value}
    return {"identifier": identifier}


def _weight(subject: dict[str, Any], value: int, day: str) -> dict[str, Any]:
    return {**observation("w", "29463-7", value, "kg", day), "id": None, "subject": subject}


def _without_nulls(resource: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in resource.items() if value is not None}


MOTHER = {
    "resourceType": "Patient",
    "gender": "female",
    "birthDate": "1990-01-01",
    "name": [{"text": "Mother"}],
    "identifier": [_by_identifier("MOTHER-9")["identifier"]],
}
CHILD = {**PATIENT, "id": None, "identifier": [_by_identifier("CHILD-1")["identifier"]]}


def _found(*resources: dict[str, Any]) -> Any:
    entries = [{"resource": _without_nulls(resource)} for resource in resources]
    return read_request(json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries}).encode(), ACTIVES, today=TODAY)


@pytest.mark.parametrize("system", ["urn:example:hospital", None])
def test_nobody_elses_weight_and_identity_are_taken(system: str | None) -> None:
    """Where subjects are named by an identifier alone, one that names somebody else is somebody else's."""
    child, mother = _by_identifier("CHILD-1", system), _by_identifier("MOTHER-9", system)
    found = _found(request(subject=child), _weight(child, 18, "2026-11-18"), _weight(mother, 64, "2026-11-19"), MOTHER)
    assert found.fields.get("weight_kg") == ("18" if system else None), "a number without its system may be anybody's"
    assert found.identity == {} and "age_years" not in found.fields
    assert any("without its Patient" in finding for finding in found.findings)


@pytest.mark.parametrize(
    ("subject", "measured"),
    [
        ({"display": "Child"}, {"display": "Child"}),
        ({"reference": "Patient/"}, {"reference": "Patient/q"}),
        ({"reference": "#p"}, {"reference": "#p"}),
        (_by_identifier("7", "urn:example:ward-a"), _by_identifier("7", "urn:example:ward-b")),
        ({"reference": "Patient/c", **_by_identifier("7")}, _by_identifier("7")),
    ],
)
def test_a_subject_that_may_be_another_one_matches_nobody(subject: dict[str, Any], measured: dict[str, Any]) -> None:
    found = _found(request(subject=subject), _weight(measured, 64, "2026-11-18"), {**MOTHER, "identifier": None})
    assert "weight_kg" not in found.fields and found.identity == {}


def test_a_patient_is_found_by_an_identifier_with_its_system() -> None:
    child = _by_identifier("CHILD-1")
    found = _found(
        request(subject=child), CHILD, MOTHER, _weight(child, 18, "2026-11-18"), _weight(_by_identifier("MOTHER-9"), 64, TODAY.isoformat())
    )
    assert (found.identity["identifier"], found.fields["age_years"], found.fields["weight_kg"]) == ("CHILD-1", "5", "18")
    by_reference = {"reference": "Patient/p"}
    found = _found(request(subject=child), {**CHILD, "id": "p"}, MOTHER, _weight(by_reference, 18, "2026-11-18"))
    assert found.fields["weight_kg"] == "18", "the reference and the identifier name the same Patient"
    assert _found(request(subject=child), CHILD, {**CHILD, "birthDate": "2019-01-01"}).identity == {}, "two bear it"


def test_two_resources_of_one_name_are_refused() -> None:
    with pytest.raises(InputInvalid, match="two of its resources are Patient/p"):
        read(request(), PATIENT, {**PATIENT, "birthDate": "1990-01-01"})


@pytest.mark.parametrize(
    ("born", "age"),
    [("2026-11-20", ""), ("2026-10-21", ""), ("2026-10-20", "0.08"), ("2026-05-20", "0.5"), ("2024-11-21", "1.92"), ("2024-11-20", "2")],
)
def test_an_age_counts_whole_months_then_whole_years(born: str, age: str) -> None:
    assert age_in_years(date.fromisoformat(born), TODAY) == age


@given(st.decimals(min_value="0.0001", max_value=9999, places=4, allow_nan=False), st.sampled_from(sorted(UNITS)))
def test_an_amount_keeps_every_digit(value: Decimal, code: str) -> None:
    if value <= 0:
        return
    text = json.dumps({"system": UCUM, "code": code}).replace("}", f', "value": {plain_text(value)}}}')
    found = amount(json.loads(text, parse_float=Decimal), "the amount")
    assert found.value == value * UNITS[code][2]


@given(st.lists(st.decimals(min_value="0.25", max_value=50, places=2, allow_nan=False), min_size=1, max_size=6))
def test_parts_stand_to_each_other_as_the_amounts(amounts: list[Decimal]) -> None:
    parts = shares(amounts)
    assert all(part > 0 for part in parts)
    assert all(amounts[0] * part == each * parts[0] for each, part in zip(amounts, parts, strict=True))


@pytest.mark.parametrize(
    ("repeat", "days"),
    [
        ({**WEEK, "count": 7}, "7"),
        ({**FIRST_WEEK, "count": 7}, "7"),
        ({"boundsPeriod": {"start": "2026-12-01"}, "count": 5}, "5"),
        ({"boundsPeriod": {"start": "2026-12-01T08:00:00+01:00", "end": "2026-12-03"}}, "3"),
        ({"boundsPeriod": {"start": "2026-12-01"}}, None),
    ],
)
def test_the_days_are_those_that_all_of_the_timing_says(repeat: dict[str, Any], days: str | None) -> None:
    assert read(request(dosageInstruction=_repeat(**repeat))).fields.get("days") == days


def test_a_code_beside_a_timing_agrees_with_it_or_is_another_systems() -> None:
    twice = {"frequency": 2, "period": 1, "periodUnit": "d"}
    both = {"code": {"coding": [{"code": "BID"}, {"system": "urn:example:local", "code": "Q12"}, {"display": "twice"}]}, "repeat": twice}
    assert read(request(dosageInstruction=_dosage(timing=both))).fields["schedule"] == "first dose; second dose"
    with pytest.raises(InputInvalid, match="how often a day"):
        times_of_day({"code": {"coding": [{"system": "urn:example:local", "code": "Q12"}]}})


@pytest.mark.parametrize(("code", "count"), [("QD", 1), ("BID", 2), ("TID", 3), ("QID", 4), ("Q6H", 4)])
def test_a_timing_by_code_alone_is_read(code: str, count: int) -> None:
    assert len(times_of_day({"code": {"coding": [{"code": code}]}})) == count


def test_the_workstation_reads_for_those_who_enter_orders_and_keeps_nothing(bench: Any) -> None:
    size = bench.workstation.store.size
    answer = bench.client.post(
        "/api/v1/fhir/prescription",
        content=bundle(request(), PATIENT, *BODY),
        headers={"Authorization": f"Bearer {bench.token('pharmacist')}", "Content-Type": "application/fhir+json"},
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["fields"]["height_cm"] == "110" and answer.json()["fields"]["basis"] == "anhydrous"
    assert bench.workstation.store.size == size + 1, "the log-in alone"


@pytest.mark.parametrize(
    ("bounds", "amount_written"),
    [({}, "1e9999999"), ({}, "1e-9999999"), ({"boundsPeriod": {"start": "2026-12", "end": "2027-01"}}, "25")],
)
def test_the_command_names_in_one_line_what_it_cannot_take(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], bounds: dict[str, Any], amount_written: str
) -> None:
    text = json.dumps(request(dosageInstruction=_repeat(**bounds)))
    assert '"value": 25' in text
    (tmp_path / "request.json").write_text(text.replace('"value": 25', f'"value": {amount_written}'))
    assert cli.run(["fhir", "read", str(tmp_path / "request.json")]) == 2
    out, error = capsys.readouterr()
    assert out == "" and error.startswith("error AP-014") and error.count("\n") == 1, error


@pytest.mark.parametrize(("content", "status"), [(b" " * (LARGEST + 1), 422), (b"{", 422)])
def test_what_cannot_be_read_is_one_problem(bench: Any, content: bytes, status: int) -> None:
    headers = {"Authorization": f"Bearer {bench.token('pharmacist')}"}
    answer = bench.client.post("/api/v1/fhir/prescription", content=content, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, "AP-014")
