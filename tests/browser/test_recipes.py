"""The page of recipes in a real browser: a version goes through its life, each step signed by the person whose it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from recipes.library import recipe_bytes

pytestmark = [pytest.mark.browser, pytest.mark.stack]
Visit = Callable[..., Page]
VERSION = "minoxidil@2"


def sign(page: Page, place: Any, who: str, step: str, **fields: str) -> None:
    form = page.locator("form", has=page.get_by_role("button", name=f"Sign: {step}"))
    for label, value in fields.items():
        form.get_by_label(label).fill(value)
    form.get_by_label("Your password").fill(place.password(who))
    form.get_by_role("button", name=f"Sign: {step}").click()


@pytest.mark.parametrize("workplace", [{}], indirect=True)
def test_a_version_goes_through_its_life(workplace: Any, visit: Visit, watch: Any) -> None:
    toml = recipe_bytes("minoxidil").decode().replace("version = 1", "version = 2", 1).replace("30 degC", "31 degC", 1)
    with workplace.desk("engineer") as desk:
        desk.post("/recipe-versions", {"recipe_toml": toml, "reason": "flows more evenly <b>at</b> 31 degC"})

    engineer = visit("engineer", watch=watch)
    engineer.get_by_role("link", name="Recipes").click()
    engineer.get_by_role("link", name=VERSION).click()
    expect(engineer.locator(".dw-difference tbody tr")).to_have_count(1)
    expect(engineer.locator(".dw-difference")).to_contain_text("30 degC")
    expect(engineer.locator(".dw-difference")).to_contain_text("31 degC")
    expect(engineer.get_by_text("<b>at</b> 31 degC")).to_be_visible()
    sign(engineer, workplace, "engineer", "submit")
    expect(engineer.get_by_role("heading", name=f"{VERSION}: in review")).to_be_visible()
    expect(engineer.get_by_text("holds none of the roles for 'approve'")).to_be_visible()
    expect(engineer.get_by_role("button", name="Sign: approve")).to_have_count(0)

    quality = visit("quality", watch=watch)
    quality.goto(f"{workplace.base}/recipes?version={VERSION}")
    sign(quality, workplace, "quality", "approve")
    expect(quality.get_by_role("heading", name=f"{VERSION}: approved")).to_be_visible()
    sign(quality, workplace, "quality", "make effective")
    expect(quality.get_by_text("A reason is needed")).to_be_visible()
    sign(quality, workplace, "quality", "make effective", Reason="validated")
    expect(quality.get_by_role("heading", name=f"{VERSION}: effective")).to_be_visible()
    expect(quality.locator(".dw-table").last).to_contain_text("superseded")
    cell = workplace.stack.ask()
    kinds = [line for line in cell.trail(0) if '"recipe.version.effective"' in line]
    assert len(kinds) == 1 and VERSION in kinds[0]
    watch.assert_quiet()
