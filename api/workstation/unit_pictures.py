"""The pictures of the run's units on the page: the solid with its sizes, and its layers."""

from __future__ import annotations

from html import escape

from nicegui import run

from api.errors import NotFound
from api.status import CellStatus
from api.workstation.pieces import Changing
from api.workstation.visitor import Visitor
from api.workstation.words import said, told
from audit.errors import DosewrightError


def pictures_html(batch: str, names: tuple[str, ...]) -> str:
    """A card with the solid of each strength open, its layers behind a fold; nothing where there is no picture."""
    units = [name for name in names if name.endswith("-unit.svg")]
    if not units:
        return ""
    parts = []
    for unit in units:
        stem = unit.removesuffix("-unit.svg")
        label = escape(told(stem.replace("-", " ")))
        place = f"/api/v1/batches/{escape(batch)}/pictures/"
        layers = f"{stem}-layers.svg"
        fold = ""
        if layers in names:
            image = f'<img src="{place}{escape(layers)}" alt="{said("Tool path of chosen layers, {strength}", strength=label)}">'
            fold = f"<details><summary>{said('Layers of {strength}', strength=label)}</summary>{image}</details>"
        image = f'<img src="{place}{escape(unit)}" alt="{said("Unit of {strength}, with sizes", strength=label)}">'
        parts.append(f"<figure><figcaption>{label}</figcaption>{image}{fold}</figure>")
    return f'<section class="dw-card dw-pictures"><h2>{said("Unit and layers, as planned")}</h2>{"".join(parts)}</section>'


class PicturePanel:
    """Asks once for each run. Lifetime: that of the page."""

    def __init__(self, visitor: Visitor) -> None:
        self._visitor = visitor
        self._place = Changing()
        self._shown: str | None = None

    async def refresh(self, status: CellStatus) -> None:
        """Show the pictures of the run that is on; a cell that does not answer is asked again with the next view."""
        if status.run == self._shown:
            return
        if status.run is None or status.batch is None:
            self._shown = status.run
            self._place.show("")
            return
        try:
            names = await run.io_bound(self._names, status.batch, status.run)
        except DosewrightError:
            return
        if names is None:
            return
        self._shown = status.run
        self._place.show(pictures_html(status.batch, names))

    def _names(self, batch: str, run_id: str) -> tuple[str, ...] | None:
        """None until the workstation has this run on record: the pictures of the run before it are not shown for it."""
        pictures = self._visitor.workstation.pictures
        try:
            return pictures.names(batch) if pictures.last_run(batch) == run_id else None
        except NotFound:
            return ()
