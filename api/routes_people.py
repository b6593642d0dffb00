"""Log-in, log-out, accounts."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool

from api.dependencies import Answer, Answers, Services
from api.errors import InputInvalid
from api.people import person_record
from api.security import COOKIE, Permission, Session, guard, token_of
from api.workstation.login import login_page
from audit.errors import LoginFailed
from audit.events import EventKind
from audit.identity import Role

router = APIRouter(tags=["people"])
_LARGEST_FORM = 4096


class LogIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    username: str = Field(min_length=1, max_length=64)
    password: str = Field(min_length=1, max_length=256)


class NewPerson(BaseModel):
    model_config = ConfigDict(extra="forbid")

    username: str = Field(min_length=1, max_length=64)
    full_name: str = Field(min_length=1, max_length=200)
    roles: frozenset[Role] = Field(min_length=1)
    password: str = Field(min_length=1, max_length=256)


class NewPassword(BaseModel):
    model_config = ConfigDict(extra="forbid")

    password: str = Field(min_length=1, max_length=256)
    new_password: str = Field(min_length=1, max_length=256)


class Reason(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=500)


async def _log_in_body(request: Request) -> tuple[LogIn, bool]:
    """Read JSON, or the fields of the plain form of the log-in page; the second value says which."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST_FORM:
            raise InputInvalid("The log-in is too long.", remedy="Send user name and password only.")
    is_form = request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    try:
        if is_form:
            fields = parse_qs(body.decode(), max_num_fields=4)
            return LogIn.model_validate({name: values[0] for name, values in fields.items()}), True
        return LogIn.model_validate_json(body), False
    except (ValidationError, ValueError):
        raise InputInvalid("The log-in cannot be read.", remedy="Send username and password.") from None


@router.get("/login", include_in_schema=False)
def show_login(services: Services) -> HTMLResponse:
    return HTMLResponse(login_page(demonstration=services.settings.demonstration))


@router.post("/api/v1/session", openapi_extra={"x-audit-kinds": [EventKind.PERSON_SESSION_OPENED, EventKind.PERSON_SESSION_REFUSED]})
async def log_in(request: Request, services: Services) -> Response:
    """Log in with JSON (answers with a token for `Authorization: Bearer`) or with the form of the log-in page (sets a cookie)."""
    given, is_form = await _log_in_body(request)
    try:
        token, person = await run_in_threadpool(services.people.log_in, given.username, given.password)
    except LoginFailed as error:
        if not is_form:
            raise
        page = login_page(demonstration=services.settings.demonstration, message=str(error))
        return HTMLResponse(page, status_code=HTTPStatus.UNAUTHORIZED)
    if not is_form:
        return JSONResponse({"token": token, "person": person_record(person)})
    answer = RedirectResponse("/", status_code=HTTPStatus.SEE_OTHER)
    answer.set_cookie(
        COOKIE,
        token,
        max_age=services.settings.session_minutes * 60,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


def _log_out(request: Request, services: Services, session: Session) -> None:
    services.people.log_out(session, token_of(request)[0])


CloseSession = Annotated[Session, Depends(guard(Permission.SEE, EventKind.PERSON_SESSION_CLOSED))]
ChangePassword = Annotated[Session, Depends(guard(Permission.SEE, EventKind.PERSON_CREDENTIAL_SET))]
SeePeople = Annotated[Session, Depends(guard(Permission.SEE))]
CreatePerson = Annotated[
    Session, Depends(guard(Permission.MANAGE_PEOPLE, EventKind.PERSON_ACCOUNT_CREATED, EventKind.PERSON_CREDENTIAL_SET))
]
UnlockPerson = Annotated[Session, Depends(guard(Permission.MANAGE_PEOPLE, EventKind.PERSON_ACCOUNT_UNLOCKED))]


@router.delete("/api/v1/session", status_code=HTTPStatus.NO_CONTENT)
def log_out(request: Request, services: Services, session: CloseSession) -> None:
    """End this session."""
    _log_out(request, services, session)


@router.post("/api/v1/session/close", include_in_schema=False)
def log_out_by_form(request: Request, services: Services, session: CloseSession) -> RedirectResponse:
    _log_out(request, services, session)
    answer = RedirectResponse("/login", status_code=HTTPStatus.SEE_OTHER)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer


@router.put("/api/v1/session/password")
def change_password(services: Services, session: ChangePassword, body: NewPassword) -> Answer:
    """Set an own new password; the signing key stays the same."""
    return services.people.change_password(session, body.password, body.new_password)


@router.get("/api/v1/session")
def me(session: SeePeople) -> Answer:
    """Say who is logged in."""
    return {"username": session.username, "name": session.name, "roles": sorted(role.value for role in session.roles)}


@router.get("/api/v1/people")
def people(services: Services, session: SeePeople) -> Answers:
    return services.people.people()


@router.post("/api/v1/people", status_code=HTTPStatus.CREATED)
def create_person(services: Services, session: CreatePerson, person: NewPerson) -> Answer:
    """Make an account (administrators)."""
    return services.people.create(
        session, username=person.username, full_name=person.full_name, roles=person.roles, password=person.password
    )


@router.post("/api/v1/people/{username}/unlock")
def unlock(services: Services, session: UnlockPerson, username: str, body: Reason) -> Answer:
    """Unlock an account (administrators)."""
    return services.people.unlock(session, username, body.reason)
