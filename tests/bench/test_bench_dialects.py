"""The other devices of the bench against what real ones answered (recorded conversations) and against an outside Modbus library."""

from __future__ import annotations

import struct
from dataclasses import replace
from functools import reduce
from operator import xor
from pathlib import Path

import pytest

from hil_tests.cases import CASES, BenchConfigError, bench_for, load_bench
from hil_tests.plant import Heater
from hil_tests.virtual_bench import VirtualBench
from hil_tests.virtual_dialects import printer_for
from hil_tests.virtual_instruments import PressureConfig
from hil_tests.virtual_printer import VirtualPrinter
from hil_tests.virtual_transmitter import Transmitter, check

TRANSCRIPTS = Path(__file__).parent.parent / "bridge" / "transcripts"
CASE = CASES["cyclophosphamide"]


def printer(dialect: str) -> VirtualPrinter:
    heaters = (Heater(CASE.plant.nozzle, "nozzle"), Heater(CASE.plant.plate, "plate"))
    return printer_for(replace(CASE.printer, dialect=dialect), *heaters)


def told(machine: VirtualPrinter, *lines: str, seconds: float = 0.0) -> list[str]:
    machine.receive("".join(f"{line}\n" for line in lines).encode())
    machine.advance(machine.now + round(seconds * 1e6))
    return machine.output().decode().splitlines()


def recorded(name: str, command: str) -> list[str]:
    """What a real one answered to a command, the last time it was sent."""
    found: list[str] = []
    asked = False
    for line in (TRANSCRIPTS / name).read_text("utf-8").splitlines():
        if line[8:11] == ">>>":
            asked = line[12:] == command
            found = [] if asked else found
        elif asked:
            found.append(line[12:])
    return found


@pytest.mark.parametrize("command", ["G1 X900", "G1 E5", "M155 S1", "M400", "M83", "M117 hi", "N5 G1 X1*999"])
def test_klipper_answers_as_a_real_one(command: str) -> None:
    machine = printer("klipper")
    told(machine, "G28", seconds=20)
    if command == "G1 E5":
        told(machine, "M83")
    shown = [line.split(":")[0] if line.startswith("!! Move out") else line for line in told(machine, command)]
    wanted = [line.split(":")[0] if line.startswith("!! Move out") else line for line in recorded("klipper-host.txt", command)]
    assert shown == wanted


def test_klipper_says_who_it_is_where_it_is_and_how_warm() -> None:
    machine = printer("klipper")
    assert told(machine, "M115")[0].startswith("ok FIRMWARE_NAME:Klipper FIRMWARE_VERSION:v0.12")
    assert told(machine, "M114") == ["X:0.000 Y:0.000 Z:0.000 E:0.000", "ok"] == recorded("klipper-host.txt", "M114")
    (warm,) = told(machine, "M105")
    assert warm.startswith("ok B:") and " T0:" in warm
    assert told(machine, "G1 X1") == ["!! Must home axis first: 0.000 0.000 0.000 [0.000]", "ok"]
    assert told(machine, "G28", seconds=11) == [], "eleven seconds without a word"
    assert told(machine, seconds=1) == ["ok"]


def test_klipper_counts_relative_extrusion_and_keeps_the_mode_of_e_apart() -> None:
    machine = printer("klipper")
    machine.nozzle.temperature = 60.0
    told(machine, "G28", "M83", "G90", seconds=20)
    told(machine, "G1 E0.125 F60", "G1 E0.125", "G1 E-0.05", "M400", seconds=5)
    assert told(machine, "M114")[0].endswith("E:0.200")


def test_klipper_stops_past_its_queue_and_goes_on_answering() -> None:
    machine = printer("klipper")
    machine.nozzle.target = 40.0
    told(machine, "G28", "G1 X100 F60", "M400", seconds=15)
    said = told(machine, "", "M112")
    assert said[0] == "// Klipper state: Shutdown" and machine.nozzle.target == 0.0 and not machine.mover.blocks
    assert told(machine, "M115")[0].startswith("ok FIRMWARE_NAME"), "M115 still answers"
    assert told(machine, "G1 X1")[-2:] == ["!! Shutdown due to M112 command", "ok"] == recorded("klipper-host.txt", "G1 X1")[-2:]


def numbered(number: int, command: str) -> str:
    body = f"N{number} {command}"
    return f"{body}*{reduce(xor, body.encode(), 0)}"


def test_marlin_2_0_answers_as_a_real_one() -> None:
    machine = printer("marlin-2.0")
    said = told(machine, "M115")
    real = recorded("marlin-2.0.5-avr.txt", "M115")
    assert said[0].split(" SOURCE")[0] == real[0].split(" SOURCE")[0]
    for line in real[1:]:
        if line not in ("Cap:EEPROM:1", "Cap:PRINT_JOB:1", "Cap:VOLUMETRIC:1"):
            assert line in said
    told(machine, "M110 N0")
    assert told(machine, numbered(1, "G21")) == ["ok"], "no number in its ok"
    for command in ("N4 G1 X10 F6000*99", "N6 G1 X20*84"):
        errors = [line.split(",")[0] for line in told(machine, command.replace("N4", "N2"))]
        assert errors[0].startswith("Error:") and errors[-1] == "ok" and "Resend: 2" in errors
    assert told(machine, numbered(1, "G21"))[0].startswith("Error:Line Number is not Last Line Number+1"), "a repeated line is an error"
    told(machine, numbered(2, "G28"), seconds=5)
    machine.nozzle.target = 40.0
    assert "Error:Printer halted. kill() called!" in told(machine, "", "M112") and machine.nozzle.target == 0.0


def test_reprap_drops_a_damaged_line_and_counts_each_extruder() -> None:
    machine = printer("reprapfirmware")
    machine.nozzle.temperature = 60.0
    assert told(machine, "M115")[0].startswith("FIRMWARE_NAME: RepRapFirmware for Duet 3 MB6HC FIRMWARE_VERSION: 3.5")
    assert told(machine, "N1 G21*1") == [], "a bad checksum: no answer at all"
    assert told(machine, numbered(900, "G21")) == ["ok"], "numbers are not compared"
    told(machine, "G28", "M83", seconds=10)
    told(machine, "G1 E2.345 F60", "M400", seconds=10)
    position = told(machine, "M114")
    assert " E:0.000 E0:2.3 Count " in position[0] and position[1] == "ok"
    machine.nozzle.temperature = 20.0
    assert "was not driven" in told(machine, "G1 E1")[0]
    told(machine, "", "M112")
    assert machine.killed and told(machine, "M105") == []


@pytest.mark.parametrize(
    ("form", "pressure_unit", "decimals", "count", "kilopascal"),
    [
        ("float32", "kPa", 0, 2, 150.0),
        ("float32, low word first", "bar", 0, 2, 150.0),
        ("int16", "kPa", 1, 1, 150.0),
        ("int32", "Pa", 0, 2, 150.0),
    ],
)
def test_the_transmitter_is_read_by_an_outside_library(form: str, pressure_unit: str, decimals: int, count: int, kilopascal: float) -> None:
    framer = pytest.importorskip("pymodbus.framer")
    pdu = pytest.importorskip("pymodbus.pdu")
    from pymodbus.pdu.register_message import ReadInputRegistersRequest

    config = PressureConfig(
        driver="modbus-rtu", form=form, pressure_unit=pressure_unit, decimals=decimals, unit=7, register=2, noise_kPa=0.0
    )
    device = Transmitter(config, 1)
    device.lines([kilopascal])
    ask = framer.FramerRTU(pdu.DecodePDU(False)).buildFrame(ReadInputRegistersRequest(address=2, count=count, dev_id=7))
    for part in (ask[:3], ask[3:]):
        device.receive(part, 1_000_000)
    used, response = framer.FramerRTU(pdu.DecodePDU(False)).handleFrame(device.lines([]), 7, 0)
    assert used and len(response.registers) == count
    words = response.registers[::-1] if "low word first" in form else response.registers
    raw = struct.pack(f">{count}H", *words)
    value = struct.unpack(">f" if "float" in form else ">h" if count == 1 else ">i", raw)[0]
    assert value == pytest.approx({"kPa": 150.0, "bar": 1.5, "Pa": 150_000.0}[pressure_unit] * 10**decimals)


def test_the_transmitter_refuses_and_keeps_silent_as_the_specification_says() -> None:
    device = Transmitter(PressureConfig(driver="modbus-rtu"), 1)

    def answer(body: bytes, crc: bytes | None = None, at: int = 1_000_000) -> bytes:
        device.receive(body + (check(body) if crc is None else crc), at)
        return device.lines([])

    assert check(b"\x02\x07") == b"\x41\x12", "Modbus over serial line V1.02, appendix B"
    assert answer(b"\x01\x04\x00\x00\x00\x02")[:3] == b"\x01\x04\x04"
    assert answer(b"\x01\x06\x00\x00\x00\x02")[:3] == b"\x01\x86\x01", "illegal function"
    assert answer(b"\x01\x04\x00\x09\x00\x02")[:3] == b"\x01\x84\x02", "illegal data address"
    assert answer(b"\x01\x04\x00\x00\x00\x03")[:3] == b"\x01\x84\x02"
    assert answer(b"\x02\x04\x00\x00\x00\x02") == b"", "another address"
    assert answer(b"\x01\x04\x00\x00\x00\x02", b"\x00\x00") == b"", "a damaged frame"
    device.receive(b"\x01\x04\x00", 2_000_000)
    assert answer(b"\x01\x04\x00\x00\x00\x02", at=2_100_000)[:3] == b"\x01\x04\x04", "silence parts the frames"


def test_devices_are_chosen_by_name(tmp_path: Path) -> None:
    path = tmp_path / "bench.toml"
    devices = '[printer]\ndialect = "klipper"\n[balance]\ndriver = "sartorius-sbi"\n[pressure]\ndriver = "modbus-rtu"\nunit = 9\n'
    path.write_text(f'case = "minoxidil"\n{devices}')
    config = load_bench(path)
    bench = VirtualBench(config)
    assert (type(bench.printer).__name__, type(bench.balance).__name__, type(bench.hub).__name__) == (
        "KlipperPrinter",
        "SbiBalance",
        "Transmitter",
    )
    assert bench.step(1_000_000)["pressure"] == b"", "a transmitter says nothing unasked"
    for wrong in ('[printer]\ndialect = "repetier"\n', '[pressure]\ndriver = "can"\n', '[balance]\ndriver = "kern"\n'):
        path.write_text(f'case = "minoxidil"\n{wrong}')
        with pytest.raises(BenchConfigError, match="is not on this bench"):
            load_bench(path)
    with pytest.raises(BenchConfigError, match=r"\[printer\] dialect"):
        bench_for("minoxidil", dialect="sprinter")
