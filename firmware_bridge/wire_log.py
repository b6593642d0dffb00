"""Append-only capture of every byte on the wires, with a running SHA-256; and its reader.

One line a chunk: process time in µs, port, direction (`<` from the device, `>` to it, `!` out of band), bytes in hex.
The digest covers the file's bytes, so that it can be checked with any SHA-256 program.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from firmware_bridge.errors import BridgeError

_LINE = re.compile(r"([0-9]{1,20}) ([!-~]{1,64}) ([<>!]) ((?:[0-9a-f]{2})+)\n\Z")
_FLUSH_BYTES = 65_536


class WireLogDamaged(BridgeError):
    code = "FB-020"


@dataclass(frozen=True, slots=True)
class WireChunk:
    """One read or write as it happened; `at_us` is process time."""

    at_us: int
    port: str
    direction: str
    data: bytes


class WireLog:
    """Appends to a new file; an existing file is refused.

    Lifetime: from creation to `close`, which writes what is buffered. Concurrency: `append` may be called from any thread.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("xb", buffering=0)
        self._digest = hashlib.sha256()
        self._buffer = bytearray()
        self._lock = threading.Lock()
        self.chunks = 0

    def append(self, direction: str, port: str, at_us: int, data: bytes) -> None:
        """Record one chunk. Buffered: `flush` brings it to the file."""
        line = b"%d %b %b %b\n" % (at_us, port.encode("ascii"), direction.encode("ascii"), data.hex().encode("ascii"))
        with self._lock:
            self._digest.update(line)
            self._buffer += line
            self.chunks += 1
            if len(self._buffer) >= _FLUSH_BYTES:
                self._write_out()

    @property
    def sha256(self) -> str:
        """Hex SHA-256 of all that was appended so far."""
        with self._lock:
            return self._digest.hexdigest()

    def flush(self) -> None:
        """Bring everything appended so far to the operating system."""
        with self._lock:
            self._write_out()

    def close(self) -> None:
        with self._lock:
            if not self._file.closed:
                self._write_out()
                self._file.close()

    def _write_out(self) -> None:
        view = memoryview(bytes(self._buffer))
        while view:
            view = view[self._file.write(view) or 0 :]
        self._buffer.clear()


def read_wire_log(path: Path, sha256: str | None = None) -> Iterator[WireChunk]:
    """Give the chunks in order. Raises WireLogDamaged, naming the line, or at the end if the digest is another than `sha256`."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            digest.update(line)
            match = _LINE.match(line.decode("latin-1"))
            if match is None:
                raise WireLogDamaged(f"{path.name}, line {number}: not a line of a wire log.", remedy="Use the sealed copy of the log.")
            at, port, direction, data = match.groups()
            yield WireChunk(int(at), port, direction, bytes.fromhex(data))
    if sha256 is not None and digest.hexdigest() != sha256:
        raise WireLogDamaged(f"{path.name}: its SHA-256 is not the one that was sealed.", remedy="Use the sealed copy of the log.")
