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
from api.workstation.today import _Rows


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


def test_what_is_asked_for_a_page_that_was_left_meanwhile_is_shown_nowhere() -> None:
    with Client(page("")) as client:
        parts, rows = Parts(), _Rows("dw-rows")
        parts.show([("a", lambda: ui.label("a"))])
        rows.show([("a", "<p>a</p>", "/", "Open a")])
    client.delete()
    parts.show([("a", lambda: ui.label("a")), ("b", lambda: ui.label("b"))])
    rows.show([("b", "<p>b</p>", "/", "Open b")])
    assert not client.elements


def test_while_nothing_is_known_what_is_typed_stays_and_no_button_takes_a_press(canvas: Client) -> None:
    parts = Parts()

    def build() -> None:
        ui.input("Net mass")
        ui.button("Enter")
        ui.button("Not open").disable()

    def found() -> tuple[ui.input, list[bool]]:
        elements = list(canvas.layout.descendants())
        (field,) = [element for element in elements if isinstance(element, ui.input)]
        return field, [element.enabled for element in elements if isinstance(element, ui.button)]

    parts.show([("unit 7", build)])
    field, _ = found()
    field.value = "49.9"
    for _ in range(2):
        parts.hold()
        assert found() == (field, [False, False]) and field.enabled
    parts.show([("unit 7", build)])
    assert found() == (field, [True, False]) and field.value == "49.9"
    parts.hold()
    parts.show([])
    parts.show([("unit 8", build)])
    assert found()[0] is not field and found()[1] == [True, False]


def test_rows_change_what_they_say_and_keep_their_links(canvas: Client) -> None:
    rows = _Rows("dw-rows")

    def links() -> list[ui.link]:
        return [element for element in canvas.layout.descendants() if isinstance(element, ui.link)]

    rows.show([("a", "<p>1 min</p>", "/a", "Open a"), ("b", "<p>just now</p>", "/b", "Open b")])
    first, second = links()
    rows.show([("b", "<p>1 min</p>", "/b", "Open b"), ("a", "<p>2 min</p>", "/a", "Open a")])
    assert links() == [second, first]
    said = [element.content for element in canvas.layout.descendants() if isinstance(element, ui.html)]
    assert said == ["<p>1 min</p>", "<p>2 min</p>"]
    rows.show([])
    assert links() == []


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


def test_a_page_that_stays_open_through_many_runs_keeps_only_the_alarms_that_it_shows(canvas: Client) -> None:
    panel = AlarmPanel(NoVisitor())  # type: ignore[arg-type]
    for run in range(40):
        panel.update(CellStatus(cell="cell-1", alarms=tuple(AlarmStatus(alarm=f"R{run}/A{n}", name="link lost") for n in range(2))))
        if run == 1:
            first = len(canvas.elements)
    assert len(panel._alarms) == 2 and len(canvas.elements) == first
