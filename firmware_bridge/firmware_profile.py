"""Firmware profiles: what one approved firmware is, as data, and the comparison with what M115 reports.

A profile is a controlled record: a printer whose firmware differs from it in any named point is refused, with every
difference in words. Dialect facts: conversations recorded with Marlin 2.0.5, Marlin 2.1 and Klipper; RepRapFirmware's parser
source (3.5) for what it does with numbers and checksums, and its M115 documentation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from firmware_bridge.link_values import STOP_BYTES, StopStrength

SECOND = 1_000_000

_FIELD = re.compile(r"(?:^|(?<=\s))([A-Z][A-Z0-9_]+):")


class Match(StrEnum):
    EXACT = "exact"
    PREFIX = "prefix"


@dataclass(frozen=True, slots=True)
class ExpectedField:
    """One field of the M115 reply that the approval pins: the whole value, or its beginning; `others` are as good as `value`.

    `optional`: a firmware that says nothing of it is as good as one that says the right thing.
    """

    name: str
    value: str
    match: Match = Match.EXACT
    others: tuple[str, ...] = ()
    optional: bool = False

    def difference(self, found: str | None) -> str | None:
        """Return a sentence if `found` is not the approved value, else None."""
        values = (self.value, *self.others)
        approved = " or ".join(repr(value) for value in values)
        if found is None and self.optional:
            return None
        if found is None:
            return f"{self.name}: approved {approved}, not reported"
        same = found in values if self.match is Match.EXACT else found.startswith(values)
        return None if same else f"{self.name}: approved {approved}{' …' * (self.match is Match.PREFIX)}, found {found!r}"


@dataclass(frozen=True, slots=True)
class FirmwareProfile:
    """An approved firmware. Times in µs, lengths in bytes.

    `numbered`: line numbers mean something, so that a numbered probe proves what was taken before it. Where they do not, one
    line is in flight, and a line whose `ok` is missing ends the link: its fate cannot be known. `ready_check` is a harmless
    command that only a working firmware carries out; `poll_temperature_us` asks for temperatures where the firmware does not
    report them by itself. `heating_timeout_us` bounds a command that waits for a temperature: the firmware may wait for ever.

    `command_slots` is the firmware's command queue (BUFSIZE), `rx_bytes` its receive ring less one; `flow_control` says
    that the port holds the host back, so that bytes in flight need no bound. `keepalive`: it says `busy` every few
    seconds while a command runs, so that silence means something. `max_line` is MAX_CMD_SIZE, the number of bytes that
    a line may have with its end.

    `read_back`: the firmware says each line that it carries out (`M111 S1`), and the link compares it with what was sent; needs
    `numbered`. `quickstop` and `kill` are the bytes of the two stops, written past every queue.
    """

    name: str
    identity: tuple[ExpectedField, ...]
    capabilities: tuple[tuple[str, bool], ...] = ()
    advanced_ok: bool = True
    numbered: bool = True
    read_back: bool = False
    ready_check: bytes | None = None
    poll_temperature_us: int | None = None
    command_slots: int = 4
    rx_bytes: int = 127
    flow_control: bool = False
    keepalive: bool = True
    max_line: int = 96
    max_reply: int = 1024
    hello_timeout_us: int = 2 * SECOND
    hello_tries: int = 8
    ack_timeout_us: int = 8 * SECOND
    slow_timeout_us: int = 900 * SECOND
    heating_timeout_us: int = 600 * SECOND
    busy_limit_us: int = 3600 * SECOND
    probe_timeout_us: int = 8 * SECOND
    max_probes: int = 4
    max_resends: int = 10
    resend_settle_us: int = SECOND // 10
    slow_commands: tuple[bytes, ...] = (
        b"G28", b"G29", b"G30", b"G32", b"G33", b"G4", b"M109", b"M190", b"M191", b"M303", b"M400", b"M600", b"M0", b"M1", b"M226",
        b"T0", b"T1",
    )  # fmt: skip
    heating_commands: tuple[bytes, ...] = (b"M109", b"M190", b"M191")
    quickstop: bytes = STOP_BYTES[StopStrength.QUICKSTOP]
    kill: bytes = STOP_BYTES[StopStrength.KILL]

    def stop_bytes(self, strength: StopStrength) -> bytes:
        """Return the bytes of a stop in this dialect."""
        return self.quickstop if strength is StopStrength.QUICKSTOP else self.kill

    def differences(self, fields: Mapping[str, str], capabilities: Mapping[str, bool]) -> tuple[str, ...]:
        """Compare an M115 reply with the approval; empty means that it is the approved firmware."""
        named = [expected.difference(fields.get(expected.name)) for expected in self.identity]
        able = [_capability_difference(name, wanted, capabilities.get(name)) for name, wanted in self.capabilities]
        return tuple(text for text in (*named, *able) if text is not None)

    def is_slow(self, command: bytes) -> bool:
        """Tell whether the command may take minutes before its `ok`."""
        return command.partition(b" ")[0] in self.slow_commands

    def is_heating(self, command: bytes) -> bool:
        """Tell whether the command waits for a temperature before its `ok`."""
        return command.partition(b" ")[0] in self.heating_commands


def _capability_difference(name: str, wanted: bool, found: bool | None) -> str | None:
    if found is wanted or (found is None and not wanted):
        return None
    return f"capability {name}: approved {_yes(wanted)}, found {'not reported' if found is None else _yes(found)}"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def parse_identity(line: str) -> dict[str, str]:
    """Split a `FIRMWARE_NAME:…` line at its upper-case keys; values may hold blanks and colons."""
    found = list(_FIELD.finditer(line))
    ends = [match.start() for match in found[1:]] + [len(line)]
    return {match.group(1): line[match.end() : end].strip() for match, end in zip(found, ends, strict=True)}


def marlin_profile(
    name: str = "marlin-2.1",
    *,
    firmware_name: str = "Marlin",
    versions: Iterable[str] = (),
    match: Match = Match.PREFIX,
    required: Iterable[str] = ("EMERGENCY_PARSER", "AUTOREPORT_TEMP"),
    advanced_ok: bool = True,
    read_back: bool = True,
    heads: int = 1,
) -> FirmwareProfile:
    """Return a profile for a Marlin build: the firmware name, with any of `versions` behind it, and the capabilities it must report.

    `read_back` needs a build with `M111` (DEBUG_FLAGS_GCODE, on by default). With two `heads` it must say that it has two, with one
    it may not say that it has more; a quick stop of two switches both off: `M104 S0` alone is for the head in use.
    """
    value, *others = [f"{firmware_name} {version}" for version in versions] or [firmware_name]
    identity = [ExpectedField("FIRMWARE_NAME", value, match, tuple(others))]
    # A printer that has more heads than its profile may have any of them in use.
    identity.append(ExpectedField("EXTRUDER_COUNT", str(heads), optional=heads == 1))
    return FirmwareProfile(
        name=name,
        identity=tuple(identity),
        quickstop=STOP_BYTES[StopStrength.QUICKSTOP] if heads == 1 else _QUICKSTOP_OF_TWO,
        capabilities=tuple((capability, True) for capability in required),
        advanced_ok=advanced_ok,
        read_back=read_back,
    )


_QUICKSTOP_OF_TWO = b"\nM410\nM104 T0 S0\nM104 T1 S0\nM140 S0\n"


def klipper_profile(name: str = "klipper", *, firmware_version: str, match: Match = Match.EXACT) -> FirmwareProfile:
    """Return a profile for Klipper's G-code port, which is a pty of its host program: no byte is damaged on the way.

    Line numbers and checksums have no effect, failures are `!!` and then `ok`, nothing says `busy`, temperatures are not
    reported unasked. After a shutdown `M115` and `M105` still answer `ok`, so `M400` must be carried out before the link is ready.
    """
    identity = (ExpectedField("FIRMWARE_NAME", "Klipper"), ExpectedField("FIRMWARE_VERSION", firmware_version, match))
    return _unnumbered(name, identity)


def reprap_profile(name: str = "reprapfirmware", *, firmware_version: str, board: str, match: Match = Match.EXACT) -> FirmwareProfile:
    """Return a profile for RepRapFirmware on `board` (the FIRMWARE_NAME after `RepRapFirmware for `), USB port in Marlin mode.

    A line with a bad checksum is dropped without an answer, one that lost its checksum is carried out, and line numbers are not
    compared: it is for native USB alone, where bytes are not damaged.
    """
    identity = (
        ExpectedField("FIRMWARE_NAME", f"RepRapFirmware for {board}"),
        ExpectedField("FIRMWARE_VERSION", firmware_version, match),
    )
    return _unnumbered(name, identity)


def _unnumbered(name: str, identity: tuple[ExpectedField, ...]) -> FirmwareProfile:
    return FirmwareProfile(
        name=name,
        identity=identity,
        advanced_ok=False,
        numbered=False,
        ready_check=b"M400",
        poll_temperature_us=SECOND,
        keepalive=False,
        command_slots=1,
        flow_control=True,
        ack_timeout_us=120 * SECOND,
        # Neither has a quick stop: an unknown `M410` would let the motion run on. M112 is taken out of band by both.
        quickstop=STOP_BYTES[StopStrength.KILL],
    )


MARLIN_2_1 = marlin_profile("marlin-2.1", firmware_name="Marlin")
MARLIN_2_0 = marlin_profile("marlin-2.0", firmware_name="Marlin 2.0", required=("AUTOREPORT_TEMP",), advanced_ok=False)
