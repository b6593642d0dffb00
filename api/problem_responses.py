"""The answers that every route may give beside its own, as the description of the interface shows them."""

from __future__ import annotations

from http import HTTPStatus

from pydantic import BaseModel, ConfigDict, Field

from api.problems import MEDIA_TYPE


class Problem(BaseModel):
    """RFC 9457: what is wrong, where, and what to do. `code` is stable and listed in docs/reference/error-codes.md."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:dosewright:error:AP-011",
                    "title": "Conflict",
                    "status": 409,
                    "code": "AP-011",
                    "detail": "Order O00001 is confirmed, not waiting for a second person.",
                    "remedy": "Look at the order.",
                    "reasons": [],
                }
            ]
        }
    )

    type: str
    title: str
    status: int
    code: str
    detail: str
    remedy: str = ""
    reasons: list[str] = Field(default_factory=list)


_WORDS = {
    HTTPStatus.BAD_REQUEST: "The request is no HTTP request that can be read.",
    HTTPStatus.UNAUTHORIZED: "Nobody is logged in, or the log-in has ended.",
    HTTPStatus.FORBIDDEN: "The person may not do this, or a signature was refused.",
    HTTPStatus.NOT_FOUND: "There is no such object.",
    HTTPStatus.METHOD_NOT_ALLOWED: "The path takes another method.",
    HTTPStatus.REQUEST_TIMEOUT: "The body came too slowly.",
    HTTPStatus.CONFLICT: "The object is in another state, or its rules refuse it; the reasons are listed.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is larger than any that is taken.",
    HTTPStatus.MISDIRECTED_REQUEST: "The host name is not one of this workstation.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "A field cannot be read or is not believed; each is named.",
    HTTPStatus.LOCKED: "The session is locked after inactivity; the password opens it again.",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many attempts; `Retry-After` says when to come again.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The record or the cell cannot be reached; nothing was done.",
}

_EXAMPLES: dict[HTTPStatus, tuple[str, str, str, list[str]]] = {
    HTTPStatus.BAD_REQUEST: ("AP-001", "The first administrator is made already.", "Log in.", []),
    HTTPStatus.UNAUTHORIZED: ("AP-020", "There is no open session.", "Log in first.", []),
    HTTPStatus.FORBIDDEN: (
        "AU-022", "operator may not sign a disposition.", "It takes one of the roles: pharmacist, qualified_person, quality_assurance.", [],
    ),
    HTTPStatus.NOT_FOUND: ("AP-010", "There is no order 'O00009'.", "Look at the list of orders.", []),
    HTTPStatus.METHOD_NOT_ALLOWED: ("HTTP-405", "Method Not Allowed", "", []),
    HTTPStatus.REQUEST_TIMEOUT: ("HTTP-408", "The body did not come within 20 s.", "Send less, or faster.", []),
    HTTPStatus.CONFLICT: ("AP-011", "Order O00001 is confirmed, not waiting for a second person.", "Look at the order.", []),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ("HTTP-413", "The body is larger than 8388608 bytes.", "Send less, or faster.", []),
    HTTPStatus.MISDIRECTED_REQUEST: ("AP-021", "This is not the name of this workstation.", "", []),
    HTTPStatus.UNPROCESSABLE_ENTITY: (
        "AP-014", "The request cannot be read: reason: Field required.", "Correct the fields named and send it again.",
        ["reason: Field required"],
    ),
    HTTPStatus.LOCKED: (
        "AP-022", "This session is locked: nobody used it for too long.", "Give the password of operator again. STOP works.", [],
    ),
    HTTPStatus.TOO_MANY_REQUESTS: ("HTTP-429", "Log-in failed 10 times from this address within a minute.", "Wait 41 s.", []),
    HTTPStatus.SERVICE_UNAVAILABLE: (
        "AP-040", "The cell cell-1 has no address yet (address.json cannot be read).", "Start the cell's process, then try again.", [],
    ),
}  # fmt: skip


def _example(status: HTTPStatus) -> dict[str, object]:
    code, detail, remedy, reasons = _EXAMPLES[status]
    about = {"type": f"urn:dosewright:error:{code}", "title": status.phrase, "status": int(status), "code": code}
    return {**about, "detail": detail, "remedy": remedy, "reasons": reasons}


PROBLEMS: dict[int | str, dict[str, object]] = {
    int(status): {
        "description": words,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": _example(status)}},
    }
    for status, words in _WORDS.items()
}

LEADS_ON: dict[int | str, dict[str, object]] = {
    int(HTTPStatus.SEE_OTHER): {"description": "A plain form of a browser is led on to a page."}
}

FORM_REFUSED: dict[int | str, dict[str, object]] = {
    int(status): {
        "description": f"{_WORDS[status]} The form of a browser is shown again, with the reason.",
        "content": {
            MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": _example(status)},
            "text/html": {"schema": {"type": "string"}},
        },
    }
    for status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
}
"""How a log-in is refused: to a program with a problem, to the form with its page."""
