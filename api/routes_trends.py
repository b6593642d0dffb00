"""Trends across batches: charts, signals and capability of each strength, and all points as a file."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response

from api.dependencies import Answer, Services
from api.security import Permission, Session, guard
from api.trend_desk import TrendQuestion

router = APIRouter(prefix="/api/v1", tags=["trends"])

_See = Annotated[Session, Depends(guard(Permission.SEE))]


@router.get("/trends")
def trends(services: Services, session: _See, asked: Annotated[TrendQuestion, Query()]) -> Answer:
    """Return each strength by itself: batches, charts with limits and what each point breaks, capability with bounds; nothing is pooled."""
    return services.trends.trends(asked).as_record()


@router.get("/trends/points", response_class=Response, responses={200: {"content": {"text/csv": {}}}})
def points(services: Services, session: _See, asked: Annotated[TrendQuestion, Query()]) -> Response:
    """Return all points of all charts as CSV."""
    headers = {"Content-Disposition": 'attachment; filename="trends.csv"'}
    return Response(services.trends.trends(asked).as_csv(), media_type="text/csv; charset=utf-8", headers=headers)
