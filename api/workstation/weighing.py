"""The external weighing on the page: what to do with the unit that waits, and one form after the other for two people.

The first person's value is shown to nobody; the form for the second begins empty.
"""

from __future__ import annotations

import functools
from html import escape

from nicegui import ui

from api.access import Credentials
from api.status import CellStatus, ExternalWeighingStatus
from api.weighing_desk import ReadWeight
from api.workstation import forms
from api.workstation.panels import duration
from api.workstation.pieces import Changing, Parts
from api.workstation.visitor import Visitor


def instruction_html(waiting: ExternalWeighingStatus) -> str:
    """What a person does now, in order."""
    who = "A second person does this, without being told the first value" if waiting.entry == 2 else "The operator does this"
    again = "<li><b>The two entries differed.</b> Both weigh and enter anew.</li>" if waiting.entry == 1 and waiting.attempt > 1 else ""
    return (
        f"<h2>Weigh unit {waiting.n} on the external balance</h2><p><b>Entry {waiting.entry} of 2, attempt {waiting.attempt} of 3.</b> "
        f'{who}.</p><ol class="dw-list">{again}'
        f"<li>Take unit {waiting.n}, and no other, off the plate by {escape(waiting.removal)}; the guard stays closed.</li>"
        f"<li>Weigh it on {escape(waiting.asset)}, {escape(waiting.model)}, serial number {escape(waiting.serial)}, tared.</li>"
        f"<li>Enter the net mass with {waiting.decimals} decimals, and the serial number as it stands on the balance.</li>"
        "<li>Put the unit into its own numbered place.</li></ol>"
    )


class WeighingPanel:
    """Shown while a unit waits to be weighed elsewhere. Lifetime: that of the page."""

    def __init__(self, visitor: Visitor) -> None:
        self._visitor = visitor
        self._parts = Parts("w-full")
        self._left: Changing | None = None

    def update(self, status: CellStatus) -> None:
        """Build the form anew when another entry is awaited; what a person types stays while nothing changes."""
        waiting, batch = status.external_weighing, status.batch
        if waiting is None or batch is None:
            self._parts.show([])
            return
        key = (waiting.unit, waiting.entry, waiting.attempt)
        self._parts.show([(key, functools.partial(self._build, batch, waiting))])
        if self._left is not None:
            self._left.show(
                f'<p class="dw-quiet">Not entered within {duration(_whole_minutes(waiting.time_left_s))}, the unit is rejected.</p>'
            )

    def _build(self, batch: str, waiting: ExternalWeighingStatus) -> None:
        with ui.element("section").classes("dw-card dw-stack"):
            ui.html(instruction_html(waiting), sanitize=False)
            self._left = Changing()
            self._form(batch, waiting)

    def _form(self, batch: str, waiting: ExternalWeighingStatus) -> None:
        desk = self._visitor.workstation.weighing

        async def enter() -> None:
            read = ReadWeight(value_mg=str(value.value or "-").strip(), balance_serial=str(serial.value or "-").strip())
            if password is None:
                await self._visitor.act(
                    lambda session: desk.enter_first(session, batch, waiting.n, read), "Entered. A second person follows."
                )
                return
            credentials = Credentials(
                username=str(username.value or "") or None, password=str(password.value or ""), code=forms.text_of(code)
            )
            password.value = ""
            await self._visitor.act(lambda session: desk.enter_second(session, batch, waiting.n, read, credentials), "Entered and signed.")

        with forms.form(enter):
            value = forms.text_field(f"Net mass of unit {waiting.n}, mg")
            serial = forms.text_field("Serial number on the balance").classes("dw-field-medium")
            username = forms.account_field()
            username.set_visibility(waiting.entry == 2)
            password = forms.password_field("Password") if waiting.entry == 2 else None
            code = forms.code_field(self._visitor) if waiting.entry == 2 else None
            forms.submit("Enter and sign" if waiting.entry == 2 else "Enter")


def _whole_minutes(seconds: int | None) -> int | None:
    """Round down to minutes above two of them: the text need not be sent again every second."""
    return seconds if seconds is None or seconds < 120 else seconds - seconds % 60
