"""Ink lots and cartridges: received, prepared on site, weighed, and what happened to each."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, JsonValue

from api.access import Credentials
from api.dependencies import Answer, Services
from api.ink_desk import CartridgeWeighing
from api.security import Permission, Session, guard
from audit.events import EventKind

router = APIRouter(prefix="/api/v1", tags=["inks"])
_See = Annotated[Session, Depends(guard(Permission.SEE))]
_Receive = Annotated[Session, Depends(guard(Permission.RECEIVE_INK, EventKind.INK_LOT_RECEIVED))]
_Prepare = Annotated[Session, Depends(guard(Permission.RECEIVE_INK, EventKind.INK_LOT_PREPARED))]
_Fill = Annotated[Session, Depends(guard(Permission.RECEIVE_INK, EventKind.INK_CARTRIDGE_RECEIVED))]
_Weigh = Annotated[Session, Depends(guard(Permission.RECEIVE_INK, EventKind.INK_CARTRIDGE_WEIGHED))]


class PreparedInk(BaseModel):
    """An ink lot with its preparation record, and the second person who checked every weighing and the mixing."""

    model_config = ConfigDict(extra="forbid")
    ink: dict[str, JsonValue]
    checker: Credentials


@router.post("/inks", status_code=HTTPStatus.CREATED)
def receive_ink(services: Services, session: _Receive, ink: dict[str, JsonValue]) -> Answer:
    """Receive an ink lot with its certificate of analysis; fields as in the certificate, quantities as text with their unit."""
    return services.inks.receive_ink(session, ink)


@router.post("/inks/prepared", status_code=HTTPStatus.CREATED)
def prepare_ink(services: Services, session: _Prepare, body: PreparedInk) -> Answer:
    """Record an ink prepared on site; a second person signs that each weighing and the mixing was checked."""
    return services.inks.prepare_ink(session, body.ink, body.checker)


@router.post("/cartridges", status_code=HTTPStatus.CREATED)
def receive_cartridge(services: Services, session: _Fill, cartridge: dict[str, JsonValue]) -> Answer:
    """Receive a filled cartridge of a known ink lot."""
    return services.inks.receive_cartridge(session, cartridge)


@router.get("/inks/{lot}")
def ink(services: Services, session: _See, lot: str) -> Answer:
    """Return an ink lot as it is now, and what the person who asks may do with it."""
    return services.inks.lot_for(session, lot)


@router.get("/cartridges/{serial}")
def cartridge(services: Services, session: _See, serial: str) -> Answer:
    """Return a cartridge as it is now, what is left in it, whether it is held, and all that happened to it."""
    return services.inks.cartridge_for(session, serial)


@router.post("/cartridges/{serial}/weight")
def weigh_cartridge(services: Services, session: _Weigh, serial: str, body: CartridgeWeighing) -> Answer:
    """Enter the gross mass of a cartridge; from the second weighing on it is reconciled with what runs took."""
    return services.inks.weigh_cartridge(session, serial, body)
