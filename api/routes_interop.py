"""FHIR at the door: a prescription read into the order form, a batch analysis and a dispense given out."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from api.dependencies import Answer, Services, today_of
from api.errors import InputInvalid
from api.interop.fhir_batch import batch_analysis, dispense
from api.interop.fhir_request import LARGEST, Active, read_request
from api.interop.fhir_rest import not_taken_over
from api.security import Permission, Session, guard
from api.shelf import Shelf

router = APIRouter(prefix="/api/v1", tags=["interop"])
FHIR_JSON = "application/fhir+json"
_Enter = Annotated[Session, Depends(guard(Permission.ENTER_ORDER))]
_Review = Annotated[Session, Depends(guard(Permission.REVIEW))]
_FHIR: dict[int | str, dict[str, object]] = {200: {"content": {FHIR_JSON: {}}, "description": "FHIR R5 in JSON"}}
_BODY = {"requestBody": {"required": True, "content": {FHIR_JSON: {"schema": {"type": "object"}}}}}


def printed_here(shelf: Shelf) -> list[Active]:
    """Return the actives that an effective recipe is written for, in order."""
    states = [state for state in shelf.recipes() if state.get("status") == "effective"]
    return sorted(
        {Active(str(state.get("moiety")), str(state.get("basis"))) for state in states}, key=lambda active: (active.moiety, active.basis)
    )


async def _bounded_body(request: Request) -> bytes:
    """Return the body, read only as far as a prescription may be long. Raises InputInvalid."""
    data = bytearray()
    async for block in request.stream():
        data += block
        if len(data) > LARGEST:
            raise InputInvalid(f"The request is longer than {LARGEST} bytes.", remedy="Send one prescription at a time.")
    return bytes(data)


@router.post("/fhir/prescription", openapi_extra=_BODY)
def read_prescription(services: Services, session: _Enter, body: Annotated[bytes, Depends(_bounded_body)]) -> Answer:
    """Read a MedicationRequest (R4 or R5) into the fields of the order form; nothing is kept and nothing is ordered.

    `fields` go into the form, `findings` are what a person has to look at, `not_taken_over` names what else the request says; the
    second person enters the figures blind, as always.
    """
    found = read_request(body, printed_here(services.shelf), today=today_of(services))
    return {
        "fields": found.fields,
        "identity": found.identity,
        "findings": found.findings,
        "not_taken_over": list(not_taken_over(body)),
    }


@router.get("/batches/{batch}/fhir/batch-analysis", response_class=Response, responses=_FHIR)
def analysis(services: Services, session: _Review, batch: str) -> Response:
    """Return the certificate of analysis of a signed batch as a FHIR bundle, made from its record."""
    return Response(batch_analysis(services.release.review(batch), site=services.store.origin), media_type=FHIR_JSON)


@router.get("/batches/{batch}/fhir/dispense", response_class=Response, responses=_FHIR)
def dispensed(
    services: Services,
    session: _Review,
    batch: str,
    strength_mg: Annotated[str, Query(max_length=20, description="as in the record; of units of two actives both, for example 50/12.5")],
    quantity: Annotated[int, Query(ge=1, le=1000)],
    patient: Annotated[str, Query(max_length=200, description="how the receiving system names the patient, for example Patient/123")],
) -> Response:
    """Return a MedicationDispense for units of one strength of a released batch."""
    moment = services.clock.utc().at
    record = services.release.review(batch)
    return Response(dispense(record, strength_mg, quantity, patient=patient, handed_over=moment), media_type=FHIR_JSON)
