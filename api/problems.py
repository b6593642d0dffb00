"""Errors as `application/problem+json` (RFC 9457): the code decides the HTTP status; text is for people.

A browser that sent a plain form (it accepts HTML) gets the same as a page that it can show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from api.workstation.refusal import refusal_page
from audit.errors import DosewrightError
from audit.quantities import QuantityError

MEDIA_TYPE = "application/problem+json"

_BY_CODE: Mapping[str, HTTPStatus] = {
    "AU-002": HTTPStatus.SERVICE_UNAVAILABLE,
    "AU-005": HTTPStatus.CONFLICT,
    "AU-020": HTTPStatus.FORBIDDEN,
    "AU-021": HTTPStatus.UNAUTHORIZED,
    "AU-022": HTTPStatus.FORBIDDEN,
    "AU-023": HTTPStatus.FORBIDDEN,
    "AU-030": HTTPStatus.CONFLICT,
    "AU-031": HTTPStatus.CONFLICT,
    "AU-032": HTTPStatus.CONFLICT,
    "AU-062": HTTPStatus.CONFLICT,
    "AU-070": HTTPStatus.UNPROCESSABLE_ENTITY,
    "AP-010": HTTPStatus.NOT_FOUND,
    "AP-011": HTTPStatus.CONFLICT,
    "AP-012": HTTPStatus.CONFLICT,
    "AP-013": HTTPStatus.CONFLICT,
    "AP-014": HTTPStatus.UNPROCESSABLE_ENTITY,
    "AP-015": HTTPStatus.CONFLICT,
    "AP-020": HTTPStatus.UNAUTHORIZED,
    "AP-021": HTTPStatus.FORBIDDEN,
    "AP-022": HTTPStatus.LOCKED,
    "AP-023": HTTPStatus.FORBIDDEN,
    "AP-024": HTTPStatus.FORBIDDEN,
    "AP-040": HTTPStatus.SERVICE_UNAVAILABLE,
    "AP-041": HTTPStatus.CONFLICT,
}
_BY_ROOM: Mapping[str, HTTPStatus] = {
    "AU-": HTTPStatus.SERVICE_UNAVAILABLE,
    "RC-": HTTPStatus.UNPROCESSABLE_ENTITY,
    "RE-": HTTPStatus.UNPROCESSABLE_ENTITY,
    "PR-1": HTTPStatus.SERVICE_UNAVAILABLE,
    "PR-": HTTPStatus.CONFLICT,
}


def status_of(error: DosewrightError) -> HTTPStatus:
    """Return the HTTP status of an error: by its code, else by the room it comes from, else 400."""
    if error.code in _BY_CODE:
        return _BY_CODE[error.code]
    for prefix, status in _BY_ROOM.items():
        if error.code.startswith(prefix):
            return status
    return HTTPStatus.BAD_REQUEST


def problem(status: HTTPStatus, code: str, detail: str, *, remedy: str = "", reasons: Sequence[str] = ()) -> JSONResponse:
    """Return one problem document."""
    body = {
        "type": f"urn:dosewright:error:{code}",
        "title": status.phrase,
        "status": int(status),
        "code": code,
        "detail": detail,
        "remedy": remedy,
        "reasons": list(reasons),
    }
    headers = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else None
    return JSONResponse(body, status_code=int(status), media_type=MEDIA_TYPE, headers=headers)


def unforeseen() -> JSONResponse:
    """Return the problem document of an error that nobody foresaw."""
    return problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "DW-000",
        "The workstation met an error that it did not foresee; the request was not carried out as far as is known.",
        remedy="Look at the state of the object before you try again; the process log holds the details.",
    )


def problem_of(error: DosewrightError, connection: HTTPConnection) -> Response:
    """Return the problem document of an error, or a page where the request came from a form of a browser."""
    if "text/html" in connection.headers.get("accept", ""):
        page = refusal_page(error.code, error.message, error.remedy, stop=str(connection.scope["path"]).endswith("/stop"))
        return HTMLResponse(page, status_code=int(status_of(error)))
    return problem(status_of(error), error.code, error.message, remedy=error.remedy, reasons=error.reasons)


def _validation(errors: Sequence[Mapping[str, object]]) -> JSONResponse:
    reasons = []
    for item in errors:
        location = item.get("loc", ())
        parts = [str(part) for part in location if part != "body"] if isinstance(location, (tuple, list)) else []
        reasons.append(f"{'.'.join(parts) or 'body'}: {item.get('msg', 'not valid')}")
    return problem(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "AP-014",
        "The request cannot be read: " + "; ".join(reasons) + ".",
        remedy="Correct the fields named and send it again.",
        reasons=reasons,
    )


def install(app: FastAPI) -> None:
    """Answer every error of the application with a problem document; nothing internal is shown.

    No thread is taken to say it: what is refused is refused at once, even where all threads wait for a cell.
    """

    @app.exception_handler(DosewrightError)
    async def _dosewright(request: Request, error: DosewrightError) -> Response:
        return problem_of(error, request)

    @app.exception_handler(RequestValidationError)
    async def _request(request: Request, error: RequestValidationError) -> JSONResponse:
        return _validation(error.errors())

    @app.exception_handler(ValidationError)
    async def _value(request: Request, error: ValidationError) -> JSONResponse:
        return _validation([dict(item) for item in error.errors()])

    @app.exception_handler(QuantityError)
    async def _quantity(request: Request, error: QuantityError) -> JSONResponse:
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "AP-014", str(error), remedy="Correct the value and send it again.")

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        status = HTTPStatus(error.status_code)
        return problem(status, f"HTTP-{error.status_code}", str(error.detail))

    @app.exception_handler(Exception)
    async def _unforeseen(request: Request, error: Exception) -> JSONResponse:
        return unforeseen()
