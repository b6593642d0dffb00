"""Whole runs in virtual time: the four demonstration cases, the faults, and what people can ask for."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from simulated_cell import OPERATOR, SimulatedCell, demonstration_job, simulated

from printer.messages import Command, EmergencySend, Operation, Port, RunEffect, RunInput, Send
from printer.replay import decisions_digest, replay
from printer.run import Phase
from printer.states import RunState
from printer.unit_cycle import Step

CASES = ["cyclophosphamide", "hydrocortisone", "minoxidil", "sildenafil"]
JOURNALS = ("journal/preparation.jsonl", "journal/unit-", "journal/run.jsonl")


def true_masses(cell: SimulatedCell) -> list[Decimal]:
    return [Decimal(str(row["true_mass_mg"])) for row in cell.bench.truth()]


@pytest.mark.parametrize("case", CASES)
def test_a_whole_batch_is_printed_weighed_and_accepted(case: str) -> None:
    cell = simulated(case)
    cell.run()
    assert (cell.machine.state, cell.machine.ended) == (RunState.AWAITING_REVIEW, "FINISHED")
    assert set(cell.verdicts().values()) == {"accepted"}
    assert len(cell.verdicts()) == len(cell.machine.plan.units)
    assert cell.machine.alarms.alarms == ()
    errors = []
    for n, truth in enumerate(true_masses(cell)[len(cell.machine.plan.purges) :], start=1):
        weighed = cell.machine.cycle.weighings[n]
        errors.append(abs(weighed.mass.value - truth) / weighed.uncertainty.value)
    # An expanded uncertainty with k = 2 covers about 95 %; what only the plant knows must bear it out.
    assert max(errors) < Decimal("1.5")
    assert sum(error <= 1 for error in errors) >= len(errors) * 4 // 5


@pytest.mark.parametrize(
    ("fault", "alarm", "verdict"),
    [
        ("clog:2", "pressure departs from its expectation", "scrapped"),
        ("clog_sudden:2", "pressure high", "scrapped"),
        ("bubble:2", "pressure low while extruding", "scrapped"),
        ("drift:2", "balance drift", "rejected"),
        ("unplug:2", "printer connection lost", "scrapped"),
        ("pressure_silent:2", "pressure sensor silent", "scrapped"),
        ("balance_silent:2", "balance fault", "rejected"),
        ("heater:2", "nozzle temperature out of range", "scrapped"),
        ("plate:2", "plate temperature out of range", "scrapped"),
        ("reset:2", "printer fault", "scrapped"),
    ],
)
def test_a_fault_stops_the_run_and_its_unit_is_not_accepted(fault: str, alarm: str, verdict: str) -> None:
    cell = simulated("cyclophosphamide", fault)
    cell.run()
    assert cell.machine.ended in ("FAULTED", "ABORTED")
    assert alarm in [raised.definition.name.value for raised in cell.machine.alarms.alarms]
    assert cell.verdicts() == {1: "accepted", 2: verdict}
    assert [entry.new["unit_n"] for entry in cell.kinds("deviation.record.opened")] == [2]


def test_every_motion_on_the_wire_has_its_intent_on_record() -> None:
    cell = simulated("minoxidil")
    moved: list[str] = []
    execute = cell._execute

    def watched(effect: RunEffect) -> list[RunInput]:
        if isinstance(effect, Send) and effect.port is Port.PRINTER and re.search(rb" (G0|G1|G28) ?", effect.data):
            intents = [entry for entry in cell.entries if str(entry.kind) in ("unit.print.intended", "run.action.intended")]
            machine = cell.machine
            if machine.phase is Phase.UNIT:
                assert machine.cycle.unit is not None
                assert intents[-1].new["n"] == machine.cycle.unit.n
                assert intents[-1].new["gcode_sha256"] == machine.cycle.unit.gcode_sha256
                moved.append(f"unit {machine.cycle.unit.n}")
            else:
                moved.append(str(intents[-1].new["action"]))
        return execute(effect)

    cell._execute = watched  # type: ignore[method-assign]
    cell.run()
    assert list(dict.fromkeys(moved)) == ["home", "prime", *(f"unit {n}" for n in range(1, 15)), "park"]


def test_no_record_no_motion() -> None:
    cell = simulated("cyclophosphamide", refuse_record=lambda record: any(d.kind == "unit.print.intended" for d in record.drafts))
    cell.run()
    assert cell.machine.ended == "FAULTED"
    assert cell.bench.truth() == [] or all(Decimal(str(row["true_mass_mg"])) < 5 for row in cell.bench.truth())
    assert cell.written[-1][3], "the stop bytes are the last bytes to the printer"


def test_record_failure_in_mid_unit_stops_at_once() -> None:
    cell = simulated("cyclophosphamide")
    cell.command(Operation.PREPARE)
    cell.until(lambda machine: machine.phase is Phase.START)
    cell.command(Operation.START)
    cell.until(lambda machine: machine.cycle.step is Step.PRINT and machine.cycle.commanded_nl > 50_000)
    cell.refuse_record = lambda record: True
    cell.command(Operation.ACKNOWLEDGE, target="nothing")
    cell.command(Operation.PAUSE)
    assert cell.machine.ended == "FAULTED"
    assert cell.written[-1][3]
    assert cell.written[-1][2] == b"\nM112\n"


def test_pause_between_units_and_resume() -> None:
    cell = simulated("minoxidil")
    cell.command(Operation.PREPARE)
    cell.until(lambda machine: machine.phase is Phase.START)
    cell.command(Operation.START)
    cell.until(lambda machine: machine.units.done == 2 and machine.cycle.step is Step.PRINT)
    cell.command(Operation.PAUSE)
    assert cell.machine.state is RunState.PAUSING
    cell.until(lambda machine: machine.state is RunState.PAUSED)
    assert len(cell.verdicts()) == 3
    for _ in range(100):
        cell.step()
    assert len(cell.verdicts()) == 3
    cell.command(Operation.RESUME)
    cell.until(lambda machine: machine.phase is Phase.DONE)
    assert cell.machine.ended == "FINISHED"
    assert set(cell.verdicts().values()) == {"accepted"}


def test_stop_after_this_unit_keeps_the_unit() -> None:
    cell = simulated("minoxidil")
    cell.command(Operation.PREPARE)
    cell.until(lambda machine: machine.phase is Phase.START)
    cell.command(Operation.START)
    cell.until(lambda machine: machine.units.done == 1 and machine.cycle.step is Step.PRINT)
    cell.command(Operation.STOP_FINISH_UNIT, "end of shift")
    cell.until(lambda machine: machine.phase is Phase.DONE)
    assert cell.machine.ended == "ABORTED"
    assert cell.verdicts() == {1: "accepted", 2: "accepted"}
    assert not any(emergency for *_, emergency in cell.written)


@pytest.mark.parametrize("operation", [Operation.STOP_KILL, Operation.STOP_QUICK])
def test_stop_goes_first_and_nothing_follows(operation: Operation) -> None:
    cell = simulated("cyclophosphamide")
    cell.command(Operation.PREPARE)
    cell.until(lambda machine: machine.phase is Phase.START)
    cell.command(Operation.START)
    cell.until(lambda machine: machine.cycle.step is Step.PRINT and machine.cycle.commanded_nl > 50_000)
    effects = cell.machine.handle(Command(operation, OPERATOR), cell.now)
    assert isinstance(effects[0], EmergencySend)
    assert cell.verdicts() == {1: "scrapped"}
    for _ in range(50):
        cell.step()
    assert not [data for at, port, data, _ in cell.written if port is Port.PRINTER and at > cell.now - 4_000_000]


def test_an_unmet_gate_ends_the_run_before_anything_moves() -> None:
    cell = simulated("cyclophosphamide", job=demonstration_job("cyclophosphamide", line_clearance=None))
    cell.run()
    assert cell.machine.ended == "ABORTED"
    assert [gate.name for gate in cell.machine.gates if not gate.met] == ["line clearance"]
    assert not any(b"G1" in data for _, port, data, _ in cell.written if port is Port.PRINTER)
    assert cell.kinds("run.gates.refused")


@pytest.mark.parametrize("fault", [(), ("clog:2",), ("drift:2",), ("unplug:1",)])
def test_replay_of_the_sealed_journal_gives_the_same_decisions(fault: tuple[str, ...]) -> None:
    cell = simulated("minoxidil", *fault)
    cell.run()
    segments = [data for entry in cell.entries for name, data in entry.attachments.items() if name.startswith(JOURNALS)]
    assert replay(cell.machine.plan, segments).sha256 == decisions_digest(cell.entries)
    changed = [segment.replace(b'"port":"balance"', b'"port":"pressure"', 1) for segment in segments]
    assert changed != segments
    assert replay(cell.machine.plan, changed).sha256 != decisions_digest(cell.entries)


def test_the_program_really_sent_is_the_planned_one() -> None:
    cell = simulated("minoxidil")
    cell.run()
    (closed,) = cell.kinds("run.record.closed")
    sent = closed.attachments["program.gcode"].decode("ascii")
    for unit in cell.machine.plan.units:
        block = sent.split(f";UNIT {unit.n}\n")[1].split(f";END UNIT {unit.n}\n")[0]
        assert block.encode().splitlines() == [line.command for line in unit.lines]
    assert ";E_AREA_MM2 58.90" in sent
    assert "M83" in sent
