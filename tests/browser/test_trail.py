"""The trail page in a real browser: a question and its pages, what changed in a record, and a selection taken out with its reason."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.stack]
Visit = Callable[..., Page]


@pytest.mark.parametrize("workplace", [{}], indirect=True)
def test_a_reviewer_finds_an_order_sees_what_changed_and_takes_it_out(workplace: Any, visit: Visit, watch: Any, tmp_path: Path) -> None:
    order = workplace.order(5)
    page = visit("qp", watch=watch)
    workplace.go_to(page, "Trail")
    expect(page.get_by_role("heading", name="Entries", exact=True)).to_be_visible()
    expect(page.locator(".dw-trail > tbody > tr")).to_have_count(25)
    newest = int(page.locator(".dw-trail > tbody > tr").first.locator("td").first.inner_text())
    page.screenshot(path=tmp_path / "trail.png", full_page=True)
    page.get_by_role("link", name="Older entries").click()
    page.wait_for_url("**cursor=**")
    expect(page.locator(".dw-trail > tbody > tr").first.locator("td").first).to_have_text(str(newest - 25))

    page.goto(f"{workplace.base}/trail")
    page.get_by_label("Show", exact=True).select_option("access")
    page.get_by_label("Person", exact=True).fill("pharmacist")
    page.get_by_role("button", name="Search").click()
    page.wait_for_url("**preset=access**")
    expect(page.locator(".dw-trail > tbody > tr").first).to_contain_text("person.session.opened")
    expect(page.get_by_label("Person", exact=True)).to_have_value("pharmacist")

    page.get_by_label("From (day, UTC)", exact=True).fill("2030-01-02")
    page.get_by_label("To (day, UTC)", exact=True).fill("2030-01-01")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("alert")).to_contain_text("since is not before until")
    page.get_by_role("link", name="Clear").click()
    page.get_by_label("Object (type, or type/id)", exact=True).fill(f"order/{order}")
    page.get_by_role("button", name="Search").click()
    expect(page.locator(".dw-trail > tbody > tr")).to_have_count(2)
    details = page.locator("details").last
    details.locator("summary").click()
    expect(details).to_contain_text("order.prescription.days")
    page.get_by_role("link", name=f"order {order}").first.click()
    expect(page.get_by_role("heading", name=f"What changed in order {order}")).to_be_visible()
    expect(page.locator(".dw-signatures li")).to_have_count(2)
    expect(page.locator(".dw-signatures")).to_contain_text("✓ signed")
    row = page.get_by_role("row").filter(has=page.get_by_role("cell", name="status", exact=True)).first
    expect(row).to_contain_text("entered")
    expect(row).to_contain_text("confirmed")
    page.screenshot(path=tmp_path / "history.png", full_page=True)

    page.get_by_label("Reason for the export").fill("inspection 2026/7")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export as CSV").click()
    taken = Path(download.value.path()).read_text(encoding="utf-8")
    assert {row["object id"] for row in csv.DictReader(io.StringIO(taken))} == {order}
    page.goto(f"{workplace.base}/trail?kind=record.selection.exported")
    expect(page.locator(".dw-trail > tbody > tr")).to_contain_text("inspection 2026/7")
    watch.assert_quiet()


@pytest.mark.parametrize("workplace", [{}], indirect=True)
def test_the_page_answers_without_script_and_looks_the_same_in_the_dark(workplace: Any, visit: Visit, tmp_path: Path) -> None:
    page = visit("quality", color_scheme="dark")
    page.goto(f"{workplace.base}/trail?trail=cell-1&order=oldest")
    expect(page.locator(".dw-trail > tbody > tr").first).to_contain_text("site.store.created")
    widths = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert widths[0] <= widths[1], "the page is wider than the window"
    page.screenshot(path=tmp_path / "trail-dark.png", full_page=True)
    operator = visit("operator")
    operator.goto(f"{workplace.base}/trail")
    expect(operator.get_by_role("heading", name="Entries", exact=True)).to_be_visible()
    expect(operator.get_by_role("button", name="Export as CSV")).to_have_count(0)
