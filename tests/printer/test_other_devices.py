"""Whole runs in virtual time with a Klipper, a RepRapFirmware and an old Marlin printer, a Sartorius balance, a Modbus transmitter.

The virtual devices are an independent reading of the sources; nothing here was tried on a physical board.
"""

from __future__ import annotations

import sys

import pytest
from other_devices import KLIPPER, MODBUS, REPRAP, VARIANTS, Variant, admitted_on, cell_with, job_for, machine_for, machine_text
from simulated_cell import OPERATOR, STANDING, TODAY, TRUSTED, SimulatedCell, seconds_to_alarm
from simulation import true_contents

from firmware_bridge.gcode_link import LinkState
from hil_tests.virtual_klipper import KlipperPrinter
from printer.admission import admit
from printer.alarms import AlarmName
from printer.messages import Command, Operation, Port
from printer.replay import decisions_digest, replay
from printer.run import Phase
from printer.states import RunState
from printer.unit_cycle import Step
from recipes.errors import CompileRefused
from recipes.gcode_check import limits_of
from recipes.library import load_machine, load_recipe
from recipes.machine import parse_machine
from recipes.model import RecipeRefused

SHORT = {"cyclophosphamide": 2, "hydrocortisone": 1}
_JOURNALS = ("journal/preparation.jsonl", "journal/unit-", "journal/run.jsonl")
_PRESSURE = {AlarmName.PRESSURE_HIGH, AlarmName.PRESSURE_LOW, AlarmName.PRESSURE_DEVIATION, AlarmName.PRESSURE_STUCK}
names = pytest.mark.parametrize("name", VARIANTS)


def short(name: str, *faults: str, seed: int = 1) -> SimulatedCell:
    variant = VARIANTS[name]
    return cell_with(variant, *faults, seed=seed, days=SHORT[variant.case])


def replays(cell: SimulatedCell) -> bool:
    segments = [data for entry in cell.entries for name, data in entry.attachments.items() if name.startswith(_JOURNALS)]
    return replay(cell.machine.plan, segments).sha256 == decisions_digest(cell.entries)


@names
def test_a_good_batch_is_finished_and_accepted(name: str) -> None:
    cell = short(name)
    cell.run()
    machine = cell.machine
    assert machine.ended == "FINISHED" and machine.state is RunState.AWAITING_REVIEW
    assert [alarm.message for alarm in machine.alarms.alarms] == []
    assert len(cell.verdicts()) == len(machine.plan.units) and set(cell.verdicts().values()) == {"accepted"}
    for error, allowed in true_contents(cell).values():
        assert abs(error) <= allowed
    assert replays(cell)
    sent = b"".join(data for _, port, data, _ in cell.written if port is Port.PRINTER)
    assert (b"M155" in sent) is ("Marlin" in name), "a firmware that has to be asked is asked, nothing else"
    assert machine.watch.trace is None


@names
@pytest.mark.parametrize(
    "fault",
    ["clog_sudden:1", "pressure_stuck:1", *(pytest.param(name, marks=pytest.mark.deep) for name in ("bubble:1", "pressure_offset:1"))],
)
def test_a_fault_of_flow_or_sensor_is_seen_in_seconds(name: str, fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    cell = short(name, fault)
    alarm, seconds = seconds_to_alarm(cell)
    with capsys.disabled():
        sys.stdout.write(f"\n{name}, {fault}: {alarm} after {seconds:.2f} s")
    assert alarm in _PRESSURE and seconds <= 3.5
    assert cell.machine.ended == "FAULTED" and cell.verdicts() == {1: "scrapped"}
    assert cell.bench.printer.nozzle.target == cell.bench.printer.bed.target == 0.0, "the stop has switched the heaters off"
    assert replays(cell)


@names
def test_a_silent_sensor_is_stale_in_half_a_second(name: str) -> None:
    alarm, seconds = seconds_to_alarm(short(name, "pressure_silent:1"))
    assert alarm is AlarmName.PRESSURE_STALE and 0.3 <= seconds <= 0.8


@names
@pytest.mark.parametrize("port", list(Port))
def test_a_pulled_cable_ends_the_run(name: str, port: Port) -> None:
    cell = short(name, f"unplug:{port}:1")
    alarm, seconds = seconds_to_alarm(cell)
    assert alarm in {AlarmName.PRINTER_LOST, AlarmName.BALANCE_LOST, AlarmName.PRESSURE_LOST} and seconds <= 0.1
    assert cell.verdicts() == {1: "scrapped"} and cell.machine.ended == "FAULTED"
    stops = [data for _, to, data, urgent in cell.written if urgent and to is Port.PRINTER]
    assert bool(stops) is (port is not Port.PRINTER)
    assert replays(cell)


@names
@pytest.mark.parametrize("operation", [Operation.STOP_KILL, Operation.STOP_QUICK])
def test_a_stop_in_mid_unit(name: str, operation: Operation) -> None:
    cell = short(name)
    cell.command(Operation.PREPARE)
    cell.until(lambda machine: machine.phase is Phase.START)
    cell.command(Operation.START)
    cell.until(lambda machine: machine.cycle.step is Step.PRINT and machine.cycle.commanded_nl > 9_000)
    before = len(cell.written)
    cell.give(Command(operation, OPERATOR, "seen by the operator", ""))
    cell.until(lambda machine: machine.phase is Phase.DONE)
    stop = cell.written[before]
    assert stop[1] is Port.PRINTER and stop[3], "the bytes of the stop come first"
    assert not [data for _, port, data, urgent in cell.written[before + 1 :] if port is Port.PRINTER and not urgent]
    assert cell.machine.ended == "ABORTED" and cell.verdicts() == {1: "scrapped"}
    assert cell.machine.devices.link.state is LinkState.STOPPED
    for _ in range(20):
        cell.bench.step(cell.bench.now + 100_000)
    printer = cell.bench.printer
    assert printer.nozzle.target == printer.bed.target == 0.0
    if operation is Operation.STOP_KILL:
        assert not printer.mover.blocks
    assert replays(cell)


@names
def test_a_printer_that_halts_while_it_is_waited_for_is_a_fault_at_once(name: str) -> None:
    """Its own word for it is understood: it is not for the silence afterwards to show it."""
    cell = short(name)
    cell.command(Operation.PREPARE)
    cell.until(lambda machine: machine.phase is Phase.START)
    cell.command(Operation.START)
    cell.until(lambda machine: machine.cycle.step is Step.PRINT and machine.cycle.commanded_nl > 9_000)
    halted = cell.now
    cell.bench.printer.kill()
    cell.until(lambda machine: machine.over)
    assert cell.now - halted <= 1_000_000
    assert cell.machine.alarms.alarms[0].definition.name is AlarmName.PRINTER_FAULT


def test_klipper_in_shutdown_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = short("Klipper, hub")
    assert isinstance(cell.bench.printer, KlipperPrinter)
    cell.bench.printer.kill("M112")
    cell.command(Operation.PREPARE)
    cell.until(lambda machine: machine.phase is Phase.DONE)
    assert cell.machine.ended in ("ABORTED", "FAULTED")
    assert not cell.kinds("unit.print.intended")


@pytest.mark.parametrize(
    ("name", "firmware", "said"),
    [
        ("Klipper, hub", KLIPPER.replace("v0.12.0", "v0.13.0"), "FIRMWARE_VERSION: approved 'v0.13.0' …"),
        ("RepRapFirmware, Modbus", REPRAP.replace("MB6HC", "Mini 5+"), "found 'RepRapFirmware for Duet 3 MB6HC'"),
        ("Marlin 2.0.5, SBI, Modbus", None, "FIRMWARE_NAME: approved 'Marlin 2.1' …, found 'Marlin 2.0.5.3 (GitHub)'"),
    ],
)
def test_another_firmware_than_the_profile_is_refused(name: str, firmware: str | None, said: str) -> None:
    known = VARIANTS[name]
    cell = cell_with(Variant(known.case, known.dialect, known.balance, known.pressure, firmware), days=SHORT[known.case])
    cell.command(Operation.PREPARE)
    cell.until(lambda machine: machine.phase is Phase.DONE)
    assert cell.machine.ended == "ABORTED"
    (refused,) = cell.kinds("run.gates.refused")
    assert said in str(refused.new)


def test_a_total_that_is_too_coarse_is_refused() -> None:
    """RepRapFirmware reports relative extrusion in tenths of a millimetre: with a syringe that is 33 uL."""
    variant = Variant("cyclophosphamide", dialect="reprapfirmware", firmware=REPRAP)
    with pytest.raises(CompileRefused, match=r"reports its extruder total to 0\.1 mm, which is 33\.03 uL"):
        admitted_on(variant)


def test_the_proof_refuses_a_code_that_the_firmware_does_not_know() -> None:
    recipe = load_recipe("cyclophosphamide")
    assert limits_of(recipe, machine_for(VARIANTS["Klipper, hub"])).unknown == {"M155"}
    assert limits_of(recipe, load_machine(recipe.machine)).unknown == frozenset()


def test_a_recipe_is_bound_to_its_devices() -> None:
    """The same head with another firmware is another machine: the recipe that was validated on the first does not print on it."""
    variant = VARIANTS["Klipper, hub"]
    job = job_for(Variant(variant.case), load_machine(load_recipe(variant.case).machine))
    with pytest.raises(CompileRefused, match="not the one that recipe"):
        admit(
            job,
            run="R",
            device="c",
            machine=machine_for(variant),
            trusted_people=TRUSTED,
            today=TODAY,
            standing=STANDING,
            demonstration=True,
            rate="1",
        )


@pytest.mark.parametrize(
    ("firmware", "pressure", "said"),
    [
        (KLIPPER + "baud = 250000\n", None, "baud belongs to kind = 'marlin'; this one is 'klipper'"),
        (KLIPPER + 'board = "x"\n', None, "board belongs to kind = 'reprapfirmware'"),
        (KLIPPER.replace("klipper", "repetier"), None, "kind must be 'marlin', 'klipper' or 'reprapfirmware'"),
        (KLIPPER.replace('version = "v0.12.0"\n', ""), None, "firmware.klipper.version: missing"),
        (None, MODBUS + "lines_per_second = 100\n", "lines_per_second belongs to protocol = 'hub-lines'; this one is 'modbus-rtu'"),
        (None, MODBUS.replace("modbus-rtu", "hub-lines"), "unit belongs to protocol = 'modbus-rtu'"),
        (None, MODBUS.replace("poll_period_ms = 50", "poll_period_ms = 500"), "poll_period_ms"),
        (None, MODBUS.replace("decimals = 0", "decimals = 1"), "a float32 has no decimals"),
        (None, MODBUS.replace("float32", "int16"), "coarser than 0.5 kPa"),
        (None, MODBUS.replace("function = 4", "function = 6"), "function"),
        (None, MODBUS.replace('low = "0 kPa"', 'low = "2000 kPa"'), "must lie below"),
    ],
)
def test_a_profile_that_mixes_devices_is_refused(firmware: str | None, pressure: str | None, said: str) -> None:
    text = machine_text("fdm-0.4", firmware=firmware, pressure=pressure)
    with pytest.raises(RecipeRefused) as refused:
        parse_machine(text.encode())
    assert said in str(refused.value)


def test_figures_of_a_transmitter_need_a_source() -> None:
    text = machine_text("fdm-0.4", pressure=MODBUS).replace('pressure = "illustrative"\n', "")
    with pytest.raises(RecipeRefused, match=r"no source for .*pressure\.poll_period_ms"):
        parse_machine(text.encode())


def test_a_stated_kind_changes_no_digest() -> None:
    """`kind = "marlin"` says what a profile without it means: the recipes signed for it stay valid."""
    text = machine_text("fdm-0.4")
    stated = text.replace("[firmware]\n", '[firmware]\nkind = "marlin"\n')
    assert parse_machine(stated.encode()).digest == parse_machine(text.encode()).digest == load_machine("fdm-0.4").digest


@pytest.mark.deep
def test_false_alarms_with_other_devices(capsys: pytest.CaptureFixture[str]) -> None:
    units, alarms = 0, []
    for name in VARIANTS:
        for seed in range(100, 134):
            cell = short(name, seed=seed)
            cell.run()
            units += list(cell.verdicts().values()).count("accepted")
            alarms += [f"{name}, seed {seed}: {alarm.message}" for alarm in cell.machine.alarms.alarms]
    with capsys.disabled():
        sys.stdout.write(f"\n{len(alarms)} false alarms over {units} accepted units with other devices {alarms}\n")
    assert units >= 200 and not alarms
