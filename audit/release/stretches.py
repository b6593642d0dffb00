"""Bytes that stay where they are, in a file or in memory, and the lines of a trail found in them or in its store.

A package may hold a trail of a million entries: nothing here copies more than what is asked for.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, overload

from audit.errors import RecordError
from audit.reader import TrailReader

BLOCK = 1 << 20


class Source(Protocol):
    """Bytes with a length, of which pieces can be had."""

    def __len__(self) -> int: ...

    def __getitem__(self, piece: slice, /) -> bytes: ...


class Content(Protocol):
    """What a package holds under one name."""

    def __len__(self) -> int: ...

    def blocks(self) -> Iterator[bytes]: ...

    def checksum(self) -> int: ...

    def sha256(self) -> str: ...


class FileSource:
    """The bytes of a file. Lifetime: until `close`, also as a context manager. Concurrency: one thread."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self._path = path
        self._file = path.open("rb")
        self._size = os.fstat(self._file.fileno()).st_size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, piece: slice) -> bytes:
        start, stop, _ = piece.indices(self._size)
        try:
            self._file.seek(start)
            return self._file.read(max(stop - start, 0))
        except OSError as error:
            raise RecordError(f"{self._path} cannot be read: {error.strerror}.", remedy="Check the disk.") from error


class Stretch:
    """A part of a source, by place and size."""

    def __init__(self, source: Source, start: int, size: int) -> None:
        self._source, self._start, self._size = source, start, size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, piece: slice) -> bytes:
        start, stop, _ = piece.indices(self._size)
        return self._source[self._start + start : self._start + max(start, stop)]

    def blocks(self) -> Iterator[bytes]:
        return (self[at : at + BLOCK] for at in range(0, self._size, BLOCK))

    def checksum(self) -> int:
        """Return the CRC-32."""
        crc = 0
        for block in self.blocks():
            crc = zlib.crc32(block, crc)
        return crc

    def sha256(self) -> str:
        digest = hashlib.sha256()
        for block in self.blocks():
            digest.update(block)
        return digest.hexdigest()


class Members(Mapping[str, bytes]):
    """Contents by name, each read when it is asked for."""

    def __init__(self, stretches: Mapping[str, Stretch]) -> None:
        self.stretches = stretches

    def __getitem__(self, name: str) -> bytes:
        return self.stretches[name][:]

    def __contains__(self, name: object) -> bool:
        return name in self.stretches

    def __iter__(self) -> Iterator[str]:
        return iter(self.stretches)

    def __len__(self) -> int:
        return len(self.stretches)


def in_memory(files: Mapping[str, bytes]) -> Members:
    return Members({name: Stretch(data, 0, len(data)) for name, data in files.items()})


class Lines(Sequence[bytes]):
    """The lines of a trail file, each without its line feed; what follows the last line feed is none of them."""

    def __init__(self, data: Stretch) -> None:
        self._data = data
        self._ends = array("Q")
        start = 0
        for block in data.blocks():
            end = block.find(b"\n")
            while end >= 0:
                self._ends.append(start + end)
                end = block.find(b"\n", end + 1)
            start += len(block)

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> bytes: ...

    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...

    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        at = range(len(self))[index]
        start, end = self._ends[at - 1] + 1 if at else 0, self._ends[at]
        return self._data[start:end]

    def __iter__(self) -> Iterator[bytes]:
        """Give the lines in order, read a block at a time."""
        start, held, rest = 0, 0, b""
        for end in self._ends:
            while end > held + len(rest):
                following = max(start, held + len(rest))  # the line feed may be the first byte that is not held
                rest = rest[start - held :] + self._data[following : following + BLOCK]
                held = start
            yield rest[start - held : end - held]
            start = end + 1


class StoreLines(Sequence[bytes]):
    """The first lines of a store that is open for reading."""

    def __init__(self, reader: TrailReader, size: int) -> None:
        self._reader, self._size = reader, size

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, index: int) -> bytes: ...

    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...

    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        if isinstance(index, slice):
            start, stop, _ = index.indices(self._size)
            return list(self._reader.lines(start, stop))
        at = range(self._size)[index]
        return next(self._reader.lines(at, at + 1))

    def __iter__(self) -> Iterator[bytes]:
        return self._reader.lines(0, self._size)


class TrailContent:
    """A trail as it stands in a package: its lines, each with a line feed."""

    def __init__(self, lines: Sequence[bytes]) -> None:
        self._lines = lines
        self._size, self._crc, digest = 0, 0, hashlib.sha256()
        for block in self.blocks():
            self._size += len(block)
            self._crc = zlib.crc32(block, self._crc)
            digest.update(block)
        self._sha256 = digest.hexdigest()

    def __len__(self) -> int:
        return self._size

    def blocks(self) -> Iterator[bytes]:
        lines = iter(self._lines)
        while some := list(islice(lines, 1024)):
            yield b"\n".join([*some, b""])

    def checksum(self) -> int:
        return self._crc

    def sha256(self) -> str:
        return self._sha256
