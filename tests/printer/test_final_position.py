"""Where the nozzle ends and what was extruded, as the printer reports it: a report against the unit counts when it comes twice."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from simulated_cell import SimulatedCell
from simulation import Scenario, build

from printer.alarms import AlarmName

SCENARIO = Scenario(5, "minoxidil", 3, None, (), warm=True)


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
    cell = cell_that_reports(lambda k, data: re.sub(rb"\b%s:-?[0-9.]+" % word, word + b":77.77", data, count=1) if k == 5 else data)
    assert (cell.machine.ended, set(cell.verdicts().values())) == ("FINISHED", {"accepted"})
    assert asked(cell) == 7


def test_a_nozzle_that_is_elsewhere_rejects_the_unit() -> None:
    cell = cell_that_reports(lambda k, data: re.sub(rb"\bX:-?[0-9.]+", b"X:77.77", data, count=1) if k in (5, 6) else data)
    assert cell.machine.ended == "ABORTED"
    assert dict(cell.verdicts()) == {1: "accepted", 2: "rejected"}
    assert [alarm.definition.name for alarm in cell.machine.alarms.alarms] == [AlarmName.VOLUME_MISMATCH]
    assert "the nozzle ended at 77.77" in str(cell.machine.cycle.verdicts[2][2])
