"""The page of recipes in a real browser: a version goes through its life, each step signed by the person whose it is."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from api import cli
from api.workstation.places import PLACES
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


def assert_apart(page: Page) -> None:
    """The ways in the head of the page stand beside each other and beside STOP, none over another."""
    summary = page.locator(".dw-menu summary")
    places = (summary, page.get_by_role("button", name="Log out"), page.get_by_role("button", name="Stop the printer now"))
    boxes = [box for place in (page.locator(".dw-head > *").last, *places) if (box := place.bounding_box())]
    assert len(boxes) == 4
    for left, right in pairwise(boxes):
        assert left["x"] + left["width"] <= right["x"]
    assert min(box["height"] for box in boxes[1:]) >= 44  # WCAG 2.2, target size (enhanced)


def assert_opens_beside_stop(page: Page) -> None:
    """The list of pages opens by key, stands clear of STOP, and goes with Escape, which leaves the focus where it was."""
    summary, links = page.locator(".dw-menu summary"), page.locator(".dw-menu a")
    expect(links.first).not_to_be_visible()
    summary.focus()
    page.keyboard.press("Enter")
    expect(links).to_have_text([place.name for place in PLACES])
    listed, stop = page.locator(".dw-menu > div").bounding_box(), page.locator(".dw-stop").bounding_box()
    assert listed and stop and (listed["x"] + listed["width"] <= stop["x"] or listed["y"] >= stop["y"] + stop["height"])
    page.keyboard.press("Tab")
    expect(links.first).to_be_focused()
    page.keyboard.press("Escape")
    expect(links.first).not_to_be_visible()
    expect(summary).to_be_focused()
    summary.click()
    page.locator(".dw-state").click()
    expect(links.first).not_to_be_visible()


@pytest.mark.parametrize("workplace", [{}], indirect=True)
def test_a_version_goes_through_its_life(workplace: Any, visit: Visit, watch: Any) -> None:
    toml = recipe_bytes("minoxidil").decode().replace("version = 1", "version = 2", 1).replace("30 degC", "31 degC", 1)
    with workplace.desk("engineer") as desk:
        desk.post("/recipe-versions", {"recipe_toml": toml, "reason": "flows more evenly <b>at</b> 31 degC"})

    engineer = visit("engineer", watch=watch)
    assert_apart(engineer)
    assert_opens_beside_stop(engineer)
    workplace.go_to(engineer, "Recipes")
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


@pytest.mark.parametrize("workplace", [{}], indirect=True)
def test_the_command_does_what_the_page_does(workplace: Any, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    def recipe(who: str, *arguments: str, status: int = 0) -> str:
        monkeypatch.setenv("DOSEWRIGHT_PASSWORD", workplace.password(who))
        assert cli.run(["recipe", *arguments, "--url", workplace.base, "--user", who]) == status
        out, err = capsys.readouterr()
        return str(out + err)

    file, exported = tmp_path / "minoxidil-2.toml", tmp_path / "bundle.json"
    toml = recipe_bytes("minoxidil").replace(b"version = 1", b"version = 2", 1).replace(b"30 degC", b"31 degC", 1)
    file.write_bytes(toml)
    said = recipe("engineer", "submit", str(file), "--reason", "flows more evenly")
    assert "parameters.nozzle_temperature.set_point: 30 degC -> 31 degC" in said and "is in review" in said
    assert "none of the roles" in recipe("engineer", "approve", VERSION, status=2)
    assert "no signed bundle" in recipe("quality", "export", VERSION, "--out", str(exported), status=2)
    assert "is approved" in recipe("quality", "approve", VERSION)
    assert "not for patients" in recipe("engineer", "develop", VERSION)
    assert "0 to 1096 days" in recipe("quality", "effective", VERSION, "--reason", "x", "--review-by", "2099-01-01", status=2)
    said = recipe("quality", "effective", VERSION, "--reason", "validated")
    assert "in place of minoxidil@1" in said and "cell-1: told" in said
    assert "1 field changed from minoxidil@1" in recipe("qp", "diff", VERSION, "minoxidil@1")
    assert "superseded" in recipe("operator", "list") and "made effective" not in recipe("operator", "list")
    assert "not open: retire" in recipe("operator", "show", VERSION)
    recipe("qp", "export", VERSION, "--out", str(exported))
    assert "is stale: this site has minoxidil@2, effective" in recipe("quality", "import", str(exported), status=2)
    assert "cell-1: told" in recipe("quality", "retire", VERSION, "--reason", "ink is gone")
