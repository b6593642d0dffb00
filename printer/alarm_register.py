"""The alarms of one run: every change of state of every alarm, and the same register read back from the trail.

An alarm is raised once per condition and unit; while it stands it is not raised again. Acknowledging says who saw it and
what they say to it; it never makes the condition go away. The first alarm that ends a run is marked as first out; those of
the same moment follow it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from audit.canonical import JsonValue
from printer.alarm_states import AlarmEvent, AlarmState, Facts, next_state
from printer.alarms import DEFINITIONS, AlarmDefinition, AlarmName

MOMENT_US = 1_000_000
"""Alarms within this time of the first one are taken for its consequences."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """One raised alarm. `unit_n` is the unit it touched, None outside units; times in µs of process time.

    `follows` is the key of the alarm that came first, for one that came in the same moment.
    """

    key: str
    definition: AlarmDefinition
    message: str
    unit_n: int | None
    raised_at: int
    state: AlarmState = AlarmState.UNACKNOWLEDGED
    comment: str = ""
    stands: bool = True
    seen: bool = False
    first_out: bool = False
    follows: str | None = None
    shelved_until: int | None = None
    shelved_by: str | None = None
    shelf_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One event that changed an alarm: what belongs into the trail. `alarm` is as it is after the event."""

    event: AlarmEvent
    alarm: Alarm


def moved(alarm: Alarm, event: AlarmEvent) -> Alarm:
    """Return an alarm after an event, before what else the event says of it."""
    stands = {AlarmEvent.RAISE: True, AlarmEvent.CLEAR: False}.get(event, alarm.stands)
    state = next_state(alarm.state, event, Facts(stands, alarm.definition.latched, alarm.seen))
    if event is AlarmEvent.ACKNOWLEDGE and state is not alarm.state:
        seen = True
    else:
        # What brings an alarm back before a person asks for a new acknowledgement.
        seen = alarm.seen and not (state is AlarmState.UNACKNOWLEDGED and state is not alarm.state)
    return replace(alarm, state=state, stands=stands, seen=seen)


class AlarmRegister:
    """The alarms of one run, in order of raising. Every method returns the change that it made, None where there is none.

    Concurrency: owned by the run machine.
    """

    def __init__(self, run: str, alarms: Iterable[Alarm] = ()) -> None:
        self._run = run
        self._alarms: dict[str, Alarm] = {alarm.key: alarm for alarm in alarms}

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        return tuple(self._alarms.values())

    def get(self, key: str) -> Alarm | None:
        return self._alarms.get(key)

    def standing(self, name: AlarmName, unit_n: int | None = None) -> Alarm | None:
        """Return the alarm of this name and unit that has not gone back to normal."""
        for alarm in self._alarms.values():
            if alarm.definition.name is name and alarm.unit_n == unit_n and alarm.state is not AlarmState.NORMAL:
                return alarm
        return None

    def raise_(self, name: AlarmName, message: str, unit_n: int | None, now: int) -> Change | None:
        """Raise an alarm; None where the same condition already stands for the same unit."""
        known = self.standing(name, unit_n)
        if known is not None:
            return None if known.stands else self._change(known, AlarmEvent.RAISE, message=message, raised_at=now)
        first_out, follows = self._order(name, now)
        key = f"{self._run}/A{len(self._alarms) + 1:02d}"
        alarm = Alarm(key, DEFINITIONS[name], message, unit_n, now, first_out=first_out, follows=follows)
        self._alarms[key] = alarm
        return Change(AlarmEvent.RAISE, alarm)

    def clear(self, name: AlarmName, unit_n: int | None = None) -> Change | None:
        """Note that a condition has gone."""
        known = self.standing(name, unit_n)
        return None if known is None else self._change(known, AlarmEvent.CLEAR)

    def acknowledge(self, key: str, comment: str) -> Change | None:
        alarm = self._alarms.get(key)
        return None if alarm is None else self._change(alarm, AlarmEvent.ACKNOWLEDGE, comment=comment)

    def reset(self, key: str) -> Change | None:
        """End a latched alarm that was acknowledged and whose condition has gone."""
        alarm = self._alarms.get(key)
        return None if alarm is None else self._change(alarm, AlarmEvent.RESET)

    def shelve(self, key: str, who: str, reason: str, until: int) -> Change | None:
        """Put an alarm away until `until`; None where its definition does not permit it or it is on the shelf."""
        alarm = self._alarms.get(key)
        if alarm is None or not alarm.definition.shelving_permitted:
            return None
        return self._change(alarm, AlarmEvent.SHELVE, shelved_until=until, shelved_by=who, shelf_reason=reason)

    def unshelve(self, key: str) -> Change | None:
        alarm = self._alarms.get(key)
        if alarm is None:
            return None
        return self._change(alarm, AlarmEvent.UNSHELVE, shelved_until=None, shelved_by=None, shelf_reason=None)

    def suppress(self, key: str) -> Change | None:
        alarm = self._alarms.get(key)
        return None if alarm is None else self._change(alarm, AlarmEvent.SUPPRESS)

    def unsuppress(self, key: str) -> Change | None:
        alarm = self._alarms.get(key)
        return None if alarm is None else self._change(alarm, AlarmEvent.UNSUPPRESS)

    def touching(self, unit_n: int) -> tuple[Alarm, ...]:
        return tuple(a for a in self._alarms.values() if a.unit_n == unit_n)

    def _change(
        self,
        alarm: Alarm,
        event: AlarmEvent,
        *,
        comment: str | None = None,
        message: str | None = None,
        raised_at: int | None = None,
        shelved_until: int | None = None,
        shelved_by: str | None = None,
        shelf_reason: str | None = None,
    ) -> Change | None:
        after = moved(alarm, event)
        if after == alarm:
            return None
        if event in (AlarmEvent.SHELVE, AlarmEvent.UNSHELVE):
            after = replace(after, shelved_until=shelved_until, shelved_by=shelved_by, shelf_reason=shelf_reason)
        after = replace(
            after,
            comment=after.comment if comment is None else comment,
            message=after.message if message is None else message,
            raised_at=after.raised_at if raised_at is None else raised_at,
        )
        self._alarms[alarm.key] = after
        return Change(event, after)

    def _order(self, name: AlarmName, now: int) -> tuple[bool, str | None]:
        """Return whether an alarm is the first that ends the run, and which one it follows."""
        if DEFINITIONS[name].is_warning:
            return False, None
        first = next((alarm for alarm in self._alarms.values() if alarm.first_out), None)
        if first is None:
            return True, None
        return False, first.key if now - first.raised_at <= MOMENT_US else None


def as_record(change: Change, run: str) -> dict[str, JsonValue]:
    """Return the fields of an alarm that its change leaves in the trail."""
    alarm, definition = change.alarm, change.alarm.definition
    new: dict[str, JsonValue] = {"state": alarm.state.value, "stands": alarm.stands, "acknowledged": alarm.seen}
    match change.event:
        case AlarmEvent.RAISE:
            new |= {
                "run": run,
                "name": definition.name.value,
                "priority": definition.priority.value,
                "class": definition.alarm_class.value,
                "unit_n": alarm.unit_n,
                "message": alarm.message,
                "cause": definition.cause,
                "consequence": definition.consequence,
                "action": definition.action,
                "respond_within_s": definition.respond_within_s,
                "raised_at_us": alarm.raised_at,
                "first_out": alarm.first_out,
                "follows": alarm.follows,
            }
        case AlarmEvent.ACKNOWLEDGE:
            new["comment"] = alarm.comment
        case AlarmEvent.SHELVE | AlarmEvent.UNSHELVE:
            new |= {"shelved_until_us": alarm.shelved_until, "shelved_by": alarm.shelved_by, "shelf_reason": alarm.shelf_reason}
        case _:
            pass
    return new


def from_record(key: str, record: Mapping[str, JsonValue]) -> Alarm:
    """Return an alarm as its entries leave it; the inverse of `as_record`, entry after entry. Raises ValueError or KeyError."""
    unit_n, until, raised = record["unit_n"], record.get("shelved_until_us"), record["raised_at_us"]
    state = AlarmState(str(record["state"]))
    return Alarm(
        key=key,
        definition=DEFINITIONS[AlarmName(str(record["name"]))],
        message=str(record["message"]),
        unit_n=unit_n if isinstance(unit_n, int) else None,
        raised_at=raised if isinstance(raised, int) else 0,
        state=state,
        comment=str(record.get("comment") or ""),
        stands=record.get("stands") is not False,
        seen=record.get("acknowledged") is True,
        first_out=record.get("first_out") is True,
        follows=_text(record.get("follows")),
        shelved_until=until if isinstance(until, int) else None,
        shelved_by=_text(record.get("shelved_by")),
        shelf_reason=_text(record.get("shelf_reason")),
    )


def _text(value: JsonValue) -> str | None:
    return value if isinstance(value, str) else None
