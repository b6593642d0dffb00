"""How often one address may fail to log in: after that it waits. Accounts have a lock-out of their own, which this does not replace.

The lock-out stops guessing at one account; this stops one address from trying every account, and from keeping the key derivation busy.
Source: 21 CFR 11.300(d); OWASP Authentication Cheat Sheet.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.perimeter import Origin
from api.problems import problem
from api.security import API
from audit.clock import Clock

FAILURES = 10
SPAN_US = 60_000_000
_MOST_ADDRESSES = 4096


class FailedLogIns:
    """The last failures of each address, by process time. Concurrency: one lock; safe for several threads."""

    def __init__(self, clock: Clock, *, failures: int = FAILURES, span_us: int = SPAN_US) -> None:
        self._clock = clock
        self._failures = failures
        self._span_us = span_us
        self._lock = threading.Lock()
        self._of: OrderedDict[str, deque[int]] = OrderedDict()

    def wait_us(self, address: str) -> int:
        """Return how long an address has to wait before it may try again, 0 where it may."""
        now = self._clock.now()
        with self._lock:
            failed = self._of.get(address, deque())
            while failed and failed[0] <= now - self._span_us:
                failed.popleft()
            return 0 if len(failed) < self._failures else failed[0] + self._span_us - now

    def failed(self, address: str) -> None:
        """Note a failure."""
        with self._lock:
            self._of.setdefault(address, deque(maxlen=self._failures)).append(self._clock.now())
            self._of.move_to_end(address)
            while len(self._of) > _MOST_ADDRESSES:
                self._of.popitem(last=False)


class LogInRate:
    """ASGI middleware around log-in alone."""

    def __init__(self, app: ASGIApp, *, failed: FailedLogIns) -> None:
        self._app = app
        self._failed = failed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] != f"{API}/session":
            await self._app(scope, receive, send)
            return
        origin: object = scope.get("dosewright_origin")
        address = (origin.address if isinstance(origin, Origin) else "") or "unknown"
        if wait := self._failed.wait_us(address):
            seconds = -(-wait // 1_000_000)
            answer = problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                "HTTP-429",
                f"Log-in failed {FAILURES} times from this address within a minute.",
                remedy=f"Wait {seconds} s.",
            )
            answer.headers["Retry-After"] = str(seconds)
            await answer(scope, receive, send)
            return

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == HTTPStatus.UNAUTHORIZED:
                self._failed.failed(address)
            await send(message)

        await self._app(scope, receive, noting)
