"""A code scanner on a serial line: bytes in, whole codes out. A code ends with CR, LF, ETX or, where none of them is sent, with a pause.

Pure. A line longer than any symbol holds is dropped whole: a wrong baud rate or another device fills nothing and is taken for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

LONGEST = 4296
"""Characters: the most that a QR code of version 40 holds (ISO/IEC 18004, table 7); a DataMatrix holds fewer."""
PAUSE_US = 100_000
_ENDS = frozenset(b"\r\n\x03")
_STX = 0x02


@dataclass(frozen=True, slots=True)
class ScannedLine:
    """One code as text; `at_us` is the process time of its last byte."""

    text: str
    at_us: int


class ScannerLines:
    """Collects the bytes of one scanner. Lifetime: that of the port; a new port begins a new one."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._last_us = 0
        self._too_long = False

    def feed(self, data: bytes, now_us: int) -> tuple[ScannedLine, ...]:
        """Take bytes as they came; return the codes that they complete, in order."""
        found = list(self.tick(now_us))
        self._last_us = now_us
        for byte in data:
            if byte in _ENDS:
                found += self._ended()
            elif byte == _STX:
                self._begin()
            elif len(self._bytes) < LONGEST:
                self._bytes.append(byte)
            else:
                self._too_long = True
        return tuple(found)

    def tick(self, now_us: int) -> tuple[ScannedLine, ...]:
        """Return the code that a pause has ended, if there is one."""
        if not self._bytes or now_us - self._last_us < PAUSE_US:
            return ()
        return tuple(self._ended())

    def _begin(self) -> None:
        self._bytes.clear()
        self._too_long = False

    def _ended(self) -> list[ScannedLine]:
        content, whole = bytes(self._bytes), not self._too_long
        self._begin()
        try:
            text = content.decode("utf-8").strip(" \t")
        except UnicodeDecodeError:
            return []  # noise of a line at the wrong speed is no code
        return [ScannedLine(text, self._last_us)] if text and whole else []
