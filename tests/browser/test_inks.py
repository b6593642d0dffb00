"""The page of inks and cartridges in a real browser: what is received is seen, what is wrong is named, two people sign a preparation."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.stack]
Visit = Callable[..., Page]
TODAY = datetime.now(UTC).date()
LATER = (TODAY + timedelta(days=200)).isoformat()
CERTIFICATE = {
    "Lot": "MIN-2", "Ink": "minoxidil-20", "Active": "minoxidil", "Strength stated as": "base", "Expires": LATER, "Assay, mg/g": "20.04",
    "± assay (k = 2), mg/g": "0.1", "Density, g/mL": "1.100", "± density (k = 2), g/mL": "0.004",
    "Certificate of analysis": "COA-MIN-2",
}  # fmt: skip
CARTRIDGE = {"Serial number": "MIN-2-A", "Filled, µL": "2500", "In use until": (TODAY + timedelta(days=6)).isoformat()}


def form(page: Page, button: str) -> Locator:
    return page.locator("form", has=page.get_by_role("button", name=button, exact=True))


def fill(place: Locator, values: dict[str, str]) -> None:
    for label, value in values.items():
        place.get_by_label(label, exact=True).fill(value)


@pytest.mark.parametrize("workplace", [{}], indirect=True)
def test_a_lot_and_a_cartridge_are_received_and_seen(workplace: Any, visit: Visit, watch: Any, tmp_path: Path) -> None:
    page = visit("operator", watch=watch)
    workplace.go_to(page, "Inks")
    lot = form(page, "Receive the lot")
    fill(lot, CERTIFICATE | {"Assay, mg/g": "20,04", "Expires": "30.6.2027", "Certificate of analysis": ""})
    lot.get_by_role("button", name="Receive the lot").click()
    refusal = page.locator(".q-notification")
    expect(refusal).to_contain_text("Assay, mg/g: '20,04' has a comma, which may mean thousands or a decimal")
    expect(refusal).to_contain_text("Expires: '30.6.2027' is not a date; write it as 2027-06-30")
    expect(refusal).to_contain_text("Certificate of analysis: nothing is entered")
    expect(refusal).to_contain_text("Correct these fields")
    page.screenshot(path=tmp_path / "inks-refused.png")
    expect(lot.get_by_label("Density, g/mL", exact=True)).to_have_value("1.100")
    fill(lot, CERTIFICATE)
    lot.get_by_role("button", name="Receive the lot").click()
    row = page.get_by_role("row", name=re.compile(r"^MIN-2 "))
    expect(row).to_contain_text("20.04 mg/g ± 0.1 mg/g")
    expect(row).to_contain_text("certificate: COA-MIN-2")

    received = form(page, "Receive the cartridge")
    received.get_by_label("Ink lot").click()
    page.get_by_role("option", name="MIN-2", exact=True).click()
    fill(received, CARTRIDGE | {"Filled, µL": "-3"})
    received.get_by_role("button", name="Receive the cartridge").click()
    expect(page.get_by_text("must be above zero, found -3")).to_be_visible()
    fill(received, CARTRIDGE)
    received.get_by_role("button", name="Receive the cartridge").click()
    expect(page.get_by_role("heading", name="Cartridge MIN-2-A")).to_be_visible()
    row = page.get_by_role("row", name=re.compile(r"^MIN-2-A "))
    expect(row).to_contain_text("2750.0 mg")
    expect(row).to_contain_text("7 days left, today included")
    expect(row).to_contain_text("✓ in use")
    weighed = form(page, "Enter the weighing")
    for gross in ("14210.5", "11000"):
        fill(weighed, {"Gross mass, mg": gross, "± mass (k = 2), mg": "2", "Balance": "PB-2"})
        weighed.get_by_role("button", name="Enter the weighing").click()
        expect(page.locator(".dw-history")).to_contain_text(f"gross mass, mg {gross}")
    # 3.2 g are gone and no run took them
    expect(page.get_by_role("row", name=re.compile(r"^MIN-2-A "))).to_contain_text("✕ held")
    expect(page.locator(".dw-problem")).to_contain_text("▲ held")
    expect(page.locator(".dw-history li")).to_have_count(3)
    expect(page.locator(".dw-col[inert]")).to_have_count(0)
    page.screenshot(path=tmp_path / "inks-held.png")
    watch.assert_quiet()


@pytest.mark.parametrize("workplace", [{}], indirect=True)
def test_an_ink_prepared_on_site_is_shown_and_signed_by_a_second_person(workplace: Any, visit: Visit, watch: Any, tmp_path: Path) -> None:
    page = visit("operator", watch=watch)
    workplace.go_to(page, "Inks")
    made = form(page, "Sign: checked")
    top = {"Ink": "minoxidil-20", "Active": "minoxidil", "Strength stated as": "base", "Density, g/mL": "1.10"}
    fill(made, top | {"± density (k = 2), g/mL": "0.005", "Procedure and version": "MIN-GEL version 1"})
    made.get_by_label("Lot", exact=True).first.fill("MIN-SITE-1")
    made.get_by_label("Expires", exact=True).first.fill(LATER)
    rows = made.locator("[data-component]")
    weighing = {"Expires": LATER, "± mass (k = 2), mg": "2", "Balance": "PB-2"}
    active = {
        "Component": "minoxidil",
        "Lot": "M-7",
        "Mass, mg": "2000",
        "Content of active, %": "99.5",
        "± content (k = 2), %": "0.4",
    }
    fill(rows.nth(0), weighing | active)
    fill(rows.nth(1), weighing | {"Component": "gel base", "Lot": "G-3", "Mass, mg": "98000"})
    fill(made, {"Mixing": "planetary mixer", "Mixing time, minutes": "10", "Second person": "second"})
    made.get_by_label("Their password").fill(workplace.password("second"))
    page.get_by_role("button", name="Sign: checked").click()
    expect(page.get_by_text("What is signed was not shown as it is now.")).to_be_visible()
    page.get_by_role("button", name="Show the strength").click()
    # 2000 mg of 99.5 % in 100 g
    expect(page.locator(".dw-strength")).to_contain_text("Theoretical strength: 19.90 mg/g ± 0.08")
    page.screenshot(path=tmp_path / "inks-prepared.png")
    rows.nth(1).get_by_label("Mass, mg").fill("97000")
    made.get_by_label("Their password").fill(workplace.password("second"))
    page.get_by_role("button", name="Sign: checked").click()
    expect(page.get_by_text("What is signed was not shown as it is now.").first).to_be_visible()
    rows.nth(1).get_by_label("Mass, mg").fill("98000")
    page.get_by_role("button", name="Show the strength").click()
    expect(page.locator(".dw-strength")).to_contain_text("second signs that")
    made.get_by_label("Their password").fill(workplace.password("second"))
    page.get_by_role("button", name="Sign: checked").click()
    row = page.get_by_role("row", name=re.compile(r"^MIN-SITE-1 "))
    expect(row).to_contain_text("theoretical strength, prepared on site")
    watch.assert_quiet()

    reader = visit("qp", watch=watch)
    reader.goto(f"{workplace.base}/inks?cartridge=nobody")
    expect(reader.get_by_text("There is no cartridge 'nobody'.")).to_be_visible()
    expect(reader.get_by_role("button", name="Receive the lot")).to_have_count(0)
