"""`kill -9` of the cell in mid-unit, and what becomes of the batch through the workstation's services."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import stranger_verifier as stranger
from stack import Stack

from api import cli
from api.access import Credentials
from api.cases import Changes, load_case
from api.errors import DosewrightError
from api.production import OrderRequest, SecondEntry
from api.wiring import Workstation, build_workstation
from audit.errors import ReleaseBlocked
from printer.errors import CellError, CellUnreachable


class Site:
    """A site with bench and cell as processes, and the workstation's services in this one."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.workstation: Workstation = build_workstation(stack.folder)
        self._sessions: dict[str, Any] = {}

    def session(self, username: str) -> Any:
        if username not in self._sessions:
            token, _ = self.workstation.people.log_in(username, (self.stack.passwords or {})[username])
            self._sessions[username] = self.workstation.sessions.find(token)
        return self._sessions[username]

    def credentials(self, username: str) -> Credentials:
        return Credentials(password=(self.stack.passwords or {})[username], scripted=True)

    def batch(self, units: str = "3") -> str:
        """Enter, confirm and open a batch."""
        demonstration = load_case(self.stack.case, Changes(units=units), datetime.now(UTC).date())
        entry, production = demonstration.entry, self.workstation.production
        fields = {name: getattr(entry, name) for name in entry.__dataclass_fields__}
        request = OrderRequest.model_validate(
            {
                **fields,
                "recipe": demonstration.recipe.id,
                "ink_lot": demonstration.ink.lot,
                "cartridge": demonstration.cartridge.serial,
            }
        )
        order = str(production.enter_order(self.session("pharmacist"), request, self.credentials("pharmacist"))["order"])
        again = SecondEntry(height_cm=entry.height_cm, weight_kg=entry.weight_kg, prescribed=entry.prescribed)
        production.confirm_order(self.session("second"), order, again, self.credentials("second"))
        return str(production.create_batch(self.session("operator"), order, "cell-1")["batch"])

    def print(self, batch: str) -> None:
        self.workstation.production.request_run(self.session("operator"), batch)
        self.stack.until(lambda status: status["state"] == "READY")
        self.workstation.production.start(self.session("operator"), batch)

    def dispose(self, batch: str, disposition: str) -> None:
        self.workstation.release.dispose(self.session("qp"), batch, disposition, self.credentials("qp"))

    def close(self) -> None:
        self.workstation.close()
        self.stack.close()


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
