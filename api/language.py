"""Which language a request is answered in, and the choice of it: a cookie of the browser, with or without a log-in."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from api.errors import InputInvalid
from api.perimeter import Origin
from api.workstation import words

COOKIE = "dosewright_language"
PATH = "/language"
_A_YEAR_S = 365 * 24 * 3600
_WAYS_BACK = ("/login", "/set-up", "/account")

router = APIRouter()


class Spoken:
    """ASGI middleware: finds the language of every request, before anything answers it."""

    def __init__(self, app: ASGIApp, *, site: str) -> None:
        self._app = app
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            connection = HTTPConnection(scope)
            words.speak(words.choose(connection.cookies.get(COOKIE, ""), connection.headers.get("accept-language", ""), self._site))
        await self._app(scope, receive, send)


@router.post(PATH, include_in_schema=False)
async def choose_language(request: Request) -> Response:
    """Keep the language chosen on a plain form in this browser, and go back. It shows nothing and changes no record."""
    try:
        fields = parse_qs((await request.body()).decode("utf-8", "replace"), max_num_fields=4)
    except ValueError:
        raise InputInvalid("The choice of a language cannot be read.", remedy="Choose it on the page.") from None
    code, back = fields.get("language", [""])[0], fields.get("back", [""])[0]
    if code not in words.languages():
        raise InputInvalid("There is no such language.", remedy=f"Choose one of: {', '.join(words.languages())}.")
    answer = RedirectResponse(back if back in _WAYS_BACK else _WAYS_BACK[0], status_code=HTTPStatus.SEE_OTHER)
    origin = request.scope.get("dosewright_origin")
    secure = isinstance(origin, Origin) and origin.encrypted
    answer.set_cookie(COOKIE, code, max_age=_A_YEAR_S, httponly=True, samesite="lax", secure=secure)
    return answer
