"""One-time challenges: what was asked once is answered once. For passkeys, and for signatures over the interface."""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass

from audit.clock import MICROSECONDS, Clock

LIFETIME_S = 300
_MOST = 10_000


@dataclass(frozen=True, slots=True)
class _Challenge:
    purpose: str
    about: str
    until: int


class Challenges:
    """Challenges of this process by their text, 256 random bits as base64url. Concurrency: any thread.

    Lifetime: that of the process; a restart forgets them, so none is answered twice across it.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: dict[str, _Challenge] = {}
        self._lock = threading.Lock()

    def issue(self, purpose: str, about: str) -> str:
        """Return a new challenge, good for `LIFETIME_S` seconds and one answer."""
        text, now = secrets.token_urlsafe(32), self._clock.now()
        with self._lock:
            for old in [key for key, challenge in self._open.items() if challenge.until <= now]:
                del self._open[old]
            while len(self._open) >= _MOST:  # the oldest goes: nobody fills the memory by asking
                del self._open[next(iter(self._open))]
            self._open[text] = _Challenge(purpose, about, now + LIFETIME_S * MICROSECONDS)
        return text

    def take(self, text: str, purpose: str, about: str) -> bool:
        """Say whether this challenge is open for exactly that, and close it whatever the answer is."""
        with self._lock:
            found = self._open.pop(text, None)
        return found is not None and (found.purpose, found.about) == (purpose, about) and found.until > self._clock.now()
