"""Alarms after ISA-18.2 / IEC 62682: definitions with cause, consequence and action; states; a register.

An alarm is raised once per condition and unit; while its condition stands it is not raised again. Acknowledging says
who saw it and what they say to it; it never makes the condition go away.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class Priority(StrEnum):
    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class AlarmState(StrEnum):
    """States of ISA-18.2 figure 3 that a latched alarm passes through."""

    UNACKNOWLEDGED = "unacknowledged"
    ACKNOWLEDGED = "acknowledged"
    RETURNED_UNACKNOWLEDGED = "returned, unacknowledged"
    NORMAL = "normal"


class AlarmName(StrEnum):
    PRESSURE_HIGH = "pressure high"
    PRESSURE_LOW = "pressure low while extruding"
    PRESSURE_DEVIATION = "pressure departs from its expectation"
    PRESSURE_STUCK = "pressure sensor stuck"
    PRESSURE_STALE = "pressure sensor silent"
    PRESSURE_LOST = "pressure sensor lost"
    NOZZLE_TEMPERATURE = "nozzle temperature out of range"
    TEMPERATURE_STALE = "temperature reports silent"
    HEATING_TIMEOUT = "heating takes too long"
    PRINTER_LOST = "printer connection lost"
    PRINTER_FAULT = "printer fault"
    BALANCE_LOST = "balance connection lost"
    BALANCE_FAULT = "balance fault"
    BALANCE_DRIFT = "balance drift"
    MASS_OUT_OF_TOLERANCE = "unit mass out of tolerance"
    INK_IDENTITY = "ink identity hold"
    CORRECTION_LIMIT = "dose correction out of bounds"
    VOLUME_MISMATCH = "commanded and reported totals differ"
    RECORD_FAILURE = "record cannot be written"
    GUARD_OPEN = "guard open"
    OPERATOR_STOP = "stopped by a person"


@dataclass(frozen=True, slots=True)
class AlarmDefinition:
    """The rationalisation of one alarm: why it exists and what the operator does within which time (in s)."""

    name: AlarmName
    priority: Priority
    cause: str
    consequence: str
    action: str
    respond_within_s: int
    stops_at_once: bool


_C, _H = Priority.CRITICAL, Priority.HIGH

DEFINITIONS: dict[AlarmName, AlarmDefinition] = {
    d.name: d
    for d in (
        AlarmDefinition(
            AlarmName.PRESSURE_HIGH, _C, "nozzle or cartridge clogged, ink too cold, or the wrong ink",
            "the unit is under-filled", "Leave the printer stopped; change the nozzle or the cartridge; start a new run.", 60, True,
        ),
        AlarmDefinition(
            AlarmName.PRESSURE_LOW, _C, "air in the cartridge, an empty cartridge or a leak",
            "the unit is under-filled", "Leave the printer stopped; purge or change the cartridge; start a new run.", 60, True,
        ),
        AlarmDefinition(
            AlarmName.PRESSURE_DEVIATION, _C, "a clog begins (high); air, an empty cartridge, a leak or a slipping drive (low)",
            "the unit will not hold its mass", "Leave the printer stopped; change nozzle or cartridge, check the drive; start a new run.",
            60, True,
        ),
        AlarmDefinition(
            AlarmName.PRESSURE_STUCK, _C, "the pressure sensor or its hub has failed: the value never changes",
            "extrusion cannot be watched", "Change the sensor; check it in Equipment; start a new run.", 60, True,
        ),
        AlarmDefinition(
            AlarmName.PRESSURE_STALE, _C, "the pressure sensor sends nothing",
            "extrusion cannot be watched", "Check the sensor and its cable; start a new run.", 60, True,
        ),
        AlarmDefinition(
            AlarmName.PRESSURE_LOST, _C, "the pressure sensor was unplugged or its port failed",
            "extrusion cannot be watched", "Plug the sensor in; check it in Equipment; start a new run.", 60, True,
        ),
        AlarmDefinition(
            AlarmName.NOZZLE_TEMPERATURE, _C, "heater or thermistor fault, or draught",
            "ink outside its validated temperature", "Leave the printer stopped; have the heater checked; start a new run.", 60, True,
        ),
        AlarmDefinition(
            AlarmName.TEMPERATURE_STALE, _C, "the printer sends no temperature reports",
            "the ink's temperature is unknown", "Check the printer; start a new run.", 60, True,
        ),
        AlarmDefinition(
            AlarmName.HEATING_TIMEOUT, _H, "heater weak or unplugged",
            "the set point is not reached", "Have the heater checked; start a new run.", 300, True,
        ),
        AlarmDefinition(
            AlarmName.PRINTER_LOST, _C, "cable pulled, printer switched off, or port failure",
            "the printer's state is unknown", "Switch the printer off at the mains; plug it in; start a new run.", 30, True,
        ),
        AlarmDefinition(
            AlarmName.PRINTER_FAULT, _C, "the printer reported a fault, reset, or answered outside its protocol",
            "what was executed is not certain", "Reset the printer; start a new run.", 60, True,
        ),
        AlarmDefinition(
            AlarmName.BALANCE_LOST, _C, "the balance was unplugged or its port failed",
            "units cannot be weighed", "Plug the balance in and check it; start a new run.", 60, True,
        ),
        AlarmDefinition(
            AlarmName.BALANCE_FAULT, _C, "the balance gives no stable weight, is overloaded or reports an error",
            "the unit cannot be weighed", "Check draught and contact with the plate; adjust the balance; start a new run.", 120, False,
        ),
        AlarmDefinition(
            AlarmName.BALANCE_DRIFT, _C, "draught, temperature, touch or a failing balance",
            "weights cannot be trusted", "Remove the cause; repeat the daily check; start a new run.", 120, False,
        ),
        AlarmDefinition(
            AlarmName.MASS_OUT_OF_TOLERANCE, _C, "flow, density or path differs from what was validated",
            "the unit is rejected", "Take the unit off; find the cause before a new run.", 300, False,
        ),
        AlarmDefinition(
            AlarmName.INK_IDENTITY, _C, "dried-out, concentrated or wrong ink, or air in it",
            "the unit is rejected; its mass says nothing of its content", "Hold the cartridge; have its ink identified and assayed.",
            300, False,
        ),
        AlarmDefinition(
            AlarmName.CORRECTION_LIMIT, _H, "flow further from what was validated than the recipe may correct, or no proved unit in time",
            "no further unit is printed", "Check nozzle, drive and cartridge; start a new run.", 300, False,
        ),
        AlarmDefinition(
            AlarmName.VOLUME_MISMATCH, _C, "the printer executed something other than it was sent",
            "the unit is rejected", "Reset the printer; have the link checked; start a new run.", 300, False,
        ),
        AlarmDefinition(
            AlarmName.RECORD_FAILURE, _C, "the cell's store refuses entries (disk full, read-only, damaged)",
            "nothing may move without a record", "Make the store writable; restart the cell; review the interrupted run.", 60, True,
        ),
        AlarmDefinition(
            AlarmName.GUARD_OPEN, _C, "the guard was opened",
            "the unit in progress is lost", "Close the guard; clear the plate; start a new run.", 30, True,
        ),
        AlarmDefinition(
            AlarmName.OPERATOR_STOP, _H, "a person pressed stop",
            "the unit in progress is lost", "State the reason in the review; clear the plate; start a new run.", 300, True,
        ),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Alarm:
    """One raised alarm. `unit_n` is the unit it touched, None outside units."""

    key: str
    definition: AlarmDefinition
    message: str
    unit_n: int | None
    raised_at: int
    state: AlarmState = AlarmState.UNACKNOWLEDGED
    comment: str = ""


class AlarmRegister:
    """The alarms of one run, in order of raising.

    Concurrency: owned by the run machine.
    """

    def __init__(self, run: str) -> None:
        self._run = run
        self._alarms: dict[str, Alarm] = {}

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        return tuple(self._alarms.values())

    def raise_(self, name: AlarmName, message: str, unit_n: int | None, now: int) -> Alarm | None:
        """Raise an alarm; None where the same condition already stands for the same unit."""
        for alarm in self._alarms.values():
            if alarm.definition.name is name and alarm.unit_n == unit_n and alarm.state is not AlarmState.NORMAL:
                return None
        alarm = Alarm(f"{self._run}/A{len(self._alarms) + 1:02d}", DEFINITIONS[name], message, unit_n, now)
        self._alarms[alarm.key] = alarm
        return alarm

    def acknowledge(self, key: str, comment: str) -> Alarm | None:
        """Acknowledge an alarm; None where there is no such alarm or it is acknowledged already."""
        alarm = self._alarms.get(key)
        if alarm is None or alarm.state not in (AlarmState.UNACKNOWLEDGED, AlarmState.RETURNED_UNACKNOWLEDGED):
            return None
        state = AlarmState.ACKNOWLEDGED if alarm.state is AlarmState.UNACKNOWLEDGED else AlarmState.NORMAL
        self._alarms[key] = replace(alarm, state=state, comment=comment)
        return self._alarms[key]

    def touching(self, unit_n: int) -> tuple[Alarm, ...]:
        return tuple(a for a in self._alarms.values() if a.unit_n == unit_n)
