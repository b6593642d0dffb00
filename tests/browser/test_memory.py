"""A day of virtual time with batches, pages that stay and pages that come and go: no process of the site grows."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

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


def batches(workplace: Any) -> None:
    """Print one batch after the other, if none is on the cell."""
    status = workplace.status()
    if status.run is not None and not status.ended:
        return
    run = workplace.stack.ask().create_run(workplace.stack.job(days=3, order=f"O-{status.at_us}", batch=f"B-{status.at_us}"))["run"]
    limit = time.monotonic() + 60.0
    while not workplace.status().may("start").allowed:
        assert time.monotonic() < limit, workplace.status()
        time.sleep(0.05)
    workplace.stack.ask().start(str(run), {"username": "operator", "name": "Demonstration operator", "role": "operator"})


@pytest.mark.parametrize("workplace", [{"rate": "400"}], indirect=True)
def test_a_virtual_day_with_pages_and_batches_leaves_no_process_larger(workplace: Any, visit: Callable[..., Page]) -> None:
    stays = [visit("operator"), visit("pharmacist")]
    began, until = workplace.status().at_us, time.monotonic() + LONGEST_S
    warm: dict[str, float] = {}
    counted = 0
    processes = {"workstation": workplace.workstation.pid, "cell": workplace.stack.cell_pid}
    while (gone := workplace.status().at_us - began) < DAY_US:
        assert time.monotonic() < until, f"only {gone / 3.6e9:.1f} virtual hours went by"
        batches(workplace)
        page = stays[0].context.new_page()
        page.goto(workplace.base)
        expect(page.locator(".dw-col .dw-state h1")).to_be_visible()
        page.close()
        counted += 1
        if gone > DAY_US // 4 and not warm:
            warm = {name: resident_mb(pid) for name, pid in processes.items()}
    after = {name: resident_mb(pid) for name, pid in processes.items()}
    growth = {name: after[name] - warm[name] for name in processes}
    print(f"MB after a quarter: {warm}, after the day: {after}, {counted} pages came and went")
    assert max(growth.values()) < LEFT_MB, (growth, warm, after)
    for page in stays:
        expect(page.locator(".dw-state h1")).to_be_visible()
