"""Whether there is room, and whether a record reaches the disk in time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from api.doctor.finding import Finding, failed, not_checked, passed, warning

_MIB = 1 << 20
_FEW_INODES = 1_000
_SLOW_US = 100_000
_TOO_SLOW_US = 2_000_000
"""A cell waits 10 s for a commit, which takes a few syncs, and then stops the run."""
_AMPLE = 16
"""As many times the least amount of room is no matter for a while."""


@dataclass(frozen=True, slots=True)
class DiskFacts:
    """The disk below one folder. `probe_us` is the median time of a write with its sync; None where none was made."""

    what: str
    path: str
    problem: str = ""
    free: int = 0
    least: int = 0
    inodes: int = 0
    inodes_free: int = 0
    probe_us: int | None = None
    probe_problem: str = ""


def judge_disk(facts: DiskFacts) -> Iterator[Finding]:
    if facts.problem:
        yield failed("disk.room", facts.problem, "Mount the disk, or correct the path in workstation.toml.", facts.what)
        return
    room = f"{facts.free // _MIB} MiB free at {facts.path}"
    if facts.free < facts.least:
        text = f"{room}; below {facts.least // _MIB} MiB no new work is taken on"
        yield failed("disk.room", text, "Free space on the disk; delete nothing in the site's folder.", facts.what)
    elif facts.free < _AMPLE * facts.least:
        yield warning("disk.room", room, f"Free space before it is below {facts.least // _MIB} MiB.", facts.what)
    else:
        yield passed("disk.room", room, facts.what)
    if facts.inodes and facts.inodes_free < _FEW_INODES:
        text = f"{facts.inodes_free} of {facts.inodes} files more can be made"
        yield failed("disk.files", text, "Delete what is not needed; not in the site's folder.", facts.what)
    elif facts.inodes:
        yield passed("disk.files", f"{facts.inodes_free} of {facts.inodes} files more can be made", facts.what)
    else:
        yield passed("disk.files", "this file system sets no limit", facts.what)
    yield _judge_probe(facts)


def _judge_probe(facts: DiskFacts) -> Finding:
    check = "disk.write"
    if facts.probe_problem:
        remedy = "Make the folder writable for the account of the workstation, or run the doctor as that account."
        return failed(check, facts.probe_problem, remedy, facts.what)
    if facts.probe_us is None:
        return not_checked(check, f"there is no folder {facts.path} yet; it is made with what is first put there", facts.what)
    text = f"a write is on the disk after {facts.probe_us / 1000:.1f} ms (median)"
    if facts.probe_us > _TOO_SLOW_US:
        remedy = "Move the site to a local disk. A cell stops a run whose record is late."
        return failed(check, text, remedy, facts.what)
    if facts.probe_us > _SLOW_US:
        return warning(check, text, "Find out what else uses the disk; a local solid-state disk takes a few milliseconds.", facts.what)
    return passed(check, text, facts.what)
