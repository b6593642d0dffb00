"""Numbering and reply parsing against recorded conversations and known checksums."""

from __future__ import annotations

from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.errors import LocalProtocolError
from firmware_bridge.gcode_lines import (
    Busy,
    Capability,
    Fatal,
    Identity,
    Information,
    LineError,
    Ok,
    Position,
    Refused,
    Resend,
    Restarted,
    Temperatures,
    Unknown,
    Wait,
    check_command,
    number_line,
    parse_reply,
)

# Sent by a host and accepted by Marlin 2.0.5.3 in the recorded conversation.
ACCEPTED = [
    (1, b"M105", b"N1 M105*38\n"),
    (2, b"G28", b"N2 G28*17\n"),
    (4, b"G1 X10 F6000", b"N4 G1 X10 F6000*53\n"),
    (6, b"M400", b"N6 M400*33\n"),
    (7, b"G4 S5", b"N7 G4 S5*108\n"),
    (101, b"M105", b"N101 M105*39\n"),
    (0, b"M110 N0", b"N0 M110 N0*125\n"),
]


@pytest.mark.parametrize(("number", "command", "wire"), ACCEPTED)
def test_numbering_is_what_real_firmware_accepted(number: int, command: bytes, wire: bytes) -> None:
    assert number_line(number, command) == wire


def heat(hotend: tuple[str, str] | None, bed: tuple[str, str] | None, ok: bool) -> Temperatures:
    return Temperatures(hotend and (D(hotend[0]), D(hotend[1])), bed and (D(bed[0]), D(bed[1])), ok)


REPLIES = [
    ("ok", Ok()),
    ("ok P15 B3", Ok(None, 15, 3)),
    ("ok N12 P15 B3", Ok(12, 15, 3)),
    ("ok N12", Ok(12)),
    ("ok T:-15.00 /0.00 B:-15.00 /0.00 @:0 B@:0", heat(("-15.00", "0.00"), ("-15.00", "0.00"), True)),
    (" T:19.38 /0.00 B:19.38 /0.00 @:0 B@:0", heat(("19.38", "0.00"), ("19.38", "0.00"), False)),
    (" T:19.38 /60.00 B:19.38 /0.00 @:0 B@:0 W:?", heat(("19.38", "60.00"), ("19.38", "0.00"), False)),
    ("T:21.30/ 0.00 B:21.30/ 0.00 @:64", heat(("21.30", "0.00"), ("21.30", "0.00"), False)),
    ("ok B:22.0 /0.0 T0:22.0 /60.0", heat(("22.0", "60.0"), ("22.0", "0.0"), True)),
    ("B:22.0 /0.0 T0:36.9 /60.0", heat(("36.9", "60.0"), ("22.0", "0.0"), False)),
    ("T:24.34", heat(None, None, False)),
    ("X:0.00 Y:0.00 Z:0.00 E:10.00 Count X:0 Y:0 Z:0", Position(D("0.00"), D("0.00"), D("0.00"), D("10.00"), False)),
    ("X:0.000 Y:0.000 Z:0.000 E:0.000", Position(D("0.000"), D("0.000"), D("0.000"), D("0.000"), False)),
    ("ok X:0 Y:0 Z:0 E:0 Count: A:0 B:0 C:0", Position(D(0), D(0), D(0), D(0), True)),
    ("Resend: 4", Resend(4)),
    ("Resend:4", Resend(4)),
    ("Resend: N12", Resend(12)),
    ("rs 12", Resend(12)),
    ("rs N12 Expected checksum 67", Resend(12)),
    ("Resend: 6ok", Unknown("Resend: 6ok")),
    ("Error:checksum mismatch, Last Line: 3", LineError(3, "Error:checksum mismatch, Last Line: 3")),
    ("Error:No Checksum with line number, Last Line: 5", LineError(5, "Error:No Checksum with line number, Last Line: 5")),
    ("Error: expected line 5 got 6", LineError(4, "Error: expected line 5 got 6")),
    ("Error: Missing checksum", LineError(None, "Error: Missing checksum")),
    ("Error:MINTEMP triggered, system stopped! Heater_ID: 0", Fatal("FB-110", "Error:MINTEMP triggered, system stopped! Heater_ID: 0")),
    ("Error:Printer halted. kill() called!", Fatal("FB-111", "Error:Printer halted. kill() called!")),
    ("Error:!! KILL caused by KILL button/pin", Fatal("FB-111", "Error:!! KILL caused by KILL button/pin")),
    ("Error:0", Fatal("FB-112", "Error:0")),
    ("Error:Probing Failed", Fatal("FB-112", "Error:Probing Failed")),
    ("!! Must home axis first", Fatal("FB-113", "!! Must home axis first")),
    ("fatal:heater/sensor error", Fatal("FB-113", "fatal:heater/sensor error")),
    ("// Klipper state: Shutdown", Fatal("FB-113", "// Klipper state: Shutdown")),
    ("echo:THERMAL RUNAWAY", Fatal("FB-110", "echo:THERMAL RUNAWAY")),
    ("echo:M112 Shutdown", Fatal("FB-111", "echo:M112 Shutdown")),
    ("echo:EMERGENCY SHUTDOWN DETECTED. KILLED.", Fatal("FB-111", "echo:EMERGENCY SHUTDOWN DETECTED. KILLED.")),
    ("//action:poweroff", Fatal("FB-111", "//action:poweroff")),
    ("// action:pause", Information("// action:pause")),
    ("//action:prompt_begin Hello there", Information("//action:prompt_begin Hello there")),
    ('echo:Unknown command: "G99"', Refused('echo:Unknown command: "G99"')),
    ('// Unknown command:"M155"', Refused('// Unknown command:"M155"')),
    ("echo: cold extrusion prevented", Refused("echo: cold extrusion prevented")),
    ("echo:hello", Information("echo:hello")),
    ("echo:busy: processing", Busy("processing")),
    ("busy:processing", Busy("processing")),
    ("echo:busy: paused for user", Busy("paused for user")),
    ("wait", Wait()),
    ("start", Restarted("start")),
    ("Marlin bugfix-2.1.x", Restarted("Marlin bugfix-2.1.x")),
    ("FIRMWARE_NAME:Virtual Marlin 1.0 PROTOCOL_VERSION:1.0", Identity("FIRMWARE_NAME:Virtual Marlin 1.0 PROTOCOL_VERSION:1.0", False)),
    ("ok FIRMWARE_NAME:Klipper FIRMWARE_VERSION:?", Identity("FIRMWARE_NAME:Klipper FIRMWARE_VERSION:?", True)),
    ("Cap:EEPROM:1", Capability("EEPROM", True)),
    ("Cap:SDCARD:0", Capability("SDCARD", False)),
    ("Line: 200", Information("Line: 200")),
    ("area:{full:{min:{x:0.00}}}", Information("area:{full:{min:{x:0.00}}}")),
    ("FR:50%", Information("FR:50%")),
    ("M106 P0 S128", Information("M106 P0 S128")),
    ("  M206 X0.00 Y0.00 Z0.00", Information("  M206 X0.00 Y0.00 Z0.00")),
    ("o3 N23153 P63 B7", Unknown("o3 N23153 P63 B7")),
    ("1k", Unknown("1k")),
    ("ok N1", Ok(1)),
    ("ok N12 P15 B3ok N13 P15 B3", Unknown("ok N12 P15 B3ok N13 P15 B3")),
    ("okok T:20.0 /0.0 B:20.0 /0.0", Unknown("okok T:20.0 /0.0 B:20.0 /0.0")),
    ("ErroNchecksum mism", Unknown("ErroNchecksum mism")),
    ("T:21.3x /0.0", Unknown("T:21.3x /0.0")),
]


@pytest.mark.parametrize(("text", "reply"), REPLIES)
def test_reply_forms(text: str, reply: object) -> None:
    assert parse_reply(text.encode()) == reply


def test_bytes_that_are_not_utf8_are_read_as_latin_1() -> None:
    assert parse_reply(b"echo:\x80 banner") == Information("echo:\x80 banner")


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed(line: bytes) -> None:
    parse_reply(line)


@given(st.sampled_from([t for t, _ in REPLIES]), st.integers(0, 300), st.integers(0, 255))
def test_any_damaged_reply_is_parsed(text: str, at: int, value: int) -> None:
    raw = bytearray(text.encode())
    raw[at % len(raw)] = value
    parse_reply(bytes(raw))


@pytest.mark.parametrize(
    "command",
    [b"", b"G1 X1 ; c", b"G1 X1*33", b"G1\nM112", b"N5 G1", b"M112", b"M410", b"M108", b"M110 N5", b"M876 S0", b"g1 X1", b"FOO",
     b"G1 X1\\", b"G1 " + b"X" * 90],
)  # fmt: skip
def test_commands_that_are_refused(command: bytes) -> None:
    with pytest.raises(LocalProtocolError):
        check_command(command)


@pytest.mark.parametrize("command", [b"G1 X10.5 Y-2 E0.0123 F600", b"M400", b"G4 S5", b"M155 S1", b"T0", b"M104 S37", b"G1 " + b"X" * 77])
def test_commands_that_are_allowed(command: bytes) -> None:
    check_command(command)
