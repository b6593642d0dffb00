"""A signed batch as FHIR: valid by the published definitions, to the digit what was signed, and never with a patient in the analysis."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from fhir.resources.bundle import Bundle
from fhir.resources.medicationdispense import MedicationDispense

from api.errors import WrongState
from api.interop.fhir_batch import batch_analysis, dispense
from audit.release.batch_record import record_sha256

MOMENT = "2026-11-20T12:00:00Z"


def parsed(data: bytes) -> Any:
    return json.loads(data, parse_float=Decimal)


def resources(data: bytes, kind: str) -> list[Any]:
    return [entry["resource"] for entry in parsed(data)["entry"] if entry["resource"]["resourceType"] == kind]


def test_the_analysis_is_valid_r5_and_the_same_bytes_each_time(write_batch: Any, scenario: Any) -> None:
    record = write_batch(scenario()).record()
    data = batch_analysis(record, site="demonstration pharmacy")
    bundle = Bundle.model_validate_json(data)
    assert bundle.type == "collection"
    assert batch_analysis(record, site="demonstration pharmacy") == data
    kinds = {entry["resource"]["resourceType"] for entry in parsed(data)["entry"]}
    assert kinds == {"Medication", "PlanDefinition", "ObservationDefinition", "DiagnosticReport", "Observation", "Organization"}


def test_every_reference_leads_to_an_entry(write_batch: Any, scenario: Any) -> None:
    data = batch_analysis(write_batch(scenario()).record(), site="demonstration pharmacy")
    names = {entry["fullUrl"] for entry in parsed(data)["entry"]}
    (report,) = resources(data, "DiagnosticReport")
    (plan,) = resources(data, "PlanDefinition")
    used = [item["reference"] for item in [*report["result"], *report["performer"]]]
    used += [item["instantiatesReference"]["reference"] for item in resources(data, "Observation")]
    used += [action["definitionUri"] for action in plan["action"]]
    assert len(used) > 6 and set(used) <= names


def test_the_figures_are_those_of_the_record_digit_by_digit(write_batch: Any, scenario: Any) -> None:
    record = write_batch(scenario()).record()
    data = batch_analysis(record, site="demonstration pharmacy")
    uniformity = record["strengths"][0]["uniformity"]
    found = {item["code"]["text"].split(",")[0]: item["valueQuantity"]["value"] for item in resources(data, "Observation")}
    assert found["mean content by mass"] == Decimal(uniformity["mean_percent"])
    assert uniformity["mean_percent"].encode() in data, "every digit is written, none added"
    limits = [
        item["qualifiedValue"][0]["range"]["high"]["value"] for item in resources(data, "ObservationDefinition") if "qualifiedValue" in item
    ]
    assert limits == [Decimal("15.0")]
    (report,) = resources(data, "DiagnosticReport")
    assert uniformity["claim"] in report["conclusion"] and report["identifier"][0]["value"] == record_sha256(record)


def test_no_patient_travels_with_the_analysis(write_batch: Any, scenario: Any) -> None:
    record = write_batch(scenario()).record()
    pseudonym = record["prescription"]["patient"]
    assert pseudonym and pseudonym.encode() not in batch_analysis(record, site="demonstration pharmacy")


def test_a_dispense_is_valid_and_names_batch_expiry_and_prescription(write_batch: Any, scenario: Any) -> None:
    record = write_batch(scenario()).record()
    strength = record["strengths"][0]
    data = dispense(record, strength["strength_mg"], strength["units_accepted"], patient="Patient/1", handed_over=MOMENT)
    MedicationDispense.model_validate_json(data)
    found = parsed(data)
    assert found["contained"][0]["batch"]["lotNumber"] == record["batch"]
    assert found["contained"][0]["ingredient"][0]["strengthRatio"]["numerator"]["value"] == Decimal(strength["strength_mg"])
    assert found["quantity"]["value"] == strength["units_accepted"] and found["subject"] == {"reference": "Patient/1"}


@pytest.mark.parametrize("strength, extra", [("18.5", 1), ("999", 0)])
def test_no_more_is_dispensed_than_was_accepted(strength: str, extra: int, write_batch: Any, scenario: Any) -> None:
    record = write_batch(scenario()).record()
    quantity = record["strengths"][0]["units_accepted"] + extra
    with pytest.raises(WrongState, match="accepted units"):
        dispense(record, strength, quantity, patient="Patient/1", handed_over=MOMENT)


def test_what_is_held_or_rejected_goes_nowhere(write_batch: Any, scenario: Any) -> None:
    held = write_batch(scenario(disposition=None)).record()
    for make in (lambda: batch_analysis(held, site="x"), lambda: dispense(held, "18.5", 1, patient="Patient/1", handed_over=MOMENT)):
        with pytest.raises(WrongState, match="no signed disposition"):
            make()
    rejected = {**write_batch(scenario()).record(), "disposition": "rejected"}
    with pytest.raises(WrongState, match="is rejected"):
        dispense(rejected, "18.5", 1, patient="Patient/1", handed_over=MOMENT)
    assert "rejected" in resources(batch_analysis(rejected, site="x"), "DiagnosticReport")[0]["conclusion"]


@pytest.fixture
def two_inks(write_batch: Any, scenario: Any) -> dict[str, Any]:
    """A record of two kinds of units of two actives each: 50 with 12.5 mg, and 25 with 12.5 mg."""
    record = write_batch(scenario()).record()
    (row,), (unit, *_) = record["strengths"], record["units"]
    inks = ((1, "spironolactone", ("50", "25")), (2, "hydrochlorothiazide", ("12.5",)))
    strengths = [{**row, "strength_mg": strength, "part": part, "moiety": moiety} for part, moiety, found in inks for strength in found]
    kinds = (("50", "accepted"), ("25", "accepted"), ("50", "accepted"), ("50", "rejected"))
    units = [
        {**unit, "n": n, "unit": f"B1-R1/{n:03d}", "strength_mg": None, "verdict": verdict, "removed": False}
        | {"parts": [{"part": 1, "strength_mg": first}, {"part": 2, "strength_mg": "12.5"}]}
        for n, (first, verdict) in enumerate(kinds, 1)
    ]
    product = {**record["product"], "basis": "free form", "second_moiety": "hydrochlorothiazide", "second_basis": "anhydrous"}
    return {**record, "product": product, "strengths": strengths, "units": units}


BOTH = ["spironolactone (stated as free form)", "hydrochlorothiazide (stated as anhydrous)"]


def test_a_unit_of_two_inks_is_one_medication_with_both_actives(two_inks: dict[str, Any]) -> None:
    data = batch_analysis(two_inks, site="demonstration pharmacy")
    medications = resources(data, "Medication")
    assert [[item["item"]["concept"]["text"] for item in found["ingredient"]] for found in medications] == [BOTH, BOTH]
    amounts = [[str(item["strengthRatio"]["numerator"]["value"]) for item in found["ingredient"]] for found in medications]
    assert amounts == [["50", "12.5"], ["25", "12.5"]]
    assert len({found["id"] for found in medications}) == 2
    assert "free form) 50 mg and hydrochlorothiazide" in medications[0]["code"]["text"]
    (report,) = resources(data, "DiagnosticReport")
    assert "hydrochlorothiazide 12.5 mg: " in report["conclusion"]


def test_units_of_two_inks_are_dispensed_with_both_actives(two_inks: dict[str, Any]) -> None:
    found = parsed(dispense(two_inks, "50/12.5", 2, patient="Patient/1", handed_over=MOMENT))
    (medication,) = found["contained"]
    assert [item["item"]["concept"]["text"] for item in medication["ingredient"]] == BOTH
    for strength, quantity in (("50/12.5", 3), ("25/12.5", 2), ("50", 1), ("12.5", 1), ("25/50", 1)):
        with pytest.raises(WrongState, match="accepted units"):
            dispense(two_inks, strength, quantity, patient="Patient/1", handed_over=MOMENT)


def test_a_unit_that_was_taken_away_is_not_dispensed(write_batch: Any, scenario: Any) -> None:
    record = write_batch(scenario()).record()
    accepted = record["strengths"][0]["units_accepted"]
    record["units"][0] |= {"removed": True}
    with pytest.raises(WrongState, match=f"has {accepted - 1} accepted units"):
        dispense(record, "18.5", accepted, patient="Patient/1", handed_over=MOMENT)
