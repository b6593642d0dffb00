"""Recalls: search, open, follow, close."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from api.access import Credentials
from api.dependencies import Answer, Answers, Services
from api.paging import PAGED, Page, by
from api.recall_desk import Contact, RecallSearch
from api.security import Permission, Session, guard
from audit.events import EventKind

router = APIRouter(prefix="/api/v1", tags=["recalls"])


class _Reason(BaseModel):
    model_config = ConfigDict(extra="forbid")
    reason: str = Field(min_length=1, max_length=500)


class OpenRecall(_Reason):
    search: RecallSearch
    signature: Credentials


class CloseRecall(_Reason):
    signature: Credentials


_Search = Annotated[Session, Depends(guard(Permission.SEARCH_RECALL))]
_Open = Annotated[
    Session,
    Depends(
        guard(
            Permission.RECALL,
            EventKind.RECALL_RECORD_OPENED,
            EventKind.PACK_CUSTODY_RECALLED,
            EventKind.INK_LOT_QUARANTINED,
            EventKind.INK_CARTRIDGE_QUARANTINED,
        )
    ),
]
_Identify = Annotated[Session, Depends(guard(Permission.OPEN_PATIENT, EventKind.PATIENT_IDENTITY_OPENED))]
_Contact = Annotated[Session, Depends(guard(Permission.RECALL, EventKind.RECALL_PATIENT_CONTACTED))]
_Close = Annotated[Session, Depends(guard(Permission.RECALL, EventKind.RECALL_RECORD_CLOSED))]


@router.post("/recalls/search")
def search(services: Services, session: _Search, body: RecallSearch) -> Answer:
    """Search every trail, archived ones included, for batches, units, packs and patients; nothing is written."""
    return services.recalls.search(session, body)


@router.get("/recalls", responses=PAGED)
def recalls(services: Services, session: _Search, page: Page) -> Answers:
    return page.page(services.recalls.recalls(), by("recall"))


@router.get("/recalls/{recall}")
def recall(services: Services, session: _Search, recall: str) -> Answer:
    """Return a recall with the state of its packs and patients, and what closing waits for."""
    return services.recalls.recall_for(session, recall)


@router.post("/recalls", status_code=HTTPStatus.CREATED)
def open_recall(services: Services, session: _Open, body: OpenRecall) -> Answer:
    """Sign and open a recall: packs are recalled, ink lots and cartridges held."""
    return services.recalls.open(session, body.search, body.reason, body.signature)


@router.post("/recalls/{recall}/patients/{patient}/identity")
def identify(services: Services, session: _Identify, recall: str, patient: str, body: _Reason) -> Answer:
    """Read who a patient of the recall is; the reading is on record, so this is not a GET."""
    return services.recalls.identify(session, recall, patient, body.reason)


@router.post("/recalls/{recall}/patients/{patient}/contacts", status_code=HTTPStatus.CREATED)
def contact(services: Services, session: _Contact, recall: str, patient: str, body: Contact) -> Answer:
    """Record an attempt to reach a patient."""
    return services.recalls.contact(session, recall, patient, body)


@router.post("/recalls/{recall}/close")
def close(services: Services, session: _Close, recall: str, body: CloseRecall) -> Answer:
    """Sign that every pack and patient is accounted for."""
    return services.recalls.close(session, recall, body.reason, body.signature)
