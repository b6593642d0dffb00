"""Trends across batches for a page and the interface: read from the trails, filtered, judged strength by strength."""

from __future__ import annotations

import csv
import io
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from pydantic import BaseModel, ConfigDict, Field

from api.cells import CellDirectory
from api.errors import InputInvalid
from api.release_desk import fetch_trail
from audit.canonical import JsonObject, JsonValue
from audit.errors import DosewrightError
from audit.quantities import decimal_from_text, plain_text
from audit.release.trail_view import TrailView
from audit.release.trend_points import COLUMNS, charts_of, rows_of
from audit.release.trend_query import BatchPoint, Found, find_batches
from audit.release.trend_report import SETTLED, Trend, judge_series
from audit.store import TrailStore

_OPEN = frozenset({"created", "running"})
_DAY = r"^(\d{4}-\d{2}-\d{2})?$"


class TrendQuestion(BaseModel):
    """What is charted. Empty fields ask nothing; days are ISO, both included, by when a batch was opened (UTC).

    `low` and `high`: limits for a unit's content in % of label, against which capability is stated.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    recipe: str = Field(default="", max_length=80)
    ink_lot: str = Field(default="", max_length=80)
    cell: str = Field(default="", max_length=80)
    since: str = Field(default="", pattern=_DAY)
    until: str = Field(default="", pattern=_DAY)
    low: str = Field(default="85", max_length=12)
    high: str = Field(default="115", max_length=12)

    def asks(self, point: BatchPoint) -> bool:
        """Say whether a point is meant."""
        day = point.opened[:10]
        return (
            self.recipe in ("", point.series.recipe)
            and self.ink_lot in ("", point.ink_lot)
            and self.cell in ("", point.cell)
            and (not self.since or day >= self.since)
            and (not self.until or day <= self.until)
        )


@dataclass(frozen=True, slots=True)
class Trends:
    """The series that a question meets, the batches left out with the reason, and what may be asked for."""

    trends: tuple[Trend, ...]
    left_out: tuple[tuple[str, str], ...]
    recipes: tuple[str, ...]
    ink_lots: tuple[str, ...]
    cells: tuple[str, ...]
    low: str
    high: str

    def as_record(self) -> JsonObject:
        return {
            "low_percent": self.low,
            "high_percent": self.high,
            "settled_from_batches": SETTLED,
            "series": [_trend(trend) for trend in self.trends],
            "left_out": [{"batch": batch, "reason": reason} for batch, reason in self.left_out],
            "choices": {"recipes": list(self.recipes), "ink_lots": list(self.ink_lots), "cells": list(self.cells)},
        }

    def as_csv(self) -> bytes:
        """Return every point of every chart; no cell of it begins like a formula."""
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(COLUMNS)
        for trend in self.trends:
            writer.writerows([[_plain(value) for value in row] for row in rows_of(trend)])
        return text.getvalue().encode("utf-8")


class TrendDesk:
    """Reads the trails anew when a batch has changed. Lifetime: that of the workstation.

    Concurrency: one reading at a time; who comes meanwhile waits for it, because nothing older is right.
    """

    def __init__(self, store: TrailStore, cells: CellDirectory) -> None:
        self._store = store
        self._cells = cells
        self._lock = threading.Lock()
        self._known: tuple[object, Found] | None = None

    def trends(self, question: TrendQuestion) -> Trends:
        """Return what the question meets. Raises InputInvalid; a cell that does not answer leaves its batches out, with the reason."""
        for name, day in (("since", question.since), ("until", question.until)):
            _day(name, day)
        try:
            low, high = decimal_from_text(question.low, "low"), decimal_from_text(question.high, "high")
        except DosewrightError as error:
            raise InputInvalid(error.message, remedy="Write limits in % of label, such as 85 and 115.") from error
        if not 0 <= low < high:
            raise InputInvalid("The lower limit is not below the upper one.", remedy="Write limits in % of label, such as 85 and 115.")
        found = self._found()
        wanted = Found(tuple(point for point in found.points if question.asks(point)), ())
        trends = tuple(judge_series(series, points, low, high) for series, points in wanted.by_series().items())
        return Trends(
            trends=tuple(sorted(trends, key=lambda trend: (trend.series.recipe, trend.series.moiety, _by_size(trend)))),
            left_out=found.left_out,
            recipes=_choices(point.series.recipe for point in found.points),
            ink_lots=_choices(point.ink_lot for point in found.points),
            cells=_choices(point.cell for point in found.points),
            low=plain_text(low),
            high=plain_text(high),
        )

    def _found(self) -> Found:
        with self._lock:
            batches = [(name, str(state.get("status")), str(state.get("run"))) for name, state in self._store.objects("batch")]
            if self._known is not None and self._known[0] == batches:
                return self._known[1]
            found, missing = self._read({name for name, status, _ in batches if status in _OPEN})
            # what a silent cell holds is asked for again the next time
            self._known = None if missing else (batches, found)
            return found

    def _read(self, still_open: set[str]) -> tuple[Found, bool]:
        views, problems = [], {}
        for name in self._cells.names:
            try:
                views.append(self._view(name))
            except DosewrightError as error:
                problems[name] = error.message
        found = find_batches(TrailView(list(self._store.lines())), [view for view in views if view is not None])
        points = tuple(point for point in found.points if point.batch not in still_open)
        left = [(batch, self._reason(batch, reason, still_open, problems)) for batch, reason in found.left_out]
        left += [(batch, "its run is not closed yet") for batch in sorted({p.batch for p in found.points} & still_open)]
        return Found(points, tuple(sorted(left))), bool(problems)

    def _reason(self, batch: str, reason: str, still_open: set[str], problems: dict[str, str]) -> str:
        if batch in still_open:
            return "its run is not closed yet"
        cell = str((self._store.state("batch", batch) or {}).get("cell"))
        return f"the trail of {cell} could not be read: {problems[cell]}" if cell in problems else reason

    def _view(self, name: str) -> TrailView | None:
        """Return the trail of a cell, checked against its key; None where nothing was made on it yet."""
        state = self._store.state("cell", name)
        if state is None:
            return None
        return TrailView(fetch_trail(self._cells.client(name), str(state.get("origin")), str(state.get("verifier_key"))).lines)


def _by_size(trend: Trend) -> tuple[int, str]:
    """Order strengths by their size where they are numbers."""
    text = trend.series.strength_mg
    whole = text.partition(".")[0]
    return (int(whole) if whole.isdecimal() else 0, text)


def _trend(trend: Trend) -> JsonObject:
    record = trend.as_record()
    charts: list[JsonValue] = [chart.as_record() for chart in charts_of(trend)]
    return {**record, "charts": charts, "units": sum(group.n for group in trend.groups)}


def _choices(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({value for value in values if value}))


def _day(name: str, day: str) -> None:
    try:
        if day:
            date.fromisoformat(day)
    except ValueError as error:
        raise InputInvalid(f"{name}: {day!r} is not a day of the calendar.", remedy="Write it as 2027-06-30.") from error


def _plain(value: str) -> str:
    """Return a value that no spreadsheet takes for a formula; a number stays as it is."""
    numeric = value.lstrip("-").replace(".", "", 1).isdecimal()
    return f"'{value}" if value[:1] in ("=", "+", "-", "@", "\t", "\r") and not numeric else value
