"""After a run: a device that nothing is wrong with is not in use; a fault stays a fault; no old reading is shown."""

from __future__ import annotations

from typing import Any

import pytest
from simulated_cell import SimulatedCell, simulated

from printer.at_rest import at_rest
from printer.view import idle_view, run_view

ENDED = "2026-11-20 14:03:22 UTC"


def finished(*faults: str) -> SimulatedCell:
    cell = simulated("minoxidil", *faults)
    cell.run()
    return cell


def shown(cell: SimulatedCell, missing: tuple[str, ...] = ()) -> dict[str, Any]:
    cell.now += 3_600_000_000  # an hour later
    view: dict[str, Any] = dict(run_view(cell.machine, cell.now, frozenset(), 0))
    return view | at_rest(view, cell.machine, ENDED, missing, checking=False)


def test_after_a_clean_run_nothing_looks_like_a_fault() -> None:
    cell = finished()
    assert cell.machine.ended == "FINISHED"
    view = shown(cell)
    assert {name: (sensor["value"], sensor["quality"], sensor["age_ms"]) for name, sensor in view["sensors"].items()} == dict.fromkeys(
        ("pressure", "nozzle", "plate", "balance"), (None, "unused", None)
    )
    assert view["link"]["quality"] == "unused"
    assert view["resting"]["link"] == f"since the run ended at {ENDED}; last identified as {cell.machine.devices.printer_name}"
    assert view["resting"]["balance"].endswith(f"last identified as {cell.machine.devices.balance_name}")
    assert view["resting"]["pressure"] == f"since the run ended at {ENDED}"
    assert cell.machine.devices.balance_serial in view["resting"]["balance"]


@pytest.mark.parametrize(
    ("missing", "faulty"), [(("printer",), {"nozzle", "plate", "link"}), (("balance",), {"balance"}), (("pressure",), {"pressure"})]
)
def test_a_device_that_is_away_or_was_stopped_stays_a_fault(missing: tuple[str, ...], faulty: set[str]) -> None:
    view = shown(finished(), missing)
    qualities = {name: sensor["quality"] for name, sensor in view["sensors"].items()} | {"link": view["link"]["quality"]}
    assert {name for name, quality in qualities.items() if quality != "unused"} == faulty
    assert all(qualities[name] in ("stale", "unknown") for name in faulty)
    assert set(view["resting"]) == set(qualities) - faulty


def test_a_sensor_that_ended_the_run_by_its_silence_is_not_called_unused() -> None:
    cell = finished("pressure_silent:2")
    assert cell.machine.ended == "FAULTED"
    view = shown(cell)
    assert view["sensors"]["pressure"]["quality"] == "stale" and "pressure" not in view["resting"]
    assert view["sensors"]["balance"]["quality"] == "unused"


def test_before_any_run_and_during_the_daily_check() -> None:
    view: dict[str, Any] = dict(idle_view(0))
    rest = at_rest(view, None, None, (), checking=True)
    assert rest["resting"] == dict.fromkeys(("pressure", "nozzle", "plate", "link"), "no run is live") | {
        "balance": "read by the daily check alone"
    }
