"""The memory that a review package of a very long trail takes: each step in a process of its own, which prints its peak.

Arguments: `make FOLDER ENTRIES`, `export FOLDER` or `verify FOLDER`.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from audit.checkpoint import SigningKey, VerifierKey
from audit.events import EventKind
from audit.reader import TrailReader
from audit.release.package import TrailExport, write_package
from audit.release.package_check import verify_package
from tests.benchmarks import Row

ENTRIES = 1_000_000
_GROUP = 1000


def make(folder: Path, entries: int) -> None:
    """Write a sample batch into two stores, and then so many entries of other units into the cell's."""
    from tests.benchmarks.trail import drafts
    from tests.release.conftest import Scenario, Writer

    with ExitStack() as stack:
        batch = Writer(folder, Scenario(), stack).write()
        for first in range(0, entries, _GROUP):
            batch.cell.append(*drafts(min(_GROUP, entries - first), first, kind=EventKind.UNIT_WEIGHT_JUDGED))
        batch.key.save(folder / "key")
        (folder / "site.vkey").write_text(f"{batch.workstation.key}\n{batch.cell.key}\n")
        (folder / "stores").write_text(f"{batch.workstation.path}\n{batch.cell.path}\n")


def export(folder: Path) -> None:
    stores = (folder / "stores").read_text().split()
    with TrailReader(Path(stores[0])) as workstation, TrailReader(Path(stores[1])) as cell:
        exports = [TrailExport.from_reader(reader) for reader in (workstation, cell)]
        write_package(
            folder / "p.zip",
            batch="B-1",
            workstation=exports[0],
            cell=exports[1],
            blob=cell.blob,
            key=SigningKey.load(folder / "key"),
            created="2026-11-20T10:00:00.000000Z",
        )


def verify(folder: Path) -> None:
    keys = [VerifierKey.parse(line) for line in (folder / "site.vkey").read_text().split()]
    report = verify_package(folder / "p.zip", keys)
    if report.exit_status:
        raise RuntimeError(f"the package does not verify: {report.findings[:3]}")


def _step(*arguments: str) -> float:
    """Run a step in a process of its own; return its peak in MB."""
    # A shell between, because a process inherits the peak of the one that starts it.
    command = ["/bin/sh", "-c", '"$0" -m tests.benchmarks.package_memory "$@"; exit $?', sys.executable, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout)


def peaks(entries: int) -> tuple[float, float]:
    """Return the peaks of export and verification, in MB."""
    with tempfile.TemporaryDirectory() as name:
        _step("make", name, str(entries))
        return _step("export", name), _step("verify", name)


def million_entries() -> Row:
    exporting, verifying = peaks(ENTRIES)
    peer = "none: nothing else has this format"
    return Row("package.million_entries_peak_mb", f"{exporting:.0f} export, {verifying:.0f} verify", "MB", peer, None, None)


if __name__ == "__main__":
    step, place, *rest = sys.argv[1:]
    {"make": lambda: make(Path(place), int(rest[0])), "export": lambda: export(Path(place)), "verify": lambda: verify(Path(place))}[step]()
    sys.stdout.write(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}\n")
