"""A series of batches judged together: charts, signals, capability, and the prior that such a history would give; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from audit.canonical import JsonObject, JsonValue
from audit.quantities import EXACT, plain_text, round_to
from audit.release.small_batch import FEWEST_BATCHES, Prior, prior_from_history
from audit.release.trend_query import BatchPoint, Series
from audit.release.trends import (
    Capability,
    Chart,
    Cusum,
    Index,
    Subgroup,
    capability_of,
    cusum,
    deviations_chart,
    ewma,
    individuals,
    means_chart,
    moving_range_sigma,
    nelson,
)

EWMA_WEIGHT = Decimal("0.2")
CUSUM_SLACK, CUSUM_DECISION = Decimal("0.5"), Decimal(4)
"""In standard deviations: a shift of one is looked for (NIST 6.3.2.3)."""

SETTLED = 20
"""Below as many batches the limits of a chart are preliminary."""


@dataclass(frozen=True, slots=True)
class Trend:
    """What the charts of one series show. `signals`: batch and what it signals, in words; charts are None for fewer than two batches."""

    series: Series
    groups: tuple[Subgroup, ...]
    means: Chart | None
    between: Chart | None
    smoothed: Chart | None
    sums: Cusum | None
    signals: tuple[tuple[str, str], ...]
    capability: Capability | None
    prior: Prior | None
    demonstration: bool

    @property
    def is_preliminary(self) -> bool:
        return len(self.groups) < SETTLED

    def as_record(self) -> JsonObject:
        """Return the figures as decimal text with four decimals."""
        return {
            "recipe": self.series.recipe,
            "moiety": self.series.moiety,
            "strength_mg": self.series.strength_mg,
            "demonstration": self.demonstration,
            "preliminary": self.is_preliminary,
            "batches": [{"batch": g.name, "n": g.n, "mean_percent": _text(g.mean), "sd_percent": _text(g.sd)} for g in self.groups],
            "charts": {
                name: None if chart is None else _chart(chart)
                for name, chart in (("means", self.means), ("between", self.between), ("ewma", self.smoothed))
            },
            "signals": [{"batch": batch, "signal": signal} for batch, signal in self.signals],
            "capability": None if self.capability is None else _capability(self.capability),
            "prior": None if self.prior is None else self.prior.text,
        }


def judge_series(series: Series, points: Sequence[BatchPoint], low: Decimal, high: Decimal) -> Trend:
    """Judge the batches of a series in their order; `low` and `high` are limits for a unit's content in % of label.

    All units weighed count, also those rejected: what was accepted alone would always look capable. A batch of one unit has no spread
    and is on no chart.
    """
    batches = [point for point in points if len(point.contents) > 1]
    groups = tuple(Subgroup.of(point.batch, point.contents) for point in batches)
    demonstration = any(point.demonstration for point in points)
    if len(groups) < 2:
        return Trend(series, groups, None, None, None, None, (), None, None, demonstration)
    values = [group.mean for group in groups]
    means, spread, between, sigma = means_chart(groups), deviations_chart(groups), individuals(values), moving_range_sigma(values)
    found = [(groups[i].name, "mean further from the others than its own units explain") for i in means.outside]
    found += [(groups[i].name, "standard deviation unlike that of the others") for i in spread.outside]
    smoothed, sums = None, None
    if sigma > 0:
        smoothed = ewma(values, between.centre, sigma, weight=EWMA_WEIGHT)
        sums = cusum(
            values,
            between.centre,
            slack=EXACT.multiply(CUSUM_SLACK, sigma),
            decision=EXACT.multiply(CUSUM_DECISION, sigma),
        )
        found += [(groups[i].name, "EWMA beyond its limit") for i in smoothed.outside]
        found += [(groups[i].name, "CUSUM beyond its decision limit") for i in sums.outside]
        found += [(groups[s.index].name, f"Nelson {s.rule.value}") for s in nelson(values, between.centre, sigma)]
    contents = [point.contents for point in batches]
    order = {group.name: i for i, group in enumerate(groups)}
    return Trend(
        series=series,
        groups=groups,
        means=means,
        between=between,
        smoothed=smoothed,
        sums=sums,
        signals=tuple(sorted(found, key=lambda item: order[item[0]])),
        capability=_capable(contents, low, high),
        prior=_prior(series, batches),
        demonstration=demonstration,
    )


def _capable(contents: Sequence[Sequence[Decimal]], low: Decimal, high: Decimal) -> Capability | None:
    try:
        return capability_of(contents, low, high)
    except ValueError:
        return None


def _prior(series: Series, batches: Sequence[BatchPoint]) -> Prior | None:
    if len(batches) < FEWEST_BATCHES:
        return None
    history = f"{len(batches)} batches of {series.recipe}, {series.strength_mg} mg, {batches[0].batch} to {batches[-1].batch}"
    try:
        return prior_from_history([point.contents for point in batches], history)
    except ValueError:
        return None


def _chart(chart: Chart) -> JsonObject:
    rows: list[JsonValue] = [
        {"value": _text(value), "lower": _text(low), "upper": _text(high)}
        for value, low, high in zip(chart.values, chart.lower, chart.upper, strict=True)
    ]
    return {"centre": _text(chart.centre), "points": rows}


def _capability(found: Capability) -> JsonObject:
    indices = (("Cp", found.cp), ("Cpk", found.cpk), ("Pp", found.pp), ("Ppk", found.ppk))
    return {name: _index(index) for name, index in indices}


def _index(index: Index) -> JsonObject:
    return {"value": _text(index.value), "lower_95": _text(index.lower), "upper_95": _text(index.upper)}


def _text(value: Decimal) -> str:
    return plain_text(round_to(value, 4))
