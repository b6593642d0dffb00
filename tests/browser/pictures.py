"""Take the pictures of every page for docs/: light and dark, at 1280 × 800 with a touch screen and at 1920 × 1080.

    make pictures           all of them, and docs/pages.md, which shows them

A page that is in the list of pages is taken without a word here; what has to happen before a page is worth looking at is a scene below.
"""

from __future__ import annotations

import argparse
import base64
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from conftest import ARGUMENTS, Workplace
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright
from scenes import FOLDER, PAGE, SCHEMES, SIZES, file_name, page_text, scene_of

from api.processes import Children, free_port, start_workstation, wait_for_port
from api.set_up import write_token
from api.settings import load_settings
from api.site import create_site
from api.status import CellStatus
from api.workstation.places import PLACES
from audit.clock import SystemClock

_QUALITY = 55
_WAIT_MS = 300_000
_CASE = "cyclophosphamide"
_PERSON = {"/people": "administrator", "/account": "qp", "/new": "pharmacist"}


class Camera:
    """Takes one page as it stands, four times. Lifetime: that of the browser."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.wider: list[str] = []

    def take(self, page: Page, name: str) -> None:
        cdp = page.context.new_cdp_session(page)
        expect(page.locator(".q-notification")).to_have_count(0)
        for width, height in SIZES:
            page.set_viewport_size({"width": width, "height": height})
            for scheme in SCHEMES:
                page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
                page.evaluate("document.activeElement && document.activeElement.blur()")
                page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
                shot = cdp.send("Page.captureScreenshot", {"format": "webp", "quality": _QUALITY})
                (self._folder / file_name(name, width, scheme)).write_bytes(base64.b64decode(shot["data"]))
                if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
                    self.wider.append(f"{name}, {width}, {scheme}: wider than the window")
        page.set_viewport_size({"width": SIZES[0][0], "height": SIZES[0][1]})
        sys.stderr.write(f"taken: {name}\n")


class Guide:
    """Leads people to the pages of one site. Lifetime: that of the browser."""

    def __init__(self, browser: Browser, place: Workplace) -> None:
        self._browser = browser
        self._place = place
        self._pages: dict[str, Page] = {}

    def page(self, who: str, path: str = "/") -> Page:
        """Return the page of a person, who is logged in, at a path; it has a touch screen."""
        if who not in self._pages:
            page = touch_page(self._browser)
            page.goto(f"{self._place.base}/login")
            page.get_by_label("User name").fill(who)
            page.get_by_label("Password").fill(self._place.password(who))
            page.get_by_role("button", name="Log in").click()
            expect(page.locator(".dw-menu summary")).to_be_visible()
            self._pages[who] = page
        page = self._pages[who]
        page.goto(f"{self._place.base}{path}")
        settled(page)
        return page


def touch_page(browser: Browser) -> Page:
    context = browser.new_context(viewport={"width": SIZES[0][0], "height": SIZES[0][1]}, has_touch=True)
    context.set_default_timeout(_WAIT_MS)
    return context.new_page()


def settled(page: Page) -> None:
    expect(page.locator(".dw-card").filter(visible=True).first).to_be_visible()
    expect(page.locator(".dw-col[inert]")).to_have_count(0)


def press(button: Locator, then: Locator) -> None:
    """Press what a page loses when its connection breaks and it loads itself again, until what follows is seen."""
    for _ in range(6):
        button.click()
        try:
            expect(then).to_be_visible(timeout=_WAIT_MS / 6)
        except AssertionError:
            continue
        return
    expect(then).to_be_visible()


def fill(place: Locator, values: dict[str, str]) -> None:
    for label, value in values.items():
        place.get_by_label(label, exact=True).fill(value)


@contextmanager
def site_to_set_up(folder: Path) -> Iterator[str]:
    """A site without people, whose workstation runs alone."""
    create_site(folder, empty=True)
    settings = load_settings(folder)
    write_token(settings.path(settings.set_up_token), SystemClock().utc().at)
    port = free_port()
    with Children(folder / "logs") as children:
        wait_for_port(port, start_workstation(children, folder, port, page=True), 240.0)
        yield f"http://127.0.0.1:{port}"


def before_log_in(browser: Browser, camera: Camera, folder: Path) -> None:
    with site_to_set_up(folder / "empty") as base:
        page = touch_page(browser)
        page.goto(f"{base}/set-up")
        expect(page.get_by_role("button", name="Make the administrator")).to_be_visible()
        camera.take(page, "set-up")


def new_batch(browser: Browser, camera: Camera, folder: Path) -> None:
    """The steps of a new batch, up to a gate that is not met: there is no daily check yet."""
    place = Workplace.start(folder / "new", case=_CASE, rate="100", daily_check=True)
    try:
        guide = Guide(browser, place)
        first = guide.page("pharmacist", "/new")
        values = {
            "Patient (pseudonym)": "demonstration-001", "Prescription number": "RX-77", "Prescriber": "demonstration prescriber",
            "Height, cm": "110", "Weight, kg": "18", "Measured on, YYYY-MM-DD": datetime.now(UTC).date().isoformat(), "Age, years": "5",
            "Prescribed amount": "25", "Times of day": "once daily", "Days": "7",
        }  # fmt: skip
        fill(first.locator("#step-1"), values)
        first.get_by_role("button", name="Show the dose").click()
        dose = first.locator("#step-2")
        expect(dose.get_by_label("Your password")).to_be_visible()
        dose.evaluate("element => element.scrollIntoView({block: 'end'})")
        camera.take(first, "new-prescription")
        dose.get_by_label("Your password").fill(place.password("pharmacist"))
        dose.get_by_role("button", name="Sign the entry").click()
        expect(first.locator("#step-3")).to_contain_text("another person confirms it")
        second = guide.page("second", "/new?order=O00001")
        third = second.locator("#step-3")
        fill(third, {label: value for label, value in values.items() if label not in ("Prescriber", "Measured on, YYYY-MM-DD")})
        for label, option in (("Unit", "mg/m²"), ("Per", "day")):
            third.get_by_label(label, exact=True).click()
            second.get_by_role("option", name=option, exact=True).click()
        camera.take(second, "new-second")
        third.get_by_label("Your password").fill(place.password("second"))
        third.get_by_role("button", name="Sign the confirmation").click()
        expect(second.locator("#step-4")).to_have_class(re.compile("dw-open"))
        operator = guide.page("operator", "/new?order=O00001")
        operator.locator("#step-4").get_by_label("Scan the cartridge", exact=True).fill("CYC-DEMO-01-A")
        operator.locator("#step-4").get_by_role("button", name="Check").click()
        gates = operator.locator("#step-5")
        expect(gates.locator(".dw-unmet")).to_contain_text("daily balance check")
        gates.evaluate("element => element.scrollIntoView()")
        camera.take(operator, "new-gates")
    finally:
        place.close()


def the_rest(browser: Browser, camera: Camera, folder: Path) -> None:
    """A batch that is printed until its nozzle clogs, its review, and each page of the list."""
    place = Workplace.start(folder / "run", case=_CASE, rate="100", fault="clog:8")
    try:
        stranger = touch_page(browser)
        stranger.goto(f"{place.base}/login")
        expect(stranger.get_by_role("button", name="Log in")).to_be_visible()
        camera.take(stranger, "login")
        guide = Guide(browser, place)
        start(guide, camera, place)
        place.stack.until(lambda status: CellStatus.model_validate(status).judged >= 4, seconds=_WAIT_MS / 1000)
        operator = guide.page("operator")
        expect(operator.locator(".dw-unit.dw-is-accepted")).to_have_count(place.status().judged)
        camera.take(operator, "cell")
        place.stack.let_go()
        expect(operator.locator(".dw-alarm")).to_contain_text("critical")
        expect(operator.locator(".dw-state h1")).to_have_text("Awaiting review")
        camera.take(operator, "alarm")
        qp = guide.page("qp")
        shown = qp.get_by_role("button", name="Show the review")
        press(qp.get_by_role("button", name="Close the run and review it"), shown)
        press(shown, qp.locator(".dw-verdict-big"))
        expect(qp.locator(".q-notification")).to_have_count(0)
        qp.locator(".dw-verdict-big").evaluate("element => element.closest('.dw-card').scrollIntoView()")
        camera.take(qp, "review")
        for listed in PLACES:
            page = guide.page(_PERSON.get(listed.path, "quality"), listed.path)
            if listed.path == "/batches":
                page.get_by_role("link", name="B00001", exact=True).click()
                settled(page)
            if listed.path == "/recipes":
                page.get_by_role("link", name=re.compile(f"^{_CASE}@")).click()
                settled(page)
            camera.take(page, scene_of(listed).name)
    finally:
        place.close()


def start(guide: Guide, camera: Camera, place: Workplace) -> None:
    """Have a batch ready on the page of its last step, take it, and start it."""
    order = place.order(10)
    page = guide.page("operator", f"/new?order={order}")
    page.locator("#step-4").get_by_label("Scan the cartridge", exact=True).fill("CYC-DEMO-01-A")
    page.locator("#step-4").get_by_role("button", name="Check").click()
    pressed = page.get_by_role("button", name="Start batch B00001 on cell-1")
    press(page.locator("#step-5").get_by_role("button", name="go through the gates"), pressed)
    expect(page.locator(".dw-preview")).to_contain_text("cylinder")
    page.locator("#step-6").evaluate("element => element.scrollIntoView()")
    camera.take(page, "new-start")
    place.stack.hold()
    pressed.click()
    expect(page.get_by_text("Batch B00001 is on cell-1.")).to_be_visible()


PARTS: dict[str, Callable[[Browser, Camera, Path], None]] = {"before": before_log_in, "new": new_batch, "rest": the_rest}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="only these parts")
    chosen = parser.parse_args().parts or list(PARTS)
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        sys.stderr.write("Chromium is missing.\n")
        return 1
    FOLDER.mkdir(parents=True, exist_ok=True)
    camera = Camera(FOLDER)
    expect.set_options(timeout=_WAIT_MS)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dosewright-pictures-")))
        browser = stack.enter_context(sync_playwright()).chromium.launch(executable_path=chromium, args=ARGUMENTS)
        stack.callback(browser.close)
        for name in chosen:
            PARTS[name](browser, camera, folder)
    PAGE.write_text(page_text(), encoding="utf-8")
    sys.stderr.write("".join(f"{line}\n" for line in camera.wider))
    return 1 if camera.wider else 0


if __name__ == "__main__":
    sys.exit(main())
