"""Exceptions of a batch and their resolution; cartridges that come back."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict

from api.access import Credentials
from api.dependencies import Answer, Answers, Services
from api.exception_desk import Cause, ReturnedCartridge
from api.paging import PAGED, Page, by
from api.security import Permission, Session, guard
from audit.events import EventKind

router = APIRouter(prefix="/api/v1", tags=["exceptions"])


class Resolve(BaseModel):
    model_config = ConfigDict(extra="forbid")

    cause: Cause
    signature: Credentials


_Review = Annotated[Session, Depends(guard(Permission.REVIEW))]
_Resolve = Annotated[Session, Depends(guard(Permission.RESOLVE, EventKind.BATCH_EXCEPTION_RESOLVED))]
_TakeBack = Annotated[Session, Depends(guard(Permission.TAKE_BACK, EventKind.INK_CARTRIDGE_WEIGHED))]


@router.get("/batches/{batch}/exceptions", responses=PAGED)
def exceptions(services: Services, session: _Review, batch: str, page: Page) -> Answers:
    """List what holds the batch until a person who did not run it assigns a cause."""
    return page.page(services.exceptions.exceptions_for(session, batch), by("exception"))


@router.post("/batches/{batch}/exceptions/resolution")
def resolve(services: Services, session: _Resolve, batch: str, body: Resolve) -> Answer:
    """Assign a cause to an exception and sign it."""
    return services.exceptions.resolve(session, batch, body.cause, body.signature)


@router.post("/batches/{batch}/cartridge-returns", status_code=HTTPStatus.CREATED)
def take_back(services: Services, session: _TakeBack, batch: str, body: ReturnedCartridge) -> Answer:
    """Weigh a cartridge of the batch back: one weighing for the batch and for the cartridge's own account."""
    return services.exceptions.take_back(session, batch, body)
