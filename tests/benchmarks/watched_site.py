"""A site whose cell prints in real time under a hundred lines of pressure a second, with people who look at it in a real browser.

The cell is the real one of `cell_stop.py`, without a bench that grants its time; its run is let be. The workstation's record holds ten
thousand entries and some orders, so that lists and searches find something.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path

import httpx
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from api.cases import Changes, load_case
from api.demo_desk import Desk
from api.demo_register import CLEANING_METHOD
from api.processes import Children, free_port, start_cell, wait_for_file
from api.site import CELL
from api.web_supervisor import WebSupervisor
from audit.checkpoint import SigningKey
from audit.clock import SystemClock
from audit.store import TrailStore
from audit.version import SOFTWARE
from printer.cell_client import CellAddress, CellClient
from recipes.library import load_demonstration, recipe_bytes
from tests.benchmarks.cell_devices import CASE
from tests.benchmarks.cell_stop import OPERATOR, job, lay_out, until
from tests.benchmarks.trail import drafts
from tests.cell_address import address_of

ENTRIES, ORDERS = 10_000, 6
_START_S = 120.0
_GROUP = 500

COUNTING = """
(() => {
  const seen = window.dwSeen = {shown: [], charts: 0, values: 0};
  let chart = null, values = null;
  const look = () => {
    const line = document.querySelector(".dw-chart polyline"), readings = document.querySelector(".dw-sensors");
    const newChart = line ? line.getAttribute("points") : null, newValues = readings ? readings.textContent : null;
    if (newChart === chart && newValues === values) return;
    seen.charts += newChart !== chart;
    seen.values += newValues !== values;
    [chart, values] = [newChart, newValues];
    if (newChart) seen.shown.push(Date.now());
  };
  new MutationObserver(look).observe(document, {subtree: true, childList: true, characterData: true, attributes: true});
})();
"""
"""Runs in every document from its beginning: notes the moments at which the chart or the readings on the page became others."""


@dataclass(slots=True)
class WatchedSite:
    """Lifetime: the block of `printing_site`."""

    folder: Path
    port: int
    passwords: dict[str, str]
    web: WebSupervisor
    address: CellAddress
    client: CellClient
    devices: subprocess.Popen[bytes]
    runs: int = 0

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def begin_run(self) -> None:
        """Have the cell print; return when its first unit is being laid in real time."""
        self.runs += 1
        self._say(b"r\n", b"fresh\n")
        run = str(self.client.create_run(job(self.runs, recipe_bytes(CASE)))["run"])
        until(self.client, "READY")
        self.client.start(run, OPERATOR)
        until(self.client, "PRINTING")

    def stop_heard_ns(self) -> int:
        """Wait until a person's stop is at the printer's terminal; return that moment of the monotonic clock."""
        if self.devices.stdout is None:
            raise RuntimeError("no pipe to the devices")
        return int(self.devices.stdout.readline())

    def kill_workstation(self) -> None:
        """Kill the web process when another waits to take its place, as it does but in the first seconds."""
        self.web.wait(_START_S, spare=True)
        os.kill(self.web.pid, signal.SIGKILL)

    def process(self) -> str:
        """What names the web process that answers; waits for one."""
        return str(httpx.get(f"{self.base}/api/v1/health", timeout=_START_S).json()["process"])

    def desk(self, username: str) -> Desk:
        return Desk.log_in(self.base, username, self.passwords[username])

    def _say(self, line: bytes, answer: bytes) -> None:
        if self.devices.stdin is None or self.devices.stdout is None:
            raise RuntimeError("no pipe to the devices")
        self.devices.stdin.write(line)
        if self.devices.stdout.readline() != answer:
            raise RuntimeError("the devices have gone")


@contextmanager
def printing_site() -> Iterator[WatchedSite]:
    """Start devices, cell and workstation; the cell has printed nothing yet."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dosewright-watched-"))) / "site"
        devices = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.cell_devices"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        stack.callback(devices.wait)
        stack.callback(devices.kill)
        if devices.stdout is None:
            raise RuntimeError("no pipe to the devices")
        passwords = lay_out(folder, json.loads(devices.stdout.readline()))
        _fill(folder)
        children = stack.enter_context(Children(folder / "logs"))
        wait_for_file(folder / CELL / "address.json", start_cell(children, folder), _START_S)
        address = address_of(folder, CELL)
        client = CellClient(address, timeout_s=30.0)
        stack.callback(client.close)
        client.record_cleaning(OPERATOR, CLEANING_METHOD)
        port = free_port()
        web = children.keep(WebSupervisor(folder, "127.0.0.1", port, log=folder / "logs" / "workstation.log"))
        web.start()
        web.wait(_START_S)
        site = WatchedSite(folder, port, passwords, web, address, client, devices)
        _order(site)
        yield site


def _fill(folder: Path) -> None:
    """Give the workstation's record a past."""
    key = SigningKey.load(folder / "keys" / "workstation.key")
    store = TrailStore.open(folder / "workstation.db", key=key, clock=SystemClock(), software=SOFTWARE)
    made = drafts(ENTRIES)
    for first in range(0, ENTRIES, _GROUP):
        store.append(*made[first : first + _GROUP])
    store.close()


def _order(site: WatchedSite) -> None:
    _, ink, cartridge = load_demonstration(CASE, datetime.now(UTC).date().isoformat())
    entry = load_case(CASE, Changes(), datetime.now(UTC).date()).entry
    desk = site.desk("pharmacist")
    for number in range(ORDERS):
        named = {"recipe": CASE, "ink_lot": ink.lot, "cartridge": cartridge.serial, "days": "3", "number": f"RX-{number}"}
        desk.post("/orders", {"order": {**asdict(entry), **named}, "signature": desk.signature})
    desk.close()


@contextmanager
def chromium() -> Iterator[Browser]:
    """A Chromium. Raises FileNotFoundError where none is installed."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        raise FileNotFoundError("Chromium is missing")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--headless", "--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            browser.close()


def logged_in(browser: Browser, site: WatchedSite, username: str = "operator") -> BrowserContext:
    """Return a context whose person is logged in, and which has nothing in its cache."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(_START_S * 1000)
    context.add_init_script(COUNTING)
    form = {"username": username, "password": site.passwords[username]}
    answer = context.request.post(f"{site.base}/api/v1/session", form=form, headers={"Origin": site.base}, max_redirects=0)
    if answer.status != HTTPStatus.SEE_OTHER:
        raise RuntimeError(f"the log-in was refused: {answer.text()}")
    return context


def look_at_cell(context: BrowserContext, site: WatchedSite) -> Page:
    """Open the page of the cell; return when it shows the pressure and is connected."""
    page = context.new_page()
    page.goto(f"{site.base}/")
    page.locator(".dw-state h1").wait_for()
    page.wait_for_function("window.did_handshake && window.dwSeen.shown.length > 0")
    return page


def load_text(began: float) -> str:
    """The load average, and how long the measurement took."""
    return f"load average {os.getloadavg()[0]:.1f}, {time.monotonic() - began:.0f} s"
