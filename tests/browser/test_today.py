"""The page of the day in a real browser: the right person is called at every stage, a silent cell is unknown, a sleeper wakes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect
from rich.console import Console

from api.bench_hand import find_hand
from api.demo_care import care_for_cell

pytestmark = [pytest.mark.browser, pytest.mark.stack]
Visit = Callable[..., Page]


def card(page: Page, title: str) -> Locator:
    return page.locator("section.dw-card", has=page.get_by_role("heading", name=title, exact=True))


def mine(page: Page, subject: str) -> Locator:
    """A line of the queue that calls the person of this page."""
    return card(page, "What needs you").locator(f'.dw-line[data-subject="{subject}"]')


def others(page: Page, subject: str) -> Locator:
    return card(page, "Queue").locator(f'.dw-line[data-subject="{subject}"]')


@pytest.mark.parametrize("workplace", [{"daily_check": True}], indirect=True)
def test_a_whole_day_calls_the_right_person_and_no_other(workplace: Any, visit: Visit, watch: Any) -> None:
    pages = {name: visit(name, here="/today", watch=watch) for name in ("pharmacist", "second", "operator", "qp")}

    def called(subject: str, act: str, *names: str) -> None:
        for name, page in pages.items():
            place, other = (mine, others) if name in names else (others, mine)
            expect(place(page, subject)).to_contain_text(act)
            expect(place(page, subject)).to_have_count(1)
            expect(other(page, subject)).to_have_count(0)
        for name in names:
            expect(mine(pages[name], subject)).to_contain_text("You may do it.")

    operator = pages["operator"]
    expect(card(operator, "Queue")).to_contain_text("No order and no batch is open.")
    expect(card(operator, "Alarms")).to_contain_text("✓ No alarm on any cell.")
    cells = card(operator, "Cells")
    expect(cells.locator(".dw-cell-state")).to_have_text("Idle")
    expect(cells).to_contain_text("✕ 1 gate would stop a start")
    check = card(operator, "What needs you").locator(".dw-need")
    expect(check).to_contain_text("cell-1, before the next print: daily balance check")
    expect(card(pages["qp"], "What needs you")).to_contain_text("✓ Nothing waits for you.")
    # the element that a person is about to press stays the one it is while the page is kept right
    operator.evaluate("document.querySelector('.dw-needs .dw-way').dataset.kept = 'yes'")
    with workplace.desk("operator") as desk:
        care_for_cell(desk, "cell-1", find_hand(workplace.stack.folder), Console(quiet=True))
    expect(check).to_have_count(0)
    expect(cells).to_contain_text("✓ Nothing of the cell would stop a start.")

    number = workplace.order(2)
    called(number, "Prepare a batch on a cell that is clear.", "pharmacist", "second", "operator")
    with workplace.desk("operator") as desk:
        mistaken = str(desk.post("/batches", {"order": number, "cell": "cell-1"})["batch"])
        expect(mine(operator, number)).to_have_count(0)
        called(mistaken, "Prepare the run", "operator")
        other = visit("second", here=f"/batches?batch={mistaken}", watch=watch)
        other.get_by_role("button", name="Cancel this batch").click()
        dialog = other.get_by_role("dialog")
        dialog.get_by_label("Why is it cancelled?").fill("the ward asked to wait")
        dialog.get_by_role("button", name="Cancel this batch").click()
        expect(card(other, f"Batch {mistaken}").locator("b")).to_have_text("cancelled")
        expect(other.get_by_role("button", name="Cancel this batch")).to_have_count(0)
        called(number, "Prepare a batch on a cell that is clear.", "pharmacist", "second", "operator")
        batch = str(desk.post("/batches", {"order": number, "cell": "cell-1"})["batch"])
        called(batch, "Prepare the run", "operator")
        desk.post(f"/batches/{batch}/run")
        workplace.until(lambda status: status.may("start").allowed)
        called(batch, "Start the run when the cell is clear.", "operator")
        desk.post(f"/batches/{batch}/start")
    workplace.until(lambda status: status.judged == 1)
    called(batch, "1 of 2 units judged")
    expect(cells.locator(".dw-cell-state")).to_have_text("Printing")
    workplace.stack.let_go()
    called(batch, "Close the run", "pharmacist", "second", "operator", "qp")
    with workplace.desk("qp") as desk:
        desk.post(f"/batches/{batch}/close")
    # the operator ran it, the pharmacist entered its order
    called(batch, "Review the record and sign the disposition.", "second", "qp")
    mine(pages["qp"], batch).locator("xpath=ancestor::div[contains(@class,'dw-row')][1]").get_by_role("link", name="Open").click()
    pages["qp"].wait_for_url(f"{workplace.base}/?cell=cell-1")
    pages["qp"].goto(f"{workplace.base}/today")
    with workplace.desk("qp") as desk:
        shown = desk.get(f"/batches/{batch}/to-sign")["shown_sha256"]
        signature = {**desk.signature, "digest": shown}
        desk.post(f"/batches/{batch}/disposition", {"disposition": "released", "signature": signature})
    called(batch, "Pack 2 units.", "pharmacist", "second", "operator")
    with workplace.desk("operator") as desk:
        desk.post(f"/batches/{batch}/packs", {})
    called(batch, "Print and scan the label of 1 pack.", "pharmacist", "second", "operator")
    # the cell goes on to the next batch; what is left to do with this one is still done
    number = workplace.order(1, prescription="RX-78")
    with workplace.desk("operator") as desk:
        other = str(desk.post("/batches", {"order": number, "cell": "cell-1"})["batch"])
        desk.post(f"/batches/{other}/run")
        workplace.until(lambda status: status.may("start").allowed)
        desk.post(f"/batches/{other}/start")
    mine(operator, batch).locator("xpath=ancestor::div[contains(@class,'dw-row')][1]").get_by_role("link", name="Open").click()
    operator.wait_for_url(f"{workplace.base}/batches?batch={batch}")
    expect(operator.get_by_role("button", name="Print (PDF)")).to_be_visible()
    operator.goto(f"{workplace.base}/?cell=cell-1")
    expect(operator.locator(".dw-state h1")).to_have_text("Preparing")
    expect(operator.get_by_role("button", name="Print (PDF)")).to_have_count(0)
    watch.assert_quiet()


@pytest.mark.parametrize("workplace", [{"fault": "clog:2", "others": ("minoxidil",)}], indirect=True)
def test_a_sleeper_wakes_to_the_alarm_and_a_silent_cell_is_unknown(workplace: Any, visit: Visit, watch: Any) -> None:
    page = visit("operator", here="/today", watch=watch)
    awake = visit("pharmacist", here="/today", watch=watch)
    batch = workplace.begin(days=4)
    expect(others(page, batch)).to_have_count(1)
    asleep = page.context.new_cdp_session(page)
    asleep.send("Page.setWebLifecycleState", {"state": "frozen"})
    workplace.stack.let_go()
    expect(card(awake, "Alarms")).to_contain_text("critical · unit 2")
    workplace.until(lambda status: status.ended)
    expect(card(awake, "Cells").locator('[data-cell="cell-1"] .dw-cell-state')).to_have_text("Awaiting review")
    asleep.send("Page.setWebLifecycleState", {"state": "active"})
    alarm = card(page, "Alarms")
    expect(alarm).to_contain_text("critical · unit 2", timeout=3000)
    expect(alarm).to_contain_text("Do now")
    expect(card(page, "Cells").locator('[data-cell="cell-1"] .dw-cell-state')).to_have_text("Awaiting review", timeout=3000)
    need = card(page, "What needs you").locator('[data-matter="alarm to be acknowledged"]')
    expect(need).to_contain_text("cell-1: 1 alarm waits for you.")

    workplace.stack.kill_cell()
    first = card(page, "Cells").locator('[data-cell="cell-1"]')
    expect(first.locator(".dw-cell-state")).to_have_text("Unknown")
    expect(first).to_contain_text("○ Readiness is not known.")
    expect(card(page, "Alarms")).to_contain_text("Not known of cell-1: no answer.")
    expect(card(page, "Alarms")).not_to_contain_text("critical")
    expect(card(page, "What needs you")).to_contain_text("cell-1 does not answer.")
    other = card(page, "Cells").locator('[data-cell="cell-2"]')
    expect(other.locator(".dw-cell-state")).to_have_text("Idle")
