"""What is anchored outside, and the keys by which the trails of this site are believed."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from api.access import Credentials
from api.dependencies import Answer, Services
from api.security import Permission, Session, guard
from audit.events import EventKind

router = APIRouter(prefix="/api/v1", tags=["anchors"])


class Acceptance(BaseModel):
    """Why a cell's new key is believed; `key` is that key as the site received it by another way than from the cell."""

    model_config = ConfigDict(extra="forbid")

    key: str = Field(default="", max_length=500)
    reason: str = Field(min_length=1, max_length=500)
    signature: Credentials


_See = Annotated[Session, Depends(guard(Permission.SEE))]
_Anchor = Annotated[
    Session,
    Depends(
        guard(
            Permission.REVIEW,
            EventKind.TRAIL_CHECKPOINT_COSIGNED,
            EventKind.TRAIL_CHECKPOINT_TIMESTAMPED,
            EventKind.TRAIL_ANCHOR_REFUSED,
        )
    ),
]
_Accept = Annotated[Session, Depends(guard(Permission.CHANGE_EQUIPMENT, EventKind.CELL_KEY_ACCEPTED))]


@router.get("/anchors")
def anchors(services: Services, session: _See) -> Answer:
    """Return what of each trail is anchored outside, by whom and since when, and how many entries came since."""
    return services.anchors.status()


@router.post("/anchors")
def anchor(services: Services, session: _Anchor) -> Answer:
    """Submit every trail's checkpoint now, and return what came of it; a witness that cannot be reached is no error."""
    outcomes = [
        {"origin": item.origin, "by": item.by, "size": item.size, "problem": item.problem, "again": item.again}
        for item in services.anchors.anchor(all_of_it=True)
    ]
    return {"outcomes": outcomes, **services.anchors.status()}


@router.get("/cells/{cell}/key")
def cell_key(services: Services, session: _See, cell: str) -> Answer:
    """Return the key by which a cell is believed, and the one that it signs with."""
    return services.cell_keys.show(cell)


@router.post("/cells/{cell}/key")
def accept_cell_key(services: Services, session: _Accept, cell: str, body: Acceptance) -> Answer:
    """Believe the key that a cell signs with now, signed by quality assurance."""
    return services.cell_keys.accept(session, cell, body.signature, body.key, body.reason)
