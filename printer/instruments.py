"""Which driver reads which instrument: the names a machine profile may use."""

from __future__ import annotations

from decimal import Decimal
from typing import assert_never

from audit.quantities import EXACT, Kilopascal
from firmware_bridge.balance import BalanceDriver
from firmware_bridge.modbus_rtu import NumberForm
from firmware_bridge.mt_sics import MtSics
from firmware_bridge.pressure import PressureDriver, PressureHub
from firmware_bridge.pressure_modbus import ModbusMap, ModbusPressure
from firmware_bridge.sartorius_sbi import SartoriusSbi
from printer.errors import CellConfiguration
from printer.plan import PressureSource
from recipes.machine import MachineProfile
from recipes.machine_devices import HubSensor, ModbusTransmitter

_BELOW, _ABOVE = Decimal("0.0125"), Decimal("0.03125")
"""Shares of its span that a sound sensor may show beyond its ends: 3.8 and 20.5 mA of 4 to 20. Source: NAMUR NE 43."""

_ANSWER_US = 150_000
"""A transmitter's answer may take this long; two that are lost are not yet a stale sensor (half a second)."""


def balance_driver(name: str, stable_timeout_us: int) -> BalanceDriver:
    """Return a fresh driver; `stable_timeout_us` bounds how long a stable weight is waited for."""
    match name:
        case "mt-sics":
            return MtSics(stable_timeout_us=stable_timeout_us)
        case "sartorius-sbi":
            return SartoriusSbi(stable_timeout_us=stable_timeout_us)
        case _:
            text = f"No driver for a balance of kind {name!r}."
            raise CellConfiguration(text, remedy="Use mt-sics or sartorius-sbi in the machine profile.")


def pressure_source(machine: MachineProfile) -> PressureSource:
    """Return what a run needs to read the pressure sensor of a machine."""
    sensor = machine.pressure
    match sensor:
        case HubSensor():
            return PressureSource(sensor.protocol, sensor.low, sensor.high, 1_000_000 // sensor.lines_per_second)
        case ModbusTransmitter():
            where = ModbusMap(
                unit=sensor.unit,
                register=sensor.register_address,
                function=sensor.function,
                form=NumberForm(sensor.form),
                pressure_unit=sensor.pressure_unit,
                decimals=sensor.decimals,
            )
            return PressureSource(sensor.protocol, sensor.low, sensor.high, sensor.poll_period_ms * 1000, where)
        case _:
            assert_never(sensor)


def pressure_driver(source: PressureSource) -> PressureDriver:
    """Return a fresh driver, which knows what its sensor measures and by how much a sound one may pass that at each end."""
    span = EXACT.subtract(source.high.value, source.low.value)
    low = Kilopascal(EXACT.subtract(source.low.value, EXACT.multiply(span, _BELOW)))
    high = Kilopascal(EXACT.add(source.high.value, EXACT.multiply(span, _ABOVE)))
    if source.protocol == "hub-lines":
        return PressureHub(low=low, high=high, period_us=source.period_us)
    if source.protocol == "modbus-rtu" and source.where is not None:
        return ModbusPressure(source.where, low=low, high=high, period_us=source.period_us, answer_timeout_us=_ANSWER_US)
    text = f"No driver for a pressure sensor that speaks {source.protocol!r}."
    raise CellConfiguration(text, remedy="Use hub-lines or modbus-rtu in the machine profile.")
