"""What a panel offers stays the same element while it is offered: a press between two refreshes is not lost."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import pytest
from nicegui import Client, ui
from nicegui.page import page

from api.status import AlarmStatus, CellStatus
from api.workstation.alarm_panel import AlarmPanel
from api.workstation.pieces import Parts
from api.workstation.running import RunControls


@pytest.fixture
def canvas() -> Iterator[Client]:
    with Client(page("")) as client:
        yield client
    client.delete()


class NoVisitor:
    """A page that nobody presses anything on."""

    workstation: Any = type("Services", (), {"production": None})()
    cell = "cell-1"


def buttons(client: Client) -> dict[str, ui.button]:
    found = {element.text: element for element in client.elements.values() if isinstance(element, ui.button) and element.visible}
    assert all(found)
    return found


def test_parts_are_built_once_kept_in_order_and_taken_away(canvas: Client) -> None:
    parts = Parts()
    built: list[ui.label] = []

    def build(key: str) -> None:
        built.append(ui.label(key))

    def show(*keys: str) -> list[str]:
        parts.show([(key, functools.partial(build, key)) for key in keys])
        return [element.text for element in canvas.layout.descendants() if isinstance(element, ui.label)]

    assert show("b", "c") == ["b", "c"]
    assert show("a", "b", "c") == ["a", "b", "c"]
    assert show("c", "a") == ["c", "a"]
    assert [label.text for label in built] == ["b", "c", "a"]
    assert show("b") == ["b"] and len(built) == 4


def test_a_page_that_was_left_while_it_asked_shows_nothing_more(canvas: Client) -> None:
    place = ui.element("div")
    with place:
        parts = Parts()
    parts.show([("a", lambda: ui.label("a"))])
    place.delete()
    parts.show([("a", lambda: ui.label("a")), ("b", lambda: ui.label("b"))])
    assert [element for element in canvas.layout.descendants() if isinstance(element, ui.label)] == []


def test_an_alarm_keeps_its_buttons_while_others_come_and_go(canvas: Client) -> None:
    panel = AlarmPanel(NoVisitor())  # type: ignore[arg-type]

    def alarm(key: str, state: str, **more: Any) -> AlarmStatus:
        return AlarmStatus(alarm=key, name=f"alarm {key}", state=state, **more)

    def show(*alarms: AlarmStatus) -> dict[str, ui.button]:
        panel.update(CellStatus(cell="cell-1", run="R", state="PRINTING", alarms=alarms))
        return buttons(canvas)

    before = show(alarm("A01", "unacknowledged", shelvable=True))
    assert set(before) == {"Acknowledge", "Shelve"}
    after = show(alarm("A01", "unacknowledged", shelvable=True, message="higher"), alarm("A02", "normal", priority="critical"))
    assert {name: button.id for name, button in after.items()} == {name: button.id for name, button in before.items()}
    shelved = show(alarm("A01", "shelved", shelved_by="operator", shelf_ends_in_s=900))
    assert set(shelved) == {"Show again now"}
    assert set(show(alarm("A01", "latched, acknowledged"))) == {"Reset"}
    assert show() == {}


def test_start_and_pause_stay_through_a_run_and_are_others_in_the_next(canvas: Client) -> None:
    controls = RunControls(NoVisitor())  # type: ignore[arg-type]

    def show(run: str | None, *, start: bool, state: str = "READY") -> dict[str, ui.button]:
        allowed = {"start": {"allowed": start, "reasons": () if start else ("not all gates are met",)}}
        controls.update(CellStatus.model_validate({"cell": "c", "run": run, "batch": "B", "state": state, "allowed_actions": allowed}))
        return buttons(canvas)

    first, ready = show("R1", start=False)["Start"], show("R1", start=True)["Start"]
    assert first is ready and ready.enabled
    assert not show("R1", start=False)["Start"].enabled
    assert show("R2", start=True)["Start"] is not first
    assert show("R2", start=True, state="AWAITING_REVIEW") == {}
