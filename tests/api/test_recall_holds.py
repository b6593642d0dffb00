"""What an open recall holds is what its own search would find."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.recall_holds import RecallHolds
from api.recall_search import RecallSearch
from audit.checkpoint import SigningKey
from audit.clock import UtcReading
from audit.events import SYSTEM, EntryDraft, EventKind, Subject
from audit.release.recall import search
from audit.release.trail_view import TrailView
from audit.store import TrailStore


@dataclass
class DayClock:
    """A clock that stands at an hour of one day."""

    hour: int = 0
    rate: Decimal = Decimal(1)

    def now(self) -> int:
        return self.hour * 3600 * 1_000_000

    def utc(self) -> UtcReading:
        return UtcReading(f"2026-03-01T{self.hour:02d}:00:00.000000Z", "UTC", "synchronised")


@dataclass
class Site:
    """A workstation's trail and that of one cell, at one clock, as a test writes them."""

    desk: TrailStore
    cell: TrailStore
    clock: DayClock
    count: int = 0
    opened: list[str] = field(default_factory=list)

    def add(self, store: TrailStore, kind: EventKind, type_: str, id_: str, new: dict[str, Any]) -> None:
        store.append(EntryDraft(kind, Subject(type_, id_), new, SYSTEM, "test"))

    def batch(self, facts: dict[str, str]) -> str:
        self.count += 1
        name = f"B{self.count:05d}"
        self.add(self.desk, EventKind.BATCH_RECORD_CREATED, "batch", name, {**facts, "status": "created"})
        return name

    def run(self, batch: str) -> None:
        """Print a unit of a batch, now."""
        run = f"{batch}-R1"
        self.add(self.desk, EventKind.BATCH_RUN_REQUESTED, "batch", batch, {"run": run, "status": "running"})
        self.add(self.cell, EventKind.RUN_RECORD_CREATED, "run", run, {"batch": batch})
        self.add(self.cell, EventKind.UNIT_PRINT_INTENDED, "unit", f"{run}/001", {"n": 1})
        size = {"status": "awaiting review", "cell_size": self.cell.size}
        self.add(self.desk, EventKind.BATCH_RUN_CLOSED, "batch", batch, size)

    def found(self, wanted: RecallSearch) -> list[str]:
        views = [TrailView(list(store.lines())) for store in (self.desk, self.cell)]
        return [batch.batch for batch in search(wanted.criteria(), views).batches]

    def open(self, wanted: RecallSearch) -> None:
        name = f"R{len(self.opened) + 1:05d}"
        new = {"status": "open", "criteria": wanted.criteria().as_record(), "batches": self.found(wanted), "found": {}}
        self.add(self.desk, EventKind.RECALL_RECORD_OPENED, "recall", name, new)
        self.opened.append(name)

    def close(self) -> None:
        self.add(self.desk, EventKind.RECALL_RECORD_CLOSED, "recall", self.opened[-1], {"status": "closed"})

    def held(self, batch: str) -> bool:
        return RecallHolds(self.desk).of_batch(batch) is not None


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder: Path = tmp_path_factory.mktemp("recalls")
    clock = DayClock()
    stores = [
        TrailStore.create(
            folder / f"{origin}.db", origin=origin, key=SigningKey.from_seed(origin, seed), clock=clock, software="test", demonstration=True
        )
        for origin, seed in (("desk.site", b"d" * 32), ("cell-1.site", b"c" * 32))
    ]
    site = Site(*stores, clock)
    for name in ("cell-1", "cell-2"):
        site.add(site.desk, EventKind.CELL_RECORD_ENROLLED, "cell", name, {"cell": name, "origin": f"{name}.site", "verifier_key": "k"})
    for lot, component in (("I-1", "RAW-1"), ("I-2", "RAW-2")):
        made = {"lot": lot, "preparation": {"components": [{"lot": "BASE"}, {"lot": component}]}}
        site.add(site.desk, EventKind.INK_LOT_PREPARED, "ink_lot", lot, made)
    yield site
    for store in stores:
        store.close()


FACTS = st.fixed_dictionaries(
    {
        "ink_lot": st.sampled_from(["I-1", "I-2", "I-3"]),
        "cartridge": st.sampled_from(["C-1", "C-2"]),
        "recipe": st.sampled_from(["a@1", "a@2"]),
        "cell": st.just("cell-1"),
        "machine": st.just("m-20@1"),
    },
    optional={"second_ink_lot": st.sampled_from(["I-1", "I-2"]), "second_cartridge": st.sampled_from(["C-1", "C-3"])},
)


def optional(*values: str) -> st.SearchStrategy[str | None]:
    return st.sampled_from([None, None, *values])


SEARCHES = st.builds(
    RecallSearch,
    ink_lot=optional("I-1", "RAW-1", "RAW-2", "BASE", "I-3"),
    cartridge=optional("C-1", "C-3"),
    recipe=optional("a", "a@1"),
    cell=optional("cell-1", "cell-1.site", "cell-2.site"),
    printer=optional("m-20", "m-20@1", "m-20@2"),
    since=optional("2026-03-01T09:00Z", "2026-03-01T10:00Z"),
    until=optional("2026-03-01T11:59Z", "2026-03-01T12:00Z", "2026-03-01T13:00Z"),
).filter(lambda wanted: bool(wanted.model_dump(exclude_none=True)))


@given(FACTS, SEARCHES)
def test_a_batch_is_held_from_the_start_exactly_where_the_search_would_find_it(
    place: Site, facts: dict[str, str], wanted: RecallSearch
) -> None:
    place.clock.hour = 12
    place.open(wanted)
    try:
        held = RecallHolds(place.desk).of_facts(dict(facts)) is not None
        batch = place.batch(facts)
        assert place.held(batch) is held
        place.run(batch)
        assert (batch in place.found(wanted)) is held and place.held(batch) is held
    finally:
        place.close()


def test_what_was_printed_before_the_time_of_a_recall_is_not_held_and_what_was_printed_in_it_stays_held(place: Site) -> None:
    facts = {"ink_lot": "I-1", "cartridge": "C-1", "recipe": "a@1", "cell": "cell-1", "machine": "m-20@1"}
    place.clock.hour = 8
    before, late = place.batch(facts), place.batch(facts)
    place.run(before)
    place.clock.hour = 12
    place.open(RecallSearch(recipe="a", since="2026-03-01T11:00Z", until="2026-03-01T14:00Z"))
    try:
        assert not place.held(before), "its search has judged it"
        place.clock.hour = 13
        inside = place.batch(facts)
        place.run(inside)
        place.run(late)
        place.clock.hour = 20
        after = place.batch(facts)
        assert [place.held(batch) for batch in (inside, late, after)] == [True, True, False]
        assert RecallHolds(place.desk).of_facts(dict(facts)) is None
    finally:
        place.close()
