"""Pull any one of the three cables at any moment of a 14-unit run: it ends, nothing unweighed is accepted, what is shown is so.

Everything is in virtual time. The moment and the cable are drawn from the seed, and so is how much of the last bytes still
came through.
"""

from __future__ import annotations

import random
import re
from decimal import Decimal

import pytest
from simulated_cell import STEP_US, SimulatedCell, simulated

from firmware_bridge.gcode_link import LinkState
from printer.alarms import AlarmName
from printer.messages import Operation, Port, PortBytes, PortLost, Tick
from printer.run import Phase
from printer.states import RunState
from printer.view import run_view

CASE = "minoxidil"
RUN_US = 490_000_000
AFTER_US = 30_000_000
LOST = {Port.PRINTER: AlarmName.PRINTER_LOST, Port.BALANCE: AlarmName.BALANCE_LOST, Port.PRESSURE: AlarmName.PRESSURE_LOST}


class CablePull:
    """One run in which one cable is pulled; `after` is what the run does from then on."""

    def __init__(self, seed: int) -> None:
        chance = random.Random(f"cables:{seed}")
        self.port = chance.choice(list(Port))
        self.at = chance.randrange(RUN_US)
        self.part = chance.random()
        self.cell: SimulatedCell = simulated(CASE, seed=1 + seed % 7)
        self.balance_said = b""
        self.sent_before = 0
        self.phase = self.state = ""
        self.running = False

    def run(self) -> None:
        cell, machine = self.cell, self.cell.machine
        cell.command(Operation.PREPARE)
        while cell.now + STEP_US < self.at and machine.phase is not Phase.DONE:
            self.step()
            if machine.phase is Phase.START:
                cell.command(Operation.START)
        self.phase, self.state, self.running = machine.phase.value, machine.state.value, not machine.over
        self.step(pull=True)
        end = cell.now + AFTER_US
        while cell.now < end:
            self.step()
            if machine.phase is Phase.START:
                cell.command(Operation.START)

    def step(self, *, pull: bool = False) -> None:
        """One step as the cell takes it; the pulled cable still carries a part of its bytes, then none."""
        cell = self.cell
        cell.now += STEP_US
        sent = cell.bench.step(cell.now)
        for port in (Port.PRESSURE, Port.BALANCE, Port.PRINTER):
            data = sent[port.value]
            gone = port.value in cell.bench.unplugged
            if pull and port is self.port:
                data = data[: round(len(data) * self.part)]
                cell.bench.unplugged.add(port.value)
            if data and not gone:
                self.balance_said += data if port is Port.BALANCE else b""
                cell.give(PortBytes(port, data))
            if pull and port is self.port:
                self.sent_before = len(cell.written)
                cell.give(PortLost(port, "device unplugged"))
        cell.give(Tick())


def pulled(seed: int) -> CablePull:
    pull = CablePull(seed)
    pull.run()
    return pull


def judge(pull: CablePull) -> None:
    ended_as_it_must(pull)
    no_unit_is_accepted_without_its_weight(pull)
    what_is_shown_is_so(pull)
    nothing_is_sent_after(pull)


def ended_as_it_must(pull: CablePull) -> None:
    machine = pull.cell.machine
    assert machine.phase is Phase.DONE, f"hangs in {machine.state}, {machine.phase}"
    assert machine.state is RunState.AWAITING_REVIEW
    if pull.running:
        assert machine.ended == "FAULTED"
        assert [alarm.definition.name for alarm in machine.alarms.alarms] == [LOST[pull.port]]
    assert len(pull.cell.kinds("run.record.closed")) == 1


def no_unit_is_accepted_without_its_weight(pull: CablePull) -> None:
    truth = {int(row["patch"]): Decimal(str(row["true_mass_mg"])) for row in pull.cell.bench.truth()}
    weighed = set()
    for entry in pull.cell.kinds("unit.weight.judged"):
        if entry.new["verdict"] != "accepted":
            continue
        weighings = entry.new["weighings"]
        assert isinstance(weighings, list) and len(weighings) >= 2
        for weighing in weighings:
            assert isinstance(weighing, dict)
            raw = bytes.fromhex(str(weighing["raw"]))
            assert re.fullmatch(rb"S S +-?\d+\.\d{4} g", raw)
            assert raw + b"\r\n" in pull.balance_said, "a weight that the balance never sent"
        n = int(str(entry.new["n"])) if "n" in entry.new else int(str(entry.subject.id)[-3:])
        assert abs(Decimal(str(entry.new["mass_mg"])) - truth[n]) < truth[n] * Decimal("0.01")
        weighed.add(n)
    accepted = {n for n, verdict in pull.cell.verdicts().items() if verdict == "accepted"}
    assert accepted == weighed, "a unit is held for accepted that no record of a weight accepts"
    begun = {int(str(entry.new["n"])) for entry in pull.cell.kinds("unit.print.intended")}
    assert set(pull.cell.verdicts()) == begun, "a unit was begun and has no verdict"


def what_is_shown_is_so(pull: CablePull) -> None:
    machine, now = pull.cell.machine, pull.cell.now
    view = run_view(machine, now, frozenset(), 0)
    link = view["link"]
    assert isinstance(link, dict)
    # The run is over and nobody listens to the printer: whatever it does now, it is not known.
    assert (link["state"], link["quality"]) == ("unknown", "unknown")
    sensors = view["sensors"]
    assert isinstance(sensors, dict)
    lost = {Port.PRESSURE: ("pressure",), Port.PRINTER: ("nozzle", "plate"), Port.BALANCE: ()}[pull.port]
    for name in lost:
        sensor = sensors[name]
        assert isinstance(sensor, dict)
        assert sensor["quality"] in ("stale", "unknown")
    units = view["units"]
    assert isinstance(units, list)
    shown = {unit["n"]: unit["verdict"] for unit in units if isinstance(unit, dict) and unit["verdict"] is not None}
    assert shown == pull.cell.verdicts()
    assert machine.devices.link.state in (LinkState.NEW, LinkState.STOPPED, LinkState.FAULTED, LinkState.READY)
    allowed = view["allowed_actions"]
    assert isinstance(allowed, dict)
    assert not any(isinstance(action, dict) and action["allowed"] for name, action in allowed.items() if name != "stop")


def nothing_is_sent_after(pull: CablePull) -> None:
    """After the pull the printer gets at most the stop; where its own cable is gone, nothing at all."""
    if not pull.running:
        return
    after = [data for _, port, data, _ in pull.cell.written[pull.sent_before :] if port is Port.PRINTER]
    if pull.port is Port.PRINTER:
        assert after == []
    else:
        assert after in ([], [b"\nM112\n"])


@pytest.mark.parametrize("seed", range(25))
def test_pull_a_cable(seed: int) -> None:
    judge(pulled(seed))


@pytest.mark.deep
@pytest.mark.parametrize("block", range(20))
def test_pull_a_cable_five_hundred_times(block: int) -> None:
    for seed in range(1000 + 25 * block, 1025 + 25 * block):
        try:
            judge(pulled(seed))
        except AssertionError as problem:
            problem.add_note(f"seed {seed}")
            raise


@pytest.mark.deep
def test_the_drawn_moments_reach_every_part_of_a_run() -> None:
    pulls = [CablePull(seed) for seed in range(1000, 1500)]
    assert {pull.port for pull in pulls} == set(Port)
    assert min(pull.at for pull in pulls) < 5_000_000
    assert max(pull.at for pull in pulls) > RUN_US - 5_000_000
