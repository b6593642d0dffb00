"""The container of a review package: a ZIP file in which every byte is determined by the names and contents.

Members are stored, not compressed, in the order of their names, with one fixed date and no extra fields; so any changed
byte is either content, which a digest covers, or differs from the one container that these contents have.
Source: PKWARE APPNOTE 6.3.10, sections 4.3.7, 4.3.12 and 4.3.16.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from audit.errors import RecordError
from audit.release.stretches import Content, Members, Source, Stretch, in_memory
from audit.report import Finding

LARGEST_PACKAGE = 1 << 30
MOST_MEMBERS = 10_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*\Z")
_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_DATE = 0x21  # 1980-01-01, the first day that the format can hold
_MODE = 0o100644 << 16
_INFLATION = 32  # a package packed again shrinks by less than this


@dataclass(frozen=True, slots=True)
class Archive:
    """Contents by name, and what is wrong with the container."""

    files: Members
    findings: tuple[Finding, ...]


def check_name(name: str) -> str | None:
    """Return what is wrong with a member name, or None: plain relative paths, no blanks, no leading dots, no `..`."""
    if len(name) > 200 or not _NAME.match(name):
        return "the name is not a plain relative path of letters, digits, '.', '_' and '-'"
    return None


def write_archive(files: Mapping[str, bytes]) -> bytes:
    """Return the container of these files. Raises RecordError for a bad name or a package beyond the limits."""
    return b"".join(archive_blocks({name: Stretch(data, 0, len(data)) for name, data in files.items()}))


def archive_blocks(files: Mapping[str, Content]) -> Iterator[bytes]:
    """Give the container of these files block by block. Raises RecordError for a bad name or a package beyond the limits."""
    for name in files:
        if problem := check_name(name):
            raise RecordError(f"{name!r} cannot be in a review package: {problem}.", remedy="Rename it where it is made.")
    if len(files) > MOST_MEMBERS or sum(len(data) for data in files.values()) > LARGEST_PACKAGE:
        raise RecordError(
            f"The review package exceeds {MOST_MEMBERS} files or {LARGEST_PACKAGE} bytes.", remedy="Export fewer runs at a time."
        )
    for _, piece in _pieces([(name.encode("ascii"), data) for name, data in sorted(files.items())]):
        yield from piece.blocks()


def _serialise(members: list[tuple[bytes, bytes]]) -> bytes:
    pieces = _pieces([(name, Stretch(data, 0, len(data))) for name, data in members])
    return b"".join(block for _, piece in pieces for block in piece.blocks())


def _pieces(members: Sequence[tuple[bytes, Content]]) -> Iterator[tuple[str, Content]]:
    """Give the container of these members piece by piece, each with its place; contents are not copied."""
    directory: list[tuple[str, bytes]] = []
    position = 0
    for name, data in members:
        shown = name.decode("ascii", "backslashreplace")
        common = (0, 0, 0, _DATE, data.checksum(), len(data), len(data), len(name), 0)
        header = _LOCAL.pack(b"PK\x03\x04", 20, *common) + name
        entry = _CENTRAL.pack(b"PK\x01\x02", 0x0314, 20, *common, 0, 0, 0, _MODE, position) + name
        directory.append((f"container, directory entry of {shown}", entry))
        yield f"container, header of {shown}", _piece(header)
        yield shown, data
        position += len(header) + len(data)
    for place, entry in directory:
        yield place, _piece(entry)
    length = sum(len(entry) for _, entry in directory)
    yield "container, end record", _piece(_END.pack(b"PK\x05\x06", 0, 0, len(members), len(members), length, position, 0))


def _piece(data: bytes) -> Content:
    return Stretch(data, 0, len(data))


def read_archive(data: Source) -> Archive:
    """Read a container strictly; where it is not the one container of its contents, say where, and read on as far as possible.

    The contents are read from `data` when they are asked for.
    """
    if len(data) > LARGEST_PACKAGE:
        return Archive(in_memory({}), (Finding("container", f"is larger than {LARGEST_PACKAGE} bytes"),))
    members = _walk(data)
    findings = _name_findings([name for name, _ in members])
    different = _first_difference(members, data)
    if different or any(not name.isascii() for name, _ in members):
        place, offset = different or ("container", 0)
        findings.append(Finding(place, f"byte {offset} of the container is not what the format prescribes for these contents"))
        # A re-packed archive may still be readable in the ordinary way; its contents are then checked as well.
        ordinary = _ordinary(data[:])
        return Archive(in_memory(ordinary) if ordinary else _by_name(members), tuple(findings))
    return Archive(_by_name(members), tuple(findings))


def _by_name(members: Sequence[tuple[bytes, Stretch]]) -> Members:
    return Members({name.decode("ascii", "replace"): content for name, content in reversed(members)})


def _walk(data: Source) -> list[tuple[bytes, Stretch]]:
    """Follow the local headers from the first byte, as long as they are well-formed."""
    members: list[tuple[bytes, Stretch]] = []
    position = 0
    while data[position : position + 4] == b"PK\x03\x04" and len(data) - position >= _LOCAL.size and len(members) <= MOST_MEMBERS:
        *_, size, name_length, extra_length = _LOCAL.unpack(data[position : position + _LOCAL.size])
        start = position + _LOCAL.size + name_length + extra_length
        if start + size > len(data):
            break
        members.append((data[position + _LOCAL.size : position + _LOCAL.size + name_length], Stretch(data, start, size)))
        position = start + size
    return members


def _name_findings(names: list[bytes]) -> list[Finding]:
    findings = [Finding("container", "holds no file")] if not names else []
    for index, raw in enumerate(names):
        name = raw.decode("ascii", "backslashreplace")
        if problem := check_name(name):
            findings.append(Finding(name, problem))
        if index and raw == names[index - 1]:
            findings.append(Finding(name, "is in the container twice"))
        elif index and raw < names[index - 1]:
            findings.append(Finding(name, "the files are not in the order of their names"))
    return findings


def _first_difference(members: Sequence[tuple[bytes, Stretch]], data: Source) -> tuple[str, int] | None:
    """Return the place and the offset of the first byte that differs from the container of these members, or None."""
    position = 0
    for place, piece in _pieces(members):
        for wanted in piece.blocks():
            found = data[position : position + len(wanted)]
            if found != wanted:
                pairs = zip(wanted, found, strict=False)
                return place, position + next((i for i, (one, two) in enumerate(pairs) if one != two), min(len(wanted), len(found)))
            position += len(wanted)
    return ("container, end record", position) if position < len(data) else None


def _ordinary(data: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            if len(infos) > MOST_MEMBERS or sum(info.file_size for info in infos) > min(LARGEST_PACKAGE, _INFLATION * len(data)):
                return {}
            return {info.filename: _bounded(archive, info) for info in infos if check_name(info.filename) is None}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError, struct.error):
        return {}


def _bounded(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Read no more than the size that was counted against the limit, whatever the stream would give."""
    with archive.open(info) as stream:
        return stream.read(info.file_size)
