"""Control charts as SVG drawn from values, each with the table of its points; nothing here knows NiceGUI.

A point that breaks a rule is a square with the rule's number beside it, and a row with the rule in words: colour never speaks alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from html import escape

from api.workstation.words import said, told, told_html
from audit.quantities import plain_text, round_to
from audit.release.trend_points import ChartKind, Point, Points

_WIDTH, _HEIGHT = 640.0, 290.0
_LEFT, _RIGHT, _TOP, _BASE = 56.0, 118.0, 34.0, 232.0
_LABELS = 7
"""Names of batches that fit below a chart."""
_TICKS = 5


@dataclass(frozen=True, slots=True)
class _Scale:
    """Maps (number of a batch, % of label) to the picture."""

    count: int
    low: float
    high: float

    def x(self, index: int) -> float:
        room = _WIDTH - _LEFT - _RIGHT
        return _LEFT + room * (index + 0.5) / max(1, self.count)

    def y(self, value: float) -> float:
        return _BASE - (value - self.low) / (self.high - self.low) * (_BASE - _TOP)


def title_of(kind: ChartKind) -> str:
    titles = {
        ChartKind.BATCHES: said("Batch means (Shewhart, individuals; Nelson's rules)"),
        ChartKind.EWMA: said("EWMA of the batch means (small shifts)"),
        ChartKind.CUSUM: said("CUSUM of the batch means (shifts that stay)"),
        ChartKind.MEANS: said("Batch means against the spread of their own units"),
        ChartKind.SPREAD: said("Standard deviation within batches"),
    }
    return titles[kind]


def axis_of(kind: ChartKind) -> str:
    """The name of the upright axis, with its unit."""
    names = {
        ChartKind.BATCHES: said("Mean content, % of label"),
        ChartKind.EWMA: said("Smoothed content, % of label"),
        ChartKind.CUSUM: said("Sum of deviations, % of label"),
        ChartKind.MEANS: said("Mean content, % of label"),
        ChartKind.SPREAD: said("Standard deviation, % of label"),
    }
    return names[kind]


def figure(value: Decimal, places: int = 2) -> str:
    """A figure as it is shown."""
    return plain_text(round_to(value, places)).replace("-", "−")


def chart_html(chart: Points) -> str:
    """A chart with its heading, its picture and its points as a table."""
    as_table = escape(said("The {count} points as a table", count=len(chart.points)))
    return (
        f'<figure class="dw-trend"><h3 class="dw-title">{escape(title_of(chart.kind))}</h3>{chart_svg(chart)}'
        f"<details><summary>{as_table}</summary>{points_table(chart)}</details></figure>"
    )


def chart_svg(chart: Points) -> str:
    """Draw the points in order of time, centre, limits, and what breaks a rule. The same in words is the picture's name."""
    scale = _scale(chart.points, chart.centre)
    return (
        f'<svg class="dw-chart dw-control" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" aria-label="{escape(alternative(chart))}">'
        f'<text x="{_LEFT}" y="18">{escape(axis_of(chart.kind))}</text>{_grid(scale)}{_names(scale, chart.points)}'
        f"{_limits(scale, chart)}{_lines(scale, chart.points)}{_marks(scale, chart.points)}</svg>"
    )


def alternative(chart: Points) -> str:
    """What the picture shows, in words."""
    broken = [said("{batch}: {rules}", batch=point.batch, rules="; ".join(map(told, point.breaks))) for point in chart.broken]
    count = len(chart.points)
    what = said(
        "{title}, {count} batches, centre {centre} % of label.", title=title_of(chart.kind), count=count, centre=figure(chart.centre)
    )
    return (
        f"{what} {said('No point breaks a rule.') if not broken else said('Points that break a rule: {points}.', points='. '.join(broken))}"
    )


def points_table(chart: Points) -> str:
    """Every point with its limits and the rules that it breaks in words: for the keyboard, for a screen reader, and to be copied."""
    sums = chart.kind is ChartKind.CUSUM
    rows = []
    for point in chart.points:
        value = f"{figure(point.value)} / {figure(point.falling)}" if point.falling is not None else figure(point.value)
        mark = f"<b>■ {'; '.join(map(told_html, point.breaks))}</b>" if point.breaks else f"✓ {escape(said('none'))}"
        rows.append(
            f"<tr><td class='dw-keep'>{escape(point.batch)}</td><td>{point.n}</td><td>{value}</td>"
            f"<td>{figure(point.lower)}</td><td>{figure(point.upper)}</td><td>{mark}</td></tr>"
        )
    value = said("Rising and falling sum, %") if sums else said("Value, %")
    head = (said("Batch"), said("Units"), value, said("Lower limit, %"), said("Upper limit, %"), said("Rules broken"))
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    return f'<table class="dw-table"><thead><tr>{names}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def _scale(points: Sequence[Point], centre: Decimal) -> _Scale:
    values = [float(value) for point in points for value in (point.value, point.lower, point.upper)]
    values += [float(point.falling) for point in points if point.falling is not None] + [float(centre)]
    low, high = min(values), max(values)
    margin = (high - low) * 0.08 or 1.0
    return _Scale(len(points), low - margin, high + margin)


def _grid(scale: _Scale) -> str:
    rows = "".join(
        f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{scale.y(value):.1f}" y2="{scale.y(value):.1f}"/>'
        f'<text x="{_LEFT - 8}" y="{scale.y(value) + 5:.1f}" text-anchor="end">{f"{value:g}".replace("-", "−")}</text>'
        for value in ticks(scale.low, scale.high)
    )
    return f'<g class="dw-grid">{rows}</g>'


def ticks(low: float, high: float) -> list[float]:
    """Return round values between two ends, about as many as fit beside the axis."""
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1.0, 2.0, 5.0, 10.0) if power * factor >= rough * 0.999)
    first = math.ceil(low / step)
    return [round(number * step, 9) for number in range(first, math.floor(high / step) + 1)]


def _names(scale: _Scale, points: Sequence[Point]) -> str:
    """Names of batches below the chart, as many as fit; and what the axis is."""
    every = -(-len(points) // _LABELS)
    shown = "".join(
        f'<text x="{scale.x(index):.1f}" y="{_BASE + 20}" text-anchor="middle" class="dw-tick">{escape(point.batch)}</text>'
        for index, point in enumerate(points)
        if index % every == 0
    )
    middle = _LEFT + (_WIDTH - _LEFT - _RIGHT) / 2
    return f'{shown}<text x="{middle:.1f}" y="{_BASE + 44}" text-anchor="middle">{escape(said("Batch, in order of time"))}</text>'


def _limits(scale: _Scale, chart: Points) -> str:
    """Centre and limits as steps, for they may differ from batch to batch; each named at its end."""
    right, last = _WIDTH - _RIGHT, chart.points[-1]
    centre = scale.y(float(chart.centre))
    drawn = f'<line class="dw-centre" x1="{_LEFT}" x2="{right}" y1="{centre:.1f}" y2="{centre:.1f}"/>'
    drawn += f'<text x="{right + 6}" y="{centre + 5:.1f}">{escape(said("centre"))} {figure(chart.centre)}</text>'
    for name, values, limit in (
        (said("upper"), [point.upper for point in chart.points], last.upper),
        (said("lower"), [point.lower for point in chart.points], last.lower),
    ):
        half = (scale.x(1) - scale.x(0)) / 2 if len(chart.points) > 1 else (right - _LEFT) / 2
        steps = " ".join(
            f"{scale.x(i) - half:.1f},{scale.y(float(v)):.1f} {scale.x(i) + half:.1f},{scale.y(float(v)):.1f}" for i, v in enumerate(values)
        )
        drawn += f'<polyline class="dw-limit" points="{steps}"/>'
        drawn += f'<text class="dw-limit-text" x="{right + 6}" y="{scale.y(float(limit)) + 5:.1f}">{escape(name)} {figure(limit)}</text>'
    return drawn


def _lines(scale: _Scale, points: Sequence[Point]) -> str:
    series = [[point.value for point in points]]
    if all(point.falling is not None for point in points):
        series.append([point.falling for point in points if point.falling is not None])
    return "".join(
        f'<polyline points="{" ".join(f"{scale.x(i):.1f},{scale.y(float(value)):.1f}" for i, value in enumerate(values))}"/>'
        for values in series
    )


def _marks(scale: _Scale, points: Sequence[Point]) -> str:
    drawn = ""
    for index, point in enumerate(points):
        x = scale.x(index)
        for value in (point.value, *(() if point.falling is None else (point.falling,))):
            y = scale.y(float(value))
            if not point.breaks:
                drawn += f'<circle class="dw-point" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
                continue
            if point.falling is not None and point.lower <= value <= point.upper:
                drawn += f'<circle class="dw-point" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
                continue
            drawn += f'<rect class="dw-broken" x="{x - 6:.1f}" y="{y - 6:.1f}" width="12" height="12"/>'
            drawn += f'<text class="dw-rule" x="{x:.1f}" y="{y - 11:.1f}" text-anchor="middle">{escape(short(point.breaks))}</text>'
    return drawn


def short(breaks: Sequence[str]) -> str:
    """The numbers of Nelson's rules that a point breaks; an exclamation mark for a limit."""
    numbers = [text.removeprefix("Nelson ").partition(":")[0] if text.startswith("Nelson ") else "!" for text in breaks]
    return ",".join(dict.fromkeys(numbers))
