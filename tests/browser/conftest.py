"""A demonstration site with bench, cell and workstation processes, and a real browser that looks at it."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from stack import Stack, today

from api.cases import Changes, load_case
from api.demo_desk import Desk
from api.processes import Child, free_port, start_workstation, wait_for_port
from api.production import SecondEntry
from api.site import CELL
from api.status import CellStatus
from recipes.library import load_demonstration

REQUIRED = "DOSEWRIGHT_REQUIRE_BROWSER"
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--js-flags=--no-maglev --no-turbofan",  # no page lives long enough to gain what it costs to optimise its scripts
]
WAIT_MS = 30_000
_DRIVER = "GL Driver Message (OpenGL, Performance"
"""What Chromium says of the speed of a machine's graphics; on one without them everything is slow."""


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where a Chromium is installed: the one without windows where there is one, which takes half the time for a new visitor."""
    found = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        if os.environ.get(REQUIRED) == "1":
            pytest.fail(f"Chromium is missing, and {REQUIRED} is 1")
        pytest.skip("not run: Chromium is missing")
    return found


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """A browser for the tests of one file: while it is open its event loop counts as running, and no other can be run in this process."""
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield running
        running.close()


@dataclass(slots=True)
class Watch:
    """What a browser context said on its console and asked of the network."""

    host: str
    console: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def on(self, context: BrowserContext) -> None:
        context.on("console", lambda message: self.console.append(f"{message.type}: {message.text}"))
        context.on("weberror", lambda error: self.console.append(f"error: {error.error}"))
        context.on("request", lambda request: self._asked(request.url))

    def _asked(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"data", "blob"} and parts.netloc != self.host:
            self.foreign.append(url)

    def assert_quiet(self) -> None:
        """Fail on any error, warning or hint, and on anything asked of another host."""
        assert self.foreign == []
        assert [text for text in self.console if not text.startswith(("log:", "info:")) and _DRIVER not in text] == []


@dataclass(slots=True)
class Workplace:
    """One site with all its processes. Lifetime: until `close`."""

    stack: Stack
    port: int
    workstation: Child

    @classmethod
    def start(
        cls,
        folder: Path,
        *,
        rate: str = "60",
        case: str = "minoxidil",
        fault: str | None = None,
        others: tuple[str, ...] = (),
        daily_check: bool = False,
    ) -> Workplace:
        stack = Stack.start(folder, case, rate=rate, fault=fault, others=others, daily_check=daily_check)
        port = free_port()
        place = cls(stack, port, start_workstation(stack.children, folder, port, page=True))
        wait_for_port(port, place.workstation, 60.0)
        stack.slow_at_rest()
        stack.let_go()
        return place

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def password(self, username: str) -> str:
        assert self.stack.passwords is not None
        return self.stack.passwords[username]

    def kill_workstation(self) -> None:
        os.kill(self.workstation.pid, signal.SIGKILL)
        self.workstation.close()

    def restart_workstation(self) -> None:
        self.workstation = start_workstation(self.stack.children, self.stack.folder, self.port, page=True)
        wait_for_port(self.port, self.workstation, 60.0)

    @contextmanager
    def desk(self, username: str) -> Iterator[Desk]:
        desk = Desk.log_in(self.base, username, self.password(username))
        try:
            yield desk
        finally:
            desk.close()

    def order(self, days: int, cartridge_number: int = 1, prescription: str = "") -> str:
        """Have an order entered and confirmed over the interface; return its number."""
        _, ink, cartridge = load_demonstration(self.stack.case, today())
        entry = load_case(self.stack.case, Changes(), datetime.now(UTC).date()).entry
        serial = cartridge.serial if cartridge_number == 1 else f"{cartridge.serial}-{cartridge_number}"
        order = {
            **asdict(entry),
            "recipe": self.stack.case,
            "ink_lot": ink.lot,
            "cartridge": serial,
            "days": str(days),
            "number": prescription or f"RX-{cartridge_number}",
        }
        again = {name: str(order[name]) for name in SecondEntry.model_fields}
        with self.desk("pharmacist") as first, self.desk("second") as second:
            number = str(first.post("/orders", {"order": order, "signature": first.signature})["order"])
            second.post(f"/orders/{number}/confirm", {"entry": again, "signature": second.signature})
        return number

    def begin(self, days: int) -> str:
        """Start a batch over the interface and hold time there; return its number."""
        number = self.order(days)
        with self.desk("operator") as operator:
            batch = str(operator.post("/batches", {"order": number, "cell": "cell-1"})["batch"])
            operator.post(f"/batches/{batch}/run")
            self.until(lambda status: status.may("start").allowed)
            operator.post(f"/batches/{batch}/start")
        return batch

    def status(self) -> CellStatus:
        return CellStatus.model_validate(self.stack.ask().status())

    def until(self, condition: Callable[[CellStatus], bool], cell: str = CELL) -> CellStatus:
        """Let time go by until the cell's own status is as wanted, and hold it there."""
        return CellStatus.model_validate(self.stack.until(lambda status: condition(CellStatus.model_validate(status)), cell=cell))

    def log_in(self, page: Page, username: str, here: str = "/") -> None:
        """Log in, which leads to the day, and go on to a page: the cell's where none is named."""
        page.goto(f"{self.base}/login")
        page.get_by_label("User name").fill(username)
        page.get_by_label("Password").fill(self.password(username))
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(f"{self.base}/today")
        if here != "/today":
            page.goto(f"{self.base}{here}")

    def go_to(self, page: Page, name: str) -> None:
        """Open the list of pages in the head and follow the way to the page of this name."""
        page.locator(".dw-menu summary").click()
        page.locator(".dw-menu").get_by_role("link", name=name, exact=True).click()

    def close(self) -> None:
        self.stack.close()


@pytest.fixture
def workplace(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Workplace]:
    place = Workplace.start(tmp_path / "site", **request.param)
    try:
        yield place
    finally:
        place.close()
    assert "Traceback" not in (place.stack.folder / "logs" / "workstation.log").read_text()


@pytest.fixture
def watching() -> Iterator[Callable[[str], Watch]]:
    """Watch the pages of a site that a test has started itself; at the end of the test nothing is amiss."""
    made: list[Watch] = []

    def watch(base: str) -> Watch:
        made.append(Watch(urlsplit(base).netloc))
        return made[-1]

    yield watch
    for item in made:
        item.assert_quiet()


@pytest.fixture
def watch(workplace: Workplace) -> Watch:
    return Watch(f"127.0.0.1:{workplace.port}")


@pytest.fixture
def visit(browser: Browser, workplace: Workplace) -> Iterator[object]:
    """Open a page of one person in a context of its own: `visit("operator", watch=watch, java_script_enabled=False)`."""
    contexts: list[BrowserContext] = []

    def open_page(username: str | None = None, *, here: str = "/", watch: Watch | None = None, **options: object) -> Page:
        still: dict[str, object] = {"viewport": {"width": 1280, "height": 800}, "reduced_motion": "reduce"}  # nothing is waited for
        context = browser.new_context(**{**still, **options})  # type: ignore[arg-type]
        contexts.append(context)
        context.set_default_timeout(WAIT_MS)
        if watch is not None:
            watch.on(context)
        page = context.new_page()
        if username is not None:
            workplace.log_in(page, username, here)
        return page

    yield open_page
    for context in contexts:
        context.close()
