"""What Marlin says of two heads: `tool_change.cpp` (Active Extruder, Invalid extruder), `temperature.cpp` (T: T0: T1:)."""

from __future__ import annotations

from decimal import Decimal

import pytest

from firmware_bridge.firmware_profile import marlin_profile
from firmware_bridge.gcode_lines import Information, Refused, Temperatures, Tool, Unknown, parse_reply
from firmware_bridge.link_values import STOP_BYTES, StopStrength


def test_the_head_in_use() -> None:
    assert parse_reply(b"echo:Active Extruder: 0") == Tool(0)
    assert parse_reply(b"echo:Active Extruder: 1") == Tool(1)


@pytest.mark.parametrize(
    "line", [b"echo:Active Extruder: ", b"echo:Active Extrude: 1", b"echo:Active Extruder: 1T:", b"cho:Active Extruder: 1"]
)
def test_a_damaged_answer_names_no_head(line: bytes) -> None:
    assert isinstance(parse_reply(line), Information | Unknown)


@pytest.mark.parametrize("line", [b"echo:T2 Invalid extruder", b"echo:M104 Invalid extruder 1"])
def test_a_head_that_is_not_there(line: bytes) -> None:
    assert isinstance(parse_reply(line), Refused)


def test_temperatures_of_both() -> None:
    found = parse_reply(b" T:40.02 /40.00 B:20.00 /20.00 T0:40.02 /40.00 T1:34.97 /35.00 @:12 B@:0 @0:12 @1:9")
    assert isinstance(found, Temperatures)
    assert found.hotend == (Decimal("40.02"), Decimal("40.00")) and found.bed == (Decimal("20.00"), Decimal("20.00"))
    assert [actual for actual, _ in found.hotends] == [Decimal("40.02"), Decimal("34.97")]
    single = parse_reply(b" T:40.02 /40.00 B:20.00 /20.00 @:12 B@:0")
    assert isinstance(single, Temperatures) and single.hotends == ()


def test_a_quick_stop_switches_both_heads_off() -> None:
    profile = marlin_profile("two", heads=2)
    assert b"\nM410\n" in profile.stop_bytes(StopStrength.QUICKSTOP)
    assert all(line in profile.stop_bytes(StopStrength.QUICKSTOP) for line in (b"M104 T0 S0\n", b"M104 T1 S0\n", b"M140 S0\n"))
    assert profile.stop_bytes(StopStrength.KILL) == STOP_BYTES[StopStrength.KILL]
    assert marlin_profile("one").stop_bytes(StopStrength.QUICKSTOP) == STOP_BYTES[StopStrength.QUICKSTOP]


def test_a_printer_must_have_as_many_heads_as_its_profile() -> None:
    profile = marlin_profile("two", heads=2, required=())
    assert profile.differences({"FIRMWARE_NAME": "Marlin 2.1.2", "EXTRUDER_COUNT": "2"}, {}) == ()
    (difference,) = profile.differences({"FIRMWARE_NAME": "Marlin 2.1.2", "EXTRUDER_COUNT": "1"}, {})
    assert "EXTRUDER_COUNT" in difference
    one = marlin_profile("one", required=())
    assert one.differences({"FIRMWARE_NAME": "Marlin 2.1.2", "EXTRUDER_COUNT": "1"}, {}) == ()
    assert one.differences({"FIRMWARE_NAME": "Marlin 2.1.2"}, {}) == (), "old builds do not say it"
    assert one.differences({"FIRMWARE_NAME": "Marlin 2.1.2", "EXTRUDER_COUNT": "2"}, {}) == ("EXTRUDER_COUNT: approved '1', found '2'",)
