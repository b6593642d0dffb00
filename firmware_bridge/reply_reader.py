"""Bytes of the printer into lines: lines are cut, endless ones skipped. Pure; memory is bounded."""

from __future__ import annotations

from collections.abc import Iterator

from firmware_bridge.gcode_lines import Reply, Unknown, parse_reply

FLOW_CONTROL = b"\x11\x13"


class ReplyReader:
    """Cuts a byte stream into lines of at most `max_reply` bytes; never raises. Concurrency: that of the link."""

    def __init__(self, max_reply: int) -> None:
        self.max_reply = max_reply
        self.buffer = b""
        self._skipping = False

    def feed(self, data: bytes) -> Iterator[bytes | Unknown]:
        """Give the lines that are complete with these bytes, as they came; one that is too long is one Unknown. Take all of them."""
        if b"\r" in data:
            data = data.replace(b"\r", b"\n")
        *complete, rest = (self.buffer + data).split(b"\n")
        was_skipping, self._skipping = self._skipping, False
        too_long = len(rest) > self.max_reply
        self.buffer = b"" if too_long or (was_skipping and not complete) else rest
        self._skipping = too_long or (was_skipping and not complete)
        for line in complete:
            if was_skipping:
                was_skipping = False
            elif len(line) > self.max_reply:
                yield Unknown(f"a line of {len(line)} bytes, not read")
            elif line:
                yield line
        if too_long and not was_skipping:
            yield Unknown(f"a line of more than {self.max_reply} bytes, not read")

    def replies(self, data: bytes) -> Iterator[Reply]:
        """Give the replies that are complete with these bytes, flow-control bytes left out. Take all of them."""
        for line in self.feed(data):
            if isinstance(line, Unknown):
                yield line
            elif plain := line.translate(None, FLOW_CONTROL):
                yield parse_reply(plain)
