"""Dead reckoning against positions that real Marlin reported, against an independent printer, and the differences in words."""

from __future__ import annotations

from decimal import Decimal as D

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.gcode_lines import Position, parse_reply
from firmware_bridge.gcode_link import PositionReport
from hil_tests.cases import CASES
from hil_tests.plant import Heater
from hil_tests.virtual_printer import PrinterConfig, VirtualPrinter
from tests.bridge.dead_reckoning import ExpectedTotals, differences, expected_totals

ZERO = PositionReport(D(0), D(0), D(0), D(0))


def at(x: str, y: str, z: str, e: str) -> ExpectedTotals:
    return ExpectedTotals(D(x), D(y), D(z), D(e))


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        ([b"G1 X10 Y5 E1.5 F600"], at("10", "5", "0", "1.5")),
        ([b"G91", b"G1 X1 E1", b"G1 X1 E1", b"G90", b"G1 Y3 E5"], at("2", "3", "0", "5")),
        ([b"M83", b"G1 X1 E0.2", b"G1 X2 E0.2", b"G1 E-1"], at("2", "0", "0", "-0.6")),
        ([b"G91", b"M82", b"G1 X1 E2", b"G1 X1 E3"], at("2", "0", "0", "3")),
        ([b"M83", b"G90", b"G1 E1", b"G1 E1"], at("0", "0", "0", "1")),
        ([b"G1 E4", b"G92 E0", b"G1 E1"], at("0", "0", "0", "1")),
        ([b"G1 X4 Y4 Z4 E4", b"G92"], at("0", "0", "0", "0")),
        ([b"G0 X", b"M104 S200", b"G4 P5", b"M117"], at("0", "0", "0", "0")),
        ([b"G1 X-1.25 Y.5"], at("-1.25", "0.5", "0", "0")),
    ],
)
def test_modes_and_moves(commands: list[bytes], expected: ExpectedTotals) -> None:
    assert expected_totals(ZERO, commands) == expected


def test_what_is_homed_is_unknown_until_it_is_moved_to() -> None:
    homed = expected_totals(at("1", "2", "3", "4"), [b"G28"])
    assert homed == ExpectedTotals(None, None, None, D(4))
    assert expected_totals(ZERO, [b"G28 X"]) == ExpectedTotals(None, D(0), D(0), D(0))
    assert expected_totals(homed, [b"G1 X5", b"G91", b"G1 Z1"]) == ExpectedTotals(D(5), None, None, D(4))
    assert differences(homed, PositionReport(D(9), D(9), D(9), D(4))) == ()


def test_relative_e_from_before_is_taken_from_the_caller() -> None:
    assert expected_totals(ZERO, [b"G1 E1", b"G1 E1"], relative_e=True).e == 2


def test_the_sum_is_exact_however_many_moves() -> None:
    assert expected_totals(ZERO, [b"M83"] + [b"G1 E0.0001"] * 100_000).e == D("10.0000")


def test_differences_name_the_axis_and_both_figures() -> None:
    found = differences(at("1", "2", "3", "4.00"), PositionReport(D("1.01"), D("2.02"), D(3), D("3.5")))
    assert found == ("Y: 2 mm expected, 2.02 mm reported", "E: 4.00 mm expected, 3.5 mm reported")


WORD = st.decimals(0, 190, places=2).map(lambda value: value.quantize(D("0.01")))
MOVE = st.builds(lambda x, y, e: b"G1 X%b Y%b E%b F6000" % (str(x).encode(), str(y).encode(), str(e / 100).encode()), WORD, WORD, WORD)
MODE = st.sampled_from([b"G90", b"M82", b"M83", b"G92 E0"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(MOVE, MODE), max_size=14))
def test_an_independent_printer_comes_to_the_same_place(commands: list[bytes]) -> None:
    case = CASES["cyclophosphamide"]
    config = PrinterConfig("x", 400.0, 25.0, 0.0, 300.0, 120.0)
    printer = VirtualPrinter(config, Heater(case.plant.nozzle, "n"), Heater(case.plant.plate, "p"))
    printer.receive(b"M302 S0\nG92 X0 Y0 Z0 E0\n" + b"".join(command + b"\n" for command in commands) + b"M114\n")
    printer.advance(600_000_000)
    said = [parse_reply(line) for line in printer.output().splitlines()]
    found = [reply for reply in said if isinstance(reply, Position)][-1]
    assert differences(expected_totals(ZERO, commands), PositionReport(found.x, found.y, found.z, found.e)) == ()
