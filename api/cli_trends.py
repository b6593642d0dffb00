"""`dosewright trends`: how batches of a recipe compare with each other, from the trails alone."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from api import completions
from api.cli_options import AsJson, print_json
from audit.quantities import decimal_from_text, plain_text, round_to
from audit.reader import TrailReader
from audit.release.trail_view import TrailView
from audit.release.trend_query import find_batches
from audit.release.trend_report import SETTLED, Trend, judge_series
from audit.release.trends import Index


def trends(
    workstation: Annotated[
        str,
        typer.Argument(help="The workstation's store, site/workstation.db or a postgresql:// address.", autocompletion=completions.stores),
    ],
    cells: Annotated[
        list[Path], typer.Argument(help="The stores of its cells, for example site/cell-1.db.", autocompletion=completions.stores)
    ],
    recipe: Annotated[str, typer.Option(help="Only this recipe, as id@version.", autocompletion=completions.recipe_versions)] = "",
    low: Annotated[str, typer.Option(help="Lower limit of a unit's content, % of label.")] = "85.0",
    high: Annotated[str, typer.Option(help="Upper limit of a unit's content, % of label.")] = "115.0",
    as_json: AsJson = False,
) -> None:
    """Show charts, signals and capability of each strength across batches; nothing is written."""
    limits = decimal_from_text(low, "--low"), decimal_from_text(high, "--high")
    found = find_batches(_view(workstation), [_view(str(cell)) for cell in cells])
    rows = [(series, points) for series, points in found.by_series().items() if recipe in ("", series.recipe)]
    judged = [judge_series(series, points, *limits) for series, points in rows]
    if as_json:
        left_out = [{"batch": batch, "reason": reason} for batch, reason in found.left_out]
        print_json({"series": [trend.as_record() for trend in judged], "left_out": left_out})
        return
    console = Console(highlight=False, soft_wrap=True)
    for trend in judged:
        for line in lines_of(trend, *limits):
            console.print(line, markup=False)
    for batch, reason in found.left_out:
        console.print(f"left out: {batch}, {reason}", markup=False)
    if not judged:
        console.print("no batch to show", markup=False)


def _view(store: str) -> TrailView:
    with TrailReader(store) as reader:
        return TrailView(list(reader.lines()))


def lines_of(trend: Trend, low: Decimal, high: Decimal) -> list[str]:
    """Return what a series shows as lines for a person."""
    series = trend.series
    mark = "  DEMONSTRATION" if trend.demonstration else ""
    lines = [f"{series.recipe}, {series.moiety} {series.strength_mg} mg: {len(trend.groups)} batches of two units and more{mark}"]
    lines += [f"  {group.name:12s} n = {group.n:3d}  mean {_two(group.mean)} %  s {_two(group.sd)} %" for group in trend.groups]
    if trend.between is None:
        return [*lines, "  a chart takes two batches"]
    between = trend.between
    lines.append(f"  batch means: centre {_two(between.centre)} %, limits {_two(between.lower[0])} to {_two(between.upper[0])} %")
    if trend.is_preliminary:
        lines.append(f"  limits are preliminary below {SETTLED} batches")
    lines += [f"  ! {batch}: {signal}" for batch, signal in trend.signals] or ["  no signal"]
    if (found := trend.capability) is not None:
        lines.append(f"  capability against {plain_text(low)}–{plain_text(high)} % of label, with 95 % bounds, all weighed units:")
        pairs = (("Cp", found.cp), ("Cpk", found.cpk), ("Pp", found.pp), ("Ppk", found.ppk))
        lines.append("  " + ", ".join(f"{name} {_index(index)}" for name, index in pairs))
    if trend.prior is not None:
        lines.append(f"  history for small batches, {trend.prior.text}")
    return lines


def _index(index: Index) -> str:
    return f"{_two(index.value)} ({_two(index.lower)} to {_two(index.upper)})"


def _two(value: Decimal) -> str:
    return plain_text(round_to(value, 2))
