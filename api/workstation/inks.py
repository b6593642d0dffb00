"""The page of inks and cartridges: what is in the house and until when, what happened to one cartridge, and the forms."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from urllib.parse import quote

from nicegui import ui

from api.ink_desk import CartridgeWeighing
from api.security import Permission, Session
from api.workstation import forms
from api.workstation.cards import page_head
from api.workstation.ink_entries import LotForm, PreparationForm, ReceivedCartridgeForm
from api.workstation.pieces import INERT
from api.workstation.refusal import refusal_html
from api.workstation.visitor import Visitor
from api.workstation.words import marked, said, told, told_html
from audit.canonical import JsonObject, JsonValue
from audit.errors import DosewrightError

_EVENTS = {
    "ink.cartridge.received": marked("received"),
    "ink.cartridge.weighed": marked("weighed"),
    "ink.cartridge.used": marked("used by a run"),
    "ink.cartridge.returned": marked("weighed back after a batch"),
    "ink.cartridge.quarantined": marked("held by a recall"),
}
_SHOWN = {
    "filled": marked("filled"),
    "opened": marked("opened"),
    "in_use_until": marked("in use until"),
    "used": marked("used so far, at most"),
    "wasted": marked("wasted so far"),
    "warm": marked("at temperature so far"),
    "gross_mg": marked("gross mass, mg"),
    "weighed_on": marked("balance"),
    "reconciliation": marked("reconciliation"),
    "remaining_mg": marked("ink left, mg"),
    "settles": marked("left by batch"),
}


def _text(value: JsonValue) -> str:
    return escape(value) if isinstance(value, str) else ""


def _told(value: JsonValue) -> str:
    return told_html(value) if isinstance(value, str) else ""


def _table(head: tuple[str, ...], rows: list[str], none: str) -> str:
    if not rows:
        return f'<p class="dw-quiet">{none}</p>'
    names = "".join(f"<th>{name}</th>" for name in head)
    return f'<table class="dw-table"><thead><tr>{names}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def lots_html(lots: list[JsonObject]) -> str:
    """All lots: strength and how it is known, expiry; what is over says so in words."""
    rows = []
    for lot in lots:
        over = f" <b>✕ {said('expired')}</b>" if lot.get("expired") is True else ""
        rows.append(
            f"<tr><td><b>{_text(lot.get('lot'))}</b><br><span class='dw-quiet'>{_text(lot.get('ink'))}</span></td>"
            f"<td>{_text(lot.get('strength'))}<br><span class='dw-quiet'>{_told(lot.get('known_by'))}</span></td>"
            f'<td><span class="dw-keep">{_text(lot.get("expires"))}</span>{over}</td></tr>'
        )
    return _table((said("Lot"), said("Strength"), said("Expires")), rows, said("No ink lot was received yet."))


def cartridges_html(cartridges: list[JsonObject], chosen: str) -> str:
    """All cartridges, each a link: what is left, the in-use clock, hours at temperature, and whether it is held."""
    rows = []
    for item in cartridges:
        serial = str(item.get("serial"))
        current = ' aria-current="page"' if serial == chosen else ""
        state = f"<b>✕ {_told(item.get('state'))}</b>" if item.get("usable") is not True else f"✓ {_told(item.get('state'))}"
        rows.append(
            f'<tr><td class="dw-keep"><a href="/inks?cartridge={quote(serial, safe="")}"{current}>{escape(serial)}</a>'
            f"<br><span class='dw-quiet'>{said('lot {lot}', lot=_text(item.get('ink_lot')))}</span></td>"
            f"<td>{_text(item.get('remaining_mass'))}<br><span class='dw-quiet'>{_told(item.get('remaining'))}</span></td>"
            f"<td>{_text(item.get('in_use_until'))}<br><span class='dw-quiet'>{_told(item.get('clock'))}</span></td>"
            f"<td>{_text(item.get('warm')) or said('none')}</td><td class='dw-keep'>{state}</td></tr>"
        )
    head = (said("Cartridge"), said("Remaining"), said("In use until"), said("At temperature"), said("State"))
    return _table(head, rows, said("No cartridge was received yet."))


def history_html(view: JsonObject) -> str:
    """What the trail holds of one cartridge, oldest first."""
    history, rows = view.get("history"), ""
    for entry in history if isinstance(history, list) else []:
        if not isinstance(entry, dict):
            continue
        new = entry.get("new")
        facts = _facts(new) if isinstance(new, dict) else ""
        event = _EVENTS.get(str(entry.get("kind")), str(entry.get("kind")))
        rows += f"<li>{_text(entry.get('at'))[:16].replace('T', ' ')} UTC: {told_html(event)}, {_text(entry.get('by'))}{facts}</li>"
    return f'<ul class="dw-list dw-history">{rows}</ul>'


def _facts(new: Mapping[str, JsonValue]) -> str:
    facts = [
        f"{told(label)} {told(value)}".replace(" uL", " µL") for name, label in _SHOWN.items() if isinstance(value := new.get(name), str)
    ]
    usage = new.get("usage")
    if isinstance(usage, dict) and isinstance(run := usage.get("run"), str):
        facts.insert(0, said("run {run}", run=run))
    return f'<br><span class="dw-quiet">{escape("; ".join(facts))}</span>' if facts else ""


class InksPage:
    """Builds the page of one visit. Lifetime: that of the page; after an entry it is loaded anew."""

    def __init__(self, visitor: Visitor, chosen: str) -> None:
        self._visitor = visitor
        self._desk = visitor.workstation.inks
        session = visitor.session()
        page_head(visitor, "/inks")
        overview = self._desk.overview()
        lots, cartridges = overview["inks"], overview["cartridges"]
        with ui.element("div").classes("dw-body"):
            with ui.element("div").classes("dw-col").props(INERT):
                with _card(said("Cartridges")):
                    ui.html(cartridges_html(cartridges, chosen), sanitize=False).classes("w-full")
                if chosen:
                    self._one(session, chosen)
                with _card(said("Ink lots")):
                    ui.html(lots_html(lots), sanitize=False).classes("w-full")
                if _may_enter(session):
                    with _card(said("Ink prepared on site")):
                        PreparationForm(visitor, session.username, str(overview["today"]))
            with ui.element("div").classes("dw-col").props(INERT):
                self._forms(session, [str(lot["lot"]) for lot in lots if lot.get("expired") is not True], str(overview["today"]))

    def _one(self, session: Session, serial: str) -> None:
        try:
            view = self._desk.cartridge(serial)
        except DosewrightError as error:
            ui.html(f'<p class="dw-problem" role="alert">▲ {refusal_html(error)}</p>', sanitize=False)
            return
        held = _told(view.get("held"))
        with _card(said("Cartridge {serial}", serial=serial)):
            warning = f'<p class="dw-problem" role="alert">▲ {said("held:")} {held}</p>' if held else ""
            ui.html(f"<p>{_text(view.get('strength'))}</p>{warning}{history_html(view)}", sanitize=False).classes("w-full")
            if _may_enter(session):
                self._weigh_form(serial)

    def _weigh_form(self, serial: str) -> None:
        async def weigh() -> None:
            read = CartridgeWeighing(
                gross_mg=str(gross.value or "-").strip()[:20],
                uncertainty_mg=str(uncertainty.value or "-").strip()[:20],
                balance=str(balance.value or "").strip()[:200] or "-",
                empty_mg=str(empty.value or "").strip()[:20],
            )
            if await self._visitor.act(
                lambda session: self._desk.weigh_cartridge(session, serial, read), said("The weighing is on record.")
            ):
                ui.navigate.to(f"/inks?cartridge={quote(serial, safe='')}")

        with forms.form(weigh).classes("dw-many"):
            gross = forms.text_field(said("Gross mass, mg"))
            uncertainty = forms.text_field(said("± mass (k = 2), mg"))
            balance = forms.text_field(said("Balance"))
            empty = forms.text_field(said("Empty cartridge, mg (if known)"))
            forms.submit(said("Enter the weighing"))

    def _forms(self, session: Session, lots: list[str], today: str) -> None:
        if not _may_enter(session):
            with _card(said("Enter")):
                reads = said("Your role reads here; operators and pharmacists receive, prepare and weigh.")
                ui.html(f'<p class="dw-quiet">{reads}</p>', sanitize=False)
            return
        with _card(said("Receive and open a cartridge")):
            ReceivedCartridgeForm(self._visitor, lots, today)
        with _card(said("Receive an ink lot")):
            LotForm(self._visitor)


def _may_enter(session: Session) -> bool:
    try:
        session.role_for(Permission.RECEIVE_INK)
    except DosewrightError:
        return False
    return True


def _card(title: str) -> ui.element:
    card = ui.element("section").classes("dw-card dw-stack")
    with card:
        ui.html(f"<h2>{escape(title)}</h2>", sanitize=False)
    return card
