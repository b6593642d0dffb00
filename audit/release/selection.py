"""Which entries a selective package holds: those that the record of one batch rests on, and no other.

The rule is part of the format (docs/review-package.md): applied to the entries of a package it must give these very entries again, and
applied to whole trails it says which ones to take. Objects come *whole*, each of their entries up to a bound; people and the store itself
*by field*, the entries that set what a signature is judged by; and of each balance the last daily check before a run. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from audit.canonical import JsonObject, JsonValue
from audit.events import EventKind
from audit.release.release_rules import read_rules
from audit.release.trail_view import TrailEntry, TrailView, count_of, text_of

BY_FIELD = {"person": frozenset({"active", "roles", "verifier_key"}), "store": frozenset({"origin", "verifier_key"})}
"""Type of an object whose entries are taken only where they set one of these fields; only these are followed from entry to entry."""
UNFOLLOWED = frozenset({"balance"})
"""Types of objects of which single entries are taken, whose history is not followed."""
_OF_A_RUN = ("alarm", "calibration", "correction", "deviation", "part", "unit")
_OF_A_BATCH = ("exception", "ink_return", "prediction")
_SHARED = (
    ("ink_lot", "ink_lot"), ("ink_lot", "second_ink_lot"), ("cartridge", "cartridge"), ("cartridge", "second_cartridge"),
    ("recipe", "recipe"), ("cell", "cell"),
)  # fmt: skip


class Scope(StrEnum):
    """Which entries a package holds: those of one batch, or both trails."""

    SELECTIVE = "selective"
    WHOLE = "whole"


@dataclass(frozen=True, slots=True)
class Selected:
    """Of one trail: numbers of the entries, ascending; how many entries of each followed object; the sizes whose roots are wanted."""

    seqs: tuple[int, ...]
    objects: dict[str, int]
    sizes: tuple[int, ...]


def select(workstation: TrailView, cell: TrailView, batch: str) -> tuple[Selected, Selected]:
    """Return what is selected of the workstation's and of the cell's trail for a batch."""
    signed = workstation.last("batch", batch, EventKind.BATCH_DISPOSITION_SIGNED)
    stated = count_of(signed.new.get("workstation_size")) if signed else None
    bound = workstation.size if stated is None else stated
    chosen = (_Chosen(workstation, bound), _Chosen(cell, cell.size))
    _of_batch(chosen[0], batch)
    for run in runs_of(cell, batch):
        _of_run(chosen[1], run)
        chosen[0].under("spectrum", run)
        for rule in read_rules(cell.state("run", run).get("release_rules")).models:
            chosen[0].whole("model", rule.model, shared=True)
    for username in sorted({name for part in chosen for name in _people(part.entries.values())}):
        chosen[0].by_field("person", username)
    for part in chosen:
        part.by_field("store", part.view.origin or "")
    closed = [e.new.get("cell_size") for e in workstation.of("batch", batch) if e.kind == EventKind.BATCH_RUN_CLOSED]
    cells = [*closed, *([signed.new.get("cell_size")] if signed else [])]
    return chosen[0].result([bound]), chosen[1].result([count_of(size) or 0 for size in cells])


class _Chosen:
    """What was chosen of a trail so far."""

    def __init__(self, view: TrailView, bound: int) -> None:
        self.view, self._before = view, view.first(bound)
        self.entries: dict[int, TrailEntry] = {}
        self._objects: dict[str, int] = {}

    def whole(self, type_: str, id_: str, *, shared: bool = False) -> None:
        """Take every entry of an object; of one that other batches have a part in, those before the bound."""
        self._take(type_, id_, (self._before if shared else self.view).of(type_, id_))

    def under(self, type_: str, parent: str, *, deep: bool = False) -> None:
        """Take every entry of each object `type/parent/name`; deep: of each `type/parent/…`."""
        for id_, found in self.view.under(type_, parent).items():
            if deep or id_.rpartition("/")[0] == parent:
                self._take(type_, id_, found)

    def by_field(self, type_: str, id_: str) -> None:
        self._take(type_, id_, [entry for entry in self.view.of(type_, id_) if BY_FIELD[type_] & entry.new.keys()])

    def single(self, entry: TrailEntry) -> None:
        self.entries[entry.seq] = entry

    def _take(self, type_: str, id_: str, found: Iterable[TrailEntry]) -> None:
        entries = {entry.seq: entry for entry in found}
        if entries:
            self.entries |= entries
            self._objects[f"{type_}/{id_}"] = len(entries)

    def result(self, sizes: Iterable[int]) -> Selected:
        marks = sorted({self.view.size, *(size for size in sizes if 0 < size < self.view.size)})
        return Selected(tuple(sorted(self.entries)), self._objects, tuple(marks))


def _of_batch(chosen: _Chosen, batch: str) -> None:
    state = chosen.view.state("batch", batch)
    chosen.whole("batch", batch)
    chosen.whole("order", text_of(state.get("order")) or "")
    for type_, name in _SHARED:
        if (id_ := text_of(state.get(name))) is not None:
            chosen.whole(type_, id_, shared=True)
    for type_ in _OF_A_BATCH:
        chosen.under(type_, batch, deep=True)


def _of_run(chosen: _Chosen, run: str) -> None:
    chosen.whole("run", run)
    for type_ in _OF_A_RUN:
        chosen.under(type_, run)
    for check in daily_checks(chosen.view, run).values():
        if check is not None:
            chosen.single(check)


def runs_of(cell: TrailView, batch: str) -> list[str]:
    """Return the runs of a batch, as its cell recorded them."""
    return [e.subject[1] for e in cell.of_kind(EventKind.RUN_RECORD_CREATED) if text_of(e.new.get("batch")) == batch]


def daily_checks(cell: TrailView, run: str) -> dict[str, TrailEntry | None]:
    """Return for each balance that something of a run was weighed on, by serial number, its last daily check before the run."""
    began = cell.of("run", run)[0].seq
    printed = [e for type_ in ("unit", "part", "calibration") for found in cell.under(type_, run).values() for e in found]
    found: dict[str, TrailEntry | None] = {}
    for serial in sorted({serial for entry in printed if (serial := text_of(entry.new.get("balance_serial"))) is not None}):
        checks = [e for e in cell.of("balance", serial) if e.kind == EventKind.EQUIPMENT_CHECK_COMPLETED and e.seq < began]
        found[serial] = checks[-1] if checks else None
    return found


def _people(entries: Iterable[TrailEntry]) -> Iterator[str]:
    """Give who acted and who signed; a recipe may come signed from another site, and its people are not of this one."""
    for entry in entries:
        if entry.subject[0] != "recipe":
            actor = text_of(entry.body.get("actor")) or ""
            yield from [] if actor == "system" else [actor]
            yield from (text_of(signature.get("signer")) or "" for signature in signatures_in(entry.new))


def signatures_in(value: JsonValue) -> Iterator[JsonObject]:
    """Give the signatures of people in a value, whatever it is."""
    if isinstance(value, dict):
        if {"signer", "key", "value", "digest"} <= value.keys():
            yield value
        for item in value.values():
            yield from signatures_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from signatures_in(item)
