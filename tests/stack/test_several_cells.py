"""Several cells on one workstation: batches at the same time, and one cell that dies while the others print on."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import stranger_verifier as stranger
from site_services import Site
from stack import Stack

from api import cli
from api.errors import CellUnsuitable, NotFound
from printer.errors import CellUnreachable
from recipes.library import load_demonstration

pytestmark = pytest.mark.stack


def ended(status: dict[str, Any]) -> bool:
    return bool(status["state"] == "AWAITING_REVIEW")


@pytest.fixture
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    running = Site(Stack.start(tmp_path / "site", **getattr(request, "param", {"others": ("minoxidil",)})))
    try:
        yield running
    finally:
        running.close()


def cartridge(number: int) -> str:
    return f"{load_demonstration('minoxidil', '2026-11-20')[2].serial}-{number}"


def offers(site: Site, order: str) -> dict[str, tuple[str, ...]]:
    workstation = site.workstation
    return {offer.cell: offer.reasons for offer in workstation.allocation.offers(order, workstation.feeds.views())}


def package_of(site: Site, batch: str, disposition: str) -> Path:
    release = site.workstation.release
    release.close_run(site.session("qp"), batch)
    site.dispose(batch, disposition)
    path = site.stack.folder / f"{batch}.zip"
    path.write_bytes(release.export(site.session("qp"), batch))
    return path


def assert_proved(site: Site, package: Path, cell: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The package holds the trail of its own cell and of no other; verified by us, by a stranger, and decided again."""
    keys = site.stack.folder / "site.vkey"
    capsys.readouterr()
    assert cli.run(["verify", str(package), "--trusted-key", str(keys)]) == 0, capsys.readouterr().out
    files = stranger.container(package.read_bytes())
    assert stranger.verify(package.read_bytes(), keys.read_text().split())
    assert sorted(name for name in files if name.startswith("trails/")) == [
        f"trails/{cell}.demonstration.jsonl",
        "trails/workstation.demonstration.jsonl",
    ]
    assert json.loads(files["record.json"])["cell"]["name"] == cell
    assert all(json.loads(line)["device"] == cell for line in files[f"trails/{cell}.demonstration.jsonl"].splitlines()[1:])
    capsys.readouterr()
    assert cli.run(["replay", str(package), "--json"]) == 0
    (replayed,) = json.loads(capsys.readouterr().out).values()
    assert replayed["outcome"] == "identical"
    return dict(replayed)


def test_two_batches_at_once_and_one_cell_dies(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    stack = site.stack
    one, two = site.batch("8"), site.batch("3", cell="cell-2", cartridge=cartridge(2))
    site.print(one)
    site.print(two, "cell-2")
    both = [stack.ask(cell).status() for cell in ("cell-1", "cell-2")]
    assert [(status["cell"], status["batch"]) for status in both] == [("cell-1", one), ("cell-2", two)]
    assert {status["state"] for status in both} <= {"PREPARING", "PRINTING"}, "both move at the same time"
    stack.until(lambda status: status["state"] == "PRINTING")
    stack.until(lambda status: status["state"] == "PRINTING", cell="cell-2")
    stack.until(lambda status: any(unit["state"] == "printing" for unit in status["units"]), cell="cell-2")  # type: ignore[union-attr, index, call-overload]
    # cell and bench of the second go at once, in the middle of a unit
    for name in ("cell-2", "bench-cell-2"):
        os.kill(stack.pids[name], signal.SIGKILL)
    with pytest.raises(CellUnreachable):
        stack.ask("cell-2").status()
    before = stack.ask().status()
    assert before["state"] == "PRINTING" and not before["alarms"]
    began = time.monotonic()
    view = site.workstation.feeds.of("cell-2").view()
    assert view.status.state == "UNKNOWN" and view.problem and time.monotonic() - began < 6
    status = stack.until(ended)
    assert status["ended"] == "FINISHED"
    assert [unit["verdict"] for unit in status["units"]] == ["accepted"] * 8  # type: ignore[union-attr, index, call-overload]
    # the dead cell's batch is neither lost nor in the way: the other is decided on and exported meanwhile
    assert assert_proved(site, package_of(site, one, "rejected"), "cell-1", capsys)["unsealed"] == []
    assert site.workstation.production.batch(two)["status"] == "running"
    stack.start_other("cell-2", "minoxidil")
    assert stack.ask("cell-2").status()["ended"] == "INTERRUPTED"
    replayed = assert_proved(site, package_of(site, two, "rejected"), "cell-2", capsys)
    assert "run.record.closed" in replayed["unsealed"]
    stores = [str(stack.folder / name) for name in ("workstation.db", "cell-1.db", "cell-2.db")]
    site.workstation.store.checkpoint()
    assert cli.run(["verify", *stores, "--trusted-key", str(stack.folder / "site.vkey")]) == 0, capsys.readouterr().out


def test_one_cartridge_is_in_one_cell(site: Site) -> None:
    one = site.batch("8")
    site.print(one)
    order = site.order("2")
    (reason,) = offers(site, order)["cell-2"]
    assert reason == f"cartridge {cartridge(2)[:-2]} is in cell-1, for batch {one}"
    second = str(site.workstation.production.create_batch(site.session("operator"), order, "cell-2")["batch"])
    with pytest.raises(CellUnsuitable, match="is in cell-1"):
        site.workstation.production.request_run(site.session("operator"), second)
    assert site.stack.ask("cell-2").status()["run"] is None
    # STOP of one cell is of that cell alone
    site.workstation.production.stop(site.session("operator"), "cell-1", "quickstop", "test")
    assert site.stack.until(ended)["ended"] == "ABORTED"


@pytest.mark.parametrize("site", [{"others": ("hydrocortisone",)}], indirect=True)
def test_a_cell_with_another_machine_is_shown_with_the_reason(site: Site) -> None:
    order = site.order("2")
    assert offers(site, order) == {"cell-1": (), "cell-2": ("it has machine fdm-0.4, and recipe minoxidil@1 needs sse-18g-3ml",)}
    with pytest.raises(CellUnsuitable, match=r"cell-2 cannot take order O00001: it has machine fdm-0\.4"):
        site.workstation.production.create_batch(site.session("operator"), order, "cell-2")
    with pytest.raises(NotFound, match="no cell 'cell-3'"):
        site.workstation.production.create_batch(site.session("operator"), order, "cell-3")
    assert site.workstation.production.batches() == []
    # a client that was led to another cell's port finds another certificate
    address = site.stack.folder / "cell-1" / "address.json"
    address.write_text((site.stack.folder / "cell-2" / "address.json").read_text())
    with pytest.raises(CellUnreachable):
        site.workstation.cells.client("cell-1").describe()
