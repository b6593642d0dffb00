"""Figures of the alarm system (ISA-18.2 clause 16, IEC 62682), computed from trail entries alone.

Counted is what an operator hears: an alarm that was raised and not shelved or suppressed. Times are those of the entries (UTC),
because the operator's time is real also where a demonstration's process time runs faster.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from audit.canonical import JsonObject, JsonValue
from audit.events import Entry
from printer.alarm_states import OPEN, AlarmEvent, AlarmState

WINDOW = timedelta(minutes=10)
FLOOD_BEGINS, FLOOD_ENDS = 10, 5
"""A flood begins with more than 10 alarms in 10 minutes and is over with fewer than 5, per operator."""

CHATTER_WINDOW, CHATTERS = timedelta(minutes=1), 3
STALE = timedelta(hours=24)
MOST_FREQUENT = 10


@dataclass(frozen=True, slots=True)
class AlarmEntry:
    """What one entry of the trail says of one alarm."""

    at: datetime
    alarm: str
    name: str
    priority: str
    event: AlarmEvent
    state: AlarmState
    respond_within_s: int | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures over a stretch of trail; times in s."""

    alarms: int
    most_in_10_min: int
    floods: int
    chattering: tuple[str, ...]
    stale: tuple[str, ...]
    acknowledged: int
    acknowledge_median_s: int | None
    acknowledge_longest_s: int | None
    acknowledged_late: int
    by_priority: tuple[tuple[str, int], ...]
    most_frequent: tuple[tuple[str, int], ...]

    def as_record(self) -> JsonObject:
        return {
            "alarms": self.alarms,
            "most_in_10_min": self.most_in_10_min,
            "floods": self.floods,
            "chattering": list[JsonValue](self.chattering),
            "stale": list[JsonValue](self.stale),
            "acknowledged": self.acknowledged,
            "acknowledge_median_s": self.acknowledge_median_s,
            "acknowledge_longest_s": self.acknowledge_longest_s,
            "acknowledged_late": self.acknowledged_late,
            "by_priority": dict[str, JsonValue](self.by_priority),
            "most_frequent": [{"name": name, "alarms": count} for name, count in self.most_frequent],
        }

    def text(self) -> str:
        """Return the figures in one line."""
        chatter = f"; chattering: {', '.join(self.chattering)}" if self.chattering else ""
        return f"{self.alarms} alarms, at most {self.most_in_10_min} in 10 minutes, {self.floods} floods{chatter}"


def events_of(entries: Iterable[Entry]) -> list[AlarmEntry]:
    """Read alarm entries in their order; what does not concern an alarm that was raised among them is passed over."""
    raised: dict[str, Entry] = {}
    found = []
    for entry in entries:
        head, _, action = entry.kind.rpartition(".")
        if head != "alarm.condition":
            continue
        event, key = AlarmEvent(action), entry.subject.id
        if event is AlarmEvent.RAISE:
            raised[key] = entry
        if (first := raised.get(key)) is None:
            continue
        within = first.new.get("respond_within_s")
        found.append(
            AlarmEntry(
                at=datetime.fromisoformat(entry.at),
                alarm=key,
                name=str(first.new.get("name")),
                priority=str(first.new.get("priority")),
                event=event,
                state=AlarmState(str(entry.new.get("state"))),
                respond_within_s=within if isinstance(within, int) else None,
            )
        )
    return found


def figures(entries: Sequence[AlarmEntry], now: str) -> Figures:
    """Return the figures over entries in the order of the trail; `now` (RFC 3339, UTC) is when what is stale is judged."""
    heard = [entry for entry in entries if _is_heard(entry)]
    most, floods = _rates([entry.at for entry in heard])
    waits = _waits(entries)
    times = [seconds for seconds, _ in waits]
    return Figures(
        alarms=len(heard),
        most_in_10_min=most,
        floods=floods,
        chattering=_chattering(heard),
        stale=_stale(entries, datetime.fromisoformat(now)),
        acknowledged=len(waits),
        acknowledge_median_s=int(median(times)) if times else None,
        acknowledge_longest_s=max(times, default=None),
        acknowledged_late=sum(1 for _, late in waits if late),
        by_priority=tuple(sorted(Counter(entry.priority for entry in heard).items())),
        most_frequent=tuple(Counter(entry.name for entry in heard).most_common(MOST_FREQUENT)),
    )


def _is_heard(entry: AlarmEntry) -> bool:
    return entry.event in (AlarmEvent.RAISE, AlarmEvent.UNSHELVE) and entry.state is AlarmState.UNACKNOWLEDGED


def _rates(times: Sequence[datetime]) -> tuple[int, int]:
    """Return the most alarms in any 10 minutes, and how many floods began."""
    most = floods = first = 0
    flooding = False
    for last, at in enumerate(times):
        while at - times[first] >= WINDOW:
            first += 1
            if last - first < FLOOD_ENDS:
                flooding = False
        inside = last - first + 1
        most = max(most, inside)
        if inside > FLOOD_BEGINS and not flooding:
            floods, flooding = floods + 1, True
    return most, floods


def _chattering(heard: Sequence[AlarmEntry]) -> tuple[str, ...]:
    """Return the names of the alarms that were raised three or more times within a minute."""
    times: dict[str, list[datetime]] = {}
    for entry in heard:
        times.setdefault(entry.name, []).append(entry.at)
    step = CHATTERS - 1
    return tuple(sorted(name for name, at in times.items() if any(b - a <= CHATTER_WINDOW for a, b in zip(at, at[step:], strict=False))))


def _waits(entries: Sequence[AlarmEntry]) -> list[tuple[int, bool]]:
    """Return how long each alarm waited for its acknowledgement, and whether that was longer than its time to respond."""
    raised: dict[str, datetime] = {}
    waits = []
    for entry in entries:
        if _is_heard(entry):
            raised[entry.alarm] = entry.at
        elif entry.event is AlarmEvent.ACKNOWLEDGE and entry.alarm in raised:
            seconds = int((entry.at - raised.pop(entry.alarm)).total_seconds())
            waits.append((seconds, entry.respond_within_s is not None and seconds > entry.respond_within_s))
    return waits


def _stale(entries: Sequence[AlarmEntry], now: datetime) -> tuple[str, ...]:
    """Return the alarms that nobody had acknowledged a day after they were raised."""
    last: dict[str, AlarmEntry] = {}
    since: dict[str, datetime] = {}
    for entry in entries:
        last[entry.alarm] = entry
        if _is_heard(entry):
            since[entry.alarm] = entry.at
    return tuple(key for key, entry in last.items() if entry.state in OPEN and now - since.get(key, now) > STALE)
