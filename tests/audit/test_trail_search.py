"""Searching a trail: every condition, and pages that give each entry once, in either direction, while more is written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.errors import LoginFailed
from audit.events import SYSTEM, Actor, Entry, EntryDraft, EventKind, Subject
from audit.identity import Identity, Role
from audit.store import TrailStore
from audit.trail_search import PRESETS, FetchedTrail, StoredTrail, TrailFilter, TrailSource, find_all, find_page, kind_matches
from tests.audit.conftest import CHEAP, CLOCK, PASSWORD, judged, new_store

PHARMACIST = Actor("pia", "Pia Pharmacist", "pharmacist/qualified_person")


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrailStore]:
    with new_store(tmp_path_factory.mktemp("search") / "t.db") as store:
        identity = Identity(store, CLOCK, cost=CHEAP)
        identity.create_person("olga", "Olga Operator", [Role.OPERATOR], PASSWORD, SYSTEM)
        with pytest.raises(LoginFailed):
            identity.authenticate("olga", "not her password")
        identity.authenticate("olga", PASSWORD)
        identity.close_session("olga")
        for n in range(12):
            store.append(judged(n))
        kind = EventKind.BATCH_EXCEPTION_RESOLVED
        new = {"cause": "Grüße: a bubble", "nested": {"deep": ["one", "NEEDLE two"]}}
        store.append(EntryDraft(kind, Subject("exception", "B1/x"), new, PHARMACIST, "ws", reason="An Air Bubble, Straße 5"))
        store.append(EntryDraft(EventKind.RUN_STATE_CHANGED, Subject("run", "R1"), {"state": "PRINTING"}, SYSTEM, "cell-1"))
        yield store


def sources(store: TrailStore) -> list[TrailSource]:
    lines = [line.decode() for line in store.lines()]
    return [StoredTrail(store), FetchedTrail(store.origin, store.size, lambda start, count: lines[start : start + count])]


def found(store: TrailStore, **asked: Any) -> list[Entry]:
    wanted = TrailFilter(**asked)
    stored, fetched = ([*find_all(source, wanted)] for source in sources(store))
    assert stored == fetched
    return stored


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ({"kinds": ("unit.weight.judged",)}, 12),
        ({"kinds": ("unit.weight",)}, 0),
        ({"kinds": ("unit.", "run.")}, 13),
        ({"object_type": "unit"}, 12),
        ({"object_type": "unit", "object_id": "R1/003"}, 1),
        ({"role": "operator", "object_type": "unit"}, 12),
        ({"role": "qualified_person"}, 1),
        ({"role": "qualified"}, 0),
        ({"device": "ws"}, 1),
        ({"reason": "air bubble"}, 1),
        ({"reason": "STRASSE"}, 1),
        ({"text": "needle"}, 1),
        ({"text": "grüsse"}, 1),
        ({"text": "467.2"}, 12),
        ({"text": "journal/unit.jsonl"}, 12),
        ({"person": "pharmacist"}, 1),
        ({"until": "2000-01-01T00:00:00.000000Z"}, 0),
        ({"since": "2000-01-01T00:00:00.000000Z", "object_type": "run"}, 1),
        ({"person": "pia", "reason": "bubble", "text": "needle", "device": "ws", "kinds": ("batch.",)}, 1),
        ({"person": "pia", "reason": "bubble", "device": "cell-1"}, 0),
    ],
)
def test_each_condition_and_all_together(trail: TrailStore, asked: dict[str, Any], count: int) -> None:
    assert len(found(trail, **asked)) == count


def test_the_access_log_holds_log_ins_log_outs_and_refusals(trail: TrailStore) -> None:
    kinds = [entry.kind for entry in found(trail, kinds=PRESETS["access"], person="olga")]
    assert kinds == ["person.session.refused", "person.session.opened", "person.session.closed"]


def test_a_person_is_found_as_who_was_acted_on(trail: TrailStore) -> None:
    """The refusal of a log-in is an entry of the system: it must be found under the name that was tried."""
    refused = [entry for entry in found(trail, person="olga") if entry.kind == "person.session.refused"]
    assert [entry.actor.username for entry in refused] == ["system"]


def test_the_steps_of_every_clock_are_found_under_one_name() -> None:
    stepped = [kind.value for kind in EventKind if kind.value.endswith(".clock.stepped")]
    assert len(stepped) == 2 and all(any(kind_matches(kind, wanted) for wanted in PRESETS["clock"]) for kind in stepped)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_asks_for_kinds_that_there_are(name: str) -> None:
    assert all(any(kind_matches(kind.value, wanted) for kind in EventKind) for wanted in PRESETS[name])


@given(limit=st.integers(1, 30), newest_first=st.booleans(), kind=st.sampled_from(["", "unit.", "person."]), at_most=st.integers(1, 40))
def test_pages_give_each_entry_once_in_order(trail: TrailStore, limit: int, newest_first: bool, kind: str, at_most: int) -> None:
    wanted = TrailFilter(kinds=(kind,) if kind else ())
    expected = [entry.seq for entry in trail.entries() if wanted.meets(entry)]
    for source in sources(trail):
        seen: list[int] = []
        cursor = None
        for _ in range(trail.size + 2):
            page = find_page(source, wanted, cursor=cursor, limit=limit, newest_first=newest_first, look_at_most=at_most)
            assert len(page.entries) <= limit
            seen += [entry.seq for entry in page.entries]
            cursor = page.cursor
            if cursor is None:
                break
        assert seen == (expected[::-1] if newest_first else expected)


def test_what_is_written_meanwhile_neither_moves_nor_doubles_a_page(tmp_path: Path) -> None:
    with new_store(tmp_path / "t.db") as store:
        store.append(*(judged(n) for n in range(9)))
        first = find_page(StoredTrail(store), TrailFilter(), limit=4)
        store.append(*(judged(n) for n in range(9, 15)))
        second = find_page(StoredTrail(store), TrailFilter(), limit=4, cursor=first.cursor)
        assert [entry.seq for entry in (*first.entries, *second.entries)] == [9, 8, 7, 6, 5, 4, 3, 2]


def test_a_rare_word_in_a_long_trail_takes_pages_of_bounded_work(tmp_path: Path) -> None:
    with new_store(tmp_path / "t.db") as store:
        store.append(*(judged(n) for n in range(1200)))
        page = find_page(StoredTrail(store), TrailFilter(text="R1/0001"), look_at_most=500)
        assert (page.entries, page.looked_at, page.cursor) == ((), 500, 701)
