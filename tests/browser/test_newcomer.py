"""A newcomer's first day, from the set-up page to a verified package: with a pointer, and with keys alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hands import Hand, KeyHand, PointerHand
from newcomer import STATE, Day, Served
from playwright.sync_api import Browser, Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.stack]


@pytest.fixture
def served(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Served]:
    made = Served(tmp_path / "site", fault=request.param)
    try:
        yield made
    finally:
        made.close()
    assert "Traceback" not in (made.site / "logs" / "workstation.log").read_text()


@pytest.mark.parametrize("hand", [PointerHand, pytest.param(KeyHand, marks=pytest.mark.deep)])
@pytest.mark.parametrize("served", ["bubble:2"], indirect=True)
def test_from_the_set_up_page_to_a_verified_package(
    served: Served, browser: Browser, hand: Callable[[Page], Hand], tmp_path: Path, watching: Any
) -> None:
    day = Day(browser, served, hand, watching(served.base).on)
    day.make_the_administrator()
    day.make_the_accounts()
    day.sign_the_recipe()
    day.sign_the_register()
    day.receive_the_ink()
    day.make_the_cell_ready()

    # air passes the nozzle in the second unit: it is rejected, the run stops, and nobody can release what is left
    day.enter(1, days="3")
    day.confirm(days="3", number=1)
    day.start("B00001")
    operator, _ = day.at("operator")
    expect(operator.locator('.dw-unit[data-unit="2"]')).to_contain_text("take it off the plate")
    expect(operator.locator(".dw-alarm")).to_contain_text("critical · unit 2")
    day.acknowledge()
    expect(day.close_the_run()).to_have_text("Proposed: held")
    day.take_off(2)
    day.review()
    day.dispose("rejected")

    # the bench has passed its air: the next prescription is printed and released
    day.enter(2, days="3")
    day.confirm(days="3", number=2)
    day.start("B00002")
    expect(operator.locator(".dw-unit.dw-is-accepted")).to_have_count(3)
    expect(operator.locator(STATE)).to_have_text("Awaiting review")
    expect(day.close_the_run()).to_have_text("Proposed: released")
    day.dispose("released")
    label, package = tmp_path / "label.pdf", tmp_path / "package.zip"
    day.label(3, label)
    assert label.read_bytes().startswith(b"%PDF-")
    found = day.search_the_trail("B00002")
    kinds = ["batch.record.created", "batch.run.requested", "batch.run.closed", "batch.disposition.signed"]
    assert [kind for row in reversed(found) for kind in kinds if kind in row] == kinds
    day.take_the_package(package)
    day.close()
    answer = verified(package, served.site / "site.vkey")
    assert (answer["status"], answer["signer_established"], answer["findings"]) == ("verified", True, [])


def verified(package: Path, keys: Path) -> dict[str, object]:
    """Verify a package by the command, in a process of its own, with the site's keys from outside the package."""
    command = [sys.executable, "-m", "api.cli", "verify", str(package), "--trusted-key", str(keys), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(done.stdout)[str(package)])
