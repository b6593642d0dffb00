"""The lines that were sent and are not yet acknowledged: their numbers, bytes, volume and time limits. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from firmware_bridge.firmware_profile import FirmwareProfile
from firmware_bridge.gcode_lines import number_line
from firmware_bridge.link_values import OutLine


@dataclass(slots=True)
class SentLine:
    """One line on the wire; `internal` lines are the link's own and are not reported."""

    number: int
    line: OutLine
    wire: bytes
    slow: bool
    heating: bool
    internal: bool


class SendWindow:
    """What may be in flight: at most `size` lines, the receive ring in bytes, and the exposure limit in nL.

    A single larger line goes alone. Concurrency: that of the link.
    """

    def __init__(self, profile: FirmwareProfile, exposure_limit_nl: int) -> None:
        self.profile = profile
        self.exposure_limit_nl = exposure_limit_nl
        self.size = 1
        self.next_number = 1
        self.lines: deque[SentLine] = deque()
        self.exposure_nl = self.slow_lines = 0
        self._bytes = 0

    @property
    def first_number(self) -> int:
        """The number of the oldest unacknowledged line, or the next one if nothing is in flight."""
        return self.lines[0].number if self.lines else self.next_number

    def fits(self, line: OutLine) -> bool:
        """Tell whether the line may be sent now."""
        if not self.lines:
            return True
        if len(self.lines) >= self.size or self.exposure_nl + line.exposure_nl > self.exposure_limit_nl:
            return False
        size = len(str(self.next_number)) + len(line.command) + 7
        return self.profile.flow_control or self._bytes + size <= self.profile.rx_bytes

    def add(self, line: OutLine, *, internal: bool) -> SentLine:
        """Give the line its number and take it into flight."""
        heating = self.profile.is_heating(line.command)
        slow = heating or line.slow or self.profile.is_slow(line.command)
        sent = SentLine(self.next_number, line, number_line(self.next_number, line.command), slow, heating, internal)
        self.lines.append(sent)
        self.slow_lines += slow
        self.next_number += 1
        self._bytes += len(sent.wire)
        self.exposure_nl += line.exposure_nl
        return sent

    def take(self) -> SentLine:
        """Remove the oldest line: it is acknowledged."""
        sent = self.lines.popleft()
        self._left(sent)
        return sent

    def withdraw_last(self, line: OutLine) -> list[SentLine]:
        """Take back the lines at the tail that are this very object: the firmware has not taken them, so their numbers are free again."""
        withdrawn: list[SentLine] = []
        while self.lines and self.lines[-1].line is line:
            withdrawn.append(self.lines.pop())
            self._left(withdrawn[-1])
            self.next_number -= 1
        return withdrawn

    def clear(self) -> None:
        self.lines.clear()
        self._bytes = self.exposure_nl = self.slow_lines = 0

    def _left(self, sent: SentLine) -> None:
        self._bytes -= len(sent.wire)
        self.exposure_nl -= sent.line.exposure_nl
        self.slow_lines -= sent.slow
