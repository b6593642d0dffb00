"""Procedures outside units, one after the other: intent on record, lines sent and executed, completion on record.

`heat` ends only when the temperatures are reached, within the limit of the recipe.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from printer.devices import Devices
from printer.drafts import Drafts
from printer.plan import RunPlan
from printer.watch import Watch

PREPARATION = ("prepare", "heat", "home", "prime", "prime_2")
CLOSING = ("park", "heat_off")


class ProcedureStep(StrEnum):
    NONE = "none"
    INTENT = "intent recorded"
    ACTION = "procedure executed"
    TEMPERATURE = "temperature reached"


class Run(Protocol):
    """What procedures need of their run machine."""

    plan: RunPlan
    watch: Watch
    devices: Devices

    @property
    def drafts(self) -> Drafts: ...
    def await_procedure_record(self) -> None: ...
    def procedures_done(self, now: int) -> None: ...
    def heating_late(self, now: int) -> None: ...
    def wrong_head(self, wanted: int, now: int) -> None: ...


class Procedures:
    """The procedures that a run has still to go through.

    Concurrency: owned by the run machine.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._left: list[str] = []
        self._hot_until: int | None = None
        self.step = ProcedureStep.NONE
        self.hot = False

    def begin(self, names: Sequence[str], now: int) -> None:
        self._left = [name for name in names if name in self._run.plan.actions]
        self._next(now)

    def recorded(self, now: int) -> None:
        """The intent is on record: send the lines."""
        action = self._run.plan.actions[self._left[0]]
        self.step = ProcedureStep.ACTION
        self._run.devices.tool = None
        if action.lines:
            self._run.devices.submit(action.lines, f"ACTION {action.name}", now)
        else:
            self.drained(now)

    def drained(self, now: int) -> None:
        """Every line sent is executed."""
        if self.step is not ProcedureStep.ACTION:
            return
        head = self._run.plan.actions[self._left[0]].head
        if head is not None and self._run.devices.tool != head:
            self._run.wrong_head(head, now)
        elif self._left[0] == "heat":
            self.step = ProcedureStep.TEMPERATURE
            self._hot_until = now + self._run.plan.limits.heating_limit_us
        else:
            self._done(now)

    def tick(self, now: int) -> None:
        if self.step is not ProcedureStep.TEMPERATURE:
            return
        if self._run.watch.at_temperature():
            self.hot = True
            self._done(now)
        elif self._hot_until is not None and now >= self._hot_until:
            self._run.heating_late(now)

    def forget(self) -> None:
        """The run ends: nothing more is done."""
        self._left, self._hot_until, self.step = [], None, ProcedureStep.NONE

    def _next(self, now: int) -> None:
        if self._left:
            self.step = ProcedureStep.INTENT
            self._run.drafts.action_intended(self._run.plan.actions[self._left[0]])
            self._run.await_procedure_record()
        else:
            self.step = ProcedureStep.NONE
            self._run.procedures_done(now)

    def _done(self, now: int) -> None:
        self._hot_until = None
        self._run.devices.sent.finished()
        done = self._left.pop(0)
        if done == "heat_off":
            self.hot = False
        self._run.drafts.action_completed(self._run.plan.actions[done])
        self._next(now)
