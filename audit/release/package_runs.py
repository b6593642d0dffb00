"""The runs of a review package as the cell recorded them: entries in order, and the files that they attach.

Only what a run rests on is checked here: the cell's trail with its links and its checkpoint, and the digests of the run's
files. The record and the signatures are for `audit.release.package_check`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from audit.canonical import sha256_hex
from audit.checkpoint import VerifierKey
from audit.errors import NoteInvalid, VerificationError
from audit.events import Entry, EventKind
from audit.release.package import KEYS, RECORD, Package, attached_file, trail_name
from audit.release.package_entries import Checked, read_trail
from audit.release.package_trails import check_checkpoint
from audit.release.stretches import in_memory
from audit.release.trail_view import as_list, as_object, text_of

_AGAIN = "Have it verified, and get it again from its site."


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """One run: its entries in the order of the trail, and the files of the package that they attach, by their names there."""

    run: str
    entries: tuple[Entry, ...]
    files: Mapping[str, bytes]

    @property
    def software(self) -> str:
        """The version that recorded the run."""
        return self.entries[0].body["software"]

    @property
    def journal(self) -> tuple[tuple[str, bytes], ...]:
        """Names and contents of the sealed journal segments, in the order in which they were sealed."""
        names = (item["name"] for entry in self.entries for item in entry.attachments)
        return tuple((name, self.files[name]) for name in names if name.startswith("journal/"))


def recorded_runs(package: Package) -> tuple[RecordedRun, ...]:
    """Return the runs of the batch in order of their creation. Raises VerificationError at the first place that is not sound."""
    batch, origin = _named(package)
    state = Checked(in_memory(package.files), scope=package.scope)
    view = read_trail(state, origin)
    if view is not None:
        check_checkpoint(state, origin, view, _keys(package))
    if state.findings or view is None:
        raise VerificationError(f"{next(iter(state.findings), origin)}.", remedy=_AGAIN)
    entries = [Entry(line) for line in package.files[trail_name(origin)].split(b"\n")[:-1]]
    runs = [
        entry.subject.id
        for entry in entries
        if entry.kind == EventKind.RUN_RECORD_CREATED and entry.subject.type == "run" and entry.new.get("batch") == batch
    ]
    return tuple(_run(package, run, "" if run == runs[-1] else f"runs/{run}/", entries) for run in runs)


def _named(package: Package) -> tuple[str, str]:
    """Return the batch and the origin of the cell's trail that the record names."""
    try:
        record = as_object(json.loads(package.files[RECORD]))
    except (ValueError, RecursionError) as error:
        raise VerificationError(f"{RECORD}: is not JSON ({error}).", remedy=_AGAIN) from error
    batch, origin = text_of(record.get("batch")), text_of(as_object(as_object(record.get("trails")).get("cell")).get("origin"))
    if batch is None or origin is None:
        raise VerificationError(f"{RECORD}: names no batch or no trail of a cell.", remedy=_AGAIN)
    return batch, origin


def _keys(package: Package) -> list[VerifierKey]:
    try:
        texts = as_list(as_object(json.loads(package.files[KEYS])).get("keys"))
        return [VerifierKey.parse(text_of(text) or "") for text in texts]
    except (ValueError, RecursionError, NoteInvalid) as error:
        raise VerificationError(f"{KEYS}: holds something else than verifier keys ({error}).", remedy=_AGAIN) from error


def _run(package: Package, run: str, prefix: str, entries: list[Entry]) -> RecordedRun:
    own = tuple(entry for entry in entries if entry.subject.id == run or entry.subject.id.startswith(f"{run}/"))
    files: dict[str, bytes] = {}
    for entry in own:
        for item in entry.attachments:
            name = item["name"]
            if not attached_file(name):
                continue
            data = package.files.get(prefix + name)
            if data is None:
                raise VerificationError(
                    f"{prefix + name}: is missing, though entry {entry.seq} of the cell's trail names it.", remedy=_AGAIN
                )
            if sha256_hex(data) != item["sha256"]:
                raise VerificationError(
                    f"{prefix + name}: is not the file that entry {entry.seq} of the cell's trail names (SHA-256 differs).", remedy=_AGAIN
                )
            files[name] = data
    return RecordedRun(run, own, files)
