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
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from conftest import ARGUMENTS, Workplace
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from api.processes import Children, free_port, start_workstation, wait_for_port
from api.set_up import write_token
from api.settings import load_settings
from api.site import create_site
from api.workstation.places import PLACES, Place
from audit.clock import SystemClock

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "docs" / "images" / "pages"
PAGE = ROOT / "docs" / "pages.md"
SIZES = ((1280, 800), (1920, 1080))
SCHEMES = ("light", "dark")
_QUALITY = 55
_WAIT_MS = 240_000
_CASE = "cyclophosphamide"
_PERSON = {"/people": "administrator", "/account": "qp", "/new": "pharmacist"}


@dataclass(frozen=True, slots=True)
class Scene:
    """One picture, four times: the name of its files, what it shows, and what is to be seen on it."""

    name: str
    title: str
    what: str


SCENES = (
    Scene(
        "set-up", "Set-up", "The first administrator is made with the token that the terminal showed. No password comes with the product."
    ),
    Scene("login", "Log-in", "Nothing of the site is shown before log-in."),
    Scene("new-prescription", "New batch: prescription and dose", "The dose with its arithmetic, before it is signed."),
    Scene("new-second", "New batch: second person", "Entered again, blind."),
    Scene("new-gates", "New batch: gates", "Each gate that is not met says how it is satisfied, and leads there."),
    Scene("new-start", "New batch: preview and start", "Unit and plate as they will be printed; nothing moves before the last press."),
    Scene("cell", "Cell, while a batch is printed", "Units with their masses against tolerance, pressure, readings, STOP."),
    Scene("alarm", "Cell, with an alarm", "Cause, consequence, what to do, and the unit to take off."),
    Scene("review", "Cell, review", "Exceptions first, then the evidence; what may be signed follows from it."),
)
_OF_PLACES = {
    "/today": "What needs you, the queue, the cells and their readiness.",
    "/new": "Seven steps from a prescription to the start.",
    "/inks": "What is left of each cartridge, lots with their certificates, and what is received.",
    "/recipes": "Versions of recipes: state, difference, signatures, and the steps from here.",
    "/equipment": "What stands in a cell and until when it is in date.",
    "/models": "Process models: their data, tests, limits and states.",
    "/trends": "Capability and control charts across batches, lots and cells.",
    "/trail": "Who did what, when and why; searched and taken out.",
    "/recall": "What a search finds, and a recall that is followed.",
    "/people": "Accounts, roles, the access review, the policy.",
    "/account": "The own password and second factors.",
}


def scene_of(place: Place) -> Scene:
    return Scene(place.path.strip("/"), place.title, _OF_PLACES.get(place.path, ""))


def all_scenes() -> tuple[Scene, ...]:
    """Return every picture there is: the scenes, then each page of the list."""
    return (*SCENES, *(scene_of(place) for place in PLACES))


def file_name(scene: Scene, width: int, scheme: str) -> str:
    return f"{scene.name}-{width}-{scheme}.webp"


def page_text() -> str:
    """Return docs/pages.md."""
    parts = [
        "# The pages\n\nEvery page of the workstation, of a demonstration site. Each is shown at 1280 × 800, light and dark; the links "
        "lead to the same at 1920 × 1080. Made by `make pictures`; not edited by hand.\n"
    ]
    for scene in all_scenes():
        small, large = ([f"images/pages/{file_name(scene, width, scheme)}" for scheme in SCHEMES] for width, _ in SIZES)
        shown = " ".join(
            f'<img src="{name}" width="49%" alt="{scene.title}, {scheme}">' for name, scheme in zip(small, SCHEMES, strict=True)
        )
        links = " · ".join(f"[1920 × 1080, {scheme}]({name})" for name, scheme in zip(large, SCHEMES, strict=True))
        parts.append(f"## {scene.title}\n\n{scene.what}\n\n{shown}\n\n{links}\n")
    return "\n".join(parts)


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
                scene = Scene(name, "", "")
                (self._folder / file_name(scene, width, scheme)).write_bytes(base64.b64decode(shot["data"]))
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
    expect(page.locator(".dw-card").first).to_be_visible()
    expect(page.locator(".dw-col[inert]")).to_have_count(0)


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
            "Prescribed amount": "25", "Days": "7",
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
        fill(third, {"Height, cm": "110", "Weight, kg": "18", "Age, years": "5", "Prescribed amount": "25", "Days": "7"})
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
        place.until(lambda status: status.judged >= 5)
        operator = guide.page("operator")
        expect(operator.locator(".dw-unit.dw-is-accepted")).to_have_count(place.status().judged)
        camera.take(operator, "cell")
        place.until(lambda status: status.ended)
        expect(operator.locator(".dw-alarm")).to_contain_text("critical")
        camera.take(operator, "alarm")
        qp = guide.page("qp")
        qp.get_by_role("button", name="Close the run and review it").click()
        qp.get_by_role("button", name="Show the review").click()
        expect(qp.locator(".dw-verdict-big")).to_be_visible()
        expect(qp.locator(".q-notification")).to_have_count(0)
        qp.locator(".dw-verdict-big").evaluate("element => element.closest('.dw-card').scrollIntoView()")
        camera.take(qp, "review")
        for listed in PLACES:
            page = guide.page(_PERSON.get(listed.path, "quality"), listed.path)
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
    page.locator("#step-5").get_by_role("button", name="go through the gates").click()
    pressed = page.get_by_role("button", name="Start batch B00001 on cell-1")
    expect(pressed).to_be_visible()
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
