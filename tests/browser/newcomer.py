"""The first day of a demonstration site that nobody has set up, told once: from its set-up page to a package verified elsewhere.

Everything is done on the pages, by what they call it. Nothing is asked of a service but by the pages themselves.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from clockwork import Clockwork
from hands import Hand
from pace import Pace
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from recipes.library import load_demonstration

CASE = "minoxidil"
STATE = ".dw-state h1"
ROLES = {
    "pharmacist": ("First pharmacist", "pharmacist"),
    "second": ("Second pharmacist", "pharmacist"),
    "operator": ("First operator", "operator"),
    "quality": ("First person of quality", "quality assurance"),
    "qp": ("First qualified person", "qualified person"),
}
_UP_S = 180.0
_CHECK_STEPS = 7


def own_password(username: str) -> str:
    return f"{username[::-1]} walked to the harbour in rain"


class Served:
    """`dosewright serve --empty`, as a process of its own. Lifetime: until `close`."""

    def __init__(self, site: Path, *, fault: str, rate: str = "100") -> None:
        self.site, self._said = site, site.parent / "said.txt"
        options = ["--site", str(site), "--case", CASE, "--port", "0", "--rate", rate, "--fault", fault, "--empty"]
        with self._said.open("w") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "api.cli", "serve", *options],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        limit = time.monotonic() + _UP_S
        while "Ctrl-C ends" not in self.said:
            assert self._process.poll() is None and time.monotonic() < limit, self.said
            time.sleep(0.05)
        bench = json.loads((site / "bench.json").read_text())
        self._clockwork = Clockwork(bench["hand"], bench["token"])
        self._clockwork.advance(None)
        self._pace = Pace(self._clockwork, site, "cell-1")

    @property
    def said(self) -> str:
        return self._said.read_text()

    def _found(self, pattern: str) -> str:
        found = re.search(pattern, self.said)
        assert found is not None, self.said
        return found.group(1)

    @property
    def base(self) -> str:
        return self._found(r"(http://127\.0\.0\.1:\d+)")

    @property
    def token(self) -> str:
        """What the terminal showed, once."""
        return self._found(r"Set-up token.*: (\S+)")

    def close(self) -> None:
        self._pace.close()
        self._clockwork.close()
        self._process.terminate()
        assert self._process.wait(60) is not None


@dataclass(slots=True)
class Day:
    """The people of one site, each at a browser of their own. Lifetime: until `close`."""

    browser: Browser
    served: Served
    hand: Callable[[Page], Hand]
    watch: Callable[[BrowserContext], None]
    pages: dict[str, Page] = field(default_factory=dict)
    hands: dict[str, Hand] = field(default_factory=dict)

    def sit_down(self, who: str) -> tuple[Page, Hand]:
        context = self.browser.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True, reduced_motion="reduce")
        context.set_default_timeout(60_000)
        self.watch(context)
        page = context.new_page()
        self.pages[who], self.hands[who] = page, self.hand(page)
        return page, self.hands[who]

    def at(self, who: str) -> tuple[Page, Hand]:
        return self.pages[who], self.hands[who]

    def close(self) -> None:
        for page in self.pages.values():
            page.context.close()

    # First-run set-up

    def make_the_administrator(self) -> None:
        page, hand = self.sit_down("administrator")
        page.goto(self.served.base)
        page.wait_for_url("**/set-up")
        fields = {
            "Set-up token, as the terminal showed it": self.served.token,
            "User name": "administrator",
            "Full name, as it stands on records": "First administrator",
            "Password": own_password("administrator"),
            "Password again": own_password("administrator"),
        }
        for label, value in fields.items():
            hand.fill(page.get_by_label(label, exact=True), value)
        hand.press(page.get_by_role("button", name="Make the administrator"))
        page.wait_for_url("**/login")
        self._log_in("administrator", own_password("administrator"), "/today")

    def _log_in(self, who: str, password: str, leads_to: str) -> None:
        page, hand = self.at(who)
        hand.fill(page.get_by_label("User name"), who)
        hand.fill(page.get_by_label("Password"), password)
        hand.press(page.get_by_role("button", name="Log in", exact=True))
        page.wait_for_url(f"{self.served.base}{leads_to}")

    def go_to(self, who: str, name: str) -> None:
        """Open the list of pages in the head and follow the way to the page of this name."""
        page, hand = self.at(who)
        page.evaluate("window.dwLeft = true")
        hand.press(page.locator(".dw-menu summary"))
        hand.press(page.locator(".dw-menu").get_by_role("link", name=name, exact=True))
        page.wait_for_function("!window.dwLeft")  # the one that was left looks alike until the other has come
        expect(page.locator("h1.dw-page")).to_be_visible()
        expect(page.locator(".dw-col[inert]")).to_have_count(0)

    def back_to_the_cell(self, who: str) -> None:
        page, hand = self.at(who)
        hand.press(page.get_by_role("link", name="Back to the cell"))
        expect(page.locator(STATE)).to_be_visible()
        expect(page.locator(".dw-col[inert]")).to_have_count(0)

    def make_the_accounts(self) -> None:
        """The administrator makes each account; whoever it is for logs in with what was handed over, and changes it at once."""
        self.go_to("administrator", "People")
        page, hand = self.at("administrator")
        for who, (name, role) in ROLES.items():
            new = page.locator("form", has=page.get_by_role("button", name="Make the account"))
            hand.fill(new.get_by_label("User name"), who)
            hand.fill(new.get_by_label("Full name"), name)
            hand.choose(new.get_by_label("Roles"), role)
            hand.press(new.get_by_role("button", name="Make the account"))
            issued = page.locator(".dw-secret").inner_text()
            hand.press(page.get_by_role("button", name="It is handed over"))
            expect(page.get_by_role("row", name=re.compile(f"^{who} "))).to_contain_text("password to be changed")
            expect(page.locator(".dw-col[inert]")).to_have_count(0)
            self._change_password(who, issued)

    def _change_password(self, who: str, issued: str) -> None:
        page, hand = self.sit_down(who)
        page.goto(self.served.base)
        page.wait_for_url("**/login")
        self._log_in(who, issued, "/account")
        expect(page.get_by_text("Change it first")).to_be_visible()
        expect(page.locator(".dw-col[inert]")).to_have_count(0)
        form = page.locator("form", has=page.get_by_role("button", name="Change the password"))
        for label, value in {"Present password": issued, "New": own_password(who), "New, again": own_password(who)}.items():
            hand.fill(form.get_by_label(label, exact=True), value)
        hand.press(form.get_by_role("button", name="Change the password"))
        expect(page.get_by_text("Change it first")).to_have_count(0)
        expect(page.locator(".dw-col[inert]")).to_have_count(0)

    # The demonstration bench and its cell

    def sign_the_recipe(self) -> None:
        for who, step in (("pharmacist", "submit"), ("quality", "approve"), ("quality", "make effective")):
            page, hand = self.at(who)
            if page.url.rpartition("/")[2] == "account":
                self.go_to(who, "Recipes")
                hand.press(page.get_by_role("link", name=re.compile(f"^{CASE}@")))
                expect(page.locator(".dw-col[inert]")).to_have_count(0)
            form = page.locator("form", has=page.get_by_role("button", name=f"Sign: {step}", exact=True))
            if step == "make effective":
                hand.fill(form.get_by_label("Reason"), "for the first day on the demonstration bench")
            hand.fill(form.get_by_label("Your password"), own_password(who))
            hand.press(form.get_by_role("button", name=f"Sign: {step}", exact=True))
            expect(form).to_have_count(0)
            expect(page.locator(".dw-col[inert]")).to_have_count(0)

    def sign_the_register(self) -> None:
        self.go_to("quality", "People")
        page, hand = self.at("quality")
        expect(page.get_by_text("this cell has no equipment register")).to_be_visible()
        form = page.locator("form", has=page.get_by_role("button", name="Sign the register of cell-1"))
        hand.fill(form.get_by_label("Your password"), own_password("quality"))
        hand.press(form.get_by_role("button", name="Sign the register of cell-1"))
        expect(page.get_by_text("cell-1 believes everybody here.")).to_be_visible()

    def receive_the_ink(self) -> None:
        self.go_to("operator", "Inks")
        page, hand = self.at("operator")
        _, ink, cartridge = load_demonstration(CASE, datetime.now(UTC).date().isoformat())
        record = ink.as_record()
        lot = page.locator("form", has=page.get_by_role("button", name="Receive the lot", exact=True))
        number = {name: str(record[name]).split()[0] for name in ("assay", "assay_uncertainty", "density", "density_uncertainty")}
        values = {
            "Lot": ink.lot,
            "Ink": str(record["ink"]),
            "Active": str(record["moiety"]),
            "Strength stated as": str(record["basis"]),
            "Expires": str(record["expires"]),
            "Assay, mg/g": number["assay"],
            "± assay (k = 2), mg/g": number["assay_uncertainty"],
            "Density, g/mL": number["density"],
            "± density (k = 2), g/mL": number["density_uncertainty"],
            "Certificate of analysis": str(record["certificate"]),
        }
        for label, value in values.items():
            hand.fill(lot.get_by_label(label, exact=True), value)
        hand.press(lot.get_by_role("button", name="Receive the lot", exact=True))
        expect(page.get_by_role("row", name=re.compile(f"^{ink.lot} "))).to_be_visible()
        expect(page.locator(".dw-col[inert]")).to_have_count(0)
        form = page.locator("form", has=page.get_by_role("button", name="Receive the cartridge", exact=True))
        later = (datetime.now(UTC).date() + timedelta(days=20)).isoformat()
        hand.fill(form.get_by_label("Serial number"), cartridge.serial)
        hand.fill(form.get_by_label("Filled, µL"), "2800")
        hand.fill(form.get_by_label("In use until"), later)
        hand.press(form.get_by_role("button", name="Receive the cartridge", exact=True))
        expect(page.get_by_role("heading", name=f"Cartridge {cartridge.serial}")).to_be_visible()

    def make_the_cell_ready(self) -> None:
        self.back_to_the_cell("operator")
        page, hand = self.at("operator")
        hand.press(page.get_by_role("button", name="Begin the daily check"))
        for number in range(1, _CHECK_STEPS + 1):
            expect(page.get_by_text(f"Step {number} of {_CHECK_STEPS}.")).to_be_visible()
            hand.press(page.get_by_role("button", name="Demonstration: let the bench do it"))
            expect(page.get_by_text("The bench has done it.").last).to_be_visible()
            hand.press(page.get_by_role("button", name="Done: read the balance"))
        expect(page.get_by_text("The daily check passed.")).to_be_visible()
        hand.press(page.get_by_role("button", name="Record the cleaning"))
        expect(page.get_by_text("The cleaning is on record.")).to_be_visible()

    # A batch

    def enter(self, number: int, days: str) -> None:
        page, hand = self.at("pharmacist")
        self.go_to("pharmacist", "New batch")
        first = page.locator("#step-1")
        values = {
            "Patient (pseudonym)": f"demonstration-{number:03d}",
            "Prescription number": f"RX-{number}",
            "Prescriber": "demonstration prescriber",
            "Prescribed amount": "1",
            "Times of day": "evening 1",
            "Days": days,
        }
        for label, value in values.items():
            hand.fill(first.get_by_label(label, exact=True), value)
        hand.press(first.get_by_role("button", name="Show the dose"))
        dose = page.locator("#step-2")
        expect(dose).to_contain_text("1 mg")
        hand.fill(dose.get_by_label("Your password"), own_password("pharmacist"))
        hand.press(dose.get_by_role("button", name="Sign the entry"))
        expect(page.locator("#step-3")).to_contain_text("another person confirms it")
        self._seal(page, hand)

    @staticmethod
    def _seal(page: Page, hand: Hand) -> None:
        first = page.locator("#step-1")
        hand.press(first.get_by_role("button", name="Seal who the patient is"))
        for label, value in {
            "Name": "Demonstration Patient",
            "Born on, YYYY-MM-DD": "1990-02-03",
            "Number of hospital or insurer": "D-1",
        }.items():
            hand.fill(first.get_by_label(label), value)
        hand.fill(first.get_by_label("How to reach the patient"), "ward 3")
        hand.press(first.get_by_role("button", name="Seal it"))
        expect(first.get_by_role("button", name="Seal it")).to_have_count(0)

    def confirm(self, days: str, number: int) -> None:
        """The second person hears of the order on the own page, and enters it blind."""
        page, hand = self.at("second")
        self.go_to("second", "New batch")
        hand.press(page.locator(".dw-waiting a").first)
        third = page.locator("#step-3")
        hand.fill(third.get_by_label("Patient (pseudonym)", exact=True), f"demonstration-{number:03d}")
        hand.fill(third.get_by_label("Prescription number", exact=True), f"RX-{number}")
        hand.fill(third.get_by_label("Prescribed amount", exact=True), "1")
        hand.choose(third.get_by_label("Unit", exact=True), "mg")
        hand.choose(third.get_by_label("Per", exact=True), "dose")
        hand.fill(third.get_by_label("Times of day", exact=True), "evening")
        hand.fill(third.get_by_label("Days", exact=True), days)
        hand.fill(third.get_by_label("Your password"), own_password("second"))
        hand.press(third.get_by_role("button", name="Sign the confirmation"))
        expect(page.locator("#step-4")).to_have_class(re.compile("dw-open"))

    def start(self, batch: str) -> None:
        page, hand = self.at("operator")
        self.go_to("operator", "New batch")
        hand.press(page.locator(".dw-waiting a").first)
        _, _, cartridge = load_demonstration(CASE, datetime.now(UTC).date().isoformat())
        hand.fill(page.locator("#step-4").get_by_label("Scan the cartridge", exact=True), cartridge.serial)
        hand.press(page.locator("#step-4").get_by_role("button", name="Check"))
        expect(page.locator("#step-4")).to_contain_text(f"Scanned: {cartridge.serial}.")
        hand.press(page.locator("#step-5").get_by_role("button", name="go through the gates"))
        hand.press(page.get_by_role("button", name=f"Start batch {batch} on cell-1"))
        expect(page.get_by_text(f"Batch {batch} is on cell-1.")).to_be_visible()
        hand.press(page.get_by_role("button", name="Go to cell-1"))
        expect(page.locator(".dw-head")).to_contain_text(batch)
        expect(page.locator(".dw-col[inert]")).to_have_count(0)

    def acknowledge(self) -> None:
        page, hand = self.at("operator")
        alarm = page.locator(".dw-alarm")
        expect(alarm).to_contain_text("unacknowledged")
        hand.press(page.get_by_role("button", name="Acknowledge"))
        dialog = page.get_by_role("dialog")
        hand.fill(dialog.get_by_label("What did you see, what did you do?"), "air in the nozzle; plate left as it is")
        hand.press(dialog.get_by_role("button", name="Acknowledge"))
        expect(dialog).to_have_count(0)
        expect(alarm.locator(".dw-alarm-top")).to_contain_text("acknowledged")
        expect(alarm.locator(".dw-alarm-top")).not_to_contain_text("unacknowledged")

    def take_off(self, unit: int) -> None:
        """Another person than who ran the batch takes a rejected unit off the plate."""
        page, hand = self.at("second")
        self.back_to_the_cell("second")
        form = page.locator("form", has=page.get_by_role("button", name=f"Unit {unit} is off the plate"))
        hand.fill(form.get_by_label("User name"), "second")
        hand.fill(form.get_by_label("Password"), own_password("second"))
        hand.press(form.get_by_role("button", name=f"Unit {unit} is off the plate"))
        expect(page.locator(f'.dw-unit[data-unit="{unit}"]')).to_contain_text("removal confirmed")

    def close_the_run(self) -> Locator:
        """The qualified person closes the run; return where the proposal stands, which is shown anew."""
        page, hand = self.at("qp")
        if page.url != f"{self.served.base}/":
            self.back_to_the_cell("qp")
        close, shown = page.get_by_role("button", name="Close the run and review it"), page.get_by_role("button", name="Show the review")
        hand.press(close)
        try:
            expect(shown).to_be_visible()
        except AssertionError:  # its connection broke, it has loaded itself again, and the press was lost with it
            hand.press(close)
        return self.review()

    def review(self) -> Locator:
        page, hand = self.at("qp")
        hand.press(page.get_by_role("button", name="Show the review"))
        shown = page.locator(".dw-verdict-big")
        expect(shown).to_be_visible()
        return shown

    def dispose(self, disposition: str) -> None:
        page, hand = self.at("qp")
        hand.choose(page.get_by_label("Disposition"), disposition)
        form = page.locator("form", has=page.get_by_label("Disposition"))
        hand.fill(form.get_by_label("Your password"), own_password("qp"))
        hand.press(form.get_by_role("button", name="Sign", exact=True))
        expect(page.get_by_text(f"Signed: {disposition}.")).to_be_visible()
        expect(self.review()).to_have_text(f"Signed: {disposition}")

    # After release

    def label(self, units: int, into: Path) -> None:
        page, hand = self.at("operator")
        hand.press(page.get_by_role("button", name=f"Pack {units} released units"))
        with page.expect_download() as download:
            hand.press(page.get_by_role("button", name="Print (PDF)"))
        download.value.save_as(into)

    def search_the_trail(self, batch: str) -> list[str]:
        """Return what the trail lists of a batch, the newest entry first."""
        self.go_to("quality", "Trail")
        page, hand = self.at("quality")
        hand.fill(page.get_by_label("Object (type, or type/id)"), f"batch/{batch}")
        hand.press(page.get_by_role("button", name="Search"))
        expect(page).to_have_url(re.compile("object=batch"))
        expect(page.locator("tbody tr").first).to_be_visible()  # the new page, and not one that has still to be built
        expect(page.locator(".dw-col[inert]")).to_have_count(0)
        return page.locator("tbody tr").all_inner_texts()

    def take_the_package(self, into: Path) -> None:
        page, hand = self.at("qp")
        with page.expect_download() as download:
            hand.press(page.get_by_role("button", name="Download the review package", exact=True))
        download.value.save_as(into)
