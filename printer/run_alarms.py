"""The alarms of a run at work: raised and cleared, acknowledged and shelved by people, suppressed by design; each change is drafted.

Early warnings are judged here; what stops or ends the run is decided by the run machine, which tells it here.
"""

from __future__ import annotations

from typing import Protocol

from printer.alarm_register import Alarm, AlarmRegister, Change
from printer.alarm_states import AlarmState
from printer.alarms import DEFINITIONS, AlarmName
from printer.devices import Devices
from printer.drafts import Drafts
from printer.early_warnings import Crossing, EarlyWarnings, Level
from printer.messages import CELL, ClockCompared, Command, Operation
from printer.plan import Limits, PlannedUnit, RunPlan
from printer.procedures import Procedures
from printer.supply import SupplyWatch
from printer.suppression import Situation, suppressed
from printer.unit_cycle import UnitCycle
from printer.unit_sequence import UnitSequence
from printer.watch import Watch

CLOCK_AWAY_MS, CLOCK_BACK_MS = 2000, 1000
LONGEST_SHELF_MIN = 480
"""A shift of eight hours; the end of the run ends a shelf too."""


class Run(Protocol):
    """What the alarms need of their run machine."""

    plan: RunPlan
    watch: Watch
    devices: Devices
    cycle: UnitCycle
    procedures: Procedures
    units: UnitSequence

    @property
    def drafts(self) -> Drafts: ...
    @property
    def active(self) -> bool: ...
    @property
    def over(self) -> bool: ...


class RunAlarms:
    """The register of one run and what moves it.

    Concurrency: owned by the run machine.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._warnings = EarlyWarnings(run.plan.limits)
        self._supply = SupplyWatch(run.plan.supplies)
        self._clock = Level(DEFINITIONS[AlarmName.CLOCK_STEPPED].setting)
        self._settled = False
        self.register = AlarmRegister(run.plan.run)

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        return self.register.alarms

    def raise_(self, name: AlarmName, message: str, unit_n: int | None, now: int) -> None:
        """Raise an alarm; where it touches a unit, a deviation is opened with it."""
        change = self.register.raise_(name, message, unit_n, now)
        self._draft(change)
        if change is not None and change.alarm.unit_n is not None:
            self._run.drafts.deviation(change.alarm)

    def clear(self, name: AlarmName) -> None:
        self._draft(self.register.clear(name))

    def is_suppressed(self, name: AlarmName, now: int) -> bool:
        """Return whether an alarm is suppressed by design now."""
        return suppressed(DEFINITIONS[name].suppression, self._situation(now))

    # People

    def refusal(self, command: Command) -> tuple[str, ...]:
        """Return why a command about one alarm would be refused now."""
        alarm = self.register.get(command.target)
        if alarm is None:
            return (f"there is no alarm {command.target} in this run",)
        return alarm_refusal(alarm, command)

    def command(self, command: Command, now: int) -> None:
        """Carry out what a person asks of one alarm; what would be refused changes nothing."""
        if self.refusal(command):
            return
        key, reason, change = command.target, command.reason, None
        match command.operation:
            case Operation.ACKNOWLEDGE:
                change = self.register.acknowledge(key, reason)
            case Operation.SHELVE:
                change = self.register.shelve(key, command.who.username, reason, now + command.minutes * 60_000_000)
            case Operation.UNSHELVE:
                change = self.register.unshelve(key)
            case _:
                change = self.register.reset(key)
        if change is not None:
            self._run.drafts.alarm(change, command.who, reason)

    # Ink and clock

    def prepared(self, now: int) -> None:
        """The run is prepared: the life of its ink counts from now."""
        self._supply.begin(now)

    def life_over(self, now: int) -> str | None:
        """Return why no further unit may be begun from this ink, None while it may be used."""
        return self._supply.life_over(now)

    def unit_printed(self, unit: PlannedUnit, now: int) -> None:
        """Count the ink of a unit or purge unit, whatever its verdict."""
        units = self._run.units
        self._crossed(self._supply.used(unit, units.left, units.dose_of(unit).factor, now), now)

    def clock_compared(self, compared: ClockCompared, now: int) -> None:
        away = abs(compared.offset_ms)
        if self._clock.judge(now, beyond=away >= CLOCK_AWAY_MS, inside=away < CLOCK_BACK_MS):
            text = f"UTC moved by {compared.step_ms} ms against the steady clock, {compared.offset_ms} ms since the run was created"
            self._crossed(Crossing(AlarmName.CLOCK_STEPPED, text if self._clock.stands else None), now)

    # Time

    def tick(self, now: int) -> None:
        """Judge the early warnings, end the shelves whose time is over, and follow the suppression of what stands."""
        run, warnings = self._run, self._warnings
        pressure, nozzle = run.watch.pressure.value, run.watch.nozzle.value
        if not run.procedures.hot:
            self._settled = False
        elif not self._settled:
            self._settled = warnings.near_set_point(nozzle)
        situation = self._situation(now)
        if self._in_force(AlarmName.PRESSURE_NEAR_LIMIT, situation):
            self._crossed(warnings.pressure(pressure, now), now)
        if self._in_force(AlarmName.NOZZLE_NEAR_LIMIT, situation):
            self._crossed(warnings.nozzle(nozzle, now), now)
        self._crossed(warnings.weighing(run.cycle.weighing_us(now), now), now)
        if self._supply.due(now):
            self._crossed(self._supply.look(run.units.left, now), now)
        for alarm in self.register.alarms:
            if alarm.definition.is_warning and alarm.state is not AlarmState.NORMAL:
                self._follow(alarm, situation, now)

    def line_taken(self, now: int) -> None:
        self._crossed(self._warnings.line_taken(self._run.devices.link.resends, now), now)

    def unit_judged(self, unit: PlannedUnit, now: int) -> None:
        judgement = self._run.cycle.weighings.get(unit.n)
        if judgement is not None:
            self._crossed(self._warnings.unit(unit.n, unit.criteria, judgement, now, unit.head), now)

    def use(self, limits: Limits) -> None:
        """Another head is in use: warn by its limits."""
        self._warnings.use(limits)

    def end(self) -> None:
        """The run has ended: nothing stays on the shelf."""
        for alarm in self.register.alarms:
            if alarm.state is AlarmState.SHELVED:
                self._draft(self.register.unshelve(alarm.key), "the run has ended")

    def _follow(self, alarm: Alarm, situation: Situation, now: int) -> None:
        if alarm.shelved_until is not None and now >= alarm.shelved_until:
            self._draft(self.register.unshelve(alarm.key), "its time on the shelf is over")
        elif suppressed(alarm.definition.suppression, situation):
            self._draft(self.register.suppress(alarm.key))
        else:
            self._draft(self.register.unsuppress(alarm.key))

    def _in_force(self, name: AlarmName, situation: Situation) -> bool:
        if suppressed(DEFINITIONS[name].suppression, situation):
            self._warnings.pause(name)
            return False
        return True

    def _crossed(self, crossing: Crossing | None, now: int) -> None:
        if crossing is None:
            return
        if crossing.message is None:
            self.clear(crossing.name)
        else:
            self.raise_(crossing.name, crossing.message, None, now)

    def _situation(self, now: int) -> Situation:
        run = self._run
        since = run.watch.extruding_since
        return Situation(
            active=run.active,
            hot=run.procedures.hot,
            settled=self._settled,
            moving=run.cycle.moving,
            extruding_us=None if since is None else now - since,
            column_us=run.watch.limits.pressure_low_delay_us,
        )

    def _draft(self, change: Change | None, reason: str = "") -> None:
        if change is not None:
            self._run.drafts.alarm(change, CELL, reason)


def alarm_refusal(alarm: Alarm, command: Command) -> tuple[str, ...]:
    """Return why a person's command about an alarm that is as it is would be refused."""
    match command.operation:
        case Operation.SHELVE:
            return _shelving(alarm, command)
        case Operation.UNSHELVE if alarm.state is not AlarmState.SHELVED:
            return ("the alarm is not shelved",)
        case Operation.RESET if alarm.state is not AlarmState.LATCHED_ACKNOWLEDGED:
            return (f"the alarm is {alarm.state}: only one that is acknowledged and whose condition has gone is reset",)
        case _:
            return ()


def _shelving(alarm: Alarm, command: Command) -> tuple[str, ...]:
    reasons = []
    if not alarm.definition.shelving_permitted:
        reasons.append(f"{alarm.definition.name} may not be shelved: only an early warning that does not latch may")
    if alarm.state is AlarmState.SHELVED:
        reasons.append("the alarm is shelved already")
    if not command.reason.strip():
        reasons.append("a shelf needs a reason")
    if not 1 <= command.minutes <= LONGEST_SHELF_MIN:
        reasons.append(f"an alarm is shelved for 1 to {LONGEST_SHELF_MIN} minutes")
    return tuple(reasons)
