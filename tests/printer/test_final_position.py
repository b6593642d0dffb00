"""Where the nozzle ends and what was extruded, as the printer reports it: a report against the unit counts when it comes twice."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from simulated_cell import SimulatedCell
from simulation import Scenario, build

from printer.alarms import AlarmName

SCENARIO = Scenario(5, "minoxidil", 3, None, (), warm=True)
HOMED, FIRST, AFTER_SECOND, LAST = 1, 2, 6, 8
"""Reports in a run of three units, the first of them after homing, unasked. Before unit 1 two are asked: there is none of a unit before."""
UNDAMAGED = LAST - HOMED
ONE_BIT = re.compile(rb"\bE:-?[0-9]+\.[0-9]")


def cell_that_reports(change: Callable[[int, bytes], bytes]) -> SimulatedCell:
    """A cell whose printer's k-th answer to M114 is changed on its way."""
    cell = build(SCENARIO)
    count = 0
    step = cell.bench.step

    def changed(to: int) -> dict[str, bytes]:
        nonlocal count
        sent = dict(step(to))
        if b"Count X" in sent["printer"]:
            count += 1
            sent["printer"] = change(count, sent["printer"])
        return sent

    cell.bench.step = changed  # type: ignore[method-assign, assignment]
    cell.run()
    return cell


def asked(cell: SimulatedCell) -> int:
    return sum(data.count(b"M114") for _, port, data, _ in cell.written if port == "printer")


@pytest.mark.parametrize("word", [b"X", b"Y", b"Z", b"E"])
def test_a_report_damaged_once_costs_no_unit(word: bytes) -> None:
    cell = cell_that_reports(
        lambda k, data: re.sub(rb"\b%s:-?[0-9.]+" % word, word + b":77.77", data, count=1) if k == AFTER_SECOND else data
    )
    assert (cell.machine.ended, set(cell.verdicts().values())) == ("FINISHED", {"accepted"})
    assert asked(cell) == UNDAMAGED + 1


def flipped(data: bytes) -> bytes:
    """The report with one bit of the first decimal of the extruder total flipped."""
    return ONE_BIT.sub(lambda found: found[0][:-1] + bytes([found[0][-1] ^ 1]), data, count=1)


@pytest.mark.parametrize("damage", [flipped, lambda data: data.replace(b" E:", b" G:", 1)])
@pytest.mark.parametrize("k", range(FIRST, LAST + 1))
def test_no_single_damaged_report_costs_a_unit(damage: Callable[[bytes], bytes], k: int) -> None:
    """Before a unit as after it: the report is asked for again."""
    cell = cell_that_reports(lambda nth, data: damage(data) if nth == k else data)
    assert (cell.machine.ended, set(cell.verdicts().values())) == ("FINISHED", {"accepted"})
    assert asked(cell) == UNDAMAGED + 1
    assert cell.machine.alarms.alarms == ()


def test_without_a_total_before_it_no_unit_is_begun() -> None:
    cell = cell_that_reports(lambda k, data: data.replace(b" E:", b" G:", 1) if k > AFTER_SECOND else data)
    assert cell.machine.ended == "ABORTED"
    assert dict(cell.verdicts()) == {1: "accepted", 2: "accepted"}
    assert len(cell.kinds("unit.print.intended")) == 2
    assert asked(cell) == AFTER_SECOND - HOMED + 3
    (alarm,) = cell.machine.alarms.alarms
    assert (alarm.definition.name, alarm.unit_n) == (AlarmName.VOLUME_MISMATCH, None)
    assert alarm.message == "the printer's extruder total before unit 3 cannot be read"
    assert cell.bench.printer.nozzle.target == 0.0


def test_a_nozzle_that_is_elsewhere_rejects_the_unit() -> None:
    cell = cell_that_reports(
        lambda k, data: re.sub(rb"\bX:-?[0-9.]+", b"X:77.77", data, count=1) if k in (AFTER_SECOND, AFTER_SECOND + 1) else data
    )
    assert cell.machine.ended == "ABORTED"
    assert dict(cell.verdicts()) == {1: "accepted", 2: "rejected"}
    assert [alarm.definition.name for alarm in cell.machine.alarms.alarms] == [AlarmName.VOLUME_MISMATCH]
    assert "the nozzle ended at 77.77" in str(cell.machine.cycle.verdicts[2][2])
