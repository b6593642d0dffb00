"""Steps 5 to 7 of a new batch: the gates one by one, each with the way on; the preview; the start."""

from __future__ import annotations

import functools
import re
from collections.abc import Awaitable, Callable, Hashable, Iterator, Sequence
from enum import Enum, auto
from html import escape

from nicegui import run, ui
from pydantic import ValidationError

from api.allocation import Offer
from api.security import Session
from api.status import CellStatus, GateStatus
from api.workstation import fields
from api.workstation.entry_steps import alert
from api.workstation.gate_remedies import remedy_of
from api.workstation.pieces import Changing, Parts
from api.workstation.refusal import refusal_text
from api.workstation.solid_view import SolidView, figures_html, objects
from api.workstation.unit_pictures import pictures_html
from api.workstation.visitor import Visitor
from api.workstation.words import said, told, told_html
from audit.canonical import JsonObject
from audit.errors import DosewrightError
from printer.errors import CellRefused, CellUnreachable

Done = Callable[[], Awaitable[None]]


def gate_html(gate: GateStatus, cell: str) -> str:
    """One gate: met by what; or what is missing, how it is satisfied, and the way to where that is done."""
    if gate.met:
        return f'<div class="dw-gate dw-met"><b>✓ {told_html(gate.gate)}</b> <span>{told_html(gate.evidence)}</span></div>'
    text, path, link = remedy_of(gate.gate, cell)
    way = f'<a class="dw-plain dw-go" href="{escape(path)}">{escape(link)}</a>' if path else ""
    return (
        f'<div class="dw-gate dw-unmet"><b>✕ {told_html(gate.gate)}</b> <span>{told_html(gate.reason)}</span>'
        f"<p><b>{escape(said('To satisfy it:'))}</b> {escape(text)}</p>{way}</div>"
    )


def with_live(gates: Sequence[GateStatus], live: Sequence[GateStatus]) -> tuple[GateStatus, ...]:
    """Return the gates of a run that was refused as they are now, where the cell judges them without a run too."""
    now = {gate.gate: gate for gate in live}
    return tuple(now[gate.gate] if not gate.met and gate.gate in now else gate for gate in gates)


class GatesStep:
    """The cell, its gates, and the press that clears the line and asks for the run. Lifetime: that of its part of the page."""

    def __init__(self, visitor: Visitor, order: str, batch: str | None, cell: str | None, done: Done) -> None:
        self._visitor = visitor
        self._order = order
        self._batch = batch
        self._cell = cell
        self._done = done
        self._live: tuple[GateStatus, ...] = ()
        self._offers: tuple[Offer, ...] = ()
        self._busy = False

    def build(self) -> None:
        self._choice = Parts("dw-cells-choice")
        self._count = Changing()
        self._gates = Parts("dw-gates-list")
        self._problem = Changing()
        self._go = fields.button(said("Plate, purge tray and cell are empty and clean: go through the gates"))
        self._go.on_click(self._ask)

    async def update(self, status: CellStatus | None, offers: tuple[Offer, ...], *, refused: bool, checking: bool) -> None:
        """Show the gates as they are now; asked of the cell anew every time."""
        self._offers = offers
        if self._batch is None:
            self._choose(offers)
        cell = self._cell
        if cell is not None:
            try:
                answer = await run.io_bound(self._visitor.workstation.care.readiness, cell)
                gates_now = (answer or {}).get("gates")
                self._live = tuple(GateStatus.model_validate(gate) for gate in (gates_now if isinstance(gates_now, list) else []))
            except (DosewrightError, ValidationError):
                self._live = ()
        of_run = status.gates if status is not None and (refused or checking) else ()
        gates = with_live(of_run, self._live) if of_run else self._live
        self._gates.show(self._shown(gates, cell or ""))
        met = sum(1 for gate in gates if gate.met)
        count = (
            said("{met} of {all} gates are met.", met=met, all=len(gates))
            if gates
            else said("The gates are not known: the cell does not answer.")
        )
        if refused:
            count += " " + said("The last run ended at its gates; nothing has moved. Satisfy what is open, then go through them again.")
        self._count.show(f'<p role="status"><b>{escape(count)}</b></p>' if cell else "")
        self._go.set_enabled(cell is not None and not checking and not self._busy)

    def _choose(self, offers: tuple[Offer, ...]) -> None:
        able = [offer.cell for offer in offers if offer.open]
        if self._cell not in able:
            self._cell = able[0] if len(able) == 1 else None
        several = len(offers) > 1
        self._choice.show(((offer, self._cell == offer.cell), functools.partial(self._offer, offer, several=several)) for offer in offers)

    def _offer(self, offer: Offer, *, several: bool) -> None:
        if not offer.open:
            text = said("{cell} cannot take it: {reasons}", cell=offer.cell, reasons="; ".join(map(told, offer.reasons)))
            ui.html(f'<p class="dw-quiet">✕ {escape(text)}</p>', sanitize=False)
        elif several:
            chosen = self._cell == offer.cell
            made = fields.button(
                said("{cell} is chosen", cell=offer.cell) if chosen else said("Print on {cell}", cell=offer.cell), main=chosen
            )
            made.on_click(functools.partial(self._take, offer.cell)).props(f"aria-pressed={'true' if chosen else 'false'}")

    async def _take(self, cell: str) -> None:
        self._cell = cell
        self._choose(self._offers)
        await self._done()

    def _shown(self, gates: Sequence[GateStatus], cell: str) -> Iterator[tuple[Hashable, Callable[[], object]]]:
        """What is not met comes first: it is what somebody has to do something about."""
        for gate in sorted(gates, key=lambda gate: gate.met):
            html = gate_html(gate, cell)
            yield (gate.gate, html), functools.partial(ui.html, html, sanitize=False)

    async def _ask(self) -> None:
        production, scans, cell, order = self._visitor.workstation.production, self._visitor.workstation.scans, self._cell, self._order
        if cell is None or self._busy:
            return
        self._busy = True
        self._go.disable()
        self._problem.show(f'<p role="status">{escape(said("The cell compiles and proves the program."))}</p>')

        def ask(session: Session) -> object:
            batch = self._batch
            if batch is None:
                batch = self._batch = str(production.create_batch(session, order, cell)["batch"])
            wanted = scans.wanted(order)
            return production.request_run(session, batch, scans.mounted(order, len(wanted)) if len(wanted) > 1 else ())

        error = await self._visitor.attempt(ask)
        self._busy = False
        self._problem.show("" if error is None else alert(refusal_text(error)))
        await self._done()


class PreviewStep:
    """Unit and plate as they will be. Lifetime: that of its part of the page."""

    def __init__(self, visitor: Visitor, batch: str) -> None:
        self._visitor = visitor
        self._batch = batch

    def build(self) -> None:
        self._place = ui.element("div").classes("dw-preview")
        with self._place:
            ui.html(f'<p class="dw-quiet" role="status">{escape(said("The solid is built."))}</p>', sanitize=False)
        ui.timer(0, self._fill, once=True)

    async def _fill(self) -> None:
        workstation = self._visitor.workstation
        try:
            preview = await run.io_bound(workstation.solids.preview, self._batch)
            names = await run.io_bound(workstation.pictures.names, self._batch)
        except DosewrightError as error:
            self._show_problem(refusal_text(error))
            return
        self._place.clear()
        with self._place:
            self._drawn(preview or {}, names or ())

    def _show_problem(self, text: str) -> None:
        self._place.clear()
        with self._place:
            ui.html(alert(text), sanitize=False)

    def _drawn(self, preview: JsonObject, names: tuple[str, ...]) -> None:
        if any(isinstance(piece.get("solid"), str) for piece in objects(preview.get("pieces"))):
            SolidView(self._batch, preview)
        with ui.element("div").classes("dw-preview-said"):
            ui.html(figures_html(preview), sanitize=False).classes("w-full")
            if drawings := pictures_html(self._batch, names):
                title = escape(said("Drawings on record, as the cell planned them"))
                ui.html(f"<details><summary>{title}</summary>{drawings}</details>", sanitize=False).classes("w-full")


class Press(Enum):
    """What came of the last press of Start on a page."""

    TAKEN = auto()
    TOO_LATE = auto()  # the run had been started before
    REFUSED = auto()
    UNANSWERED = auto()  # the cell may have taken it


def press_of(error: DosewrightError | None) -> Press:
    """Say what came of a press by what the cell answered to it."""
    match error:
        case None:
            return Press.TAKEN
        case CellUnreachable():
            return Press.UNANSWERED
        case CellRefused() if any(_STARTED.match(reason) for reason in error.reasons):
            return Press.TOO_LATE
        case _:
            return Press.REFUSED


_STARTED = re.compile(r"the run is (?!CREATED|PREFLIGHT|READY)[A-Z_]+:")
"""Why a cell refuses to start a run that is past READY (`printer.interlocks`)."""


class StartStep:
    """The press that starts the print. `press`: what came of it, None while it was not pressed here.

    Lifetime: that of its part of the page.
    """

    def __init__(self, visitor: Visitor, batch: str, cell: str, done: Done) -> None:
        self._visitor = visitor
        self._batch = batch
        self._cell = cell
        self._done = done
        self.press: Press | None = None

    def build(self) -> None:
        ready = said("{cell} is ready. It heats, homes and primes, then prints, weighs and judges unit by unit.", cell=self._cell)
        ui.html(f"<p>{escape(ready)}</p>", sanitize=False)
        self._problem = Changing()
        self._button = fields.button(said("Start batch {batch} on {cell}", batch=self._batch, cell=self._cell)).classes("dw-start")
        self._button.on_click(self._start)

    async def _start(self) -> None:
        production = self._visitor.workstation.production
        error = await self._visitor.attempt(lambda session: production.start(session, self._batch))
        # of two who press at once the cell takes one; the page then shows the batch as running, and says whose press it was not
        self.press = press_of(error)
        self._problem.show("" if error is None else alert(refusal_text(error)))
        await self._done()
