"""The order of the units: purge units first, then the units, each printed as planned or compiled anew.

A unit is compiled anew with the flow factor that its forerunners call for, and proved again; no answer in time, a refusal or a
factor out of bounds ends the run in order.
"""

from __future__ import annotations

from typing import Protocol

from printer.alarms import AlarmName
from printer.dose_control import DoseControl
from printer.drafts import Drafts
from printer.messages import Compile, RunEffect, UnitCompiled, UnitRefused
from printer.plan import PlannedUnit, RunPlan, e_area_of, recompiled

_COMPILE_LIMIT_US = 60_000_000


class Run(Protocol):
    """What the sequence needs of its run machine."""

    plan: RunPlan

    @property
    def drafts(self) -> Drafts: ...
    def emit(self, effect: RunEffect) -> None: ...
    def await_compiled(self) -> None: ...
    def life_over(self, now: int) -> str | None: ...
    def print_unit(self, unit: PlannedUnit, now: int) -> None: ...
    def refuse_units(self, name: AlarmName, reason: str, now: int) -> None: ...


class UnitSequence:
    """The units of a run in their order.

    Concurrency: owned by the run machine.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self.purged = 0
        self.done = 0
        second = run.plan.second
        self.doses = (DoseControl(run.plan.correction), *([] if second is None else [DoseControl(second.correction)]))
        self._asked_until: int | None = None

    @property
    def dose(self) -> DoseControl:
        """The correction of the first ink."""
        return self.doses[0]

    def dose_of(self, unit: PlannedUnit) -> DoseControl:
        """Return the correction of the ink that a unit, or a part of one, is printed from."""
        return self.doses[unit.head]

    @property
    def between_parts(self) -> bool:
        """Whether the next thing to be printed belongs to the unit that the last one belongs to."""
        return not self.calibrating and not self.exhausted and self._next.part > 1

    @property
    def exhausted(self) -> bool:
        return self.done == len(self._run.plan.units)

    @property
    def calibrating(self) -> bool:
        """Whether what is printed now, or next, is a purge unit."""
        return self.purged < len(self._run.plan.purges)

    def judged(self) -> None:
        """The purge unit, or the unit, in progress has its verdict."""
        if self.calibrating:
            self.purged += 1
        else:
            self.done += 1

    def bound_reason(self) -> str | None:
        """Return why the next unit may not be corrected as it would have to be, or None."""
        if self.exhausted:
            return None
        return self.dose_of(self._next).bound_reason(first=self.done <= self._next.head)

    @property
    def _next(self) -> PlannedUnit:
        return self._run.plan.purges[self.purged] if self.calibrating else self._run.plan.units[self.done]

    @property
    def left(self) -> tuple[PlannedUnit, ...]:
        """Return the purge units and units, as planned, that have no verdict yet."""
        return self._run.plan.purges[self.purged :] + self._run.plan.units[self.done :]

    def begin(self, now: int) -> None:
        """Begin the next unit as planned, or ask for it to be compiled anew with the flow factor that its forerunners call for.

        No unit is begun from ink that may no longer be used.
        """
        if (over := self._run.life_over(now)) is not None:
            self._run.refuse_units(AlarmName.LIFE_OVER, over, now)
            return
        unit = self._next
        factor = self.dose_of(unit).factor
        if factor == 1:
            self._run.print_unit(unit, now)
            return
        self._asked_until = now + _COMPILE_LIMIT_US
        self._run.emit(Compile(unit.n, factor, unit.purge, unit.part))
        self._run.await_compiled()

    def tick(self, now: int) -> None:
        if self._asked_until is not None and now >= self._asked_until:
            self._refuse("the next unit was not compiled in time", now)

    def compiled(self, compiled: UnitCompiled, now: int) -> None:
        """Take a unit that was compiled anew, if it is the one that was asked for."""
        if self._asked_until is None:
            return
        planned = self._next
        if (compiled.n, compiled.purge, compiled.part) != (planned.n, planned.purge, planned.part):
            return
        if compiled.factor != self.dose_of(planned).factor:
            self._refuse(f"{planned.name} was compiled with another flow factor", now)
            return
        try:
            unit = recompiled(planned, compiled, e_area_of(self._run.plan, planned))
        except ValueError as error:
            self._refuse(str(error), now)
            return
        self._asked_until = None
        self._run.drafts.corrected(compiled, planned, self.dose_of(planned))
        self._run.print_unit(unit, now)

    def refused(self, refused: UnitRefused, now: int) -> None:
        asked = self._next
        if self._asked_until is not None and (refused.n, refused.purge, refused.part) == (asked.n, asked.purge, asked.part):
            self._refuse(f"{self._next.name} could not be compiled: {refused.reason}", now)

    def forget(self) -> None:
        """The run ends: nothing is awaited."""
        self._asked_until = None

    def _refuse(self, reason: str, now: int) -> None:
        self._asked_until = None
        self._run.refuse_units(AlarmName.CORRECTION_LIMIT, reason, now)
