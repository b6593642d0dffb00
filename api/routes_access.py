"""Access to the site: policy, second factors, the access review, what needs attention, first-run set-up."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue
from starlette.concurrency import run_in_threadpool

from api.access import Credentials
from api.dependencies import Answer, Answers, Services
from api.errors import InputInvalid
from api.form_body import body_of
from api.paging import PAGED, Page, by
from api.security import API, Permission, Session, guard
from api.workstation.login import passkey_script, set_up_page
from audit.access_policy import PRESETS, policy_of
from audit.events import EventKind

router = APIRouter(tags=["people"])

_REFUSED = EventKind.PERSON_SESSION_REFUSED
_ENROL = (EventKind.PERSON_FACTOR_ENROLLED, EventKind.PERSON_FACTOR_REVOKED)
_See = Annotated[Session, Depends(guard(Permission.SEE))]
_Begin = Annotated[Session, Depends(guard(Permission.SEE, EventKind.PERSON_SESSION_RESUMED, _REFUSED))]
_Confirm = Annotated[Session, Depends(guard(Permission.SEE, *_ENROL))]
_RevokeOwn = Annotated[Session, Depends(guard(Permission.SEE, EventKind.PERSON_FACTOR_REVOKED, _REFUSED))]
_Revoke = Annotated[Session, Depends(guard(Permission.MANAGE_PEOPLE, EventKind.PERSON_FACTOR_REVOKED))]
_Policy = Annotated[Session, Depends(guard(Permission.MANAGE_PEOPLE, EventKind.ACCESS_POLICY_CHANGED))]
_Access = Annotated[Session, Depends(guard(Permission.SEE_ACCESS))]
_Review = Annotated[Session, Depends(guard(Permission.REVIEW_ACCESS, EventKind.ACCESS_REVIEW_SIGNED, EventKind.PERSON_SIGNATURE_GIVEN))]
_Judge = Annotated[Session, Depends(guard(Permission.SEE_ACCESS, EventKind.ACCESS_MISUSE_JUDGED))]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Password(_Body):
    password: str = Field(min_length=1, max_length=256)


class Code(_Body):
    code: str = Field(min_length=1, max_length=64)


class NewPasskey(_Body):
    label: str = Field(default="", max_length=80)
    credential: dict[str, JsonValue] = Field(max_length=20)


class RevokeOwn(_Body):
    factor: str = Field(min_length=1, max_length=100)
    password: str = Field(min_length=1, max_length=256)
    reason: str = Field(min_length=1, max_length=500)


class Revoke(_Body):
    factor: str = Field(min_length=1, max_length=100)
    reason: str = Field(min_length=1, max_length=500)


class NewPolicy(_Body):
    """A whole policy, as `GET /access-policy` gives it."""

    policy: dict[str, JsonValue] = Field(max_length=30)
    reason: str = Field(min_length=1, max_length=500)


class Signed(_Body):
    signature: Credentials


class Outcome(_Body):
    outcome: str = Field(min_length=1, max_length=500)


class FirstAdministrator(_Body):
    """`again` is the password a second time, where a page asks for it."""

    token: str = Field(min_length=1, max_length=100)
    username: str = Field(min_length=1, max_length=64)
    full_name: str = Field(min_length=1, max_length=200)
    password: str = Field(min_length=1, max_length=256)
    again: str | None = Field(default=None, max_length=256)


@router.get(f"{API}/session/factors", responses=PAGED)
def my_factors(services: Services, session: _See, page: Page) -> Answers:
    """List the own second factors."""
    return page.page(services.factors.mine(session), by("id"))


@router.post(f"{API}/session/factors/totp")
def begin_totp(services: Services, session: _Begin, body: Password) -> Answer:
    """Begin a one-time password: the secret, its QR code and the recovery codes are shown this once."""
    return services.factors.begin_totp(session, body.password)


@router.post(f"{API}/session/factors/totp/confirm")
def confirm_totp(services: Services, session: _Confirm, body: Code) -> Answer:
    """Enrol it, with a code that proves it; an earlier one is revoked."""
    return services.factors.confirm_totp(session, body.code)


@router.post(f"{API}/session/factors/passkey")
def begin_passkey(services: Services, session: _Begin, body: Password) -> Answer:
    """Begin a passkey: the options for the browser (WebAuthn)."""
    return services.factors.begin_passkey(session, body.password)


@router.post(f"{API}/session/factors/passkey/confirm")
def confirm_passkey(services: Services, session: _Confirm, body: NewPasskey) -> Answer:
    """Enrol the passkey that the browser made."""
    return services.factors.confirm_passkey(session, body.label, body.credential)


@router.post(f"{API}/session/factors/revoke")
def revoke_own(services: Services, session: _RevokeOwn, body: RevokeOwn) -> Answer:
    """Revoke an own second factor."""
    return services.factors.revoke_own(session, body.factor, body.password, body.reason)


@router.get(f"{API}/people/{{username}}/factors", responses=PAGED)
def factors_of(services: Services, session: _Access, username: str, page: Page) -> Answers:
    """List a person's second factors (administrators, quality assurance)."""
    return page.page(services.access.factors_of(username), by("id"))


@router.post(f"{API}/people/{{username}}/factors/revoke")
def revoke(services: Services, session: _Revoke, username: str, body: Revoke) -> Answer:
    """Revoke a person's second factor: it was lost, or may be in other hands (administrators)."""
    return services.factors.revoke(session, username, body.factor, body.reason)


@router.get(f"{API}/access-policy")
def policy(services: Services, session: _See) -> Answer:
    """Return the site's policy for access, and the readings of the sources that can be chosen."""
    return {"policy": services.people.policy.as_record(), "presets": {name: preset.as_record() for name, preset in PRESETS.items()}}


@router.put(f"{API}/access-policy")
def change_policy(services: Services, session: _Policy, body: NewPolicy) -> Answer:
    """Put another policy in force, never below the floor (administrators)."""
    return services.people.change_policy(session, policy_of(body.policy), body.reason)


@router.get(f"{API}/access-review")
def review(services: Services, session: _Access) -> Answer:
    """Return all accounts, roles, second factors and failures, with the digest (`shown_sha256`) that goes back as `signature.digest`."""
    return services.access.report()


@router.post(f"{API}/access-review")
def sign_review(services: Services, session: _Review, body: Signed) -> Answer:
    """Sign the review that was shown (quality assurance)."""
    return services.access.sign_review(session, body.signature)


@router.get(f"{API}/attention", responses=PAGED)
def attention(services: Services, session: _See, page: Page) -> Answers:
    """Return what needs attention now: suspected misuse, an access review that is due; nothing where the role may not see it."""
    return page.page(services.access.attention(session), by("since", "id"))


@router.post(f"{API}/attention/{{notice}}/judge")
def judge(services: Services, session: _Judge, notice: str, body: Outcome) -> Answer:
    """Record what a suspected misuse was found to be (administrators, quality assurance)."""
    return services.access.judge(session, notice, body.outcome)


@router.get("/set-up", include_in_schema=False)
def show_set_up(services: Services) -> HTMLResponse:
    """The page of the first administrator; not found once there is one."""
    if not services.set_up.is_open:
        return HTMLResponse(set_up_page(is_open=False), status_code=HTTPStatus.NOT_FOUND)
    return HTMLResponse(set_up_page(is_open=True))


@router.get("/passkey.js", include_in_schema=False)
def passkey_js() -> Response:
    """The script of the log-in page, which asks the browser for a passkey."""
    return Response(passkey_script(), media_type="text/javascript", headers={"Cache-Control": "no-cache"})


@router.post(f"{API}/set-up", openapi_extra={"x-audit-kinds": [EventKind.PERSON_ACCOUNT_CREATED, EventKind.PERSON_CREDENTIAL_SET]})
async def set_up(request: Request, services: Services) -> Response:
    """Make the first administrator, with the token that the terminal showed; once. JSON, or the form of the set-up page."""
    given, is_form = await body_of(request, FirstAdministrator)
    if given.again is not None and given.again != given.password:
        raise InputInvalid("The two passwords differ.", remedy="Type the same password twice.")
    make = services.set_up.create_administrator
    made = await run_in_threadpool(make, given.token, given.username, given.full_name, given.password)
    if is_form:
        return RedirectResponse("/login", status_code=HTTPStatus.SEE_OTHER)
    return JSONResponse(made, status_code=HTTPStatus.CREATED)
