"""The external weighing on the page: what to do with the unit that waits, and one form after the other for two people.

The first person's value is shown to nobody; the form for the second begins empty.
"""

from __future__ import annotations

import functools
from html import escape

from nicegui import ui

from api.access import Credentials
from api.read_form import read_form
from api.status import CellStatus, ExternalWeighingStatus
from api.weighing_desk import ReadWeight
from api.workstation import forms
from api.workstation.panels import duration
from api.workstation.pieces import Changing, Parts
from api.workstation.visitor import Visitor
from api.workstation.words import said


def instruction_html(waiting: ExternalWeighingStatus) -> str:
    """What a person does now, in order."""
    n, removal, asset, model, serial = waiting.n, *map(escape, (waiting.removal, waiting.asset, waiting.model, waiting.serial))
    who = said("The operator does this.")
    if waiting.entry == 2:
        who = said("A second person does this, without being told the first value.")
    differed = said("<b>The two entries differed.</b> Both weigh and enter anew.")
    steps = [differed] if waiting.entry == 1 and waiting.attempt > 1 else []
    steps += [
        said("Take unit {n}, and no other, off the plate by {removal}; the guard stays closed.", n=n, removal=removal),
        said("Weigh it on {asset}, {model}, serial number {serial}, tared.", asset=asset, model=model, serial=serial),
        said("Enter the net mass with {n} decimals, and the serial number as it stands on the balance.", n=waiting.decimals),
        said("Put the unit into its own numbered place."),
    ]
    which = said("Entry {n} of 2, attempt {attempt} of 3.", n=waiting.entry, attempt=waiting.attempt)
    listed = "".join(f"<li>{step}</li>" for step in steps)
    title = said("Weigh unit {n} on the external balance", n=n)
    return f'<h2>{title}</h2><p><b>{which}</b> {who}</p><ol class="dw-list">{listed}</ol>'


class WeighingPanel:
    """Shown while a unit waits to be weighed elsewhere. Lifetime: that of the page."""

    def __init__(self, visitor: Visitor) -> None:
        self._visitor = visitor
        self._parts = Parts("w-full")
        self._left: Changing | None = None

    def update(self, status: CellStatus) -> None:
        """Build the form anew when another entry is awaited; what a person types stays while nothing changes, or nothing is known."""
        if status.state == "UNKNOWN":
            self._parts.hold()
            return
        waiting, batch = status.external_weighing, status.batch
        if waiting is None or batch is None:
            self._parts.show([])
            return
        key = (waiting.unit, waiting.entry, waiting.attempt)
        self._parts.show([(key, functools.partial(self._build, batch, waiting))])
        if self._left is not None:
            time = duration(_whole_minutes(waiting.time_left_s))
            self._left.show(f'<p class="dw-quiet">{said("Not entered within {time}, the unit is rejected.", time=time)}</p>')

    def _build(self, batch: str, waiting: ExternalWeighingStatus) -> None:
        with ui.element("section").classes("dw-card dw-stack"):
            ui.html(instruction_html(waiting), sanitize=False)
            self._left = Changing()
            self._form(batch, waiting)

    def _form(self, batch: str, waiting: ExternalWeighingStatus) -> None:
        desk = self._visitor.workstation.weighing

        async def enter() -> None:
            typed = {"value_mg": value.value, "balance_serial": serial.value}
            if password is None:
                await self._visitor.act(
                    lambda session: desk.enter_first(session, batch, waiting.n, read_form(ReadWeight, typed)),
                    said("Entered. A second person follows."),
                )
                return
            credentials = Credentials(
                username=str(username.value or "") or None, password=str(password.value or ""), code=forms.text_of(code)
            )
            password.value = ""
            await self._visitor.act(
                lambda session: desk.enter_second(session, batch, waiting.n, read_form(ReadWeight, typed), credentials),
                said("Entered and signed."),
            )

        with forms.form(enter):
            value = forms.text_field(said("Net mass of unit {n}, mg", n=waiting.n))
            serial = forms.text_field(said("Serial number on the balance")).classes("dw-field-medium")
            username = forms.account_field()
            username.set_visibility(waiting.entry == 2)
            password = forms.password_field(said("Password")) if waiting.entry == 2 else None
            code = forms.code_field(self._visitor) if waiting.entry == 2 else None
            forms.submit(said("Enter and sign") if waiting.entry == 2 else said("Enter"))


def _whole_minutes(seconds: int | None) -> int | None:
    """Round down to minutes above two of them: the text need not be sent again every second."""
    return seconds if seconds is None or seconds < 120 else seconds - seconds % 60
