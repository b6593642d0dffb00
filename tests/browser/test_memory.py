"""A day of virtual time with batches, pages that stay and pages that come and go: no process of the site grows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from stack import OPERATOR, Stack

from api.processes import Child, free_port, start_workstation, wait_for_port
from api.status import CellStatus

pytestmark = [pytest.mark.browser, pytest.mark.stack, pytest.mark.deep]

DAY_US = 24 * 3600 * 1_000_000
LONGEST_S = 1500.0
LEFT_MB = 24.0
"""What a process may hold more after the day than after its first quarter: allocators give back in steps, and a trail has grown."""


def resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"process {pid} has gone")


BATCHES = 12


@pytest.fixture
def workplace(tmp_path: Path) -> Iterator[Workplace]:
    """A site whose jobs are signed before its workstation has the record."""
    stack = Stack.start(tmp_path / "site", rate="400")
    jobs = [stack.job(days=2, order=f"O-{number}", batch=f"B-{number}") for number in range(BATCHES)]
    port = free_port()
    place = Workplace(stack, port, start_workstation(stack.children, stack.folder, port, page=True), jobs)
    try:
        wait_for_port(port, place.workstation, 60.0)
        stack.let_go()
        yield place
    finally:
        stack.close()


@dataclass
class Workplace:
    stack: Stack
    port: int
    workstation: Child
    jobs: list[dict[str, Any]]
    begun: int = 0
    started: bool = True

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def status(self) -> CellStatus:
        return CellStatus.model_validate(self.stack.ask().status())

    def go_on(self, gone_us: int, status: CellStatus) -> None:
        """Begin the next batch when its time of the day has come; between two of them the cell is idle."""
        if not self.started and status.may("start").allowed:
            self.stack.ask().start(str(status.run), OPERATOR)
            self.started = True
        if self.begun < BATCHES and gone_us >= self.begun * DAY_US // BATCHES and (status.run is None or status.ended):
            self.stack.ask().create_run(self.jobs[self.begun])
            self.begun, self.started = self.begun + 1, False

    def open(self, browser: Browser, username: str) -> Page:
        page = browser.new_context().new_page()
        page.goto(f"{self.base}/login")
        page.get_by_label("User name").fill(username)
        page.get_by_label("Password").fill((self.stack.passwords or {})[username])
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(f"{self.base}/today")
        page.goto(f"{self.base}/")
        return page


def test_a_virtual_day_with_pages_and_batches_leaves_no_process_larger(workplace: Workplace, browser: Browser) -> None:
    stays = [workplace.open(browser, username) for username in ("operator", "pharmacist")]
    began, until = workplace.status().at_us, time.monotonic() + LONGEST_S
    warm: dict[str, float] = {}
    counted = 0
    processes = {"workstation": workplace.workstation.pid, "cell": workplace.stack.cell_pid}
    while (gone := (status := workplace.status()).at_us - began) < DAY_US:
        assert time.monotonic() < until, f"only {gone / 3.6e9:.1f} virtual hours went by"
        workplace.go_on(gone, status)
        page = stays[0].context.new_page()
        page.goto(workplace.base)
        expect(page.locator(".dw-col .dw-state h1")).to_be_visible()
        page.close()
        counted += 1
        if gone > DAY_US // 4 and not warm:
            warm = {name: resident_mb(pid) for name, pid in processes.items()}
    assert workplace.begun == BATCHES
    after = {name: resident_mb(pid) for name, pid in processes.items()}
    growth = {name: after[name] - warm[name] for name in processes}
    assert max(growth.values()) < LEFT_MB, (growth, warm, after, f"{counted} pages came and went")
    for page in stays:
        expect(page.locator(".dw-state h1")).to_be_visible()
        page.context.close()
