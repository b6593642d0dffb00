"""Lines on the wire: number and checksum a command, and read the firmware's replies into frozen values.

`parse_reply` never raises: a line that fits no known form is `Unknown`. Forms are matched whole, so that a line with a
byte lost or two lines run together is seen as damaged instead of half understood. Forms: serial-protocol notes §§1–6.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from functools import reduce
from operator import xor

from firmware_bridge.errors import LocalProtocolError

_NUM = r"-?[0-9]{1,7}(?:\.[0-9]{1,4})?"
_OK = re.compile(rb"ok(?: N([0-9]{1,9}))?(?: P([0-9]{1,4}))?(?: B([0-9]{1,4}))?\s*\Z")
_RESEND = re.compile(r"(?:Resend: ?|rs )N?([0-9]{1,9})(?: Expected checksum [0-9]{1,3})?\s*\Z")
_LAST_LINE = re.compile(r"Last Line: ?([0-9]{1,9})\s*\Z", re.IGNORECASE)
_EXPECTED_LINE = re.compile(r"expected line ([0-9]{1,9}) got", re.IGNORECASE)
_TEMPERATURES = re.compile(
    rf"(?:\s*[TBCLPMSR][0-9]?:{_NUM}(?:\s*/\s*{_NUM})?(?:\s*\([0-9]{{1,6}}\))?|\s*[BCL]?@[0-9]?:-?[0-9]{{1,4}}|\s*W:(?:\?|[0-9]{{1,6}}))+\s*\Z"
)
_HEATER = re.compile(rf"(?:^|\s)(T[01]?|B):\s*({_NUM})\s*/\s*({_NUM})")
_TOOL = re.compile(r"echo: ?Active Extruder: ?([0-9]{1,2})\s*\Z")
# RepRapFirmware gives each extruder's own count beside a virtual E, which relative extrusion does not move.
_POSITION = re.compile(rf"X:({_NUM}) Y:({_NUM}) Z:({_NUM}) E:({_NUM})(?: E0:({_NUM}))?(?: E[1-9]:{_NUM})*(?: Count:? .{{0,120}})?\s*\Z")
_CAPABILITY = re.compile(r"Cap:([A-Z0-9_]{1,40}):([01])\s*\Z")
_BUSY = re.compile(r"(?:echo: ?)?busy: ?(.{1,40})\Z")
_ACTION = re.compile(r"// ?action:(.{1,200})\Z")
_SET_LINE = re.compile(r"Line: [0-9]{1,9}\s*\Z")
_SETTING = re.compile(r"[GM][0-9]{1,3}(?: [A-Z][0-9.+-]*)+\s*\Z")

# Builds write these with and without capitals.
_LINE_ERRORS = (
    "checksum mismatch", "line number is not", "no checksum with", "no line number with", "expected line", "missing checksum", "last line:",
)  # fmt: skip
_THERMAL = ("Heating failed", "Thermal Runaway", "THERMAL RUNAWAY", "MAXTEMP", "MINTEMP", "Thermal Malfunction", "switched off")
_HALTED = ("kill()", "KILL", "halted", "stopped due to errors", "system stopped", "EMERGENCY SHUTDOWN", "M112 Shutdown")
_REPRAP_HALTED = "Emergency Stop!"
_REPRAP_HEATER = re.compile(r"(?:Error: )?Heater [0-9]+ fault\b")
_RESTARTED = ("start", "echo:start", "PowerUp", "Brown out Reset", "External Reset", "Watchdog Reset", "Software Reset")
_BANNERS = ("Marlin ", "echo:Marlin ", "echo: Last Updated", "// Klipper state: Ready", "// Klipper state: Startup")
_KLIPPER_DOWN = ("// Klipper state: Shutdown", "// Klipper state: Disconnect", "// Klipper state: Error")
_REFUSED = (
    "Unknown command",
    "was not driven because",
    "extrusion prevented",
    "Homing Failed",
    "Home XYZ First",
    "Home X",
    "Home Y",
    "Home Z",
    "Invalid extruder",
)

_OVERHEAD = 16
# Taken by the firmware's emergency parser (an `ok` of their own, or a stop) or by line numbering: never ordinary lines.
_FORBIDDEN = frozenset((b"M110", b"M112", b"M410", b"M108", b"M876"))
_COMMAND = re.compile(rb"[GMT][0-9]{1,5}(?:\.[0-9])?(?: [\x21-\x29\x2b-\x3a\x3c-\x5b\x5d-\x7e ]*)?\Z")


@dataclass(frozen=True, slots=True)
class Ok:
    """`ok`, with line number, free planner slots and free command slots where ADVANCED_OK gives them."""

    number: int | None = None
    planner: int | None = None
    slots: int | None = None


@dataclass(frozen=True, slots=True)
class Temperatures:
    """Active hotend and bed in degC, actual and target; None where the line names no such heater. `ok`: it also acknowledges an M105.

    `hotends`: each hotend by its number, where the line names two; else empty.
    """

    hotend: tuple[Decimal, Decimal] | None
    bed: tuple[Decimal, Decimal] | None
    ok: bool
    hotends: tuple[tuple[Decimal, Decimal], ...] = ()


@dataclass(frozen=True, slots=True)
class Tool:
    """The head that is in use, as Marlin says it at the end of every `T` command, also where nothing changed."""

    number: int


@dataclass(frozen=True, slots=True)
class Position:
    x: Decimal
    y: Decimal
    z: Decimal
    e: Decimal
    ok: bool


@dataclass(frozen=True, slots=True)
class Resend:
    number: int


@dataclass(frozen=True, slots=True)
class LineError:
    """The firmware refused a line for its number or checksum; `last` is the last line it took, if it says so."""

    last: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Fatal:
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The firmware says `ok` but has not done what the line asked."""

    text: str


@dataclass(frozen=True, slots=True)
class Busy:
    text: str


@dataclass(frozen=True, slots=True)
class Wait:
    pass


@dataclass(frozen=True, slots=True)
class Restarted:
    text: str


@dataclass(frozen=True, slots=True)
class Identity:
    """The FIRMWARE_NAME line; `ok`: with the acknowledgement in the same line."""

    text: str
    ok: bool


@dataclass(frozen=True, slots=True)
class Capability:
    name: str
    present: bool


@dataclass(frozen=True, slots=True)
class Information:
    """A known kind of line that decides nothing: echo, host action, comment, area, settings."""

    text: str


@dataclass(frozen=True, slots=True)
class Unknown:
    text: str


Reply = (
    Ok | Temperatures | Tool | Position | Resend | LineError | Fatal | Refused
    | Busy | Wait | Restarted | Identity | Capability | Information | Unknown
)  # fmt: skip


def checksum(line: bytes) -> int:
    """Return the XOR of all bytes (everything before the `*`)."""
    return reduce(xor, line, 0)


def number_line(number: int, command: bytes) -> bytes:
    """Return `N<n> <command>*<checksum>` with its newline."""
    body = b"N%d %b" % (number, command)
    return b"%b*%d\n" % (body, checksum(body))


def check_command(command: bytes, max_line: int = 96) -> None:
    """Refuse what may not be an ordinary line: comments, `*`, control bytes, too long, numbering and emergency codes.

    `max_line` is the firmware's line buffer in bytes; number, checksum and end need 16 of them. Raises LocalProtocolError.
    """
    if len(command) > max_line - _OVERHEAD:
        raise LocalProtocolError(f"The command {command[:40]!r}… has {len(command)} bytes; the firmware keeps {max_line - _OVERHEAD}.")
    if not _COMMAND.match(command):
        raise LocalProtocolError(f"{command!r} is not one plain command: letter, number, parameters; no comment, '*' or newline.")
    if command.partition(b" ")[0] in _FORBIDDEN:
        raise LocalProtocolError(f"{command!r} may not be sent as an ordinary line; stops and line numbers are the link's own.")


def parse_reply(line: bytes) -> Reply:
    """Read one line of the firmware without its newline. Never raises."""
    match = _OK.match(line)
    if match:
        number, planner, slots = match.groups()
        return Ok(None if number is None else int(number), None if planner is None else int(planner), None if slots is None else int(slots))
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        text = line.decode("latin-1")
    if text.startswith("ok "):
        return _parse_ok_text(text, text[3:])
    return _parse_measured(text, text, ok=False) or _parse_text(text)


def _parse_ok_text(text: str, rest: str) -> Reply:
    if rest.startswith("FIRMWARE_NAME:"):
        return Identity(rest, ok=True)
    return _parse_measured(text, rest, ok=True) or Unknown(text)


def _parse_measured(text: str, rest: str, *, ok: bool) -> Temperatures | Position | None:
    if ":" not in rest or rest[:1] not in " TBX":
        return None
    position = _POSITION.match(rest)
    if position:
        x, y, z, e, own = position.groups()
        return Position(Decimal(x), Decimal(y), Decimal(z), Decimal(e if own is None else own), ok)
    if not _TEMPERATURES.match(rest):
        return None
    found = {name: (Decimal(actual), Decimal(target)) for name, actual, target in _HEATER.findall(rest)}
    both = (found["T0"], found["T1"]) if "T0" in found and "T1" in found else ()
    return Temperatures(found.get("T", found.get("T0")), found.get("B"), ok, both)


def _parse_text(text: str) -> Reply:
    if text.startswith(("Resend:", "rs ")):
        resend = _RESEND.match(text)
        return Resend(int(resend.group(1))) if resend else Unknown(text)
    if text.startswith(_REPRAP_HALTED):
        return Fatal("FB-111", text)
    if _REPRAP_HEATER.match(text):
        return Fatal("FB-110", text)
    if text[:6].lower() == "error:":
        return _parse_error(text)
    if text.startswith(("!!", "fatal:", *_KLIPPER_DOWN)):
        return Fatal("FB-113", text)
    if text.rstrip() == "wait":
        return Wait()
    if text.startswith(("FIRMWARE_NAME:", "NAME:")):
        return Identity(text, ok=False)
    capability = _CAPABILITY.match(text)
    if capability:
        return Capability(capability.group(1), capability.group(2) == "1")
    busy = _BUSY.match(text)
    if busy:
        return Busy(busy.group(1))
    if text.rstrip() in _RESTARTED or text.startswith(_BANNERS):
        return Restarted(text)
    return _parse_information(text)


def _parse_error(text: str) -> Reply:
    if any(form in text for form in _THERMAL):
        return Fatal("FB-110", text)
    if any(form in text for form in _HALTED):
        return Fatal("FB-111", text)
    lowered = text.lower()
    if any(form in lowered for form in _LINE_ERRORS):
        last = _LAST_LINE.search(text)
        if last:
            return LineError(int(last.group(1)), text)
        expected = _EXPECTED_LINE.search(text)
        return LineError(int(expected.group(1)) - 1 if expected else None, text)
    return Fatal("FB-112", text)


def _parse_information(text: str) -> Reply:
    action = _ACTION.match(text)
    if action:
        name = action.group(1).strip()
        return Fatal("FB-111", text) if name in ("poweroff", "shutdown", "disconnect") else Information(text)
    if tool := _TOOL.match(text):
        return Tool(int(tool.group(1)))
    if text.startswith("echo:"):
        if any(form in text for form in (*_THERMAL, *_HALTED)):
            return Fatal("FB-110" if any(form in text for form in _THERMAL) else "FB-111", text)
        return Refused(text) if any(form in text for form in _REFUSED) else Information(text)
    if text.startswith("// Unknown command") or (text.startswith("Warning:") and any(form in text for form in _REFUSED)):
        return Refused(text)
    if (
        not text.strip()
        or text.startswith(("//", "area:", "Probe", "FR:", "Warning:", "  "))
        or _SET_LINE.match(text)
        or _SETTING.match(text)
    ):
        return Information(text)
    return Unknown(text)
