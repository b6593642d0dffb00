"""What goes into the run machine and what comes out: two closed unions of frozen values.

Inputs are all that a run ever sees; a run is a pure function of them and of its plan. Effects are requests to the
shell, which carries them out in order, emergency bytes before all else.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from audit.events import Actor, EntryDraft
from audit.quantities import Microlitre


class Port(StrEnum):
    PRINTER = "printer"
    BALANCE = "balance"
    PRESSURE = "pressure"


class Operation(StrEnum):
    """What a person may ask of a run."""

    PREPARE = "prepare"
    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    STOP_FINISH_UNIT = "stop.finish_unit"
    STOP_QUICK = "stop.quickstop"
    STOP_KILL = "stop.kill"
    ACKNOWLEDGE = "acknowledge"
    SHELVE = "shelve"
    UNSHELVE = "unshelve"
    RESET = "reset"
    ENTER_WEIGHT = "enter weight"


STOPS = frozenset({Operation.STOP_FINISH_UNIT, Operation.STOP_QUICK, Operation.STOP_KILL})

ON_ALARMS = frozenset({Operation.ACKNOWLEDGE, Operation.SHELVE, Operation.UNSHELVE, Operation.RESET})
"""What concerns one alarm, named by the command's target; nothing of it moves the printer."""


CELL = Actor("system", "Dosewright cell", "system")


@dataclass(frozen=True, slots=True)
class PortBytes:
    port: Port
    data: bytes


@dataclass(frozen=True, slots=True)
class PortLost:
    port: Port
    reason: str


@dataclass(frozen=True, slots=True)
class Tick:
    pass


@dataclass(frozen=True, slots=True)
class EnteredWeight:
    """The net mass of one unit as a person read it on the external balance.

    `entry` 1 is the first person's, 2 the second's, blind; `attempt` counts from 1. `value` in mg as the balance shows it,
    `serial` is that of the balance as read there, `signature` the second person's over `audit.signatures.weight_digest`, as
    canonical JSON (empty for the first).
    """

    entry: int
    attempt: int
    value: str
    serial: str
    signature: str = ""


@dataclass(frozen=True, slots=True)
class Command:
    """What a person asks. `minutes` is how long a shelf lasts, `weight` what is entered of the unit in `target`."""

    operation: Operation
    who: Actor
    reason: str = ""
    target: str = ""
    minutes: int = 0
    weight: EnteredWeight | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """The entries of one `Record` effect are committed."""

    token: int


@dataclass(frozen=True, slots=True)
class RecordFailed:
    token: int
    reason: str


@dataclass(frozen=True, slots=True)
class RecordLate:
    """No answer about one `Record` effect came in time; it may still be committed, or fail."""

    token: int
    reason: str


@dataclass(frozen=True, slots=True)
class GuardChanged:
    open: bool


@dataclass(frozen=True, slots=True)
class ClockCompared:
    """UTC has moved against the steady clock: by `step_ms` just now, by `offset_ms` since the run was created."""

    offset_ms: int
    step_ms: int


@dataclass(frozen=True, slots=True)
class WireSealed:
    """The wire log of the run is flushed to disk; its digest."""

    sha256: str


@dataclass(frozen=True, slots=True)
class UnitCompiled:
    """A unit, or a part of one, compiled anew and proved.

    `gcode` as it will be sent, `cumulative_nl` after each command, `proof` canonical JSON.
    """

    n: int
    factor: Decimal
    gcode: bytes
    sha256: str
    target_volume: Microlitre
    cumulative_nl: tuple[int, ...]
    duration_us: int
    proof: bytes
    purge: bool = False
    part: int = 0


@dataclass(frozen=True, slots=True)
class UnitRefused:
    """A unit, a part of one, or a purge unit could not be compiled or proved."""

    n: int
    reason: str
    purge: bool = False
    part: int = 0


RunInput = (
    PortBytes
    | PortLost
    | Tick
    | Command
    | Recorded
    | RecordFailed
    | RecordLate
    | GuardChanged
    | ClockCompared
    | WireSealed
    | UnitCompiled
    | UnitRefused
)


@dataclass(frozen=True, slots=True)
class Send:
    port: Port
    data: bytes


@dataclass(frozen=True, slots=True)
class EmergencySend:
    """Bytes that stop the printer: out of band, ahead of every queue and of every record."""

    port: Port
    data: bytes


@dataclass(frozen=True, slots=True)
class Record:
    """Entries to commit in one transaction; the machine waits for `Recorded(token)` where motion depends on it.

    `insist`: nothing is left to stop, so it is tried again until it is committed; each failure is told all the same.
    """

    token: int
    drafts: tuple[EntryDraft, ...]
    insist: bool = False


@dataclass(frozen=True, slots=True)
class SealWireLog:
    pass


@dataclass(frozen=True, slots=True)
class Compile:
    """Compile unit `n` (a part of it, or purge unit `n`) anew with this flow factor; answered by UnitCompiled or UnitRefused."""

    n: int
    factor: Decimal
    purge: bool = False
    part: int = 0


RunEffect = Send | EmergencySend | Record | SealWireLog | Compile
