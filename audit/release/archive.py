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
from collections.abc import Mapping
from dataclasses import dataclass

from audit.errors import RecordError
from audit.report import Finding

LARGEST_PACKAGE = 1 << 30
MOST_MEMBERS = 10_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*\Z")
_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_DATE = 0x21  # 1980-01-01, the first day that the format can hold
_MODE = 0o100644 << 16
_BLOCK = 1 << 16


@dataclass(frozen=True, slots=True)
class Archive:
    """Contents by name, and what is wrong with the container."""

    files: Mapping[str, bytes]
    findings: tuple[Finding, ...]


def check_name(name: str) -> str | None:
    """Return what is wrong with a member name, or None: plain relative paths, no blanks, no leading dots, no `..`."""
    if len(name) > 200 or not _NAME.match(name):
        return "the name is not a plain relative path of letters, digits, '.', '_' and '-'"
    return None


def write_archive(files: Mapping[str, bytes]) -> bytes:
    """Return the container of these files. Raises RecordError for a bad name or a package beyond the limits."""
    for name in files:
        if problem := check_name(name):
            raise RecordError(f"{name!r} cannot be in a review package: {problem}.", remedy="Rename it where it is made.")
    if len(files) > MOST_MEMBERS or sum(len(data) for data in files.values()) > LARGEST_PACKAGE:
        raise RecordError(
            f"The review package exceeds {MOST_MEMBERS} files or {LARGEST_PACKAGE} bytes.", remedy="Export fewer runs at a time."
        )
    return _serialise([(name.encode("ascii"), data) for name, data in sorted(files.items())])


def _serialise(members: list[tuple[bytes, bytes]]) -> bytes:
    body, directory = bytearray(), bytearray()
    for name, data in members:
        common = (0, 0, 0, _DATE, zlib.crc32(data), len(data), len(data), len(name), 0)
        directory += _CENTRAL.pack(b"PK\x01\x02", 0x0314, 20, *common, 0, 0, 0, _MODE, len(body)) + name
        body += _LOCAL.pack(b"PK\x03\x04", 20, *common) + name + data
    end = _END.pack(b"PK\x05\x06", 0, 0, len(members), len(members), len(directory), len(body), 0)
    return bytes(body + directory + end)


def read_archive(data: bytes) -> Archive:
    """Read a container strictly; where it is not the one container of its contents, say where, and read on as far as possible."""
    if len(data) > LARGEST_PACKAGE:
        return Archive({}, (Finding("container", f"is larger than {LARGEST_PACKAGE} bytes"),))
    members = _walk(data)
    findings = _name_findings([name for name, _ in members])
    if any(not name.isascii() for name, _ in members) or _serialise(members) != data:
        place, offset = _first_difference(members, data)
        findings.append(Finding(place, f"byte {offset} of the container is not what the format prescribes for these contents"))
        # A re-packed archive may still be readable in the ordinary way; its contents are then checked as well.
        return Archive(_ordinary(data) or _by_name(members), tuple(findings))
    return Archive(_by_name(members), tuple(findings))


def _by_name(members: list[tuple[bytes, bytes]]) -> dict[str, bytes]:
    return {name.decode("ascii", "replace"): content for name, content in reversed(members)}


def _walk(data: bytes) -> list[tuple[bytes, bytes]]:
    """Follow the local headers from the first byte, as long as they are well-formed."""
    members: list[tuple[bytes, bytes]] = []
    position = 0
    while data[position : position + 4] == b"PK\x03\x04" and len(data) - position >= _LOCAL.size and len(members) <= MOST_MEMBERS:
        *_, size, name_length, extra_length = _LOCAL.unpack_from(data, position)
        start = position + _LOCAL.size + name_length + extra_length
        if start + size > len(data):
            break
        members.append((data[position + _LOCAL.size : position + _LOCAL.size + name_length], data[start : start + size]))
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


def _first_difference(members: list[tuple[bytes, bytes]], data: bytes) -> tuple[str, int]:
    """Return the place and the offset of the first byte that differs from the container of these members."""
    rebuilt = _serialise(members)
    block = next((i for i in range(0, len(rebuilt), _BLOCK) if rebuilt[i : i + _BLOCK] != data[i : i + _BLOCK]), len(rebuilt))
    pairs = zip(rebuilt[block : block + _BLOCK], data[block : block + _BLOCK], strict=False)
    offset = next((block + i for i, (one, two) in enumerate(pairs) if one != two), min(len(rebuilt), len(data)))
    position = 0
    for name, content in members:
        if offset < position + _LOCAL.size + len(name):
            return f"container, header of {name.decode('ascii', 'backslashreplace')}", offset
        position += _LOCAL.size + len(name) + len(content)
        if offset < position:
            return name.decode("ascii", "backslashreplace"), offset
    for name, _ in members:
        position += _CENTRAL.size + len(name)
        if offset < position:
            return f"container, directory entry of {name.decode('ascii', 'backslashreplace')}", offset
    return "container, end record", offset


def _ordinary(data: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            if len(infos) > MOST_MEMBERS or sum(info.file_size for info in infos) > LARGEST_PACKAGE:
                return {}
            return {info.filename: _bounded(archive, info) for info in infos if check_name(info.filename) is None}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError, struct.error):
        return {}


def _bounded(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Read no more than the size that was counted against the limit, whatever the stream would give."""
    with archive.open(info) as stream:
        return stream.read(info.file_size)
