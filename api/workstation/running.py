"""The page of a cell: the batch that runs on it, thin over the same services as the routes.

STOP is a plain form in the page's own HTML, above every dialog and independent of script and websocket. Every event
of a visitor is authorised anew: a page left open after log-out can no longer do anything.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Mapping
from decimal import Decimal

from nicegui import run, ui

from api.cell_feed import CellView
from api.security import Session
from api.status import CellStatus
from api.workstation import panels
from api.workstation.alarm_panel import AlarmPanel
from api.workstation.care import REFRESH_S, CarePanel
from api.workstation.closing import ClosingPanel
from api.workstation.lock_bar import LockBar
from api.workstation.look import PAGE_STYLE
from api.workstation.packing import PackingPanel
from api.workstation.pieces import INERT, Changing, Parts, connection_script
from api.workstation.role_words import roles_text
from api.workstation.scans import Scans
from api.workstation.unit_pictures import PicturePanel
from api.workstation.visitor import Visitor
from api.workstation.waiting import WaitingPanel
from api.workstation.weighing import WeighingPanel
from api.workstation.words import marked, said, spoken, told
from recipes.library import load_machine

_REFRESH_S = 0.15
_OTHERS_S = 0.5
_ATTENTION_S = 3.0
_NOT_ASKED = marked("The cell has not been asked yet.")


class Drawn:
    """What every person of one language sees alike of a cell, drawn once for each of its views, however many pages show it.

    A picture belongs to one view and is never shown with another. Concurrency: owned by the event loop.
    """

    def __init__(self) -> None:
        self._drawn: dict[tuple[str, str], tuple[CellView, dict[str, str]]] = {}

    def of(self, view: CellView) -> dict[str, str]:
        """Return the state, the units and the chart of a view as HTML."""
        status = view.status
        key = (status.cell, spoken().code)
        known = self._drawn.get(key)
        if known is None or known[0] is not view:
            parts = {
                "state": panels.state_panel(status, view.problem),
                "units": panels.unit_grid(status.units),
                "chart": panels.pressure_chart(status.trace, status.sensors.get("pressure")),
            }
            known = self._drawn[key] = view, parts
        return known[1]


class RunControls:
    """Start, pause and resume of one run; one that is not open says why."""

    _ACTIONS = (("start", marked("Start")), ("pause", marked("Pause after this unit")), ("resume", marked("Resume")))

    def __init__(self, visitor: Visitor) -> None:
        self._visitor = visitor
        self._parts = Parts("w-full")
        self._buttons: dict[str, tuple[ui.button, ui.tooltip]] = {}
        self._shown: object = None

    def update(self, status: CellStatus) -> None:
        """Keep the buttons of the run that is on; what is open changes how they look, not which they are."""
        run_id = None if status.ended else status.run
        key = (run_id, tuple(status.may(name) for name, _ in self._ACTIONS))
        if key == self._shown:
            return
        self._shown = key
        self._parts.show([] if run_id is None else [(run_id, lambda: self._build(status.batch or ""))])
        for name, (button, tooltip) in self._buttons.items() if run_id is not None else ():
            allowed = status.may(name)
            button.set_enabled(allowed.allowed)
            tooltip.set_text("; ".join(told(reason) for reason in allowed.reasons))
            tooltip.set_visibility(bool(allowed.reasons))

    def _build(self, batch: str) -> None:
        with ui.row().classes("w-full gap-3 items-center"):
            for name, label in self._ACTIONS:
                with (
                    ui.button(told(label), on_click=self._doer(name, batch))
                    .props("outline no-caps color=primary")
                    .classes("dw-act") as button
                ):
                    self._buttons[name] = (button, ui.tooltip())

    def _doer(self, name: str, batch: str) -> Callable[[], object]:
        production = self._visitor.workstation.production
        acts: dict[str, Callable[[Session], object]] = {
            "start": lambda session: production.start(session, batch),
            "pause": lambda session: production.pause(session, batch, "paused on the page"),
            "resume": lambda session: production.resume(session, batch, "resumed on the page"),
        }

        async def do() -> None:
            await self._visitor.act(acts[name])

        return do


class CellStrip:
    """All cells of the site. What a cell says is sent again when it changes; its STOP stays one element, so that a press is never lost."""

    def __init__(self, here: str, names: tuple[str, ...]) -> None:
        self._here = here
        self._tiles: dict[str, Changing] = {}
        self._stops: dict[str, ui.html] = {}
        with ui.element("nav").classes("dw-strip dw-cells").props(f'aria-label="{said("Cells")}"'):
            for name in names:
                with ui.element("div").classes("dw-cell dw-here" if name == here else "dw-cell").props(f'data-cell="{name}"'):
                    self._tiles[name] = Changing("dw-tile")
                    if name != here:
                        self._stops[name] = ui.html(panels.cell_stop(name), sanitize=False)

    def update(self, views: Mapping[str, CellView]) -> None:
        for name, view in views.items():
            self._tiles[name].show(panels.cell_tile(name, view.status, here=name == self._here))
            if name in self._stops:
                self._stops[name].set_visibility(panels.may_move(view.status))


class RunningPage:
    """Builds the page and keeps it right, six times a second, as long as a browser looks at it."""

    def __init__(self, visitor: Visitor, drawn: Drawn) -> None:
        self._visitor = visitor
        self._drawn = drawn
        self._feed = visitor.workstation.feeds.of(visitor.cell)
        self._views = {name: CellView(CellStatus(cell=name, state="UNKNOWN"), _NOT_ASKED) for name in visitor.workstation.cells.names}
        session = visitor.session()
        self._steps: dict[str | None, dict[str, Decimal]] = {}
        self._person, self._role = session.name, roles_text(session.roles)
        with ui.element("header").classes("dw-top"):
            self._head = Changing()
            ui.html(panels.ways(), sanitize=False)
        self._lock = LockBar(visitor, stays=True)
        self._attention = Changing("dw-attention")
        self._attention_due = 0.0
        self._banner = Changing("dw-banner")
        with ui.element("div").classes("dw-body"):
            self._cells = CellStrip(visitor.cell, tuple(self._views)) if self.others else None
            with ui.element("div").classes("dw-col").props(INERT):
                self._state = Changing()
                self._controls = RunControls(visitor)
                self._weighing = WeighingPanel(visitor)
                # what is left to do on a run that has ended comes before what the next one needs
                self._closing = ClosingPanel(visitor)
                self._care = CarePanel(visitor)
                self._new = WaitingPanel(visitor)
                self._packing = PackingPanel(visitor)
                Scans(visitor, self._packing.scanned)
                with ui.element("section").classes("dw-card"):
                    ui.html(f"<h2>{said('Units: mass against tolerance')}</h2>", sanitize=False)
                    self._grid = Changing()
                self._pictures = PicturePanel(visitor)
            with ui.element("div").classes("dw-col").props(INERT):
                self._alarms = AlarmPanel(visitor)
                with ui.element("section").classes("dw-card"):
                    ui.html(f"<h2>{said('Pressure in the ink path, kPa')}</h2>", sanitize=False)
                    self._chart = Changing()
                with ui.element("section").classes("dw-card"):
                    ui.html(f"<h2>{said('Readings')}</h2>", sanitize=False)
                    self._sensors = Changing()

    @property
    def others(self) -> tuple[str, ...]:
        return tuple(name for name in self._views if name != self._visitor.cell)

    def keep_right(self) -> None:
        """Begin to ask again and again; last of all, because a timer waits for the browser, and that sends the page off as it is."""
        ui.timer(_REFRESH_S, self.refresh)
        ui.timer(REFRESH_S, self._care.refresh)
        for other in self.others:
            ui.timer(_OTHERS_S, functools.partial(self.look_at, other))

    async def look_at(self, name: str) -> None:
        """Ask for the view of another cell; one that hangs holds up neither this page's cell nor the rest."""
        view = await run.io_bound(self._visitor.workstation.feeds.of(name).view)
        if view is not None:
            self._views[name] = view

    async def refresh(self) -> None:
        """Ask the shared view of the cell and show it."""
        await self._visitor.look(self._look)

    async def _look(self) -> None:
        self._lock.look()
        await self._look_after_access()
        view = await run.io_bound(self._feed.view)
        await run.io_bound(self._visitor.workstation.production.underway.look)  # what waits is read off the event loop
        if view is not None:
            self._show(view)
            await self._pictures.refresh(view.status)
            await self._packing.refresh()

    async def _look_after_access(self) -> None:
        """Record what time ended or locked, and show what needs attention to those who may see it."""
        if (now := time.monotonic()) < self._attention_due:
            return
        self._attention_due = now + _ATTENTION_S
        workstation, session = self._visitor.workstation, self._visitor.session()
        if workstation.sessions.ends():
            await run.io_bound(workstation.people.record_ends)
        found = await run.io_bound(workstation.access.attention, session)
        self._attention.show(panels.attention_banner([str(notice["text"]) for notice in found or ()]))

    async def add_plain_parts(self) -> None:
        """Put into the page's own HTML what needs neither script nor websocket: STOP above all, and the state as it is now."""
        await run.io_bound(self._visitor.workstation.production.underway.look)
        view, *_ = await asyncio.gather(run.io_bound(self._feed.view), *(self.look_at(name) for name in self.others))
        ui.add_head_html(f'<style>{PAGE_STYLE}</style><noscript><meta http-equiv="refresh" content="5"></noscript>')
        ui.add_body_html(connection_script())
        ui.add_body_html(panels.stop_form(self._visitor.cell, several=bool(self.others)))
        if view is not None:
            self._show(view)
            banner = self._banner_of(view.status)
            ui.add_body_html(panels.first_view(view.status, view.problem, self._person, banner, self._strip_html()))

    def _strip_html(self) -> str:
        return panels.cell_strip(self._visitor.cell, {name: view.status for name, view in self._views.items()}) if self.others else ""

    def _banner_of(self, status: CellStatus) -> str:
        shown = status.demonstration or self._visitor.workstation.settings.demonstration
        demonstration = panels.demonstration_banner(status.rate) if shown else ""
        return demonstration + (panels.development_banner(status.purpose) if status.purpose else "")

    def _readability(self, batch: str | None) -> dict[str, Decimal]:
        """Return the step in which the balance of the batch's machine shows, in mg; nothing where no batch names a machine."""
        if batch not in self._steps:
            state = self._visitor.workstation.store.state("batch", batch) if batch is not None else None
            machine = (state or {}).get("machine")
            self._steps = {batch: {"balance": load_machine(machine).balance.readability.value} if isinstance(machine, str) else {}}
        return self._steps[batch]

    def _show(self, view: CellView) -> None:
        status = view.status
        self._views[self._visitor.cell] = view
        if self._cells is not None:
            self._cells.update(self._views)
        self._head.show(panels.header(status.cell, status.batch, self._person, self._role))
        self._banner.show(self._banner_of(status))
        drawn = self._drawn.of(view)
        self._state.show(drawn["state"])
        self._grid.show(drawn["units"])
        self._chart.show(drawn["chart"])
        self._sensors.show(panels.sensor_panel(status, self._readability(status.batch)))
        self._alarms.update(status)
        self._controls.update(status)
        self._weighing.update(status)
        self._new.update(status)
        self._closing.update(status)
        self._packing.update(status)
        self._care.update(status)
