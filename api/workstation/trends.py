"""The page of trends: a question as a plain form, then each strength by itself, with its charts, its signals and its capability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from urllib.parse import urlencode

from nicegui import run, ui

from api.read_form import read_form
from api.trend_desk import TrendQuestion, Trends
from api.workstation.cards import card, page_head, table, text
from api.workstation.language_files import Language
from api.workstation.pieces import INERT
from api.workstation.refusal import refusal_html
from api.workstation.trend_charts import chart_html, figure
from api.workstation.visitor import Visitor
from api.workstation.words import said, speaking, spoken, told_html
from audit.errors import DosewrightError
from audit.release.trend_points import charts_of
from audit.release.trend_report import SETTLED, Trend
from audit.release.trends import Index

_FIELDS = ("recipe", "ink_lot", "cell", "since", "until", "low", "high")


def form_html(asked: Mapping[str, str], found: Trends | None) -> str:
    """The question as a form that needs no script."""

    def choice(name: str, label: str, values: Sequence[str]) -> str:
        items = "".join(
            f'<option value="{escape(value)}"{" selected" if value == asked[name] else ""}>{escape(value or said("all"))}</option>'
            for value in ("", *values)
        )
        select = f'<select id="trend-{name}" name="{name}">{items}</select>'
        return f'<div><label for="trend-{name}">{escape(label)}</label>{select}</div>'

    def field(name: str, label: str, kind: str, more: str = "") -> str:
        value = escape(asked[name])
        return (
            f'<div><label for="trend-{name}">{escape(label)}</label>'
            f'<input id="trend-{name}" name="{name}" type="{kind}" value="{value}" maxlength="20"{more}></div>'
        )

    recipes, lots, cells = (found.recipes, found.ink_lots, found.cells) if found is not None else ((), (), ())
    decimal = ' inputmode="decimal"'
    # as in the record: a field of the browser's for days would write them in an order of its own
    day = r' placeholder="2026-03-01" pattern="\d{4}-\d{2}-\d{2}"'
    return (
        '<form method="get" action="/trends" class="dw-find" role="search">'
        f"{choice('recipe', said('Recipe version'), recipes)}{choice('ink_lot', said('Ink lot'), lots)}"
        f"{choice('cell', said('Cell'), cells)}"
        f"{field('since', said('From (day)'), 'text', day)}{field('until', said('To (day)'), 'text', day)}"
        f"{field('low', said('Lower limit, % of label'), 'text', decimal)}{field('high', said('Upper limit, % of label'), 'text', decimal)}"
        f'<div class="dw-find-act dw-wide"><button class="dw-plain">{escape(said("Show"))}</button>'
        f'<a class="dw-plain" href="/trends">{escape(said("Clear"))}</a>'
        f'<a class="dw-plain" href="/api/v1/trends/points?{escape(urlencode({k: v for k, v in asked.items() if v}))}">'
        f"{escape(said('All points as CSV'))}</a></div></form>"
    )


def summary_html(trend: Trend, low: str, high: str) -> str:
    """What can be said of a strength, and that little can be said where there is little."""
    batches, units = len(trend.groups), sum(group.n for group in trend.groups)
    count = said("Batches of two units and more: {batches}; units weighed, the rejected ones too: {units}.", batches=batches, units=units)
    mark = f'<p class="dw-quiet">{escape(said("Made on a demonstration bench."))}</p>' if trend.demonstration else ""
    parts = (signals_html(trend), capability_html(trend, low, high, units))
    beside = "".join(f"<div>{part}</div>" for part in parts if part)
    return f'<p>{escape(count)}</p>{mark}{_statement(trend)}<div class="dw-beside">{beside}</div>'


def _statement(trend: Trend) -> str:
    if trend.between is None:
        words = said("Too few for a chart: it takes two batches of two units each.")
    elif trend.is_preliminary:
        words = said(
            "Too few for a statement: below {settled} batches the limits are preliminary, and the bounds are wide.", settled=SETTLED
        )
    else:
        return ""
    return f'<p class="dw-few">▲ {escape(words)}</p>'


def signals_html(trend: Trend) -> str:
    """Every signal, a reason to look; no disposition follows from one."""
    if trend.between is None:
        return ""
    if not trend.signals:
        return f"<p>✓ {escape(said('No point breaks a rule.'))}</p>"
    of_batch: dict[str, list[str]] = {}
    for batch, signal in trend.signals:
        of_batch.setdefault(batch, []).append(signal)
    rows = "".join(f"<li>■ <b>{escape(batch)}</b>: {'; '.join(map(told_html, signals))}</li>" for batch, signals in of_batch.items())
    note = said("A signal is a reason to look at the process; no disposition follows from it.")
    head = f'<h3 class="dw-title">{escape(said("Points that break a rule"))}</h3>'
    return f'{head}<ul class="dw-list dw-signals">{rows}</ul><p class="dw-quiet">{escape(note)}</p>'


def capability_html(trend: Trend, low: str, high: str, units: int) -> str:
    found = trend.capability
    if found is None:
        return f'<p class="dw-quiet">{escape(said("No capability: the units are too few, or do not differ at all."))}</p>'
    indices: tuple[tuple[str, str, Index], ...] = (
        ("Cp", said("within batches, spread alone"), found.cp),
        ("Cpk", said("within batches, with the mean"), found.cpk),
        ("Pp", said("all units, spread alone"), found.pp),
        ("Ppk", said("all units, with the mean"), found.ppk),
    )
    rows = [
        f"<tr><td><b>{name}</b><br><span class='dw-quiet'>{escape(meaning)}</span></td><td><b>{figure(index.value)}</b></td>"
        f"<td class='dw-keep'>{_interval(index)}</td><td>{units}</td></tr>"
        for name, meaning, index in indices
    ]
    head = (said("Index"), said("Value"), said("95 % confidence interval"), said("n, units"))
    against = said("Capability against {low} to {high} % of label", low=low, high=high)
    return f'<h3 class="dw-title">{escape(against)}</h3>{table(head, rows, "")}'


def _interval(index: Index) -> str:
    return escape(said("{low} to {high}", low=figure(index.lower), high=figure(index.upper)))


def _refused(error: DosewrightError, language: Language) -> str:
    """A refusal in a thread, which knows no page."""
    with speaking(language):
        return refusal_html(error)


class TrendsPage:
    """Builds the page of one visit. Lifetime: that of the page."""

    def __init__(self, visitor: Visitor, query: Mapping[str, str]) -> None:
        self._visitor = visitor
        self._asked = {name: query.get(name, "").strip()[:80] for name in _FIELDS}
        page_head(visitor, "/trends")

    async def build(self) -> None:
        """Ask, off the event loop, and show the answer or what is wrong with the question."""
        found, problem = await run.io_bound(self._answer, spoken()) or (None, "")
        if found is not None:
            self._asked |= {"low": found.low, "high": found.high}
        with ui.element("div").classes("dw-body dw-one"), ui.element("div").classes("dw-col").props(INERT):
            with card(said("Trends across batches")):
                text(problem + form_html(self._asked, found))
                models = said("Process models are monitored on their own page.")
                text(f'<p class="dw-quiet dw-back"><a href="/models">{escape(models)}</a></p>')
            if found is None:
                return
            if not found.trends:
                with card(said("Nothing to show")):
                    text(f'<p class="dw-quiet">{escape(said("No closed batch with weighed units meets this."))}</p>')
            for trend in found.trends:
                self._series(trend, found)
            if found.left_out:
                rows = "".join(f"<li>{escape(batch)}: {told_html(reason)}</li>" for batch, reason in found.left_out)
                with card(said("Left out")):
                    text(f'<ul class="dw-list">{rows}</ul>')

    def _answer(self, language: Language) -> tuple[Trends | None, str]:
        try:
            return self._visitor.workstation.trends.trends(read_form(TrendQuestion, self._asked)), ""
        except DosewrightError as error:
            return None, f'<p class="dw-problem" role="alert">▲ {_refused(error, language)}</p>'

    @staticmethod
    def _series(trend: Trend, found: Trends) -> None:
        series = trend.series
        with card(said("{recipe}: {active} {strength} mg", recipe=series.recipe, active=series.moiety, strength=series.strength_mg)):
            charts = "".join(chart_html(chart) for chart in charts_of(trend))
            text(f'<div class="dw-trends">{charts}</div>{summary_html(trend, found.low, found.high)}')
