"""Recall search against a plain list of what was made: whatever the trails hold is found, and nothing else is."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import InputInvalid
from api.recall_search import RecallSearch
from audit.canonical import canonical
from audit.chain import entry_digest
from audit.release.packs import SETTLED
from audit.release.recall import Criteria, progress, search
from audit.release.trail_view import TrailView


@dataclass
class Trail:
    """A trail as lines, made without a store."""

    origin: str
    lines: list[bytes] = field(default_factory=list)
    last: str = "0" * 64

    def __post_init__(self) -> None:
        self.add("site.store.created", "store", self.origin, {"origin": self.origin}, at="2026-01-01T00:00:00.000000Z")

    def add(self, kind: str, type_: str, id_: str, new: dict[str, Any], *, actor: str = "system", at: str) -> None:
        body = {
            "seq": len(self.lines), "prev": self.last, "at": at, "actor": actor, "name": actor, "role": "operator", "kind": kind,
            "subject": {"type": type_, "id": id_}, "old": {}, "new": new, "attachments": [], "demonstration": False,
        }  # fmt: skip
        line = canonical(body)
        self.last = entry_digest(line)
        self.lines.append(line)

    def view(self, size: int | None = None) -> TrailView:
        return TrailView(self.lines if size is None else self.lines[:size])


LOTS, CARTRIDGES, RECIPES, CELLS = ["L1", "L2", "L1-X"], ["C1", "C2"], ["a@1", "a@2", "b@1"], ["cell-1", "cell-2"]
MACHINES = {"cell-1": "m-20@1", "cell-2": "m-18@2"}
ORIGINS = {"cell-1": "cell-1.site", "cell-2": "cell-2.site"}


@dataclass(frozen=True)
class Unit:
    begun: str
    judged: str
    balance: str


@dataclass(frozen=True)
class Batch:
    """What was made: the list that the search is held against."""

    name: str
    lot: str
    second: str | None
    component: str
    cartridge: str
    recipe: str
    cell: str
    operator: str
    patient: str
    units: tuple[Unit, ...]
    packed: int


def stamp(minute: int, second: int = 0) -> str:
    return f"2026-03-01T{minute // 60:02d}:{minute % 60:02d}:{second:02d}.000000Z"


@st.composite
def batches(draw: st.DrawFn) -> list[Batch]:
    found = []
    for number in range(draw(st.integers(1, 5))):
        units = []
        for _ in range(draw(st.integers(0, 4))):
            begun, second = draw(st.integers(0, 1300)), draw(st.integers(0, 59))
            judged = stamp(begun + draw(st.integers(0, 60)), second)
            units.append(Unit(stamp(begun, second), judged, draw(st.sampled_from(["B-7", "B-70", "X B-7"]))))
        pick = st.sampled_from
        found.append(
            Batch(
                f"B{number:05d}", draw(pick(LOTS)), draw(pick([None, *LOTS])), draw(pick(["RAW-1", "RAW-2"])), draw(pick(CARTRIDGES)),
                draw(pick(RECIPES)), draw(pick(CELLS)), draw(pick(["olga", "otto"])), draw(pick(["p1", "p2", "p3"])), tuple(units),
                draw(st.integers(0, max(len(units) - 1, 0))),
            )
        )  # fmt: skip
    return found


def trails(made: list[Batch]) -> tuple[Trail, dict[str, Trail]]:
    desk, cells = Trail("desk.site"), {name: Trail(ORIGINS[name]) for name in CELLS}
    start = stamp(0)
    for name in CELLS:
        desk.add("cell.record.enrolled", "cell", name, {"cell": name, "origin": ORIGINS[name], "verifier_key": "k"}, at=start)
    for lot in LOTS:
        components = [{"lot": batch.component} for batch in made if batch.lot == lot][:1]
        desk.add("ink.lot.prepared", "ink_lot", lot, {"lot": lot, "preparation": {"components": components}}, at=start)
    for batch in made:
        run, cell = f"{batch.name}-R1", cells[batch.cell]
        order = {"order": {"prescription": {"patient": batch.patient}}, "order_sha256": f"sha-{batch.name}"}
        desk.add("order.prescription.entered", "order", f"O-{batch.name}", order, at=start)
        new = {"order": f"O-{batch.name}", "recipe": batch.recipe, "ink_lot": batch.lot, "cartridge": batch.cartridge, "cell": batch.cell}
        new |= {"machine": MACHINES[batch.cell]} | ({} if batch.second is None else {"second_ink_lot": batch.second})
        desk.add("batch.record.created", "batch", batch.name, new, at=start)
        desk.add("batch.run.requested", "batch", batch.name, {"run": run, "status": "running"}, actor=batch.operator, at=start)
        cell.add("run.record.created", "run", run, {"batch": batch.name, "order_sha256": f"sha-{batch.name}"}, at=start)
        for n, unit in enumerate(batch.units, 1):
            cell.add("unit.print.intended", "unit", f"{run}/{n:03d}", {"n": n}, at=unit.begun)
            cell.add(
                "unit.weight.judged", "unit", f"{run}/{n:03d}", {"balance_serial": unit.balance, "verdict": "accepted"}, at=unit.judged
            )
        desk.add("batch.run.closed", "batch", batch.name, {"status": "awaiting review", "cell_size": len(cell.lines)}, at=start)
        for n in range(1, batch.packed + 1):
            new = {"batch": batch.name, "state": "packed", "unit_ids": [f"{run}/{n:03d}"]}
            desk.add("pack.record.created", "pack", f"{batch.name}-P{n:02d}", new, at=start)
    return desk, cells


def component_of(made: list[Batch], lot: str | None) -> str | None:
    return next((batch.component for batch in made if batch.lot == lot), None)


def brute_force(made: list[Batch], criteria: RecallSearch) -> dict[str, set[int]]:
    """Units of each batch by plain comparison with the list; a batch with none is there only where nothing is asked of its units."""
    found: dict[str, set[int]] = {}
    of_units = any(value is not None for value in (criteria.since, criteria.until, criteria.equipment, criteria.operator))
    for batch in made:
        lots = [batch.lot, batch.second]
        static = [
            criteria.batch in (None, batch.name),
            criteria.ink_lot in (None, *lots) or criteria.ink_lot in [component_of(made, lot) for lot in lots if lot],
            criteria.cartridge in (None, batch.cartridge),
            criteria.recipe in (None, batch.recipe, batch.recipe.split("@")[0]),
            criteria.cell in (None, batch.cell, ORIGINS[batch.cell]),
            criteria.printer in (None, MACHINES[batch.cell], MACHINES[batch.cell].split("@")[0]),
        ]
        if not all(static):
            continue
        mine = {
            n
            for n, unit in enumerate(batch.units, 1)
            if (criteria.since is None or instant(unit.judged) >= instant(criteria.since))
            and (criteria.until is None or instant(unit.begun) < instant(criteria.until) + span(criteria.until))
            and (criteria.operator in (None, batch.operator))
            and (criteria.equipment is None or criteria.equipment in unit.balance.split(" "))
        }
        if mine or not of_units:
            found[batch.name] = mine
    return found


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def span(text: str) -> timedelta:
    """How long what is left out of a time lasts."""
    return {17: timedelta(minutes=1), 20: timedelta(seconds=1)}.get(len(text), timedelta(microseconds=1))


def typed(moment: str, digits: int) -> str:
    """A time as a person types it: with microseconds, to the second, or to the minute."""
    return moment[:digits] + "Z"


TYPED = st.builds(typed, st.integers(0, 1400 * 60).map(lambda second: stamp(second // 60, second % 60)), st.sampled_from([16, 19, 26]))


def asks(search_for: RecallSearch) -> bool:
    """Whether it is a search that is carried out: for something, and of a time that does not end before it begins."""
    try:
        return bool(search_for.criteria().given)
    except InputInvalid:
        return False


def optional(*values: str) -> st.SearchStrategy[str | None]:
    return st.sampled_from([None, None, *values])


SEARCHES = st.builds(
    RecallSearch,
    batch=optional("B00000", "B00001"),
    ink_lot=optional("L1", "L2", "RAW-1", "L3"),
    cartridge=optional("C1"),
    cell=optional("cell-1", "cell-2.site"),
    printer=optional("m-20", "m-18@2", "m-18@1"),
    recipe=optional("a", "a@1", "b"),
    equipment=optional("B-7", "B-70", "B-"),
    operator=optional("olga"),
    since=st.one_of(st.none(), TYPED),
    until=st.one_of(st.none(), TYPED),
).filter(asks)


@given(batches(), SEARCHES)
def test_the_search_finds_exactly_what_a_plain_list_says(made: list[Batch], criteria: RecallSearch) -> None:
    desk, cells = trails(made)
    found = search(criteria.criteria(), [desk.view(), *(cell.view() for cell in cells.values())])
    wanted = brute_force(made, criteria)
    units = {batch.batch: {int(unit.rpartition("/")[2]) for unit in batch.units} for batch in found.batches}
    assert units == wanted
    by_name = {batch.name: batch for batch in made}
    assert set(found.patients) == {by_name[name].patient for name in wanted}
    assert set(found.packs) == {f"{name}-P{n:02d}" for name, hit in wanted.items() for n in hit if n <= by_name[name].packed}
    assert found.missing == () and all(batch.uncertain == "" for batch in found.batches)


@given(batches(), SEARCHES, st.sampled_from(CELLS), st.data())
def test_what_is_not_known_is_found_and_said(made: list[Batch], search_for: RecallSearch, gone: str, data: st.DataObject) -> None:
    """Without a cell's trail, or with an old backup of it, no batch, pack or patient is lost."""
    criteria = search_for.criteria()
    desk, cells = trails(made)
    whole = search(criteria, [desk.view(), *(cell.view() for cell in cells.values())])
    kept = data.draw(st.integers(0, len(cells[gone].lines) - 1))
    given_trails = [desk.view(), *(cell.view() for name, cell in cells.items() if name != gone)]
    if kept:
        given_trails.append(cells[gone].view(kept))
    found = search(criteria, given_trails)
    assert {batch.batch for batch in found.batches} >= {batch.batch for batch in whole.batches}
    assert set(found.packs) >= set(whole.packs) and set(found.patients) >= set(whole.patients)
    if any(batch.cell == gone for batch in made) and kept == 0:
        assert ORIGINS[gone] in found.missing


@given(batches(), SEARCHES, st.data())
def test_backups_beside_the_present_trails_change_nothing(made: list[Batch], search_for: RecallSearch, data: st.DataObject) -> None:
    criteria = search_for.criteria()
    desk, cells = trails(made)
    views = [desk.view(), *(cell.view() for cell in cells.values())]
    old = [trail.view(data.draw(st.integers(1, len(trail.lines)))) for trail in (desk, *cells.values())]
    assert search(criteria, [*old, *views]).as_record() == search(criteria, views).as_record()


def test_a_trail_of_the_same_origin_that_is_another_is_named() -> None:
    made = [Batch("B00000", "L1", None, "RAW-1", "C1", "a@1", "cell-1", "olga", "p1", (Unit(stamp(1), stamp(2), "B-7"),), 0)]
    desk, cells = trails(made)
    forged = Trail(ORIGINS["cell-1"])
    forged.add("run.record.created", "run", "B00000-R1", {"batch": "another"}, at=stamp(0))
    found = search(Criteria(ink_lot="L1"), [desk.view(), cells["cell-1"].view(), forged.view()])
    assert [batch.batch for batch in found.batches] == ["B00000"] and "no beginning" in found.missing[0]


def test_a_batch_number_that_two_workstations_gave_is_told_apart_by_its_order() -> None:
    made = [Batch("B00000", "L1", None, "RAW-1", "C1", "a@1", "cell-1", "olga", "p1", (Unit(stamp(1), stamp(2), "B-7"),), 0)]
    desk, cells = trails(made)
    other = {"batch": "B00000", "order_sha256": "sha-of-another"}
    cells["cell-1"].add("run.record.created", "run", "X-R1", other, at=stamp(3))
    cells["cell-1"].add("unit.print.intended", "unit", "X-R1/001", {"n": 1}, at=stamp(3))
    (batch,) = search(Criteria(batch="B00000"), [desk.view(), *(cell.view() for cell in cells.values())]).batches
    assert batch.units == ("B00000-R1/001",)


@pytest.mark.parametrize(
    ("window", "hit"),
    [
        ({"since": 15}, True),
        ({"since": 20}, True),
        ({"since": 21}, False),
        ({"until": 15}, True),
        ({"until": 10}, True),
        ({"until": 9}, False),
    ],
)
def test_a_unit_is_in_a_window_that_it_was_being_made_in(window: dict[str, int], hit: bool) -> None:
    made = [Batch("B00000", "L1", None, "RAW-1", "C1", "a@1", "cell-1", "olga", "p1", (Unit(stamp(10), stamp(20), "B-7"),), 0)]
    desk, cells = trails(made)
    criteria = Criteria(**{name: stamp(minute) for name, minute in window.items()})
    assert bool(search(criteria, [desk.view(), *(cell.view() for cell in cells.values())]).units) is hit


@pytest.mark.parametrize(
    ("typed_in", "hit"),
    [
        ({"since": "2026-03-01T00:20Z"}, True),
        ({"since": "2026-03-01T00:20:00Z"}, True),
        ({"since": "2026-03-01T00:20:00.000001Z"}, False),
        ({"until": "2026-03-01T00:10Z"}, True),
        ({"until": "2026-03-01T00:09Z"}, False),
        ({"until": "2026-03-01T00:10:00Z"}, True),
    ],
)
def test_a_time_is_compared_as_a_time_however_much_of_it_is_typed(typed_in: dict[str, str], hit: bool) -> None:
    made = [Batch("B00000", "L1", None, "RAW-1", "C1", "a@1", "cell-1", "olga", "p1", (Unit(stamp(10), stamp(20), "B-7"),), 0)]
    desk, cells = trails(made)
    assert bool(search(RecallSearch(**typed_in).criteria(), [desk.view(), *(cell.view() for cell in cells.values())]).units) is hit


@pytest.mark.parametrize("text", ["2026-31-03T00:00Z", "2026-02-30T00:00Z", "2026-03-01T24:61Z"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputInvalid, match="no such day"):
        RecallSearch(since=text).criteria()


def test_a_search_compares_no_time_that_is_written_in_another_way() -> None:
    with pytest.raises(ValueError, match="is not written as"):
        search(Criteria(since="2026-03-01T00:00Z"), [])


def test_a_site_twice_as_large_takes_twice_the_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries are parsed where they are looked at: counted, for so many batches and for twice as many."""
    read: list[int] = []
    get = TrailView.__getitem__
    monkeypatch.setattr(TrailView, "__getitem__", lambda view, seq: (read.append(seq), get(view, seq))[1])

    def reading(count: int) -> int:
        unit = Unit(stamp(1), stamp(2), "B-7")
        made = [Batch(f"B{n:05d}", "L1", None, "RAW-1", "C1", "a@1", "cell-1", "olga", "p1", (unit,), 1) for n in range(count)]
        desk, cells = trails(made)
        views = [desk.view(), *(cell.view() for cell in cells.values())]
        read.clear()
        assert len(search(Criteria(ink_lot="L1"), views).packs) == count
        return len(read)

    assert reading(80) < 2.2 * reading(40)


def test_a_search_for_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="ink_lot"):
        search(Criteria(), [])


def test_closing_waits_for_every_pack_and_every_patient() -> None:
    packs = {"P1": "returned", "P2": "recalled", "P3": "destroyed", "P4": "not recovered"}
    found = progress(packs, {"p1": 1, "p2": 0, "p3": None}, (state.value for state in SETTLED))
    assert found.open_packs == ("P2",) and found.open_patients == ("p2", "p3") and len(found.reasons) == 3
    assert found.text == "1 destroyed, 1 not recovered, 1 recalled, 1 returned"
    assert progress({"P1": "returned"}, {"p1": 2}, (state.value for state in SETTLED)).reasons == ()
    assert json.dumps(Criteria(ink_lot="L1").as_record()) == '{"ink_lot": "L1"}'
