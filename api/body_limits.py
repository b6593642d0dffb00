"""How much of a request is taken, and how slowly it may come: one bound for all routes, before anything is parsed."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem
from api.security import STOP_PATH

LARGEST_BODY = 8 << 20
SLOWEST_BODY_S = 20.0


class BodyLimits:
    """ASGI middleware: refuses a body that is announced or grows too large, or takes longer than its time to come.

    STOP is not refused for its body: its route reads what it needs and no more.

    Concurrency: one event loop; nothing is shared between requests.
    """

    def __init__(self, app: ASGIApp, *, largest: int = LARGEST_BODY, slowest_s: float = SLOWEST_BODY_S) -> None:
        self._app = app
        self._largest = largest
        self._slowest_s = slowest_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or STOP_PATH.match(scope["path"]):
            await self._app(scope, receive, send)
            return
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            self._announced(scope)
            await self._app(scope, self._bounded(receive), sending)
        except HTTPException as refused:  # raised while a body was read outside the routes; inside them it is answered there
            if begun:
                raise
            status = HTTPStatus(refused.status_code)
            await problem(status, f"HTTP-{refused.status_code}", refused.detail, remedy="Send less, or faster.")(scope, receive, send)

    def _announced(self, scope: Scope) -> None:
        for name, value in scope["headers"]:
            if name == b"content-length" and (not value.isdigit() or int(value) > self._largest):
                raise self._too_large()

    def _bounded(self, receive: Receive) -> Receive:
        taken = 0
        ends = asyncio.get_running_loop().time() + self._slowest_s
        whole = False

        async def bounded() -> Message:
            nonlocal taken, whole
            if whole:  # what comes now is the end of the connection, for which there is no hurry
                return await receive()
            try:
                async with asyncio.timeout_at(ends):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, f"The body did not come within {self._slowest_s:g} s.") from None
            taken += len(message.get("body", b""))
            whole = message["type"] != "http.request" or not message.get("more_body", False)
            if taken > self._largest:
                raise self._too_large()
            return message

        return bounded

    def _too_large(self) -> HTTPException:
        return HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is larger than {self._largest} bytes.")
