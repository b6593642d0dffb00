"""How long the printer may say nothing, be busy or heat: the time limits of the lines in flight. Pure."""

from __future__ import annotations

from firmware_bridge.firmware_profile import FirmwareProfile
from firmware_bridge.send_window import SendWindow


class Silence:
    """Keeps the deadlines and counts what was tried. Times in µs. Concurrency: that of the link."""

    def __init__(self, profile: FirmwareProfile) -> None:
        self.profile = profile
        self.deadline: int | None = None
        self.heat_until: int | None = None
        self.give_up = 0
        self.probes = self.answer_from = 0
        self._waits = 0
        self._busy_since: int | None = None

    def arm(self, window: SendWindow, now: int) -> None:
        """Count anew from now, by what is in flight."""
        if not window.lines:
            self.deadline = None
            return
        profile = self.profile
        if self.heat_until is None and window.lines[0].heating:
            self.heat_until = now + profile.heating_timeout_us
        if window.slow_lines > 0:
            self.give_up = now + profile.slow_timeout_us
            self.deadline = now + (profile.ack_timeout_us if profile.keepalive else profile.slow_timeout_us)
        else:
            self.give_up = now
            self.deadline = now + profile.ack_timeout_us

    def clear(self) -> None:
        self.deadline = self.heat_until = None

    def acknowledged(self) -> None:
        """A line was acknowledged: what was tried and waited for is over."""
        self.probes = self._waits = self.answer_from = 0
        self._busy_since = self.heat_until = None

    def probing(self, now: int, *, in_flight: bool) -> tuple[int, int]:
        """Count one probe; return the times at which it has failed and at which the link gives up."""
        self.probes += 1
        return now + self.profile.probe_timeout_us, self.give_up if in_flight else now

    def busy(self, now: int) -> bool:
        """The printer says that it is busy; tell whether that is new."""
        if self._busy_since is not None:
            return False
        self._busy_since = now
        return True

    def busy_too_long(self, now: int) -> bool:
        return self._busy_since is not None and now - self._busy_since > self.profile.busy_limit_us

    def waits_again(self) -> bool:
        """Take a `wait`. One may cross a line on the wire; the second says that the line or its ok is lost."""
        self._waits = (self._waits + 1) % 2
        return self._waits == 0
