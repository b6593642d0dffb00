"""The search index: what it holds, and that a search by it finds what a look at every entry finds."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit import verify_half
from audit.clock import UtcReading
from audit.database import Connection
from audit.events import SYSTEM, Entry, EntryDraft, EventKind, Subject
from audit.reader import TrailReader
from audit.search_index import BLOCK, rows_of
from audit.store import TrailStore
from audit.verify import verify_store
from tests.audit.conftest import CLOCK, KEY, new_store, place_of
from tests.audit.engines import Engine
from tests.audit.test_verify import tamper

_KINDS = (EventKind.RUN_STATE_CHANGED, EventKind.RUN_RECORD_CREATED, EventKind.UNIT_WEIGHT_JUDGED, EventKind.ALARM_CONDITION_RAISED)
_SUBJECTS = tuple(Subject(type_, id_) for type_ in ("run", "unit", "un") for id_ in ("R1", "R1/1", "R", '"id":"R1"', "é"))


class WanderingClock:
    """Times in the order that a clock gives them which is set back now and then."""

    rate = CLOCK.rate

    def __init__(self) -> None:
        self._generator = random.Random(5)

    def now(self) -> int:
        return 0

    def utc(self) -> UtcReading:
        hour = self._generator.randrange(24)
        return UtcReading(f"2026-03-{1 + hour % 3:02}T{hour:02}:{self._generator.randrange(60):02}:00.000000Z", "UTC", "unknown")


@pytest.fixture(scope="module")
def long_trail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrailStore]:
    """A trail of three blocks and a tail, in which a subject is now common, now rare, and words of conditions stand in values too."""
    generator, path = random.Random(3), tmp_path_factory.mktemp("long") / "t.db"
    with TrailStore.create(path, origin=KEY.name, key=KEY, clock=WanderingClock(), software="t", demonstration=True) as store:
        store.append(
            *(
                EntryDraft(
                    generator.choice(_KINDS[: 2 + n // 300]),
                    generator.choice(_SUBJECTS[: 1 + n // 60]),
                    {"said": {"subject": {"id": "R1", "type": "unit"}, "kind": _KINDS[3].value}, "n": n},
                    SYSTEM,
                    "cell",
                )
                for n in range(800)
            )
        )
        store.append(*(EntryDraft(_KINDS[0], _SUBJECTS[n % 7], {"n": n}, SYSTEM, "cell") for n in range(40)))
        yield store


_TIMES = st.none() | st.builds("2026-03-0{}T{:02}:{:02}".format, st.integers(1, 3), st.integers(0, 23), st.integers(0, 59))
_NUMBERS = st.none() | st.integers(-2, 900) | st.sampled_from([0, 255, 256, 257, 511, 512, 768, 800, 801, 841])


@given(
    kind=st.none() | st.sampled_from([*(kind.value for kind in _KINDS), "run.", "r", "", "alarm.condition.raised.x", "un%t"]),
    type_=st.none() | st.sampled_from(["run", "unit", "un", "u", ""]),
    id_=st.none() | st.sampled_from(["R1", "R1/1", "R", '"id":"R1"', "é", "R1/"]),
    after=_NUMBERS,
    before=_NUMBERS,
    since=_TIMES,
    until=_TIMES,
    limit=st.integers(1, 900),
    newest_first=st.booleans(),
)
def test_a_search_finds_what_a_look_at_every_entry_finds(
    long_trail: TrailStore, kind: str | None, type_: str | None, id_: str | None, after: int | None, before: int | None,
    since: str | None, until: str | None, limit: int, newest_first: bool,
) -> None:  # fmt: skip
    def meets(entry: Entry) -> bool:
        return (
            (kind is None or entry.kind.startswith(kind))
            and (type_ is None or entry.subject.type == type_)
            and (id_ is None or entry.subject.id == id_)
            and (after is None or entry.seq > after)
            and (before is None or entry.seq < before)
            and (since is None or entry.at >= since)
            and (until is None or entry.at < until)
        )

    expected = [entry.seq for entry in long_trail.entries() if meets(entry)]
    found = long_trail.search(
        kind=kind, subject_type=type_, subject_id=id_, after_seq=after, before_seq=before, since=since, until=until,
        limit=limit, newest_first=newest_first,
    )  # fmt: skip
    assert [entry.seq for entry in found] == (expected[::-1] if newest_first else expected)[:limit]


def test_entries_of_a_block_that_share_a_term_share_a_row() -> None:
    one = (BLOCK - 1, "run.state.changed", "run", "R1", "2026-01-31T09:59:59.999999Z")
    other = (BLOCK, "run.state.changed", "run", "R1", "2026-01-31T10:00:00.000000Z")
    assert rows_of([one, one]) == [
        ("hour:2026-01-31T09", 0), ("id:R1", 0), ("kind:run.state.changed", 0), ("type:run", 0),
    ]  # fmt: skip
    assert len(rows_of([one, other])) == 8


@pytest.fixture
def three_blocks(engine: Engine) -> Any:
    place = engine.place("three")
    with new_store(place) as store:
        store.append(*(EntryDraft(_KINDS[n % 2], _SUBJECTS[n % 7], {"n": n}, SYSTEM, "cell") for n in range(3 * BLOCK - 40)))
        store.checkpoint()
        store.append(*(EntryDraft(_KINDS[2], _SUBJECTS[8], {"n": n}, SYSTEM, "cell") for n in range(20)))
        yield place_of(store)


@pytest.mark.parametrize("block", range(3))
@pytest.mark.parametrize("change", ["deleted", "added", "moved"])
def test_a_row_of_any_block_that_is_not_the_entries_own_is_named_by_one_process_and_by_two(
    engine: Engine, three_blocks: Any, monkeypatch: pytest.MonkeyPatch, block: int, change: str
) -> None:
    """The first half ends with a block; the last block still grows: the three are compared by three different hands."""
    monkeypatch.setattr(verify_half, "_WORTH_A_PROCESS", 5)
    assert verify_store(three_blocks, [KEY.verifier], workers=2) == verify_store(three_blocks, [KEY.verifier])

    def act(connection: Connection) -> None:
        if change == "deleted":
            connection.execute("DELETE FROM entry_index WHERE term = 'id:R1' AND block = ?", (block,))
        elif change == "added":
            # It is a term of the tail, which the index does not stand for yet.
            connection.execute("INSERT INTO entry_index VALUES ('kind:unit.weight.judged', ?)", (block,))
        else:
            connection.execute("UPDATE entry_index SET block = ? WHERE term = 'type:run' AND block = ?", (block + 7, block))

    report = tamper(engine, three_blocks, act)
    expected = {
        "deleted": [f"entry_index row id:R1/{block}"],
        "added": [f"entry_index row kind:unit.weight.judged/{block}"],
        "moved": [f"entry_index row type:run/{block}", f"entry_index row type:run/{block + 7}"],
    }[change]
    assert [finding.place for finding in report.findings] == expected
    assert verify_store(three_blocks, [KEY.verifier], workers=2) == report


def test_two_processes_walk_a_long_trail_without_a_second_look(three_blocks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both halves are used, while a writer appends and takes checkpoints between the two views of the store."""
    monkeypatch.setattr(verify_half, "_WORTH_A_PROCESS", 5)
    walks: list[object] = []
    whole = verify_half.walk_entries

    def counted(*arguments: Any, **named: Any) -> object:
        walks.append(arguments)
        return whole(*arguments, **named)

    monkeypatch.setattr("audit.verify.walk_entries", counted)
    assert verify_store(three_blocks, [KEY.verifier], workers=2).findings == ()
    assert len(walks) == 1


def test_a_reader_finds_what_was_written_since_its_last_search(tmp_path: Path) -> None:
    with new_store(tmp_path / "t.db") as store, TrailReader(tmp_path / "t.db") as reader:
        for n in range(BLOCK + 3):
            store.append(EntryDraft(_KINDS[0], Subject("run", f"R{n}"), {"n": n}, SYSTEM, "cell"))
            assert [entry.seq for entry in reader.search(subject_type="run", subject_id=f"R{n}")] == [n + 1]
