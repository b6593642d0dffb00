"""Trends over the interface and as a page: each strength by itself, filtered, honest about few batches, every mark with a word."""

from __future__ import annotations

import csv
import importlib.util
import io
import re
from decimal import Decimal as D
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.trend_desk import TrendQuestion
from api.workstation import trend_charts, trends
from audit.release.trend_points import COLUMNS, ChartKind, Point, Points, charts_of

_SPEC = importlib.util.spec_from_file_location("history_of_batches", Path(__file__).with_name("trend_history.py"))
assert _SPEC is not None and _SPEC.loader is not None
HISTORY = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(HISTORY)
LOT, RECIPE = "CYC-DEMO-01", "cyclophosphamide@1"


def write(bench: Any, number: int, centre: str, *, lot: str = LOT, recipe: str = RECIPE, **more: Any) -> None:
    contents = [str(D(centre) + D(offset)) for offset in ("-1", "0", "1")]
    HISTORY.write_batch(
        bench.workstation.store, bench.cell.store, batch=f"B{number:05d}", recipe=recipe, lot=lot, contents=contents, **more
    )


@pytest.fixture(autouse=True)
def _logged_in(request: pytest.FixtureRequest) -> None:
    """Who asks is logged in, without the time that a password takes."""
    if "bench" in request.fixturenames:
        bench: Any = request.getfixturevalue("bench")
        people = {person.username: person for person in bench.workstation.people._identity.people()}
        for username in ("operator",):
            bench._tokens[username] = bench.workstation.sessions.open(username, people[username].name, people[username].roles)


@pytest.fixture
def history(bench: Any) -> Any:
    """Twenty steady batches of two lots, one of another version, one that still prints, one far off."""
    HISTORY.write_lot(bench.workstation.store, LOT, "CYC-DEMO-02")
    for number in range(1, 21):
        write(bench, number, "100.3" if number % 2 else "99.7", lot=LOT if number <= 10 else "CYC-DEMO-02")
    write(bench, 21, "99", recipe="cyclophosphamide@2")
    write(bench, 22, "90", status="running")
    write(bench, 23, "107", lot="CYC-DEMO-02")
    return bench


def ask(bench: Any, query: str = "") -> Any:
    answer = bench.ask("operator", "GET", f"/trends{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_each_version_is_a_series_and_what_still_prints_is_left_out(history: Any) -> None:
    found = ask(history)
    assert [(series["recipe"], len(series["batches"])) for series in found["series"]] == [(RECIPE, 21), ("cyclophosphamide@2", 1)]
    assert found["left_out"] == [{"batch": "B00022", "reason": "its run is not closed yet"}]
    assert found["choices"]["ink_lots"] == ["CYC-DEMO-01", "CYC-DEMO-02"]
    means = next(chart for chart in found["series"][0]["charts"] if chart["chart"] == "batch means")
    broken = {point["batch"]: point["breaks"] for point in means["points"] if point["breaks"]}
    assert [batch for batch, rules in broken.items() if "Nelson 1: a value beyond 3 standard deviations" in rules] == ["B00023"]
    # the content follows from mass, assay and label: the first batch's mean is what was written
    assert D(means["points"][0]["value"]) == pytest.approx(D("100.3"), abs=D("0.001"))


def test_filters_narrow_by_lot_version_cell_and_day(history: Any) -> None:
    def batches(query: str) -> list[str]:
        return [row["batch"] for series in ask(history, query)["series"] for row in series["batches"]]

    assert batches(f"?ink_lot={LOT}") == [f"B{n:05d}" for n in range(1, 11)] + ["B00021"]
    assert batches("?recipe=cyclophosphamide@2") == ["B00021"]
    assert len(batches("?cell=cell-1")) == 22 and batches("?cell=cell-2") == []
    assert batches("?until=2001-01-01") == [] and len(batches("?since=2001-01-01")) == 22


@pytest.mark.parametrize(
    "query", ["?low=115&high=85", "?low=1,5", "?since=2026-02-30", "?since=yesterday", "?unknown=1", "?low=NaN", "?low=-1"]
)
def test_a_question_that_cannot_be_is_refused(bench: Any, query: str) -> None:
    assert bench.ask("operator", "GET", f"/trends{query}").status_code == 422
    assert bench.ask("operator", "GET", f"/trends/points{query}").status_code == 422


def test_a_batch_that_is_closed_is_on_the_chart_at_once(history: Any) -> None:
    assert len(ask(history)["series"][0]["batches"]) == 21
    write(history, 24, "100")
    assert len(ask(history)["series"][0]["batches"]) == 22


def test_a_trail_that_was_changed_is_not_charted_and_the_next_look_asks_again(history: Any) -> None:
    history.cell.tamper = True
    found = ask(history)
    assert found["series"] == [] and "could not be read" in found["left_out"][0]["reason"]
    history.cell.tamper = False
    assert len(ask(history)["series"]) == 2


def test_all_points_come_as_a_file(history: Any) -> None:
    answer = history.ask("operator", "GET", "/trends/points")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.reader(io.StringIO(answer.text)))
    assert rows[0] == list(COLUMNS)
    shown = ask(history)["series"][0]["charts"]
    assert len(rows) - 1 == sum(len(chart["points"]) for chart in shown)
    assert history.client.get("/api/v1/trends/points").status_code == 401


# --- as a page ---


def series(history: Any, **asked: str) -> Any:
    return history.workstation.trends.trends(TrendQuestion(**asked))


def test_few_batches_are_said_to_be_few(history: Any) -> None:
    one = series(history, recipe="cyclophosphamide@2").trends[0]
    assert "Too few for a chart" in trends.summary_html(one, "85", "115")
    ten = series(history, ink_lot=LOT, recipe=RECIPE).trends[0]
    assert "Too few for a statement: below 20 batches" in trends.summary_html(ten, "85", "115")
    all_ = series(history, recipe=RECIPE).trends[0]
    html = trends.summary_html(all_, "85", "115")
    assert "Too few" not in html and "■ <b>B00023</b>" in html


def test_capability_has_its_interval_and_its_n(history: Any) -> None:
    trend = series(history, recipe=RECIPE).trends[0]
    html = trends.capability_html(trend, "85", "115", 63)
    rows = re.findall(r"<b>(Cpk?|Ppk?)</b>.*?<b>([0-9.]+)</b></td><td class='dw-keep'>([0-9.]+) to ([0-9.]+)</td><td>63</td>", html)
    assert [row[0] for row in rows] == ["Cp", "Cpk", "Pp", "Ppk"]
    assert all(D(low) < D(value) < D(high) for _, value, low, high in rows)


def test_a_broken_point_is_a_square_with_a_number_and_a_row_with_words(history: Any) -> None:
    trend = series(history, recipe=RECIPE).trends[0]
    for chart in charts_of(trend):
        html = trend_charts.chart_html(chart)
        squares = html.count('class="dw-broken"')
        assert (squares > 0) is bool(chart.broken)
        assert html.count("<b>■ ") == len(chart.broken)
        assert html.count('class="dw-point"') + squares == len(chart.points) * (2 if chart.kind is ChartKind.CUSUM else 1)
        label = re.search(r'aria-label="([^"]*)"', html)
        assert label is not None and ("No point breaks a rule." in label[1]) is not bool(chart.broken)
        assert "% of label" in html and "Batch, in order of time" in html and ">upper " in html and ">lower " in html and ">centre " in html
        assert all(point.batch in html for point in chart.points)


def test_a_lone_flat_chart_can_be_drawn() -> None:
    point = Point("<b>", 2, D(100), D(100), D(100))
    html = trend_charts.chart_html(Points(ChartKind.BATCHES, D(100), (point,)))
    assert "NaN" not in html and '<b>"' not in html and "&lt;b&gt;" in html


@pytest.mark.parametrize(("breaks", "text"), [(("Nelson 1: x", "Nelson 5: y"), "1,5"), (("beyond its limits",), "!"), ((), "")])
def test_the_numbers_beside_a_point(breaks: tuple[str, ...], text: str) -> None:
    assert trend_charts.short(breaks) == text


@given(st.floats(-1e4, 1e4), st.floats(1e-3, 1e4))
def test_ticks_are_round_few_and_between_the_ends(low: float, span: float) -> None:
    found = trend_charts.ticks(low, low + span)
    assert 2 <= len(found) <= 6
    assert all(low - 1e-6 <= value <= low + span + 1e-6 for value in found)
    steps = {round(b - a, 6) for a, b in pairwise(found)}
    assert max(steps) - min(steps) < 1e-5
