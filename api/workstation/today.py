"""The page of the day, where log-in leads: what needs this person, the queue, alarms, the cells. Kept right while a browser looks at it."""

from __future__ import annotations

import functools
from collections.abc import Hashable

from nicegui import run, ui

from api.cell_feed import CellView
from api.readiness_feed import Readiness
from api.status import AlarmStatus, CellStatus
from api.today import Line
from api.today_desk import CellToday, Today
from api.today_needs import Need
from api.workstation import panels
from api.workstation.cards import card, page_head
from api.workstation.pieces import INERT, Changing, Parts
from api.workstation.today_parts import alarm_html, cell_html, line_html, line_way, need_html, need_way, no_alarm_html
from api.workstation.visitor import Visitor
from api.workstation.words import said, told

_REFRESH_S = 1.0
_CELL_S = 0.5
_READINESS_S = 3.0
_NOT_ASKED = "The cell has not been asked yet."


class _Rows:
    """Rows that stay the elements they are: what a row says changes in place, and the link beside it is never built anew."""

    def __init__(self, classes: str) -> None:
        self._parts = Parts(classes)
        self._texts: dict[Hashable, Changing] = {}

    def show(self, rows: list[tuple[Hashable, str, str, str]]) -> None:
        """Show rows, each its key, what it says as HTML, and where its link leads with which words; no link where that is empty."""
        if self._parts.gone:
            return
        self._parts.show([(key, functools.partial(self._build, key, way, label)) for key, _, way, label in rows])
        self._texts = {key: self._texts[key] for key, *_ in rows}
        for key, html, _, _ in rows:
            self._texts[key].show(html)

    def _build(self, key: Hashable, way: str, label: str) -> None:
        with ui.element("div").classes("dw-row"):
            self._texts[key] = Changing()
            if way:
                ui.link(said("Open"), way).classes("dw-plain dw-way").props(f'aria-label="{label}"')


class TodayPage:
    """Lifetime: that of the page. Concurrency: the event loop's thread; what blocks is asked in worker threads, each cell by itself."""

    def __init__(self, visitor: Visitor) -> None:
        self._visitor = visitor
        workstation = visitor.workstation
        self._names = workstation.cells.names
        self._views = {name: CellView(CellStatus(cell=name, state="UNKNOWN"), _NOT_ASKED) for name in self._names}
        self._readiness = {name: Readiness() for name in self._names}
        self._cells: dict[str, Changing] = {}
        self._stops: dict[str, ui.html] = {}
        page_head(visitor, "/today")
        with ui.element("div").classes("dw-body"):
            with ui.element("div").classes("dw-col").props(INERT):
                with card(said("What needs you")):
                    self._nothing = Changing()
                    self._needs = _Rows("dw-rows dw-needs")
                with card(said("Queue")):
                    self._empty = Changing()
                    self._queue = _Rows("dw-rows dw-queue")
            with ui.element("div").classes("dw-col").props(INERT):
                with card(said("Alarms")):
                    self._no_alarm = Changing()
                    self._alarms = _Rows("dw-rows dw-alarms")
                with card(said("Cells")):
                    for name in self._names:
                        self._build_cell(name)

    async def build(self) -> None:
        """Show the day as it is, then begin to keep it right; last of all, because a timer waits for the browser."""
        for name in self._names:
            await self._look_at(name)
            await self._ask_readiness(name)
        await self._refresh()
        ui.timer(_REFRESH_S, self._refresh)
        for name in self._names:
            ui.timer(_CELL_S, functools.partial(self._look_at, name))
            ui.timer(_READINESS_S, functools.partial(self._ask_readiness, name))

    def _build_cell(self, name: str) -> None:
        with ui.element("div").classes("dw-row dw-row-cell").props(f'data-cell="{name}"'):
            self._cells[name] = Changing()
            with ui.element("div").classes("dw-cell-ways"):
                ui.link(said("Open"), f"/?cell={name}").classes("dw-plain dw-way").props(f'aria-label="{said("Open {what}", what=name)}"')
                if name != self._visitor.cell:  # the STOP in the head is the other one's
                    self._stops[name] = ui.html(panels.cell_stop(name), sanitize=False)

    async def _look_at(self, name: str) -> None:
        """Ask for the view of one cell; one that hangs holds up no other."""
        view = await run.io_bound(self._visitor.workstation.feeds.of(name).view)
        if view is not None:
            self._views[name] = view

    async def _ask_readiness(self, name: str) -> None:
        found = await run.io_bound(self._visitor.workstation.readiness.of(name).view)
        if found is not None:
            self._readiness[name] = found

    async def _refresh(self) -> None:
        await self._visitor.look(self._look)

    async def _look(self) -> None:
        session = self._visitor.session()
        found = await run.io_bound(self._visitor.workstation.today.today, session, dict(self._views), dict(self._readiness))
        if found is not None:
            self._show(found)

    def _show(self, today: Today) -> None:
        mine = [line for line in today.lines if line.yours]
        self._nothing.show("" if mine or today.needs else f'<p class="dw-nothing">✓ {said("Nothing waits for you.")}</p>')
        urgent = [_need_row(need) for need in today.needs if need.urgent]
        later = [_need_row(need) for need in today.needs if not need.urgent]
        self._needs.show([*urgent, *map(_line_row, mine), *later])
        others = [line for line in today.lines if not line.yours]
        self._empty.show(self._empty_html(bool(mine), bool(others)))
        self._queue.show([_line_row(line) for line in others])
        several = len(today.cells) > 1
        alarms = [_alarm_row(cell, alarm, several=several) for cell in today.cells for alarm in sorted(cell.alarms, key=panels.alarm_rank)]
        silent = tuple(cell.name for cell in today.cells if cell.status.state == "UNKNOWN")
        self._no_alarm.show(no_alarm_html(silent) if silent or not alarms else "")
        self._alarms.show(alarms)
        for cell in today.cells:
            self._cells[cell.name].show(cell_html(cell))
            if cell.name in self._stops:
                self._stops[cell.name].set_visibility(panels.may_move(cell.status))

    @staticmethod
    def _empty_html(mine: bool, others: bool) -> str:
        if others:
            return ""
        words = said("Nothing waits for others.") if mine else said("No order and no batch is open.")
        return f'<p class="dw-quiet">{words}</p>'


_Row = tuple[Hashable, str, str, str]


def _line_row(line: Line) -> _Row:
    return (line.subject, line.act), line_html(line), line_way(line), said("Open {what}", what=line.subject)


def _need_row(need: Need) -> _Row:
    key = (need.matter, need.subject, need.detail if need.matter.name.startswith(("CARE", "REGISTER", "ACCESS")) else "")
    return key, need_html(need), need_way(need), said("Open {what}", what=need.subject or told(need.matter.value))


def _alarm_row(cell: CellToday, alarm: AlarmStatus, *, several: bool) -> _Row:
    label = said("Open {what}", what=cell.name)
    return (cell.name, alarm.alarm), alarm_html(cell.name, alarm, several=several), f"/?cell={cell.name}", label
