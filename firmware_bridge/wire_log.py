"""Append-only capture of every byte on the wires, with a running SHA-256; and its reader.

One line a chunk: process time in µs, port, direction (`<` from the device, `>` to it, `!` out of band), bytes in hex.
The digest covers the file's bytes, so that it can be checked with any SHA-256 program.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from firmware_bridge.errors import BridgeError

_LINE = re.compile(r"([0-9]{1,20}) ([!-~]{1,64}) ([<>!]) ((?:[0-9a-f]{2})+)\n\Z")
_EVERY_S = 0.2
_WRITE_BYTES = 65_536
_CLOSE_LIMIT_S = 10.0


class WireLogDamaged(BridgeError):
    code = "FB-020"


@dataclass(frozen=True, slots=True)
class WireChunk:
    """One read or write as it happened; `at_us` is process time."""

    at_us: int
    port: str
    direction: str
    data: bytes


@dataclass(frozen=True, slots=True)
class LogSealed:
    """All of the log is on the disk, and nothing more is written to it; the digest of its file."""

    sha256: str


@dataclass(frozen=True, slots=True)
class LogFailed:
    """What was appended could not be written or brought to the disk; it is kept, and tried again."""

    reason: str


class WireLog:
    """Appends to a new file; an existing file is refused.

    The disk holds nobody up: `append` only queues, and the log's own thread writes what is queued several times a second. What it
    cannot write is told to `deliver`, each time, and tried again every `again_s` and when the log is sealed or closed.

    Lifetime: from creation until `deliver` is given LogSealed, which answers `seal`, or until `close`. Concurrency: `append` may
    be called from any thread; `deliver` is called on the log's thread, which calls `begin` before anything else.
    """

    def __init__(
        self,
        path: Path,
        deliver: Callable[[LogSealed | LogFailed], None] = lambda said: None,
        *,
        again_s: float = 10.0,
        begin: Callable[[], None] = lambda: None,
    ) -> None:
        self.path = path
        self.chunks = 0
        self._file = path.open("x+b", buffering=0)
        self._deliver, self._again_s, self._begin = deliver, again_s, begin
        self._chunks: deque[tuple[str, str, int, bytes]] = deque()
        self._unwritten = bytearray()
        self._digest = hashlib.sha256()
        self._open, self._sealing, self._closing = True, False, False
        self._doubtful = False
        self._trying_since: float | None = None
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="wire log", daemon=True)
        self._thread.start()

    def append(self, direction: str, port: str, at_us: int, data: bytes) -> None:
        """Queue one chunk; never waits and never raises. Once the log is being sealed or closed, nothing more is taken."""
        if self._open:
            self._chunks.append((direction, port, at_us, data))

    @property
    def sha256(self) -> str:
        """Hex SHA-256 of what is in the file: after `close`, of all that could be written."""
        return self._digest.hexdigest()

    def seal(self) -> None:
        """Take nothing more; `deliver` is given LogSealed as soon as all of it is on the disk."""
        self._open, self._sealing = False, True
        self._wake.set()

    def close(self) -> None:
        """Try once more to write what is queued, end the thread and close the file; may be repeated. Waits at most 10 s for the disk."""
        self._open, self._closing = False, True
        self._wake.set()
        self._thread.join(_CLOSE_LIMIT_S)

    def is_late(self, limit_s: float) -> bool:
        """Whether the disk has neither taken nor refused what it was given for longer than that."""
        since = self._trying_since
        return since is not None and time.monotonic() - since > limit_s

    # ---- the thread

    def _run(self) -> None:
        self._begin()
        pause, sealed, last = _EVERY_S, False, False
        while not sealed and not last:
            self._wake.wait(pause)
            self._wake.clear()
            last, sealing = self._closing, self._sealing
            self._trying_since = time.monotonic()
            refused = self._written(sealing=sealing)
            self._trying_since = None
            sealed, pause = sealing and refused is None, _EVERY_S if refused is None else self._again_s
            if refused is not None:
                self._deliver(LogFailed(refused))
        # What is sealed was confirmed by fsync, whatever closing says; what is not sealed vouches for nothing.
        with suppress(OSError):
            self._file.close()
        if sealed:
            self._deliver(LogSealed(self.sha256))

    def _written(self, *, sealing: bool) -> str | None:
        """Write what is queued, and bring it to the disk where the log is sealed; return why that failed."""
        try:
            self._write_out()
            if sealing:
                self._bring_to_disk()
        except OSError as error:
            return error.strerror or str(error)
        return None

    def _write_out(self) -> None:
        while self._chunks:
            direction, port, at_us, data = self._chunks.popleft()
            self._unwritten += b"%d %b %b %b\n" % (at_us, port.encode("ascii"), direction.encode("ascii"), data.hex().encode("ascii"))
            self.chunks += 1
        while self._unwritten:
            taken = self._file.write(self._unwritten[:_WRITE_BYTES]) or 0
            self._digest.update(self._unwritten[:taken])
            del self._unwritten[:taken]

    def _bring_to_disk(self) -> None:
        """Flush the file and its name. After a flush that failed the system counts its pages as flushed, so they are written once more."""
        if self._doubtful:
            self._file.seek(0)
            whole = self._file.readall()
            self._file.seek(0)
            while whole:
                whole = whole[self._file.write(whole) or 0 :]
        self._doubtful = True
        os.fsync(self._file.fileno())
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


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
