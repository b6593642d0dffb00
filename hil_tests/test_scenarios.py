"""The bench from the outside, through the product's own ports: the same on the virtual bench and on a real one.

In this order: the last one leaves the printer halted.
"""

from __future__ import annotations

from decimal import Decimal

from firmware_bridge.gcode_link import LinkState, StopStrength
from firmware_bridge.pressure import PressureQuality
from hil_tests.conftest import State, Strategy


def test_the_printer_says_who_it_is(strategy: Strategy) -> None:
    strategy.reach(State.IDENTIFIED)
    assert strategy.firmware is not None
    assert dict(strategy.firmware.capabilities)["EMERGENCY_PARSER"]
    assert strategy.link.state is LinkState.READY


def test_the_balance_says_who_it_is_and_weighs_a_check_weight(strategy: Strategy) -> None:
    strategy.reach(State.IDENTIFIED)
    assert strategy.balance_identity is not None and strategy.balance_identity.serial
    check = strategy.bench.balance
    empty = strategy.weigh()
    strategy.put_on(check.check_weight_mg)
    loaded = strategy.weigh()
    strategy.put_on(Decimal(0))
    unloaded = strategy.weigh()
    assert abs((loaded.value - empty.value).value - check.check_weight_mg) <= check.tolerance_mg
    assert abs((unloaded.value - empty.value).value) <= check.tolerance_mg
    assert loaded.device == f"{strategy.balance_identity.model} {strategy.balance_identity.serial}"


def test_pressure_lines_arrive_at_their_rate_and_at_rest_there_is_none(strategy: Strategy) -> None:
    strategy.reach(State.IDENTIFIED)
    limits = strategy.bench.pressure
    strategy.readings.clear()
    begun = strategy.now()
    strategy.until(lambda: len(strategy.readings) >= 300, 30, "300 pressure lines have not come")
    seconds = Decimal(strategy.now() - begun) / 1_000_000 * strategy.rate
    assert Decimal("0.5") <= 300 / (seconds * limits.lines_per_s) <= Decimal(2)
    assert all(limits.rest_low_kPa <= reading.value.value <= limits.rest_high_kPa for reading in strategy.readings)
    assert strategy.readings[-1].quality is PressureQuality.GOOD


def test_it_homes_moves_and_reports_where_it_is(strategy: Strategy) -> None:
    strategy.reach(State.HOMED)
    printer = strategy.bench.printer
    strategy.send("G90", f"G0 Z{printer.safe_z} F1200", f"G0 X{printer.spot_x} Y{printer.spot_y} F{printer.travel_feed}", "M400", "M114")
    position = strategy.position
    assert position is not None
    assert (position.x, position.y, position.z) == (printer.spot_x, printer.spot_y, printer.safe_z)


def test_it_heats_into_its_range_and_stays_there(strategy: Strategy) -> None:
    strategy.reach(State.WARM)
    printer = strategy.bench.printer
    seen: list[Decimal] = []
    for _ in range(10):
        strategy.temperature = None
        strategy.until(lambda: strategy.temperature is not None, 10, "no temperature is reported")
        assert strategy.temperature is not None
        seen.append(strategy.temperature.hotend)
        assert strategy.temperature.hotend_target == printer.nozzle_c
    assert printer.nozzle_low_c <= min(seen) and max(seen) <= printer.nozzle_high_c


def test_a_purge_is_weighed_and_shows_pressure(strategy: Strategy) -> None:
    strategy.reach(State.PRIMED)
    printer = strategy.bench.printer
    before = strategy.weigh()
    strategy.readings.clear()
    strategy.extrude(printer.spot_x, printer.spot_y, printer.purge_uL)
    highest = max(reading.value.value for reading in strategy.readings)
    after = strategy.weigh()
    wanted = printer.purge_uL * printer.density
    assert abs((after.value - before.value).value / wanted - 1) * 100 <= printer.purge_tolerance_percent
    assert highest > strategy.bench.pressure.rest_high_kPa


def test_stop_halts_the_printer_and_it_answers_no_more(strategy: Strategy) -> None:
    strategy.reach(State.HOMED)
    strategy.send("G91", "G1 X-1 F60")
    strategy.emergency(StopStrength.KILL)
    assert strategy.link.state is LinkState.STOPPED
    strategy.broken = "the printer was stopped; reset it"
    # What was under way may still come. After that: a printer that runs reports its temperature every second.
    for _ in range(2):
        strategy.temperature, heard = None, strategy.hub.lines
        strategy.until(lambda heard=heard: strategy.hub.lines >= heard + 400, 30, "the hub is silent")  # type: ignore[misc]
    assert strategy.temperature is None
