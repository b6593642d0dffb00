"""A press is never lost and never late: controls stay the elements they are, and are inert while the page is not connected."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, WebSocketRoute, expect

pytestmark = [pytest.mark.browser, pytest.mark.stack]
BEGIN, FIRST_STEP = "Begin the daily check", "Step 1 of 7."


class Held:
    """The page's websocket: what the workstation sends waits, from the first message that `begins_with` these characters."""

    def __init__(self, page: Page, begins_with: str) -> None:
        self._begins_with = begins_with
        self._holding = True
        self._waiting: list[tuple[WebSocketRoute, str | bytes]] = []
        page.route_web_socket(re.compile("_nicegui_ws"), self._opened)

    def _opened(self, route: WebSocketRoute) -> None:
        def pass_on(message: str | bytes) -> None:
            if self._holding and (self._waiting or str(message).startswith(self._begins_with)):
                self._waiting.append((route, message))
            else:
                route.send(message)

        route.connect_to_server().on_message(pass_on)

    def release(self) -> None:
        self._holding = False
        for route, message in self._waiting:
            route.send(message)
        self._waiting.clear()


def centre(page: Page, name: str) -> tuple[float, float]:
    box = page.get_by_role("button", name=name, include_hidden=True).bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


@pytest.mark.parametrize("workplace", [{"rate": "100", "daily_check": True}], indirect=True)
def test_a_press_counts_whenever_it_comes(workplace: Any, visit: Callable[..., Page]) -> None:
    unconnected = visit()
    held = Held(unconnected, "0")
    workplace.log_in(unconnected, "operator")
    button = unconnected.locator("button", has_text=BEGIN)
    expect(button).to_be_visible()
    unconnected.mouse.click(*centre(unconnected, BEGIN))
    button.press("Enter")
    held.release()
    # what was pressed before the page was connected is not carried out later, at a moment nobody chose
    expect(unconnected.locator("li.unmet")).to_contain_text("no check of the balance")
    assert workplace.status().check is None
    assert unconnected.get_by_text(FIRST_STEP).count() == 0

    page = visit()
    held = Held(page, "42")
    workplace.log_in(page, "operator")
    begin = page.get_by_role("button", name=BEGIN)
    expect(page.locator(".dw-col[inert]")).to_have_count(0)
    page.mouse.move(*centre(page, BEGIN))
    page.mouse.down()
    held.release()  # gates, readings and the method of cleaning come in while the button is down
    expect(page.get_by_label("Cell cleaned, by")).not_to_have_value("")
    page.mouse.up()
    expect(page.get_by_text(FIRST_STEP)).to_be_visible(timeout=5_000)

    page.get_by_role("button", name="Give the check up").click()
    expect(page.get_by_text("The daily check was not passed")).to_be_visible()
    expect(begin).to_be_enabled()
