"""The bench's second head: what the virtual Marlin answers, and where which ink goes (`tool_change.cpp`, `temperature.cpp`)."""

from __future__ import annotations

import pytest

from hil_tests.cases import CASES, bench_for
from hil_tests.faults import OF_A_HEAD, parse_fault
from hil_tests.plant import Motion, Plant
from hil_tests.virtual_bench import VirtualBench

CASE = CASES["polypill"]


def said(bench: VirtualBench, command: bytes, seconds: float = 8.0) -> bytes:
    bench.receive("printer", command + b"\n")
    return bench.step(bench.now + round(seconds * 1e6))["printer"]


def test_a_change_of_head_takes_its_time_and_says_which_is_in_use() -> None:
    bench = VirtualBench(bench_for("polypill"))
    assert said(bench, b"T0", 0.1) == b"echo:Active Extruder: 0\nok P15 B7\n", "also where nothing changes, and at once"
    assert b"Active Extruder" not in said(bench, b"T1", 5.9)
    assert b"echo:Active Extruder: 1\n" in bench.step(bench.now + 200_000)["printer"]
    assert (bench.printer.mover.tool, bench.plant.head) == (1, 1)
    assert b"echo:T2 Invalid extruder\n" in said(bench, b"T2")
    assert b"Active Extruder" not in said(VirtualBench(bench_for("minoxidil")), b"T0")
    assert b"Invalid extruder" in said(VirtualBench(bench_for("minoxidil")), b"T1")


def test_each_heater_by_its_number() -> None:
    bench = VirtualBench(bench_for("polypill"))
    said(bench, b"M104 T0 S40")
    said(bench, b"M104 T1 S35")
    assert [nozzle.target for nozzle in bench.printer.nozzles] == [40.0, 35.0]
    report = said(bench, b"M105", 0.1)
    assert report.startswith(b"ok T:") and b" T0:" in report and b" T1:" in report and b"/35.00" in report
    said(bench, b"T1")
    said(bench, b"M104 S0")
    assert [nozzle.target for nozzle in bench.printer.nozzles] == [40.0, 0.0], "without a number it is the head in use"
    assert b"EXTRUDER_COUNT:2" in said(bench, b"M115")
    bench.printer.kill()
    assert [nozzle.target for nozzle in bench.printer.nozzles] == [0.0, 0.0]


def test_what_each_head_brings_is_kept_apart() -> None:
    second = CASE.second
    assert second is not None
    plant = Plant(CASE.plant, seed=1, second=second)
    for head, config in ((0, CASE.plant), (1, second)):
        for _ in range(200):
            e = config.nominal_flow * 0.1 / config.e_area_mm2
            plant.run([Motion(plant.now, plant.now + 100_000, 50.0, 50.0, 50.0, 50.0, 1.0 + head, e, head)], plant.now + 100_000)
    (patch,) = plant.patches
    assert patch.wet_mg == pytest.approx(sum(patch.mass_of)) and patch.active_mg == pytest.approx(sum(patch.active_of))
    for head, config in ((0, CASE.plant), (1, second)):
        assert patch.mass_of[head] == pytest.approx(20 * config.nominal_flow * config.density, rel=0.05)
        assert patch.active_of[head] == pytest.approx(patch.mass_of[head] * config.strength / 1000)


def test_a_docked_head_keeps_its_pressure_and_lets_nothing_out() -> None:
    plant = Plant(CASE.plant, seed=1, second=CASE.second)
    plant.run([Motion(0, 2_000_000, 50.0, 50.0, 50.0, 50.0, 1.0, 0.08)], 2_000_000)
    pressure, extruded = plant.pressure, plant.extruded_mg
    plant.mount(1)
    plant.run([], 30_000_000)
    assert plant.extruded_mg == extruded and plant.pressure == 0.0
    plant.mount(0)
    assert plant.pressure == pressure


def test_a_fault_may_name_its_head() -> None:
    assert parse_fault("clog:3:head2").head == 1 and parse_fault("clog:3").head == 0
    assert {"clog", "density", "heater"} <= OF_A_HEAD and "drift" not in OF_A_HEAD
