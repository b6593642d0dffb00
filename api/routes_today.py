"""The day as one person sees it: queue, cells, alarms, what needs them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from api.dependencies import Answer, Services
from api.security import Permission, Session, guard

router = APIRouter(prefix="/api/v1", tags=["today"])

_See = Annotated[Session, Depends(guard(Permission.SEE))]


@router.get("/today")
def today(services: Services, session: _See) -> Answer:
    """Return what is not done with, each with its next act and who may take it; the cells and their readiness; what needs you."""
    return services.today.today(session, services.feeds.views(), services.readiness.views(), wait=True).as_record()
