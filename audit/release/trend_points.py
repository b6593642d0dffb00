"""The points of each chart of a series, each with its limits and the rules that it breaks, in words; pure.

A rule is broken by the value that completes it. Sources: those of `trends`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from audit.canonical import JsonObject
from audit.quantities import plain_text, round_to
from audit.release.trend_report import Trend
from audit.release.trends import Chart, Cusum, Rule, deviations_chart, moving_range_sigma, nelson

BEYOND = "beyond its limits"


class ChartKind(StrEnum):
    """The charts of a series."""

    BATCHES = "batch means"
    EWMA = "EWMA of batch means"
    CUSUM = "CUSUM of batch means"
    MEANS = "batch means against their units"
    SPREAD = "standard deviation within batches"


@dataclass(frozen=True, slots=True)
class Point:
    """One batch on a chart, in % of label; of a CUSUM, `value` is the upper sum and `falling` the lower one, below zero."""

    batch: str
    n: int
    value: Decimal
    lower: Decimal
    upper: Decimal
    breaks: tuple[str, ...] = ()
    falling: Decimal | None = None

    def as_record(self) -> JsonObject:
        return {
            "batch": self.batch, "n": self.n, "value": _text(self.value), "falling": None if self.falling is None else _text(self.falling),
            "lower": _text(self.lower), "upper": _text(self.upper), "breaks": list(self.breaks),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Points:
    """One chart: its centre and its points in order of time."""

    kind: ChartKind
    centre: Decimal
    points: tuple[Point, ...]

    @property
    def broken(self) -> tuple[Point, ...]:
        return tuple(point for point in self.points if point.breaks)

    def as_record(self) -> JsonObject:
        return {
            "chart": self.kind.value,
            "unit": "% of label",
            "centre": _text(self.centre),
            "points": [point.as_record() for point in self.points],
        }


def charts_of(trend: Trend) -> tuple[Points, ...]:
    """Return the charts of a series; none where there are fewer than two batches of two units, or those do not differ at all."""
    if trend.between is None or trend.means is None:
        return ()
    sigma = moving_range_sigma(trend.between.values)
    rules = {} if sigma == 0 else _by_index((s.index, s.rule) for s in nelson(trend.between.values, trend.between.centre, sigma))
    found = [_points(ChartKind.BATCHES, trend, trend.between, rules)]
    if trend.smoothed is not None:
        found.append(_points(ChartKind.EWMA, trend, trend.smoothed, _beyond(trend.smoothed.outside)))
    if trend.sums is not None:
        found.append(_sums(trend, trend.sums))
    spread = deviations_chart(trend.groups)
    found.append(_points(ChartKind.MEANS, trend, trend.means, _beyond(trend.means.outside)))
    found.append(_points(ChartKind.SPREAD, trend, spread, _beyond(spread.outside)))
    return tuple(found)


def rows_of(trend: Trend) -> list[tuple[str, ...]]:
    """Return every point of every chart as a row of text, for a file: series, chart, batch, n, value, limits, what it breaks."""
    series = (trend.series.recipe, trend.series.moiety, trend.series.strength_mg)
    rows: list[tuple[str, ...]] = []
    for chart in charts_of(trend):
        for point in chart.points:
            figures = (_text(point.value), "" if point.falling is None else _text(point.falling), _text(chart.centre))
            limits = (_text(point.lower), _text(point.upper))
            rows.append((*series, chart.kind.value, point.batch, str(point.n), *figures, *limits, "; ".join(point.breaks)))
    return rows


COLUMNS = (
    "recipe", "moiety", "strength_mg", "chart", "batch", "units", "value_percent", "falling_percent", "centre_percent", "lower_percent",
    "upper_percent", "breaks",
)  # fmt: skip


def _by_index(signals: Iterable[tuple[int, Rule]]) -> dict[int, tuple[str, ...]]:
    found: dict[int, tuple[str, ...]] = {}
    for index, rule in signals:
        found[index] = (*found.get(index, ()), f"Nelson {rule.value}")
    return found


def _beyond(outside: Sequence[int]) -> dict[int, tuple[str, ...]]:
    return dict.fromkeys(outside, (BEYOND,))


def _points(kind: ChartKind, trend: Trend, chart: Chart, breaks: dict[int, tuple[str, ...]]) -> Points:
    rows = zip(trend.groups, chart.values, chart.lower, chart.upper, strict=True)
    points = tuple(Point(group.name, group.n, value, low, high, breaks.get(i, ())) for i, (group, value, low, high) in enumerate(rows))
    return Points(kind, chart.centre, points)


def _sums(trend: Trend, sums: Cusum) -> Points:
    outside, h = set(sums.outside), sums.decision
    rows = enumerate(zip(trend.groups, sums.high, sums.low, strict=True))
    points = tuple(
        Point(group.name, group.n, high, -h, h, ("beyond its decision limit",) if i in outside else (), falling=-low)
        for i, (group, high, low) in rows
    )
    return Points(ChartKind.CUSUM, Decimal(0), points)


def _text(value: Decimal) -> str:
    return plain_text(round_to(value, 4))
