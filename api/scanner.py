"""The scanner on the workstation's own serial port: what it reads goes to the page that a person at this computer used last.

A scan is of one moment: it is handed over once, to one page, within a few seconds, or not at all.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from audit.clock import SystemClock
from audit.errors import DosewrightError
from firmware_bridge.errors import LinkLost
from firmware_bridge.scanner_lines import ScannerLines
from firmware_bridge.transport import Transport, open_transport

KEPT_S = 5.0
_LISTENS_S = 3.0
_POLL_S = 0.02
_AGAIN_S = 2.0


@dataclass(slots=True)
class _Page:
    used: float
    asked: float


class Scanner:
    """Owns the scanner's port, where there is one; without one it does nothing.

    Lifetime: from `start` to `close`. A port that is lost, or not there yet, is opened again every two seconds. Concurrency: the port
    belongs to one thread; everything else may be called from any.
    """

    def __init__(self, port: str | None, baud: int) -> None:
        self._port = port
        self._baud = baud
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._pages: dict[str, _Page] = {}
        self._waiting: list[tuple[float, str]] = []
        self._problem = "" if port is None else "The scanner's port has not been opened yet."
        self._thread = threading.Thread(target=self._run, name="scanner", daemon=True)

    @property
    def problem(self) -> str:
        """Why no scan can come from the port; empty while it is open, and where none is configured."""
        return self._problem

    def start(self) -> None:
        if self._port is not None:
            self._thread.start()

    def close(self) -> None:
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def used(self, page: str) -> None:
        """Note that a person did something on a page of this computer."""
        with self._lock:
            now = time.monotonic()
            self._pages[page] = _Page(now, now)

    def gone(self, page: str) -> None:
        with self._lock:
            self._pages.pop(page, None)

    def take(self, page: str) -> tuple[str, ...]:
        """Return what was scanned for this page since it asked last: nothing unless it is the one that was used last."""
        with self._lock:
            now = time.monotonic()
            mine = self._pages.get(page)
            if mine is None:
                return ()
            mine.asked = now
            self._waiting = [(at, text) for at, text in self._waiting if now - at < KEPT_S]
            others = [other for other in self._pages.values() if now - other.asked < _LISTENS_S]
            if any(other.used > mine.used for other in others):
                return ()
            found, self._waiting = tuple(text for _, text in self._waiting), []
            return found

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                transport = open_transport(str(self._port), self._baud)
            except DosewrightError as error:
                self._problem = str(error)
                self._ending.wait(_AGAIN_S)
                continue
            self._problem = ""
            try:
                self._read(transport)
            except LinkLost as error:
                self._problem = str(error)
            finally:
                transport.close()

    def _read(self, transport: Transport) -> None:
        """Read until the port is lost (LinkLost) or the scanner is closed."""
        lines, clock = ScannerLines(), SystemClock()
        while not self._ending.wait(_POLL_S):
            data, now = transport.read(), clock.now()
            for line in lines.feed(data, now) if data else lines.tick(now):
                with self._lock:
                    self._waiting.append((time.monotonic(), line.text))
