"""Forms around passwords, so that a browser and its password manager see what belongs together, and Enter does the act."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from html import escape

from nicegui import ui

from api.workstation.visitor import Visitor
from api.workstation.words import said

_FIELD = "outlined dense autocomplete=off"
_SHORT = 20
"""Letters of a label that a field of common width shows whole."""


def form(act: Callable[[], Awaitable[None]]) -> ui.element:
    """Return a form whose submission carries out an act over the page's websocket; it is never sent anywhere by the browser."""
    return ui.element("form").classes("dw-form").on("submit.prevent", act)


def text_field(label: str, value: str = "", *, wide: bool = False) -> ui.input:
    """Return a field for text; a wide one takes the whole line, for what is a sentence."""
    return ui.input(label, value=value).props(_FIELD).classes("w-full" if wide else "dw-field-medium" if len(label) > _SHORT else "")


def named_account(username: str) -> None:
    """Say within a form, unseen, whose password it asks for."""
    ui.html(f'<input type="text" autocomplete="username" value="{escape(username)}" readonly hidden>', sanitize=False).classes("hidden")


def account_field(label: str = "") -> ui.input:
    return ui.input(label or said("User name")).props("outlined dense autocomplete=username autocapitalize=none")


def password_field(label: str = "") -> ui.input:
    return ui.input(label or said("Your password"), password=True).props("outlined dense autocomplete=current-password")


def code_field(visitor: Visitor, label: str = "") -> ui.input | None:
    """Return a field for the second factor where the visitor is outside the perimeter; inside there is none."""
    if not visitor.session().remote:
        return None
    return ui.input(label or said("One-time or recovery code")).props("outlined dense autocomplete=one-time-code inputmode=text")


def text_of(field: ui.input | None) -> str | None:
    """Return what was typed into a field and empty it; None where there is none or nothing in it."""
    if field is None:
        return None
    typed = str(field.value or "").strip()[:64]
    field.value = ""
    return typed or None


def submit(label: str) -> None:
    ui.button(label).props("type=submit unelevated no-caps color=secondary")
