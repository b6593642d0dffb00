"""Review, disposition and package."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from api.access import Credentials
from api.allowed import allowed_actions
from api.dependencies import Answer, Services
from api.security import Permission, Session, guard
from audit.events import EventKind
from audit.release.selection import Scope

router = APIRouter(prefix="/api/v1", tags=["records"])


class Disposition(BaseModel):
    model_config = ConfigDict(extra="forbid")

    disposition: str = Field(max_length=40)
    comment: str = Field(default="", max_length=1000)
    signature: Credentials


_Review = Annotated[Session, Depends(guard(Permission.REVIEW))]
_Close = Annotated[Session, Depends(guard(Permission.REVIEW, EventKind.BATCH_RUN_CLOSED))]
_Removal = Annotated[Session, Depends(guard(Permission.CONFIRM_REMOVAL, EventKind.UNIT_REMOVAL_CONFIRMED))]
_Dispose = Annotated[Session, Depends(guard(Permission.DISPOSE, EventKind.BATCH_DISPOSITION_SIGNED))]
_Export = Annotated[Session, Depends(guard(Permission.EXPORT, EventKind.BATCH_PACKAGE_EXPORTED))]


@router.post("/batches/{batch}/close")
def close_run(services: Services, session: _Close, batch: str) -> Answer:
    """Tie the cell's trail to the batch once its run is over."""
    return services.release.close_run(session, batch)


@router.get("/batches/{batch}/review")
def review(services: Services, session: _Review, batch: str) -> Answer:
    """Return the batch record with the proposed disposition and its reasons."""
    return services.release.review(batch)


@router.get("/batches/{batch}/to-sign")
def to_sign(services: Services, session: _Review, batch: str) -> Answer:
    """Return what a disposition is signed over, with the digest (`shown_sha256`) that goes back as `signature.digest`.

    `dispositions` says of each whether the person who asks may sign it, and if not, every reason.
    """
    dispositions = allowed_actions(services.release.dispositions(session, batch))
    return {**services.release.to_sign(batch), "dispositions": dispositions}


@router.post("/batches/{batch}/units/{number}/removal")
def confirm_removal(services: Services, session: _Removal, batch: str, number: int, signature: Credentials) -> Answer:
    """Confirm that a rejected or scrapped unit left the plate; not by the person who ran the batch."""
    return services.release.confirm_removal(session, batch, number, signature)


@router.post("/batches/{batch}/purge-units/{number}/removal")
def confirm_purge_removal(services: Services, session: _Removal, batch: str, number: int, signature: Credentials) -> Answer:
    """Confirm that a purge unit of the start-up calibration left the plate; not by the person who ran the batch."""
    return services.release.confirm_removal(session, batch, number, signature, purge=True)


@router.post("/batches/{batch}/disposition")
def dispose(services: Services, session: _Dispose, batch: str, body: Disposition) -> Answer:
    """Sign released, partly released or rejected."""
    return services.release.dispose(session, batch, body.disposition, body.signature, body.comment)


@router.post("/batches/{batch}/package", response_class=Response, responses={200: {"content": {"application/zip": {}}}})
def package(services: Services, session: _Export, batch: str, scope: Scope = Scope.SELECTIVE) -> Response:
    """Write and download the review package; the export is recorded, so this is not a GET.

    *selective*: the entries of this batch alone, each with its proof; *whole*: both trails, with every other batch and patient in them.
    """
    data = services.release.export(session, batch, scope)
    return Response(data, media_type="application/zip", headers={"Content-Disposition": 'attachment; filename="review-package.zip"'})


@router.get("/batches/{batch}/document", response_class=Response, responses={200: {"content": {"application/pdf": {}}}})
def document(services: Services, session: _Review, batch: str) -> Response:
    """Return the record as PDF: sealed where the batch is signed, as it stands now where it is not."""
    data = services.release.document(session, batch)
    return Response(data, media_type="application/pdf", headers={"Content-Disposition": 'attachment; filename="record.pdf"'})
