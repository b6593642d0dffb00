"""Batches read from real trails, judged together, and shown by the command."""

from __future__ import annotations

import json
from decimal import Decimal as D
from typing import Any

import pytest
from typer.testing import CliRunner

from api.cli import app
from audit.release.trail_view import TrailView
from audit.release.trend_query import BatchPoint, Series, find_batches
from audit.release.trend_report import judge_series
from audit.release.trends import Rule

SERIES = Series("cyclophosphamide@1", "cyclophosphamide", "18.5")
LOW, HIGH = D(85), D(115)


def point(name: str, *contents: str) -> BatchPoint:
    values = tuple(D(content) for content in contents)
    return BatchPoint(SERIES, name, "2026-11-20T08:00:00.000000Z", values, values, "released", False)


def steady(count: int, centre: str = "100") -> list[BatchPoint]:
    """Batches whose means go a little up and down about the centre."""
    means = [D(centre) + D("0.3") * (-1) ** i for i in range(count)]
    return [point(f"B{i:02d}", *(str(mean + D(offset)) for offset in ("-1", "0", "1"))) for i, mean in enumerate(means)]


def test_units_of_a_batch_are_read_with_those_that_were_rejected(write_batch: Any, scenario: Any, unit: Any) -> None:
    units = (unit("467.2"), unit("470.1"), unit("431.5", verdict="rejected", reasons=("light",)), unit(None, verdict="scrapped"))
    batch = write_batch(scenario(units=units, disposition="partly released"))
    workstation, cell = (TrailView(lines) for lines in batch.lines())
    (found,) = find_batches(workstation, [cell]).points
    assert found.series == SERIES and found.disposition == "partly released" and found.demonstration
    assert len(found.contents) == 3 and len(found.accepted) == 2
    record = batch.record()
    assert [str(round(content, 6)) for content in found.contents] == [row["content_percent"] for row in record["units"][:3]]


def test_strengths_are_series_of_their_own(write_batch: Any, scenario: Any, unit: Any) -> None:
    units = (*(unit("63.1", strength="2.5") for _ in range(3)), *(unit("31.5", strength="1.25") for _ in range(2)))
    workstation, cell = (TrailView(lines) for lines in write_batch(scenario(units=units, disposition=None)).lines())
    found = find_batches(workstation, [cell]).by_series()
    assert {series.strength_mg: len(points[0].contents) for series, points in found.items()} == {"2.5": 3, "1.25": 2}


def test_a_batch_whose_cell_is_not_given_is_named(write_batch: Any, scenario: Any, unit: Any) -> None:
    workstation, _ = (TrailView(lines) for lines in write_batch(scenario(units=(unit("467.2"),), disposition=None)).lines())
    found = find_batches(workstation, [])
    assert found.points == () and found.left_out == (("B-1", "the trail of cell-1 was not given"),)


def test_a_steady_process_gives_no_signal() -> None:
    trend = judge_series(SERIES, steady(12), LOW, HIGH)
    assert trend.signals == () and trend.is_preliminary and trend.capability is not None and trend.prior is not None
    assert "12 batches of cyclophosphamide@1, 18.5 mg, B00 to B11" in trend.prior.history


def test_one_batch_far_off_and_a_shift_that_stays_are_signalled() -> None:
    def signals_of_last(*shifted: BatchPoint) -> set[str]:
        return {signal for batch, signal in judge_series(SERIES, [*steady(20), *shifted], LOW, HIGH).signals if batch == shifted[-1].batch}

    far = signals_of_last(point("B99", "106", "107", "108"))
    assert {f"Nelson {Rule.BEYOND_3.value}", "mean further from the others than its own units explain"} <= far
    stays = signals_of_last(*(point(f"B9{i}", "100.5", "101.5", "102.5") for i in range(5)))
    assert {"EWMA beyond its limit", "CUSUM beyond its decision limit"} <= stays
    spread = signals_of_last(point("B99", "94", "100", "106"))
    assert "standard deviation unlike that of the others" in spread


def test_a_batch_of_one_unit_is_on_no_chart_and_two_batches_make_one() -> None:
    assert judge_series(SERIES, [point("B1", "100")], LOW, HIGH).groups == ()
    alone = judge_series(SERIES, steady(1), LOW, HIGH)
    assert alone.means is None and alone.signals == () and alone.as_record()["capability"] is None
    equal = judge_series(SERIES, [point("B1", "100", "100"), point("B2", "100", "100")], LOW, HIGH)
    assert equal.capability is None and equal.smoothed is None


def test_the_command_shows_figures_and_the_same_as_json(write_batch: Any, scenario: Any, unit: Any) -> None:
    batch = write_batch(scenario(units=(unit("467.2"), unit("470.1"), unit("465.8")), disposition=None))
    stores = [str(batch.workstation.path), str(batch.cell.path)]
    shown = CliRunner().invoke(app, ["trends", *stores])
    assert shown.exit_code == 0 and "cyclophosphamide@1" in shown.stdout and "DEMONSTRATION" in shown.stdout
    assert "a chart takes two batches" in shown.stdout
    tree = json.loads(CliRunner().invoke(app, ["trends", *stores, "--json"]).stdout)
    (series,) = tree["series"]
    assert series["batches"][0]["n"] == 3 and tree["left_out"] == []
    assert "no batch to show" in CliRunner().invoke(app, ["trends", *stores, "--recipe", "other@1"]).stdout


@pytest.mark.parametrize("count", [5, 20, 40])
def test_lines_for_a_person_name_every_signal(count: int) -> None:
    from api.cli_trends import lines_of

    trend = judge_series(SERIES, [*steady(count), point("B99", "106", "107", "108")], LOW, HIGH)
    text = "\n".join(lines_of(trend, LOW, HIGH))
    assert all(signal in text for _, signal in trend.signals) and "Ppk" in text and "prior:" in text
    assert ("preliminary" in text) is (count + 1 < 20)
