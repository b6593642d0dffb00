"""Bytes of the printer into replies: lines are cut, flow-control bytes dropped, endless lines skipped. Pure; memory is bounded."""

from __future__ import annotations

from collections.abc import Iterator

from firmware_bridge.gcode_lines import Reply, Unknown, parse_reply


class ReplyReader:
    """Cuts a byte stream into lines of at most `max_reply` bytes and reads each; never raises. Concurrency: that of the link."""

    def __init__(self, max_reply: int) -> None:
        self.max_reply = max_reply
        self.buffer = b""
        self._skipping = False

    def feed(self, data: bytes) -> Iterator[Reply]:
        """Give the replies that are complete with these bytes; a line that is too long is one Unknown. Take all of them."""
        if b"\r" in data or b"\x11" in data or b"\x13" in data:
            data = data.replace(b"\r", b"\n").translate(None, b"\x11\x13")
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
                yield parse_reply(line)
        if too_long and not was_skipping:
            yield Unknown(f"a line of more than {self.max_reply} bytes, not read")
