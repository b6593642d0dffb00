"""What is composed before it is written: an entry is in canonical form, or its draft is refused."""

from __future__ import annotations

import json
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from audit.canonical import canonical, parse_canonical
from audit.chain import GENESIS
from audit.clock import SystemClock, utc_now, utc_text
from audit.errors import EntryInvalid, VerificationError
from audit.events import SYSTEM, Actor, EntryDraft, EventKind, Subject
from audit.growth import Growth, Stamp, StoredObject
from audit.places import Place
from audit.store import TrailStore
from tests.audit.conftest import open_store, place_of
from tests.audit.engines import Engine


class Word(StrEnum):
    ONE = "one"


_KEYS = st.text(max_size=4) | st.sampled_from(["a", "é", Word.ONE, "\ud800"]) | st.integers(0, 3) | st.none()
_SINGLE = (
    st.text(st.characters(), max_size=6) | st.integers(-(2**54), 2**54) | st.booleans() | st.none()
    | st.sampled_from([0.0, 1.5, float("nan"), Decimal("1"), Decimal(0), b"x", b"", Word.ONE, "\ud800", (), ("a", 1.0), {1}, set()])
)  # fmt: skip
_VALUES = st.recursive(_SINGLE, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3), max_leaves=6)


@given(
    new=st.dictionaries(_KEYS, _VALUES, max_size=4),
    unit=st.just({}) | st.dictionaries(_KEYS, _SINGLE, max_size=2),
    reason=st.none() | st.sampled_from(["why", Word.ONE, 1.5, Decimal(1), b"x", "\ud800", (), []]),
    device=st.sampled_from(["cell-1", Word.ONE, 0.0, b""]),
)
def test_an_entry_is_in_canonical_form_or_refused(new: dict[Any, Any], unit: dict[Any, Any], reason: Any, device: Any) -> None:
    growth, stamp = Growth(0, GENESIS, GENESIS), Stamp(SystemClock(), True, "s")
    draft = EntryDraft(EventKind.RUN_STATE_CHANGED, Subject("run", "R1"), new, SYSTEM, device, reason=reason, unit=unit)
    try:
        expected = [canonical(value) for value in (new, unit, reason, device)]
    except EntryInvalid:
        with pytest.raises(EntryInvalid):
            growth.add(draft, lambda _: StoredObject(0, 0, GENESIS, {}), stamp)
        return
    growth.add(draft, lambda _: StoredObject(0, 0, GENESIS, {}), stamp)
    line = growth.entries[0].canonical
    body = json.loads(line)
    parse_canonical(line)
    assert rfc8785.dumps(body) == line
    assert [canonical(body[name]) for name in ("new", "unit", "reason", "device")] == expected
    assert growth.objects["run", "R1"].text.encode() == expected[0]


def test_who_acts_is_held_against_the_domain_as_well() -> None:
    growth, stamp = Growth(0, GENESIS, GENESIS), Stamp(SystemClock(), True, "s")
    actor = Actor("o", "O", 1.5)  # type: ignore[arg-type]
    with pytest.raises(EntryInvalid, match=r"role.*1\.5"):
        growth.add(
            EntryDraft(EventKind.RUN_STATE_CHANGED, Subject("run", "R1"), {}, actor, "d"), lambda _: StoredObject(0, 0, GENESIS, {}), stamp
        )


@pytest.mark.parametrize(
    ("text", "what"),
    [('{"n":1.5}', "not a value|floating"), ('{"n": 1}', "canonical form"), ("[]", "no object"), ("{", "JSON"), ('{"é":1}', "ASCII")],
)
def test_a_state_that_no_entry_can_have_led_to_stops_the_append(engine: Engine, store: TrailStore, text: str, what: str) -> None:
    """Otherwise the next entry would carry it on as its `old`."""
    subject = Subject("run", "R1")
    store.append(EntryDraft(EventKind.RUN_STATE_CHANGED, subject, {"n": 1}, SYSTEM, "cell"))
    place: Place = place_of(store)
    store.close()
    with engine.tampering(place) as connection:
        connection.execute("UPDATE objects SET state = ? WHERE id = 'R1'", (text,))
    with open_store(place) as again:
        size = again.size
        with pytest.raises(VerificationError, match=what):
            again.append(EntryDraft(EventKind.RUN_STATE_CHANGED, subject, {"n": 2}, SYSTEM, "cell"))
        assert again.size == size
        assert again.append(EntryDraft(EventKind.RUN_STATE_CHANGED, Subject("run", "R2"), {"n": 2}, SYSTEM, "cell"))[0].seq == size


def test_now_is_written_as_any_moment_is(monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import UTC, datetime, timedelta

    for microseconds in (0, 1, 999_999, 1_000_000, 1_793_491_199_999_999, 4_102_444_800_000_000):
        monkeypatch.setattr("time.time_ns", lambda at=microseconds: at * 1000 + 999)
        assert utc_now() == utc_text(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds))
