"""Cells: state, alarms, and STOP."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Annotated, Literal
from urllib.parse import parse_qs

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from starlette.requests import ClientDisconnect

from api import answers
from api.dependencies import Answer, Services
from api.described import body_of_route
from api.paging import PAGED, Page, the_text
from api.problem_responses import LEADS_ON
from api.security import Permission, Session, guard
from audit.events import EventKind

router = APIRouter(prefix="/api/v1", tags=["devices"])
_LARGEST = 4096
_PATIENCE_S = 1.0
"""How long the body of a STOP may take to come; a browser sends it with the request."""
_LONGEST_REASON = 500
_STOPS_OF_A_CELL = 8


def stop_threads(cells: Iterable[str]) -> Mapping[str, CapacityLimiter]:
    """Return for each cell the threads that STOP of this cell alone takes.

    All other requests share threads, which may all wait for a cell that hangs; a STOP for another one must not wait for them.
    """
    return {cell: CapacityLimiter(_STOPS_OF_A_CELL) for cell in cells}


def _cut(reason: object) -> object:
    """A reason that is too long is no reason to forget how strong the stop has to be."""
    return reason[:_LONGEST_REASON] if isinstance(reason, str) else reason


class Stop(BaseModel):
    """How to stop; without a word it is at once, with the heaters left on."""

    model_config = ConfigDict(extra="ignore")

    strength: Literal["finish_unit", "quickstop", "kill"] = "quickstop"
    reason: Annotated[str, BeforeValidator(_cut)] = Field(default="STOP", max_length=_LONGEST_REASON)


class Acknowledge(BaseModel):
    model_config = ConfigDict(extra="forbid")

    alarm: str = Field(max_length=200)
    comment: str = Field(default="", max_length=500)


class Shelve(BaseModel):
    """Why an early warning is put away, and for how long (minutes)."""

    model_config = ConfigDict(extra="forbid")

    alarm: str = Field(max_length=200)
    reason: str = Field(min_length=1, max_length=500)
    minutes: int = Field(ge=1, le=480)


class Unshelve(BaseModel):
    model_config = ConfigDict(extra="forbid")

    alarm: str = Field(max_length=200)


_See = Annotated[Session, Depends(guard(Permission.SEE))]
_Stop = Annotated[Session, Depends(guard(Permission.STOP, EventKind.RUN_COMMAND_RECEIVED))]
_Acknowledge = Annotated[Session, Depends(guard(Permission.ACKNOWLEDGE, EventKind.ALARM_CONDITION_ACKNOWLEDGED))]
_Reset = Annotated[Session, Depends(guard(Permission.ACKNOWLEDGE, EventKind.ALARM_CONDITION_RESET))]
_Shelve = Annotated[Session, Depends(guard(Permission.SHELVE, EventKind.ALARM_CONDITION_SHELVED))]
_Unshelve = Annotated[Session, Depends(guard(Permission.SHELVE, EventKind.ALARM_CONDITION_UNSHELVED))]


@router.get("/cells", responses=PAGED)
def cells(services: Services, session: _See, page: Page) -> list[str]:
    return page.page(list(services.cells.names), the_text)


@router.get("/cells/{cell}")
def describe(services: Services, session: _See, cell: str) -> Answer:
    return services.cells.client(cell, watching=True).describe()


@router.get("/cells/{cell}/status", responses={200: {"model": answers.RunStatus}})
def status(services: Services, session: _See, cell: str, trace_since_us: int = 0) -> Answer:
    """Return what a cell does now: state, readings with their age, units, alarms, and which commands are open to the person who asks."""
    return services.cell_acts.status(session, cell, trace_since_us)


@router.get("/cells/{cell}/alarms", responses={200: {"model": answers.Alarms}})
def alarms(services: Services, session: _See, cell: str) -> Answer:
    """Return the alarms of the run on a cell, each with what the person who asks may do about it."""
    return {"alarms": services.cell_acts.alarms(session, cell)}


@router.post("/cells/{cell}/alarms/acknowledge")
def acknowledge(services: Services, session: _Acknowledge, cell: str, body: Acknowledge) -> Answer:
    return services.production.acknowledge(session, cell, body.alarm, body.comment)


@router.post("/cells/{cell}/alarms/reset")
def reset(services: Services, session: _Reset, cell: str, body: Acknowledge) -> Answer:
    """Reset a latched alarm that was acknowledged and whose condition has gone."""
    return services.production.reset_alarm(session, cell, body.alarm, body.comment)


@router.post("/cells/{cell}/alarms/shelve")
def shelve(services: Services, session: _Shelve, cell: str, body: Shelve) -> Answer:
    """Put an early warning away for a stated time and reason; the end of the run ends it too."""
    return services.production.shelve(session, cell, body.alarm, body.reason, body.minutes)


@router.post("/cells/{cell}/alarms/unshelve")
def unshelve(services: Services, session: _Unshelve, cell: str, body: Unshelve) -> Answer:
    return services.production.unshelve(session, cell, body.alarm)


@router.get("/cells/{cell}/alarms/figures")
def alarm_figures(services: Services, session: _See, cell: str, run: str | None = None) -> Answer:
    """Alarm figures from the cell's trail: rate, floods, chatter, stale alarms, time to acknowledge, most frequent (ISA-18.2 clause 16)."""
    return services.cells.client(cell).alarm_figures(run)


@router.post("/cells/{cell}/stop", responses=LEADS_ON, openapi_extra=body_of_route(Stop, required=False))
async def stop(request: Request, services: Services, session: _Stop, cell: str) -> Response:
    """Stop a cell. JSON, a plain HTML form or an empty body: what cannot be read, or does not come in a second, means at once."""
    wanted = _read(await _body(request), request.headers.get("content-type", ""))
    carry_out = partial(services.production.stop, session, cell, wanted.strength, wanted.reason)
    threads: Mapping[str, CapacityLimiter] = request.app.state.stop_threads
    answer = await run_sync(carry_out, limiter=threads.get(cell))
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse(f"/?cell={cell}", status_code=HTTPStatus.SEE_OTHER)
    return JSONResponse(answer)


async def _body(request: Request) -> bytes:
    """Return the body, empty where it is cut off, too slow or too long."""
    body = b""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > _LARGEST:
                    return b""
    except (TimeoutError, ClientDisconnect):
        return b""
    return body


def _read(body: bytes, content_type: str) -> Stop:
    try:
        if content_type.lower().startswith("application/json"):
            return Stop.model_validate_json(body)
        return Stop.model_validate({name: values[0] for name, values in parse_qs(body.decode(), max_num_fields=8).items()})
    except (ValidationError, ValueError):
        return Stop()
