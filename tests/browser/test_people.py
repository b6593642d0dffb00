"""People and My account in a real browser: factors are enrolled, a passkey opens from outside, a locked page goes on with the password."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from forked import ForkedChildren
from playwright.sync_api import Browser, Page, expect

from api.processes import free_port, start_workstation, wait_for_port
from api.site import create_site
from audit.second_factor import code_at
from tests.audit.conftest import CHEAP

pytestmark = [pytest.mark.browser, pytest.mark.stack]


@dataclass
class Place:
    """A workstation alone, without a cell that answers."""

    base: str
    passwords: dict[str, str]
    folder: Path

    def log_in(self, page: Page, username: str) -> None:
        page.goto(f"{self.base}/login")
        page.get_by_label("User name").fill(username)
        page.get_by_label("Password").fill(self.passwords[username])
        page.get_by_role("button", name="Log in", exact=True).click()


@pytest.fixture
def place(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Place]:
    folder, port = tmp_path / "site", free_port()
    made = create_site(folder, cost=CHEAP)
    settings = folder / "workstation.toml"
    own = f'passkey_rp_id = "localhost"\npasskey_origins = ["http://localhost:{port}"]\n{getattr(request, "param", "")}'
    settings.write_text(own + settings.read_text())
    with ForkedChildren(folder / "logs") as children:
        wait_for_port(port, start_workstation(children, folder, port, page=True), 60.0)
        yield Place(f"http://localhost:{port}", dict(made.passwords), folder)
    assert "Traceback" not in (folder / "logs" / "workstation.log").read_text()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(30_000)
    yield context.new_page()
    context.close()


def with_virtual_authenticator(page: Page) -> None:
    """Chromium's own authenticator (CDP WebAuthn), with a user who is present."""
    cdp = page.context.new_cdp_session(page)
    cdp.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True, "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }  # fmt: skip
    cdp.send("WebAuthn.addVirtualAuthenticator", {"options": options})


def test_factors_are_enrolled_on_my_account(place: Place, page: Page, tmp_path: Path) -> None:
    with_virtual_authenticator(page)
    place.log_in(page, "qp")
    page.goto(f"{place.base}/account")
    begin = page.locator("form", has=page.get_by_role("button", name="Begin"))
    begin.get_by_label("Your password").fill(place.passwords["qp"])
    begin.get_by_role("button", name="Begin").click()
    secret = page.locator(".dw-secret").inner_text()
    expect(page.locator(".dw-codes li")).to_have_count(10)
    expect(page.get_by_label("QR code of the secret")).to_be_visible()
    page.screenshot(path=tmp_path / "account-totp.png", full_page=True)
    page.get_by_label("Code", exact=True).fill(code_at(secret, page.evaluate("Math.floor(Date.now() / 30000)")))
    page.get_by_role("button", name="Enrol it").click()
    expect(page.get_by_role("row", name=re.compile("one-time password"))).to_contain_text("✓ in use, 10 recovery codes left")
    add = page.locator("form", has=page.get_by_role("button", name="Add a passkey"))
    add.get_by_label("Name, for example key on the ring").fill("key of the test")
    add.get_by_label("Your password").fill(place.passwords["qp"])
    add.get_by_role("button", name="Add a passkey").click()
    expect(page.get_by_role("row", name=re.compile("key of the test"))).to_contain_text("✓ in use")
    page.screenshot(path=tmp_path / "account.png", full_page=True)
    page.emulate_media(color_scheme="dark")
    page.screenshot(path=tmp_path / "account-dark.png", full_page=True)


def test_an_administrator_makes_an_account_and_quality_assurance_signs_the_review(place: Place, page: Page, tmp_path: Path) -> None:
    place.log_in(page, "administrator")
    page.goto(f"{place.base}/people")
    new = page.locator("form", has=page.get_by_role("button", name="Make the account"))
    new.get_by_label("User name").fill("mara")
    new.get_by_label("Full name").fill("Test Account")
    new.get_by_label("Roles").click()
    page.get_by_role("option", name="operator").click()
    page.keyboard.press("Escape")
    new.get_by_role("button", name="Make the account").click()
    issued = page.locator(".dw-secret").inner_text()
    assert re.fullmatch(r"[0-9a-f]{6}(-[0-9a-f]{6}){3}", issued)
    page.get_by_role("button", name="It is handed over").click()
    expect(page.get_by_role("row", name=re.compile("^mara "))).to_contain_text("password to be changed")
    page.goto(f"{place.base}/people?account=mara")
    page.screenshot(path=tmp_path / "people.png")
    page.emulate_media(color_scheme="dark")
    page.screenshot(path=tmp_path / "people-dark.png")
    page.emulate_media(color_scheme="light")
    page.get_by_role("button", name="Close for good").click()
    expect(page.get_by_text("A reason is needed.")).to_be_visible()
    page.get_by_label("Reason for what follows").fill("test is over")
    page.get_by_role("button", name="Close for good").click()
    expect(page.get_by_role("row", name=re.compile("^mara "))).to_contain_text("– closed")
    page.context.clear_cookies()
    place.log_in(page, "quality")
    page.goto(f"{place.base}/people")
    review = page.locator("form", has=page.get_by_role("button", name="Sign the review"))
    review.get_by_label("Your password").fill(place.passwords["quality"])
    review.get_by_role("button", name="Sign the review").click()
    expect(page.get_by_text("Last signed on 20")).to_be_visible()


@pytest.mark.deep
def test_a_locked_page_shows_and_stops_and_goes_on_with_the_password(place: Place, page: Page, tmp_path: Path) -> None:
    """Takes a minute: the shortest span that a policy can have, by the machine's own clock."""
    client = httpx.Client(base_url=f"{place.base}/api/v1")
    body = {"username": "administrator", "password": place.passwords["administrator"]}
    client.headers["Authorization"] = f"Bearer {client.post('/session', json=body).json()['token']}"
    policy = {**client.get("/access-policy").json()["policy"], "inactivity_minutes": 1}
    assert client.put("/access-policy", json={"policy": policy, "reason": "test"}).status_code == 200
    client.close()
    place.log_in(page, "operator")
    expect(page.locator(".dw-locked")).to_be_visible(timeout=90_000)
    expect(page.get_by_text("The cell does not answer;")).to_be_visible()
    expect(page.locator(".dw-col[inert]")).to_have_count(2)
    page.screenshot(path=tmp_path / "locked.png")
    page.get_by_label("Stop the printer now").click()
    expect(page.get_by_text("The printer was not told to stop")).to_be_visible()  # no cell is there: the press went through the lock
    page.goto(f"{place.base}/")
    page.locator(".dw-unlock").get_by_label("Password of operator").fill(place.passwords["operator"])
    page.get_by_role("button", name="Go on").click()
    expect(page.locator(".dw-locked")).to_have_count(0)


# nothing is inside, and a declared proxy on this machine says that the way is encrypted
OUTSIDE = 'trusted_networks = ["192.0.2.0/24"]\nproxies = ["127.0.0.1/32", "::1/128"]\n'


@pytest.mark.parametrize("place", [OUTSIDE], indirect=True)
def test_the_log_in_page_asks_for_a_passkey_from_outside(place: Place, page: Page, tmp_path: Path) -> None:
    with_virtual_authenticator(page)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    inside = {"X-Forwarded-For": "192.0.2.9", "X-Forwarded-Proto": "https"}
    page.set_extra_http_headers(inside)
    place.log_in(page, "qp")
    page.goto(f"{place.base}/account")
    add = page.locator("form", has=page.get_by_role("button", name="Add a passkey"))
    add.get_by_label("Name, for example key on the ring").fill("key of the test")
    add.get_by_label("Your password").fill(place.passwords["qp"])
    add.get_by_role("button", name="Add a passkey").click()
    expect(page.get_by_role("row", name=re.compile("key of the test"))).to_contain_text("✓ in use")
    page.context.clear_cookies()
    page.set_extra_http_headers({**inside, "X-Forwarded-For": "198.51.100.7"})
    place.log_in(page, "qp")
    expect(page.get_by_role("alert")).to_contain_text("a second factor is needed")
    page.screenshot(path=tmp_path / "login-outside.png")
    page.get_by_label("User name").fill("qp")
    page.get_by_label("Password").fill(place.passwords["qp"])
    page.get_by_role("button", name="Log in with a passkey").click()
    page.wait_for_url(f"{place.base}/today")
    expect(page.locator(".dw-menu summary")).to_be_visible()
    page.screenshot(path=tmp_path / "running.png")
    assert not [text for text in said if "Content Security Policy" in text]
