"""One shared, fresh-enough view of a cell for all pages that show it, so that ten browsers cost the cell one question."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from pydantic import ValidationError

from api.cells import CellDirectory
from api.status import CellStatus
from audit.errors import DosewrightError

_FRESH_S = 0.1
_PATIENCE_S = 0.5
_TRACE_POINTS = 3000


@dataclass(frozen=True, slots=True)
class CellView:
    """What is known of a cell; `problem` is empty while it answers. A silent cell is shown as unknown, never as it last was."""

    status: CellStatus
    problem: str = ""


class CellFeed:
    """Asks one cell when somebody looks, and keeps the pressure trace of the run that is on.

    Lifetime: that of the workstation. Concurrency: one question at a time. Who comes while it is asked waits half a second at
    most, so that a cell that hangs keeps one thread and not the pages of the other cells.
    """

    def __init__(self, cells: CellDirectory, name: str) -> None:
        self._cells = cells
        self._name = name
        self._lock = threading.Lock()
        self._asked = 0.0
        self._asking_since: float | None = None
        self._run: str | None = None
        self._trace: tuple[tuple[int, str], ...] = ()
        self._view = CellView(CellStatus(cell=name, state="UNKNOWN"), "The cell has not been asked yet.")

    def view(self) -> CellView:
        """Return the view, at most 0.1 s old; blocks while the cell is asked. A cell that hangs is shown as unknown."""
        since = self._asking_since
        patience = _PATIENCE_S if since is None else max(0.0, since + _PATIENCE_S - time.monotonic())
        if not self._lock.acquire(timeout=patience):
            return CellView(CellStatus(cell=self._name, state="UNKNOWN"), "The cell has been asked and has not answered yet.")
        try:
            if time.monotonic() - self._asked >= _FRESH_S:
                self._asking_since = time.monotonic()
                self._view = self._ask()
                self._asking_since, self._asked = None, time.monotonic()
            return self._view
        finally:
            self._lock.release()

    def _ask(self) -> CellView:
        try:
            since = self._trace[-1][0] if self._trace else 0
            status = CellStatus.model_validate(self._cells.client(self._name, watching=True).status(since))
        except DosewrightError as error:
            return CellView(CellStatus(cell=self._name, state="UNKNOWN"), str(error))
        except ValidationError as error:
            return CellView(
                CellStatus(cell=self._name, state="UNKNOWN"), f"The cell's answer cannot be read ({error.error_count()} faults)."
            )
        last = self._trace[-1][0] if self._trace else -1
        if status.run != self._run or status.at_us < last:
            self._run, self._trace, last = status.run, (), -1
        self._trace = (*self._trace, *(point for point in status.trace if point[0] > last))[-_TRACE_POINTS:]
        return CellView(status.model_copy(update={"trace": self._trace}))


class CellFeeds:
    """The feeds of all cells of a site."""

    def __init__(self, cells: CellDirectory) -> None:
        self._feeds = {name: CellFeed(cells, name) for name in cells.names}

    def views(self) -> dict[str, CellView]:
        """Return the view of every cell; blocks while they are asked, one after the other."""
        return {name: feed.view() for name, feed in self._feeds.items()}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._feeds)

    def of(self, name: str) -> CellFeed:
        return self._feeds[name]
