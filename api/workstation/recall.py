"""The page of recalls: search, open, and follow one until everything is accounted for."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping
from html import escape
from typing import get_args

from nicegui import ui
from pydantic import ValidationError

from api.access import Credentials
from api.errors import InputInvalid
from api.recall_desk import Contact, RecallSearch
from api.security import Permission, Session
from api.workstation import forms
from api.workstation.cards import card, page_head
from api.workstation.pieces import INERT
from api.workstation.refusal import refusal_html
from api.workstation.role_words import words_of
from api.workstation.visitor import Visitor
from api.workstation.words import marked, said, said_n, told, told_html
from audit.canonical import JsonObject, JsonValue
from audit.errors import DosewrightError
from recipes.figures import explain

_LABELS = {
    "ink_lot": marked("Ink lot, or lot of a component"),
    "cartridge": marked("Cartridge"),
    "recipe": marked("Recipe, or recipe@version"),
    "cell": marked("Cell"),
    "printer": marked("Machine profile"),
    "equipment": marked("Serial number of a balance"),
    "operator": marked("User name of who acted"),
    "batch": marked("Batch"),
    "since": marked("Since, 2026-03-01T00:00Z"),
    "until": marked("Until (UTC as well)"),
}


def _list(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []


def found_html(found: Mapping[str, JsonValue]) -> str:
    """What a search found: batches with units, packs and patients by pseudonym; first of all what could not be searched."""
    notes = [*_list(found.get("missing")), *_list(found.get("notes"))]
    warned = "".join(f'<p class="dw-problem" role="alert">▲ {said("Not searched:")} {told_html(str(note))}</p>' for note in notes)
    rows = ""
    for batch in _list(found.get("batches")):
        if isinstance(batch, dict):
            units, packs = _list(batch.get("units")), _list(batch.get("packs"))
            shown = said("all units") if batch.get("uncertain") else said_n("{n} unit", "{n} units", len(units))
            patient = str(batch.get("patient") or said("not known"))
            rows += (
                f"<tr><td class='dw-keep'><b>{escape(str(batch.get('batch')))}</b><br><span class='dw-quiet'>"
                f"{told_html(str(batch.get('disposition')))}</span></td><td>{shown}</td>"
                f"<td>{escape(', '.join(map(str, packs))) or said('none')}</td><td>{escape(patient)}</td></tr>"
            )
    titles = (said("Batch"), said("Units"), said("Packs"), said("Patient"))
    head = f"<thead><tr>{''.join(f'<th>{title}</th>' for title in titles)}</tr></thead>"
    table = (
        f'<table class="dw-table">{head}<tbody>{rows}</tbody></table>' if rows else f'<p class="dw-quiet">{said("Nothing was found.")}</p>'
    )
    return warned + table


class RecallPage:
    """Builds the page of one visit. Lifetime: that of the page; after an entry it is loaded anew."""

    def __init__(self, visitor: Visitor, chosen: str) -> None:
        self._visitor = visitor
        self._desk = visitor.workstation.recalls
        self._searched: RecallSearch | None = None
        session = visitor.session()
        page_head(visitor, "/recall")
        with ui.element("div").classes("dw-body"):
            if not session.may(Permission.SEARCH_RECALL):
                who = said("Pharmacists, QPs and quality assurance search for a recall.")
                ui.html(f'<p class="dw-quiet">{who}</p>', sanitize=False)
                return
            with ui.element("div").classes("dw-col").props(INERT):
                self._search_card(session)
            with ui.element("div").classes("dw-col").props(INERT):
                self._list_card(chosen)
                if chosen:
                    self._one(session, chosen)

    def _search_card(self, session: Session) -> None:
        with card(said("Search")):
            with forms.form(self._search).classes("dw-many"):
                self._fields = {name: forms.text_field(told(label)) for name, label in _LABELS.items()}
                forms.submit(said("Search every trail"))
            self._found = ui.html("", sanitize=False).classes("w-full")
            if session.may(Permission.RECALL):
                with forms.form(self._open).classes("dw-many") as self._opening:
                    ui.html(
                        f"<p><b>{said('Open a recall of what was found.')}</b> "
                        f"{said('Its packs are recalled, the ink lot and the cartridge named are held.')} "
                        f"{said('Nothing of it is released, labelled or dispensed any more.')}</p>",
                        sanitize=False,
                    )
                    self._reason = forms.text_field(said("Reason"), wide=True)
                    forms.named_account(session.username)
                    self._password, self._code = forms.password_field(), forms.code_field(self._visitor)
                    forms.submit(said("Sign and open the recall"))
                self._opening.set_visibility(False)

    def _list_card(self, chosen: str) -> None:
        with card(said("Recalls")):
            rows = ""
            for recall in self._desk.recalls():
                name, criteria = str(recall.get("recall")), recall.get("criteria")
                asked = ", ".join(f"{words_of(key)} {value}" for key, value in criteria.items()) if isinstance(criteria, dict) else ""
                current = ' aria-current="page"' if name == chosen else ""
                mark = "▲" if recall.get("status") == "open" else "✓"
                rows += (
                    f'<li>{mark} <a href="/recall?recall={name}"{current}>{escape(name)}</a> {told_html(str(recall.get("status")))}: '
                    f"{escape(asked)}</li>"
                )
            ui.html(
                f'<ul class="dw-list">{rows}</ul>' if rows else f'<p class="dw-quiet">{said("There is no recall.")}</p>', sanitize=False
            )

    async def _search(self) -> None:
        typed = {name: text for name, field in self._fields.items() if (text := str(field.value or "").strip())}
        found: list[JsonObject] = []
        self._searched = None

        def search(session: Session) -> None:
            wanted = _read(typed)
            found.append(self._desk.search(session, wanted))
            self._searched = wanted

        if await self._visitor.act(search):
            self._found.set_content(found_html(found[0]))
        else:
            self._found.set_content("")
        if hasattr(self, "_opening"):
            self._opening.set_visibility(self._searched is not None)

    async def _open(self) -> None:
        wanted, reason = self._searched, str(self._reason.value or "").strip()
        credentials = Credentials(password=str(self._password.value or ""), code=forms.text_of(self._code))
        self._password.value = ""
        if wanted is None or not reason:
            ui.notify(said("Search, look at what was found, and state the reason."), type="warning", position="bottom")
            return
        opened: list[JsonObject] = []
        if await self._visitor.act(
            lambda session: opened.append(self._desk.open(session, wanted, reason[:500], credentials)), said("The recall is open.")
        ):
            ui.navigate.to(f"/recall?recall={opened[0]['recall']}")

    def _one(self, session: Session, name: str) -> None:
        try:
            view = self._desk.recall(name)
        except DosewrightError as error:
            ui.html(f'<p class="dw-problem" role="alert">▲ {refusal_html(error)}</p>', sanitize=False)
            return
        with card(said("Recall {name}: {state}", name=name, state=told(str(view.get("status"))))):
            waits = "".join(f"<li>○ {told_html(str(reason))}</li>" for reason in _list(view.get("waits_for")))
            ui.html(
                f'{found_html(view)}<p>{said("Packs:")} {escape(_packs_text(view))}</p><ul class="dw-list">{waits}</ul>',
                sanitize=False,
            )
            if view.get("status") != "open" or not session.may(Permission.RECALL):
                return
            for patient in _list(view.get("patients")):
                if isinstance(patient, dict):
                    self._patient(name, str(patient.get("patient")), len(_list(patient.get("contacts"))))
            for pack in _list(view.get("packs")):
                if isinstance(pack, dict) and pack.get("state") == "recalled":
                    self._pack(name, str(pack.get("pack")))
            if not waits:
                self._closing(name, session.username)

    def _patient(self, name: str, patient: str, contacts: int) -> None:
        who, known = said("Patient {patient}", patient=escape(patient)), said_n("{n} contact on record", "{n} contacts on record", contacts)
        shown = ui.html(f"<p><b>{who}</b>: {known}</p>", sanitize=False)

        async def identify() -> None:
            why, found = str(reason.value or "").strip(), list[JsonObject]()
            if not why:
                ui.notify(said("State why you read who the patient is; it is put on record."), type="warning", position="bottom")
                return
            if await self._visitor.act(lambda session: found.append(self._desk.identify(session, name, patient, why[:400]))):
                facts = ", ".join(escape(str(found[0].get(field))) for field in ("name", "born", "number", "contact"))
                shown.set_content(f"<p><b>{who}</b>: {facts}</p>")

        async def contact() -> None:
            if by.value is None or outcome.value is None or not str(note.value or "").strip():
                ui.notify(said("State how, with what outcome, and what was said."), type="warning", position="bottom")
                return
            made = Contact(by=by.value, outcome=outcome.value, note=str(note.value)[:500])
            if await self._visitor.act(lambda session: self._desk.contact(session, name, patient, made), said("The contact is on record.")):
                ui.navigate.to(f"/recall?recall={name}")

        with forms.form(identify):
            reason = forms.text_field(said("Reason to read it"))
            forms.submit(said("Show who it is"))
        with forms.form(contact).classes("dw-many"):
            fields = Contact.model_fields
            by = ui.select(_choices(fields["by"].annotation), label=said("Contacted")).props("outlined dense").style("min-width:9rem")
            outcome = (
                ui.select(_choices(fields["outcome"].annotation), label=said("Outcome")).props("outlined dense").style("min-width:8rem")
            )
            note = forms.text_field(said("What was said"), wide=True)
            forms.submit(said("Record the contact"))

    def _pack(self, name: str, pack: str) -> None:
        desk = self._visitor.workstation.packs

        async def settle(outcome: str) -> None:
            why = str(reason.value or "").strip()
            if not why:
                ui.notify(said("State the reason."), type="warning", position="bottom")
                return
            move = desk.take_back if outcome == "returned" else desk.give_up
            if await self._visitor.act(lambda session: move(session, pack, why[:500]), said("Pack {pack} is accounted for.", pack=pack)):
                ui.navigate.to(f"/recall?recall={name}")

        ui.html(f"<p>{said('<b>Pack {pack}</b> is out.', pack=escape(pack))}</p>", sanitize=False)
        with ui.element("div").classes("dw-form"):
            reason = forms.text_field(said("What came back, or why not"), wide=True)
            for outcome, text in (("returned", said("It came back")), ("lost", said("Used up or not to be found"))):
                ui.button(text, on_click=functools.partial(settle, outcome)).props("outline no-caps color=primary")

    def _closing(self, name: str, username: str) -> None:
        async def close() -> None:
            why = str(comment.value or "").strip()
            credentials = Credentials(password=str(password.value or ""), code=forms.text_of(code))
            password.value = ""
            if not why:
                ui.notify(said("State how the recall ended."), type="warning", position="bottom")
                return
            if await self._visitor.act(
                lambda session: self._desk.close(session, name, why[:500], credentials), said("The recall is closed.")
            ):
                ui.navigate.to(f"/recall?recall={name}")

        with forms.form(close).classes("dw-many"):
            comment = forms.text_field(said("How it ended"), wide=True)
            forms.named_account(username)
            password, code = forms.password_field(), forms.code_field(self._visitor)
            forms.submit(said("Sign and close"))


def _read(typed: Mapping[str, str]) -> RecallSearch:
    try:
        return RecallSearch.model_validate(dict(typed))
    except ValidationError as error:
        raise InputInvalid(f"The search cannot be read: {explain(error)}.", remedy="Correct the fields named.") from error


def _packs_text(view: JsonObject) -> str:
    """How many packs are where."""
    states = Counter(str(pack.get("state")) for pack in _list(view.get("packs")) if isinstance(pack, dict))
    return ", ".join(f"{count} {told(state)}" for state, count in sorted(states.items())) or said("no pack")


def _choices(kind: object) -> dict[str, str]:
    return {choice: told(choice) for choice in get_args(kind)}
