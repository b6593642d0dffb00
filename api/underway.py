"""Orders and batches in short: what is asked of all of them again and again, read once and then followed entry by entry."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from audit.canonical import JsonObject, JsonValue
from audit.release.trail_view import as_list, as_object, count_of, text_of
from audit.store import TrailStore

_OPEN = frozenset({"created", "running"})


@dataclass(frozen=True, slots=True)
class Scan:
    """The cartridge that was scanned in a head; a later scan has a higher number. An empty serial: the last scan was refused."""

    serial: str
    number: int


@dataclass(frozen=True, slots=True)
class OrderInShort:
    """No figure is in it. `scans`: the last scan of each head, in the order of the heads."""

    order: str
    status: str
    entered_by: str | None
    patient: str
    scans: tuple[Scan, ...]


@dataclass(frozen=True, slots=True)
class BatchInShort:
    """`scanned`: the highest number of the scans that its run was asked for with, or that its cancelling ended."""

    batch: str
    order: str
    cell: str
    status: str
    run: str | None
    cartridges: tuple[str, ...]
    disposition: str | None
    purpose: str | None
    scanned: int

    @property
    def is_open(self) -> bool:
        """Whether it may still be printed, or is being printed."""
        return self.status in _OPEN

    @property
    def is_cancelled(self) -> bool:
        """Whether it was given up before its run was asked for: nothing was made in it."""
        return self.status == "cancelled"


@dataclass(frozen=True, slots=True)
class InShort:
    """All orders and batches by name, in the order of their numbers, when the trail had this size."""

    size: int
    orders: Mapping[str, OrderInShort]
    batches: Mapping[str, BatchInShort]

    def of(self, order: str) -> tuple[BatchInShort, ...]:
        """Return the batches of an order."""
        return tuple(batch for batch in self.batches.values() if batch.order == order)


class Underway:
    """Lifetime: that of the store. Concurrency: any thread; whoever looks first after an entry reads what it changed, for all.

    The first look reads everything on record, which takes a while where there are thousands: it is not for the event loop.
    """

    def __init__(self, store: TrailStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._known: InShort | None = None

    def look(self) -> InShort:
        """Return orders and batches as they are on record now."""
        size = self._store.size
        with self._lock:
            known = self._known
            if known is None:
                known = InShort(
                    size,
                    {name: _order(name, state) for name, state in self._store.objects("order")},
                    {name: _batch(name, state) for name, state in self._store.objects("batch")},
                )
            elif known.size < size:
                known = self._followed(known, size)
            self._known = known
            return known

    def _followed(self, known: InShort, size: int) -> InShort:
        subjects = [entry.subject for entry in self._store.entries(known.size, size)]
        orders = {subject.id: _order(subject.id, self._state("order", subject.id)) for subject in subjects if subject.type == "order"}
        batches = {subject.id: _batch(subject.id, self._state("batch", subject.id)) for subject in subjects if subject.type == "batch"}
        if not orders and not batches:
            return InShort(size, known.orders, known.batches)
        return InShort(size, {**known.orders, **orders}, {**known.batches, **batches})

    def _state(self, type_: str, name: str) -> JsonObject:
        return self._store.state(type_, name) or {}


def _order(name: str, state: JsonObject) -> OrderInShort:
    prescription = as_object(as_object(state.get("order")).get("prescription"))
    serials, numbers = as_list(state.get("mounted")), as_list(state.get("scans"))
    scans = (Scan(str(serial), _number(number)) for serial, number in zip(serials, [*numbers, *[None] * len(serials)], strict=False))
    return OrderInShort(
        name,
        text_of(state.get("status")) or "",
        text_of(as_object(state.get("entered")).get("signer")),
        text_of(prescription.get("patient")) or "",
        tuple(scans),
    )


def _batch(name: str, state: JsonObject) -> BatchInShort:
    cartridges = (text_of(state.get("cartridge")), text_of(state.get("second_cartridge")))
    return BatchInShort(
        name,
        text_of(state.get("order")) or "",
        text_of(state.get("cell")) or "",
        text_of(state.get("status")) or "",
        text_of(state.get("run")),
        tuple(serial for serial in cartridges if serial),
        text_of(state.get("disposition")),
        text_of(state.get("purpose")),
        _number(state.get("scanned")),
    )


def _number(value: JsonValue) -> int:
    """Return the number of a scan; -1 for one that was put on record without."""
    number = count_of(value)
    return -1 if number is None else number
