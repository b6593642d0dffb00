"""The virtual printer against recorded conversations with Marlin (2.1 for the host with EMERGENCY_PARSER and ADVANCED_OK)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil_tests.cases import CASES
from hil_tests.plant import Heater
from hil_tests.virtual_printer import PrinterConfig, VirtualPrinter
from tests.bench.bench_host import numbered


def machine(**changes: object) -> VirtualPrinter:
    case = CASES["cyclophosphamide"]
    figures = {name: getattr(case.printer, name) for name in PrinterConfig.__slots__}
    figures |= {"bufsize": 4, "extrude_min_c": 170.0} | changes
    return VirtualPrinter(PrinterConfig(**figures), Heater(case.plant.nozzle, "n"), Heater(case.plant.plate, "p"))


def say(printer: VirtualPrinter, data: bytes | str, seconds: float = 0.0) -> list[str]:
    printer.receive(data if isinstance(data, bytes) else data.encode() + b"\n")
    printer.advance(printer.now + round(seconds * 1e6))
    return printer.output().decode().splitlines()


RECORDED = [
    ("M106 S128", ["M106 P0 S128", "ok P15 B3"]),
    ("G90", ["ok P15 B3"]),
    ("M83", ["ok P15 B3"]),
    ("M220", ["FR:100%", "ok P15 B3"]),
    ("M221", ["echo:E0 Flow: 100%", "ok P15 B3"]),
    ("G20", ['echo:Unknown command: "G20"', "ok P15 B3"]),
    ("M114", ["X:0.00 Y:0.00 Z:0.00 E:0.00 Count X:0 Y:0 Z:0", "ok P15 B3"]),
    ("M73 P10 R20", ['echo:Unknown command: "M73 P10 R20"', "ok P15 B3"]),
    ("FOO", ['echo:Unknown command: "FOO"', "ok P15 B3"]),
    ("M104 S250", ["ok P15 B3"]),
    ("G1 E10", ["echo: cold extrusion prevented", "ok P15 B3"]),
    ("M113", ["echo:M113 S2", "ok P15 B3"]),
    ("M118 E1 hello", ["echo:hello", "ok P15 B3"]),
    ("", []),
    ("; only a comment", []),
]


@pytest.mark.parametrize(("line", "answer"), RECORDED)
def test_recorded_answers(line: str, answer: list[str]) -> None:
    assert say(machine(), line) == answer


def test_prevented_extrusion_still_counts() -> None:
    printer = machine()
    say(printer, "G1 E10")
    assert say(printer, "M114")[0] == "X:0.00 Y:0.00 Z:0.00 E:10.00 Count X:0 Y:0 Z:0"


def test_m302_allows_cold_extrusion() -> None:
    printer = machine()
    say(printer, "M302 S0")
    assert say(printer, "M302")[0] == "echo:Cold extrudes are enabled (min temp 0C)"
    assert say(printer, "G1 E1 F60", 2.0) == ["ok P14 B3"]
    assert sum(motion.e for motion in printer.motions) == pytest.approx(1.0)


def test_identification() -> None:
    lines = say(machine(), "M115")
    assert lines[0].startswith("FIRMWARE_NAME:Marlin 2.1")
    assert " PROTOCOL_VERSION:1.0 MACHINE_TYPE:" in lines[0]
    assert "Cap:EMERGENCY_PARSER:1" in lines
    assert "Cap:AUTOREPORT_TEMP:1" in lines
    assert lines[-2].startswith("area:{full:{min:{x:0.00,")
    assert lines[-1] == "ok P15 B3"


def test_numbered_lines_and_their_errors() -> None:
    """The recorded sequence: good, damaged, skipped, repeated, without checksum; N 2.1 keeps silent on a repeat."""
    printer = machine()
    assert say(printer, "M110 N0") == ["ok P15 B3"]
    first = say(printer, b"N1 M105*38\n")
    assert first[0].startswith("ok T:") and "/0.00 B:" in first[0] and " @:0 B@:0" in first[0]
    assert say(printer, b"N2 M114*37\n")[-1] == "ok N2 P15 B3"
    assert say(printer, b"N3 G90*99\n") == ["Error:checksum mismatch, Last Line: 2", "Resend: 3", "ok"]
    assert say(printer, numbered(3, "G90")) == ["ok N3 P15 B3"]
    assert say(printer, numbered(5, "G90")) == ["Error:Line Number is not Last Line Number+1, Last Line: 3", "Resend: 4", "ok"]
    assert say(printer, numbered(3, "G90")) == []
    assert say(printer, numbered(2, "G90")) == []
    assert say(printer, "N4 G90") == ["Error:No Checksum with line number, Last Line: 3", "Resend: 4", "ok"]
    assert say(printer, numbered(1, "G90"))[0] == "Error:Line Number is not Last Line Number+1, Last Line: 3"
    assert say(printer, "G1 X1*33", 1.0) == ["ok P14 B3"]


def test_setting_the_line_number() -> None:
    printer = machine()
    say(printer, "M110 N100")
    assert say(printer, b"N101 M105*39\n")[0].startswith("ok T:")
    assert say(printer, b"N200 M110*33\n") == ["Line: 200", "ok N200 P15 B3"]
    assert say(printer, b"N201 M105*36\n")[0].startswith("ok T:")
    assert say(printer, b"N0 M110 N0*125\n") == ["ok N0 P15 B3"]
    assert say(printer, numbered(1, "G90")) == ["ok N1 P15 B3"]


def test_an_error_throws_the_receive_buffer_away() -> None:
    printer = machine()
    lines = say(printer, b"N1 G90*0\n" + numbered(2, "G90") + numbered(3, "G90"))
    assert lines == ["Error:checksum mismatch, Last Line: 0", "Resend: 1", "ok"]


def test_overflow_of_a_receive_ring_is_silent() -> None:
    printer = machine(rx_buffer=127)
    burst = b"G4 S1\n" + b"".join(numbered(n, "M114") for n in range(1, 61))
    lines = say(printer, burst, 3.0)
    answered = [line for line in lines if line.startswith("ok N")]
    assert 0 < len(answered) < 20
    assert not [line for line in lines if line.startswith(("Error", "Resend"))]


def test_automatic_reports_have_a_leading_space_and_stop_at_kill() -> None:
    printer = machine()
    say(printer, "M155 S1")
    lines = say(printer, b"", 3.0)
    assert len(lines) == 3
    assert all(line.startswith(" T:") and " /0.00 B:" in line for line in lines)
    killed = say(printer, b"\nM112\n")
    assert killed == ["echo:M112 Shutdown", "Error:Printer halted. kill() called!", "//action:poweroff"]
    assert say(printer, "M105", 5.0) == []
    assert say(printer, "M999", 5.0) == []
    printer.reset()
    assert printer.output().startswith(b"start\n")
    assert say(printer, "M105")[0].startswith("ok T:")


def test_m112_acts_at_once_past_a_full_queue_and_half_a_line_holds_it_back() -> None:
    printer = machine()
    say(printer, b"".join(b"G4 S4\n" for _ in range(6)), 1.0)
    assert say(printer, b"G1 X1") == []
    assert say(printer, b"M112") == []
    assert "Error:Printer halted. kill() called!" in say(printer, b"\nM112\n")
    assert printer.killed


def test_m410_drops_moves_and_swallows_more_for_a_second() -> None:
    printer = machine()
    say(printer, "G91")
    for _ in range(6):
        say(printer, "G1 X10 F600")
    printer.advance(500_000)
    printer.motions.clear()
    say(printer, b"\nM410\nG1 X10 F600\n", 3.0)
    assert printer.motions == []
    assert say(printer, "M114")[0].startswith("X:5.00 ")
    say(printer, "G1 X10 F600", 2.0)
    assert say(printer, "M114")[0].startswith("X:15.00 ")


def test_keepalive_while_a_command_runs_and_none_while_it_is_queued() -> None:
    printer = machine()
    lines = say(printer, numbered(1, "G4 S5"), 6.0)
    assert lines == ["echo:busy: processing", "echo:busy: processing", "ok N1 P15 B3"]
    assert say(printer, b"", 10.0) == []


def test_ok_means_taken_and_comes_only_when_the_planner_has_room() -> None:
    printer = machine(bufsize=8)
    say(printer, "G91")
    lines = say(printer, b"".join(numbered(n, "G1 X1 F60") for n in range(1, 21)))
    assert [line.split(" ")[1] for line in lines] == [f"N{n}" for n in range(1, 16)]
    assert lines[-1].split(" ")[2] == "P0"
    assert [line.split(" ")[1] for line in say(printer, b"", 1.0)] == ["N16"]
    assert say(printer, numbered(21, "M400")) == []
    later = say(printer, b"", 20.0)
    assert later[-1] == "ok N21 P15 B7"


def test_m109_waits_reports_and_can_be_broken_off() -> None:
    printer = machine()
    lines = say(printer, "M109 S60", 200.0)
    assert lines[-1].startswith("ok")
    assert any(line.startswith(" T:") and line.endswith("W:?") for line in lines)
    assert any(line.endswith("W:9") for line in lines)
    say(printer, "M109 S90", 2.0)
    assert say(printer, "M108", 1.0)[-2:] == ["ok P15 B2", "ok P15 B3"]


def test_motion_takes_its_time_and_moves_the_plunger() -> None:
    printer = machine(extrude_min_c=0.0)
    say(printer, "G91")
    say(printer, "G1 X30 Y40 E2 F600")
    printer.advance(4_999_000)
    assert not printer.idle
    printer.advance(5_001_000)
    assert printer.idle
    assert printer.motions[-1].t1 == 5_000_000
    assert sum(motion.e for motion in printer.motions) == pytest.approx(2.0)
    assert (printer.motions[-1].x1, printer.motions[-1].y1) == pytest.approx((30.0, 40.0))


def test_homing_and_g92_print_the_position_first() -> None:
    printer = machine()
    lines = say(printer, "G28", 3.0)
    assert lines == ["echo:busy: processing", "X:0.00 Y:0.00 Z:0.00 E:0.00 Count X:0 Y:0 Z:0", "ok P15 B3"]
    assert say(printer, "G92 E5") == ["X:0.00 Y:0.00 Z:0.00 E:5.00 Count X:0 Y:0 Z:0", "ok P15 B3"]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("element_dead", "Error:Thermal Runaway, system stopped! Heater_ID: E0"),
        ("stuck_on", "Error:MAXTEMP triggered, system stopped! Heater_ID: E0"),
        ("thermistor_open", "Error:MINTEMP triggered, system stopped! Heater_ID: E0"),
    ],
)
def test_heater_faults_kill(fault: str, words: str) -> None:
    printer = machine()
    say(printer, "M104 S60", 150.0)
    setattr(printer.nozzle, fault, True)
    lines = say(printer, b"", 400.0)
    assert words in lines
    assert lines[-2:] == ["Error:Printer halted. kill() called!", "//action:poweroff"]


@given(st.binary(max_size=400), st.integers(1, 7))
def test_any_bytes_are_survived(data: bytes, piece: int) -> None:
    printer = machine()
    for start in range(0, len(data), piece):
        printer.receive(data[start : start + piece])
    printer.advance(1_000_000)
    printer.output().decode("ascii")


@given(st.lists(st.sampled_from(["G1 X5 F600", "M105", "G4 P30", "M114", "BAD 1", "M400"]), max_size=12), st.integers(1, 9))
def test_answers_do_not_depend_on_how_bytes_are_split(commands: list[str], piece: int) -> None:
    whole, split = machine(bufsize=32), machine(bufsize=32)
    data = b"".join(numbered(n + 1, command) for n, command in enumerate(commands))
    whole.receive(data)
    for start in range(0, len(data), piece):
        split.receive(data[start : start + piece])
    whole.advance(2_000_000)
    split.advance(2_000_000)
    slots = re.compile(rb" B\d+")  # how many lines were waiting at that instant does depend on it
    assert slots.sub(b"", whole.output()) == slots.sub(b"", split.output())
