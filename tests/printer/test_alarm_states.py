"""The table of alarm states, the register, and the register read back from its entries."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.canonical import JsonValue
from audit.events import EventKind
from printer.alarm_register import AlarmRegister, Change, as_record, from_record
from printer.alarm_states import OPEN, TABLE, AlarmEvent, AlarmState, Facts, mermaid, next_state
from printer.alarms import DEFINITIONS, AlarmClass, AlarmName, Priority, Suppression
from printer.suppression import Situation, suppressed
from recipes.model import AlarmLimits

WARNINGS = [name for name, definition in DEFINITIONS.items() if definition.is_warning]
STOPPING = [name for name in DEFINITIONS if name not in WARNINGS]
FACTS = [Facts(*bits) for bits in product((False, True), repeat=3)]


def test_the_table_is_total() -> None:
    assert set(TABLE) == set(AlarmState)
    for state in AlarmState:
        assert set(TABLE[state]) == set(AlarmEvent)
        for event, facts in product(AlarmEvent, FACTS):
            assert next_state(state, event, facts) in AlarmState


def test_every_event_has_its_kind_in_the_trail() -> None:
    kinds = {kind for kind in EventKind if kind.startswith("alarm.condition.")}
    assert kinds == {f"alarm.condition.{event}" for event in AlarmEvent}


@pytest.mark.parametrize("facts", FACTS)
def test_nothing_but_a_person_ends_the_need_to_acknowledge(facts: Facts) -> None:
    """Neither a condition that goes away nor a reset takes an alarm from an open state to one that nobody has to look at."""
    for state, event in product(OPEN, (AlarmEvent.RAISE, AlarmEvent.CLEAR, AlarmEvent.RESET, AlarmEvent.UNSHELVE, AlarmEvent.UNSUPPRESS)):
        assert next_state(state, event, facts) in OPEN


@pytest.mark.parametrize("facts", [facts for facts in FACTS if facts.latches])
def test_a_latched_alarm_is_left_by_reset_alone(facts: Facts) -> None:
    latched = {AlarmState.LATCHED_UNACKNOWLEDGED, AlarmState.LATCHED_ACKNOWLEDGED}
    for state, event in product(latched, AlarmEvent):
        after = next_state(state, event, facts)
        if (state, event) == (AlarmState.LATCHED_ACKNOWLEDGED, AlarmEvent.RESET):
            assert after is AlarmState.NORMAL
        elif event is AlarmEvent.RAISE:
            assert after is AlarmState.UNACKNOWLEDGED
        else:
            assert after in latched


def test_the_diagram_shows_every_state_and_every_move() -> None:
    text = mermaid()
    assert all(f" as {state.name}" in text for state in AlarmState)
    assert "ACKNOWLEDGED --> NORMAL: returned (not: the alarm latches)" in text
    assert "SUPPRESSED --> RETURNED_UNACKNOWLEDGED: unsuppressed (not: the condition stands, not: it was acknowledged)" in text


def test_every_alarm_is_rationalised_with_its_setting() -> None:
    for definition in DEFINITIONS.values():
        setting = definition.setting
        assert setting.set_point
        if isinstance(setting.delay, str):
            assert setting.delay in AlarmLimits.model_fields
        if definition.is_warning:
            assert 0 <= setting.back <= setting.level <= 100
            assert definition.priority is not Priority.CRITICAL
        else:
            assert definition.latched and not definition.shelving_permitted
        assert not (definition.shelving_permitted and definition.latched)
    assert not DEFINITIONS[AlarmName.MASS_TREND].shelving_permitted


@pytest.mark.parametrize("rule", Suppression)
def test_suppression_says_what_it_does(rule: Suppression) -> None:
    working = Situation(active=True, hot=True, settled=True, moving=False, extruding_us=6_000_000, column_us=6_000_000)
    assert not suppressed(rule, working)
    changes: dict[Suppression, tuple[dict[str, object], ...]] = {
        Suppression.NEVER: (),
        Suppression.AT_REST: ({"active": False},),
        Suppression.NOT_EXTRUDING: ({"active": False},),
        Suppression.COLUMN: ({"extruding_us": None}, {"extruding_us": 5_999_999}, {"active": False}),
        Suppression.NOT_HOT: ({"hot": False}, {"active": False}),
        Suppression.NOT_SETTLED: ({"settled": False}, {"active": False}),
        Suppression.AXES_MOVE: ({"moving": True}, {"active": False}),
    }
    for change in changes[rule]:
        assert suppressed(rule, working._replace(**change))


def rebuilt(changes: list[Change]) -> list[object]:
    """The register as its entries alone leave it: each entry's fields over those before it, as the store keeps a subject."""
    states: dict[str, dict[str, JsonValue]] = {}
    for change in changes:
        states.setdefault(change.alarm.key, {}).update(as_record(change, "R1"))
    return [from_record(key, state) for key, state in states.items()]


_ACTS = st.sampled_from(["raise", "clear", "acknowledge", "reset", "shelve", "unshelve", "suppress", "unsuppress"])


@given(
    st.lists(st.tuples(_ACTS, st.sampled_from([*WARNINGS, AlarmName.PRESSURE_HIGH, AlarmName.GUARD_OPEN]), st.integers(0, 5)), max_size=60)
)
def test_every_change_is_an_entry_and_the_entries_are_the_register(acts: list[tuple[str, AlarmName, int]]) -> None:
    register = AlarmRegister("R1")
    changes: list[Change] = []
    for at, (act, name, nth) in enumerate(acts):
        keys = [alarm.key for alarm in register.alarms]
        key = keys[nth % len(keys)] if keys else "R1/A01"
        before = register.alarms
        calls: dict[str, Callable[[], Change | None]] = {
            "raise": lambda name=name, at=at: register.raise_(name, f"seen at {at}", None, at),  # type: ignore[misc]
            "clear": lambda name=name: register.clear(name),  # type: ignore[misc]
            "acknowledge": lambda key=key, at=at: register.acknowledge(key, f"said at {at}"),  # type: ignore[misc]
            "reset": lambda key=key: register.reset(key),  # type: ignore[misc]
            "shelve": lambda key=key, at=at: register.shelve(key, "operator", "known", at + 3),  # type: ignore[misc]
            "unshelve": lambda key=key: register.unshelve(key),  # type: ignore[misc]
            "suppress": lambda key=key: register.suppress(key),  # type: ignore[misc]
            "unsuppress": lambda key=key: register.unsuppress(key),  # type: ignore[misc]
        }
        change = calls[act]()
        assert (change is None) is (register.alarms == before)
        if change is not None:
            changes.append(change)
            assert register.get(change.alarm.key) == change.alarm
        for alarm in register.alarms:
            if alarm.state is AlarmState.SHELVED:
                assert alarm.definition.alarm_class is AlarmClass.WARNING
                assert alarm.shelved_until is not None and alarm.shelved_by and alarm.shelf_reason
            else:
                assert alarm.shelved_until is None
    assert rebuilt(changes) == list(register.alarms)


@pytest.mark.parametrize("name", STOPPING)
def test_nothing_that_stops_or_judges_a_unit_can_be_shelved_or_suppressed(name: AlarmName) -> None:
    register = AlarmRegister("R1")
    raised = register.raise_(name, "seen", 3, 0)
    assert raised is not None
    assert register.shelve(raised.alarm.key, "operator", "in the way", 10) is None
    assert register.suppress(raised.alarm.key) is None


def test_the_first_of_a_moment_is_marked_and_the_others_follow_it() -> None:
    register = AlarmRegister("R1")
    for name, at in (
        (AlarmName.PRESSURE_NEAR_LIMIT, 0),
        (AlarmName.PRESSURE_HIGH, 5_000_000),
        (AlarmName.PRESSURE_DEVIATION, 5_000_000),
        (AlarmName.PRINTER_LOST, 7_000_000),
    ):
        register.raise_(name, "seen", None, at)
    assert [(a.first_out, a.follows) for a in register.alarms] == [(False, None), (True, None), (False, "R1/A02"), (False, None)]


def test_an_alarm_that_comes_back_asks_anew_and_a_shelf_ends_with_what_stands() -> None:
    register, name = AlarmRegister("R1"), AlarmName.LINK_RESENDS
    key = register.raise_(name, "once", None, 0).alarm.key  # type: ignore[union-attr]
    register.acknowledge(key, "seen")
    register.shelve(key, "operator", "known cable", 100)
    register.clear(name)
    assert register.raise_(name, "again", None, 50) is not None, "a condition behind a shelf is on record"
    assert register.get(key).state is AlarmState.SHELVED  # type: ignore[union-attr]
    shown = register.unshelve(key)
    assert shown is not None and shown.alarm.state is AlarmState.UNACKNOWLEDGED and not shown.alarm.seen
    register.clear(name)
    register.acknowledge(key, "seen again")
    assert register.get(key).state is AlarmState.NORMAL  # type: ignore[union-attr]
    assert register.raise_(name, "once more", None, 200).alarm.key == "R1/A02"  # type: ignore[union-attr]
