"""Puts the pages at their paths: who may see one is asked here, what is on it is built by the page itself."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping

from fastapi import FastAPI
from nicegui import app as nicegui_app
from nicegui import ui
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from api.security import session_of, token_of
from api.wiring import Workstation
from api.workstation.account import AccountPage
from api.workstation.batches import BatchesPage
from api.workstation.cards import page_head
from api.workstation.equipment import EquipmentPage
from api.workstation.inks import InksPage
from api.workstation.models import ModelsPage
from api.workstation.new_batch import NewBatchPage
from api.workstation.page_language import prepare, settle
from api.workstation.people import PeoplePage
from api.workstation.places import CELL, PLACES, Place
from api.workstation.recall import RecallPage
from api.workstation.recipes import RecipesPage
from api.workstation.running import Drawn, RunningPage
from api.workstation.today import TodayPage
from api.workstation.trail_page import TrailPageView
from api.workstation.trends import TrendsPage
from api.workstation.visitor import Visitor
from api.workstation.words import said

_LOGO = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E%3Crect width='32' height='32' rx='8' "
    "fill='%230b6b53'/%3E%3Cellipse cx='16' cy='20' rx='9' ry='5' fill='%23fff'/%3E%3Cpath d='M16 4v8' stroke='%23fff' "
    "stroke-width='4' stroke-linecap='round'/%3E%3C/svg%3E"
)
_COLOUR = "#1d6f58"
_NO_CELL = "no cell"

Build = Callable[[Visitor, Mapping[str, str]], Awaitable[object] | object]
"""Builds one page for a visitor from the query of its address."""

_BUILDERS: dict[str, Build] = {
    "/today": lambda visitor, query: TodayPage(visitor).build(),
    "/new": lambda visitor, query: NewBatchPage(visitor, query).build(),
    "/batches": lambda visitor, query: BatchesPage(visitor, query.get("batch", "")).build(),
    "/inks": lambda visitor, query: InksPage(visitor, query.get("cartridge", "")),
    "/recipes": lambda visitor, query: RecipesPage(visitor, query.get("version", "")),
    "/equipment": lambda visitor, query: EquipmentPage(visitor, query).build(),
    "/models": lambda visitor, query: ModelsPage(visitor, query.get("version", "")),
    "/trends": lambda visitor, query: TrendsPage(visitor, query).build(),
    "/trail": lambda visitor, query: TrailPageView(visitor, query).build(),
    "/recall": lambda visitor, query: RecallPage(visitor, query.get("recall", "")),
    "/people": lambda visitor, query: PeoplePage(visitor, query.get("account", "")),
    "/account": lambda visitor, query: AccountPage(visitor),
}


def mount(app: FastAPI, workstation: Workstation) -> None:
    """Put the pages into an application. NiceGUI is one per process, so this is done once per process."""
    prepare(workstation.settings)
    drawn = Drawn()

    @ui.page("/", title="Dosewright", favicon=_LOGO)
    async def running(request: Request, cell: str = "") -> Response | None:
        session_of(request).role_for(CELL.permission)
        names = workstation.cells.names
        if not names:
            return RedirectResponse("/login")
        if cell and cell not in names:
            return RedirectResponse("/")  # another cell's page under this name would be taken for it
        chosen = cell or names[0]
        ui.colors(primary=_COLOUR)
        settle()
        ui.page_title(f"{chosen}: Dosewright" if len(names) > 1 else "Dosewright")
        page = RunningPage(Visitor(workstation, token_of(request)[0], chosen, f"/?cell={chosen}"), drawn)
        await page.refresh()
        await page.add_plain_parts()
        page.keep_right()
        return None

    for place in PLACES:
        _put(place, _BUILDERS[place.path], workstation)
    nicegui_app.on_shutdown(workstation.close)
    ui.run_with(app, title="Dosewright", dark=None, language="en-GB", show_welcome_message=False, reconnect_timeout=10.0, favicon=_LOGO)


def _put(place: Place, build: Build, workstation: Workstation) -> None:
    async def page(request: Request) -> None:
        session = session_of(request)
        hidden = session.locked and not place.stays and place.permission in session.permissions
        if not hidden:
            session.role_for(place.permission)
        ui.colors(primary=_COLOUR)
        settle()
        ui.page_title(f"Dosewright: {said(place.title)}")
        address = f"{place.path}?{request.url.query}" if request.url.query else place.path
        visitor = Visitor(workstation, token_of(request)[0], (workstation.cells.names or (_NO_CELL,))[0], address)
        if hidden:
            page_head(visitor, place.path)
            return
        built = build(visitor, dict(request.query_params))
        if inspect.isawaitable(built):
            await built

    ui.page(place.path, title=f"Dosewright: {place.title.lower()}", favicon=_LOGO)(page)
