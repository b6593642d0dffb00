"""Two inks in one unit on the page: both actives are entered twice, both cartridges are scanned, both parts are shown."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.stack, pytest.mark.deep]
Visit = Callable[..., Page]

STATE = ".dw-state h1"


@pytest.mark.parametrize("workplace", [{"case": "polypill"}], indirect=True)
def test_two_inks_from_prescription_to_the_first_unit(workplace: Any, visit: Visit, watch: Any) -> None:
    pharmacist = visit("pharmacist", watch=watch)
    pharmacist.goto(f"{workplace.base}/new")
    expect(pharmacist.locator(".dw-col[inert]")).to_have_count(0)
    for label, value in {
        "Patient (pseudonym)": "demonstration-005",
        "Weight, kg": "12.4",
        "Prescribed amount": "12.5",
        "Prescribed amount of the second active": "6.25",
        "Times of day": "morning 1",
        "Days": "3",
    }.items():
        pharmacist.get_by_label(label, exact=True).fill(value)
    pharmacist.get_by_role("button", name="Show the dose").click()
    expect(pharmacist.locator(".dw-arith")).to_contain_text("hydrochlorothiazide: Fill mass")
    pharmacist.get_by_label("Your password", exact=True).fill(workplace.password("pharmacist"))
    pharmacist.get_by_role("button", name="Sign the entry").click()
    expect(pharmacist.locator("#step-3")).to_contain_text("another person confirms it")

    second = visit("second", watch=watch)
    second.goto(f"{workplace.base}/new?order=O00001")
    confirmation = second.locator("form", has=second.get_by_role("button", name="Sign the confirmation"))
    for label, value in (("Patient (pseudonym)", "demonstration-005"), ("Weight, kg", "12.4"), ("Times of day", "morning")):
        confirmation.get_by_label(label, exact=True).fill(value)
    confirmation.get_by_label("Prescribed amount", exact=True).fill("12.5")
    for label, option in (("Unit", "mg"), ("Per", "dose")):
        confirmation.get_by_label(label, exact=True).click()
        second.get_by_role("option", name=option, exact=True).click()
    confirmation.get_by_label("Days", exact=True).fill("3")
    other = confirmation.get_by_label("Prescribed amount of the second active")
    other.fill("6.5")
    confirmation.get_by_label("Your password").fill(workplace.password("second"))
    second.get_by_role("button", name="Sign the confirmation").click()
    expect(second.get_by_text("The two entries differ in: second")).to_be_visible()
    other.fill("6.25")
    confirmation.get_by_label("Your password").fill(workplace.password("second"))
    second.get_by_role("button", name="Sign the confirmation").click()
    expect(second.locator("#step-4")).to_have_class(re.compile("dw-open"))

    operator = visit("operator", watch=watch)
    operator.goto(f"{workplace.base}/new?order=O00001")
    scans = [operator.locator("form.dw-scan").nth(number) for number in (0, 1)]
    for place, serial in zip(scans, ("HCT-DEMO-01-A", "SPI-DEMO-01-A"), strict=True):
        place.get_by_role("textbox").fill(serial)
        place.get_by_role("button", name="Check").click()
    expect(scans[0].locator(".dw-problem")).to_contain_text("HCT-DEMO-01-A belongs in head 2, not in head 1. Put SPI-DEMO-01-A into head 1")
    expect(scans[1].locator(".dw-problem")).to_contain_text("SPI-DEMO-01-A belongs in head 1, not in head 2")
    for place, serial in zip(scans, ("SPI-DEMO-01-A", "HCT-DEMO-01-A"), strict=True):
        place.get_by_role("textbox").fill(serial)
        place.get_by_role("button", name="Check").click()
    operator.get_by_role("button", name="go through the gates").click()
    start = operator.get_by_role("button", name="Start batch B00001")
    expect(start).to_be_enabled()
    operator.get_by_text("Drawings on record").click()
    solid = operator.get_by_alt_text("Unit of 12.5 mg part 1, with sizes")
    expect(solid).to_be_visible()
    operator.get_by_text("Layers of 6.25 mg part 2").click()
    layers = operator.get_by_alt_text("Tool path of chosen layers, 6.25 mg part 2")
    expect(layers).to_be_visible()
    assert all(image.evaluate("image => image.decode().then(() => image.naturalWidth > 100)") for image in (solid, layers))
    workplace.stack.hold()
    start.click()
    operator.get_by_role("button", name="Go to cell-1").click()
    workplace.until(lambda status: status.judged == 1)
    unit = operator.locator('.dw-unit[data-unit="1"]')
    parts = r"spironolactone 12\.5 mg: \d+\.\d\d mg \(.*hydrochlorothiazide 6\.25 mg: \d+\.\d\d mg"
    expect(unit).to_contain_text(re.compile(parts, re.DOTALL))
    workplace.stack.let_go()
    expect(operator.locator(STATE)).to_have_text("Awaiting review")
    expect(operator.locator(".dw-unit.dw-is-accepted")).to_have_count(3)
    watch.assert_quiet()
