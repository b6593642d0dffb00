"""Every page in a real browser under axe: WCAG 2.2 and its authors' good practice, in light and in dark, and nothing beyond the window."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from api.workstation.places import PLACES

pytestmark = [pytest.mark.browser, pytest.mark.stack]
Visit = Callable[..., Page]
GRAVE = {"serious", "critical"}
WHOLE = {"resultTypes": ["violations"]}
COLOURS = WHOLE | {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
"""What alone of axe's rules depends on the scheme of colours."""


def findings(page: Page, name: str) -> list[str]:
    """What is grave on the page as it stands, in light and then in dark; and whether it is wider than the window."""
    found = []
    for scheme, options in (("light", WHOLE), ("dark", COLOURS)):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
        answer = Axe().run(page, options=options).response
        assert answer["passes"], f"{name}: axe looked at nothing"
        found += [
            f"{name}, {scheme}: {rule['id']}: {node['html'][:160]}"
            for rule in answer["violations"]
            if rule["impact"] in GRAVE
            for node in rule["nodes"]
        ]
        if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            found.append(f"{name}, {scheme}: wider than the window")
    return found


def shown(place: Locator) -> None:
    expect(place).to_be_visible()


@pytest.mark.parametrize("workplace", [{"case": "cyclophosphamide", "rate": "100"}], indirect=True)
def test_no_page_has_a_grave_finding_in_light_or_dark(workplace: Any, visit: Visit) -> None:
    stranger = visit()
    stranger.goto(f"{workplace.base}/login")
    found = findings(stranger, "login")
    workplace.begin(days=2)
    workplace.until(lambda status: status.judged == 1)
    quality = visit("quality")
    shown(quality.locator(".dw-unit.dw-is-accepted").first)
    quality.locator(".dw-menu summary").click()
    found += findings(quality, "a batch that prints, and the open list of pages")
    for place in PLACES:
        quality.goto(f"{workplace.base}{place.path}")
        shown(quality.locator("h1.dw-page"))
        shown(quality.locator(".dw-card").first)
        shown(quality.get_by_role("button", name="Stop the printer now"))
        expect(quality.get_by_text("Demonstration, not for patients")).to_be_visible()
        expect(quality.locator(".dw-col[inert]")).to_have_count(0)
        found += findings(quality, place.name)
    workplace.stack.let_go()
    workplace.until(lambda status: status.ended)
    qp = visit("qp")
    qp.get_by_role("button", name="Close the run and review it").click()
    qp.get_by_role("button", name="Show the review").click()
    shown(qp.locator(".dw-verdict-big"))
    expect(qp.locator(".q-notification")).to_have_count(0)  # half faded, its words have no contrast
    found += findings(qp, "review")
    assert found == []
