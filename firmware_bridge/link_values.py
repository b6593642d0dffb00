"""Values of the printer link: its states, the one transition table, what goes in and what comes out."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum


class LinkState(StrEnum):
    """Where the link stands. STOPPED and FAULTED are terminal: nothing is ever sent again."""

    NEW = "NEW"
    IDENTIFYING = "IDENTIFYING"
    SYNCHRONISING = "SYNCHRONISING"
    READY = "READY"
    STREAMING = "STREAMING"
    PROBING = "PROBING"
    STOPPED = "STOPPED"
    FAULTED = "FAULTED"


class LinkInput(StrEnum):
    """What can move the link from one state to another."""

    START = "start"
    IDENTITY_MATCHES = "identity matches"
    PRINTER_RESTARTED = "printer restarted"
    NUMBERED = "numbering set"
    SUBMITTED = "lines submitted"
    ALL_ACKNOWLEDGED = "all acknowledged"
    UNSURE = "answer missing or unclear"
    RESOLVED = "probe answered"
    STOP = "stop"
    FAULT = "fault"


TERMINAL = (LinkState.STOPPED, LinkState.FAULTED)
HANDSHAKE = (LinkState.IDENTIFYING, LinkState.SYNCHRONISING)
RUNNING = (LinkState.READY, LinkState.STREAMING, LinkState.PROBING)

_S, _I = LinkState, LinkInput
_LIVE = (*HANDSHAKE, *RUNNING)

TRANSITIONS: dict[tuple[LinkState, LinkInput], LinkState] = {
    (_S.NEW, _I.START): _S.IDENTIFYING,
    (_S.NEW, _I.STOP): _S.STOPPED,
    (_S.NEW, _I.FAULT): _S.FAULTED,
    (_S.IDENTIFYING, _I.IDENTITY_MATCHES): _S.SYNCHRONISING,
    (_S.IDENTIFYING, _I.PRINTER_RESTARTED): _S.IDENTIFYING,
    (_S.SYNCHRONISING, _I.PRINTER_RESTARTED): _S.IDENTIFYING,
    (_S.SYNCHRONISING, _I.NUMBERED): _S.READY,
    (_S.READY, _I.SUBMITTED): _S.STREAMING,
    (_S.STREAMING, _I.SUBMITTED): _S.STREAMING,
    (_S.STREAMING, _I.ALL_ACKNOWLEDGED): _S.READY,
    (_S.STREAMING, _I.UNSURE): _S.PROBING,
    (_S.PROBING, _I.SUBMITTED): _S.PROBING,
    (_S.PROBING, _I.UNSURE): _S.PROBING,
    (_S.PROBING, _I.RESOLVED): _S.STREAMING,
    **{(state, _I.PRINTER_RESTARTED): _S.FAULTED for state in RUNNING},
    **{(state, _I.STOP): _S.STOPPED for state in _LIVE},
    **{(state, _I.FAULT): _S.FAULTED for state in _LIVE},
    (_S.STOPPED, _I.STOP): _S.STOPPED,
    (_S.FAULTED, _I.STOP): _S.FAULTED,
    (_S.FAULTED, _I.FAULT): _S.FAULTED,
    (_S.STOPPED, _I.FAULT): _S.STOPPED,
}


def transition_table_markdown() -> str:
    """Return the transition table as Markdown, one row a state; `-` is refused and changes nothing."""
    head = "| state | " + " | ".join(_I) + " |"
    rule = "|---" * (len(_I) + 1) + "|"
    rows = [f"| {state} | " + " | ".join(str(TRANSITIONS.get((state, given), "-")) for given in _I) + " |" for state in _S]
    return "\n".join([head, rule, *rows]) + "\n"


class StopStrength(StrEnum):
    """How hard to stop. QUICKSTOP (`M410`) drops motion and switches the heaters off; KILL (`M112`) halts the firmware, which does both."""

    QUICKSTOP = "quickstop"
    KILL = "kill"


# Marlin's; what another dialect takes instead is in its profile (`FirmwareProfile.stop_bytes`).
STOP_BYTES = {StopStrength.QUICKSTOP: b"\nM410\nM104 S0\nM140 S0\n", StopStrength.KILL: b"\nM112\n"}


@dataclass(frozen=True, slots=True)
class OutLine:
    """One command without number, comment or newline.

    `exposure_nl` is the volume in nL that it commands, not negative; `slow` grants the long time limit.
    """

    command: bytes
    tag: str
    exposure_nl: int = 0
    slow: bool = False


@dataclass(frozen=True, slots=True)
class LinkFault:
    """Why the link is FAULTED: a code (FB-1xx) and a sentence."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Identified:
    """The firmware is the approved one and line numbering is set. `firmware` holds the M115 fields in order."""

    firmware: tuple[tuple[str, str], ...]
    capabilities: tuple[tuple[str, bool], ...]


@dataclass(frozen=True, slots=True)
class IdentityRefused:
    """The firmware differs from the approved profile; each difference is a sentence. The link is FAULTED."""

    differences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LineAcknowledged:
    """The firmware has taken the line into its queue (a slow line: has finished it)."""

    tag: str
    number: int


@dataclass(frozen=True, slots=True)
class Drained:
    """Every submitted line is acknowledged."""


@dataclass(frozen=True, slots=True)
class TemperatureReport:
    """Temperatures and their targets in degC, as the firmware wrote them. `hotends`: each by its number, where it names two."""

    hotend: Decimal
    hotend_target: Decimal
    bed: Decimal
    bed_target: Decimal
    hotends: tuple[Decimal, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolReport:
    """The firmware says which head is in use, by its number."""

    number: int


@dataclass(frozen=True, slots=True)
class PositionReport:
    """Queued position in mm (M114), not where the head is unless M400 came before."""

    x: Decimal
    y: Decimal
    z: Decimal
    e: Decimal


@dataclass(frozen=True, slots=True)
class Notice:
    """A line of the firmware that decides nothing but may matter to a person."""

    text: str


@dataclass(frozen=True, slots=True)
class Fault:
    """The link is FAULTED; `cause` is the first cause and stays so."""

    cause: LinkFault


LinkEvent = Identified | IdentityRefused | LineAcknowledged | Drained | TemperatureReport | ToolReport | PositionReport | Notice | Fault
