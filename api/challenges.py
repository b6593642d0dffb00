"""One-time challenges: what was asked once is answered once. For passkeys, and for signatures over the interface."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass

from audit.clock import MICROSECONDS, Clock

LIFETIME_S = 300
_MOST = 10_000


@dataclass(frozen=True, slots=True)
class _Challenge:
    about: str
    until: int


class Challenges:
    """Challenges of this process by purpose and text, 256 random bits as base64url. Concurrency: any thread.

    Each purpose has room of its own: what anybody may ask for before log-in pushes out no challenge of a signature.
    Lifetime: that of the process; a restart forgets them, so none is answered twice across it.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: dict[str, OrderedDict[str, _Challenge]] = {}
        self._lock = threading.Lock()

    def issue(self, purpose: str, about: str) -> str:
        """Return a new challenge, good for `LIFETIME_S` seconds and one answer."""
        text, now = secrets.token_urlsafe(32), self._clock.now()
        with self._lock:
            found = self._open.setdefault(purpose, OrderedDict())
            # the oldest goes where it is over, or where there are too many: nobody fills the memory by asking
            while found and (next(iter(found.values())).until <= now or len(found) >= _MOST):
                found.popitem(last=False)
            found[text] = _Challenge(about, now + LIFETIME_S * MICROSECONDS)
        return text

    def take(self, text: str, purpose: str, about: str) -> bool:
        """Say whether this challenge is open for exactly that, and close it whatever the answer is."""
        with self._lock:
            found = self._open.get(purpose, OrderedDict()).pop(text, None)
        return found is not None and found.about == about and found.until > self._clock.now()
