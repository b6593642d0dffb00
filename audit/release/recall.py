"""Recall: from a criterion to the batches, units, packs and patients that it touches, over every trail that is given; pure.

A batch is left out only where a trail shows that it does not meet a criterion. What is not known counts as met: a batch whose cell's
trail is missing is found with all of its units, and so is a unit for which a run states nothing. Several criteria narrow each other.

Source: EU GMP Part I chapter 8 (8.20 to 8.30).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

from audit.canonical import JsonObject, JsonValue
from audit.events import EventKind
from audit.release.trail_view import TrailEntry, TrailView, as_list, as_object, count_of, fold, text_of

_OF_A_RUN = ("unit", "part", "calibration", "correction", "alarm", "deviation")
TIMES = frozenset({"since", "until"})
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


@dataclass(frozen=True, slots=True)
class Criteria:
    """What is searched; a batch or unit has to meet all that is given.

    `ink_lot`: of an ink, or of a component that an ink was prepared from on site. `recipe` and `printer` (machine profile) with their
    version (`id@version`) or without. `equipment`: serial number of a balance or another instrument. `operator`: username of anybody
    who acted on the run or its units. `since` ≤ time ≤ `until`: UTC to the microsecond, as entries state it, against the entries of
    a unit.
    """

    batch: str | None = None
    ink_lot: str | None = None
    cartridge: str | None = None
    cell: str | None = None
    printer: str | None = None
    recipe: str | None = None
    equipment: str | None = None
    operator: str | None = None
    since: str | None = None
    until: str | None = None

    @property
    def given(self) -> dict[str, str]:
        found = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value for name, value in found.items() if value is not None}

    def as_record(self) -> JsonObject:
        return dict(self.given.items())


@dataclass(frozen=True, slots=True)
class FoundBatch:
    """A batch that is touched: its units by identifier (none known where the cell's trail is missing), its packs, its patient."""

    origin: str
    batch: str
    disposition: str
    units: tuple[str, ...]
    packs: tuple[str, ...]
    patient: str | None
    uncertain: str

    def as_record(self) -> JsonObject:
        return {
            "origin": self.origin,
            "batch": self.batch,
            "disposition": self.disposition,
            "units": list(self.units),
            "packs": list(self.packs),
            "patient": self.patient,
            "uncertain": self.uncertain,
        }


@dataclass(frozen=True, slots=True)
class Recalled:
    """All that was found, and the trails that were searched or could not be."""

    batches: tuple[FoundBatch, ...]
    searched: tuple[tuple[str, int], ...]
    missing: tuple[str, ...]

    @property
    def units(self) -> tuple[str, ...]:
        return tuple(unit for batch in self.batches for unit in batch.units)

    @property
    def packs(self) -> tuple[str, ...]:
        return tuple(sorted({pack for batch in self.batches for pack in batch.packs}))

    @property
    def patients(self) -> tuple[str, ...]:
        return tuple(sorted({batch.patient for batch in self.batches if batch.patient is not None}))

    def as_record(self) -> JsonObject:
        return {
            "batches": [batch.as_record() for batch in self.batches],
            "units": list(self.units),
            "packs": list(self.packs),
            "patients": list(self.patients),
            "searched": [{"origin": origin, "entries": size} for origin, size in self.searched],
            "missing": list(self.missing),
        }


def search(criteria: Criteria, trails: Iterable[TrailView]) -> Recalled:
    """Return what meets the criteria in these trails, of workstations and cells alike.

    Raises ValueError where nothing is asked, or a time is not written as entries write it: both are compared as text.
    """
    asked = criteria.given
    if not asked:
        raise ValueError("name at least one of: " + ", ".join(item.name for item in fields(Criteria)))
    for name in TIMES & asked.keys():
        if _TIME.fullmatch(asked[name]) is None:
            raise ValueError(f"{name} {asked[name]} is not written as 2026-03-01T00:00:00.000000Z")
    by_origin, differing = longest(trails)
    found: list[FoundBatch] = []
    missing: set[str] = set(differing)
    runs = {origin: _by_batch(view, EventKind.RUN_RECORD_CREATED) for origin, view in by_origin.items()}
    for origin, view in by_origin.items():
        packs = _by_batch(view, EventKind.PACK_RECORD_CREATED)
        for created in view.of_kind(EventKind.BATCH_RECORD_CREATED):
            batch = _Batch(view, by_origin, created.subject[1], runs, packs)
            if batch.was_cancelled:
                continue
            if batch.runs_unknown:
                missing.add(batch.cell_origin or text_of(batch.state.get("cell")) or "a cell without a name")
            if (touched := _touched(batch, asked)) is not None:
                found.append(_found(origin, batch, touched))
    searched = tuple((origin, view.size) for origin, view in sorted(by_origin.items()))
    return Recalled(tuple(found), searched, tuple(sorted(missing)))


def longest(trails: Iterable[TrailView]) -> tuple[dict[str, TrailView], tuple[str, ...]]:
    """Return the longest trail of each origin, and what is to be said of those that are no beginnings of it.

    An archived or backed-up trail beside the present one holds nothing more; one that differs from it was not searched.
    """
    found: dict[str, TrailView] = {}
    differing: list[str] = []
    for view in sorted(trails, key=lambda view: -view.size):
        origin = view.origin or ""
        whole = found.setdefault(origin, view)
        if whole is not view and whole.root(view.size) != view.root():
            differing.append(f"{origin}: another trail of {view.size} entries that is no beginning of the one searched")
    return found, tuple(differing)


def _by_batch(view: TrailView, kind: EventKind) -> dict[str, tuple[str, ...]]:
    """Return what was created for each batch, in order: read once for all batches of a search."""
    found: dict[str, dict[str, None]] = {}
    for created in view.of_kind(kind):
        if (batch := text_of(created.new.get("batch"))) is not None:
            found.setdefault(batch, {})[created.subject[1]] = None
    return {batch: tuple(names) for batch, names in found.items()}


class _Batch:
    """One batch as the trails show it, with the entries of each of its units."""

    def __init__(
        self,
        view: TrailView,
        trails: Mapping[str, TrailView],
        batch: str,
        runs: Mapping[str, Mapping[str, tuple[str, ...]]],
        packs: Mapping[str, tuple[str, ...]],
    ) -> None:
        self.name = batch
        self.view = view
        self.entries = view.of("batch", batch)
        self.state = fold(self.entries)
        cell = view.state("cell", text_of(self.state.get("cell")) or "")
        self.cell_origin = text_of(cell.get("origin"))
        self.cell = trails.get(self.cell_origin or "")
        self.packs = packs.get(batch, ())
        asked = runs.get(self.cell_origin or "", {}).get(batch, ())
        self.runs = {} if self.cell is None else {run: self.cell.of("run", run) for run in asked if self._mine(self.cell, run)}

    def _mine(self, cell: TrailView, run: str) -> bool:
        """Leave out a run of a batch with the same number, made for another workstation: the order that it ran tells."""
        order = text_of(self.view.state("order", text_of(self.state.get("order")) or "").get("order_sha256"))
        ran = text_of(cell.state("run", run).get("order_sha256"))
        return order is None or ran is None or order == ran

    @property
    def was_cancelled(self) -> bool:
        """Whether it was given up before its run: nothing was made in it, and nothing can be."""
        return self.state.get("status") == "cancelled" and not self.runs

    @property
    def runs_unknown(self) -> bool:
        """Whether a run was asked for whose trail is not here, or not to its end."""
        run, size = text_of(self.state.get("run")), count_of(self.state.get("cell_size")) or 0
        return run is not None and (run not in self.runs or self.cell is None or self.cell.size < size)

    def units(self) -> Iterator[tuple[str, str, list[TrailEntry]]]:
        """Give run, identifier and entries of each unit that was begun, those of its parts included."""
        for run in self.runs:
            if self.cell is None:
                continue
            parts = self.cell.under("part", run)
            for unit, entries in self.cell.under("unit", run).items():
                own = {text_of(part) for part in as_list(fold(entries).get("parts"))}
                of_parts = [entry for part, found in parts.items() if part in own for entry in found]
                yield run, unit, [*entries, *of_parts]

    def about_run(self, run: str) -> list[TrailEntry]:
        """Return the entries of a run and of all that belongs to no single unit of it."""
        if self.cell is None:
            return []
        others = [entry for type_ in _OF_A_RUN[2:] for found in self.cell.under(type_, run).values() for entry in found]
        return [*self.runs[run], *others]

    def about_order(self) -> list[TrailEntry]:
        return [entry for entry in self.entries if entry.kind in (EventKind.BATCH_RUN_REQUESTED, EventKind.BATCH_RECORD_CREATED)]


def _touched(batch: _Batch, asked: Mapping[str, str]) -> tuple[str, ...] | None:
    """Return the units of a batch that meet the criteria, None where it does not; empty where its units are not known."""
    if not all(_static(batch, name, value) for name, value in asked.items() if name in _STATIC):
        return None
    dynamic = {name: value for name, value in asked.items() if name not in _STATIC}
    if batch.runs_unknown:
        return ()
    if not batch.runs:
        return () if not dynamic else None  # nothing was printed: held by its criteria, and by nothing that happened in a run
    found = [unit for run, unit, entries in batch.units() if all(_dynamic(batch, run, entries, n, v) for n, v in dynamic.items())]
    return tuple(found) if found or not dynamic else None


_STATIC = frozenset({"batch", "ink_lot", "cartridge", "cell", "printer", "recipe"})


def _static(batch: _Batch, name: str, wanted: str) -> bool:
    ran = [fold(entries) for entries in batch.runs.values()]
    return meets(name, wanted, [{**batch.state, "batch": batch.name}, *ran], batch.view.state)


def meets(name: str, wanted: str, sources: Iterable[JsonObject], state: Callable[[str, str], JsonObject]) -> bool:
    """Return whether a batch meets a criterion of what it is made of, from and on.

    `sources`: what is known of the batch, and of each of its runs. `state`: an object of the workstation's trail, or nothing.
    """
    found = list(sources)
    match name:
        case "ink_lot" | "cartridge":
            held = [text for source in found for key in (name, f"second_{name}") if (text := text_of(source.get(key))) is not None]
            return wanted in held or (name == "ink_lot" and any(made_of(state("ink_lot", lot), wanted) for lot in held))
        case "cell":
            cells = [text for source in found if (text := text_of(source.get("cell"))) is not None]
            return wanted in cells or any(state("cell", cell).get("origin") == wanted for cell in cells)
        case "printer" | "recipe":
            return any(_versioned(source.get("machine" if name == "printer" else "recipe"), wanted) for source in found)
        case _:
            return any(source.get(name) == wanted for source in found[:1])


def made_of(ink_lot: JsonObject, wanted: str) -> bool:
    """Return whether an ink was prepared on site from a component of this lot."""
    preparation = as_object(ink_lot.get("preparation"))
    return any(as_object(component).get("lot") == wanted for component in as_list(preparation.get("components")))


def _versioned(found: JsonValue, wanted: str) -> bool:
    text = text_of(found)
    return text is not None and wanted in (text, text.partition("@")[0])


def _dynamic(batch: _Batch, run: str, entries: Sequence[TrailEntry], name: str, wanted: str) -> bool:
    match name:
        case "equipment":
            return _equipment(batch, run, entries, wanted)
        case "operator":
            acted = (text_of(entry.body.get("actor")) for entry in (*entries, *batch.about_run(run), *batch.about_order()))
            return wanted in acted or any(_holds(entry.new, wanted) for entry in entries)
        case "since":
            return max(entry.at for entry in entries) >= wanted
        case _:
            return min(entry.at for entry in entries) <= wanted


def _equipment(batch: _Batch, run: str, entries: Sequence[TrailEntry], serial: str) -> bool:
    """Whether a serial number stands in any entry of the unit or its run, as a value or as a word in one."""
    return any(_holds(entry.new, serial) for entry in (*entries, *batch.about_run(run)))


def _holds(value: JsonValue, wanted: str) -> bool:
    if isinstance(value, str):
        return wanted in value and re.search(rf"(?<![\w.-]){re.escape(wanted)}(?![\w-])", value) is not None
    if isinstance(value, dict):
        return any(_holds(item, wanted) for item in value.values())
    return isinstance(value, list) and any(_holds(item, wanted) for item in value)


def _found(origin: str, batch: _Batch, units: tuple[str, ...]) -> FoundBatch:
    states = ((name, batch.view.state("pack", name)) for name in batch.packs)
    packs = [name for name, state in states if batch.runs_unknown or _touches(state, units)]
    prescription = as_object(as_object(batch.view.state("order", text_of(batch.state.get("order")) or "").get("order")).get("prescription"))
    return FoundBatch(
        origin=origin,
        batch=batch.name,
        disposition=text_of(batch.state.get("disposition")) or text_of(batch.state.get("status")) or "unknown",
        units=units,
        packs=tuple(sorted(packs)),
        patient=text_of(prescription.get("patient")),
        uncertain=f"the trail of {batch.cell_origin or 'its cell'} is missing: all of its units are taken to be touched"
        if batch.runs_unknown
        else "",
    )


def _touches(pack: JsonObject, units: tuple[str, ...]) -> bool:
    """Whether a pack holds a touched unit; one that does not say what it holds is taken to."""
    held = [text_of(unit) for unit in as_list(pack.get("unit_ids"))]
    return not held or bool(set(held) & set(units))


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a recall is: packs still out by state, patients not yet contacted."""

    packs: Mapping[str, str]
    open_packs: tuple[str, ...]
    open_patients: tuple[str, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it cannot be closed; empty where it can."""
        found = [f"pack {name} is {self.packs[name]}: neither returned, nor destroyed, nor written off" for name in self.open_packs]
        return (*found, *(f"patient {name} was not contacted" for name in self.open_patients))

    @property
    def text(self) -> str:
        kinds: dict[str, int] = {}
        for state in self.packs.values():
            kinds[state] = kinds.get(state, 0) + 1
        return ", ".join(f"{count} {state}" for state, count in sorted(kinds.items())) or "no pack"


def progress(packs: Mapping[str, str], patients: Mapping[str, int | None], settled: Iterable[str]) -> Progress:
    """Return how far a recall is. `packs`: state of each; `patients`: number of contacts recorded for each; `settled`: final states."""
    done = frozenset(settled)
    return Progress(
        dict(packs),
        tuple(sorted(name for name, state in packs.items() if state not in done)),
        tuple(sorted(name for name, contacts in patients.items() if not count_of(contacts))),
    )
