"""Equipment, training and trends in a real browser: what is entered is seen, what is not on record is said, charts have tables."""

from __future__ import annotations

import importlib.util
import random
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from audit.checkpoint import SigningKey
from audit.clock import SystemClock
from audit.errors import StoreBusy
from audit.store import TrailStore

pytestmark = [pytest.mark.browser, pytest.mark.stack]
Visit = Callable[..., Page]
YESTERDAY = (datetime.now(UTC).date() - timedelta(days=1)).isoformat()
LATER = (datetime.now(UTC).date() + timedelta(days=200)).isoformat()

_SPEC = importlib.util.spec_from_file_location("history_for_trends", Path(__file__).parent.parent / "api" / "trend_history.py")
assert _SPEC is not None and _SPEC.loader is not None
HISTORY = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(HISTORY)


def card(page: Page, title: str) -> Locator:
    return page.locator("section.dw-card", has=page.get_by_role("heading", name=title, exact=True))


def choose(page: Page, place: Locator, label: str, option: str) -> None:
    place.get_by_label(label, exact=True).click()
    page.get_by_role("option", name=option).click()


def with_history(workplace: Any) -> None:
    """Write twenty-four batches into the two trails while neither process is there: steady, then a shift that stays, and one far off."""
    drawn = random.Random(7)
    workplace.kill_workstation()
    workplace.stack.kill_cell()
    folder: Path = workplace.stack.folder

    def store(name: str, key: Path) -> TrailStore:
        limit = time.monotonic() + 20.0
        while True:
            try:
                return TrailStore.open(folder / name, key=SigningKey.load(key), clock=SystemClock(), software="test")
            except StoreBusy:  # the process that was killed has not let go of its lock yet
                if time.monotonic() > limit:
                    raise
                time.sleep(0.02)

    workstation, cell = store("workstation.db", folder / "keys" / "workstation.key"), store("cell-1.db", folder / "cell-1" / "cell.key")
    lot = next(name for name, _ in workstation.objects("ink_lot"))
    HISTORY.write_lot(workstation, lot, "MIN-DEMO-02")
    for number in range(1, 25):
        shift = 1.2 if 17 <= number <= 22 else 4.0 if number == 12 else 0.0
        contents = [str(Decimal(f"{99.8 + shift + drawn.gauss(0, 0.4) + drawn.gauss(0, 0.9):.2f}")) for _ in range(8)]
        of_lot = lot if number <= 14 else "MIN-DEMO-02"
        HISTORY.write_batch(workstation, cell, batch=f"B{number:05d}", recipe="minoxidil@1", lot=of_lot, contents=contents)
    workstation.close()
    cell.close()
    workplace.stack.start_cell()
    workplace.restart_workstation()


@pytest.mark.parametrize("workplace", [{"daily_check": True}], indirect=True)
def test_equipment_training_and_trends(workplace: Any, visit: Visit, watch: Any) -> None:
    with_history(workplace)
    quality = visit("quality", here="/equipment", watch=watch)
    devices = card(quality, "cell-1: what stands in it")
    expect(devices.get_by_role("row", name=re.compile("^balance"))).to_contain_text("serial number B000000001")
    expect(devices.get_by_role("row", name=re.compile("^printer"))).to_contain_text("no serial number on record")
    expect(devices.get_by_role("row", name=re.compile("^printer"))).to_contain_text("✓ in date")
    qualification = card(quality, "Qualification")
    expect(qualification.get_by_text("○ not on record")).to_have_count(3)
    expect(card(quality, "History")).to_contain_text("Nothing is on record.")
    expect(card(quality, "Maintenance")).to_contain_text("No maintenance is on record.")
    expect(card(quality, "Before a print")).to_contain_text("✕ daily balance check")

    form = qualification.locator("form")
    form.get_by_label("Performed on, YYYY-MM-DD").fill("29.11.2026")
    form.get_by_role("button", name="Sign the report").click()
    refusal = quality.locator(".q-notification")
    expect(refusal).to_contain_text("stage: nothing is entered")
    expect(refusal).to_contain_text("performed on: '29.11.2026' cannot be read")
    choose(quality, form, "Stage", "OQ: Operational qualification")
    choose(quality, form, "Outcome", "passed with deviations")
    form.get_by_label("Report").fill("OQ-2026-7")
    form.get_by_label("Performed on, YYYY-MM-DD").fill(YESTERDAY)
    form.get_by_label("Your password").fill(workplace.password("quality"))
    form.get_by_role("button", name="Sign the report").click()
    expect(qualification.get_by_text("○ not on record")).to_have_count(2)
    expect(qualification).to_contain_text("▲ passed with deviations")

    operator = visit("operator", here="/equipment", watch=watch)
    expect(card(operator, "Qualification").locator("form")).to_have_count(0)
    upkeep = card(operator, "Maintenance").locator("form")
    choose(operator, upkeep, "Device", "cell-1-printer")
    choose(operator, upkeep, "After it", "to be qualified again")
    upkeep.get_by_label("Done on, YYYY-MM-DD").fill(YESTERDAY)
    upkeep.get_by_label("Done by").fill("service firm")
    upkeep.get_by_label("What was done, what was changed").fill("nozzle holder changed")
    upkeep.get_by_role("button", name="Record the maintenance").click()
    expect(card(operator, "Maintenance")).to_contain_text("nozzle holder changed")
    operator.get_by_role("link", name="Cleaning", exact=True).click()
    expect(card(operator, "History")).to_contain_text("demonstration procedure CL-1")
    operator.goto(f"{workplace.base}/equipment")
    operator.get_by_role("button", name="Begin the daily check").click()
    operator.wait_for_url(f"{workplace.base}/?cell=cell-1")
    operator.get_by_role("button", name="Give the check up").click()
    expect(operator.get_by_text("The daily check was not passed.")).to_be_visible()
    operator.goto(f"{workplace.base}/equipment")
    expect(card(operator, "History")).to_contain_text("✕ not passed")

    quality.goto(f"{workplace.base}/people")
    training = card(quality, "Training")
    expect(training.get_by_role("row", name=re.compile("^operator cell cell-1"))).to_contain_text("asked for before a print")
    training.get_by_text("Record training").click()
    form = training.locator("form")
    choose(quality, form, "Person trained", "Demonstration operator (operator)")
    choose(quality, form, "Trained in", "procedure")
    form.get_by_label("Recipe version, cell or procedure").fill("SOP-12")
    form.get_by_label("Trained on, YYYY-MM-DD").fill(YESTERDAY)
    form.get_by_label("Training valid until").fill(LATER)
    form.get_by_label("Trainer").fill("Demonstration pharmacist")
    form.get_by_label("Your password").fill(workplace.password("quality"))
    form.get_by_role("button", name="Sign the training").click()
    expect(training.get_by_role("row", name=re.compile("procedure SOP-12"))).to_contain_text("trained on")

    quality.goto(f"{workplace.base}/trends")
    series = card(quality, "minoxidil@1: minoxidil 18.5 mg")
    expect(series).to_contain_text("Batches of two units and more: 24; units weighed, the rejected ones too: 192.")
    expect(series.locator("svg")).to_have_count(5)
    expect(series.get_by_role("img", name=re.compile("Batch means .*B00012: Nelson 1"))).to_be_visible()
    expect(series.locator(".dw-broken").first).to_be_visible()
    summary = series.get_by_text("The 24 points as a table").first
    summary.focus()
    quality.keyboard.press("Enter")
    row = series.get_by_role("row", name=re.compile("^B00012")).first
    expect(row).to_contain_text("■ Nelson 1: a value beyond 3 standard deviations")
    quality.keyboard.press("Enter")
    with quality.expect_download() as download:
        quality.get_by_role("link", name="All points as CSV").click()
    assert len(Path(download.value.path()).read_text().splitlines()) == 1 + 5 * 24
    quality.get_by_label("Ink lot").select_option("MIN-DEMO-02")
    quality.get_by_role("button", name="Show").click()
    expect(series).to_contain_text("Batches of two units and more: 10;")
    expect(series).to_contain_text("Too few for a statement: below 20 batches")
    quality.goto(f"{workplace.base}/trends?low=115&high=85")
    expect(quality.get_by_role("alert").first).to_contain_text("The lower limit is not below the upper one.")
    watch.assert_quiet()
