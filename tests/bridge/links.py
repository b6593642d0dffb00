"""A link that is ready, and small things to say to it and to read from it."""

from __future__ import annotations

from dataclasses import replace

from firmware_bridge.firmware_profile import MARLIN_2_0, MARLIN_2_1, FirmwareProfile
from firmware_bridge.gcode_lines import number_line
from firmware_bridge.gcode_link import (
    GcodeLink,
    Identified,
    LineAcknowledged,
    LinkEvent,
    LinkState,
    OutLine,
)

SECOND = 1_000_000
NAME = "FIRMWARE_NAME:Marlin 2.0.5.3 (GitHub) SOURCE_CODE_URL:https://github.com/x PROTOCOL_VERSION:1.0 MACHINE_TYPE:3D Printer"
HELLO = f"{NAME}\nCap:EMERGENCY_PARSER:1\nCap:AUTOREPORT_TEMP:1\narea:{{full:{{}}}}\nok P15 B3\n".encode()
QUIET_HELLO = f"{NAME}\nCap:EMERGENCY_PARSER:1\nok P15 B3\n".encode()
# Read-back has its own suite (test_read_back); here lines are not echoed.
PLAIN = replace(MARLIN_2_1, read_back=False)
NO_REPORTS = replace(PLAIN, capabilities=(("EMERGENCY_PARSER", True),))


def events(link: GcodeLink) -> list[LinkEvent]:
    found: list[LinkEvent] = []
    while (event := link.next_event()) is not None:
        found.append(event)
    return found


def ready(profile: FirmwareProfile = NO_REPORTS, limit: int = 10_000, advanced: bool = True) -> GcodeLink:
    """A link that is READY at time 0 with the next line number 1."""
    link = GcodeLink(profile, exposure_limit_nl=limit)
    link.start(0)
    assert link.bytes_to_send() == b"\nM115\n"
    link.receive(QUIET_HELLO if advanced else f"{NAME}\nok\n".encode(), 0)
    assert link.bytes_to_send() == b"N0 M110 N0*125\n"
    link.receive(b"ok N0 P15 B3\n" if advanced else b"ok\n", 0)
    assert isinstance(events(link)[-1], Identified)
    assert link.state is LinkState.READY and link.next_deadline() is None
    return link


STRICT = replace(MARLIN_2_0, capabilities=(), read_back=False)


def strict() -> GcodeLink:
    return ready(STRICT, advanced=False)


def moves(count: int, exposure: int = 0) -> list[OutLine]:
    return [OutLine(b"G1 X%d" % i, f"m{i}", exposure) for i in range(count)]


def wire(*numbered: tuple[int, bytes]) -> bytes:
    return b"".join(number_line(number, command) for number, command in numbered)


def acks(found: list[LinkEvent]) -> list[int]:
    return [event.number for event in found if isinstance(event, LineAcknowledged)]
