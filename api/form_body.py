"""Bodies that come as JSON from a program or as a plain form from a page without script."""

from __future__ import annotations

import json
from typing import TypeVar
from urllib.parse import parse_qs

from fastapi import Request
from pydantic import BaseModel, ValidationError

from api.errors import InputInvalid

_LARGEST = 16384
_Given = TypeVar("_Given", bound=BaseModel)


async def body_of(request: Request, model: type[_Given]) -> tuple[_Given, bool]:
    """Read JSON, or the fields of a plain form; the second value says which. Raises InputInvalid."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST:
            raise InputInvalid("The log-in is too long.", remedy="Send user name, password and second factor only.")
    is_form = request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    try:
        if not is_form:
            return model.model_validate_json(body), False
        fields: dict[str, object] = {name: values[0] for name, values in parse_qs(body.decode(), max_num_fields=6).items()}
        if isinstance(text := fields.get("passkey"), str):
            fields["passkey"] = json.loads(text)
        return model.model_validate(fields), True
    except (ValidationError, ValueError, RecursionError):
        raise InputInvalid("The log-in cannot be read.", remedy="Send username and password.") from None
