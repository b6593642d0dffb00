"""One daily check as the cell carries it out: the procedure, the balance's driver, the person, and the entries of it.

The check begins when its beginning is on record, and it always ends with an entry: passed, not passed, or abandoned. Pure:
bytes, confirmations and ticks in; bytes to send and drafts out. Times in µs of process time.
"""

from __future__ import annotations

from audit.canonical import JsonObject, JsonValue
from audit.events import Actor, EntryDraft, EventKind, Subject
from audit.quantities import Milligram
from firmware_bridge.balance import BalanceDriver
from printer.daily_check import CheckPlan, CheckRequest, CheckStep, DailyCheck
from printer.errors import CellRefused
from printer.messages import CELL

LEFT_ALONE_US = 3_600_000_000
"""A check that nobody goes on with for an hour of process time is abandoned: it must not hold the cell for ever."""


class CheckSession:
    """Lifetime: one check. Concurrency: owned by the controller thread."""

    def __init__(self, plan: CheckPlan, driver: BalanceDriver, who: Actor, *, device: str, register: str, day: str) -> None:
        self.check = DailyCheck(plan)
        self.who = who
        self.begun = False
        self.closed_by: Actor | None = None
        self._driver = driver
        self._device = device
        self._register = register
        self._day = day
        self._touched = 0

    @property
    def ended(self) -> bool:
        return self.check.result is not None

    def begin(self, now: int) -> bytes:
        """The beginning is on record: ask the balance who it is. Returns bytes for the balance, as every input does."""
        self.begun = True
        self._touched = now
        return self._go_on(now)

    def receive(self, data: bytes, now: int) -> bytes:
        if not self.begun or self.ended:
            return b""
        self._driver.receive(data, now)
        return self._go_on(now)

    def tick(self, now: int) -> bytes:
        if not self.begun or self.ended:
            return b""
        if now - self._touched > LEFT_ALONE_US:
            self.check.abandon("nobody went on with it")
            return b""
        self._driver.tick(now)
        return self._go_on(now)

    def confirm(self, who: Actor, step: str, now: int) -> bytes:
        """The person has done what the instruction of this step says. Raises CellRefused."""
        self.refuse_to_confirm(who)
        if step != self.check.step.value or self.ended or not self.check.confirm():
            raise CellRefused([f"step {step!r} does not wait for a confirmation; the check is at {self.check.step.value!r}"])
        self._touched = now
        return self._go_on(now)

    def refuse_to_confirm(self, who: Actor | None) -> None:
        """Raise CellRefused where this person may not go on with the check: another began it."""
        if who is not None and who.username != self.who.username:
            raise CellRefused([f"the check was begun by {self.who.name}"], remedy="Let that person go on, or abandon the check.")

    def abandon(self, reason: str, who: Actor | None = None) -> None:
        """End the check; `who` is the person who gave it up, None where the cell itself must."""
        if not self.ended:
            self.closed_by = who
            self.check.abandon(reason)

    def _go_on(self, now: int) -> bytes:
        """Carry events to the procedure and its requests to the driver, as long as there are any."""
        while True:
            while (event := self._driver.next_event()) is not None:
                self.check.event(event)
            request = self.check.take_request()
            if request is None:
                return self._driver.bytes_to_send()
            if request is CheckRequest.IDENTIFY:
                self._driver.identify(now)
            else:
                self._driver.request_weight(now)

    def beginning(self) -> EntryDraft:
        plan = self.check.plan
        new: JsonObject = {
            "status": "under way",
            "check": "daily check",
            "day": self._day,
            "by": self.who.name,
            "passed": False,
            "register": self._register,
            "weight_id": plan.weight.identification,
        }
        return self._draft(EventKind.EQUIPMENT_CHECK_BEGUN, new, self.who)

    def completion(self, day: str) -> EntryDraft:
        """Return the record of the ended check: readings, raw bytes, deviations, limits and verdict."""
        result = self.check.result
        if result is None:
            raise ValueError("the check has not ended")
        new: JsonObject = {
            **result.record(self.check.plan),
            "status": "closed",
            "day": day,
            "by": self.who.name,
            "register": self._register,
        }
        return self._draft(EventKind.EQUIPMENT_CHECK_COMPLETED, new, self.closed_by or self.who)

    def _draft(self, kind: EventKind, new: JsonObject, who: Actor) -> EntryDraft:
        return EntryDraft(kind, Subject("balance", self.check.plan.balance_serial), new, who, self._device)

    def view(self) -> JsonObject:
        """Return what a page shows: the step, the instruction, the readings so far, and the verdict once there is one."""
        check, plan, result = self.check, self.check.plan, self.check.result
        position = (
            None if check.step in (CheckStep.IDENTIFY, CheckStep.ENDED, CheckStep.EMPTY_BEFORE, CheckStep.EMPTY_AFTER) else check.step.value
        )
        return {
            "step": check.step.value,
            "number": list(CheckStep).index(check.step),
            "of": len(CheckStep) - 2,
            "instruction": check.instruction,
            "position": position,
            "weight": {"id": plan.weight.identification, "mass_mg": plan.weight.mass.text},
            "by": {"username": self.who.username, "name": self.who.name},
            "readings": [{"step": item.step.value, "value_mg": _shown(item.value)} for item in check.readings],
            "failures": list(check.failures),
            "passed": None if result is None else result.passed,
            "reasons": [] if result is None else list(result.reasons),
        }


def _shown(value: Milligram) -> str:
    """Return a mass for a page: without the zeros that come of a balance that shows grams, but with one decimal at least."""
    whole, _, decimals = value.text.partition(".")
    return f"{whole}.{decimals.rstrip('0') or '0'}"


def abandoned_at_restart(serial: str, state: JsonObject, device: str) -> EntryDraft:
    """Return the entry that closes a check which was under way when the process ended."""
    reasons: list[JsonValue] = ["abandoned: the cell process ended during the check"]
    new: JsonObject = {
        "status": "closed",
        "passed": False,
        "reasons": reasons,
        "day": state.get("day"),
        "readings": [],
        "failures": [],
        "deviations": None,
    }
    return EntryDraft(EventKind.EQUIPMENT_CHECK_COMPLETED, Subject("balance", serial), new, CELL, device)
