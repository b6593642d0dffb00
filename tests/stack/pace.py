"""Time that runs by itself, but slower while a cell rests: a bench at rest that sends a hundred lines a second, sixty times as fast as a
real one, takes a processor from whoever reads a page and fills a form.
"""

from __future__ import annotations

import threading
from pathlib import Path

from clockwork import Clockwork

from audit.errors import DosewrightError
from printer.cell_client import CellClient
from tests.cell_address import address_of

RESTING = frozenset({"IDLE", "READY", "PAUSED", "AWAITING_REVIEW", "ABORTED", "FAULTED", "INTERRUPTED"})
_LOOK_S = 0.4
_PORTION_US = 2_000_000
"""Five times as fast as a real one."""


class Pace:
    """Gives a bench its time while nobody else does. Lifetime: until `close`."""

    def __init__(self, clockwork: Clockwork, folder: Path, cell: str) -> None:
        self._clockwork = clockwork
        self._folder = folder
        self._cell = cell
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pace", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join()

    def _state(self) -> str | None:
        """Ask the cell, at the address that it has now; None where it does not say."""
        try:
            client = CellClient(address_of(self._folder, self._cell), timeout_s=30.0)
            try:
                return str(client.status()["state"])
            finally:
                client.close()
        except (OSError, ValueError, DosewrightError):
            return None

    def _run(self) -> None:
        rested = False
        while not self._ended.wait(_LOOK_S):
            rests = self._state() in RESTING
            if self._clockwork.free:
                self._clockwork.pace(_PORTION_US if rests and rested else None)
            rested = rests
