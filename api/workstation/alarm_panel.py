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
from api.workstation.words import marked, said, told

_MINUTES = {
    15: marked("15 minutes"),
    60: marked("1 hour"),
    240: marked("4 hours"),
    480: marked("8 hours, at most until the run ends"),
}


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
            ui.html(f"<h2>{said('Alarms')}</h2>", sanitize=False)
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
        none = f"○ {said('Not known: the cell does not answer.')}" if silent else f"✓ {said('No alarm in this run.')}"
        self._none.show("" if alarms else f'<p class="dw-quiet">{none}</p>')
        ordered = sorted(alarms, key=panels.alarm_rank)
        self._parts.show([(alarm.alarm, functools.partial(self._build, alarm)) for alarm in ordered])
        self._alarms = {alarm.alarm: self._alarms[alarm.alarm] for alarm in ordered}
        for alarm in ordered:
            self._alarms[alarm.alarm].show(alarm)

    def _build(self, alarm: AlarmStatus) -> None:
        text = Changing()
        with ui.row().classes("gap-3"):
            buttons = {
                "acknowledge": _button(said("Acknowledge"), self._asker(said("Acknowledge"), alarm, self._acknowledge)),
                "reset": _button(said("Reset"), self._asker(said("Reset"), alarm, self._reset)),
                "shelve": _button(said("Shelve"), self._shelver(alarm)),
                "unshelve": _button(said("Show again now"), self._unshelver(alarm)),
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
                comment = ui.input(said("What did you see, what did you do?")).props("outlined autofocus").classes("w-full")

                async def confirm() -> None:
                    text = str(comment.value or "")
                    if await self._visitor.act(lambda session: act(session, alarm.alarm, text)):
                        dialog.close()

                with ui.row().classes("w-full justify-end"):
                    ui.button(said("Not yet"), on_click=dialog.close).props("flat no-caps")
                    ui.button(word, on_click=confirm).props("unelevated no-caps color=secondary")
            dialog.on("hide", dialog.delete)
            dialog.open()

        return ask

    def _shelver(self, alarm: AlarmStatus) -> Callable[[], None]:
        def ask() -> None:
            with self._dialogs, ui.dialog() as dialog, ui.card().style("min-width:26rem"):
                ui.label(said("Shelve: {alarm}", alarm=panels.alarm_title(alarm))).classes("text-lg font-semibold")
                ui.label(said("It is not announced again until the time is over or the run ends. Who, why and how long is on record."))
                reason = ui.input(said("Why is it put away?")).props("outlined autofocus").classes("w-full")
                minutes = (
                    ui.select({span: told(words) for span, words in _MINUTES.items()}, value=15, label=said("For how long?"))
                    .props("outlined")
                    .classes("w-full")
                )

                async def confirm() -> None:
                    text, span = str(reason.value or ""), int(minutes.value or 15)
                    production, cell = self._visitor.workstation.production, self._visitor.cell
                    if await self._visitor.act(lambda session: production.shelve(session, cell, alarm.alarm, text, span)):
                        dialog.close()

                with ui.row().classes("w-full justify-end"):
                    ui.button(said("Leave it"), on_click=dialog.close).props("flat no-caps")
                    ui.button(said("Shelve"), on_click=confirm).props("unelevated no-caps color=secondary")
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
