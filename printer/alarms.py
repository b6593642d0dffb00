"""Alarms after ISA-18.2 / IEC 62682: the rationalised definitions (ISA-18.2 clause 9) and their settings (clause 10).

Three kinds of alarm. What protects a unit or the record stops at once; what a unit is judged by ends the run in order;
an early warning never stops anything: it gives a person the time to act before a limit would stop. A setting of the recipe
is named, not repeated. Out of service (ISA-18.2 state I) is no state here: a cell is maintained as a whole, and one with
an alarm that does not work prints nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Priority(StrEnum):
    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class AlarmClass(StrEnum):
    """What an alarm does to the run."""

    STOP = "stops at once"
    VERDICT = "ends the run in order"
    PERSON = "act of a person"
    WARNING = "early warning, never stops"


class Suppression(StrEnum):
    """When an alarm is suppressed by design (ISA-18.2 state H), in words; `printer.suppression` carries it out."""

    NEVER = "never"
    AT_REST = "before the start and after the end of the run, when nothing may move or be hot"
    COLUMN = "while nothing is extruded, and until extrusion has run for the recipe's pressure_low_delay: the column builds up"
    NOT_EXTRUDING = "readings taken while nothing is extruded are not judged"
    NOT_HOT = "before the set points were reached and once the heaters are told off"
    NOT_SETTLED = "before the nozzle has settled at its set point and once the heaters are told off"
    AXES_MOVE = "while the axes move: the balance is read only at rest"


class AlarmName(StrEnum):
    PRESSURE_HIGH = "pressure high"
    PRESSURE_LOW = "pressure low while extruding"
    PRESSURE_DEVIATION = "pressure departs from its expectation"
    PRESSURE_STUCK = "pressure sensor stuck"
    PRESSURE_STALE = "pressure sensor silent"
    PRESSURE_LOST = "pressure sensor lost"
    NOZZLE_TEMPERATURE = "nozzle temperature out of range"
    PLATE_TEMPERATURE = "plate temperature out of range"
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
    PRINT_TIME = "unit print time out of range"
    RECORD_FAILURE = "record cannot be written"
    GUARD_OPEN = "guard open"
    OPERATOR_STOP = "stopped by a person"
    PRESSURE_NEAR_LIMIT = "pressure near its limit"
    NOZZLE_NEAR_LIMIT = "nozzle temperature near its limit"
    MASS_TREND = "unit masses near a limit"
    LINK_RESENDS = "many lines sent again"
    BALANCE_SLOW = "balance settles slowly"
    INK_SHORT = "ink will not last for the batch"
    LIFE_ENDS = "ink may be used for less time than the run needs"
    LIFE_OVER = "ink may no longer be used"
    CLOCK_STEPPED = "clock was set"


@dataclass(frozen=True, slots=True)
class Setting:
    """Set point, deadband and delays of one alarm.

    `delay` and `off_delay_us`: how long the condition must last, or be gone, in µs; a `delay` of text is the recipe's value of
    that name. `level` and `back` are percent of what `set_point` names: raised at `level`, gone below `back` (the deadband
    lies between).
    """

    set_point: str
    delay: int | str = 0
    off_delay_us: int = 0
    level: int = 100
    back: int = 100

    @property
    def delay_us(self) -> int:
        """The delay that is stated here. Raises ValueError where it is the recipe's."""
        if isinstance(self.delay, str):
            raise ValueError(f"the delay is the recipe's {self.delay}")
        return self.delay


@dataclass(frozen=True, slots=True)
class AlarmDefinition:
    """The rationalisation of one alarm: why it exists and what the operator does within which time (in s)."""

    name: AlarmName
    priority: Priority
    cause: str
    consequence: str
    action: str
    respond_within_s: int
    alarm_class: AlarmClass
    setting: Setting
    suppression: Suppression
    latched: bool = True

    @property
    def stops_at_once(self) -> bool:
        return self.alarm_class in (AlarmClass.STOP, AlarmClass.PERSON)

    @property
    def is_warning(self) -> bool:
        return self.alarm_class is AlarmClass.WARNING

    @property
    def shelving_permitted(self) -> bool:
        """Only what never stops may be shelved, and nothing that waits for a reset."""
        return self.is_warning and not self.latched


_C, _H, _M, _L = Priority.CRITICAL, Priority.HIGH, Priority.MEDIUM, Priority.LOW
_EVENT = "the event itself"

DEFINITIONS: dict[AlarmName, AlarmDefinition] = {
    d.name: d
    for d in (
        AlarmDefinition(
            AlarmName.PRESSURE_HIGH, _C, "nozzle or cartridge clogged, ink too cold, or the wrong ink",
            "the unit is under-filled", "Leave the printer stopped; change the nozzle or the cartridge; start a new run.", 60,
            AlarmClass.STOP, Setting("pressure_high of the recipe", "pressure_high_delay"), Suppression.AT_REST,
        ),
        AlarmDefinition(
            AlarmName.PRESSURE_LOW, _C, "air in the cartridge, an empty cartridge or a leak",
            "the unit is under-filled", "Leave the printer stopped; purge or change the cartridge; start a new run.", 60,
            AlarmClass.STOP, Setting("pressure_low_while_extruding of the recipe", 500_000), Suppression.COLUMN,
        ),
        AlarmDefinition(
            AlarmName.PRESSURE_DEVIATION, _C, "a clog begins (high); air, an empty cartridge, a leak or a slipping drive (low)",
            "the unit will not hold its mass", "Leave the printer stopped; change nozzle or cartridge, check the drive; start a new run.",
            60,
            AlarmClass.STOP, Setting("10 % off the expectation learned in the run", 2_000_000), Suppression.NOT_EXTRUDING,
        ),
        AlarmDefinition(
            AlarmName.PRESSURE_STUCK, _C, "the pressure sensor or its hub has failed: the value never changes",
            "extrusion cannot be watched", "Change the sensor; check it in Equipment; start a new run.", 60,
            AlarmClass.STOP, Setting("one value in all readings", 3_000_000), Suppression.NOT_EXTRUDING,
        ),
        AlarmDefinition(
            AlarmName.PRESSURE_STALE, _C, "the pressure sensor sends nothing",
            "extrusion cannot be watched", "Check the sensor and its cable; start a new run.", 60,
            AlarmClass.STOP, Setting("no reading", "pressure_stale_after"), Suppression.AT_REST,
        ),
        AlarmDefinition(
            AlarmName.PRESSURE_LOST, _C, "the pressure sensor was unplugged or its port failed",
            "extrusion cannot be watched", "Plug the sensor in; check it in Equipment; start a new run.", 60,
            AlarmClass.STOP, Setting(_EVENT), Suppression.NEVER,
        ),
        AlarmDefinition(
            AlarmName.NOZZLE_TEMPERATURE, _C, "heater or thermistor fault, or draught",
            "ink outside its validated temperature", "Leave the printer stopped; have the heater checked; start a new run.", 60,
            AlarmClass.STOP, Setting("nozzle_temperature_band of the recipe about the set point", "temperature_delay"), Suppression.NOT_HOT,
        ),
        AlarmDefinition(
            AlarmName.PLATE_TEMPERATURE, _C, "plate heater or thermistor fault, or a draught over the plate",
            "units dry and hold as was not validated, and the uncertainty of the balance under the plate is not known",
            "Leave the printer stopped; have the plate's heater checked; start a new run.", 60,
            AlarmClass.STOP, Setting("plate_temperature_band of the recipe about the set point", "temperature_delay"), Suppression.NOT_HOT,
        ),
        AlarmDefinition(
            AlarmName.TEMPERATURE_STALE, _C, "the printer sends no temperature reports",
            "the ink's temperature is unknown", "Check the printer; start a new run.", 60,
            AlarmClass.STOP, Setting("no report", "temperature_stale_after"), Suppression.AT_REST,
        ),
        AlarmDefinition(
            AlarmName.HEATING_TIMEOUT, _H, "heater weak or unplugged",
            "the set point is not reached", "Have the heater checked; start a new run.", 300,
            AlarmClass.STOP, Setting("set points not reached", "heat_timeout"), Suppression.AT_REST,
        ),
        AlarmDefinition(
            AlarmName.PRINTER_LOST, _C, "cable pulled, printer switched off, or port failure",
            "the printer's state is unknown", "Switch the printer off at the mains; plug it in; start a new run.", 30,
            AlarmClass.STOP, Setting(_EVENT), Suppression.NEVER,
        ),
        AlarmDefinition(
            AlarmName.PRINTER_FAULT, _C, "the printer reported a fault, reset, or answered outside its protocol",
            "what was executed is not certain", "Reset the printer; start a new run.", 60,
            AlarmClass.STOP, Setting(_EVENT), Suppression.NEVER,
        ),
        AlarmDefinition(
            AlarmName.BALANCE_LOST, _C, "the balance was unplugged or its port failed",
            "units cannot be weighed", "Plug the balance in and check it; start a new run.", 60,
            AlarmClass.STOP, Setting(_EVENT), Suppression.NEVER,
        ),
        AlarmDefinition(
            AlarmName.BALANCE_FAULT, _C, "the balance gives no stable weight, is overloaded or reports an error",
            "the unit cannot be weighed", "Check draught and contact with the plate; adjust the balance; start a new run.", 120,
            AlarmClass.VERDICT,
            Setting("an error of the balance, or no stable weight within the recipe's timeout; while no unit is weighed, it stops at once"),
            Suppression.AXES_MOVE,
        ),
        AlarmDefinition(
            AlarmName.BALANCE_DRIFT, _C, "draught, temperature, touch or a failing balance",
            "weights cannot be trusted", "Remove the cause; repeat the daily check; start a new run.", 120,
            AlarmClass.VERDICT, Setting("drift_limit of the recipe"), Suppression.AXES_MOVE,
        ),
        AlarmDefinition(
            AlarmName.MASS_OUT_OF_TOLERANCE, _C, "flow, density or path differs from what was validated",
            "the unit is rejected", "Take the unit off; find the cause before a new run.", 300,
            AlarmClass.VERDICT, Setting("tolerance of the recipe with the uncertainty of the weighing as guard band"), Suppression.NEVER,
        ),
        AlarmDefinition(
            AlarmName.INK_IDENTITY, _C, "dried-out, concentrated or wrong ink, or air in it",
            "the unit is rejected; its mass says nothing of its content", "Hold the cartridge; have its ink identified and assayed.",
            300,
            AlarmClass.VERDICT, Setting("ink limit of the recipe with the uncertainty of the certificate"), Suppression.NEVER,
        ),
        AlarmDefinition(
            AlarmName.CORRECTION_LIMIT, _H, "flow further from what was validated than the recipe may correct, or no proved unit in time",
            "no further unit is printed", "Check nozzle, drive and cartridge; start a new run.", 300,
            AlarmClass.VERDICT, Setting("largest correction of the recipe"), Suppression.NEVER,
        ),
        AlarmDefinition(
            AlarmName.VOLUME_MISMATCH, _C, "the printer executed something other than it was sent",
            "the unit is rejected", "Reset the printer; have the link checked; start a new run.", 300,
            AlarmClass.VERDICT, Setting("resolution of the printer's totals"), Suppression.NEVER,
        ),
        AlarmDefinition(
            AlarmName.PRINT_TIME, _C, "the printer was busy, starved of lines, or moves faster or slower than was validated",
            "the unit is rejected: its ink rested, or was pushed at another rate",
            "Have the printer and its link checked; start a new run.", 300,
            AlarmClass.VERDICT, Setting("print_time_deviation of the recipe"), Suppression.NEVER,
        ),
        AlarmDefinition(
            AlarmName.RECORD_FAILURE, _C, "the cell's store refuses entries (disk full, read-only, damaged)",
            "nothing may move without a record", "Make the store writable; restart the cell; review the interrupted run.", 60,
            AlarmClass.STOP, Setting(_EVENT), Suppression.NEVER,
        ),
        AlarmDefinition(
            AlarmName.GUARD_OPEN, _C, "the guard was opened",
            "the unit in progress is lost", "Close the guard; clear the plate; start a new run.", 30,
            AlarmClass.STOP, Setting(_EVENT), Suppression.AT_REST,
        ),
        AlarmDefinition(
            AlarmName.OPERATOR_STOP, _H, "a person pressed stop",
            "the unit in progress is lost", "State the reason in the review; clear the plate; start a new run.", 300,
            AlarmClass.PERSON, Setting(_EVENT), Suppression.NEVER,
        ),
        AlarmDefinition(
            AlarmName.PRESSURE_NEAR_LIMIT, _M, "the nozzle begins to clog, or the ink is colder or thicker than it was",
            "pressure reaches its limit and the run stops", "Pause after this unit; look at nozzle and cartridge; resume or stop.", 300,
            AlarmClass.WARNING, Setting("pressure_high of the recipe", 2_000_000, 5_000_000, level=85, back=75), Suppression.COLUMN,
            latched=False,
        ),
        AlarmDefinition(
            AlarmName.NOZZLE_NEAR_LIMIT, _M, "draught, a weak heater, or a thermistor that comes loose",
            "the temperature leaves its range and the run stops", "Close the cell; look for draught; pause after this unit.", 300,
            AlarmClass.WARNING, Setting("nozzle_temperature_band of the recipe", 5_000_000, 10_000_000, level=80, back=60),
            Suppression.NOT_SETTLED, latched=False,
        ),
        AlarmDefinition(
            AlarmName.MASS_TREND, _H, "flow or density has drifted: two units one after the other are off to the same side",
            "the next units leave the tolerance", "Pause after this unit; find the cause; stop the run if it goes on.", 600,
            AlarmClass.WARNING, Setting("tolerance of the recipe, two units on the same side", level=50, back=50), Suppression.NEVER,
        ),
        AlarmDefinition(
            AlarmName.LINK_RESENDS, _L, "a bad cable, a hub, or interference beside the cable",
            "printing slows down; the link may be lost", "Note it; after the run change the cable or move it away from motors.", 1800,
            AlarmClass.WARNING, Setting("20 lines sent again per 1,000, over 500 lines", level=100, back=25), Suppression.AT_REST,
            latched=False,
        ),
        AlarmDefinition(
            AlarmName.BALANCE_SLOW, _M, "draught, vibration, or something that touches the plate",
            "no stable weight within the timeout: the unit cannot be weighed", "Keep still; remove draught and contact with the plate.", 30,
            AlarmClass.WARNING, Setting("timeout of the recipe's weighing", level=40, back=25), Suppression.AXES_MOVE, latched=False,
        ),
        AlarmDefinition(
            AlarmName.INK_SHORT, _M, "corrections take more ink than was planned, or the cartridge was hardly full enough",
            "the cartridge runs empty in a unit, which is lost",
            "Stop after the units that the ink allows; print the rest in a new run from another cartridge.", 600,
            AlarmClass.WARNING, Setting("ink left to give; the units that remain need, at the last flow factor", level=98, back=96),
            Suppression.NEVER, latched=False,
        ),
        AlarmDefinition(
            AlarmName.LIFE_ENDS, _M, "a pause or a late start: the in-use life of the cartridge or the expiry of the ink comes first",
            "no unit is begun once the ink may no longer be used",
            "Go on at once; else stop after this unit and print the rest in a new run from another cartridge.", 600,
            AlarmClass.WARNING, Setting("time that the units which remain need, of the time that the ink may be used"), Suppression.NEVER,
            latched=False,
        ),
        AlarmDefinition(
            AlarmName.LIFE_OVER, _H, "the last day of use of the cartridge or of its ink has ended in the run",
            "no further unit is printed", "Discard the cartridge; print the rest in a new run from another.", 600,
            AlarmClass.VERDICT, Setting("end of the last day of use, before each unit"), Suppression.NEVER,
        ),
        AlarmDefinition(
            AlarmName.CLOCK_STEPPED, _M, "the computer's clock was set or is not disciplined, or the computer slept",
            "times of the record do not follow each other, and dates may be judged by a wrong clock",
            "Compare the clock with a time source; have it disciplined; state in the review which times are meant.", 1800,
            AlarmClass.WARNING, Setting("2 s of UTC against the steady clock since the run was created; gone below 1 s"), Suppression.NEVER,
        ),
    )
}  # fmt: skip
