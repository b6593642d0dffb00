"""The program as it was really sent: commands in order of their first sending, with the brackets of the planned file."""

from __future__ import annotations

import re

_NUMBERED = re.compile(rb"N([0-9]+) (.*)\*[0-9]{1,3}\Z")


class SentProgram:
    """Collects what goes to the wire, without numbers and checksums, each numbered line once.

    Concurrency: owned by the run machine.
    """

    def __init__(self, header: bytes) -> None:
        self._parts: list[bytes] = [header]
        self._highest = 0
        self._open: str = ""
        self._pending: str | None = None

    def begin(self, title: str) -> None:
        """Name the block that the next line sent belongs to (`UNIT 3`, `ACTION prime`); empty ends the block."""
        self._pending = title

    def sent(self, data: bytes) -> None:
        for line in data.split(b"\n"):
            match = _NUMBERED.match(line)
            if match is None or int(match.group(1)) <= self._highest:
                continue
            self._highest = int(match.group(1))
            if self._pending is not None:
                self._close()
                self._open, self._pending = self._pending, None
                if self._open:
                    self._parts.append(f";{self._open}\n".encode("ascii"))
            self._parts.append(match.group(2) + b"\n")

    def finished(self) -> None:
        """Close the open block: all of its lines were acknowledged."""
        self._close()

    def stopped(self) -> None:
        """Mark that the open block was not finished; what it holds was sent, not all of it need have been executed."""
        if self._open:
            self._parts.append(f";STOPPED IN {self._open}\n".encode("ascii"))
            self._open = ""

    def sealed(self) -> bytes:
        self.stopped()
        return b"".join(self._parts)

    def _close(self) -> None:
        if self._open:
            self._parts.append(f";END {self._open}\n".encode("ascii"))
            self._open = ""
