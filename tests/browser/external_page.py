"""Two people weigh units on an external balance: one on the page, one unit at the command line; what each of them sees is told.

The bench's time stands still while they weigh. Run by its test in a process of its own, as `tests/stack/external_run.py` is.
Usage: `external_page.py FOLDER CHROMIUM`.
"""

from __future__ import annotations

import io
import json
import os
import sys
from contextlib import redirect_stdout
from decimal import Decimal
from pathlib import Path
from typing import Any

from conftest import ARGUMENTS, WAIT_MS, Workplace
from external_run import SERIAL, register
from playwright.sync_api import Browser, Page, expect, sync_playwright

import api.site
from api import cli


def weigh(page: Page, value: str, signed_by: tuple[str, str] | None = None, serial: str = SERIAL) -> None:
    """Fill the form of the card and send it; the second person signs with user name and password."""
    card = page.locator("section", has=page.get_by_role("heading", name="on the external balance"))
    card.get_by_label("Net mass of unit").fill(value)
    card.get_by_label("Serial number on the balance").fill(serial)
    if signed_by is not None:
        card.get_by_label("User name").fill(signed_by[0])
        card.get_by_label("Password").fill(signed_by[1])
    card.get_by_role("button", name="Enter").click()


def opened(browser: Browser, place: Workplace, username: str) -> Page:
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    context.set_default_timeout(WAIT_MS)
    page = context.new_page()
    place.log_in(page, username)
    return page


def on_the_page(browser: Browser, place: Workplace, folder: Path, value: str) -> dict[str, Any]:
    operator, second = opened(browser, place, "operator"), opened(browser, place, "second")
    signs = ("second", place.password("second"))
    found: dict[str, Any] = {}
    expect(operator.get_by_text("Entry 1 of 2, attempt 1 of 3.")).to_be_visible()
    operator.screenshot(path=folder / "first-entry.png")
    expect(operator.locator(".dw-sensor", has_text="Balance")).to_contain_text("the unit is weighed on bench-2")
    weigh(operator, value, serial="B000000001")
    expect(operator.get_by_text("is not that of the registered external balance")).to_be_visible()
    weigh(operator, value)
    expect(second.get_by_text("Entry 2 of 2, attempt 1 of 3.")).to_be_visible()
    found["told"] = value in second.content()
    expect(operator.get_by_text("Entry 2 of 2, attempt 1 of 3.")).to_be_visible()
    found["still on the first screen"] = operator.evaluate(
        "value => [...document.querySelectorAll('input')].some(i => i.value === value)", value
    )
    weigh(operator, value, ("operator", place.password("operator")))
    expect(operator.get_by_text("The same person cannot make both entries")).to_be_visible()
    second.screenshot(path=folder / "second-entry.png")
    weigh(second, f"{Decimal(value) + Decimal('0.01')}", signs)
    expect(operator.get_by_text("Entry 1 of 2, attempt 2 of 3.")).to_be_visible()
    expect(operator.get_by_text("The two entries differed.")).to_be_visible()
    operator.screenshot(path=folder / "differed.png")
    weigh(operator, value)
    expect(second.get_by_text("Entry 2 of 2, attempt 2 of 3.")).to_be_visible()
    weigh(second, value, signs)
    expect(operator.locator('.dw-unit[data-unit="1"]')).to_contain_text("accepted")
    found["shown"] = operator.locator('.dw-unit[data-unit="1"] .dw-mass').inner_text()
    return found


def at_the_command_line(place: Workplace, value: str) -> list[tuple[int, str]]:
    found = []
    for user, typed in (("operator", value), ("second", value)):
        os.environ["DOSEWRIGHT_PASSWORD"] = place.password(user)
        sys.stdin = io.StringIO(f"{typed}\n{SERIAL}\n")
        said = io.StringIO()
        with redirect_stdout(said):
            status = cli.run(["weigh", "--url", place.base, "--user", user])
        found.append((status, said.getvalue()))
    return found


def main(folder: Path, chromium: str) -> None:
    api.site.demonstration_register = register  # type: ignore[attr-defined]
    place = Workplace.start(folder / "site", case="hydrocortisone", rate="60")
    expect.set_options(timeout=WAIT_MS)
    try:
        place.begin(days=1)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
            units = place.until(lambda status: status.external_weighing is not None).units
            # not the target itself, which stands on every page
            values = [f"{Decimal(unit.target_mass_mg) + Decimal('0.07'):.2f}" for unit in units[:2]]
            found = on_the_page(browser, place, folder, values[0])
            browser.close()
        place.until(lambda status: status.external_weighing is not None and status.external_weighing.n == 2)
        found["command"] = at_the_command_line(place, values[1])
        found["values"] = values
        (folder / "found.json").write_text(json.dumps(found))
    finally:
        place.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
