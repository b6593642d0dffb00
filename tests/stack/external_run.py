"""A whole batch weighed on an external balance, through the services, a cell process and its bench, as far as the package.

Run by its test in a process of its own: the recipes that this process and its children load are a copy in which hydrocortisone
permits an external balance and its machine has too coarse a balance. Usage: `external_run.py FOLDER`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import stranger_verifier as stranger
from site_services import Site
from stack import Stack

import api.site
from api import cli
from api.demo_register import demonstration_register
from api.errors import DosewrightError
from api.weighing_desk import ReadWeight
from audit.quantities import Milligram
from printer.equipment import EquipmentRegister, ExternalBalanceEntry
from printer.errors import CellRefused

SERIAL = "EXT-0042"


def register(*arguments: Any, **named: Any) -> EquipmentRegister:
    """The demonstration's register, and an external balance in it."""
    found = demonstration_register(*arguments, **named)
    entry = ExternalBalanceEntry(
        asset="bench-2",
        model="MX-5",
        serial=SERIAL,
        certificate="demonstration-X-1",
        calibrated_until=found.balance.calibrated_until,
        readability=Milligram("0.01"),
        expanded_uncertainty=Milligram("0.10"),
        removal="demonstration procedure EW-1",
    )
    return found.model_copy(update={"external_balance": entry})


def weigh(site: Site, batch: str, n: int, value: str) -> list[str]:
    """Both entries of a unit; return what was refused on the way."""
    desk, refused = site.workstation.weighing, []
    try:
        desk.enter_first(site.session("operator"), batch, n, ReadWeight(value_mg=value, balance_serial="B000000001"))
    except CellRefused as error:
        refused.append(error.message)
    read = ReadWeight(value_mg=value, balance_serial=SERIAL)
    desk.enter_first(site.session("operator"), batch, n, read)
    try:
        desk.enter_second(site.session("operator"), batch, n, read, site.credentials("operator"))
    except DosewrightError as error:
        refused.append(error.message)
    desk.enter_second(site.session("second"), batch, n, read, site.credentials("second"))
    return refused


def main(folder: Path) -> None:
    api.site.demonstration_register = register  # type: ignore[attr-defined]
    site = Site(Stack.start(folder / "site", "hydrocortisone"))
    try:
        batch = site.batch()
        site.print(batch)
        refused: list[str] = []
        for _ in range(50):
            status = site.stack.until(lambda found: bool(found["external_weighing"]) or found["state"] == "AWAITING_REVIEW", 120.0)
            waiting: Any = status["external_weighing"]
            if not waiting:
                break
            units: Any = status["units"]
            refused += weigh(site, batch, waiting["n"], units[waiting["n"] - 1]["target_mass_mg"])
        release = site.workstation.release
        release.close_run(site.session("qp"), batch)
        site.dispose(batch, "released")
        package = folder / "review-package.zip"
        package.write_bytes(release.export(site.session("qp"), batch))
        site.workstation.store.checkpoint()
        keys = site.stack.folder / "site.vkey"
        stores = [str(site.stack.folder / name) for name in ("workstation.db", "cell-1.db")]
        found = {
            "verify": cli.run(["verify", str(package), *stores, "--trusted-key", str(keys)]),
            "stranger": stranger.verify(package.read_bytes(), keys.read_text().split()),
            "replay": cli.run(["replay", str(package)]),
            "refused": refused,
        }
        (folder / "found.json").write_text(json.dumps(found))
    finally:
        site.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
