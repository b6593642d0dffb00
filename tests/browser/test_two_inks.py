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
    expect(pharmacist.get_by_text("Order O00001")).to_be_visible()

    second = visit("second", watch=watch)
    confirmation = second.locator("form", has=second.get_by_role("button", name="Sign the confirmation"))
    confirmation.get_by_label("Weight, kg").fill("12.4")
    confirmation.get_by_label("Prescribed amount", exact=True).fill("12.5")
    other = confirmation.get_by_label("Prescribed amount of the second active")
    other.fill("6.5")
    confirmation.get_by_label("Your password").fill(workplace.password("second"))
    second.get_by_role("button", name="Sign the confirmation").click()
    expect(second.get_by_text("The two entries differ in: second")).to_be_visible()
    other.fill("6.25")
    confirmation.get_by_label("Your password").fill(workplace.password("second"))
    second.get_by_role("button", name="Sign the confirmation").click()
    expect(second.get_by_text("Order O00001 is confirmed")).to_be_visible()

    operator = visit("operator", watch=watch)
    for head, serial in (("1", "HCT-DEMO-01-A"), ("2", "SPI-DEMO-01-A")):
        operator.get_by_label(f"Scan the cartridge in head {head}").fill(serial)
    operator.get_by_role("button", name="The cell is clear: prepare the batch").click()
    again = operator.get_by_role("button", name=re.compile("Prepare batch B00001 again"))
    expect(again).to_be_visible()
    expect(operator.get_by_text("head 1 holds HCT-DEMO-01-A").first).to_be_visible()
    for head, serial in (("1", "SPI-DEMO-01-A"), ("2", "HCT-DEMO-01-A")):
        operator.get_by_label(f"Scan the cartridge in head {head}").fill(serial)
    again.click()
    start = operator.get_by_role("button", name="Start")
    expect(start).to_be_enabled()
    solid = operator.get_by_alt_text("Unit of 12.5 mg part 1, with sizes")
    expect(solid).to_be_visible()
    operator.get_by_text("Layers of 6.25 mg part 2").click()
    layers = operator.get_by_alt_text("Tool path of chosen layers, 6.25 mg part 2")
    expect(layers).to_be_visible()
    assert all(image.evaluate("image => image.decode().then(() => image.naturalWidth > 100)") for image in (solid, layers))
    workplace.stack.hold()
    start.click()
    workplace.until(lambda status: status.judged == 1)
    unit = operator.locator('.dw-unit[data-unit="1"]')
    parts = r"spironolactone 12\.5 mg: \d+\.\d\d mg \(.*hydrochlorothiazide 6\.25 mg: \d+\.\d\d mg"
    expect(unit).to_contain_text(re.compile(parts, re.DOTALL))
    workplace.stack.let_go()
    expect(operator.locator(STATE)).to_have_text("Awaiting review")
    expect(operator.locator(".dw-unit.dw-is-accepted")).to_have_count(3)
    watch.assert_quiet()
