"""The hand on a bench's time: it goes on for a while and is held, or it goes on by itself."""

from __future__ import annotations

import contextlib
import json
import socket
import threading


class Clockwork:
    """The time of one bench. Lifetime: until `close`. Concurrency: any thread.

    `free`: whoever used it last let time go.
    """

    def __init__(self, address: str, token: str) -> None:
        host, _, port = address.rpartition(":")
        self._token = token
        self._socket = socket.create_connection((host, int(port)), timeout=60)
        self._answers = self._socket.makefile("rb")
        self._lock = threading.Lock()
        self.free = False

    def advance(self, after_us: int | None) -> None:
        """Let so much time go by, then hold it; None lets it go on. Raises ConnectionError when the bench is gone."""
        with self._lock:
            self.free = after_us is None
            self._ask(after_us)

    def pace(self, after_us: int | None) -> None:
        """The same for time that was let go, and stays so; nothing where it is held, or the bench is gone."""
        with self._lock, contextlib.suppress(OSError, ValueError):
            if self.free:
                self._ask(after_us)

    def _ask(self, after_us: int | None) -> None:
        self._socket.sendall(json.dumps({"token": self._token, "hold_after_us": after_us}).encode("ascii") + b"\n")
        answer = self._answers.readline(1024)
        if not answer:
            raise ConnectionResetError("the bench has closed its hand's port")
        assert b"held_at_us" in answer, answer

    def close(self) -> None:
        self._answers.close()
        self._socket.close()
