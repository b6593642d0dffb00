"""What is said of devices while no run is live: not in use since when, and who they were; what is away or stopped stays a fault.

Pure. A reading of a device that is not in use is withdrawn: its last value says nothing of now.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from audit.canonical import JsonObject
from printer.alarm_register import Alarm
from printer.alarms import AlarmName
from printer.messages import Port
from printer.run import RunMachine
from printer.unit_cycle import Step

_READ_FROM = {"pressure": Port.PRESSURE, "nozzle": Port.PRINTER, "nozzle_2": Port.PRINTER, "plate": Port.PRINTER, "balance": Port.BALANCE}
_ABOUT = {
    AlarmName.PRESSURE_STUCK: Port.PRESSURE,
    AlarmName.PRESSURE_STALE: Port.PRESSURE,
    AlarmName.PRESSURE_LOST: Port.PRESSURE,
    AlarmName.NOZZLE_TEMPERATURE: Port.PRINTER,
    AlarmName.PLATE_TEMPERATURE: Port.PRINTER,
    AlarmName.TEMPERATURE_STALE: Port.PRINTER,
    AlarmName.HEATING_TIMEOUT: Port.PRINTER,
    AlarmName.PRINTER_LOST: Port.PRINTER,
    AlarmName.PRINTER_FAULT: Port.PRINTER,
    AlarmName.BALANCE_LOST: Port.BALANCE,
    AlarmName.BALANCE_FAULT: Port.BALANCE,
    AlarmName.BALANCE_DRIFT: Port.BALANCE,
}
"""Alarms that say of a device itself that something is wrong with it."""


def at_rest(view: JsonObject, machine: RunMachine | None, ended_at: str | None, missing: Collection[str], *, checking: bool) -> JsonObject:
    """Return what changes in a status where nothing is asked of the devices.

    `machine` is that of the run that has ended, None where this process has seen none; `ended_at` its end in UTC; `missing` the
    ports that cannot serve a run now; `checking` that the daily check reads the balance. A device with a fault is left as it is.
    """
    faulty = {Port(port) for port in missing} | _blamed(() if machine is None else machine.alarms.alarms)
    words = {port: _words(port, machine, ended_at, checking=checking) for port in Port}
    sensors, link = view["sensors"], view["link"]
    resting: JsonObject = {}
    if not isinstance(sensors, dict) or not isinstance(link, dict):
        return {}
    for name, reading in sensors.items():
        port = _READ_FROM[name]
        if port not in faulty and isinstance(reading, dict):
            sensors = {**sensors, name: {**reading, "value": None, "age_ms": None, "quality": "unused"}}
            resting[name] = words[port]
    if Port.PRINTER not in faulty:
        link = {"state": "unknown", "age_ms": None, "quality": "unused"}
        resting["link"] = words[Port.PRINTER]
    return {"sensors": sensors, "link": link, "resting": resting}


def weighed_elsewhere(view: JsonObject, machine: RunMachine) -> JsonObject:
    """Return what changes in the status of a live run while a unit is on the external balance: that of the plate is not asked."""
    external, sensors = machine.cycle.external, view["sensors"]
    if external is None or machine.cycle.step is not Step.EXTERNAL_WEIGHING or not isinstance(sensors, dict):
        return {}
    balance = sensors["balance"]
    if not isinstance(balance, dict) or Port.BALANCE in machine.devices.lost:
        return {}
    unused: JsonObject = {**balance, "value": None, "age_ms": None, "quality": "unused"}
    words = f"the unit is weighed on {external.balance.asset}"
    return {"sensors": {**sensors, "balance": unused}, "resting": {"balance": words}}


def _blamed(alarms: Iterable[Alarm]) -> set[Port]:
    return {_ABOUT[alarm.definition.name] for alarm in alarms if alarm.definition.name in _ABOUT}


def _words(port: Port, machine: RunMachine | None, ended_at: str | None, *, checking: bool) -> str:
    if port is Port.BALANCE and checking:
        return "read by the daily check alone"
    since = "no run is live" if machine is None or ended_at is None else f"since the run ended at {ended_at}"
    name = _identity(port, machine)
    return since if name is None else f"{since}; last identified as {name}"


def _identity(port: Port, machine: RunMachine | None) -> str | None:
    if machine is None:
        return None
    match port:
        case Port.PRINTER:
            return machine.devices.printer_name
        case Port.BALANCE:
            return machine.devices.balance_name
        case Port.PRESSURE:
            return None
