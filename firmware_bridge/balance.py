"""What every balance driver offers, and the events it gives. Pure values: a driver does no I/O and keeps no clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from audit.quantities import Milligram


@dataclass(frozen=True, slots=True)
class BalanceIdentified:
    """The balance has told who it is."""

    model: str
    serial: str
    software: str


@dataclass(frozen=True, slots=True)
class WeighResult:
    """One weight in mg, with the very bytes of the balance. `device` is model and serial number, `at` process time in µs."""

    value: Milligram
    stable: bool
    raw: bytes
    device: str
    at: int


@dataclass(frozen=True, slots=True)
class WeighFailed:
    """The balance answered, but not with a weight. `reason` is one of the FB-21x codes."""

    reason: str
    text: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class BalanceAdjusted:
    """A zero, a tare or an adjustment was carried out."""

    action: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class BalanceCapabilities:
    """What the balance says it can do: its commands, each with its level, and the levels and versions it implements."""

    commands: tuple[tuple[int, str], ...]
    levels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """A stream of weights was ended, and whatever was on the way is thrown away."""


@dataclass(frozen=True, slots=True)
class BalanceFault:
    """The balance can no longer be relied on; only `identify` leads out of it."""

    code: str
    text: str


BalanceEvent = BalanceIdentified | BalanceCapabilities | WeighResult | WeighFailed | BalanceAdjusted | StreamEnded | BalanceFault

NOT_STABLE = "FB-210"
NOT_NOW = "FB-211"
OVERLOAD = "FB-212"
UNDERLOAD = "FB-213"
DAMAGED = "FB-214"
REFUSED = "FB-215"
WRONG_UNIT = "FB-216"
DEVICE_ERROR = "FB-217"

NO_ANSWER = "FB-201"
RESTARTED = "FB-202"
OTHER_BALANCE = "FB-203"


class BalanceDriver(Protocol):
    """A balance as a sans-I/O machine; `now` is process time in µs. One request at a time, else LocalProtocolError."""

    @property
    def busy(self) -> bool: ...

    @property
    def fault(self) -> BalanceFault | None: ...

    def identify(self, now: int) -> None: ...

    def request_weight(self, now: int) -> None: ...

    def request_immediate(self, now: int) -> None: ...

    def receive(self, data: bytes, now: int) -> None: ...

    def tick(self, now: int) -> None: ...

    def next_event(self) -> BalanceEvent | None: ...

    def bytes_to_send(self) -> bytes: ...

    def next_deadline(self) -> int | None: ...
