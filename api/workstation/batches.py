"""The page of one batch after its print, whatever its cell does now: review, disposition, packs. And the way to every batch."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from html import escape
from urllib.parse import quote

from nicegui import run, ui

from api.errors import NotFound
from api.interop.scan_code import read_scan
from api.security import Session
from api.status import CellStatus
from api.workstation import forms
from api.workstation.cards import card, page_head, table, text
from api.workstation.closing import ClosingPanel
from api.workstation.packing import PackingPanel
from api.workstation.pieces import INERT, Changing, Parts
from api.workstation.scans import Scans
from api.workstation.visitor import Visitor
from api.workstation.words import said, told_html
from audit.canonical import JsonObject
from audit.errors import DosewrightError

_REFRESH_S = 1.0
_NEWEST = 30
_LONGEST = 300


def way_to_batch(batch: str) -> str:
    """Where a batch is reviewed and packed, whatever its cell does now."""
    return f"/batches?batch={quote(batch, safe='')}"


def batches_html(batches: list[tuple[str, JsonObject]], chosen: str) -> str:
    """Batches, each a link, with its state and its cell."""
    rows = [
        f'<tr><td class="dw-keep"><a href="{way_to_batch(name)}"{" aria-current=page" if name == chosen else ""}>{escape(name)}</a></td>'
        f"<td>{told_html(str(state.get('disposition') or state.get('status')))}</td><td>{escape(str(state.get('cell')))}</td></tr>"
        for name, state in batches
    ]
    return table((said("Batch"), said("State"), said("Cell")), rows, said("There is no batch."))


def status_of(status: CellStatus, batch: str, run_id: str) -> CellStatus:
    """Return what a cell says of a batch; of one that it has left behind, that its run is over. A silent cell says nothing."""
    if status.state == "UNKNOWN" or status.batch == batch:
        return status
    return CellStatus(cell=status.cell, state="AWAITING_REVIEW", batch=batch, run=run_id)


class BatchesPage:
    """Lifetime: that of the page. Concurrency: the event loop's thread; what blocks is asked in worker threads."""

    def __init__(self, visitor: Visitor, batch: str) -> None:
        self._visitor = visitor
        self._batch = batch
        self._closing: ClosingPanel | None = None
        self._packing: PackingPanel | None = None

    async def build(self) -> None:
        """Show the batch that was asked for, and the newest ones; then begin to keep it right."""
        page_head(self._visitor, "/batches")
        newest = await run.io_bound(self._newest) or []
        state = await run.io_bound(self._visitor.workstation.store.state, "batch", self._batch) if self._batch else None
        with ui.element("div").classes("dw-body"):
            with ui.element("div").classes("dw-col").props(INERT):
                if state is not None:
                    self._one(state)
                elif self._batch:
                    text(f'<p class="dw-problem" role="alert">▲ {said("There is no batch {name}.", name=escape(self._batch))}</p>')
                else:
                    text(f'<p class="dw-quiet">{said("Choose a batch in the list, or scan a pack.")}</p>')
            with ui.element("div").classes("dw-col").props(INERT), card(said("Batches")):
                with forms.form(self._find):
                    self._named = forms.text_field(said("Batch, or scan a pack"))
                    forms.submit(said("Look for it"))
                text(batches_html(newest, self._batch))
        Scans(self._visitor, self._scanned)
        if state is not None:
            await self._refresh()
            ui.timer(_REFRESH_S, self._refresh)

    def _newest(self) -> list[tuple[str, JsonObject]]:
        return sorted(self._visitor.workstation.store.objects("batch"), reverse=True)[:_NEWEST]

    def _one(self, state: JsonObject) -> None:
        cell = str(state.get("cell"))
        with card(said("Batch {batch}", batch=self._batch)):
            self._state = Changing()
            self._cancel = Parts()
            self._dialogs = ui.element("div")
            ui.link(said("Open {what}", what=cell), f"/?cell={quote(cell)}").classes("dw-plain dw-way")
        self._closing = ClosingPanel(self._visitor)
        self._packing = PackingPanel(self._visitor)
        self._packing.choose(self._batch)

    async def _refresh(self) -> None:
        await self._visitor.look(self._look)

    async def _look(self) -> None:
        workstation = self._visitor.workstation
        state = await run.io_bound(workstation.store.state, "batch", self._batch)
        if state is None or self._closing is None or self._packing is None:
            return
        cell, run_id = str(state.get("cell")), state.get("run")
        view = await run.io_bound(workstation.feeds.of(cell).view)
        if view is not None and isinstance(run_id, str):
            self._closing.update(status_of(view.status, self._batch, run_id))
        silent = view is not None and view.status.state == "UNKNOWN"
        where = f'<p class="dw-quiet">○ {said("Not known: the cell does not answer.")}</p>' if silent else ""
        self._state.show(f"<p><b>{told_html(str(state.get('disposition') or state.get('status')))}</b></p>{where}")
        self._cancel.show(await run.io_bound(self._cancelling, str(state.get("status"))) or [])
        await self._packing.refresh()

    def _cancelling(self, status: str) -> list[tuple[Hashable, Callable[[], object]]]:
        """Offer to cancel a batch that was not begun; to whom it is not open, say whose it is."""
        if status != "created":
            return []
        if self._visitor.workstation.cancelling.against_cancelling(self._visitor.session(), self._batch):
            return [("not yours", lambda: text(f'<p class="dw-quiet">{said("Whoever opened it cancels it, or a pharmacist.")}</p>'))]
        return [("cancel", lambda: ui.button(said("Cancel this batch"), on_click=self._ask).props("outline no-caps color=primary"))]

    def _ask(self) -> None:
        """Ask for the reason, and whether it is meant."""
        with self._dialogs, ui.dialog() as dialog, ui.card().style("min-width:26rem"):
            ui.label(said("Cancel batch {batch}?", batch=self._batch)).classes("text-lg font-semibold")
            ui.label(said("It is never printed; its order may be made in another batch, and cartridges are scanned anew. It is on record."))
            reason = ui.input(said("Why is it cancelled?")).props("outlined autofocus").classes("w-full")

            async def confirm() -> None:
                why, desk, batch = str(reason.value or ""), self._visitor.workstation.cancelling, self._batch
                if await self._visitor.act(
                    lambda session: desk.cancel(session, batch, why), said("Batch {batch} is cancelled.", batch=batch)
                ):
                    dialog.close()

            with ui.row().classes("w-full justify-end"):
                ui.button(said("Leave it"), on_click=dialog.close).props("flat no-caps")
                ui.button(said("Cancel this batch"), on_click=confirm).props("unelevated no-caps color=secondary")
        dialog.on("hide", dialog.delete)
        dialog.open()

    def _scanned(self, scanned: str, field: str) -> None:
        """Put a scan where it waits for one: at a pack of this batch, else into the field that looks for a batch."""
        if self._packing is not None and self._packing.waits_for_scan:
            self._packing.scanned(scanned, field)
        else:
            self._named.value = scanned[:_LONGEST]

    async def _find(self) -> None:
        named, found = str(self._named.value or "").strip()[:_LONGEST], list[str]()

        def find(session: Session) -> None:
            found.append(self._batch_of(named))

        if await self._visitor.act(find):
            ui.navigate.to(way_to_batch(found[0]))

    def _batch_of(self, named: str) -> str:
        """Return the batch of this number, or that of the pack whose code or number this is. Raises NotFound."""
        store = self._visitor.workstation.store
        if store.state("batch", named) is not None:
            return named
        try:
            pack = store.state("pack", named) or store.state("pack", read_scan(named).name)
        except DosewrightError:
            pack = None  # what cannot be read as a code names no pack
        if pack is None:
            raise NotFound("No batch and no pack is called so.", remedy="Scan the code on the pack, or type the number of its batch.")
        return str(pack.get("batch"))
