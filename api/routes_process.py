"""What watches the process: health, readiness, figures, and the live feed."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from api.dependencies import Answer, Services
from api.errors import InputInvalid
from api.feed import FeedPlaces, entries_and_cells
from api.metrics import MEDIA_TYPE
from api.problems import problem
from api.process_facts import process_name
from api.security import Permission, Session, guard, token_of
from api.settings import LEAST_FREE
from audit.errors import DosewrightError, RecordError

router = APIRouter(prefix="/api/v1", tags=["process"])
_See = Annotated[Session, Depends(guard(Permission.SEE))]
_Search = Annotated[Session, Depends(guard(Permission.SEARCH_TRAIL))]


@router.get("/health")
def health() -> Answer:
    """Say that the process answers, and which one it is: pages of the one before it load anew. Nothing of the site is shown."""
    return {"status": "up", "process": process_name()}


@router.get("/ready")
def ready(services: Services) -> Response:
    """Say whether the record can be read and written, so that work can be taken on; nothing of the site is shown."""
    try:
        if next(services.store.lines(services.store.size - 1), None) is None:
            raise RecordError("The last entry of the trail is missing.", remedy="Run `dosewright verify` on the store.")
    except DosewrightError as error:
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, error.code, "The record cannot be read.", remedy="Look at the workstation.")
    if shutil.disk_usage(services.settings.folder).free < LEAST_FREE:
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, "AU-002", "The disk is nearly full.", remedy="Free space on the disk.")
    return JSONResponse({"status": "ready"})


@router.get("/metrics", response_class=Response, responses={200: {"content": {MEDIA_TYPE: {}}}})
def metrics(request: Request, session: _See) -> Response:
    """Figures of the process in the text format of Prometheus; scrape with a bearer token."""
    return Response(request.app.state.metrics.text(), media_type=MEDIA_TYPE)


@router.get("/feed", response_class=StreamingResponse, responses={200: {"content": {"text/event-stream": {}}}})
def feed(
    request: Request,
    services: Services,
    session: _Search,
    kind: Annotated[str, Query(max_length=80, description="beginning of the kinds of entries wanted, for example `batch.`")] = "",
    once: Annotated[bool, Query(description="give what is there and end")] = False,
    last_event_id: Annotated[str | None, Header(description="number of the last entry received; the feed goes on after it")] = None,
) -> StreamingResponse:
    """Follow the workstation's trail and the cells as server-sent events; a client that comes back misses no entry."""
    if last_event_id is not None and not (last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) < 16):
        raise InputInvalid("Last-Event-ID is the number of an entry.", remedy="Send back the last `id` that was received.")
    after = None if last_event_id is None else int(last_event_id)
    places: FeedPlaces = request.app.state.feed_places
    places.require(session.username)

    async def events() -> AsyncIterator[bytes]:
        with places.taken(session.username):
            async for block in entries_and_cells(services, services.sessions, token_of(request)[0], after, kind, once=once):
                yield block

    return StreamingResponse(events(), media_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
