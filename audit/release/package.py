"""The review package that a QP takes away: both trails with their checkpoints, the record, the programs, the readings.

Format `dosewright-review/3`, described in docs/review-package.md so that a stranger can write a verifier; the check is in
`audit.release.package_check`. A *selective* package holds the entries that one batch rests on, each proved to be in its trail; a
*whole* one both trails from entry 0, with the entries of every other batch and patient.
"""

from __future__ import annotations

import base64
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from audit.canonical import JsonObject, canonical, sha256_hex
from audit.checkpoint import Signer, VerifierKey, parse_checkpoint, sign_note, split_note
from audit.errors import RecordError, StoreReadOnly, VerificationError
from audit.multiproof import prove
from audit.reader import TrailReader
from audit.release import batch_record
from audit.release.archive import LARGEST_PACKAGE, archive_blocks, read_archive
from audit.release.document import render_record
from audit.release.evidence import BatchEntries
from audit.release.selection import Scope, Selected, select
from audit.release.stretches import Content, FileSource, StoreLines, Stretch, TrailContent
from audit.release.trail_view import TrailView
from audit.store import TrailStore

FORMAT = "dosewright-review/3"
MANIFEST, NOTE, KEYS, RECORD, DOCUMENT, README = "manifest.json", "manifest.note", "keys.json", "record.json", "record.pdf", "README.txt"
ADMISSION = "admission.json"
VERIFIER = "verify.py"
_ATTACHED = frozenset({"program-planned.gcode", "program.gcode", ADMISSION})
PICTURES = "pictures/"
_FOLDERS = ("journal/", "traces/", "corrected/", PICTURES)
_ANCHOR = re.compile(r"anchors/(?P<origin>.+)/(?P<size>[1-9][0-9]{0,15})\.(?P<kind>note|tsr)\Z")


@dataclass(frozen=True, slots=True)
class TrailExport:
    """A trail as its writer gives it out: canonical lines from entry 0, a signed checkpoint, the verifier key's text."""

    origin: str
    lines: Sequence[bytes]
    checkpoint: str
    key: str

    @classmethod
    def from_store(cls, store: TrailStore) -> TrailExport:
        """Take a checkpoint of an open store and export the lines that it covers; they are read from the store as they are wanted."""
        return cls._from(store, store.checkpoint())

    @classmethod
    def from_reader(cls, reader: TrailReader) -> TrailExport:
        """Export a store that is only read, as far as its last checkpoint. Raises RecordError where it has none."""
        note = reader.last_checkpoint()
        if note is None:
            raise RecordError("The store has no checkpoint.", remedy="Let its own process take one.")
        return cls._from(reader, note)

    @classmethod
    def _from(cls, reader: TrailReader, note: str) -> TrailExport:
        lines = StoreLines(reader, parse_checkpoint(split_note(note)[0]).size)
        return cls(reader.origin, lines, note, reader.verifier_key)

    @classmethod
    def from_lines(cls, lines: Sequence[bytes], checkpoint: str, key: str) -> TrailExport:
        """Pair a checkpoint with the lines that it covers; lines beyond it are left out. Raises RecordError for too few lines."""
        stated = parse_checkpoint(split_note(checkpoint)[0])
        if stated.size > len(lines):
            raise RecordError(
                f"The trail {stated.origin} has {len(lines)} entries here, its checkpoint counts {stated.size}.",
                remedy="Fetch the trail again.",
            )
        return cls(stated.origin, lines[: stated.size], checkpoint, key)


def trail_name(origin: str) -> str:
    return f"trails/{origin}.jsonl"


def checkpoint_name(origin: str) -> str:
    return f"checkpoints/{origin}"


def proof_name(origin: str) -> str:
    return f"proofs/{origin}.json"


@dataclass(frozen=True, slots=True)
class AnchorName:
    """What the name of a file under `anchors/` says: whose checkpoint, of which size, and whether cosigned or time-stamped."""

    name: str
    origin: str
    size: int
    kind: str


def anchor_name(name: str) -> AnchorName | None:
    """Read `anchors/<origin>/<size>.note` (a checkpoint with cosignatures) or `….tsr` (an RFC 3161 token); None for other names."""
    found = _ANCHOR.match(name)
    return AnchorName(name, found["origin"], int(found["size"]), found["kind"]) if found else None


def anchored_sizes(names: Iterable[str], origin: str) -> list[int]:
    """Return the sizes of the checkpoints of a trail that are anchored by the files of these names."""
    return sorted({anchor.size for name in names if (anchor := anchor_name(name)) and anchor.origin == origin})


def attached_file(name: str) -> bool:
    """Say whether an attachment of the cell's trail travels in a package."""
    return name in _ATTACHED or name.startswith(_FOLDERS)


def attached_files(entries: BatchEntries) -> dict[str, str]:
    """Return the files that a package of this batch must hold, with the SHA-256 that the cell's trail gives each.

    They are the programs, admissions, journals and traces attached to the entries of the batch's runs; those of runs before the last
    stand under `runs/<run>/`.
    """
    found: dict[str, str] = {}
    for trail, entry in entries.relevant:
        if trail != "cell":
            continue
        type_, id_ = entry.subject
        run = id_ if type_ == "run" else id_.rpartition("/")[0]
        prefix = "" if run == entries.runs[-1] else f"runs/{run}/"
        for name, sha256 in entry.attachments.items():
            if attached_file(name):
                found[prefix + name] = sha256
    return found


def typeset_record(workstation: TrailView, cell: TrailView, batch: str, blob: Callable[[str], bytes]) -> bytes:
    """Return the document of a batch as the trails show it, not sealed. Raises RecordError as `write_package` does."""
    record = batch_record.build(workstation, cell, batch)
    wanted = attached_files(BatchEntries(workstation, cell, batch))
    pictures = _attachments({name: sha256 for name, sha256 in wanted.items() if name.startswith(PICTURES)}, blob)
    return render_record(record, canonical(record), dict(pictures))


def write_package(
    path: Path,
    *,
    batch: str,
    workstation: TrailExport,
    cell: TrailExport,
    blob: Callable[[str], bytes],
    key: Signer,
    created: str,
    document: bytes | None = None,
    scope: Scope = Scope.SELECTIVE,
    anchors: Mapping[str, bytes] | None = None,
) -> Path:
    """Write the review package of a batch to `path` in one step (a partial file never stands there); return the path.

    `blob` gives an attachment of the cell's trail by its SHA-256; `key` is the workstation's; `created` is RFC 3339 UTC; `document` is the
    sealed one that an entry of the workstation names, else it is typeset here and not sealed; `anchors` are files as `anchor_name` reads
    their names. Raises RecordError (unknown batch, missing or damaged attachment, limits) and StoreReadOnly (the folder refuses).
    """
    files = {checkpoint_name(trail.origin): trail.checkpoint.encode() for trail in (workstation, cell)}
    views = TrailView(workstation.lines), TrailView(cell.lines)
    record = batch_record.build(*views, batch)
    files[RECORD] = canonical(record)
    files[KEYS] = canonical({"keys": list(dict.fromkeys([workstation.key, cell.key]))})
    for name in (README, VERIFIER):
        files[name] = resources.files("audit.release").joinpath("templates", name).read_bytes()
    attached = dict(_attachments(attached_files(BatchEntries(*views, batch)), blob))
    files |= attached | _checked_anchors(anchors or {}, (workstation, cell))
    pictures = {name: data for name, data in attached.items() if name.startswith(PICTURES)}
    files[DOCUMENT] = document or render_record(record, files[RECORD], pictures)
    contents: dict[str, Content] = {name: Stretch(data, 0, len(data)) for name, data in files.items()}
    if scope is Scope.WHOLE:
        contents |= {trail_name(trail.origin): TrailContent(trail.lines) for trail in (workstation, cell)}
    else:
        for trail, selected in zip((workstation, cell), select(*views, batch), strict=True):
            contents |= _selected(trail, selected, anchored_sizes(files, trail.origin))
    manifest = canonical(
        {"format": FORMAT, "scope": scope.value, "created": created, "files": {n: data.sha256() for n, data in contents.items()}}
    )
    note = sign_note(key, f"{FORMAT}\n{sha256_hex(manifest)}\n").encode()
    contents |= {name: Stretch(data, 0, len(data)) for name, data in ((MANIFEST, manifest), (NOTE, note))}
    _write(path, archive_blocks(contents))
    return path


def _selected(trail: TrailExport, selected: Selected, anchored: Sequence[int]) -> dict[str, Content]:
    """Return the selected lines of a trail and the file that proves them."""
    lines, sizes = [trail.lines[seq] for seq in selected.seqs], sorted({*selected.sizes, *anchored})
    hashes = prove(trail.lines, len(trail.lines), selected.seqs, sizes)
    proof = canonical({"hashes": [base64.b64encode(h).decode() for h in hashes], "objects": selected.objects, "sizes": sizes})
    return {trail_name(trail.origin): TrailContent(lines), proof_name(trail.origin): Stretch(proof, 0, len(proof))}


def _checked_anchors(anchors: Mapping[str, bytes], trails: Sequence[TrailExport]) -> dict[str, bytes]:
    sizes = {trail.origin: len(trail.lines) for trail in trails}
    for name in anchors:
        anchor = anchor_name(name)
        if anchor is None or not anchor.size <= sizes.get(anchor.origin, 0):
            raise RecordError(
                f"{name} is no anchor of a checkpoint of these trails.", remedy="Take anchors of the trails' own checkpoints."
            )
    return dict(anchors)


def _attachments(wanted: Mapping[str, str], blob: Callable[[str], bytes]) -> Iterator[tuple[str, bytes]]:
    for name, sha256 in sorted(wanted.items()):
        data = blob(sha256)
        if sha256_hex(data) != sha256:
            raise RecordError(
                f"The attachment {name} is not the one that the cell's trail names.", remedy="The cell's store has to be verified."
            )
        yield name, data


def _write(path: Path, blocks: Iterable[bytes]) -> None:
    try:
        descriptor, draft = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.writelines(blocks)
                stream.flush()
                os.fsync(stream.fileno())
            Path(draft).replace(path)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StoreReadOnly(
            f"The package cannot be written to {path}: {error.strerror}.", remedy="Choose a folder that can be written."
        ) from error


def scope_of(manifest: JsonObject) -> Scope:
    """Return what a manifest says that the trails are."""
    return Scope.SELECTIVE if manifest.get("scope") == Scope.SELECTIVE else Scope.WHOLE


@dataclass(frozen=True, slots=True)
class Package:
    """A package as read: its files, the record and the keys that travel inside. Reading is not checking."""

    files: Mapping[str, bytes]

    @property
    def record(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.files[RECORD])
        return found

    @property
    def scope(self) -> Scope:
        return scope_of(json.loads(self.files[MANIFEST]))

    @property
    def keys(self) -> tuple[VerifierKey, ...]:
        return tuple(VerifierKey.parse(text) for text in json.loads(self.files[KEYS])["keys"])


def read_package(path: Path) -> Package:
    """Read a package whose container is sound. Raises VerificationError naming the first place that is not.

    Refused: names that are not plain relative paths, a name twice, more than 10 000 files or 1 GiB, compression, bytes before,
    between or after the members. Use `verify_package` before believing the contents.
    """
    with open_package(path) as source:
        archive = read_archive(source[:])
    if archive.findings:
        raise VerificationError(
            f"{path.name} is not a sound review package: {archive.findings[0]}.", remedy="Get the package again from its site."
        )
    for name in (MANIFEST, NOTE, KEYS, RECORD):
        if name not in archive.files:
            raise VerificationError(
                f"{path.name} is not a review package: {name} is missing.", remedy="Get the package again from its site."
            )
    return Package(archive.files)


def open_package(path: Path) -> FileSource:
    """Open a file of at most the largest size a package may have. Raises RecordError where it cannot be read."""
    try:
        source = FileSource(path)
    except OSError as error:
        raise RecordError(f"{path} cannot be read: {error.strerror}.", remedy="Check the path.") from error
    if len(source) > LARGEST_PACKAGE:
        with source:
            raise RecordError(
                f"{path} is larger than {LARGEST_PACKAGE} bytes, the most a review package may have.", remedy="Check the path."
            )
    return source
