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
    HTTPStatus.TOO_MANY_REQUESTS: "Too many attempts; `Retry-After` says when to come again.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The record or the cell cannot be reached; nothing was done.",
}

PROBLEMS: dict[int | str, dict[str, object]] = {
    int(status): {"description": words, "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    for status, words in _WORDS.items()
}
