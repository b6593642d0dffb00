"""What the machine is like: packages, account, disk, clock, who holds which file. Nothing on it is changed."""

from __future__ import annotations

import ctypes
import grp
import importlib
import os
import pwd
import re
import stat
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from api.doctor.clocks import ClockFacts
from api.doctor.disk import DiskFacts
from api.doctor.rights import AccountFacts, FolderFacts

LOCK = Path(__file__).resolve().parent.parent.parent / "requirements.lock"
_LOCKED = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)\s*(;)?", re.MULTILINE)
NEEDED = (
    "alembic", "anyio", "argon2", "biip", "cryptography", "fastapi", "fhir.resources", "httpx", "nicegui", "numpy", "orjson",
    "prometheus_client", "pydantic", "pydantic_settings", "pyhanko", "pyotp", "pystrich", "rfc3161_client", "rich", "serial", "shapely",
    "sqlalchemy", "trimesh", "typer", "typst", "uvicorn", "webauthn",
)  # fmt: skip
"""The modules of the packages that the product asks for by itself."""
_SERIAL_GROUPS = ("dialout", "uucp")
_PROBES = 5
_PROBE_BYTES = 4096
_TIME_ERROR = 5
_LINUX = sys.platform == "linux"


def locked_versions(lock: Path) -> tuple[dict[str, list[str]], frozenset[str]] | None:
    """Return the locked versions of each package, and which have a condition; None where there is no lock."""
    try:
        text = lock.read_text(encoding="utf-8")
    except OSError:
        return None
    found = [(_normal(name), version, bool(marker)) for name, version, marker in _LOCKED.findall(text)]
    versions: dict[str, list[str]] = {}
    for name, version, _ in found:
        versions.setdefault(name, []).append(version)
    return versions, frozenset(name for name, _, marker in found if marker)


def installed_versions() -> dict[str, str]:
    return {_normal(found.metadata["Name"]): found.version for found in metadata.distributions() if found.metadata["Name"]}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def import_problems(names: tuple[str, ...] = NEEDED, load: Callable[[str], object] = importlib.import_module) -> dict[str, str]:
    """Load each package and return what it raised. A broken binary part raises what it likes, so whatever it is is its problem."""
    problems: dict[str, str] = {}
    for name in names:
        try:
            load(name)
        except Exception as error:
            problems[name] = f"{type(error).__name__}: {error}"
    return problems


def account() -> AccountFacts:
    number = os.geteuid()
    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:
        name = f"user {number}"
    for group in _SERIAL_GROUPS:
        try:
            found = grp.getgrnam(group)
        except KeyError:
            continue
        return AccountFacts(name, number, group, found.gr_gid in {os.getegid(), *os.getgroups()})
    return AccountFacts(name, number)


def folder(path: Path) -> FolderFacts:
    """Raises OSError where the folder cannot be looked at."""
    found = path.stat()
    return FolderFacts(str(path), stat.S_IMODE(found.st_mode), found.st_uid, os.access(path, os.W_OK | os.X_OK))


def disk(what: str, path: Path, least: int, *, probe: bool) -> DiskFacts:
    """Look at the disk below a folder; with `probe`, time a few writes to a file without a name, which no interruption can leave."""
    existing = next((place for place in (path, *path.parents) if place.exists()), path)
    try:
        room = os.statvfs(existing)
    except OSError as error:
        return DiskFacts(what, str(path), problem=f"{path} cannot be looked at: {error.strerror}")
    took, problem = _probe(path) if probe else (None, "")
    return DiskFacts(
        what=what,
        path=str(path),
        free=room.f_bavail * room.f_frsize,
        least=least,
        inodes=room.f_files,
        inodes_free=room.f_favail,
        probe_us=took,
        probe_problem=problem,
    )


def _probe(path: Path) -> tuple[int | None, str]:
    """Write and sync; return the median time in microseconds, or why it failed.

    On Linux the file never has a name (O_TMPFILE); elsewhere it loses it before the first byte is written.
    """
    took: list[int] = []
    try:
        with tempfile.TemporaryFile(dir=path, prefix=".doctor-") as file:
            for _ in range(_PROBES):
                began = time.perf_counter_ns()
                file.write(bytes(_PROBE_BYTES))
                file.flush()
                os.fsync(file.fileno())
                took.append((time.perf_counter_ns() - began) // 1000)
    except OSError as error:
        return None, f"{path} cannot be written: {error.strerror}"
    return int(statistics.median(took)), ""


class _Timex(ctypes.Structure):
    """`struct timex` of adjtimex(2); what follows the fields that are read is room."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    )


def kernel_clock() -> tuple[bool | None, int]:
    """Return whether the kernel calls its clock synchronised, and its largest error in microseconds; None where it does not say.

    adjtimex(2) with no mode reads and sets nothing; it returns TIME_ERROR for a clock that is not synchronised.
    """
    if not _LINUX:
        return None, 0
    values = _Timex()
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(values))
    return (None, 0) if state < 0 else (state != _TIME_ERROR, int(values.maxerror))


def clock(now: datetime, *, stated: str = "", zone: str = "") -> ClockFacts:
    synchronised, error = kernel_clock()
    text, known = now.strftime("%Y-%m-%d %H:%M:%S UTC"), True
    if zone:
        try:
            text = now.astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M:%S there")
        except (ZoneInfoNotFoundError, ValueError, OSError):
            known = False
    return ClockFacts(text, synchronised, error, stated, zone, known)


def seconds_of(moment: datetime) -> int:
    return int(moment.astimezone(UTC).timestamp())


def locked_by(path: Path) -> int | None:
    """Return the process that holds an advisory lock on a file, 0 where none does, None where the machine does not tell.

    Read from /proc/locks: to try the lock, if but for a moment, could turn away the process that starts just then.
    """
    try:
        wanted = path.stat().st_ino
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return 0 if Path("/proc/locks").exists() else None
    except OSError:
        return None
    for line in lines:
        parts = line.split()
        if len(parts) >= 6 and parts[1] == "FLOCK" and parts[5].rpartition(":")[2] == str(wanted):
            process = int(parts[4])
            if _may_hold(process, path):
                return process
    return 0


def _may_hold(process: int, path: Path) -> bool:
    """Say whether it is this file and not one of the same number on another disk; a process that shows nothing is believed to."""
    held = open_files(process)
    return held is None or str(path.resolve()) in held


def open_files(process: int) -> frozenset[str] | None:
    """Return the paths that a process has open, None where this account may not see them or the process is gone."""
    try:
        links = list(Path(f"/proc/{process}/fd").iterdir())
    except OSError:
        return None
    return frozenset(_target(link) for link in links)


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:  # closed since it was listed
        return ""


def holders(path: Path) -> tuple[int, ...]:
    """Return the processes of which this account can see that they have a file open."""
    wanted = str(path.resolve())
    return tuple(process for process in _processes() if wanted in (open_files(process) or ()))


def _processes() -> Iterator[int]:
    place = Path("/proc")
    names = (entry.name for entry in place.iterdir()) if place.is_dir() else iter(())
    return (int(name) for name in sorted(names) if name.isdigit() and int(name) != os.getpid())
