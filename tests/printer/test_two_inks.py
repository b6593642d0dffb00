"""Two inks in one unit on the bench: each is weighed and judged by itself, and what is not accepted is not built upon."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from lives import assert_closed, live, restart
from simulated_cell import SimulatedCell, admitted, demonstration_job, simulated
from simulation import TWO_INKS, Scenario, build, simulate

from hil_tests.cases import BenchConfigError, bench_for
from hil_tests.virtual_bench import VirtualBench
from printer.alarms import AlarmName
from printer.messages import Operation, Port, Record
from printer.plan import units_planned
from printer.run import Phase, RunMachine
from printer.states import RunState
from printer.unit_cycle import Step
from printer.view import run_view

CASE = "polypill"
SMALL = Scenario(1, CASE, 2, None, (), warm=True)


def small(fault: str | None = None, days: int = 2) -> SimulatedCell:
    """Two small units of two inks on a warm cell."""
    return build(replace(SMALL, fault=fault, days=days))


def begun(cell: SimulatedCell) -> SimulatedCell:
    cell.command(Operation.PREPARE)
    cell.until(lambda machine: machine.phase in (Phase.START, Phase.DONE))
    cell.command(Operation.START)
    return cell


def in_part(n: int, part: int, step: Step) -> Callable[[RunMachine], bool]:
    def reached(machine: RunMachine) -> bool:
        unit = machine.cycle.unit
        return unit is not None and (unit.n, unit.part, machine.cycle.step) == (n, part, step)

    return reached


def ends(cell: SimulatedCell) -> dict[str, tuple[object, object]]:
    """Subject → verdict and mass of every end that is on record."""
    wanted = (".weight.judged", ".parts.judged", ".print.scrapped")
    return {
        entry.subject.id.rpartition("/")[2]: (entry.new["verdict"], entry.new["mass_mg"])
        for entry in cell.entries
        if str(entry.kind).endswith(wanted)
    }


def reasons(cell: SimulatedCell, n: int) -> str:
    return "; ".join(cell.machine.cycle.verdicts[n][2])


def of_head_two(cell: SimulatedCell, name: str, value: float) -> None:
    """Change what the plant does with the second ink, whichever head is in use."""
    plant = cell.bench.plant
    if plant.head == 1:
        setattr(plant, name, value)
    else:
        plant._docked[1][name] = value


def test_both_parts_are_weighed_and_judged() -> None:
    cell = small()
    cell.run()
    assert cell.machine.ended == "FINISHED"
    assert units_planned(cell.machine.plan) == 2 and len(cell.machine.plan.units) == 4
    found = ends(cell)
    assert set(found) == {"001", "001.1", "001.2", "002", "002.1", "002.2"}
    for n, row in enumerate(cell.bench.truth(), start=1):
        for part in (1, 2):
            verdict, mass = found[f"00{n}.{part}"]
            assert verdict == "accepted"
            assert abs(Decimal(str(mass)) - Decimal(str(row[f"true_mass_{part}_mg"]))) < Decimal("1.0"), "weighed by itself"
        assert Decimal(str(found[f"00{n}"][1])) == sum(Decimal(str(found[f"00{n}.{part}"][1])) for part in (1, 2))
    sent = cell.kinds("run.record.closed")[0].attachments["program.gcode"]
    assert [sent.count(b";END UNIT %d PART %d\n" % (n, part)) for n in (1, 2) for part in (1, 2)] == [1, 1, 1, 1]
    assert [nozzle.target for nozzle in cell.bench.printer.nozzles] == [0.0, 0.0]


def test_each_entry_of_a_part_names_its_ink() -> None:
    cell = small()
    cell.run()
    first, second = cell.kinds("part.print.intended")[:2]
    assert (first.new["moiety"], first.new["ink_lot"], first.new["cartridge"]) == ("spironolactone", "SPI-DEMO-01", "SPI-DEMO-01-A")
    assert (second.new["moiety"], second.new["ink_lot"], second.new["cartridge"]) == ("hydrochlorothiazide", "HCT-DEMO-01", "HCT-DEMO-01-A")
    kinds = [str(entry.kind) for entry in cell.entries]
    assert kinds.index("unit.print.intended") < kinds.index("part.print.intended"), "the unit is intended before its first part"


def test_a_second_part_beyond_its_own_tolerance_is_rejected_though_the_unit_as_a_whole_weighs_right() -> None:
    cell = simulated(CASE)
    of_head_two(cell, "delivery", 0.935)
    cell.run()
    assert cell.verdicts() == {1: "rejected"}
    found = ends(cell)
    assert found["001.1"][0] == "accepted" and found["001.2"][0] == "rejected"
    assert "part 2: mass" in reasons(cell, 1) and "outside" in reasons(cell, 1)
    first, second = cell.machine.plan.units[:2]
    total = sum((Decimal(str(found[f"001.{part}"][1])) for part in (1, 2)), Decimal(0))
    target = first.target_mass.value + second.target_mass.value
    assert abs(total - target) < target * first.criteria.tolerance.fraction, "the mass of both would have let it pass"
    assert found["001"][1] is None, "a unit that is not accepted has no mass of its own"


def test_a_first_part_that_is_rejected_gets_no_second() -> None:
    cell = small()
    cell.bench.plant.delivery = 0.90
    cell.run()
    assert cell.verdicts() == {1: "rejected"}
    (row,) = cell.bench.truth()
    assert row["true_mass_2_mg"] == "0.000", "nothing of the second ink was extruded"
    assert "001.2" not in ends(cell)
    assert b";UNIT 1 PART 2" not in cell.kinds("run.record.closed")[0].attachments["program.gcode"]


@pytest.mark.parametrize(
    ("mounted", "words"),
    [
        (("HCT-DEMO-01-A", "SPI-DEMO-01-A"), "head 1 holds HCT-DEMO-01-A"),
        (("SPI-DEMO-01-A",), "the order needs"),
        ((), "nobody has scanned"),
        (("SPI-DEMO-01-A", "SPI-DEMO-01-A"), "head 2 holds SPI-DEMO-01-A"),
    ],
)
def test_cartridges_that_are_not_in_their_heads_are_refused_at_the_gate(mounted: tuple[str, ...], words: str) -> None:
    cell = simulated(CASE, job=demonstration_job(CASE, mounted=mounted))
    cell.command(Operation.PREPARE)
    cell.until(lambda machine: machine.phase is Phase.DONE)
    (refused,) = cell.kinds("run.gates.refused")
    gates = refused.new["gates"]
    assert isinstance(gates, list)
    unmet = [str(gate) for gate in gates if isinstance(gate, dict) and gate["met"] is not True]
    assert len(unmet) == 1 and "cartridge in each head" in unmet[0] and words in unmet[0]
    assert not any(b"G1 " in data for _, port, data, _ in cell.written if port is Port.PRINTER), "nothing has moved"


def test_inks_that_have_changed_places_in_spite_of_the_scan_are_held() -> None:
    found = admitted(demonstration_job(CASE))
    config = bench_for(CASE)
    second = config.second
    assert second is not None
    one = replace(config.plant, density=second.density, strength=0.0)
    other = replace(second, density=config.plant.density, strength=0.0)
    cell = SimulatedCell(RunMachine(found.plan), VirtualBench(replace(config, plant=one, second=other)), program=found.program)
    cell.run()
    assert cell.verdicts() == {1: "rejected"}
    assert [alarm.definition.name for alarm in cell.machine.alarms.alarms] == [AlarmName.INK_IDENTITY]
    assert cell.bench.truth()[0]["true_mass_2_mg"] == "0.000"


def test_a_wrong_second_ink_is_held_too() -> None:
    cell = simulated(CASE)
    of_head_two(cell, "density", 1.22)
    cell.run()
    assert cell.verdicts() == {1: "rejected"} and "part 2" in reasons(cell, 1) and "ink identity" in reasons(cell, 1)


@pytest.mark.parametrize("part", [1, 2])
@pytest.mark.parametrize("operation", [Operation.STOP_QUICK, Operation.STOP_KILL])
def test_a_stop_in_a_part_scraps_the_unit(part: int, operation: Operation) -> None:
    cell = begun(small())
    cell.until(in_part(2, part, Step.PRINT))
    cell.command(operation, "the stop is tried")
    cell.until(lambda machine: machine.phase is Phase.DONE)
    assert cell.verdicts() == {1: "accepted", 2: "scrapped"}
    assert ends(cell)[f"002.{part}"][0] == "scrapped" and ends(cell)["002"] == ("scrapped", None)
    for _ in range(50):
        cell.step()
    assert [nozzle.target for nozzle in cell.bench.printer.nozzles] == [0.0, 0.0], "both heads are cold"


@pytest.mark.parametrize("step", [Step.TOTAL_BEFORE, Step.WEIGH_BEFORE, Step.HEAD])
def test_a_stop_between_two_parts_scraps_the_unit(step: Step) -> None:
    cell = begun(small())
    if step is Step.WEIGH_BEFORE:
        # The weight after the first part would serve as the weight before the second.
        cell.until(in_part(1, 2, Step.TOTAL_BEFORE))
        cell.machine.cycle._before = None
    cell.until(in_part(1, 2, step))
    cell.command(Operation.STOP_KILL, "the stop is tried")
    cell.until(lambda machine: machine.phase is Phase.DONE)
    assert cell.verdicts() == {1: "scrapped"}, "its first part was good, and it is half a unit"
    assert ends(cell)["001.1"][0] == "accepted" and ends(cell)["001"] == ("scrapped", None)


@pytest.mark.parametrize(("operation", "state"), [(Operation.STOP_FINISH_UNIT, None), (Operation.PAUSE, RunState.PAUSED)])
def test_stop_after_this_unit_and_pause_wait_for_the_second_part(operation: Operation, state: RunState | None) -> None:
    cell = begun(small())
    cell.until(in_part(1, 1, Step.PRINT))
    cell.command(operation, "the unit is to be finished first")
    cell.until(lambda machine: machine.phase is Phase.DONE or machine.state is state)
    assert cell.verdicts() == {1: "accepted"} and ends(cell)["001.2"][0] == "accepted"
    if state is RunState.PAUSED:
        cell.command(Operation.RESUME)
        cell.until(lambda machine: machine.phase is Phase.DONE)
        assert cell.verdicts() == {1: "accepted", 2: "accepted"}


@pytest.mark.parametrize("part", [1, 2])
def test_an_end_that_cannot_be_recorded_scraps_part_and_unit(part: int) -> None:
    cell = begun(small())
    refused: list[int] = []

    def refuse(record: Record) -> bool:
        ended = any(str(draft.kind) == "part.weight.judged" and draft.subject.id.endswith(f".{part}") for draft in record.drafts)
        if ended and not refused:
            refused.append(record.token)
            return True
        return False

    cell.refuse_record = refuse
    cell.until(lambda machine: machine.phase is Phase.DONE)
    assert cell.verdicts() == {1: "scrapped"} and ends(cell)["001"] == ("scrapped", None)
    assert ends(cell)[f"001.{part}"][0] == "scrapped"


def test_a_balance_that_drifts_between_the_parts_ends_the_run_in_order_and_scraps_the_unit() -> None:
    cell = begun(small())
    cell.until(in_part(1, 2, Step.TOTAL_BEFORE))
    cell.machine.cycle._before = None
    cell.bench.cell.zero_drift = 1.0
    cell.until(lambda machine: machine.phase is Phase.DONE)
    assert cell.machine.ended == "ABORTED"
    assert cell.verdicts() == {1: "scrapped"} and "balance drift" in reasons(cell, 1)
    (deviation,) = cell.kinds("deviation.record.opened")
    assert deviation.new["unit_n"] == 1, "the alarm has touched the unit that lies half done on the plate"


def _saying(cell: SimulatedCell, change: Callable[[str], str | None]) -> None:
    printer = cell.bench.printer
    say = printer.say

    def changed(text: str) -> None:
        said = change(text)
        if said is not None:
            say(said)

    printer.say = changed  # type: ignore[method-assign]


@pytest.mark.parametrize("answer", ["echo:Active Extruder: 0", None])
def test_nothing_is_extruded_before_the_printer_has_said_the_right_head(answer: str | None) -> None:
    cell = begun(small())
    cell.until(in_part(1, 2, Step.TOTAL_BEFORE))
    _saying(cell, lambda text: answer if text.startswith("echo:Active") else text)
    cell.until(lambda machine: machine.phase is Phase.DONE)
    (alarm,) = cell.machine.alarms.alarms
    assert alarm.definition.name is AlarmName.PRINTER_FAULT and "head T1" in alarm.message
    assert cell.verdicts() == {1: "scrapped"}
    assert cell.bench.truth()[0]["true_mass_2_mg"] == "0.000"


def test_an_answer_that_is_lost_on_the_wire_is_asked_for_again() -> None:
    cell = begun(small())
    cell.until(in_part(1, 2, Step.TOTAL_BEFORE))
    lost: list[str] = []

    def once(text: str) -> str | None:
        if text.startswith("echo:Active") and not lost:
            lost.append(text)
            return None
        return text

    _saying(cell, once)
    cell.until(lambda machine: machine.phase is Phase.DONE)
    assert lost and cell.verdicts() == {1: "accepted", 2: "accepted"}


def test_a_priming_with_the_wrong_head_stops_the_run() -> None:
    cell = small()
    _saying(cell, lambda text: "echo:Active Extruder: 0" if text.startswith("echo:Active") else text)
    cell.run()
    assert cell.machine.ended == "FAULTED" and cell.verdicts() == {}


def test_a_printer_with_one_extruder_is_refused() -> None:
    cell = small()
    _saying(cell, lambda text: text.replace("EXTRUDER_COUNT:2", "EXTRUDER_COUNT:1"))
    cell.command(Operation.PREPARE)
    cell.until(lambda machine: machine.phase is Phase.DONE)
    assert "EXTRUDER_COUNT: approved '2', found '1'" in str(cell.kinds("run.gates.refused")[0].new)


def test_the_second_head_out_of_its_range_stops_the_run_while_the_first_one_prints() -> None:
    cell = begun(small())
    cell.until(in_part(1, 1, Step.PRINT))
    cell.bench.printer.nozzles[1].temperature = 45.0
    cell.until(lambda machine: machine.phase is Phase.DONE)
    (alarm, *_) = cell.machine.alarms.alarms
    assert alarm.definition.name is AlarmName.NOZZLE_TEMPERATURE and alarm.message.startswith("T1: ")


def test_the_status_shows_both_nozzles_and_both_parts() -> None:
    cell = begun(small())
    cell.until(in_part(1, 2, Step.PRINT))
    shown = run_view(cell.machine, cell.now, frozenset(), 0)
    sensors, units = shown["sensors"], shown["units"]
    assert isinstance(sensors, dict) and isinstance(units, list)
    first, second = sensors["nozzle"], sensors["nozzle_2"]
    assert isinstance(first, dict) and isinstance(second, dict)
    assert abs(Decimal(str(first["value"])) - 40) < 1 and (first["low"], first["high"]) == ("38", "42")
    assert abs(Decimal(str(second["value"])) - 35) < 1 and (second["low"], second["high"]) == ("33", "37")
    assert len(units) == 2 and isinstance(units[0], dict) and isinstance(units[1], dict)
    assert (units[0]["state"], units[0]["strength_mg"], units[1]["state"]) == ("printing", "6 + 3", "planned")
    parts = units[0]["parts"]
    assert isinstance(parts, list)
    assert [(part["part"], part["state"], part["verdict"]) for part in parts if isinstance(part, dict)] == [
        (1, "judged", "accepted"),
        (2, "printing", None),
    ]


def test_each_ink_is_corrected_by_its_own_masses() -> None:
    cell = small(days=4)
    of_head_two(cell, "delivery", 0.965)
    cell.run()
    assert cell.machine.ended == "FINISHED"
    factors = {
        part: [Decimal(str(entry.new["flow_factor"])) for entry in cell.kinds("dose.correction.decided") if entry.new["part"] == part]
        for part in (1, 2)
    }
    assert max(abs(factor - 1) for factor in factors[1]) < Decimal("0.012")
    assert min(factors[2]) > Decimal("1.02")


def test_a_fault_of_the_second_head_leaves_the_first_alone() -> None:
    cell = small("clog:1:head2")
    cell.run()
    assert ends(cell)["001.1"][0] == "accepted" and ends(cell)["001.2"][0] == "scrapped"
    assert [(spec.name, spec.head) for spec in cell.bench.script.begun] == [("clog", 1)]
    with pytest.raises(BenchConfigError, match="one head"):
        bench_for("minoxidil", faults=("clog:1:head2",))


def test_a_nozzle_that_really_stands_elsewhere_prints_elsewhere() -> None:
    """The bench answers for the offset of the second head: what the program states wrongly shows in where the ink falls."""
    right, wrong = small(), small()
    wrong.bench.printer.config = replace(wrong.bench.printer.config, second_offset_x_mm=0.35 + 3.0)
    for cell in (right, wrong):
        begun(cell)
        cell.until(in_part(1, 2, Step.TOTAL_AFTER))
    found = [float(cell.bench.truth()[0]["x"]) for cell in (right, wrong)]
    assert found[1] - found[0] > 1.0


@pytest.mark.parametrize("moment", [Step.PRINT, Step.WEIGH_AFTER])
@pytest.mark.parametrize("part", [1, 2])
def test_a_process_that_dies_in_a_part_leaves_a_scrapped_unit(part: int, moment: Step, tmp_path: Path) -> None:
    life = live(SMALL, tmp_path, until=lambda cell: in_part(1, part, moment)(cell.machine))
    store, interrupted = restart(life.images[-1])
    assert interrupted
    unit, found = store.state("unit", f"{life.run}/001"), store.state("part", f"{life.run}/001.{part}")
    assert unit is not None and unit["verdict"] == "scrapped" and found is not None and found["verdict"] == "scrapped"
    assert_closed(store, life.run)


def test_a_process_that_dies_between_the_parts_leaves_a_scrapped_unit(tmp_path: Path) -> None:
    life = live(SMALL, tmp_path, until=lambda cell: in_part(1, 2, Step.TOTAL_BEFORE)(cell.machine))
    store, _ = restart(life.images[-1])
    unit, first = store.state("unit", f"{life.run}/001"), store.state("part", f"{life.run}/001.1")
    assert unit is not None and unit["verdict"] == "scrapped" and first is not None and first["verdict"] == "accepted"
    assert_closed(store, life.run)


def test_a_seed_of_two_inks_reproduces_exactly() -> None:
    scenario = Scenario.of(3, TWO_INKS)
    assert simulate(scenario).digest == simulate(scenario).digest
