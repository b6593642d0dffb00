"""Figures of the alarm system, from entries alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from audit.canonical import canonical
from audit.clock import utc_text
from audit.events import Entry
from printer.alarm_figures import AlarmEntry, Figures, events_of, figures
from printer.alarm_states import AlarmEvent, AlarmState

START = datetime(2026, 11, 20, 8, tzinfo=UTC)
RAISE, ACK, CLEAR = AlarmEvent.RAISE, AlarmEvent.ACKNOWLEDGE, AlarmEvent.CLEAR


def raised(second: float, name: str = "pressure near its limit", alarm: str = "", priority: str = "medium") -> AlarmEntry:
    key = alarm or f"R1/A{second}"
    return AlarmEntry(START + timedelta(seconds=second), key, name, priority, RAISE, AlarmState.UNACKNOWLEDGED, 60)


def then(entry: AlarmEntry, second: float, event: AlarmEvent, state: AlarmState) -> AlarmEntry:
    return AlarmEntry(START + timedelta(seconds=second), entry.alarm, entry.name, entry.priority, event, state, 60)


def of(entries: list[AlarmEntry], hours: int = 1) -> Figures:
    return figures(entries, utc_text(START + timedelta(hours=hours)))


def test_ten_in_ten_minutes_are_no_flood_and_eleven_are_one() -> None:
    assert (of([raised(s * 59) for s in range(10)]).most_in_10_min, of([raised(s * 59) for s in range(10)]).floods) == (10, 0)
    eleven = of([raised(s * 59) for s in range(11)])
    assert (eleven.alarms, eleven.most_in_10_min, eleven.floods) == (11, 11, 1)
    assert of([raised(s * 60) for s in range(60)]).floods == 0, "one a minute is ten in any ten minutes"


def test_a_flood_lasts_until_fewer_than_five_are_left() -> None:
    burst = [raised(s) for s in range(12)]
    assert of([*burst, *(raised(300 + s) for s in range(12))]).floods == 1
    assert of([*burst, *(raised(3000 + s) for s in range(12))]).floods == 2


def test_chatter_is_three_of_one_alarm_in_a_minute() -> None:
    assert of([raised(0), raised(30), raised(60)]).chattering == ("pressure near its limit",)
    assert of([raised(0), raised(30), raised(61)]).chattering == ()
    assert of([raised(0, "a"), raised(1, "b"), raised(2, "c")]).chattering == ()


def test_time_to_acknowledge_and_who_was_late() -> None:
    first, second, third = raised(0, alarm="R1/A01"), raised(10, alarm="R1/A02"), raised(20, alarm="R1/A03")
    acknowledged = [then(first, 5, ACK, AlarmState.ACKNOWLEDGED), then(second, 20, ACK, AlarmState.ACKNOWLEDGED)]
    late = then(third, 120, ACK, AlarmState.ACKNOWLEDGED)
    found = of([first, second, third, *acknowledged, late])
    assert (found.acknowledged, found.acknowledge_median_s, found.acknowledge_longest_s, found.acknowledged_late) == (3, 10, 100, 1)


def test_stale_is_what_nobody_acknowledged_for_a_day() -> None:
    first, second = raised(0, alarm="R1/A01"), raised(0, alarm="R1/A02")
    entries = [first, second, then(first, 9, ACK, AlarmState.ACKNOWLEDGED), then(second, 9, CLEAR, AlarmState.RETURNED_UNACKNOWLEDGED)]
    assert of(entries, hours=24).stale == ()
    assert of(entries, hours=25).stale == ("R1/A02",)


def test_what_is_behind_a_shelf_is_not_heard() -> None:
    first = raised(0, alarm="R1/A01")
    hidden = then(first, 10, RAISE, AlarmState.SHELVED)
    shown = then(first, 20, AlarmEvent.UNSHELVE, AlarmState.UNACKNOWLEDGED)
    assert of([first, then(first, 5, AlarmEvent.SHELVE, AlarmState.SHELVED), hidden]).alarms == 1
    assert of([first, then(first, 5, AlarmEvent.SHELVE, AlarmState.SHELVED), hidden, shown]).alarms == 2


def test_entries_of_a_trail_are_read_and_no_others() -> None:
    def entry(seq: int, kind: str, new: dict[str, object]) -> Entry:
        body = {"seq": seq, "at": utc_text(START), "kind": kind, "subject": {"type": "alarm", "id": "R1/A01"}, "new": new}
        return Entry(canonical(json.loads(json.dumps(body))))

    fields = {"name": "pressure high", "priority": "critical", "state": "unacknowledged", "respond_within_s": 60}
    entries = [
        entry(0, "run.state.changed", {"state": "READY"}),
        entry(1, "alarm.condition.raised", fields),
        entry(2, "alarm.condition.acknowledged", {"state": "acknowledged"}),
    ]
    assert [(e.name, e.event, e.state) for e in events_of(entries)] == [
        ("pressure high", RAISE, AlarmState.UNACKNOWLEDGED),
        ("pressure high", ACK, AlarmState.ACKNOWLEDGED),
    ]
    record = of(events_of(entries)).as_record()
    assert (record["alarms"], record["by_priority"]) == (1, {"critical": 1})
    assert record["most_frequent"] == [{"name": "pressure high", "alarms": 1}]
    assert of([]).as_record()["acknowledge_median_s"] is None
