"""Small demonstrations, each made once for a test session by the real command."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from api import cli

PACKAGE, KEYS, STORES = "review-package.zip", "site.vkey", ("workstation.db", "cell-1.db")


@cache
def demonstration(*arguments: str, status: int = 0) -> Path:
    """Run `dosewright demo` with these arguments and return its folder; it must end with the status."""
    place = Path(tempfile.mkdtemp(prefix="dosewright-demo-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    folder = place / "demo"
    assert cli.run(["demo", "--dir", str(folder), "--rate", "400", *arguments]) == status
    return folder


def released() -> Path:
    """Three units of the smallest case, released."""
    return demonstration("--case", "minoxidil", "--units", "3")


def stopped() -> Path:
    """The same with a clogged nozzle at its second unit: rejected."""
    return demonstration("--case", "minoxidil", "--units", "3", "--fault", "clog:2", status=3)
