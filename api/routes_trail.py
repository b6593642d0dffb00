"""Looking through the trails of the site, the history of one object, and selections as files."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from api.dependencies import Answer, Services
from api.paging import PAGED, Page, write_cursor
from api.security import Permission, Session, guard
from api.trail_desk import WORKSTATION
from api.trail_question import LONGEST, read_filter
from audit.events import EventKind, Subject

router = APIRouter(prefix="/api/v1", tags=["trail"])

Asked = Annotated[str, Query(max_length=LONGEST)]


class Selection(BaseModel):
    """What is exported, and why. The fields ask as those of `GET /trail` do."""

    model_config = ConfigDict(extra="forbid")

    trail: str = Field(default=WORKSTATION, max_length=LONGEST)
    kinds: list[str] = Field(default_factory=list, max_length=40)
    preset: str = Field(default="", max_length=LONGEST)
    fields: dict[str, str] = Field(default_factory=dict)
    format: Literal["csv", "json"]
    reason: str = Field(max_length=500)


_See = Annotated[Session, Depends(guard(Permission.SEE))]
_Search = Annotated[Session, Depends(guard(Permission.SEARCH_TRAIL))]
_Export = Annotated[Session, Depends(guard(Permission.EXPORT, EventKind.RECORD_SELECTION_EXPORTED))]


@router.get("/trail", responses=PAGED)
def trail(
    services: Services,
    session: _Search,
    page: Page,
    trail: Asked = WORKSTATION,
    kind: Annotated[list[str] | None, Query(max_length=40)] = None,
    preset: Asked = "",
    person: Asked = "",
    role: Asked = "",
    device: Asked = "",
    object: Asked = "",
    since: Asked = "",
    until: Asked = "",
    reason: Asked = "",
    text: Asked = "",
    order: Literal["newest", "oldest"] = "newest",
) -> Answer:
    """Search a trail. The `Link` of an answer continues it, and so does its `cursor`, given with the same question; null: no more.

    A page may have no entry and a next page all the same: one request looks at so many entries and no more.
    """
    asked = {"person": person, "role": role, "device": device, "object": object, "since": since, "until": until}
    wanted = read_filter({**asked, "reason": reason, "text": text}, kind or (), preset)
    found = services.trail.page(trail, wanted, cursor=page.place(), limit=page.limit, newest_first=order == "newest")
    cursor = None if found.cursor is None else write_cursor((found.cursor,))
    if cursor is not None:
        page.continue_with(cursor)
    return {"entries": [json.loads(entry.canonical) for entry in found.entries], "cursor": cursor, "looked_at": found.looked_at}


@router.get("/trail/checkpoint")
def checkpoint(services: Services, session: _See) -> Answer:
    """Return origin, size and verifier key of the workstation's trail, and its last signed checkpoint."""
    store = services.store
    return {"origin": store.origin, "size": store.size, "verifier_key": store.verifier_key, "checkpoint": store.last_checkpoint()}


@router.get("/trail/objects/{type}/{id:path}")
def history(services: Services, session: _Search, type: str, id: str, trail: Asked = WORKSTATION) -> Answer:
    """Return what changed in an object, value by value, and whether each signature in it still stands."""
    return services.trail.history(trail, Subject(type, id)).as_record()


@router.post("/trail/export", response_class=Response, responses={200: {"content": {"text/csv": {}, "application/json": {}}}})
def export(services: Services, session: _Export, selection: Selection) -> Response:
    """Download a selection; the export is an entry with its reason, so this is not a GET."""
    wanted = read_filter(selection.fields, selection.kinds, selection.preset)
    made = services.trail.export(session, selection.trail, wanted, selection.format, selection.reason)
    return Response(made.data, media_type=made.media_type, headers={"Content-Disposition": f'attachment; filename="{made.name}"'})
