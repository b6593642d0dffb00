"""The pictures of a batch's units, as the cell recorded them with its run: shown on the page, never decided from."""

from __future__ import annotations

from collections.abc import Mapping

from api.cells import CellDirectory
from api.errors import NotFound
from api.production import Production
from audit.release.document_picture import drawable


class PictureDesk:
    """Fetches pictures from the cell of a batch. Concurrency: safe for several threads; the pictures of a run never change."""

    def __init__(self, production: Production, cells: CellDirectory) -> None:
        self._production = production
        self._cells = cells
        self._known: dict[str, dict[str, bytes]] = {}

    def names(self, batch: str) -> tuple[str, ...]:
        """Return the pictures of a batch's last run, by name; none before a run is on record."""
        return tuple(sorted(self._of(batch)))

    def last_run(self, batch: str) -> str | None:
        """Return the run that the pictures of a batch belong to; None before there is one."""
        run = self._production.batch(batch).get("run")
        return run if isinstance(run, str) else None

    def picture(self, batch: str, name: str) -> bytes:
        """Return one picture as SVG. Raises NotFound."""
        found = self._of(batch).get(name)
        if found is None:
            raise NotFound(f"Batch {batch} has no picture {name[:80]!r}.", remedy="Choose one of the list of its pictures.")
        return found

    def _of(self, batch: str) -> dict[str, bytes]:
        state: Mapping[str, object] = self._production.batch(batch)
        run, cell = state.get("run"), state.get("cell")
        if not isinstance(run, str) or not isinstance(cell, str):
            return {}
        if run not in self._known:
            found = self._cells.client(cell).pictures(run)
            # What is not a plain drawing is not sent to a browser.
            drawings = {name: text.encode() for name, text in found.items() if isinstance(text, str) and drawable(text.encode())}
            self._known = {run: drawings}
        return self._known.get(run, {})
