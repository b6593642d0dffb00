"""`kill -9` of the cell in mid-unit, and what becomes of the batch through the workstation's services."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import stranger_verifier as stranger
from site_services import Site
from stack import Stack

from api import cli
from api.errors import DosewrightError
from api.site import CELL
from audit.errors import ReleaseBlocked
from firmware_bridge.wire_log import read_wire_log
from printer.errors import CellError, CellUnreachable
from printer.ports import STOP

pytestmark = pytest.mark.stack


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    running = Site(Stack.start(tmp_path / "site"))
    try:
        yield running
    finally:
        running.close()


def test_killed_in_mid_unit_reviewed_and_rejected(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    batch = site.batch()
    site.print(batch)
    site.stack.until(lambda status: sum('"kind":"unit.print.intended"' in line for line in site.stack.ask().trail(0)) == 2)
    site.stack.kill_cell()
    with pytest.raises((CellUnreachable, DosewrightError)):
        site.workstation.release.close_run(site.session("qp"), batch)
    site.stack.start_cell()
    release = site.workstation.release
    release.close_run(site.session("qp"), batch)
    record = release.review(batch)
    (run,) = record["runs"]  # type: ignore[misc]
    assert run["ended"] == "INTERRUPTED"  # type: ignore[index, call-overload]
    units: Any = record["units"]
    assert [(unit["n"], unit["verdict"]) for unit in units] == [(1, "accepted"), (2, "scrapped")]
    assert units[1]["mass_mg"] is None and units[1]["reasons"]
    assert record["disposition"] == "held" and record["proposal"]["open"] == ["rejected"]  # type: ignore[index, call-overload]
    with pytest.raises(ReleaseBlocked, match=r"INTERRUPTED.*removal is not confirmed"):
        site.dispose(batch, "released")
    release.confirm_removal(site.session("second"), batch, 2, site.credentials("second"))
    with pytest.raises(ReleaseBlocked, match="does not permit partial release"):
        site.dispose(batch, "partly released")
    site.dispose(batch, "rejected")
    package = tmp_path / "review-package.zip"
    package.write_bytes(release.export(site.session("qp"), batch))
    site.workstation.store.checkpoint()
    keys = site.stack.folder / "site.vkey"
    stores = [str(site.stack.folder / name) for name in ("workstation.db", "cell-1.db")]
    assert cli.run(["verify", str(package), *stores, "--trusted-key", str(keys)]) == 0, capsys.readouterr().out
    assert stranger.verify(package.read_bytes(), keys.read_text().split())
    capsys.readouterr()
    assert cli.run(["replay", str(package), "--json"]) == 0
    (replayed,) = json.loads(capsys.readouterr().out).values()
    # the first unit is decided again; the inputs of the second were lost with the process
    assert replayed["outcome"] == "identical" and replayed["journal_segments"] == 2 and replayed["entries"] > 10
    assert replayed["unsealed"][0] == "unit.print.intended" and replayed["unsealed"][-1] == "run.record.closed"
    assert replayed["recorded_sha256"] == replayed["replayed_sha256"]


def test_asked_to_end_in_mid_unit_it_stops_its_printer_and_closes_the_run_at_the_next_start(site: Site) -> None:
    batch = site.batch()
    site.print(batch)
    site.stack.until(lambda status: status["units"][0]["state"] == "printing")  # type: ignore[index, call-overload]
    run = str(site.stack.ask().status()["run"])
    site.stack.end_cell()
    chunks = list(read_wire_log(site.stack.folder / CELL / f"wire-{run}.log"))
    assert [(chunk.port, chunk.direction, chunk.data) for chunk in chunks if chunk.direction == "!"] == [("printer", "!", STOP)]
    to_printer = [chunk.data for chunk in chunks if chunk.port == "printer" and chunk.direction != "<"]
    assert to_printer[-1] == STOP, "nothing is sent after it"
    site.stack.start_cell()
    status = site.stack.ask().status()
    assert (status["state"], status["ended"], status["run"]) == ("AWAITING_REVIEW", "INTERRUPTED", run)
    trail = site.stack.ask().trail(0)
    assert any('"kind":"cell.printer.stopped"' in line and f"ended while run {run} was open" in line for line in trail)


@pytest.mark.deep
@pytest.mark.parametrize(("kind", "scrapped"), [("calibration.print.intended", []), ("unit.print.intended", [1])])
def test_killed_with_a_purge_unit_on_the_plate(tmp_path: Path, kind: str, scrapped: list[int]) -> None:
    """Nothing is released before the purge unit is confirmed to be off the plate, although every other unit is."""
    site = Site(Stack.start(tmp_path / "site", "sildenafil"))
    try:
        batch = site.batch()
        site.print(batch)
        site.stack.until(lambda status: any(f'"kind":"{kind}"' in line for line in site.stack.ask().trail(0)))
        site.stack.kill_cell()
        site.stack.start_cell()
        release = site.workstation.release
        release.close_run(site.session("qp"), batch)
        for unit in scrapped:
            release.confirm_removal(site.session("second"), batch, unit, site.credentials("second"))
        for disposition in ("released", "partly released"):
            with pytest.raises(ReleaseBlocked, match="P1: its removal is not confirmed") as blocked:
                site.dispose(batch, disposition)
            assert not any("001: its removal" in reason for reason in blocked.value.reasons)
        with pytest.raises(CellError, match="ran the batch"):
            release.confirm_removal(site.session("operator"), batch, 1, site.credentials("operator"), purge=True)
        release.confirm_removal(site.session("second"), batch, 1, site.credentials("second"), purge=True)
        record: Any = release.review(batch)
        assert record["runs"][0]["ended"] == "INTERRUPTED"
        assert [(purge["n"], purge["removed"]) for purge in record["purge_units"]] == [(1, True)]
        assert [(unit["n"], unit["verdict"]) for unit in record["units"]] == [(n, "scrapped") for n in scrapped]
        assert not any("removal" in reason for reason in record["proposal"]["reasons"])
        site.dispose(batch, "rejected")
    finally:
        site.close()


def test_a_changed_recipe_in_the_site_is_refused_by_the_cell(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever can write the workstation's shelf cannot make a cell print from a recipe that nobody signed."""
    bundle = site.workstation.shelf.bundle(site.stack.case)
    text = str(bundle["recipe_toml"])
    assert 'low = "19 mg/g"' in text
    changed = {**bundle, "recipe_toml": text.replace('low = "19 mg/g"', 'low = "10 mg/g"')}
    batch = site.batch()
    monkeypatch.setattr(site.workstation.shelf, "bundle", lambda recipe: changed)
    with pytest.raises(CellError, match="was changed") as refused:
        site.workstation.production.request_run(site.session("operator"), batch)
    assert refused.value.remedy and "\n" not in str(refused.value)
    assert site.workstation.production.batch(batch)["status"] == "created"
    kinds = {line.partition('"kind":"')[2].partition('"')[0] for line in site.stack.ask().trail(0)}
    assert not any(kind.startswith(("unit.", "run.record")) for kind in kinds)
