"""Weigh one unit on an external balance: entered by one person, entered again blind by a second, compared exactly.

The first value is in no answer until both are in and agree; entries that differ are both asked again. That the people are
known to the cell, and that the second signed the value, is judged at the cell's door; here they must be two.
Source: EU GMP annex 11 clause 6 (accuracy checks of critical data entered by hand). Pure.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum

from audit.canonical import JsonObject, JsonValue
from audit.events import Actor
from audit.quantities import EXACT, Milligram
from printer.messages import Command, EnteredWeight

MOST_ATTEMPTS = 3
_LONGEST_TEXT = 20


@dataclass(frozen=True, slots=True)
class ExternalBalance:
    """The balance as the signed register names it. `timeout_us` is the recipe's longest wait for a weight."""

    asset: str
    model: str
    serial: str
    certificate: str
    readability: Milligram
    expanded_uncertainty: Milligram
    removal: str
    timeout_us: int

    @property
    def decimals(self) -> int:
        """Digits after the point that the balance shows, in mg."""
        exponent = self.readability.value.as_tuple().exponent
        return max(0, -exponent) if isinstance(exponent, int) else 0


class Outcome(StrEnum):
    """What an entry has led to."""

    WAITING = "the second entry is awaited"
    AGREED = "the two entries agree"
    DIFFER = "the two entries differ; both are asked again"
    GIVEN_UP = "the two entries differed too often"


@dataclass(slots=True)
class _Attempt:
    first: tuple[Actor, EnteredWeight, int]
    second: tuple[Actor, EnteredWeight, int] | None = None


class ExternalWeighing:
    """The entries for one unit.

    Concurrency: owned by the run machine.
    """

    def __init__(self, balance: ExternalBalance, unit: str, began: int) -> None:
        """`unit` is the identifier of the unit, `began` process time in µs."""
        self.balance = balance
        self.unit = unit
        self.deadline = began + balance.timeout_us
        self.mass: Milligram | None = None
        self._attempts: list[_Attempt] = []

    @property
    def awaited(self) -> int:
        """Which entry is awaited: 1, or 2 once the first is in."""
        return 2 if self._attempts and self._attempts[-1].second is None else 1

    @property
    def attempt(self) -> int:
        """The number of the attempt that the awaited entry belongs to."""
        return len(self._attempts) if self.awaited == 2 else len(self._attempts) + 1

    @property
    def first_by(self) -> str | None:
        """The person who made the first entry, while the second is awaited."""
        return self._attempts[-1].first[0].username if self.awaited == 2 else None

    def refusal(self, command: Command) -> tuple[str, ...]:
        """Return why an entry would be refused now."""
        entered = command.weight
        if entered is None or command.target != self.unit:
            return (f"{self.unit} waits to be weighed; enter its weight",)
        reasons = []
        if entered.serial != self.balance.serial:
            reasons.append(f"the serial number {entered.serial} is not that of the registered external balance, {self.balance.serial}")
        if (entered.entry, entered.attempt) != (self.awaited, self.attempt):
            reasons.append(f"entry {self.awaited} of attempt {self.attempt} is awaited")
        if self._value(entered) is None:
            reasons.append(f"enter the net mass in mg as the balance shows it, with {self.balance.decimals} decimals")
        if entered.entry == 2 and command.who.username == self.first_by:
            reasons.append(f"{command.who.name} made the first entry; a second person makes the second")
        if entered.entry == 2 and not entered.signature:
            reasons.append("the second entry comes without its signature")
        return tuple(reasons)

    def enter(self, command: Command, now: int) -> Outcome:
        """Take an entry that is not refused."""
        entered = command.weight
        if entered is None:
            return Outcome.WAITING
        if self.awaited == 1:
            self._attempts.append(_Attempt((command.who, entered, now)))
            return Outcome.WAITING
        attempt = self._attempts[-1]
        attempt.second = (command.who, entered, now)
        value = self._value(entered)
        if value is not None and value == self._value(attempt.first[1]):
            self.mass = value
            return Outcome.AGREED
        return Outcome.DIFFER if len(self._attempts) < MOST_ATTEMPTS else Outcome.GIVEN_UP

    def as_record(self) -> dict[str, JsonValue]:
        """Return what the end of the unit says of its weighing: the balance, and both entries of every attempt."""
        balance = self.balance
        weighing: JsonObject = {
            "balance_serial": balance.serial,
            "asset": balance.asset,
            "certificate": balance.certificate,
            "expanded_uncertainty_mg": balance.expanded_uncertainty.text,
            "attempts": [
                {"first": _entry(one.first), "second": None if one.second is None else _entry(one.second)} for one in self._attempts
            ],
        }
        return {"weighed_on": "external", "external_weighing": weighing}

    def as_view(self, now: int) -> JsonObject:
        """Return what people at the cell need to know; never a value that was entered."""
        balance = self.balance
        return {
            "unit": self.unit,
            "entry": self.awaited,
            "attempt": self.attempt,
            "first_by": self.first_by,
            "asset": balance.asset,
            "model": balance.model,
            "serial": balance.serial,
            "decimals": balance.decimals,
            "removal": balance.removal,
            "time_left_s": max(0, self.deadline - now) // 1_000_000,
        }

    def _value(self, entered: EnteredWeight) -> Milligram | None:
        """Return the mass, None where the text is not one that this balance shows."""
        text = entered.value
        if not 0 < len(text) <= _LONGEST_TEXT or not text.isascii() or not text.replace(".", "", 1).isdigit():
            return None
        try:
            value = Decimal(text)
        except InvalidOperation:
            return None
        shown = len(text.partition(".")[2]) == self.balance.decimals
        whole = shown and EXACT.remainder(value, self.balance.readability.value) == 0
        return Milligram(value) if whole and value > 0 else None


def _entry(entry: tuple[Actor, EnteredWeight, int]) -> JsonObject:
    who, entered, at = entry
    record: JsonObject = {
        "username": who.username,
        "name": who.name,
        "role": who.role,
        "value_mg": entered.value,
        "at_us": at,
    }
    return record | {"signature": json.loads(entered.signature)} if entered.signature else record
