"""The readable archive: whole packages of batches with a page in plain words, read again on a schedule.

A package that nobody can open any more is no archive (Annex 11 (2011) 17). So each is opened as a stranger would, verified,
its document looked for, and the outcome is an entry with the date of the next check.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from audit.canonical import JsonObject, JsonValue, sha256_hex
from audit.checkpoint import VerifierKey
from audit.errors import DosewrightError, RecordError
from audit.events import Actor, Entry, EntryDraft, EventKind, Subject
from audit.release.package import DOCUMENT, README, RECORD, read_package
from audit.release.package_check import verify_package
from audit.store import TrailStore

INTERVAL_DAYS = 366
GUIDE = "HOW-TO-READ.txt"
_GUIDE = """THE ARCHIVE OF BATCH RECORDS

Each file here whose name ends in .zip is the complete record of one batch, with all it rests on. It needs no special program to read:

1. Open the file as any ZIP archive.
2. record.pdf is the record as a person signed it: what was prescribed, made, weighed, decided, by whom and when.
3. README.txt says how to check, with common tools, that nothing was changed since; verify.py does it in one step.
   The keys to check against are in site.vkey, which should have come to you by another way than this archive.

record.json holds the same as record.pdf, as data. The files in trails/ are the entries that were made at the time, one a line, as
text (JSON, UTF-8). The format is described in full in review-package.md.
"""


def archive_package(package: Path, folder: Path) -> Path:
    """Copy a verified package into the archive's folder under its batch's number, with the page beside it. Raises RecordError."""
    report = verify_package(package)
    if report.findings:
        raise RecordError(f"{package} is not archived: {report.findings[0]}.", remedy="Get the package again from its site.")
    batch = str(read_package(package).record["batch"])
    place = folder / f"{re.sub('[^A-Za-z0-9._-]', '_', batch)}.zip"
    if place.exists():
        raise RecordError(f"{place} is archived already.", remedy="Nothing in the archive is written over.")
    try:
        (folder / GUIDE).write_text(_GUIDE, encoding="utf-8")
        part = place.with_name(f".{place.name}.part")
        shutil.copyfile(package, part)
        part.replace(place)
    except OSError as error:
        raise RecordError(f"{folder} cannot be written: {error.strerror}.", remedy="Check the folder.") from error
    return place


@dataclass(frozen=True, slots=True)
class Readable:
    """What a check of one archived package found; `problem` is empty where it can be read and verifies with a trusted key."""

    path: Path
    batch: str
    problem: str
    sha256: str


def check_archive(folder: Path, trusted: Sequence[VerifierKey]) -> Iterator[Readable]:
    """Read every package of an archive. Raises RecordError where there is no folder, or nothing in it."""
    found = sorted(folder.glob("*.zip")) if folder.is_dir() else []
    if not found:
        raise RecordError(f"{folder} holds no archived package.", remedy="Check the path.")
    for path in found:
        yield _check(path, trusted)


def _check(path: Path, trusted: Sequence[VerifierKey]) -> Readable:
    batch, sha256 = path.stem, ""
    try:
        sha256 = sha256_hex(path.read_bytes())
        report = verify_package(path, trusted)
        package = read_package(path)
        if (record := _object(package.files[RECORD])) is None:
            return Readable(path, batch, f"it cannot be read: {RECORD} is no JSON object", sha256)
        batch = str(record.get("batch"))
        problem = str(report.findings[0]) if report.findings else "" if report.signer_established else "nothing shows who signed it"
        if not problem and not (package.files[DOCUMENT].startswith(b"%PDF-") and package.files[README].decode("utf-8")):
            problem = f"{DOCUMENT} or {README} cannot be read"
    except (OSError, DosewrightError, UnicodeDecodeError, KeyError) as error:
        problem = f"it cannot be read: {error}"
    return Readable(path, batch, problem, sha256)


def _object(data: bytes) -> JsonObject | None:
    try:
        found: JsonValue = json.loads(data)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def record_check(store: TrailStore, found: Readable, today: date, actor: Actor, device: str) -> Entry:
    """Make the outcome an entry; only one that was readable moves the date of the next check."""
    new: JsonObject = {"archive": found.path.name, "archive_sha256": found.sha256, "on": today.isoformat(), "problem": found.problem}
    if not found.problem:
        new["check_due"] = (today + timedelta(days=INTERVAL_DAYS)).isoformat()
    return store.append(EntryDraft(EventKind.RETENTION_ARCHIVE_CHECKED, Subject("batch_archive", found.batch), new, actor, device))[0]


def archive_overdue(store: TrailStore, today: date) -> list[str]:
    """Return the batches whose archived package is overdue for a check."""
    dues = ((id_, state.get("check_due")) for id_, state in store.objects("batch_archive"))
    return [id_ for id_, due in dues if not isinstance(due, str) or date.fromisoformat(due) < today]
