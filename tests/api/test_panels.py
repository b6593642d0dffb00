"""The page's parts as text: nothing by colour alone, nothing unescaped, nothing stale shown as fresh."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.cell_feed import CellView
from api.status import AlarmStatus, CellStatus, Link, Sensor, UnitStatus
from api.workstation import panels
from api.workstation.login import login_page
from api.workstation.look import PAGE_STYLE
from api.workstation.running import Drawn


@pytest.fixture
def status(canned: dict[str, Any]) -> CellStatus:
    return CellStatus.model_validate(canned)


def _place(unit: UnitStatus, mass: str) -> float:
    found = re.search(r"left:([0-9.]+)%", panels.unit_card(unit.model_copy(update={"mass_mg": mass})))
    assert found is not None
    return float(found.group(1))


def test_every_verdict_has_a_word_and_a_symbol(status: CellStatus) -> None:
    text = panels.unit_grid(status.units)
    for symbol, word in (("✓", "accepted"), ("✕", "rejected"), ("▸", "printing"), ("·", "planned")):
        assert re.search(rf"{symbol}</i> {word}", text)
    assert "take it off the plate" in text and "431.20 mg is below 443.8 mg" in text


def test_mass_is_placed_between_its_limits(status: CellStatus) -> None:
    unit = status.units[0]
    assert _place(unit, "443.8") == 20.0 and _place(unit, "490.5") == 80.0 and abs(_place(unit, "467.15") - 50.0) < 0.1
    assert _place(unit, "0.1") == 1.5 and _place(unit, "9999") == 98.5


@pytest.mark.parametrize("quality", ["stale", "unknown"])
def test_reading_that_is_not_good_is_unknown(quality: str) -> None:
    old = Sensor.model_validate({"value": "187.4", "unit": "kPa", "age_ms": 9000, "quality": quality})
    text = panels.sensor_panel(CellStatus(cell="c", sensors={"pressure": old}))
    assert "187.4" not in text and "unknown" in text and quality in text


def test_silent_cell_is_shown_as_unknown() -> None:
    text = panels.state_panel(CellStatus(cell="c", state="UNKNOWN"), "The cell does not answer.")
    assert "Unknown" in text and 'role="alert"' in text


def test_stop_is_a_plain_form() -> None:
    text = panels.stop_form("cell-1")
    assert 'method="post"' in text and 'action="/api/v1/cells/cell-1/stop"' in text and "script" not in text and "onclick" not in text


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)


@given(st.text(max_size=40))
def test_nothing_from_outside_becomes_markup(text: str) -> None:
    hostile = f"<img src=x onerror=alert(1)>{text}\"'"
    unit = UnitStatus(unit=hostile, n=1, strength_mg=hostile, target_mass_mg="1", verdict="rejected", reasons=(hostile,))
    alarm = AlarmStatus(alarm=hostile, name=hostile, message=hostile, cause=hostile, consequence=hostile, action=hostile, state=hostile)
    parts = [
        panels.unit_card(unit),
        panels.alarm_text(alarm),
        panels.header(hostile, hostile, hostile, hostile),
        panels.stop_form(hostile),
        panels.state_panel(CellStatus(cell="c", state=hostile), hostile),
        panels.demonstration_banner(hostile),
        login_page(demonstration=True, message=hostile),
    ]
    for part in parts:
        tags = Tags()
        tags.feed(part)
        assert "img" not in tags.found


def test_chart_says_its_last_value_and_its_limit(status: CellStatus) -> None:
    now = status
    text = panels.pressure_chart(now.trace, now.sensors["pressure"])
    assert "high limit 400" in text and re.search(r'aria-label="[^"]*last [0-9.]+ kPa', text)
    assert "no readings yet" in panels.pressure_chart((), None)


def test_nothing_is_fetched_from_outside() -> None:
    assert not re.search(r"https?://|@import|url\(", PAGE_STYLE + login_page(demonstration=True))


def test_a_device_that_is_away_is_named_in_words() -> None:
    status = CellStatus(cell="cell-1", ports={"balance": "is there again: XPR204, serial number <1>"})
    shown = panels.sensor_panel(status)
    assert "Balance" in shown and "is there again: XPR204, serial number &lt;1&gt;" in shown
    assert "dw-ports" not in panels.sensor_panel(CellStatus(cell="cell-1"))


def test_a_chart_of_a_minute_is_thin_and_loses_no_peak() -> None:
    trace = [(n * 50_000, "152.3" if n == 777 else f"{100 + n % 7}.{n % 10}") for n in range(1200)]
    text = panels.pressure_chart(trace, None)
    line = re.search(r'<polyline points="([^"]*)"', text)
    assert line is not None
    points = [tuple(float(part) for part in point.split(",")) for point in line[1].split(" ")]
    assert len(points) <= 2 * 121 + 1 and [x for x, _ in points] == sorted(x for x, _ in points)
    scale = panels._Scale(trace[-1][0] - 60_000_000, 60_000_000, panels._round_top(152.3))
    assert (round(scale.x(777 * 50_000), 1), round(scale.y(152.3), 1)) in points
    assert points[-1] == (round(scale.x(trace[-1][0]), 1), round(scale.y(float(trace[-1][1])), 1))
    assert f"last {float(trace[-1][1]):g} kPa" in text


def test_what_is_drawn_once_belongs_to_one_view() -> None:
    drawn = Drawn()
    first = CellView(CellStatus(cell="cell-1", state="PRINTING"))
    assert drawn.of(first) is drawn.of(first)
    silent = CellView(CellStatus(cell="cell-1", state="UNKNOWN"), "The cell does not answer.")
    assert "does not answer" in drawn.of(silent)["state"] and "PRINTING" not in drawn.of(silent)["state"]
    other = CellView(CellStatus(cell="cell-2", state="PRINTING"))
    assert "PRINTING" in drawn.of(other)["state"] and "UNKNOWN" in drawn.of(silent)["state"]


def test_a_device_at_rest_is_neither_a_fault_nor_a_reading() -> None:
    unused = Sensor.model_validate({"value": None, "unit": "kPa", "quality": "unused"})
    words = "since the run ended at 2026-11-20 14:03:22 UTC; last identified as <Marlin>"
    status = CellStatus(cell="c", sensors={"pressure": unused}, resting={"pressure": words, "link": words}, link=Link(quality="unused"))
    text = panels.sensor_panel(status)
    assert text.count("not in use") == 2 and "unknown" not in text and "dw-q-unused" in text
    assert "last identified as &lt;Marlin&gt;" in text
    points = ((1, "187.4"), (2, "187.5"))
    assert "end of the run" in panels.pressure_chart(points, unused) and ">now<" not in panels.pressure_chart(points, unused)
    stale = unused.model_copy(update={"quality": "stale"})
    assert "last reading" in panels.pressure_chart(points, stale)


def test_with_two_heads_each_nozzle_is_named_with_its_head() -> None:
    nozzle = Sensor.model_validate({"value": "40.01", "unit": "degC", "quality": "good", "age_ms": 1})
    one = panels.sensor_panel(CellStatus(cell="c", sensors={"nozzle": nozzle}))
    two = panels.sensor_panel(CellStatus(cell="c", sensors={"nozzle": nozzle, "nozzle_2": nozzle}))
    assert "<small>Nozzle</small>" in one
    assert "<small>Nozzle of head 1</small>" in two and "<small>Nozzle of head 2</small>" in two
