"""Pressure: what every driver offers, and the sensor hub: lines `seq,kPa`, read into readings that know their gap, quality and age.

The hub sends without being asked, about 100 lines a second; `seq` counts up by one and wraps. A lost line shows as a
gap; a line that cannot be read is counted and gives no reading, so it shows as a gap too.
"""

from __future__ import annotations

import re
from collections import deque
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple, Protocol

from audit.quantities import Kilopascal

_VALUE = re.compile(rb"-?[0-9]{1,5}(?:\.[0-9]{1,4})?\Z")
_LINE = re.compile(rb"([0-9]{1,10}),(" + _VALUE.pattern.removesuffix(rb"\Z") + rb")\Z")
DEFAULT_LOW, DEFAULT_HIGH = Kilopascal("-20"), Kilopascal("2000")
_MAX_LINE = 64
_MAX_EVENTS = 4096
_MAX_KNOWN = 4096


class PressureQuality(StrEnum):
    GOOD = "good"
    AFTER_GAP = "after a gap"
    RESTARTED = "sequence restarted"
    OUT_OF_RANGE = "out of range"
    STALE = "stale"
    NONE = "no reading"


class PressureReading(NamedTuple):
    """One reading in kPa; `at` is the process time in µs at which it was taken; `missed` counts those lost before it."""

    seq: int
    value: Kilopascal
    at: int
    quality: PressureQuality
    missed: int = 0


_Fields = tuple[int, Kilopascal, int, PressureQuality, int]
"""Those of a PressureReading."""


class PressureDriver(Protocol):
    """A source of pressure as a sans-I/O machine; `now` is process time in µs. A driver that only listens never has bytes to send."""

    @property
    def last(self) -> PressureReading | None: ...

    def start(self, now: int) -> None: ...

    def receive(self, data: bytes, now: int) -> None: ...

    def tick(self, now: int) -> None: ...

    def next_event(self) -> PressureReading | None: ...

    def take_values(self) -> tuple[list[Decimal], list[int]]: ...

    def bytes_to_send(self) -> bytes: ...

    def next_deadline(self) -> int | None: ...

    def age(self, now: int) -> int | None: ...

    def quality(self, now: int) -> PressureQuality: ...


class PressureHub:
    """Reads the hub's lines. Deterministic; memory is bounded: one line, the last reading, and a bounded event queue.

    Lines that arrive together were taken one `period_us` apart, the last of them now.
    Lifetime: one opened port. Concurrency: one thread.
    """

    def __init__(
        self,
        *,
        low: Kilopascal = DEFAULT_LOW,
        high: Kilopascal = DEFAULT_HIGH,
        stale_after_us: int = 500_000,
        wrap: int = 2**32,
        period_us: int = 10_000,
    ) -> None:
        self.low, self.high, self.stale_after_us, self.wrap = low, high, stale_after_us, wrap
        self.period_us = period_us
        self.lines = self.gaps = self.missed = self.damaged = self.restarts = self.overrun = 0
        self._buffer = b""
        self._skipping = False
        # A hundred a second: they become PressureReading only where one is asked for.
        self._last: _Fields | None = None
        self._events: deque[_Fields] = deque()
        # A hub with one decimal says the same few hundred values again and again: each is read once.
        self._known: dict[bytes, Kilopascal] = {}

    def start(self, now: int) -> None:
        """Begin: nothing to ask, the hub sends by itself."""

    def tick(self, now: int) -> None:
        """Let time pass: nothing to do, age is asked for."""

    def bytes_to_send(self) -> bytes:
        return b""

    def next_deadline(self) -> int | None:
        return None

    def receive(self, data: bytes, now: int) -> None:
        """Take bytes as they came; every complete line becomes a reading or is counted as damaged."""
        *complete, rest = (self._buffer + data).split(b"\n")
        if b"\r" in data or b"\r" in self._buffer:
            complete = [line.removesuffix(b"\r") for line in complete]
        at = now - len(complete) * self.period_us
        if self._skipping and complete:
            self._skipping = False
            at += self.period_us
            del complete[0]
        if not self._all_follow(complete, at):
            for line in complete:
                at += self.period_us
                self._line(line, at)
        if len(rest) > _MAX_LINE:
            if not self._skipping:
                self.damaged += 1
            self._skipping, rest = True, b""
        self._buffer = b"" if self._skipping else rest

    def next_event(self) -> PressureReading | None:
        """Return the oldest reading not yet taken, or None."""
        return PressureReading(*self._events.popleft()) if self._events else None

    def take_values(self) -> tuple[list[Decimal], list[int]]:
        """Return the values in kPa of the readings not yet taken, oldest first, and their times in µs.

        What lies below the sensor's range is no pressure but a broken sensor or wire, so that the sensor goes stale by it. What lies
        above it is given as it is: the pressure is at least so high.
        """
        low = self.low.value
        taken = [(fields[1].value, fields[2]) for fields in self._events if fields[1].value >= low]
        self._events.clear()
        return [value for value, _ in taken], [at for _, at in taken]

    @property
    def last(self) -> PressureReading | None:
        return None if self._last is None else PressureReading(*self._last)

    def age(self, now: int) -> int | None:
        """Return the age of the last reading in µs, or None if there is none."""
        return None if self._last is None else now - self._last[2]

    def quality(self, now: int) -> PressureQuality:
        """Return the quality of the last reading as of `now`: an old reading is STALE whatever it was."""
        if self._last is None:
            return PressureQuality.NONE
        return PressureQuality.STALE if now - self._last[2] > self.stale_after_us else self._last[3]

    def _all_follow(self, lines: list[bytes], at: int) -> bool:
        """Take lines that all follow the last reading without a gap, in time too, and hold values in range; else take none of them."""
        last = self._last
        if last is None or not lines or at + self.period_us < last[2]:
            return False
        first, after = last[0] + 1, last[0] + 1 + len(lines)
        if after > self.wrap or len(self._events) + len(lines) > _MAX_EVENTS:
            return False
        numbers, _, texts = zip(*[line.partition(b",") for line in lines], strict=True)
        if numbers != tuple([b"%d" % number for number in range(first, after)]):
            return False
        values = [self._known.get(text) or self._value(text) for text in texts]
        times = range(at + self.period_us, at + (len(lines) + 1) * self.period_us, self.period_us)
        taken = [
            (number, value, when, PressureQuality.GOOD, 0)
            for number, value, when in zip(range(first, after), values, times, strict=True)
            if value is not None
        ]
        if len(taken) < len(lines):
            return False
        self._last = taken[-1]
        self.lines += len(lines)
        self._events += taken
        return True

    def _value(self, text: bytes) -> Kilopascal | None:
        """Read a value that is not known yet; None if it is none, or out of range."""
        if not _VALUE.match(text):
            return None
        value = Kilopascal(Decimal(text.decode("ascii")))
        if not self.low.value <= value.value <= self.high.value:
            return None
        if len(self._known) < _MAX_KNOWN:
            self._known[text] = value
        return value

    def _line(self, line: bytes, at: int) -> None:
        match = _LINE.match(line)
        number, text = match.groups() if match else (b"0", b"0")
        seq = int(number)
        if match is None or seq >= self.wrap:
            self.damaged += 1
            return
        value = Kilopascal(Decimal(text.decode("ascii")))
        last = self._last
        quality, missed = (PressureQuality.GOOD, 0) if last is not None and seq == last[0] + 1 else self._sequence(seq)
        if not self.low.value <= value.value <= self.high.value:
            quality = PressureQuality.OUT_OF_RANGE
        self.lines += 1
        # Lines that were held up come as one crowd, but none is older than the one before it.
        at = at if last is None else max(at, last[2])
        self._last = (seq, value, at, quality, missed)
        if len(self._events) >= _MAX_EVENTS:
            self._events.popleft()
            self.overrun += 1
        self._events.append(self._last)

    def _sequence(self, seq: int) -> tuple[PressureQuality, int]:
        if self._last is None:
            return PressureQuality.GOOD, 0
        step = (seq - self._last[0]) % self.wrap
        if step == 1:
            return PressureQuality.GOOD, 0
        if step == 0 or step > self.wrap // 2:
            self.restarts += 1
            return PressureQuality.RESTARTED, 0
        self.gaps += 1
        self.missed += step - 1
        return PressureQuality.AFTER_GAP, step - 1
