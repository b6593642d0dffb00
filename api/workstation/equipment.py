"""The page of equipment: what stands in a cell and until when it is in date, its checks, cleaning, qualification, maintenance."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import quote

from nicegui import run, ui

from api.access import Credentials
from api.equipment_desk import History, HistoryPage
from api.equipment_log import OUTCOMES, STAGES, Maintenance, QualificationReport
from api.read_form import read_form
from api.security import Permission, Session
from api.workstation import equipment_parts as parts
from api.workstation import forms
from api.workstation.cards import card, page_head, text
from api.workstation.language_files import Language
from api.workstation.pieces import INERT
from api.workstation.refusal import refusal_html
from api.workstation.visitor import Visitor
from api.workstation.words import marked, said, speaking, spoken, told
from audit.canonical import JsonObject
from audit.errors import DosewrightError
from audit.release.trail_view import as_list, as_object

_PAGE = 10
_AFTER = (marked("qualification is not touched"), marked("to be qualified again"))


class EquipmentPage:
    """Builds the page of one visit. Lifetime: that of the page; after an entry it is loaded anew."""

    def __init__(self, visitor: Visitor, query: Mapping[str, str]) -> None:
        self._visitor = visitor
        names = visitor.workstation.cells.names
        self._cell = query.get("cell", "") if query.get("cell", "") in names else visitor.cell
        asked = query.get("history", "")
        self._history = History(asked) if asked in [item.value for item in History] else History.CHECKS
        cursor = query.get("cursor", "")
        self._cursor = int(cursor) if cursor.isdecimal() and len(cursor) < 16 else None
        page_head(visitor, "/equipment")

    async def build(self) -> None:
        """Ask, off the event loop, and show; a history that cannot be had says why in its own card."""
        session, names = self._visitor.session(), self._visitor.workstation.cells.names
        if not names:
            with ui.element("div").classes("dw-body dw-one"), card(said("Equipment")):
                text(f'<p class="dw-quiet">{said("This site has no cell.")}</p>')
            return
        view = await run.io_bound(self._view) or {}
        identified, history = await run.io_bound(self._from_trail, spoken()) or ("", "")
        with ui.element("div").classes("dw-body"):
            with ui.element("div").classes("dw-col").props(INERT):
                with card(said("{cell}: what stands in it", cell=self._cell)):
                    if len(names) > 1:
                        text(parts.cells_html(names, self._cell))
                    text(parts.devices_html(view))
                with card(said("History")):
                    text(parts.history_ways(self._cell, self._history))
                    text(history)
                with card(said("Maintenance")):
                    text(parts.maintenance_html(view))
                    if session.may(Permission.MAINTAIN):
                        self._maintenance_form(view)
            with ui.element("div").classes("dw-col").props(INERT):
                with card(said("Before a print")):
                    text(parts.gates_html(view))
                    if session.may(Permission.CARE):
                        self._care_forms(view)
                with card(said("Qualification")):
                    text(parts.qualifications_html(view))
                    if session.may(Permission.CHANGE_EQUIPMENT):
                        self._qualification_form(session)
                with card(said("Who the devices say they are")):
                    text(identified)

    def _view(self) -> JsonObject:
        workstation = self._visitor.workstation
        return workstation.equipment.view(self._cell, workstation.readiness.of(self._cell).view())

    def _from_trail(self, language: Language) -> tuple[str, str]:
        """In a thread, which knows no page: it speaks the language that it is given."""
        with speaking(language):
            return self._parts_from_trail()

    def _parts_from_trail(self) -> tuple[str, str]:
        desk = self._visitor.workstation.equipment
        try:
            page: HistoryPage = desk.history(self._cell, self._history, cursor=self._cursor, limit=_PAGE)
            return parts.identified_html(desk.identified(self._cell)), parts.history_html(page, self._history, self._cell)
        except DosewrightError as error:
            problem = f'<p class="dw-problem" role="alert">▲ {refusal_html(error)}</p>'
            return problem, problem

    def _doer(self, act: Callable[[Session], object], done: str, way: str = "") -> Callable[[], Awaitable[None]]:
        async def do() -> None:
            if await self._visitor.act(act, done):
                ui.navigate.to(way or f"/equipment?cell={quote(self._cell)}")

        return do

    def _care_forms(self, view: JsonObject) -> None:
        """The daily check begins here and goes on at the cell, where the pan is; the cleaning is recorded here."""
        care, cell = self._visitor.workstation.care, self._cell
        rule = as_object(view.get("register")).get("daily_check")
        if rule is not None:
            begin = self._doer(lambda session: care.begin_check(session, cell), "", f"/?cell={quote(cell)}")
            ui.button(said("Begin the daily check"), on_click=begin).props("unelevated no-caps color=secondary")
        procedure = as_object(as_object(view.get("register")).get("cleaning")).get("procedure")
        with forms.form(lambda: clean()):
            method = forms.text_field(said("Cell cleaned, by"), str(procedure or ""), wide=True)
            forms.submit(said("Record the cleaning"))
        clean = self._doer(lambda session: care.record_cleaning(session, cell, str(method.value or "")), said("The cleaning is on record."))

    def _maintenance_form(self, view: JsonObject) -> None:
        log, cell = self._visitor.workstation.equipment.log, self._cell
        devices = [str(as_object(item).get("asset")) for item in as_list(as_object(view.get("register")).get("devices"))]

        def record(session: Session) -> object:
            done = {"asset": asset.value, "done_on": on.value, "done_by": by.value, "what": what.value, "after": after.value}
            return log.record_maintenance(session, cell, read_form(Maintenance, done))

        with forms.form(self._doer(record, said("The maintenance is on record."))).classes("dw-many"):
            asset = ui.select(devices, label=said("Device")).props("outlined dense")
            on, by = forms.text_field(said("Done on, YYYY-MM-DD")), forms.text_field(said("Done by"))
            what = forms.text_field(said("What was done, what was changed"), wide=True)
            after = ui.select({item: told(item) for item in _AFTER}, label=said("After it")).props("outlined dense")
            forms.submit(said("Record the maintenance"))

    def _qualification_form(self, session: Session) -> None:
        log, cell = self._visitor.workstation.equipment.log, self._cell

        def record(session: Session) -> object:
            fields = {
                "stage": stage.value, "report": report.value, "performed_on": on.value, "outcome": outcome.value,
                "valid_until": until.value, "remark": remark.value,
            }  # fmt: skip
            credentials = Credentials(password=str(password.value or ""), code=forms.text_of(code))
            password.value = ""
            return log.record_qualification(session, cell, read_form(QualificationReport, fields), credentials)

        with forms.form(self._doer(record, said("The report is on record."))).classes("dw-many"):
            stages = {name: f"{name}: {told(title)}" for name, title in STAGES.items()}
            stage = ui.select(stages, label=said("Stage")).props("outlined dense")
            outcome = ui.select({item: told(item) for item in OUTCOMES}, label=said("Outcome")).props("outlined dense")
            report = forms.text_field(said("Report"))
            on, until = forms.text_field(said("Performed on, YYYY-MM-DD")), forms.text_field(said("Valid until, if it ends"))
            remark = forms.text_field(said("Remark"))
            forms.named_account(session.username)
            password, code = forms.password_field(), forms.code_field(self._visitor)
            forms.submit(said("Sign the report"))
