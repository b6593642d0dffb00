"""What is done before the first print of a day, on the page: gates of the cell, daily check of the balance, cleaning."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from nicegui import run, ui
from pydantic import JsonValue, ValidationError

from api.bench_hand import find_hand
from api.status import CellStatus, CheckStatus, GateStatus
from api.workstation import forms
from api.workstation.visitor import Visitor
from audit.errors import DosewrightError

REFRESH_S = 2.0


def gate_list(gates: Sequence[GateStatus]) -> str:
    """Return gates as a list: a mark, the name, and the evidence or what to do."""
    rows = (
        f'<li class="{"met" if gate.met else "unmet"}"><b>{"✓" if gate.met else "✕"} {escape(gate.gate)}</b> '
        f"{escape(gate.evidence if gate.met else gate.reason)}</li>"
        for gate in gates
    )
    return f'<ul class="dw-gates">{"".join(rows)}</ul>'


def check_text(check: CheckStatus) -> str:
    """Return a check as text: what to do now, or what came of it."""
    rows = "".join(f"<li>{escape(item.step)}: {escape(item.value_mg)} mg</li>" for item in check.readings)
    readings = f'<ol class="dw-quiet">{rows}</ol>' if rows else ""
    if check.under_way:
        now = check.instruction or "The balance is read; leave it in peace."
        failed = f'<p class="dw-problem">▲ not usable: {escape(check.failures[-1])}</p>' if check.failures else ""
        return f"<p><b>Step {check.number} of {check.of}.</b> {escape(now)}</p>{failed}{readings}"
    if check.passed:
        return f"<p>✓ The daily check passed.</p>{readings}"
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in (*check.reasons, check.problem) if reason)
    return f'<p class="dw-problem" role="alert">✕ The daily check was not passed.</p><ul>{reasons}</ul>'


class CarePanel:
    """Shown while no run is open. Lifetime: that of the page."""

    def __init__(self, visitor: Visitor) -> None:
        self._visitor = visitor
        self._key: object = None
        self._method = ""
        self._refused: str | None = None
        with ui.element("section").classes("dw-card") as self._card:
            ui.html("<h2>Before a print</h2>", sanitize=False)
            self._place = ui.column().classes("w-full gap-3")
            self._gates = ui.html("", sanitize=False).classes("w-full")
        self._card.set_visibility(False)

    def update(self, status: CellStatus) -> None:
        """Show the panel while the cell is free; rebuild its buttons when the check has gone on."""
        free = status.state != "UNKNOWN" and (status.run is None or status.ended)
        self._card.set_visibility(free)
        self._refused = status.batch if free and status.run is not None and status.unmet else None
        key = (free, status.check, status.unmet if free else (), self._method)
        if key == self._key:
            return
        self._key = key
        self._place.clear()
        if free:
            with self._place:
                self._offer(status)

    async def refresh(self) -> None:
        """Ask for the gates anew, where they are shown."""
        if not self._card.visible:
            return
        try:
            found = await run.io_bound(self._visitor.workstation.care.readiness, self._visitor.cell)
            answer = found or {}
            gates = [GateStatus.model_validate(gate) for gate in _list(answer.get("gates"))]
        except (DosewrightError, ValidationError):
            self._gates.set_content('<p class="dw-quiet">○ Not known: the cell does not answer.</p>')
            return
        self._method = str(answer.get("cleaning_method") or "")
        self._gates.set_content(gate_list(gates))

    def _offer(self, status: CellStatus) -> None:
        if self._refused is not None:
            ui.html(f"<p><b>Batch {escape(self._refused)} was not begun:</b></p>{gate_list(status.unmet)}", sanitize=False).classes(
                "w-full"
            )
        check = status.check
        if check is not None:
            ui.html(check_text(check), sanitize=False).classes("w-full")
        if check is not None and check.under_way:
            self._go_on(check)
            return
        with ui.row().classes("w-full gap-3 items-center"):
            ui.button("Begin the daily check", on_click=self._begin).props("unelevated no-caps color=secondary")
            if self._refused is not None:
                ui.button(f"Prepare batch {self._refused} again", on_click=self._again).props("outline no-caps color=primary")
        with forms.form(self._clean), ui.row().classes("w-full gap-3 items-center"):
            self._done = forms.text_field("Cell cleaned, by", self._method)
            ui.button("Record the cleaning").props("type=submit outline no-caps color=primary")

    def _go_on(self, check: CheckStatus) -> None:
        care, cell = self._visitor.workstation.care, self._visitor.cell

        async def confirm() -> None:
            await self._visitor.act(lambda session: care.confirm_check(session, cell, check.step))

        async def abandon() -> None:
            await self._visitor.act(lambda session: care.abandon_check(session, cell, "given up on the page"), "Abandoned, and on record.")

        async def move() -> None:
            settings = self._visitor.workstation.settings
            hand = find_hand(settings.folder) if settings.demonstration else None
            if hand is not None:
                weight = check.weight.get("mass_mg", "0")
                await self._visitor.act(lambda session: hand.place(check.position or "empty", weight), "The bench has done it.")

        with ui.row().classes("w-full gap-3 items-center"):
            if check.instruction:
                ui.button("Done: read the balance", on_click=confirm).props("unelevated no-caps color=secondary")
                if self._visitor.workstation.settings.demonstration:
                    ui.button("Demonstration: let the bench do it", on_click=move).props("outline no-caps color=primary")
            ui.button("Give the check up", on_click=abandon).props("flat no-caps")

    async def _begin(self) -> None:
        care, cell = self._visitor.workstation.care, self._visitor.cell
        await self._visitor.act(lambda session: care.begin_check(session, cell))

    async def _again(self) -> None:
        production, batch = self._visitor.workstation.production, self._refused
        if batch is not None:
            await self._visitor.act(lambda session: production.request_run(session, batch))

    async def _clean(self) -> None:
        care, cell, method = self._visitor.workstation.care, self._visitor.cell, str(self._done.value or "")
        await self._visitor.act(lambda session: care.record_cleaning(session, cell, method), "The cleaning is on record.")


def _list(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []
