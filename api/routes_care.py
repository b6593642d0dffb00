"""Care for a cell: how ready it is, the daily check of its balance, its cleaning."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from api import answers
from api.access import Credentials
from api.dependencies import Answer, Answers, Services
from api.paging import PAGED, Page, by
from api.security import Permission, Session, guard
from audit.events import EventKind

router = APIRouter(prefix="/api/v1", tags=["devices"])


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Confirm(_Body):
    """`step` is the step whose instruction was carried out: a button pressed twice does not confirm the next one."""

    step: str = Field(min_length=1, max_length=40)


class Abandon(_Body):
    reason: str = Field(min_length=1, max_length=500)


class Cleaning(_Body):
    method: str = Field(min_length=1, max_length=200)


class Register(_Body):
    """`register`: the fields of the equipment register, as docs/engineer.md has them; quantities are text such as `0.5 mg`."""

    contents: dict[str, JsonValue] = Field(alias="register")
    signature: Credentials


class Signed(_Body):
    signature: Credentials


_Sign = Annotated[Session, Depends(guard(Permission.CHANGE_EQUIPMENT, EventKind.PERSON_SIGNATURE_GIVEN))]
_See = Annotated[Session, Depends(guard(Permission.SEE))]
_Begin = Annotated[Session, Depends(guard(Permission.CARE, EventKind.EQUIPMENT_CHECK_BEGUN))]
_Check = Annotated[Session, Depends(guard(Permission.CARE, EventKind.EQUIPMENT_CHECK_COMPLETED))]
_Clean = Annotated[Session, Depends(guard(Permission.CARE, EventKind.CELL_CLEANING_COMPLETED))]


@router.get("/cells/{cell}/readiness", responses={200: {"model": answers.Readiness}})
def readiness(services: Services, session: _See, cell: str) -> Answer:
    """Return the gates that can be judged without a job (register, dates, daily check, cleaning), and what is open to the person."""
    return services.cell_acts.readiness(session, cell)


@router.post("/cells/{cell}/check")
def begin_check(services: Services, session: _Begin, cell: str) -> Answer:
    """Begin the daily check of the balance; the answer says what to do first."""
    return services.care.begin_check(session, cell)


@router.post("/cells/{cell}/check/confirm")
def confirm_check(services: Services, session: _Check, cell: str, body: Confirm) -> Answer:
    """Confirm that the instruction of a step was carried out; the balance is read then."""
    return services.care.confirm_check(session, cell, body.step)


@router.post("/cells/{cell}/check/abandon")
def abandon_check(services: Services, session: _Check, cell: str, body: Abandon) -> Answer:
    """Give the check up; it is on record as abandoned, and a print needs another."""
    return services.care.abandon_check(session, cell, body.reason)


@router.post("/cells/{cell}/cleaning")
def record_cleaning(services: Services, session: _Clean, cell: str, body: Cleaning) -> Answer:
    """Put on record that the cell was cleaned, by which method."""
    return services.care.record_cleaning(session, cell, body.method)


@router.post("/equipment-registers")
def sign_register(services: Services, session: _Sign, body: Register) -> Answer:
    """Sign an equipment register as quality assurance; the answer is what goes into the cell's folder as `equipment.json`."""
    return services.care.sign_register(session, body.contents, body.signature)


@router.get("/demonstration-registers", responses=PAGED)
def bench_registers(services: Services, session: _See, page: Page) -> Answers:
    """Return how each cell of a demonstration stands to the accounts there are: its register, and whom it does not believe yet."""
    return page.page([standing.as_record() for standing in services.bench_registers.standings()], by("cell"))


@router.post("/cells/{cell}/demonstration-register")
def sign_bench_register(services: Services, session: _Sign, cell: str, body: Signed) -> Answer:
    """Make the register of a demonstration cell from the accounts there are, sign it as quality assurance, and put it in its place."""
    return services.bench_registers.sign(session, cell, body.signature)
