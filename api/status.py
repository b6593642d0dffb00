"""What a cell says of itself, read into values that pages and the command line can show.

A cell of a later version may say more; what is not known here is passed over, because showing is all that is done with it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Quality = Literal["good", "stale", "unknown", "unused"]
"""`unused`: no run is live, nothing is asked of the device, and nothing is wrong with it."""


class _Shown(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Sensor(_Shown):
    """One reading: decimal text and unit, its age in ms and what it is worth."""

    value: str | None = None
    unit: str = ""
    age_ms: int | None = None
    quality: Quality = "unknown"
    low: str | None = None
    high: str | None = None
    stable: bool | None = None


class Link(_Shown):
    state: str = "unknown"
    age_ms: int | None = None
    quality: Quality = "unknown"


class _Weighed(_Shown):
    """What is printed and weighed by itself: its target and limits in mg (decimal text) and what became of it."""

    strength_mg: str
    target_mass_mg: str
    low_mg: str | None = None
    high_mg: str | None = None
    mass_mg: str | None = None
    state: str = "planned"
    verdict: str | None = None
    reasons: tuple[str, ...] = ()


class PartStatus(_Weighed):
    """One ink's part of a unit, with its own target, limits and verdict."""

    part: int
    moiety: str = ""


class UnitStatus(_Weighed):
    """One unit and what became of it."""

    unit: str
    n: int
    removed: bool = False
    x: str | None = None
    y: str | None = None
    parts: tuple[PartStatus, ...] = ()
    """Of a unit of several inks: each part by itself. The unit has no tolerance of its own."""

    @property
    def needs_removal(self) -> bool:
        """True for a unit that must be taken off the plate before anything is released."""
        return self.verdict in {"rejected", "scrapped"} and not self.removed


class PurgeStatus(_Shown):
    """One purge unit of a start-up calibration: waste, whatever its verdict."""

    unit: str
    n: int
    target_mass_mg: str | None = None
    mass_mg: str | None = None
    state: str = "planned"
    verdict: str | None = None
    reasons: tuple[str, ...] = ()
    removed: bool = False

    @property
    def needs_removal(self) -> bool:
        """True from its verdict until it is confirmed to be off the plate."""
        return self.verdict is not None and not self.removed


class AlarmStatus(_Shown):
    alarm: str
    name: str
    priority: str = "high"
    message: str = ""
    cause: str = ""
    consequence: str = ""
    action: str = ""
    unit_n: int | None = None
    state: str = "unacknowledged"
    first_out: bool | None = False
    follows: str | None = None
    shelvable: bool = False
    shelf_ends_in_s: int | None = None
    shelved_by: str | None = None
    shelf_reason: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether a person has still to acknowledge it."""
        return self.state.endswith("unacknowledged")

    @property
    def is_shelved(self) -> bool:
        return self.state == "shelved"

    @property
    def may_be_reset(self) -> bool:
        return self.state == "latched, acknowledged"


class GateStatus(_Shown):
    """One gate before a print: met by what, or what is missing."""

    gate: str
    met: bool
    evidence: str = ""
    reason: str = ""


class CheckReading(_Shown):
    step: str
    value_mg: str


class CheckStatus(_Shown):
    """A daily check of the balance: the step, what to do now, the readings so far, and the verdict once there is one."""

    step: str
    number: int = 0
    of: int = 0
    instruction: str = ""
    position: str | None = None
    weight: dict[str, str] = Field(default_factory=dict)
    by: dict[str, str] = Field(default_factory=dict)
    readings: tuple[CheckReading, ...] = ()
    failures: tuple[str, ...] = ()
    passed: bool | None = None
    reasons: tuple[str, ...] = ()
    under_way: bool = False
    problem: str = ""


class Allowed(_Shown):
    """Whether an action is open now, and the reasons if it is not."""

    allowed: bool = False
    reasons: tuple[str, ...] = ()


class MachineStatus(_Shown):
    """The machine profile of a cell."""

    id: str
    version: int
    digest: str


class ExternalWeighingStatus(_Shown):
    """A unit that waits to be weighed on the external balance: which entry is awaited, of whom not, and how it is done."""

    unit: str
    n: int
    entry: int
    attempt: int
    first_by: str | None = None
    asset: str = ""
    model: str = ""
    serial: str = ""
    decimals: int = 0
    removal: str = ""
    time_left_s: int | None = None


class CellStatus(_Shown):
    """The state of a cell and its run at one moment of its process time (µs)."""

    cell: str
    at_us: int = 0
    state: str = "IDLE"
    run: str | None = None
    batch: str | None = None
    machine: MachineStatus | None = None
    demonstration: bool = False
    purpose: str | None = None
    rate: str = "1"
    link: Link = Link()
    ports: dict[str, str] = Field(default_factory=dict)
    """Devices that are away, or were and are there again, in words."""
    notices: tuple[str, ...] = ()
    """What the cell's computer does not grant it, in words."""
    sensors: dict[str, Sensor] = Field(default_factory=dict)
    resting: dict[str, str] = Field(default_factory=dict)
    """Since when a device is not in use and who it was, by the name of its sensor; `link` is the printer's."""
    purge_units: tuple[PurgeStatus, ...] = ()
    units: tuple[UnitStatus, ...] = ()
    alarms: tuple[AlarmStatus, ...] = ()
    gates: tuple[GateStatus, ...] = ()
    ended_as: str | None = Field(default=None, validation_alias="ended")
    trace: tuple[tuple[int, str], ...] = ()
    time_left_s: int | None = None
    allowed_actions: dict[str, Allowed] = Field(default_factory=dict)
    check: CheckStatus | None = None
    external_weighing: ExternalWeighingStatus | None = None

    @property
    def unmet(self) -> tuple[GateStatus, ...]:
        """The gates that are not met; of a run that has ended, why nothing was printed."""
        return tuple(gate for gate in self.gates if not gate.met)

    @property
    def judged(self) -> int:
        return sum(1 for unit in self.units if unit.verdict is not None)

    @property
    def current(self) -> UnitStatus | None:
        """The unit that is being printed or weighed."""
        return next((unit for unit in self.units if unit.state in {"printing", "weighing", "settling"}), None)

    def may(self, action: str) -> Allowed:
        return self.allowed_actions.get(action, Allowed(reasons=("the cell does not offer it",)))

    @property
    def ended(self) -> bool:
        return self.state == "AWAITING_REVIEW"


def deviation_percent(mass: str, target: str) -> Decimal:
    """Return (mass - target) / target in %, to two decimals; both are positive decimal texts in mg."""
    wanted = Decimal(target)
    return ((Decimal(mass) - wanted) / wanted * 100).quantize(Decimal("0.01"))


STATE_WORDS: dict[str, tuple[str, str]] = {
    "IDLE": ("Idle", "No run on this cell"),
    "CREATED": ("Ready to begin", "The program is proved; nothing moves yet"),
    "PREFLIGHT": ("Checking", "The gates before a print"),
    "READY": ("Ready", "All gates are met; start when the cell is clear"),
    "PREPARING": ("Preparing", "Heating, homing, priming"),
    "PRINTING": ("Printing", "Each unit is printed, settled, weighed and judged"),
    "PAUSING": ("Pausing", "The unit in progress is finished first"),
    "PAUSED": ("Paused", "Nothing moves"),
    "RESUMING": ("Resuming", "Back to the next unit"),
    "FINISHING": ("Finishing", "Parking and cooling"),
    "ABORTING": ("Stopping", "The printer was told to stop"),
    "ABORTED": ("Stopped", "This run will never send again"),
    "FAULTED": ("Faulted", "The run was stopped; this run will never send again"),
    "INTERRUPTED": ("Interrupted", "The cell ended in mid-run; the unit in progress is scrapped"),
    "AWAITING_REVIEW": ("Awaiting review", "Printing is over; the record is open for review"),
    "UNKNOWN": ("Unknown", "The cell does not answer; what it does now is not known"),
}
