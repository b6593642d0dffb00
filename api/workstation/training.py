"""Training on the page of people: how everybody stands in recipes, cells and procedures today, and the form that records it, signed."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from nicegui import ui

from api.access import Credentials
from api.equipment_view import Standing
from api.read_form import read_form
from api.security import Permission, Session
from api.training_desk import MATTERS, Trained, TrainingRecord
from api.workstation import forms
from api.workstation.cards import card, table, text
from api.workstation.visitor import Visitor
from api.workstation.words import said, told

_MARKS = {Standing.IN_DATE: "✓", Standing.ENDS_SOON: "▲", Standing.OVER: "✕"}


def training_html(rows: Sequence[Trained], silent: Sequence[str]) -> str:
    """Who is trained in what until when; what a cell asks for before a print is marked, and a cell that was not heard is named."""
    warned = [item for item in rows if item.standing is not Standing.IN_DATE]
    warning = "".join(f'<p class="dw-problem" role="alert">▲ {escape(_warning(item))}</p>' for item in warned)
    unheard = "".join(f'<p class="dw-quiet">○ {escape(said("What {cell} asks for is not known now.", cell=name))}</p>' for name in silent)
    head = (said("Person"), said("Trained in"), said("Valid until"), said("On record as"))
    return f"{warning}{unheard}{table(head, [_row(item) for item in rows], said('No training is on record.'))}"


def _warning(item: Trained) -> str:
    values = {"person": item.person, "what": f"{told(item.matter)} {item.subject}", "day": item.until}
    if item.standing is Standing.OVER:
        return said("{person}: training for {what} ended on {day}.", **values)
    return said("{person}: training for {what} ends on {day}.", **values)


def _row(item: Trained) -> str:
    asked = f"<br><span class='dw-quiet'>{escape(said('asked for before a print'))}</span>" if item.gated else ""
    if item.trained_on:
        source = said("{id}, trained on {day} by {trainer}", id=item.source, day=item.trained_on, trainer=item.trainer)
        signed = f"<br><span class='dw-quiet'>{escape(said('signed by {name}', name=item.signed_by))}</span>"
    else:
        source, signed = told(item.source), ""
    standing = f"{_MARKS[item.standing]} {escape(item.until)}<br><span class='dw-quiet'>{escape(told(item.standing.value))}</span>"
    return (
        f"<tr><td class='dw-keep'>{escape(item.person)}</td><td>{escape(told(item.matter))} {escape(item.subject)}{asked}</td>"
        f"<td class='dw-keep'>{standing}</td>"
        f"<td>{escape(source)}{signed}</td></tr>"
    )


class TrainingCard:
    """Lifetime: that of the page; after an entry it is loaded anew."""

    def __init__(self, visitor: Visitor, session: Session) -> None:
        self._visitor = visitor
        workstation = visitor.workstation
        found = workstation.readiness.views()
        silent = [name for name, item in found.items() if item.gates is None]
        rows = workstation.training.register([item.register for item in found.values() if item.register is not None])
        with card(said("Training")):
            text(training_html(rows, silent))
            if session.may(Permission.TRAIN):
                with ui.expansion(said("Record training")).classes("w-full"):
                    self._form(session)

    def _form(self, session: Session) -> None:
        people = self._visitor.workstation.people.people()
        names = {str(item["username"]): f"{item['name']} ({item['username']})" for item in people if item["active"] is True}

        async def record() -> None:
            fields = {
                "person": person.value, "matter": matter.value, "subject": subject.value, "trained_on": on.value,
                "trainer": trainer.value, "valid_until": until.value,
            }  # fmt: skip
            credentials = Credentials(password=str(password.value or ""), code=forms.text_of(code))
            password.value = ""
            desk = self._visitor.workstation.training
            if await self._visitor.act(lambda session: desk.record(session, read_form(TrainingRecord, fields), credentials)):
                ui.navigate.to("/people")

        with forms.form(record).classes("dw-many"):
            person = ui.select(names, label=said("Person trained")).props("outlined dense")
            matter = ui.select({item: told(item) for item in MATTERS}, label=said("Trained in")).props("outlined dense")
            subject = forms.text_field(said("Recipe version, cell or procedure"))
            on, until = forms.text_field(said("Trained on, YYYY-MM-DD")), forms.text_field(said("Training valid until"))
            trainer = forms.text_field(said("Trainer"))
            forms.named_account(session.username)
            password, code = forms.password_field(), forms.code_field(self._visitor)
            forms.submit(said("Sign the training"))
