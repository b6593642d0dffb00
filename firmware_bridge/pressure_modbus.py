"""Pressure from a Modbus RTU transmitter: polls one value and gives the same readings as the sensor hub. Pure.

One request at a time. An answer that cannot be read is not waited out byte by byte: the driver waits until the line has been
quiet, then polls again, so that a late answer is never taken for the next one. A poll without a reading is a gap.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from decimal import Decimal

from audit.quantities import EXACT, Kilopascal, round_to
from firmware_bridge.errors import LocalProtocolError
from firmware_bridge.modbus_rtu import (
    READ_INPUT,
    ModbusException,
    NumberForm,
    decode_number,
    read_request,
    read_response,
    response_length,
)
from firmware_bridge.pressure import DEFAULT_HIGH, DEFAULT_LOW, PressureQuality, PressureReading

_IN_KILOPASCAL = {
    "Pa": Decimal("0.001"),
    "hPa": Decimal("0.1"),
    "mbar": Decimal("0.1"),
    "kPa": Decimal(1),
    "bar": Decimal(100),
    "MPa": Decimal(1000),
}
_MAX_EVENTS = 4096
_MAX_FRAME = 256
_PLACES = 4


@dataclass(frozen=True, slots=True)
class ModbusMap:
    """Where the transmitter keeps its pressure: bus address, function 3 or 4, register from 0, form, unit, decimals of an integer."""

    unit: int = 1
    register: int = 0
    function: int = READ_INPUT
    form: NumberForm = NumberForm.FLOAT32
    pressure_unit: str = "kPa"
    decimals: int = 0


class ModbusPressure:
    """Polls one transmitter. Times in µs, readings in kPa with four decimals; memory is bounded.

    Lifetime: one opened port, from `start`. Concurrency: one thread.
    """

    def __init__(
        self,
        where: ModbusMap,
        *,
        low: Kilopascal = DEFAULT_LOW,
        high: Kilopascal = DEFAULT_HIGH,
        period_us: int = 50_000,
        answer_timeout_us: int = 100_000,
        quiet_us: int = 20_000,
        stale_after_us: int = 500_000,
    ) -> None:
        if where.pressure_unit not in _IN_KILOPASCAL or not 0 <= where.decimals <= 6:
            raise LocalProtocolError(
                f"A transmitter that measures in {where.pressure_unit!r} with {where.decimals} decimals is not supported."
            )
        self.where, self.low, self.high = where, low, high
        self.period_us, self.answer_timeout_us = period_us, answer_timeout_us
        self.quiet_us, self.stale_after_us = quiet_us, stale_after_us
        self.last: PressureReading | None = None
        self.last_problem = ""
        self.polls = self.readings = self.timeouts = self.damaged = self.exceptions = self.unexpected_bytes = self.overrun = 0
        self._request = read_request(where.unit, where.function, where.register, where.form.registers)
        self._missed = 0
        self._out = b""
        self._buffer = b""
        self._events: deque[PressureReading] = deque()
        self._polled_at = 0
        self._waiting = self._quiet = False
        self._deadline: int | None = None

    def start(self, now: int) -> None:
        """Begin to poll."""
        if self._deadline is None:
            self._poll(now)

    def receive(self, data: bytes, now: int) -> None:
        """Take bytes as they came. Never raises."""
        if not self._waiting:
            self.unexpected_bytes += len(data)
            if self._quiet:
                self._deadline = now + self.quiet_us
            return
        self._buffer = (self._buffer + data)[:_MAX_FRAME]
        if len(self._buffer) < 2:
            return
        count = self.where.form.registers
        length = response_length(self._buffer, count)
        if len(self._buffer) < length:
            return
        answer = read_response(self._buffer, self.where.unit, self.where.function, count)
        match answer:
            case None:
                self.damaged += 1
                self._without_reading("an answer that cannot be read", now, quiet=True)
            case ModbusException(code, text):
                self.exceptions += 1
                self._without_reading(f"exception {code}, {text}", now, quiet=False)
            case _:
                self._reading(decode_number(answer.words, self.where.form), now)

    def tick(self, now: int) -> None:
        """Let time pass: poll, or find that no answer came."""
        if self._deadline is None or now < self._deadline:
            return
        if self._waiting:
            self.timeouts += 1
            self._without_reading("no answer in time", now, quiet=True)
        else:
            self._poll(now)

    def next_event(self) -> PressureReading | None:
        """Return the oldest reading not yet taken, or None."""
        return self._events.popleft() if self._events else None

    def take_values(self) -> tuple[list[Decimal], list[int]]:
        """Return the values in kPa of the readings not yet taken, oldest first, and their times in µs; none that lies below the range."""
        taken = [(reading.value.value, reading.at) for reading in self._events if reading.value >= self.low]
        self._events.clear()
        return [value for value, _ in taken], [at for _, at in taken]

    def bytes_to_send(self) -> bytes:
        data, self._out = self._out, b""
        return data

    def next_deadline(self) -> int | None:
        return self._deadline

    @property
    def busy(self) -> bool:
        """Whether an answer is awaited."""
        return self._waiting

    def age(self, now: int) -> int | None:
        """Return the age of the last reading in µs, or None if there is none."""
        return None if self.last is None else now - self.last.at

    def quality(self, now: int) -> PressureQuality:
        """Return the quality of the last reading as of `now`: an old reading is STALE whatever it was."""
        if self.last is None:
            return PressureQuality.NONE
        return PressureQuality.STALE if now - self.last.at > self.stale_after_us else self.last.quality

    # ---- inside

    def _poll(self, now: int) -> None:
        self.polls += 1
        self._out, self._buffer = self._request, b""
        self._waiting, self._quiet = True, False
        self._polled_at, self._deadline = now, now + self.answer_timeout_us

    def _without_reading(self, problem: str, now: int, *, quiet: bool) -> None:
        self.last_problem = problem
        self._missed += 1
        self._pause(now, quiet=quiet)

    def _pause(self, now: int, *, quiet: bool) -> None:
        self._waiting, self._quiet, self._buffer = False, quiet, b""
        self._deadline = max(self._polled_at + self.period_us, now + self.quiet_us if quiet else now)

    def _reading(self, number: Decimal | None, now: int) -> None:
        if number is None:
            self.damaged += 1
            self._without_reading("a value that is not a number", now, quiet=False)
            return
        where = self.where
        factor = _IN_KILOPASCAL[where.pressure_unit]
        try:
            value = Kilopascal(round_to(EXACT.multiply(EXACT.scaleb(number, -where.decimals), factor), _PLACES))
        except ArithmeticError:  # too large for four decimals: it is no pressure
            self.damaged += 1
            self._without_reading("a value beyond all measure", now, quiet=False)
            return
        quality = PressureQuality.AFTER_GAP if self._missed and self.last is not None else PressureQuality.GOOD
        if not self.low <= value <= self.high:
            quality = PressureQuality.OUT_OF_RANGE
        self.readings += 1
        self.last = PressureReading(self.polls, value, now, quality, self._missed)
        self._missed = 0
        if len(self._events) >= _MAX_EVENTS:
            self._events.popleft()
            self.overrun += 1
        self._events.append(self.last)
        self._pause(now, quiet=False)
