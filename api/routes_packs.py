"""After release: packs, labels, dispensing; and who a patient is."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field

from api.allowed import allowed_actions
from api.dependencies import Answer, Services
from api.label_desk import MEDIA_TYPES, LabelPrint
from api.pack_desk import Dispensing, Scan
from api.patient_desk import PatientIdentity
from api.security import Permission, Session, guard
from audit.events import EventKind

router = APIRouter(prefix="/api/v1", tags=["packs"])


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Units(_Body):
    """Numbers of released units of one strength; none: everything that is in no pack, one pack for each strength."""

    units: tuple[int, ...] = Field(default=(), max_length=1000)


class Reason(_Body):
    reason: str = Field(min_length=1, max_length=500)


class LabelAccount(Reason):
    outcome: Literal["spoiled", "returned"]


_See = Annotated[Session, Depends(guard(Permission.SEE))]
_Pack = Annotated[Session, Depends(guard(Permission.PACK, EventKind.PACK_RECORD_CREATED))]
_Print = Annotated[
    Session,
    Depends(
        guard(Permission.PACK, EventKind.LABEL_COPY_PRINTED, EventKind.PACK_LABEL_WITHDRAWN, EventKind.LABEL_COPY_WITHDRAWN),
    ),
]
_Scan = Annotated[
    Session, Depends(guard(Permission.PACK, EventKind.PACK_LABEL_APPLIED, EventKind.LABEL_COPY_APPLIED, EventKind.PACK_SCAN_REFUSED))
]
_Account = Annotated[Session, Depends(guard(Permission.PACK, EventKind.LABEL_COPY_ACCOUNTED))]
_Close = Annotated[Session, Depends(guard(Permission.PACK, EventKind.BATCH_PACKING_CLOSED))]
_Dispense = Annotated[Session, Depends(guard(Permission.DISPENSE, EventKind.PACK_CUSTODY_DISPENSED, EventKind.PACK_SCAN_REFUSED))]
_Return = Annotated[Session, Depends(guard(Permission.DISPENSE, EventKind.PACK_CUSTODY_RETURNED))]
_Destroy = Annotated[Session, Depends(guard(Permission.DESTROY_PACK, EventKind.PACK_CUSTODY_DESTROYED))]
_Lost = Annotated[Session, Depends(guard(Permission.RECALL, EventKind.PACK_CUSTODY_LOST))]
_Patient = Annotated[Session, Depends(guard(Permission.RECORD_PATIENT, EventKind.PATIENT_IDENTITY_RECORDED))]


@router.get("/batches/{batch}/packs")
def packs(services: Services, session: _See, batch: str) -> Answer:
    """Return the packs of a released batch with their labels, units in no pack, and what closing of packing waits for."""
    return services.packs.overview(batch)


@router.post("/batches/{batch}/packs", status_code=HTTPStatus.CREATED)
def pack(services: Services, session: _Pack, batch: str, body: Units) -> Answer:
    """Put released units into packs, strengths kept apart."""
    return services.packs.pack(session, batch, body.units)


@router.get("/packs/{pack}")
def one_pack(services: Services, session: _See, pack: str) -> Answer:
    """Return a pack with its labels, and what the person who asks may do to each."""
    acts = {"label": services.labels.against_printing(session, pack), **services.packs.allowed(session, pack)}
    shown = {"pack": pack, **services.packs.state(pack), "labels": services.packs.labels_for(session, pack)}
    return {**shown, "allowed_actions": allowed_actions(acts)}


@router.get("/packs/{pack}/label", response_class=Response, responses={200: {"content": {"image/svg+xml": {}}}})
def preview(services: Services, session: _See, pack: str) -> Response:
    """Show how a label will look, as SVG: crossed out as no label, without the patient's name."""
    headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'", "Cache-Control": "no-store"}
    return Response(services.labels.preview(pack), media_type="image/svg+xml", headers=headers)


@router.post(
    "/packs/{pack}/label",
    response_class=Response,
    responses={200: {"content": {media_type: {} for media_type in MEDIA_TYPES.values()}}},
)
def print_label(services: Services, session: _Print, pack: str, body: LabelPrint) -> Response:
    """Return the label to print, as PDF or ZPL; every print is on record, a further copy takes a reason and a second person."""
    found = services.labels.print_label(session, pack, body)
    headers = {"Content-Disposition": f'attachment; filename="{found.name}"', "Cache-Control": "no-store"}
    return Response(found.data, media_type=MEDIA_TYPES[found.form], headers=headers)


@router.post("/packs/{pack}/scan")
def scan_label(services: Services, session: _Scan, pack: str, body: Scan) -> Answer:
    """Confirm by scan that the label on a pack is its own."""
    return services.packs.scan_label(session, pack, body)


@router.post("/packs/{pack}/labels/{copy}")
def account(services: Services, session: _Account, pack: str, copy: int, body: LabelAccount) -> Answer:
    """Account for a printed label that is on no pack."""
    return services.packs.account(session, pack, copy, body.outcome, body.reason)


@router.post("/batches/{batch}/packing/close")
def close_packing(services: Services, session: _Close, batch: str) -> Answer:
    """Close packing: issued labels = applied + spoiled + returned."""
    return services.packs.close_packing(session, batch)


@router.post("/packs/{pack}/dispense")
def dispense(services: Services, session: _Dispense, pack: str, body: Dispensing) -> Answer:
    """Hand out a pack, scanned at that moment."""
    return services.packs.dispense(session, pack, body)


@router.post("/packs/{pack}/return")
def take_back(services: Services, session: _Return, pack: str, body: Reason) -> Answer:
    """Take a dispensed or recalled pack back."""
    return services.packs.take_back(session, pack, body.reason)


@router.post("/packs/{pack}/destroy")
def destroy(services: Services, session: _Destroy, pack: str, body: Reason) -> Answer:
    return services.packs.destroy(session, pack, body.reason)


@router.post("/packs/{pack}/not-recovered")
def give_up(services: Services, session: _Lost, pack: str, body: Reason) -> Answer:
    """Write off a recalled pack that was used up or cannot be found."""
    return services.packs.give_up(session, pack, body.reason)


@router.post("/patients/{patient}/identity", status_code=HTTPStatus.CREATED)
def record_patient(services: Services, session: _Patient, patient: str, body: PatientIdentity) -> Answer:
    """Seal who a patient is, for labels and recalls; the trail holds a commitment."""
    return services.patients.record(session, patient, body)
