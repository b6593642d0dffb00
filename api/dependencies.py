"""What routes take from the application: the workstation's services."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Annotated, TypeAlias

from fastapi import Depends, Request

from api.errors import WorkstationError
from api.wiring import Workstation
from printer.standing import local_day


async def workstation_of(request: Request) -> Workstation:
    """Return the services; no thread is taken for it."""
    found: object = request.app.state.workstation
    if not isinstance(found, Workstation):
        raise WorkstationError("The application has no workstation.", remedy="Build it with create_app.")
    return found


def today_of(services: Workstation) -> date:
    """Return the day at the site, which is not that of UTC for some hours of every night."""
    return date.fromisoformat(local_day(services.clock.utc()))


Services = Annotated[Workstation, Depends(workstation_of)]
Answer: TypeAlias = Mapping[str, object]
Answers: TypeAlias = Sequence[Answer]
