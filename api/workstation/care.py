"""What is done before the first print of a day, on the page: gates of the cell, daily check of the balance, cleaning."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Sequence
from html import escape
from urllib.parse import quote

from nicegui import run, ui
from pydantic import JsonValue, ValidationError

from api.bench_hand import find_hand
from api.status import CellStatus, CheckStatus, GateStatus
from api.workstation import forms
from api.workstation.pieces import Changing, Parts
from api.workstation.visitor import Visitor
from api.workstation.words import said, told, told_html
from audit.errors import DosewrightError

REFRESH_S = 2.0


def gate_list(gates: Sequence[GateStatus]) -> str:
    """Return gates as a list: a mark, the name, and the evidence or what to do."""
    rows = (
        f'<li class="{"met" if gate.met else "unmet"}"><b>{"✓" if gate.met else "✕"} {told_html(gate.gate)}</b> '
        f"{told_html(gate.evidence if gate.met else gate.reason)}</li>"
        for gate in gates
    )
    return f'<ul class="dw-gates">{"".join(rows)}</ul>'


def check_text(check: CheckStatus) -> str:
    """Return a check as text: what to do now, or what came of it."""
    rows = "".join(f"<li>{told_html(item.step)}: {escape(item.value_mg)} mg</li>" for item in check.readings)
    readings = f'<ol class="dw-quiet">{rows}</ol>' if rows else ""
    if check.under_way:
        now = told(check.instruction) or said("The balance is read; leave it in peace.")
        failed = f'<p class="dw-problem">▲ {said("not usable:")} {told_html(check.failures[-1])}</p>' if check.failures else ""
        return f"<p><b>{said('Step {n} of {total}.', n=check.number, total=check.of)}</b> {escape(now)}</p>{failed}{readings}"
    if check.passed:
        return f"<p>✓ {said('The daily check passed.')}</p>{readings}"
    reasons = "".join(f"<li>{told_html(reason)}</li>" for reason in (*check.reasons, check.problem) if reason)
    return f'<p class="dw-problem" role="alert">✕ {said("The daily check was not passed.")}</p><ul>{reasons}</ul>'


class CarePanel:
    """Shown while no run is open. Lifetime: that of the page."""

    def __init__(self, visitor: Visitor) -> None:
        self._visitor = visitor
        self._method = ""
        with ui.element("section").classes("dw-card") as self._card:
            ui.html(f"<h2>{said('Before a print')}</h2>", sanitize=False)
            self._refused = Changing()
            self._check = Changing()
            self._parts = Parts("dw-offers")
            self._cleaning = forms.form(self._clean)
            with self._cleaning:
                self._done = forms.text_field(said("Cell cleaned, by"), wide=True)
                ui.button(said("Record the cleaning")).props("type=submit outline no-caps color=primary")
            self._gates = Changing()
        self._card.set_visibility(False)

    def update(self, status: CellStatus) -> None:
        """Show the panel while the cell is free, with what it offers now; what it offered before and still does stays as it is."""
        free = status.state != "UNKNOWN" and (status.run is None or status.ended)
        self._card.set_visibility(free)
        check, refused = status.check, status.batch if free and status.run is not None and status.unmet else None
        self._refused.show(
            ""
            if refused is None
            else f"<p><b>{said('Batch {batch} was not begun:', batch=escape(refused))}</b></p>{gate_list(status.unmet)}"
        )
        self._check.show("" if check is None else check_text(check))
        under_way = check is not None and check.under_way
        self._cleaning.set_visibility(not under_way)
        if not free:
            self._parts.show([])
        elif check is not None and check.under_way:
            self._parts.show(self._steps(check))
        else:
            begin = [("begin", functools.partial(_main_button, said("Begin the daily check"), self._begin))]
            again = [] if refused is None else [(("again", refused), functools.partial(self._prepare, refused))]
            self._parts.show([*begin, *again])

    async def refresh(self) -> None:
        """Ask for the gates anew, where they are shown."""
        if not self._card.visible:
            return
        try:
            found = await run.io_bound(self._visitor.workstation.care.readiness, self._visitor.cell)
            answer = found or {}
            gates = [GateStatus.model_validate(gate) for gate in _list(answer.get("gates"))]
        except (DosewrightError, ValidationError):
            self._gates.show(f'<p class="dw-quiet">○ {said("Not known: the cell does not answer.")}</p>')
            return
        method = str(answer.get("cleaning_method") or "")
        if self._done.value == self._method:  # what a person has typed, or taken out, is not overwritten
            self._done.value = method
        self._method = method
        self._gates.show(gate_list(gates))

    def _steps(self, check: CheckStatus) -> list[tuple[Hashable, Callable[[], object]]]:
        """What is offered in a check: each step has its own button, so that a second press never confirms the step after."""
        care, cell = self._visitor.workstation.care, self._visitor.cell
        settings = self._visitor.workstation.settings

        async def confirm() -> None:
            await self._visitor.act(lambda session: care.confirm_check(session, cell, check.step))

        async def abandon() -> None:
            await self._visitor.act(
                lambda session: care.abandon_check(session, cell, "given up on the page"), said("Abandoned, and on record.")
            )

        async def move() -> None:
            hand = find_hand(settings.folder) if settings.demonstration else None
            if hand is not None:
                weight = check.weight.get("mass_mg", "0")
                await self._visitor.act(lambda session: hand.place(check.position or "empty", weight), said("The bench has done it."))

        offered: list[tuple[Hashable, Callable[[], object]]] = []
        if check.instruction:
            step = (check.step, check.instruction, check.position)
            offered.append((("confirm", *step), functools.partial(_main_button, said("Done: read the balance"), confirm)))
            if settings.demonstration:
                offered.append((("move", *step), functools.partial(_button, said("Demonstration: let the bench do it"), move)))
        return [*offered, ("abandon", lambda: ui.button(said("Give the check up"), on_click=abandon).props("flat no-caps"))]

    @staticmethod
    def _prepare(batch: str) -> None:
        path = f"/new?batch={quote(batch, safe='')}"
        ui.html(
            f'<a class="dw-plain dw-go" href="{path}">{escape(said("Go through the gates of {batch} again", batch=batch))}</a>',
            sanitize=False,
        )

    async def _begin(self) -> None:
        care, cell = self._visitor.workstation.care, self._visitor.cell
        await self._visitor.act(lambda session: care.begin_check(session, cell))

    async def _clean(self) -> None:
        care, cell, method = self._visitor.workstation.care, self._visitor.cell, str(self._done.value or "")
        await self._visitor.act(lambda session: care.record_cleaning(session, cell, method), said("The cleaning is on record."))


def _button(label: str, on_click: Callable[[], object]) -> None:
    ui.button(label, on_click=on_click).props("outline no-caps color=primary")


def _main_button(label: str, on_click: Callable[[], object]) -> None:
    ui.button(label, on_click=on_click).props("unelevated no-caps color=secondary")


def _list(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []
