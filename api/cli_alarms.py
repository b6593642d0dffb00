"""`dosewright alarms`: the figures of the alarm system, from a cell's trail alone."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from api import completions
from api.cli_options import AsJson, print_json
from audit.clock import utc_text
from audit.reader import TrailReader
from printer.alarm_figures import Figures, events_of, figures


def alarms(
    store: Annotated[Path, typer.Argument(help="The cell's store, for example site/cell-1.db.", autocompletion=completions.stores)],
    run: Annotated[str, typer.Option(help="Only this run.")] = "",
    as_json: AsJson = False,
) -> None:
    """Show rate, floods, chatter, stale alarms and times to acknowledge; nothing is written."""
    reader = TrailReader(store)
    try:
        entries = [entry for entry in reader.entries() if not run or entry.subject.id.startswith(f"{run}/")]
    finally:
        reader.close()
    found = figures(events_of(entries), utc_text(datetime.now(UTC)))
    if as_json:
        print_json(found.as_record())
        return
    console = Console(highlight=False, soft_wrap=True)
    for line in _lines(found):
        console.print(line, markup=False)


def _lines(found: Figures) -> list[str]:
    lines = [found.text(), "by priority: " + (", ".join(f"{count} {name}" for name, count in found.by_priority) or "none")]
    if found.acknowledged:
        lines.append(
            f"acknowledged: {found.acknowledged}, median after {found.acknowledge_median_s} s, longest {found.acknowledge_longest_s} s; "
            f"{found.acknowledged_late} later than their time to respond"
        )
    if found.stale:
        lines.append(f"not acknowledged for a day: {', '.join(found.stale)}")
    return lines + [f"  {count:4d}  {name}" for name, count in found.most_frequent]
