"""Retention: until when documents are kept, holds, and the erasure of an identity by two people."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from api import answers
from api.access import actor_of
from api.dependencies import Answer, Answers, Services, today_of
from api.paging import Page, by, paged
from api.people import DEVICE
from api.security import Permission, Session, guard
from audit.events import EventKind
from audit.retention import Policy, erase_identity, kept_batches, lift_hold, place_hold, request_erasure

router = APIRouter(prefix="/api/v1", tags=["retention"])


class Reason(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=1000)


_See = Annotated[Session, Depends(guard(Permission.REVIEW))]
_Hold = Annotated[Session, Depends(guard(Permission.HOLD, EventKind.RETENTION_HOLD_PLACED))]
_Lift = Annotated[Session, Depends(guard(Permission.HOLD, EventKind.RETENTION_HOLD_LIFTED))]
_Request = Annotated[Session, Depends(guard(Permission.ERASE, EventKind.PATIENT_ERASURE_REQUESTED))]
_Erase = Annotated[Session, Depends(guard(Permission.ERASE, EventKind.PATIENT_IDENTITY_ERASED))]


@router.get("/retention", responses=paged(answers.Kept))
def kept(services: Services, session: _See, page: Page) -> Answers:
    """List until when the documents of each batch are kept, what holds them, and which are due. Nothing is deleted by this."""
    today = today_of(services)
    rows = (
        {
            "batch": found.batch,
            "certified": None if found.certified is None else found.certified.isoformat(),
            "expires": None if found.expires is None else found.expires.isoformat(),
            "until": None if found.until is None else found.until.isoformat(),
            "because": found.because,
            "holds": list(found.holds),
            "due": found.is_due(today),
        }
        for found in kept_batches(services.store, Policy())
    )
    return page.page(rows, by("batch"))


@router.post("/batches/{batch}/holds/{name}")
def hold(services: Services, session: _Hold, batch: str, name: str, body: Reason) -> Answer:
    """Keep the documents of a batch beyond their time: a recall, a complaint, a dispute."""
    entry = place_hold(services.store, batch, name, body.reason, actor_of(session, Permission.HOLD), DEVICE)
    return {"batch": batch, "hold": name, "seq": entry.seq}


@router.post("/batches/{batch}/holds/{name}/lift")
def lift(services: Services, session: _Lift, batch: str, name: str, body: Reason) -> Answer:
    """Lift a hold, with the reason."""
    entry = lift_hold(services.store, batch, name, body.reason, actor_of(session, Permission.HOLD), DEVICE)
    return {"batch": batch, "hold": name, "seq": entry.seq}


@router.post("/patients/{pseudonym}/erasure-request")
def ask(services: Services, session: _Request, pseudonym: str, body: Reason) -> Answer:
    """Ask, as the first of two people, that identifying data be erased. Refused, with every reason, while they must be kept."""
    actor = actor_of(session, Permission.ERASE)
    entry = request_erasure(services.store, pseudonym, body.reason, actor, DEVICE, today=today_of(services))
    return {"patient": pseudonym, "seq": entry.seq}


@router.post("/patients/{pseudonym}/erasure")
def erase(services: Services, session: _Erase, pseudonym: str) -> Answer:
    """Destroy the sealed identifying data, as another person than the one who asked. The trail keeps the commitment.

    `overwritten` is false where somebody read the store at that moment, as a backup does: the row leaves the log with a later entry.
    """
    entry = erase_identity(services.store, pseudonym, actor_of(session, Permission.ERASE), DEVICE, today=today_of(services))
    return {"patient": pseudonym, "seq": entry.seq, "overwritten": services.store.is_wiped}
