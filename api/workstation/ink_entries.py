"""The forms of the page of inks: a lot with its certificate, an ink prepared on site, a cartridge.

A lot with a certificate and an ink prepared on site are two forms that cannot be mistaken for each other: only the second asks for a
second person, and shows the strength that follows before it can be signed.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from urllib.parse import quote

from nicegui import ui

from api.access import Credentials
from api.errors import WrongState
from api.ink_forms import DATES, MINUTES, NUMBERS, TEXTS, prepared_lot, received_cartridge, received_lot
from api.security import Session
from api.workstation import forms
from api.workstation.visitor import Visitor
from api.workstation.words import said, told
from audit.canonical import JsonObject

_LABELS = {**TEXTS, **DATES, **{name: label for name, (label, _) in NUMBERS.items()}, "minutes": MINUTES}
_IDENTITY = ("lot", "ink", "moiety", "basis", "expires")
_DENSITY = ("density", "density_uncertainty", "concentration_rsd")
_WEIGHING = ("name", "lot", "expires", "mass", "mass_uncertainty", "balance")
_ACTIVE = ("content", "content_uncertainty")
_MOST_COMPONENTS = 30


class _Fields:
    """Named fields of a form. Lifetime: that of the form."""

    def __init__(self, names: tuple[str, ...], values: dict[str, str] | None = None) -> None:
        given = values or {}
        self._inputs = {name: forms.text_field(told(_LABELS[name]), given.get(name, "")) for name in names}

    def typed(self) -> dict[str, str]:
        return {name: str(field.value or "") for name, field in self._inputs.items()}


class LotForm:
    """An ink lot with its certificate of analysis. Lifetime: that of the page."""

    def __init__(self, visitor: Visitor) -> None:
        self._visitor = visitor
        with forms.form(self._receive).classes("dw-many"):
            self._fields = _Fields((*_IDENTITY, "assay", "assay_uncertainty", *_DENSITY, "certificate"))
            forms.submit(said("Receive the lot"))

    async def _receive(self) -> None:
        desk, typed = self._visitor.workstation.inks, self._fields.typed()
        if await self._visitor.act(lambda session: desk.receive_ink(session, received_lot(typed)), said("The lot is received.")):
            ui.navigate.to("/inks")


class ReceivedCartridgeForm:
    """A filled cartridge of a known lot; its in-use clock begins on the day it is opened. Lifetime: that of the page."""

    def __init__(self, visitor: Visitor, lots: list[str], today: str) -> None:
        self._visitor = visitor
        if not lots:
            ui.html(f'<p class="dw-quiet">{said("Receive an ink lot first: no lot in date is known.")}</p>', sanitize=False)
            return
        with forms.form(self._receive).classes("dw-many"):
            self._lot = ui.select(lots, label=told(TEXTS["ink_lot"]), value=lots[-1] if len(lots) == 1 else None)
            self._lot.props("outlined dense").classes("dw-field-medium")
            self._fields = _Fields(("serial", "filled", "opened", "in_use_until"), {"opened": today})
            forms.submit(said("Receive the cartridge"))

    async def _receive(self) -> None:
        desk, typed = self._visitor.workstation.inks, {**self._fields.typed(), "ink_lot": str(self._lot.value or "")}
        if await self._visitor.act(
            lambda session: desk.receive_cartridge(session, received_cartridge(typed)), said("The cartridge is received.")
        ):
            ui.navigate.to(f"/inks?cartridge={quote(typed['serial'].strip(), safe='')}")


class PreparationForm:
    """An ink prepared on site: weighings, mixing, and the second person who checked all of it and signs. Lifetime: that of the page."""

    def __init__(self, visitor: Visitor, username: str, today: str) -> None:
        self._visitor = visitor
        self._today = today
        self._components: list[_Fields] = []
        self._shown: JsonObject | None = None
        with forms.form(self._sign).classes("dw-many"):
            self._fields = _Fields((*_IDENTITY, *_DENSITY, "procedure"))
            self._rows = ui.element("div").classes("dw-stack")
            self._component()
            self._component()
            ui.button(said("Another component"), on_click=self._component).props("outline no-caps color=primary type=button")
            self._mixing = _Fields(("method", "minutes", "weighed_by"), {"weighed_by": username})
            self._checker = forms.account_field(said("Second person"))
            ui.button(said("Show the strength"), on_click=self._show).props("outline no-caps color=primary type=button")
            self._strength = ui.html("", sanitize=False).classes("w-full dw-strength")
            self._password = forms.password_field(said("Their password"))
            self._code = forms.code_field(visitor)
            forms.submit(said("Sign: checked"))

    def _component(self) -> None:
        n = len(self._components) + 1
        if n > _MOST_COMPONENTS:
            return
        with self._rows, ui.element("div").classes("dw-form").props(f'role=group data-component="{n}"'):
            ui.html(f"<b>{said('Component {n}: the active', n=n) if n == 1 else said('Component {n}', n=n)}</b>", sanitize=False).classes(
                "w-full"
            )
            self._components.append(_Fields(_WEIGHING + (_ACTIVE if n == 1 else ())))

    def _reader(self) -> Callable[[], JsonObject]:
        """Return what reads the form as it is typed now."""
        typed, components = {**self._fields.typed(), **self._mixing.typed()}, [item.typed() for item in self._components]
        checker, day = str(self._checker.value or "").strip(), self._today
        return lambda: prepared_lot(typed, components, day=day, checker=checker)

    async def _show(self) -> None:
        """Show what follows from the weighings; only that can be signed."""
        read, found = self._reader(), list[JsonObject]()
        self._shown = None
        self._strength.set_content("")
        if not await self._visitor.act(lambda _: found.append(read())):
            return
        self._shown = found[0]
        checker = str(self._checker.value or "").strip()
        text = f"{found[0]['assay']} ± {found[0]['assay_uncertainty']} (k = 2)"
        self._strength.set_content(
            f"<p><b>{said('Theoretical strength: {strength}', strength=escape(text))}</b>. "
            f"{said('It follows from the weighings; nobody has assayed it.')} "
            f"{said('{person} signs that each weighing and the mixing was checked.', person=escape(checker))}</p>"
        )

    async def _sign(self) -> None:
        read, shown, desk = self._reader(), self._shown, self._visitor.workstation.inks
        credentials = Credentials(
            username=str(self._checker.value or "").strip() or None,
            password=str(self._password.value or ""),
            code=forms.text_of(self._code),
        )
        self._password.value = ""

        def sign(session: Session) -> None:
            record = read()
            if record != shown:
                raise WrongState("What is signed was not shown as it is now.", remedy="Press “Show the strength”, look at it, then sign.")
            desk.prepare_ink(session, record, credentials)

        if await self._visitor.act(sign, said("The preparation is signed.")):
            ui.navigate.to("/inks")
