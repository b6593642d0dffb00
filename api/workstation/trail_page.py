"""The trail page: a question as a plain form, so that its answer has an address; pages of entries; the history of one object.

The form and the links need no script. Only taking a selection out does, because it is an act of a person, with a reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from nicegui import run, ui

from api.security import GRANTS, Permission, Session
from api.trail_desk import WORKSTATION, Export
from api.trail_question import FIELDS, LONGEST, read_filter
from api.workstation import forms
from api.workstation.cards import page_head
from api.workstation.language_files import Language
from api.workstation.pieces import INERT
from api.workstation.refusal import refusal_html
from api.workstation.role_words import role_choices
from api.workstation.trail_tables import entries_html, history_html, link
from api.workstation.visitor import Visitor
from api.workstation.words import marked, said, speaking, spoken, told
from audit.errors import DosewrightError
from audit.events import Subject
from audit.trail_search import TrailFilter

_PAGE = 25
_ROWS_OF_A_HISTORY = 200
_PRESETS = {
    "": marked("everything"), "access": marked("access log: log-ins, log-outs, refusals"), "refusals": marked("what was refused"),
    "signatures": marked("signatures given"), "people": marked("accounts and access"), "alarms": marked("alarms"),
    "recipes": marked("recipes"), "clock": marked("clock steps"),
}  # fmt: skip
_LABELS = {
    "person": marked("Person"), "role": marked("Role"), "device": marked("Device"), "object": marked("Object (type, or type/id)"),
    "since": marked("From (day, UTC)"), "until": marked("To (day, UTC)"), "reason": marked("Words in the reason"),
    "text": marked("Words anywhere"), "kind": marked("Kind"),
}  # fmt: skip
_EXPORTERS = GRANTS[Permission.EXPORT]
_KEPT = ("trail", "preset", "kind", "order", *FIELDS)


def asked(parameters: Mapping[str, str]) -> dict[str, str]:
    """Return the fields of a question from the address of the page; no field is longer than a person writes."""
    return {name: parameters.get(name, "").strip()[: LONGEST + 1] for name in _KEPT}


def filter_of(query: Mapping[str, str]) -> TrailFilter:
    """Read the question. Raises InputInvalid."""
    kinds = (query["kind"],) if query["kind"] else ()
    return read_filter({name: query[name] for name in FIELDS}, kinds, query["preset"])


def form_html(query: Mapping[str, str], trails: tuple[str, ...]) -> str:
    """The question as a form."""

    def asking(name: str, label: str, control: str) -> str:
        return f'<div><label for="find-{name}">{label}</label>{control}</div>'

    def choice(name: str, label: str, options: Mapping[str, str]) -> str:
        items = "".join(
            f'<option value="{escape(value)}"{" selected" if value == query[name] else ""}>{escape(shown)}</option>'
            for value, shown in options.items()
        )
        return asking(name, label, f'<select id="find-{name}" name="{name}">{items}</select>')

    def field(name: str, more: str = "") -> str:
        # never a date field: a browser shows that in an order of its own (month first, or day first), and a record has one order
        day = ' placeholder="2026-03-01"' if name in ("since", "until") else ""
        value = f'value="{escape(query[name])}" maxlength="{LONGEST}"'
        return asking(name, told(_LABELS[name]), f'<input type="text" id="find-{name}" name="{name}" {value}{day}{more}>')

    roles = {"": said("any"), **role_choices(), "system": said("system")}
    presets = {value: told(words) for value, words in _PRESETS.items()}
    acts = f'<button class="dw-plain">{said("Search")}</button><a class="dw-plain" href="/trail">{said("Clear")}</a>'
    named = {"" if name == WORKSTATION else name: name for name in trails}
    return (
        '<form method="get" action="/trail" class="dw-find" role="search">'
        f"{choice('trail', said('Trail of'), named)}{choice('preset', said('Show'), presets)}"
        f"{field('person')}{choice('role', told(_LABELS['role']), roles)}"
        f"{field('object')}{field('device')}{field('since')}{field('until')}{field('reason')}{field('text')}"
        f"{field('kind', ' placeholder=alarm.')}"
        f"{choice('order', said('Order'), {'': said('newest first'), 'oldest': said('oldest first')})}"
        f'<div class="dw-find-act">{acts}</div></form>'
    )


class TrailPageView:
    """Builds the page of one visit. Lifetime: that of the page."""

    def __init__(self, visitor: Visitor, parameters: Mapping[str, str]) -> None:
        self._visitor = visitor
        self._desk = visitor.workstation.trail
        self._query = asked(parameters)
        self._name = self._query["trail"] or WORKSTATION
        self._cursor, self._history = parameters.get("cursor", "").strip(), parameters.get("history", "").strip()[: 2 * LONGEST]
        session = visitor.session()
        self._may_export = bool(session.roles & _EXPORTERS)
        page_head(visitor, "/trail")

    async def build(self) -> None:
        """Ask, off the event loop, and show the answer or what is wrong with the question."""
        try:
            answer = await run.io_bound(self._answer, spoken())
        except DosewrightError as error:
            answer = f'<p class="dw-problem" role="alert">▲ {refusal_html(error)}</p>'
        with ui.element("div").classes("dw-body dw-one"), ui.element("div").classes("dw-col").props(INERT):
            if self._history:
                title = said("What changed in {object}", object=self._history.replace("/", " ", 1))
                back = f'<p class="dw-back"><a href="{link(self._query)}">{said("Back to the search")}</a></p>'
                self._card(title, back + str(answer))
            else:
                self._card(said("Search the trail"), form_html(self._query, self._desk.trails))
                self._card(said("Entries"), str(answer))
            if self._may_export:
                self._export_card()

    def _answer(self, language: Language) -> str:
        """Ask, and draw what was found, in a thread of its own."""
        with speaking(language):
            return self._drawn()

    def _drawn(self) -> str:
        if self._history:
            type_, _, id_ = self._history.partition("/")
            return history_html(self._desk.history(self._name, Subject(type_, id_)), _ROWS_OF_A_HISTORY)
        cursor = int(self._cursor) if self._cursor.isdecimal() and len(self._cursor) < 16 else None
        page = self._desk.page(
            self._name, filter_of(self._query), cursor=cursor, limit=_PAGE, newest_first=self._query["order"] != "oldest"
        )
        further = said("Older entries") if self._query["order"] != "oldest" else said("Newer entries")
        ways = f'<a class="dw-plain" href="{link(self._query)}">{said("To the beginning")}</a>' if cursor is not None else ""
        if page.cursor is not None:
            ways += f'<a class="dw-plain" href="{link(self._query, cursor=str(page.cursor))}">{further}</a>'
        return f'{entries_html(page, self._query)}<nav class="dw-pages" aria-label="{said("Older and newer entries")}">{ways}</nav>'

    @staticmethod
    def _card(title: str, html: str) -> None:
        with ui.element("section").classes("dw-card"):
            ui.html(f"<h2>{escape(title)}</h2>{html}", sanitize=False).classes("w-full")

    def _export_card(self) -> None:
        async def take(file_format: str) -> None:
            made: list[Export] = []
            why = str(reason.value or "")
            if await self._visitor.act(
                lambda session: made.append(self._exported(session, file_format, why)), said("The export is on record.")
            ):
                ui.download(made[0].data, made[0].name, made[0].media_type)

        with ui.element("section").classes("dw-card dw-stack"):
            title = said("Take out all entries of this object") if self._history else said("Take out all entries that meet this search")
            ui.html(f"<h2>{title}</h2>", sanitize=False)
            with forms.form(lambda: take("csv")).classes("dw-many"):
                reason = forms.text_field(said("Reason for the export"), wide=True)
                forms.submit(said("Export as CSV"))
                ui.button(said("Export as JSON"), on_click=lambda: take("json")).props("outline no-caps color=primary")

    def _exported(self, session: Session, file_format: str, reason: str) -> Export:
        wanted = filter_of(self._query)
        if self._history:
            type_, _, id_ = self._history.partition("/")
            wanted = TrailFilter(object_type=type_, object_id=id_)
        return self._desk.export(session, self._name, wanted, file_format, reason)
