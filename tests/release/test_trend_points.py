"""The points of every chart: what is signalled is marked where it is signalled, and nothing else is."""

from __future__ import annotations

from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.release.trend_points import BEYOND, COLUMNS, ChartKind, charts_of, rows_of
from audit.release.trend_query import BatchPoint, Series
from audit.release.trend_report import Trend, judge_series

SERIES = Series("cyclophosphamide@1", "cyclophosphamide", "18.5")


def trend_of(*means: str, spread: str = "1") -> Trend:
    points = []
    for number, mean in enumerate(means):
        contents = tuple(D(mean) + D(offset) * D(spread) for offset in ("-1", "0", "1"))
        points.append(BatchPoint(SERIES, f"B{number:02d}", "2026-11-20T08:00:00.000000Z", contents, contents, "released", False))
    return judge_series(SERIES, points, D(85), D(115))


def test_nine_on_a_side_is_marked_at_the_ninth_and_named() -> None:
    trend = trend_of(*["99.9", "100.1"] * 3, *["100.4", "100.5", "100.6"] * 3)
    (batches,) = [chart for chart in charts_of(trend) if chart.kind is ChartKind.BATCHES]
    nine = [point.batch for point in batches.points if any(rule.startswith("Nelson 2") for rule in point.breaks)]
    assert nine == ["B14"]


def test_a_cusum_has_a_rising_and_a_falling_sum_between_its_decision_limits() -> None:
    trend = trend_of(*["100", "100.2"] * 4, *["98.5"] * 6)
    (sums,) = [chart for chart in charts_of(trend) if chart.kind is ChartKind.CUSUM]
    last = sums.points[-1]
    assert last.falling is not None and last.falling < last.lower and last.value == 0 and last.breaks
    assert all(point.lower == -point.upper for point in sums.points)


@pytest.mark.parametrize("means", [(), ("100",)])
def test_fewer_than_two_batches_have_no_chart(means: tuple[str, ...]) -> None:
    assert charts_of(trend_of(*means)) == () and rows_of(trend_of(*means)) == []


def test_batches_that_do_not_differ_have_charts_without_rules() -> None:
    kinds = [chart.kind for chart in charts_of(trend_of("100", "100", "100"))]
    assert kinds == [ChartKind.BATCHES, ChartKind.MEANS, ChartKind.SPREAD]


MEANS = st.lists(st.decimals("95", "105", places=2).map(str), min_size=2, max_size=24)


@given(MEANS)
def test_every_signal_is_a_mark_and_every_mark_a_signal(means: list[str]) -> None:
    trend = trend_of(*means)
    marked = {(point.batch, chart.kind, rule) for chart in charts_of(trend) for point in chart.points for rule in point.breaks}
    words = {
        (ChartKind.MEANS, BEYOND): "mean further from the others than its own units explain",
        (ChartKind.SPREAD, BEYOND): "standard deviation unlike that of the others",
        (ChartKind.EWMA, BEYOND): "EWMA beyond its limit",
        (ChartKind.CUSUM, "beyond its decision limit"): "CUSUM beyond its decision limit",
    }
    assert {(batch, words.get((kind, rule), rule)) for batch, kind, rule in marked} == set(trend.signals)


@given(MEANS)
def test_a_file_has_every_point_once_under_its_columns(means: list[str]) -> None:
    trend = trend_of(*means)
    rows, charts = rows_of(trend), charts_of(trend)
    assert len(rows) == sum(len(chart.points) for chart in charts)
    assert all(len(row) == len(COLUMNS) for row in rows)
    of_means = [row[COLUMNS.index("value_percent")] for row in rows if row[COLUMNS.index("chart")] == ChartKind.BATCHES]
    assert [D(value) for value in of_means] == [round(D(mean), 4) for mean in means]
