"""A new batch on its page, in a real browser: typed, from FHIR and scanned; two people, two browsers; keys alone; reload in the middle."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from api.cases import Changes, load_case
from recipes.library import load_demonstration

pytestmark = [pytest.mark.browser, pytest.mark.stack]
Visit = Callable[..., Page]
CASE = "cyclophosphamide"
CARTRIDGE = "CYC-DEMO-01-A"
MINE = "dw-open"


def today() -> str:
    return datetime.now(UTC).date().isoformat()


def step(page: Page, number: int) -> Locator:
    return page.locator(f"#step-{number}")


def to_new(page: Page, workplace: Any, path: str = "/new") -> None:
    page.goto(f"{workplace.base}{path}")
    expect(page.locator(".dw-col[inert]")).to_have_count(0)


def fill(place: Locator, **values: str) -> None:
    for label, value in values.items():
        place.get_by_label(label, exact=True).fill(value)


def prescription() -> dict[str, str]:
    return {
        "Patient (pseudonym)": "demonstration-001",
        "Prescription number": "RX-77",
        "Prescriber": "demonstration prescriber",
        "Height, cm": "110",
        "Weight, kg": "18",
        "Measured on, YYYY-MM-DD": today(),
        "Age, years": "5",
        "Prescribed amount": "25",
        "Times of day": "once daily",
        "Days": "2",
    }


def scan(page: Page, text: str, apart_ms: float = 8.0) -> None:
    """Type as a scanner does, wherever the focus is: each key with its moment, as the operating system states it, and Enter at the end.

    The separator is typed as scanners do it, Ctrl and ]. The moments are stated, so that a busy machine makes no slow scanner.
    """
    session = page.context.new_cdp_session(page)
    moment = time.time()
    for character in (*text, "\r"):
        moment += apart_ms / 1000
        key = {"\r": "Enter", "\x1d": "]"}.get(character, character)
        event: dict[str, object] = {"key": key, "timestamp": moment, "modifiers": 2 if character == "\x1d" else 0}
        if character == "\r":
            event |= {"code": "Enter", "windowsVirtualKeyCode": 13}
        down = {**event, "type": "keyDown"} if character == "\x1d" else {**event, "type": "keyDown", "text": character}
        session.send("Input.dispatchKeyEvent", down)
        session.send("Input.dispatchKeyEvent", {**event, "type": "keyUp"})
    session.detach()


def choose(page: Page, place: Locator, label: str, option: str) -> None:
    place.get_by_label(label, exact=True).click()
    page.get_by_role("option", name=option, exact=True).click()


def third_values(page: Page) -> set[str]:
    """What stands in the fields of the second person."""
    return {field.input_value() for field in step(page, 3).locator("input:not([hidden])").all()}


def second_entry(page: Page, workplace: Any, days: str = "2") -> None:
    third = step(page, 3)
    again = {name: value for name, value in prescription().items() if name not in ("Prescriber", "Measured on, YYYY-MM-DD")}
    fill(third, **again | {"Days": days})
    choose(page, third, "Unit", "mg/m²")
    choose(page, third, "Per", "day")
    fill(third, **{"Your password": workplace.password("second")})
    page.keyboard.press("Enter")


def fhir(file: Path) -> Path:
    """A request for the prescription of the demonstration case, with what a form has no field for."""
    quantity = {"value": 25, "unit": "mg/m2", "system": "http://unitsofmeasure.org", "code": "mg/m2"}
    file.write_text(
        json.dumps(
            {
                "resourceType": "MedicationRequest",
                "id": "r1",
                "identifier": [{"use": "official", "value": "RX-FHIR-9"}],
                "status": "active",
                "intent": "order",
                "medication": {"concept": {"text": "cyclophosphamide"}},
                "subject": {"reference": "Patient/p"},
                "requester": {"display": "Dr. Example"},
                "note": [{"text": "take with food"}],
                "dosageInstruction": [
                    {
                        "timing": {
                            "repeat": {
                                "frequency": 1,
                                "period": 1,
                                "periodUnit": "d",
                                "boundsDuration": {"value": 2, "unit": "d", "code": "d", "system": "http://unitsofmeasure.org"},
                            }
                        },
                        "doseAndRate": [{"doseQuantity": quantity}],
                    }
                ],
            }
        )
    )
    return file


@pytest.mark.parametrize("workplace", [{"case": CASE, "rate": "100", "daily_check": True}], indirect=True)
def test_two_people_in_two_browsers_from_prescription_to_start(workplace: Any, visit: Visit, watch: Any) -> None:
    first, second, operator = (visit(name, watch=watch) for name in ("pharmacist", "second", "operator"))
    to_new(second, workplace)
    to_new(operator, workplace)
    to_new(first, workplace)
    # what is missing, and what may mean two amounts, is said at its field
    first.get_by_role("button", name="Show the dose").click()
    expect(first.locator(".q-field", has=first.get_by_label("Days", exact=True)).get_by_role("alert")).to_have_text("Enter it.")
    expect(first.locator(".q-field", has=first.get_by_label("Times of day", exact=True)).get_by_role("alert")).to_have_text("Enter it.")
    fill(step(first, 1), **prescription())
    fill(step(first, 1), **{"Times of day": "morning, evening"})
    first.get_by_role("button", name="Show the dose").click()
    times = first.locator(".q-field", has=first.get_by_label("Times of day", exact=True))
    expect(times.get_by_role("alert").filter(has_text="may be several times in one")).to_be_visible()
    fill(step(first, 1), **{"Times of day": "once daily", "Prescribed amount": "1,250"})
    first.get_by_role("button", name="Show the dose").click()
    amount = first.locator(".q-field", has=first.get_by_label("Prescribed amount", exact=True))
    expect(amount.get_by_role("alert").filter(has_text="may mean 1250 or 1.25")).to_be_visible()
    expect(first.get_by_label("Prescribed amount", exact=True)).to_be_focused()
    fill(step(first, 1), **{"Prescribed amount": "25,0"})
    first.keyboard.press("Enter")
    expect(step(first, 2)).to_contain_text("18.5405 mg, nearest multiple of 0.5 mg is 18.5 mg")
    expect(step(first, 2)).to_contain_text("1 unit a day: once daily: 18.5 mg")
    expect(step(first, 2).get_by_label("Your password")).to_be_focused()
    # a change takes the dose away again: what is signed is what is shown
    fill(step(first, 1), **{"Days": "3"})
    expect(step(first, 2).get_by_label("Your password")).to_have_count(0)
    fill(step(first, 1), **{"Days": "2"})
    first.keyboard.press("Enter")
    fill(step(first, 2), **{"Your password": workplace.password("pharmacist")})
    first.keyboard.press("Enter")
    expect(step(first, 3)).to_contain_text("another person confirms it")
    expect(first).to_have_url(re.compile(r"/new\?order=O00001$"))

    # the other browser hears of it within a second, and nothing of the first entry reaches it
    expect(second.locator(".dw-waiting")).to_contain_text("O00001", timeout=3_000)
    second.locator(".dw-waiting a").click()
    expect(step(second, 3).get_by_label("Patient (pseudonym)")).to_be_focused()
    expect(step(second, 3)).to_contain_text("cyclophosphamide as anhydrous")
    for hidden in ("demonstration-001", "RX-77", "18.5405", "demonstration prescriber"):
        assert hidden not in second.content(), hidden
    assert not re.search(r"\b(110|18|25)\b", second.locator(".dw-new").inner_text())
    assert third_values(second) == {""}
    second.get_by_role("button", name="Sign the confirmation").click()
    for label in ("Patient (pseudonym)", "Prescription number", "Times of day"):
        expect(step(second, 3).locator(".q-field", has=second.get_by_label(label, exact=True)).get_by_role("alert")).to_have_text(
            "Enter it."
        )
    second_entry(second, workplace, days="3")
    expect(step(second, 3).locator(".q-field", has=second.get_by_label("Days", exact=True)).get_by_role("alert")).to_contain_text(
        "Differs from the first entry"
    )
    expect(step(second, 3).locator(".dw-problem")).to_contain_text("The two entries differ in: days.")
    fill(step(second, 3), **{"Days": "2", "Your password": workplace.password("second")})
    second.keyboard.press("Enter")
    expect(step(second, 4)).to_have_class(re.compile(MINE))
    expect(step(first, 4)).to_have_class(re.compile(MINE), timeout=3_000)
    expect(step(first, 1)).to_contain_text("cyclophosphamide 25 mg/m² / day")
    expect(step(first, 2)).to_contain_text("1 unit a day: once daily: 18.5 mg")

    # a scan lands in its field wherever the focus is, its Enter presses nothing, and a wrong cartridge says what to do
    operator.locator(".dw-waiting a").click()
    field = step(operator, 4).get_by_label("Scan the cartridge", exact=True)
    expect(field).to_be_focused()
    log_out = operator.get_by_role("button", name="Log out")
    log_out.focus()
    scan(operator, "CYC-DEMO-99-X")
    expect(step(operator, 4).locator(".dw-problem")).to_contain_text("is not known here. Take cartridge CYC-DEMO-01-A of this order")
    expect(field).to_have_value("CYC-DEMO-99-X")
    assert operator.url.endswith("/new?order=O00001"), "the Enter of a scan has pressed Log out"
    log_out.focus()
    scan(operator, f"]d2010950110102091710CYC-DEMO-01\x1d21{CARTRIDGE}")
    expect(step(operator, 4)).to_contain_text(f"Scanned: {CARTRIDGE}.")
    operator.reload()
    expect(step(operator, 4)).to_contain_text(f"Scanned: {CARTRIDGE}.")

    # the gate that is not met says how it is satisfied, leads there, and is seen met without a press
    gates = step(operator, 5)
    unmet = gates.locator(".dw-unmet")
    expect(unmet).to_contain_text("daily balance check")
    expect(unmet).to_contain_text("Do the daily check of the balance")
    go = gates.get_by_role("button", name="go through the gates")
    go.click()
    expect(gates).to_contain_text("The last run ended at its gates; nothing has moved.")
    expect(operator).to_have_url(re.compile(r"/new\?batch=B00001$"))
    operator.reload()
    expect(unmet).to_contain_text("daily balance check")
    place = visit("operator")
    place.goto(unmet.get_by_role("link", name="Do the daily check").get_attribute("href").replace("/?", f"{workplace.base}/?"))  # type: ignore[union-attr]
    place.get_by_role("button", name="Begin the daily check").click()
    for number in range(1, 8):
        expect(place.get_by_text(f"Step {number} of 7.")).to_be_visible()
        place.get_by_role("button", name="Demonstration: let the bench do it").click()
        expect(place.get_by_text("The bench has done it.").last).to_be_visible()
        place.get_by_role("button", name="Done: read the balance").click()
    expect(place.get_by_text("The daily check passed.")).to_be_visible()
    expect(unmet).to_have_count(0, timeout=10_000)
    go.click()

    # unit and plate, in three dimensions or in words; the second of two who press start is told that nothing came of it
    preview = step(operator, 6)
    expect(preview).to_contain_text("18.5 mg cyclophosphamide")
    expect(preview).to_contain_text("cylinder, ⌀ 10.74 × 4.30 mm")
    expect(preview).to_contain_text(re.compile(r"389\.31 µL.*467\.17 mg", re.DOTALL))
    preview.get_by_text("Drawings on record").click()
    drawing = preview.get_by_alt_text("Unit of 18.5 mg, with sizes")
    expect(drawing).to_be_visible()
    assert drawing.evaluate("image => image.decode().then(() => image.naturalWidth > 100)")
    other = visit("operator")
    to_new(other, workplace, "/new?batch=B00001")
    mine, theirs = (page.get_by_role("button", name="Start batch B00001 on cell-1") for page in (operator, other))
    expect(mine).to_be_enabled()
    expect(theirs).to_be_enabled()
    # at one moment of the clock that both browsers read: whoever is asked first takes the button from the other's page
    moment = operator.evaluate("Date.now()") + 1000
    for page in (operator, other):
        page.evaluate("at => { const go = document.querySelector('.dw-start'); setTimeout(() => go.click(), at - Date.now()); }", moment)
    expect(operator.get_by_text("Batch B00001 is on cell-1.")).to_be_visible()
    expect(other.get_by_text("Batch B00001 is on cell-1.")).to_be_visible()
    words = "Another person has started it: a press of Start on this page did nothing."
    ends = time.monotonic() + 10
    while sum(told := [page.get_by_text(words).count() for page in (operator, other)]) != 1:
        assert time.monotonic() < ends, f"one start, and a clear word to the other: {told}"
        operator.wait_for_timeout(100)
    workplace.until(lambda status: status.ended)
    watch.assert_quiet()


@pytest.mark.parametrize("workplace", [{"case": CASE, "rate": "100"}], indirect=True)
def test_a_prescription_from_fhir_is_confirmed_field_by_field(workplace: Any, visit: Visit, watch: Any, tmp_path: Path) -> None:
    page = visit("pharmacist", watch=watch)
    to_new(page, workplace)
    page.locator("input[type=file]").set_input_files(fhir(tmp_path / "request.json"))
    read = step(page, 1)
    expect(read).to_contain_text("Compare each with the prescription and confirm it")
    expect(read).to_contain_text("MedicationRequest.note: take with food")
    expect(read).to_contain_text("The request comes without its Patient")
    number, amount = (page.get_by_label(label, exact=True) for label in ("Prescription number", "Prescribed amount"))
    expect(number).to_have_value("")
    read.get_by_role("checkbox", name="Prescription number: RX-FHIR-9").click()
    expect(number).to_have_value("RX-FHIR-9")
    expect(amount).to_have_value("")
    read.get_by_role("checkbox", name="Prescribed amount: 25").press("Space")
    expect(amount).to_have_value("25")
    read.get_by_role("checkbox", name="Prescribed amount: 25").press("Space")
    expect(amount).to_have_value("")
    # what the form does not hold any more is not confirmed any more: typed anew, or another recipe was chosen
    days, unit = (read.get_by_role("checkbox", name=name) for name in ("Days: 2", "Unit: mg/m2"))
    for box in (days, unit):
        box.click()
        expect(box).to_be_checked()
    page.get_by_label("Days", exact=True).fill("3")
    expect(days).not_to_be_checked()
    expect(page.get_by_label("Days", exact=True)).to_have_value("3")
    choose(page, read, "Substance", "minoxidil")
    expect(unit).not_to_be_checked()
    fill(read, Days="")
    # a code carries no prescription, and is not taken for one; one on a cartridge chooses it
    page.get_by_label("Days", exact=True).focus()
    scan(page, CARTRIDGE)
    expect(read).to_contain_text(f"Cartridge {CARTRIDGE} is chosen. No prescription is in this code")
    expect(page.get_by_label("Days", exact=True)).to_have_value("")
    expect(read.get_by_role("checkbox", name="Prescription number: RX-FHIR-9")).to_be_checked()
    page.get_by_label("Scan or paste a prescription").fill('{"resourceType": "MedicationRequest", "status": "draft"}')
    page.get_by_role("button", name="Read it").click()
    expect(read.locator(".dw-problem").first).to_contain_text("The request")
    # what a refused request follows is taken back: it may be another patient's
    expect(number).to_have_value("")
    # a hand that is quick is no scanner
    page.get_by_label("Patient (pseudonym)").focus()
    scan(page, "test-123", apart_ms=70)
    expect(page.get_by_label("Patient (pseudonym)")).to_have_value("test-123")
    watch.assert_quiet()


def tab_to(page: Page, target: Locator, most: int = 40) -> None:
    """Press Tab until the focus is where it should be; it must get there, and always be visible."""
    for _ in range(most):
        if target.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{target} is not reached with the Tab key")


@pytest.mark.parametrize("workplace", [{"case": CASE, "rate": "100"}], indirect=True)
def test_the_whole_page_with_keys_alone(workplace: Any, visit: Visit, watch: Any) -> None:
    _, _, cartridge = load_demonstration(CASE, today())
    assert cartridge.serial == CARTRIDGE
    entry = load_case(CASE, Changes(), datetime.now(UTC).date()).entry
    first = visit("pharmacist", watch=watch)
    to_new(first, workplace)
    for label, value in {**prescription(), "Prescribed amount": entry.prescribed}.items():
        field = first.get_by_label(label, exact=True)
        tab_to(first, field)
        first.keyboard.insert_text(value)
    first.keyboard.press("Enter")
    expect(step(first, 2).get_by_label("Your password")).to_be_focused()
    first.keyboard.insert_text(workplace.password("pharmacist"))
    first.keyboard.press("Enter")
    expect(step(first, 3)).to_contain_text("another person confirms it")

    second = visit("second", watch=watch)
    to_new(second, workplace, "/new?order=O00001")
    third = step(second, 3)
    expect(third.get_by_label("Patient (pseudonym)")).to_be_focused()
    for label in ("Patient (pseudonym)", "Prescription number", "Height, cm", "Weight, kg", "Age, years", "Prescribed amount"):
        tab_to(second, third.get_by_label(label, exact=True))
        second.keyboard.insert_text(prescription()[label])
    for label, presses in (("Unit", 1), ("Per", 1)):
        tab_to(second, third.get_by_label(label, exact=True))
        second.keyboard.press("Enter")
        expect(second.get_by_role("listbox")).to_be_visible()
        for _ in range(presses):
            second.keyboard.press("ArrowDown")
        second.keyboard.press("Enter")
        expect(second.get_by_role("listbox")).to_have_count(0)
    for label in ("Times of day", "Days"):
        tab_to(second, third.get_by_label(label, exact=True))
        second.keyboard.insert_text(prescription()[label])
    tab_to(second, third.get_by_label("Your password", exact=True))
    second.keyboard.insert_text(workplace.password("second"))
    second.keyboard.press("Enter")
    expect(step(second, 4)).to_have_class(re.compile(MINE))

    operator = visit("operator", watch=watch)
    to_new(operator, workplace, "/new?order=O00001")
    expect(step(operator, 4).get_by_label("Scan the cartridge", exact=True)).to_be_focused()
    operator.keyboard.insert_text(CARTRIDGE)
    operator.keyboard.press("Enter")
    go = step(operator, 5).get_by_role("button", name="go through the gates")
    expect(go).to_be_enabled()
    tab_to(operator, go)
    assert "5px" in operator.evaluate("getComputedStyle(document.activeElement).boxShadow"), "the focus is seen"
    operator.keyboard.press("Enter")
    start = operator.get_by_role("button", name="Start batch B00001 on cell-1")
    expect(start).to_be_visible()
    assert not start.evaluate("element => element === document.activeElement"), "the key that passed the gates does not start by repeating"
    tab_to(operator, start)
    box = start.bounding_box()
    assert box is not None and box["height"] >= 48
    operator.keyboard.press("Enter")
    expect(operator.get_by_text("Batch B00001 is on cell-1.")).to_be_visible()
    workplace.until(lambda status: status.ended)
    watch.assert_quiet()
