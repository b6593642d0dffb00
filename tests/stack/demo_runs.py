"""Small demonstrations, each made once for a test session by the real command.

Only what its accounts' passwords cost to try is not the product's own: that is held by tests of the accounts.
"""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
import zipfile
from functools import cache, partial
from pathlib import Path
from unittest.mock import patch

from api import cli, demo
from api.site import create_site
from audit.checkpoint import SigningKey
from audit.reader import TrailReader
from audit.release.package import TrailExport, write_package
from audit.release.selection import Scope
from tests.audit.conftest import CHEAP

PACKAGE, KEYS, STORES = "review-package.zip", "site.vkey", ("workstation.db", "cell-1.db")


@cache
def demonstration(*arguments: str, status: int = 0) -> Path:
    """Run `dosewright demo` with these arguments and return its folder; it must end with the status."""
    place = Path(tempfile.mkdtemp(prefix="dosewright-demo-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    folder = place / "demo"
    with patch.object(demo, "create_site", partial(create_site, cost=CHEAP)):
        assert cli.run(["demo", "--dir", str(folder), "--rate", "400", *arguments]) == status
    return folder


def released() -> Path:
    """Three units of the smallest case, released."""
    return demonstration("--case", "minoxidil", "--units", "3")


def stopped() -> Path:
    """The same with a clogged nozzle at its second unit: rejected."""
    return demonstration("--case", "minoxidil", "--units", "3", "--fault", "clog:2", status=3)


def whole(folder: Path, to: Path) -> Path:
    """The whole package of a demonstration, from its two stores and the workstation's key."""
    with zipfile.ZipFile(folder / PACKAGE) as archive:
        batch = json.loads(archive.read("record.json"))["batch"]
    with TrailReader(folder / STORES[0]) as workstation, TrailReader(folder / STORES[1]) as cell:
        return write_package(
            to,
            batch=batch,
            workstation=TrailExport.from_reader(workstation),
            cell=TrailExport.from_reader(cell),
            blob=cell.blob,
            key=SigningKey.load(folder / "keys" / "workstation.key"),
            created="2026-11-20T10:00:00.000000Z",
            scope=Scope.WHOLE,
        )
