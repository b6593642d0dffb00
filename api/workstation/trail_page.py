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
from api.workstation.pieces import INERT
from api.workstation.trail_tables import entries_html, history_html, link
from api.workstation.visitor import Visitor
from audit.errors import DosewrightError
from audit.events import Subject
from audit.identity import Role
from audit.trail_search import TrailFilter

_PAGE = 25
_ROWS_OF_A_HISTORY = 200
_PRESETS = {
    "": "everything", "access": "access log: log-ins, log-outs, refusals", "refusals": "what was refused", "signatures": "signatures given",
    "people": "accounts and access", "alarms": "alarms", "recipes": "recipes", "clock": "clock steps",
}  # fmt: skip
_LABELS = {
    "person": "Person", "role": "Role", "device": "Device", "object": "Object (type, or type/id)", "since": "From (day)",
    "until": "To (day)", "reason": "Words in the reason", "text": "Words anywhere", "kind": "Kind",
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
            f'<option value="{escape(value)}"{" selected" if value == query[name] else ""}>{escape(said)}</option>'
            for value, said in options.items()
        )
        return asking(name, label, f'<select id="find-{name}" name="{name}">{items}</select>')

    def field(name: str, more: str = "") -> str:
        kind = "date" if name in ("since", "until") and len(query[name]) in (0, 10) else "text"
        value = f'value="{escape(query[name])}" maxlength="{LONGEST}"'
        return asking(name, _LABELS[name], f'<input type="{kind}" id="find-{name}" name="{name}" {value}{more}>')

    roles = {"": "any", **{role.value: role.value.replace("_", " ") for role in Role}, "system": "system"}
    named = {"" if name == WORKSTATION else name: name for name in trails}
    return (
        '<form method="get" action="/trail" class="dw-find" role="search">'
        f"{choice('trail', 'Trail of', named)}{choice('preset', 'Show', _PRESETS)}{field('person')}{choice('role', 'Role', roles)}"
        f"{field('object')}{field('device')}{field('since')}{field('until')}{field('reason')}{field('text')}"
        f"{field('kind', ' placeholder=alarm.')}"
        f"{choice('order', 'Order', {'': 'newest first', 'oldest': 'oldest first'})}"
        f'<div class="dw-find-act"><button class="dw-plain">Search</button><a class="dw-plain" href="/trail">Clear</a></div></form>'
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
            answer = await run.io_bound(self._answer)
        except DosewrightError as error:
            answer = f'<p class="dw-problem" role="alert">▲ {escape(str(error))}</p>'
        with ui.element("div").classes("dw-body dw-one"), ui.element("div").classes("dw-col").props(INERT):
            if self._history:
                title = f"What changed in {self._history.replace('/', ' ', 1)}"
                back = f'<p class="dw-back"><a href="{link(self._query)}">Back to the search</a></p>'
                self._card(title, back + str(answer))
            else:
                self._card("Search the trail", form_html(self._query, self._desk.trails))
                self._card("Entries", str(answer))
            if self._may_export:
                self._export_card()

    def _answer(self) -> str:
        if self._history:
            type_, _, id_ = self._history.partition("/")
            return history_html(self._desk.history(self._name, Subject(type_, id_)), _ROWS_OF_A_HISTORY)
        cursor = int(self._cursor) if self._cursor.isdecimal() and len(self._cursor) < 16 else None
        page = self._desk.page(
            self._name, filter_of(self._query), cursor=cursor, limit=_PAGE, newest_first=self._query["order"] != "oldest"
        )
        further = "Older entries" if self._query["order"] != "oldest" else "Newer entries"
        ways = f'<a class="dw-plain" href="{link(self._query)}">To the beginning</a>' if cursor is not None else ""
        if page.cursor is not None:
            ways += f'<a class="dw-plain" href="{link(self._query, cursor=str(page.cursor))}">{further}</a>'
        return f'{entries_html(page, self._query)}<nav class="dw-pages" aria-label="Older and newer entries">{ways}</nav>'

    @staticmethod
    def _card(title: str, html: str) -> None:
        with ui.element("section").classes("dw-card"):
            ui.html(f"<h2>{escape(title)}</h2>{html}", sanitize=False).classes("w-full")

    def _export_card(self) -> None:
        async def take(file_format: str) -> None:
            made: list[Export] = []
            why = str(reason.value or "")
            if await self._visitor.act(lambda session: made.append(self._exported(session, file_format, why)), "The export is on record."):
                ui.download(made[0].data, made[0].name, made[0].media_type)

        with ui.element("section").classes("dw-card dw-stack"):
            what = "all entries of this object" if self._history else "all entries that meet this search"
            ui.html(f"<h2>Take out {what}</h2>", sanitize=False)
            with forms.form(lambda: take("csv")).classes("dw-many"):
                reason = forms.text_field("Reason for the export", wide=True)
                forms.submit("Export as CSV")
                ui.button("Export as JSON", on_click=lambda: take("json")).props("outline no-caps color=primary")

    def _exported(self, session: Session, file_format: str, reason: str) -> Export:
        wanted = filter_of(self._query)
        if self._history:
            type_, _, id_ = self._history.partition("/")
            wanted = TrailFilter(object_type=type_, object_id=id_)
        return self._desk.export(session, self._name, wanted, file_format, reason)
