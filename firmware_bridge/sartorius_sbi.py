"""Sartorius balances: the SBI protocol as a sans-I/O machine.

`ESC P` prints one value of 16 characters (sign, value, unit, CR LF) or of 22 with a six-character identifier in front; a
blank unit says that the value is not stable. `Stat` lines or a word in place of the value report over- and underload and
errors. `ESC x1_`, `ESC x2_`, `ESC x3_` give model, serial number and software. Source: data output chapter of the Cubis and Entris
manuals.

Replies do not name their command. So there is one command at a time, and after an answer that cannot be read the driver
waits until the line has been quiet before it asks again.
"""

from __future__ import annotations

import re
from collections import deque
from decimal import Decimal
from enum import StrEnum

from audit.quantities import EXACT, Milligram
from firmware_bridge.balance import (
    DAMAGED,
    DEVICE_ERROR,
    NO_ANSWER,
    NOT_NOW,
    NOT_STABLE,
    OTHER_BALANCE,
    OVERLOAD,
    UNDERLOAD,
    WRONG_UNIT,
    BalanceEvent,
    BalanceFault,
    BalanceIdentified,
    WeighFailed,
    WeighResult,
)
from firmware_bridge.errors import LocalProtocolError

# A digit in brackets is one that is not verified (e ≠ d): it is a digit.
_VALUE = re.compile(rb"([+\- ]) *([0-9]{1,8}(?:\.[0-9]{1,6}|\.(?=\[))?)(?:\[([0-9])\])? *(?<=[ \]])([a-zA-Z]{0,3}) *\Z")
_ERROR = re.compile(rb"(?:Err|ERR|APP\.ER|DIS\.ER|PRT\.ER)\s*([0-9]{0,3})\Z")
_IDENTITY_TEXT = re.compile(rb"[ -~]{1,40}\Z")
_IN_MILLIGRAM = {b"mg": Decimal(1), b"g": Decimal(1000), b"kg": Decimal(1_000_000)}
_WORDS = {
    b"High": (OVERLOAD, "Overload: more than the weighing range."),
    b"H": (OVERLOAD, "Overload: more than the weighing range."),
    b"HH": (OVERLOAD, "Overload in checkweighing."),
    b"Low": (UNDERLOAD, "Underload: the pan is missing or lifted."),
    b"L": (UNDERLOAD, "Underload: the pan is missing or lifted."),
    b"LL": (UNDERLOAD, "Underload in checkweighing."),
    b"--": (NOT_NOW, "The balance gives no value now."),
    b"C": (NOT_NOW, "The balance is being adjusted."),
    b"Calibration": (NOT_NOW, "The balance is being adjusted."),
    b"Cal. Int.": (NOT_NOW, "The balance is being adjusted."),
    b"Cal. Ext.": (NOT_NOW, "The balance is being adjusted."),
    b"Cal.Int.": (NOT_NOW, "The balance is being adjusted."),
    b"Cal.Ext.": (NOT_NOW, "The balance is being adjusted."),
}
_PRINT = b"\x1bP\r\n"
_QUESTIONS = (b"\x1bx1_\r\n", b"\x1bx2_\r\n", b"\x1bx3_\r\n")
_MAX_LINE = 64
_MAX_EVENTS = 256


class _Waiting(StrEnum):
    NOTHING = "nothing"
    IDENTITY = "identity"
    STABLE = "stable weight"
    IMMEDIATE = "weight"
    PAUSE = "pause before the next print command"
    QUIET = "quiet line"


class SartoriusSbi:
    """One SBI balance set to print on request without waiting for stability. Times in µs, weights in mg, exact.

    `unit` is the unit set on the balance: an unstable value carries none. Lifetime: one opened port. Concurrency: one thread.
    """

    def __init__(
        self,
        *,
        unit: str = "g",
        stable_timeout_us: int = 40_000_000,
        answer_timeout_us: int = 2_000_000,
        poll_us: int = 200_000,
        quiet_us: int = 500_000,
    ) -> None:
        if unit.encode() not in _IN_MILLIGRAM:
            raise LocalProtocolError(f"A balance that weighs in {unit!r} is not supported; set it to g, mg or kg.")
        self.unit = unit.encode()
        self.stable_timeout_us, self.answer_timeout_us = stable_timeout_us, answer_timeout_us
        self.poll_us, self.quiet_us = poll_us, quiet_us
        self.model = self.serial = self.software = ""
        self.unexpected_lines = 0
        self.fault: BalanceFault | None = None
        self._waiting = _Waiting.NOTHING
        self._found: list[str] = []
        self._failure = WeighFailed(DAMAGED, "", b"")
        self._last = b""
        self._stable_until: int | None = None
        self._out = bytearray()
        self._events: deque[BalanceEvent] = deque()
        self._buffer = b""
        self._skipping = False
        self._deadline: int | None = None

    @property
    def busy(self) -> bool:
        """True while an answer is awaited or the line must become quiet."""
        return self._waiting is not _Waiting.NOTHING

    @property
    def device(self) -> str:
        return f"{self.model} {self.serial}".strip()

    def identify(self, now: int) -> None:
        """Ask for model, serial number and software; the way out of a fault as well."""
        if self.busy:
            raise LocalProtocolError(f"The balance is still awaited: {self._waiting}.")
        self.fault, self._found = None, []
        self._ask(_QUESTIONS[0], _Waiting.IDENTITY, now)

    def request_weight(self, now: int) -> None:
        """Ask for a stable weight: print commands are repeated until a value carries its unit, or the time is up."""
        self._require_ready()
        self._stable_until = now + self.stable_timeout_us
        self._ask(_PRINT, _Waiting.STABLE, now)

    def request_immediate(self, now: int) -> None:
        """Ask for the weight of this moment, stable or not."""
        self._require_ready()
        self._stable_until = None
        self._ask(_PRINT, _Waiting.IMMEDIATE, now)

    def receive(self, data: bytes, now: int) -> None:
        """Take bytes as they came. Never raises."""
        if self._waiting is _Waiting.QUIET and data:
            self._deadline = now + self.quiet_us
        *complete, rest = (self._buffer + data).split(b"\n")
        for line in complete:
            if self._skipping:
                self._skipping = False
                self._line(b"", now)
            else:
                self._line(line.removesuffix(b"\r")[: _MAX_LINE + 1], now)
        self._skipping = self._skipping or len(rest) > _MAX_LINE
        self._buffer = b"" if self._skipping else rest

    def tick(self, now: int) -> None:
        """Let time pass: repeat a print command, end a wait, or find that no answer came."""
        if self._deadline is None or now < self._deadline:
            return
        if self._waiting is _Waiting.PAUSE:
            self._ask(_PRINT, _Waiting.STABLE, now)
        elif self._waiting is _Waiting.QUIET:
            self._quiet(now)
        else:
            self._fail(NO_ANSWER, f"The balance did not answer ({self._waiting}).")

    def next_event(self) -> BalanceEvent | None:
        return self._events.popleft() if self._events else None

    def bytes_to_send(self) -> bytes:
        if not self._out:
            return b""
        data = bytes(self._out)
        self._out.clear()
        return data

    def next_deadline(self) -> int | None:
        return self._deadline

    # ---- inside

    def _require_ready(self) -> None:
        if self.busy:
            raise LocalProtocolError(f"The balance is still awaited: {self._waiting}.")
        if not self.serial or self.fault is not None:
            raise LocalProtocolError("The balance is not identified; identify it before it weighs.")

    def _ask(self, command: bytes, waiting: _Waiting, now: int) -> None:
        self._waiting, self._deadline = waiting, now + self.answer_timeout_us
        self._out += command

    def _done(self, event: BalanceEvent) -> None:
        self._waiting, self._deadline = _Waiting.NOTHING, None
        if len(self._events) >= _MAX_EVENTS:
            self._events.popleft()
        self._events.append(event)

    def _fail(self, code: str, text: str) -> None:
        self.fault = BalanceFault(code, text)
        self._done(self.fault)

    def _line(self, line: bytes, now: int) -> None:
        if self._waiting is _Waiting.IDENTITY:
            self._identity(line, now)
        elif self._waiting is _Waiting.STABLE or self._waiting is _Waiting.IMMEDIATE:
            self._answer(line, now)
        else:
            self.unexpected_lines += 1

    def _identity(self, line: bytes, now: int) -> None:
        text = line.strip()
        if not _IDENTITY_TEXT.match(text) or _VALUE.match(line):
            self._fail(DAMAGED, "The balance's identity cannot be read.")
            return
        self._found.append(text.decode("ascii"))
        if len(self._found) < len(_QUESTIONS):
            self._ask(_QUESTIONS[len(self._found)], _Waiting.IDENTITY, now)
            return
        model, serial, software = self._found
        if self.serial and serial != self.serial:
            self._fail(OTHER_BALANCE, f"Another balance answers: serial number {serial}, expected {self.serial}.")
            return
        self.model, self.serial, self.software = model, serial, software
        self._done(BalanceIdentified(model, serial, software))

    def _answer(self, line: bytes, now: int) -> None:
        self._last = line
        # 14 characters are the short form without its line end, 20 the long one with an identifier of six in front.
        body = line[6:] if len(line) == 20 else line
        word, match = body.strip(), _VALUE.match(body)
        error = _ERROR.match(word)
        if len(body) != 14:
            self._damaged(line, now)
        elif match is not None:
            self._value(match.group(1), match.group(2) + (match.group(3) or b""), match.group(4), line, now)
        elif error is not None:
            self._done(WeighFailed(DEVICE_ERROR, f"The balance reports error {error.group(1).decode() or word.decode()}.", line))
        elif word in _WORDS:
            self._done(WeighFailed(*_WORDS[word], line))
        else:
            self._damaged(line, now)

    def _value(self, sign: bytes, number: bytes, unit: bytes, line: bytes, now: int) -> None:
        if unit and unit != self.unit:
            self._done(WeighFailed(WRONG_UNIT, f"The balance weighs in {unit.decode()}, not in {self.unit.decode()}.", line))
        elif not unit and self._waiting is _Waiting.STABLE:
            self._again(now)
        else:
            magnitude = EXACT.multiply(Decimal(number.decode("ascii")), _IN_MILLIGRAM[self.unit])
            value = Milligram(-magnitude if sign == b"-" else magnitude)
            self._done(WeighResult(value, bool(unit), line, self.device, now))

    def _again(self, now: int) -> None:
        if self._stable_until is not None and now >= self._stable_until:
            self._done(WeighFailed(NOT_STABLE, "No stable value in time.", self._last))
        else:
            self._waiting, self._deadline = _Waiting.PAUSE, now + self.poll_us

    def _damaged(self, line: bytes, now: int) -> None:
        self.unexpected_lines += 1
        self._failure = WeighFailed(DAMAGED, "The answer of the balance cannot be read.", line)
        self._waiting, self._deadline = _Waiting.QUIET, now + self.quiet_us

    def _quiet(self, now: int) -> None:
        if self._stable_until is not None and now < self._stable_until:
            self._ask(_PRINT, _Waiting.STABLE, now)
        else:
            self._done(self._failure)
