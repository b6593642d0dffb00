"""The cells of a demonstration on the page of people: whom each believes, and the register that quality assurance signs for it."""

from __future__ import annotations

from html import escape

from nicegui import ui

from api.access import Credentials
from api.bench_register import BenchStanding
from api.security import GRANTS, Permission, Session
from api.workstation import forms
from api.workstation.cards import card, text
from api.workstation.visitor import Visitor
from api.workstation.words import said, told
from audit.errors import DosewrightError


def offer_bench_registers(visitor: Visitor, session: Session) -> None:
    """Show the card at a demonstration site; at a site for patients there is none."""
    registers = visitor.workstation.bench_registers
    if not registers.is_offered:
        return
    with card(said("Demonstration: the cells and their people")):
        try:
            standings = registers.standings()
        except DosewrightError as error:
            text(f'<p class="dw-problem" role="alert">▲ {escape(str(error))}</p>')
            return
        for standing in standings:
            text(standing_html(standing))
            if session.roles & GRANTS[Permission.CHANGE_EQUIPMENT]:
                _form(visitor, session, standing.cell)


def standing_html(standing: BenchStanding) -> str:
    """One cell: its register and whom it does not believe yet, each with what to do."""
    if standing.is_ready:
        words = said("{cell} believes everybody here. Register: {register}.", cell=standing.cell, register=told(standing.register))
        return f'<p class="dw-quiet">✓ {escape(words)}</p>'
    lines = [told(standing.problem)] if standing.problem else []
    if standing.unknown:
        lines.append(said("it does not believe yet, or not in this role: {names}", names=", ".join(standing.unknown)))
    rows = "".join(f"<li>○ {escape(line)}</li>" for line in lines)
    what = said("Quality assurance signs its register, which names whoever has an account.")
    return f'<p><b>{escape(standing.cell)}</b></p><ul class="dw-list">{rows}</ul><p class="dw-quiet">{escape(what)}</p>'


def _form(visitor: Visitor, session: Session, cell: str) -> None:
    async def sign(password: ui.input, code: ui.input | None) -> None:
        credentials = Credentials(password=str(password.value or ""), code=forms.text_of(code))
        password.value = ""
        if await visitor.act(lambda now: visitor.workstation.bench_registers.sign(now, cell, credentials)):
            ui.navigate.to("/people")

    with forms.form(lambda: sign(password, code)):
        forms.named_account(session.username)
        password, code = forms.password_field(), forms.code_field(visitor)
        forms.submit(said("Sign the register of {cell}", cell=cell))
