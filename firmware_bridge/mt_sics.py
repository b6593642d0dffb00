"""Mettler-Toledo balances: MT-SICS levels 0 and 1 as a sans-I/O machine.

Commands `I0` to `I4` (commands, levels, model, software, serial number), `S` (stable weight), `SI` (weight now), `SIR` (weights
until stopped), `Z`, `T`, `C3` (internal adjustment). Replies name their command, then a status letter: `S S` stable, `S D` moving,
`S I` not now or not stable in time, `S L` wrong parameter, `S +` and `S -` over- and underload, `B` more to come, `A` done;
`ES ET EL` refuse a command. Source: MT-SICS reference manual, levels 0 to 2.

A reply that cannot be read is not waited out: the driver asks for the serial number, and whatever weight comes before
that answer is thrown away, so that a late weight can never be taken for the next one.
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
    REFUSED,
    RESTARTED,
    UNDERLOAD,
    WRONG_UNIT,
    BalanceAdjusted,
    BalanceCapabilities,
    BalanceEvent,
    BalanceFault,
    BalanceIdentified,
    StreamEnded,
    WeighFailed,
    WeighResult,
)
from firmware_bridge.errors import LocalProtocolError

_WEIGHT = re.compile(rb"(?:S|SI|T) ([SD]) +(-?[0-9]{1,9}(?:\.[0-9]{1,6})?) ([a-zA-Z]{1,5}) *\Z")
_TEXT = re.compile(rb'(I[234]) A "([ !#-~]{0,60})"\s*\Z')
_LISTED = re.compile(rb'I0 ([AB])(?: ([0-9]) "([ !#-~]{1,20})")?\s*\Z')
_LEVELS = re.compile(rb'I1 A((?: "[0-9.]{0,12}")+)\s*\Z')
_ERROR = re.compile(rb"(?:S|SI) S +Error +([0-9]{1,2}[bt])\s*\Z")
_IN_MILLIGRAM = {b"mg": Decimal(1), b"g": Decimal(1000), b"kg": Decimal(1_000_000)}
_REFUSALS = {b"ES": "syntax error", b"ET": "transmission error", b"EL": "logical error"}
_MAX_LINE = 120
_MAX_EVENTS = 256
_MAX_COMMANDS = 512


class _Waiting(StrEnum):
    NOTHING = "nothing"
    IDENTITY = "identity"
    WEIGHT = "weight"
    ADJUSTMENT = "adjustment"
    STREAM = "stream of weights"
    ENDING = "end of a stream"
    RESYNCHRONISING = "resynchronising"


_WEIGHING = (_Waiting.WEIGHT, _Waiting.ADJUSTMENT)


class MtSics:
    """One MT-SICS balance. Times in µs; weights in mg, exact; raw bytes without their line end.

    Lifetime: one opened port. Concurrency: one thread. Memory is bounded.
    """

    def __init__(
        self, *, stable_timeout_us: int = 40_000_000, answer_timeout_us: int = 2_000_000, adjustment_timeout_us: int = 240_000_000
    ) -> None:
        self.adjustment_timeout_us = adjustment_timeout_us
        self.stable_timeout_us, self.answer_timeout_us = stable_timeout_us, answer_timeout_us
        self.model = self.serial = self.software = ""
        self.unexpected_lines = self.dropped_events = 0
        self.fault: BalanceFault | None = None
        self._waiting = _Waiting.NOTHING
        self._command = b""
        self._identity: dict[bytes, str] = {}
        self._commands: list[tuple[int, str]] = []
        self._levels: tuple[str, ...] = ()
        self._then: WeighFailed | StreamEnded | None = None
        self._out = bytearray()
        self._events: deque[BalanceEvent] = deque()
        self._buffer = b""
        self._skipping = False
        self._deadline: int | None = None

    @property
    def busy(self) -> bool:
        """True while an answer is awaited; a second command would mix up the balance."""
        return self._waiting is not _Waiting.NOTHING

    @property
    def device(self) -> str:
        return f"{self.model} {self.serial}".strip()

    def identify(self, now: int) -> None:
        """Ask for model, software and serial number; the way out of a fault as well."""
        self._begin(b"I2", now)

    def discover(self, now: int) -> None:
        """Ask for all commands and levels as well (`I0`, `I1`), then identify: BalanceCapabilities, then BalanceIdentified."""
        self._begin(b"I0", now)

    def request_weight(self, now: int) -> None:
        """Ask for a stable weight (`S`); the balance itself waits for stability."""
        self._request(b"S", _Waiting.WEIGHT, self.stable_timeout_us, now)

    def request_immediate(self, now: int) -> None:
        """Ask for the weight of this moment (`SI`), stable or not."""
        self._request(b"SI", _Waiting.WEIGHT, self.answer_timeout_us, now)

    def request_zero(self, now: int) -> None:
        """Set the zero (`Z`); answered by BalanceAdjusted or WeighFailed."""
        self._request(b"Z", _Waiting.ADJUSTMENT, self.stable_timeout_us, now)

    def request_tare(self, now: int) -> None:
        """Tare (`T`); answered by BalanceAdjusted or WeighFailed."""
        self._request(b"T", _Waiting.ADJUSTMENT, self.stable_timeout_us, now)

    def request_adjustment(self, now: int) -> None:
        """Adjust with the internal weight (`C3`), which takes minutes; answered by BalanceAdjusted or WeighFailed."""
        self._request(b"C3", _Waiting.ADJUSTMENT, self.adjustment_timeout_us, now)

    def request_stream(self, now: int) -> None:
        """Ask for weights without end (`SIR`), stable or not, until `stop_stream`. What is not taken in time is dropped, oldest first."""
        self._request(b"SIR", _Waiting.STREAM, self.answer_timeout_us, now)

    def stop_stream(self, now: int) -> None:
        """End the stream; StreamEnded follows when everything that was on the way is through."""
        if self._waiting is not _Waiting.STREAM:
            raise LocalProtocolError("No stream of weights is open.")
        self._ask(b"SI", _Waiting.ENDING, self.answer_timeout_us, now)

    def receive(self, data: bytes, now: int) -> None:
        """Take bytes as they came. Never raises."""
        *complete, rest = (self._buffer + data).split(b"\n")
        for line in complete:
            if self._skipping:
                self._skipping = False
                self._damaged(line[:_MAX_LINE], now)
            elif line := line.removesuffix(b"\r"):
                self._line(line[: _MAX_LINE + 1], now)
        self._skipping = self._skipping or len(rest) > _MAX_LINE
        self._buffer = b"" if self._skipping else rest

    def tick(self, now: int) -> None:
        """Let time pass: no answer in time is a fault."""
        if self._deadline is not None and now >= self._deadline:
            self._fail(NO_ANSWER, f"The balance did not answer {self._command.decode()} in time.")

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

    def _begin(self, command: bytes, now: int) -> None:
        if self.busy:
            raise LocalProtocolError(f"The balance still owes an answer to {self._command.decode()}.")
        self.fault = None
        self._identity, self._commands, self._levels = {}, [], ()
        self._ask(command, _Waiting.IDENTITY, self.answer_timeout_us, now)

    def _request(self, command: bytes, waiting: _Waiting, limit_us: int, now: int) -> None:
        if self.busy:
            raise LocalProtocolError(f"The balance still owes an answer to {self._command.decode()}.")
        if not self.serial or self.fault is not None:
            raise LocalProtocolError("The balance is not identified; identify it before it weighs.")
        self._ask(command, waiting, limit_us, now)

    def _ask(self, command: bytes, waiting: _Waiting, limit_us: int, now: int) -> None:
        self._command, self._waiting, self._deadline = command, waiting, now + limit_us
        self._out += command + b"\r\n"

    def _emit(self, event: BalanceEvent) -> None:
        if len(self._events) >= _MAX_EVENTS:
            self._events.popleft()
            self.dropped_events += 1
        self._events.append(event)

    def _done(self, event: BalanceEvent) -> None:
        self._waiting, self._deadline = _Waiting.NOTHING, None
        self._emit(event)

    def _fail(self, code: str, text: str) -> None:
        self.fault = BalanceFault(code, text)
        self._done(self.fault)

    def _line(self, line: bytes, now: int) -> None:
        named = _TEXT.match(line)
        if named is not None:
            self._named(named.group(1), named.group(2).decode("ascii").strip(), line, now)
        elif self._waiting in _WEIGHING:
            self._answer(line, now)
        elif self._waiting is _Waiting.STREAM:
            self._streamed(line, now)
        elif self._waiting is _Waiting.ENDING:
            # The last of the stream or the answer to SI: which of them it is does not matter after the serial number was asked for.
            self._then = StreamEnded()
            self._ask(b"I4", _Waiting.RESYNCHRONISING, self.answer_timeout_us, now)
        elif self._waiting is _Waiting.IDENTITY:
            self._discovered(line, now)
        else:
            self.unexpected_lines += 1

    def _discovered(self, line: bytes, now: int) -> None:
        listed, levels, bare = _LISTED.match(line), _LEVELS.match(line), line.rstrip()
        if bare in _REFUSALS or bare in (self._command + b" I", self._command + b" L"):
            self._fail(NOT_NOW, f"The balance refused {self._command.decode()}: {_REFUSALS.get(bare, 'not executable now')}.")
        elif listed is not None and self._command == b"I0":
            if listed.group(3) is not None and len(self._commands) < _MAX_COMMANDS:
                self._commands.append((int(listed.group(2)), listed.group(3).decode("ascii")))
            following = b"I1" if listed.group(1) == b"A" else b""
            self._deadline = now + self.answer_timeout_us
            if following:
                self._ask(following, _Waiting.IDENTITY, self.answer_timeout_us, now)
        elif levels is not None and self._command == b"I1":
            self._levels = tuple(levels.group(1).decode("ascii").replace('"', "").split(" ")[1:])
            self._emit(BalanceCapabilities(tuple(self._commands), self._levels))
            self._ask(b"I2", _Waiting.IDENTITY, self.answer_timeout_us, now)
        else:
            self.unexpected_lines += 1

    def _streamed(self, line: bytes, now: int) -> None:
        """Take one line of a stream; what cannot be read is reported and the stream goes on."""
        self._deadline = now + self.answer_timeout_us
        bare = line.rstrip()
        if bare in _REFUSALS or bare in (b"SIR L", b"SIR I"):
            self._answer(line, now)
            return
        outcome = self._outcome(line, now)
        if bare == b"S L" and outcome is not None:
            self._done(outcome)
            return
        if outcome is None:
            self.unexpected_lines += 1
            outcome = WeighFailed(DAMAGED, "A weight of the stream cannot be read.", line)
        self._emit(outcome)

    def _named(self, command: bytes, text: str, line: bytes, now: int) -> None:
        if self._waiting is _Waiting.IDENTITY and command == self._command:
            self._identity[command] = text
            following = {b"I2": b"I3", b"I3": b"I4"}.get(command)
            if following is not None:
                self._ask(following, _Waiting.IDENTITY, self.answer_timeout_us, now)
            else:
                self._identified()
        elif self._waiting is _Waiting.RESYNCHRONISING and command == b"I4" and self._then is not None:
            if text == self.serial:
                self._done(self._then)
            else:
                self._fail(OTHER_BALANCE, f"Another balance answers: serial number {text}, expected {self.serial}.")
        elif command == b"I4" and self.serial and self._waiting is not _Waiting.IDENTITY:
            # Sent without being asked after switching on: tare and zero are gone.
            self._fail(RESTARTED, f"The balance restarted by itself ({line.decode('latin-1')}).")
        else:
            self.unexpected_lines += 1

    def _identified(self) -> None:
        model, software, serial = (self._identity[command] for command in (b"I2", b"I3", b"I4"))
        if not serial:
            self._fail(OTHER_BALANCE, "The balance reports an empty serial number.")
            return
        if self.serial and serial != self.serial:
            self._fail(OTHER_BALANCE, f"Another balance answers: serial number {serial}, expected {self.serial}.")
            return
        self.model, self.software, self.serial = model, software, serial
        self._done(BalanceIdentified(model, serial, software))

    def _answer(self, line: bytes, now: int) -> None:
        status = line.rstrip().removeprefix(self._command + b" ") if line.startswith(self._command + b" ") else b""
        if line.rstrip() in _REFUSALS:
            self._done(WeighFailed(REFUSED, f"The balance refused {self._command.decode()}: {_REFUSALS[line.rstrip()]}.", line))
        elif status == b"I":
            reason = NOT_STABLE if self._command == b"S" else NOT_NOW
            self._done(WeighFailed(reason, "No stable value in time, or the balance is occupied.", line))
        elif status == b"L":
            self._done(WeighFailed(REFUSED, "The balance does not accept the command.", line))
        elif status == b"+":
            self._done(WeighFailed(OVERLOAD, "Overload: more than the weighing range.", line))
        elif status == b"-":
            self._done(WeighFailed(UNDERLOAD, "Underload: the pan is missing or lifted.", line))
        elif status == b"A" and self._command in (b"Z", b"C3"):
            self._done(BalanceAdjusted("zero" if self._command == b"Z" else "internal adjustment", line))
        elif status == b"B" and self._waiting is _Waiting.ADJUSTMENT:
            self._deadline = now + self.adjustment_timeout_us  # begun; the end of it is a reply of its own
        else:
            self._weight(line, now)

    def _weight(self, line: bytes, now: int) -> None:
        outcome = self._outcome(line, now)
        if outcome is None:
            self._damaged(line, now)
        else:
            self._done(outcome)

    def _outcome(self, line: bytes, now: int) -> WeighResult | WeighFailed | BalanceAdjusted | None:
        """Read a weight or a failure; None if it is neither. The balance answers SI and SIR with `S`, as it does S."""
        error, match, bare = _ERROR.match(line), _WEIGHT.match(line), line.rstrip()
        if error is not None:
            return WeighFailed(DEVICE_ERROR, f"The balance reports error {error.group(1).decode()}.", line)
        if bare == b"S +":
            return WeighFailed(OVERLOAD, "Overload.", line)
        if bare == b"S -":
            return WeighFailed(UNDERLOAD, "Underload.", line)
        if bare == b"S L":
            return WeighFailed(REFUSED, "The balance does not accept the command.", line)
        if bare == b"S I":
            return WeighFailed(NOT_NOW, "The balance is occupied.", line)
        if match is None or line.startswith(b"T ") != (self._command == b"T") or self._command in (b"Z", b"C3"):
            return None
        return self._value(match.group(1), match.group(2), match.group(3), line, now)

    def _value(self, status: bytes, number: bytes, unit: bytes, line: bytes, now: int) -> WeighResult | WeighFailed | BalanceAdjusted:
        factor = _IN_MILLIGRAM.get(unit)
        if factor is None:
            return WeighFailed(WRONG_UNIT, f"The balance weighs in {unit.decode()}; set it to g, mg or kg.", line)
        if self._command == b"T":
            return BalanceAdjusted("tare", line)
        if self._command == b"S" and status == b"D":
            return WeighFailed(NOT_STABLE, "The balance gave a moving value where a stable one was asked.", line)
        value = Milligram(EXACT.multiply(Decimal(number.decode("ascii")), factor))
        return WeighResult(value, status == b"S", line, self.device, now)

    def _damaged(self, line: bytes, now: int) -> None:
        self.unexpected_lines += 1
        if self._waiting in _WEIGHING:
            self._then = WeighFailed(DAMAGED, f"The answer to {self._command.decode()} cannot be read.", line)
            limit = self.stable_timeout_us if self._command == b"S" else self.answer_timeout_us
            self._ask(b"I4", _Waiting.RESYNCHRONISING, limit, now)
