"""What the pages beside the cell's own share: the head of a page, its cards, and tables."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from nicegui import ui

from api.life_steps import steps_here
from api.workstation import panels
from api.workstation.lock_bar import LockBar
from api.workstation.look import PAGE_STYLE
from api.workstation.pieces import connection_script
from api.workstation.places import place_of
from api.workstation.role_words import roles_text
from api.workstation.visitor import Visitor
from api.workstation.words import said, told, told_html
from audit.canonical import JsonObject


def page_head(visitor: Visitor, here: str) -> None:
    """Build the head of the page at the path `here`: STOP, the ways to other pages, and the bar of a locked session."""
    session = visitor.session()
    ui.add_head_html(f"<style>{PAGE_STYLE}</style>")
    ui.add_body_html(connection_script())
    ui.add_body_html(panels.stop_form(visitor.cell, several=len(visitor.workstation.cells.names) > 1))
    role = roles_text(session.roles)
    with ui.element("header").classes("dw-top"):
        ui.html(panels.header(visitor.cell, None, session.name, role, title=said(place_of(here).name)), sanitize=False)
        ui.html(panels.ways(here), sanitize=False)
    if visitor.workstation.settings.demonstration:
        ui.html(panels.demonstration_banner(""), sanitize=False).classes("w-full dw-banner")
    LockBar(visitor, stays=place_of(here).stays).watch()


def card(title: str) -> ui.element:
    """Return a card with its heading."""
    made = ui.element("section").classes("dw-card dw-stack")
    with made:
        ui.html(f"<h2>{escape(title)}</h2>", sanitize=False)
    return made


def text(html: str) -> None:
    """Show HTML that is ours, over the whole width."""
    ui.html(html, sanitize=False).classes("w-full")


def table(head: Sequence[str], rows: Sequence[str], none: str) -> str:
    """Return a table of rows that are HTML, or a quiet sentence where there are none."""
    if not rows:
        return f'<p class="dw-quiet">{escape(none)}</p>'
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    return f'<table class="dw-table"><thead><tr>{names}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def steps_html(view: JsonObject) -> str:
    """The steps that are not open to this person, each with what stands against it."""
    rows = "".join(
        f"<li>✕ <b>{escape(told(listed.step.value))}</b>: {'; '.join(map(told_html, listed.reasons))}</li>"
        for listed in steps_here(view)
        if not listed.open
    )
    return f'<ul class="dw-list">{rows}</ul>' if rows else ""
