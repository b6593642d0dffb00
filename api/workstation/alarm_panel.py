"""The alarms of the running-batch page: cause, action, and what a person may do with each of them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

from nicegui import ui

from api.security import Session
from api.status import AlarmStatus, CellStatus
from api.workstation import panels
from api.workstation.pieces import Changing, Parts
from api.workstation.visitor import Visitor

_MINUTES = {15: "15 minutes", 60: "1 hour", 240: "4 hours", 480: "8 hours, at most until the run ends"}
_NO_ALARM = '<p class="dw-quiet">✓ No alarm in this run.</p>'


@dataclass(frozen=True, slots=True)
class _Card:
    """One alarm on the page, and every act that it can ever offer."""

    text: Changing
    buttons: dict[str, ui.button]

    def show(self, alarm: AlarmStatus) -> None:
        self.text.show(panels.alarm_text(alarm))
        offered = {
            "acknowledge": alarm.is_open,
            "reset": alarm.may_be_reset,
            "shelve": alarm.shelvable,
            "unshelve": alarm.is_shelved,
        }
        for name, button in self.buttons.items():
            button.set_visibility(offered[name])


class AlarmPanel:
    """Open alarms with cause and action, each with its own acknowledgement; a warning may be put away for a while."""

    def __init__(self, visitor: Visitor) -> None:
        self._visitor = visitor
        self._shown: object = None
        self._alarms: dict[str, _Card] = {}
        with ui.element("section").classes("dw-card"):
            ui.html("<h2>Alarms</h2>", sanitize=False)
            self._none = Changing()
            self._parts = Parts()
            # beside the list: an alarm that goes must not close what a person is writing in
            self._dialogs = ui.element("div")

    def update(self, status: CellStatus) -> None:
        """Show the alarms; one that was there stays the element that it is."""
        alarms, silent = tuple(_by_minutes(alarm) for alarm in status.alarms), status.state == "UNKNOWN"
        if (alarms, silent) == self._shown:
            return
        self._shown = (alarms, silent)
        # no news is not good news
        none = '<p class="dw-quiet">○ Not known: the cell does not answer.</p>' if silent else _NO_ALARM
        self._none.show("" if alarms else none)
        ordered = sorted(alarms, key=panels.alarm_rank)
        self._parts.show([(alarm.alarm, functools.partial(self._build, alarm)) for alarm in ordered])
        self._alarms = {alarm.alarm: self._alarms[alarm.alarm] for alarm in ordered}
        for alarm in ordered:
            self._alarms[alarm.alarm].show(alarm)

    def _build(self, alarm: AlarmStatus) -> None:
        text = Changing()
        with ui.row().classes("gap-3"):
            buttons = {
                "acknowledge": _button("Acknowledge", self._asker("Acknowledge", alarm, self._acknowledge)),
                "reset": _button("Reset", self._asker("Reset", alarm, self._reset)),
                "shelve": _button("Shelve", self._shelver(alarm)),
                "unshelve": _button("Show again now", self._unshelver(alarm)),
            }
        self._alarms[alarm.alarm] = _Card(text, buttons)

    def _acknowledge(self, session: Session, alarm: str, comment: str) -> object:
        return self._visitor.workstation.production.acknowledge(session, self._visitor.cell, alarm, comment)

    def _reset(self, session: Session, alarm: str, comment: str) -> object:
        return self._visitor.workstation.production.reset_alarm(session, self._visitor.cell, alarm, comment)

    def _asker(self, word: str, alarm: AlarmStatus, act: Callable[[Session, str, str], object]) -> Callable[[], None]:
        def ask() -> None:
            with self._dialogs, ui.dialog() as dialog, ui.card().style("min-width:26rem"):
                ui.label(f"{word}: {panels.alarm_title(alarm)}").classes("text-lg font-semibold")
                comment = ui.input("What did you see, what did you do?").props("outlined autofocus").classes("w-full")

                async def confirm() -> None:
                    text = str(comment.value or "")
                    if await self._visitor.act(lambda session: act(session, alarm.alarm, text)):
                        dialog.close()

                with ui.row().classes("w-full justify-end"):
                    ui.button("Not yet", on_click=dialog.close).props("flat no-caps")
                    ui.button(word, on_click=confirm).props("unelevated no-caps color=secondary")
            dialog.on("hide", dialog.delete)
            dialog.open()

        return ask

    def _shelver(self, alarm: AlarmStatus) -> Callable[[], None]:
        def ask() -> None:
            with self._dialogs, ui.dialog() as dialog, ui.card().style("min-width:26rem"):
                ui.label(f"Shelve: {panels.alarm_title(alarm)}").classes("text-lg font-semibold")
                ui.label("It is not announced again until the time is over or the run ends. Who, why and how long is on record.")
                reason = ui.input("Why is it put away?").props("outlined autofocus").classes("w-full")
                minutes = ui.select(_MINUTES, value=15, label="For how long?").props("outlined").classes("w-full")

                async def confirm() -> None:
                    text, span = str(reason.value or ""), int(minutes.value or 15)
                    production, cell = self._visitor.workstation.production, self._visitor.cell
                    if await self._visitor.act(lambda session: production.shelve(session, cell, alarm.alarm, text, span)):
                        dialog.close()

                with ui.row().classes("w-full justify-end"):
                    ui.button("Leave it", on_click=dialog.close).props("flat no-caps")
                    ui.button("Shelve", on_click=confirm).props("unelevated no-caps color=secondary")
            dialog.on("hide", dialog.delete)
            dialog.open()

        return ask

    def _unshelver(self, alarm: AlarmStatus) -> Callable[[], object]:
        async def do() -> None:
            production, cell = self._visitor.workstation.production, self._visitor.cell
            await self._visitor.act(lambda session: production.unshelve(session, cell, alarm.alarm))

        return do


def _by_minutes(alarm: AlarmStatus) -> AlarmStatus:
    """The time left on a shelf in whole minutes: the text is not sent again every second."""
    if alarm.shelf_ends_in_s is None:
        return alarm
    return alarm.model_copy(update={"shelf_ends_in_s": -(-alarm.shelf_ends_in_s // 60) * 60})


def _button(label: str, on_click: Callable[[], object]) -> ui.button:
    return ui.button(label, on_click=on_click).props("outline no-caps color=primary").classes("dw-act")
