"""Log-in, log-out, accounts."""

from __future__ import annotations

import functools
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from api import answers
from api.access import GivenFactor
from api.dependencies import Answer, Answers, Services
from api.described import body_of_route
from api.errors import RemoteRefused
from api.form_body import body_of
from api.paging import Page, by, paged
from api.people import person_record
from api.perimeter import Origin
from api.problem_responses import FORM_REFUSED, LEADS_ON
from api.security import COOKIE, Permission, Session, guard, token_of
from api.workstation.login import login_page
from api.workstation.places import LONGEST_WAY, TODAY, way_back
from audit.errors import LoginFailed
from audit.events import EventKind
from audit.identity import Role

router = APIRouter(tags=["people"])


class LogIn(GivenFactor):
    """User name and password; from outside the perimeter a second factor too."""

    username: str = Field(min_length=1, max_length=64)
    password: str = Field(min_length=1, max_length=256)


class Resume(GivenFactor):
    """The password again; `back` is the page to return to, for the form of a locked page."""

    password: str = Field(min_length=1, max_length=256)
    back: str = Field(default="/", max_length=LONGEST_WAY)


class PasskeyFor(BaseModel):
    model_config = ConfigDict(extra="forbid")

    username: str = Field(min_length=1, max_length=64)


class NewPerson(BaseModel):
    model_config = ConfigDict(extra="forbid")

    username: str = Field(min_length=1, max_length=64)
    full_name: str = Field(min_length=1, max_length=200)
    roles: frozenset[Role] = Field(min_length=1)
    password: str | None = Field(default=None, min_length=1, max_length=256)


class NewRoles(BaseModel):
    model_config = ConfigDict(extra="forbid")

    roles: frozenset[Role] = Field(min_length=1)
    reason: str = Field(min_length=1, max_length=500)


class Lend(BaseModel):
    """A role lent until a day (ISO), that day included."""

    model_config = ConfigDict(extra="forbid")

    role: Role
    until: str = Field(min_length=10, max_length=10)
    reason: str = Field(min_length=1, max_length=500)


class NewPassword(GivenFactor):
    password: str = Field(min_length=1, max_length=256)
    new_password: str = Field(min_length=1, max_length=256)


class Reason(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=500)


def _origin(request: Request) -> Origin:
    found: object = request.scope.get("dosewright_origin")
    return found if isinstance(found, Origin) else Origin(remote=True, encrypted=False)


def _page(request: Request, services: Services, message: str = "") -> str:
    remote = _origin(request).remote
    passkeys = services.factors.offers_passkeys and remote
    return login_page(demonstration=services.settings.demonstration, message=message, code=remote, passkeys=passkeys)


@router.get("/login", include_in_schema=False)
def show_login(request: Request, services: Services) -> Response:
    if services.set_up.is_open:
        return RedirectResponse("/set-up", status_code=HTTPStatus.SEE_OTHER)
    return HTMLResponse(_page(request, services))


@router.post(
    "/api/v1/session",
    responses=LEADS_ON | FORM_REFUSED,
    openapi_extra={"x-audit-kinds": [EventKind.PERSON_SESSION_OPENED, EventKind.PERSON_SESSION_REFUSED], **body_of_route(LogIn)},
)
async def log_in(request: Request, services: Services) -> Response:
    """Log in with JSON (answers with a token for `Authorization: Bearer`) or with the form of the log-in page (sets a cookie).

    From outside the perimeter it takes a second factor: `code` (one-time password or recovery code) or `passkey`.
    """
    given, is_form = await body_of(request, LogIn)
    origin = _origin(request)
    try:
        log_in = functools.partial(services.people.log_in, given.username, given.password, origin=origin, given=given)
        token, person = await run_in_threadpool(log_in)
    except (LoginFailed, RemoteRefused) as error:
        if not is_form:
            raise
        status = HTTPStatus.UNAUTHORIZED if isinstance(error, LoginFailed) else HTTPStatus.FORBIDDEN
        return HTMLResponse(_page(request, services, str(error)), status_code=status)
    if isinstance(former := request.scope.get("dosewright_session"), Session):  # who logs in anew leaves no session behind
        await run_in_threadpool(services.people.log_out, former, token_of(request)[0])
    if not is_form:
        return JSONResponse({"token": token, "must_change_password": person.must_change, "person": person_record(person)})
    answer = RedirectResponse("/account" if person.must_change else TODAY.path, status_code=HTTPStatus.SEE_OTHER)
    answer.set_cookie(
        COOKIE,
        token,
        max_age=services.settings.session_minutes * 60,
        httponly=True,
        samesite="strict",
        secure=origin.encrypted,
    )
    return answer


@router.post("/api/v1/session/passkey")
def passkey_options(services: Services, body: PasskeyFor) -> Answer:
    """Return the question for a passkey; the answer goes with the log-in, or with a signature."""
    return services.factors.passkey_options(body.username)


def _log_out(request: Request, services: Services, session: Session) -> None:
    services.people.log_out(session, token_of(request)[0])


CloseSession = Annotated[Session, Depends(guard(Permission.SEE, EventKind.PERSON_SESSION_CLOSED))]
ChangePassword = Annotated[Session, Depends(guard(Permission.SEE, EventKind.PERSON_CREDENTIAL_SET))]
SeePeople = Annotated[Session, Depends(guard(Permission.SEE))]
ResumeSession = Annotated[Session, Depends(guard(Permission.SEE, EventKind.PERSON_SESSION_RESUMED, EventKind.PERSON_SESSION_REFUSED))]
ChangeRoles = Annotated[Session, Depends(guard(Permission.MANAGE_PEOPLE, EventKind.PERSON_ROLES_CHANGED))]
ResetPassword = Annotated[Session, Depends(guard(Permission.MANAGE_PEOPLE, EventKind.PERSON_CREDENTIAL_SET))]
CloseAccount = Annotated[Session, Depends(guard(Permission.MANAGE_PEOPLE, EventKind.PERSON_ACCOUNT_DEACTIVATED))]
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


@router.post("/api/v1/session/resume", responses=LEADS_ON, openapi_extra=body_of_route(Resume))
async def resume(request: Request, services: Services, session: ResumeSession) -> Response:
    """Open a locked session again: JSON, or the form of a locked page."""
    given, is_form = await body_of(request, Resume)
    token = token_of(request)[0]
    person = await run_in_threadpool(services.people.resume, session, token, given.password, given)
    if not is_form:
        return JSONResponse(person)
    return RedirectResponse(way_back(given.back), status_code=HTTPStatus.SEE_OTHER)


@router.post("/api/v1/session/signing-challenge")
def signing_challenge(services: Services, session: SeePeople) -> Answer:
    """Return a one-time challenge, which goes with one signature: a request that is sent twice signs once."""
    return services.people.signing_challenge(session)


@router.put("/api/v1/session/password")
def change_password(request: Request, services: Services, session: ChangePassword, body: NewPassword) -> Answer:
    """Set an own new password; the signing key stays the same."""
    return services.people.change_password(session, body.password, body.new_password, token=token_of(request)[0], given=body)


@router.get("/api/v1/session")
def me(session: SeePeople) -> Answer:
    """Say who is logged in, and what the roles of this person grant."""
    who: dict[str, object] = {"username": session.username, "name": session.name, "roles": sorted(role.value for role in session.roles)}
    who["permissions"] = sorted(permission.value for permission in session.permissions)
    return {**who, "remote": session.remote, "locked": session.locked, "must_change_password": session.must_change}


@router.get("/api/v1/people", responses=paged(answers.PersonRow))
def people(services: Services, session: SeePeople, page: Page) -> Answers:
    return page.page(services.people.people(), by("username"))


@router.get("/api/v1/people/{username}", responses={200: {"model": answers.Person}})
def person(services: Services, session: SeePeople, username: str) -> Answer:
    """Return an account, and what the person who asks may do to it."""
    return services.people.person_for(session, username)


@router.post("/api/v1/people", status_code=HTTPStatus.CREATED)
def create_person(services: Services, session: CreatePerson, person: NewPerson) -> Answer:
    """Make an account (administrators). Without a password one is made at random and shown this once."""
    return services.people.create(
        session, username=person.username, full_name=person.full_name, roles=person.roles, password=person.password
    )


@router.post("/api/v1/people/{username}/unlock")
def unlock(services: Services, session: UnlockPerson, username: str, body: Reason) -> Answer:
    """Unlock an account (administrators)."""
    return services.people.unlock(session, username, body.reason)


@router.post("/api/v1/people/{username}/deactivate")
def deactivate(services: Services, session: CloseAccount, username: str, body: Reason) -> Answer:
    """Close an account for good; its name stays taken (administrators)."""
    return services.people.deactivate(session, username, body.reason)


@router.post("/api/v1/people/{username}/password")
def reset_password(services: Services, session: ResetPassword, username: str, body: Reason) -> Answer:
    """Issue a random password, shown this once, with a new signing key (administrators)."""
    return services.people.reset_password(session, username, body.reason)


@router.put("/api/v1/people/{username}/roles")
def change_roles(services: Services, session: ChangeRoles, username: str, body: NewRoles) -> Answer:
    """Give an account these roles and no others (administrators)."""
    return services.people.change_roles(session, username, body.roles, body.reason)


@router.post("/api/v1/people/{username}/deputy")
def lend_role(services: Services, session: ChangeRoles, username: str, body: Lend) -> Answer:
    """Let a person deputise in a role until a day (administrators)."""
    return services.people.lend_role(session, username, body.role, body.until, body.reason)
