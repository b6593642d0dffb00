"""Stores and their backups: whether a restore was tested, and the outcome of a test."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from api.access import actor_of
from api.dependencies import Answer, Services, today_of
from api.errors import InputInvalid
from api.people import DEVICE
from api.security import Permission, Session, guard
from audit.events import EventKind
from audit.restore_test import Outcome, record_outcome, restore_due

router = APIRouter(prefix="/api/v1", tags=["stores"])


class RestoreOutcome(BaseModel):
    """What `dosewright backup-check` found, as the entry holds it."""

    model_config = ConfigDict(extra="forbid")

    backup: str = Field(max_length=300)
    on: date
    passed: bool
    problem: str = Field(max_length=2000)
    backup_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    backup_size: int | None = Field(default=None, ge=0, lt=1 << 53)
    backup_created: str | None = Field(default=None, max_length=40)
    live_size: int | None = Field(default=None, ge=0, lt=1 << 53)
    consistent: bool | None = None
    record: str | None = Field(default=None, max_length=300)
    record_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")


class RestoreTest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    origin: str = Field(max_length=200)
    outcome: RestoreOutcome


_See = Annotated[Session, Depends(guard(Permission.SEE))]
_LookAfter = Annotated[Session, Depends(guard(Permission.LOOK_AFTER_STORES, EventKind.STORE_RESTORE_TESTED))]


@router.get("/stores/restore-test")
def due(services: Services, session: _See) -> Answer:
    """Say when the next restore test of the workstation's store is due, and whether it is overdue."""
    found = restore_due(services.store, today_of(services))
    return {"due": None if found.due is None else found.due.isoformat(), "overdue": found.overdue, "text": found.text}


@router.post("/stores/restore-tests")
def record(services: Services, session: _LookAfter, body: RestoreTest) -> Answer:
    """Record the outcome of a restore test of the workstation's store, under the name of who reports it."""
    if body.origin != services.store.origin:
        raise InputInvalid(
            f"The restore test was of {body.origin}, this workstation's store is {services.store.origin}.",
            remedy="Record it in its own store: `dosewright backup-check --key` while its process rests.",
        )
    said = body.outcome.model_dump(mode="json", exclude_none=True)
    outcome = Outcome(body.origin, body.outcome.problem, said)
    actor = actor_of(session, Permission.LOOK_AFTER_STORES)
    entry = record_outcome(services.store, outcome, actor, DEVICE)
    return {"seq": entry.seq, "text": restore_due(services.store, today_of(services)).text}
