"""What is on record of the equipment of a cell, and the training register."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict

from api.access import Credentials
from api.dependencies import Answer, Answers, Services
from api.equipment_desk import History
from api.equipment_log import Maintenance, QualificationReport
from api.paging import PAGED, Page, by, write_cursor
from api.security import Permission, Session, guard
from api.training_desk import TrainingRecord
from audit.events import EventKind

router = APIRouter(prefix="/api/v1", tags=["devices"])


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SignedReport(_Body):
    report: QualificationReport
    signature: Credentials


class SignedTraining(_Body):
    training: TrainingRecord
    signature: Credentials


_See = Annotated[Session, Depends(guard(Permission.SEE))]
_Qualify = Annotated[Session, Depends(guard(Permission.CHANGE_EQUIPMENT, EventKind.EQUIPMENT_QUALIFICATION_RECORDED))]
_Maintain = Annotated[Session, Depends(guard(Permission.MAINTAIN, EventKind.EQUIPMENT_MAINTENANCE_RECORDED))]
_Train = Annotated[Session, Depends(guard(Permission.TRAIN, EventKind.PERSON_TRAINING_RECORDED))]


@router.get("/cells/{cell}/equipment")
def equipment(services: Services, session: _See, cell: str) -> Answer:
    """Return devices with their dates, the gates of the cell, qualification reports by stage (null: not on record), maintenance."""
    services.cells.client(cell)  # a cell that there is not is refused as everywhere
    return services.equipment.view(cell, services.readiness.of(cell).view())


@router.get("/cells/{cell}/equipment/history", responses=PAGED)
def history(services: Services, session: _See, page: Page, cell: str, what: History) -> Answers:
    """List daily checks, cleanings or line clearances as the cell's trail has them, the newest first."""
    found = services.equipment.history(cell, what, cursor=page.place(), limit=page.limit)
    if found.cursor is not None:
        page.continue_with(write_cursor((found.cursor,)))
    return list(found.rows)


@router.post("/cells/{cell}/qualifications", status_code=201)
def record_qualification(services: Services, session: _Qualify, cell: str, body: SignedReport) -> Answer:
    """Put a qualification report on record, signed as quality assurance."""
    return services.equipment.log.record_qualification(session, cell, body.report, body.signature)


@router.post("/cells/{cell}/maintenance", status_code=201)
def record_maintenance(services: Services, session: _Maintain, cell: str, body: Maintenance) -> Answer:
    """Put maintenance of a device on record."""
    return services.equipment.log.record_maintenance(session, cell, body)


@router.get("/training", responses=PAGED)
def training(services: Services, session: _See, page: Page, person: Annotated[str, Query(max_length=64)] = "") -> Answers:
    """List how everybody, or one person, stands in recipes, cells and procedures today; `gated`: a cell asks for it before a print."""
    registers = [found.register for found in services.readiness.views().values() if found.register is not None]
    rows = services.training.register(registers)
    return page.page([row.as_record() for row in rows if person in ("", row.person)], by("person", "matter", "subject", "source"))


@router.post("/training", status_code=201)
def record_training(services: Services, session: _Train, body: SignedTraining) -> Answer:
    """Put a person's training on record, signed by who stands for it; nobody signs their own."""
    return services.training.record(session, body.training, body.signature)
