"""Batches for a trend, read from trails: the content of every weighed unit, by recipe version, active and strength, in order of time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from audit.canonical import JsonObject
from audit.events import EventKind
from audit.release.evidence import BatchEntries
from audit.release.strengths import content_of
from audit.release.trail_view import TrailView, as_object, number_of, text_of

_LOTS = ("ink_lot", "second_ink_lot")


@dataclass(frozen=True, slots=True)
class Series:
    """What is charted together: nothing is pooled across recipe versions, actives or strengths."""

    recipe: str
    moiety: str
    strength_mg: str


@dataclass(frozen=True, slots=True)
class BatchPoint:
    """One batch on a series: contents (% of label) of all units weighed and of those accepted, when it was opened, what became of it.

    `ink_lot` is the lot that the active came from, `cell` where it was printed.
    """

    series: Series
    batch: str
    opened: str
    contents: tuple[Decimal, ...]
    accepted: tuple[Decimal, ...]
    disposition: str
    demonstration: bool
    ink_lot: str = ""
    cell: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """The points in order of time, and the batches left out with the reason."""

    points: tuple[BatchPoint, ...]
    left_out: tuple[tuple[str, str], ...]

    def by_series(self) -> dict[Series, list[BatchPoint]]:
        rows: dict[Series, list[BatchPoint]] = {}
        for point in self.points:
            rows.setdefault(point.series, []).append(point)
        return rows


def find_batches(workstation: TrailView, cells: Iterable[TrailView]) -> Found:
    """Return every batch of a workstation's trail whose cell's trail is given; none is dropped for its result."""
    by_origin = {cell.origin: cell for cell in cells}
    points: list[BatchPoint] = []
    left_out: list[tuple[str, str]] = []
    for created in workstation:
        if created.kind != EventKind.BATCH_RECORD_CREATED:
            continue
        batch = created.subject[1]
        if workstation.state("batch", batch).get("status") == "cancelled":
            left_out.append((batch, "it was cancelled before its print"))
            continue
        name = text_of(created.new.get("cell")) or ""
        cell = by_origin.get(text_of(workstation.state("cell", name).get("origin")))
        if cell is None:
            left_out.append((batch, f"the trail of {name or 'its cell'} was not given"))
            continue
        found = _points(BatchEntries(workstation, cell, batch), created.at, created.body.get("demonstration") is not False)
        if not found:
            left_out.append((batch, "no unit with a mass and an assay"))
        points.extend(found)
    return Found(tuple(points), tuple(left_out))


def _points(entries: BatchEntries, opened: str, demonstration: bool) -> list[BatchPoint]:
    weighed: dict[Series, list[tuple[Decimal, bool]]] = {}
    lots: dict[Series, str] = {}
    for _, unit in entries.units:
        accepted = unit.get("verdict") == "accepted"
        parts = [part for _, part in entries.parts_of(unit)]
        for lot, (certificate, weighed_part) in zip(_LOTS, _of_inks(entries, unit, parts), strict=False):
            content = content_of(weighed_part, number_of(certificate.get("assay")))
            if content is not None:
                series = Series(
                    text_of(entries.batch.get("recipe")) or "",
                    text_of(certificate.get("moiety")) or "",
                    text_of(weighed_part.get("strength_mg")) or "",
                )
                weighed.setdefault(series, []).append((content, accepted))
                lots[series] = text_of(entries.batch.get(lot)) or ""
    return [
        BatchPoint(
            series=series,
            batch=entries.batch_id,
            opened=opened,
            contents=tuple(content for content, _ in rows),
            accepted=tuple(content for content, accepted in rows if accepted),
            disposition=text_of(entries.batch.get("disposition")) or "held",
            demonstration=demonstration,
            ink_lot=lots[series],
            cell=text_of(entries.batch.get("cell")) or "",
        )
        for series, rows in weighed.items()
    ]


def _of_inks(entries: BatchEntries, unit: JsonObject, parts: Sequence[JsonObject]) -> list[tuple[JsonObject, JsonObject]]:
    """Return what was weighed of each ink, with the ink's certificate: the unit itself, or its parts."""
    if not parts:
        return [(as_object(entries.ink), unit)]
    return list(zip((entries.ink, entries.second_ink), parts, strict=False))
