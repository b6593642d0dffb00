"""What a repeated run came to, as lines for a person and as data."""

from __future__ import annotations

import json

from rich.console import Console

from audit.canonical import JsonValue
from audit.version import SOFTWARE
from printer.replay import Comparison, Difference
from printer.replay_check import ReplayedRun

_LONGEST_SHOWN = 200


def _outcome(outcome: ReplayedRun) -> str:
    if outcome.refused:
        return "refused anew"
    return "identical" if outcome.identical else "differs"


def as_record(outcome: ReplayedRun, software: str) -> dict[str, JsonValue]:
    comparison = outcome.comparison
    record: dict[str, JsonValue] = {
        "outcome": _outcome(outcome),
        "order": outcome.order,
        "units": outcome.units,
        "recorded_by": software,
        "replayed_by": SOFTWARE,
        "journal_segments": outcome.segments,
        "inputs": outcome.inputs,
    }
    if outcome.refused:
        return {**record, "refused": outcome.refused}
    if comparison is None:
        return record
    difference: JsonValue = None
    if comparison.difference is not None:
        fields = [{"field": name, "recorded": old, "replayed": new} for name, old, new in comparison.difference.fields]
        difference = {"place": comparison.difference.place, "kind": comparison.difference.kind, "fields": fields}
    return {
        **record,
        "entries": comparison.entries,
        "recorded_sha256": comparison.recorded_sha256,
        "replayed_sha256": comparison.replayed_sha256,
        "difference": difference,
        "unsealed": list(comparison.unsealed),
        "later": list(comparison.later),
    }


def show(console: Console, outcome: ReplayedRun, software: str) -> None:
    console.print(f"{'✓' if outcome.identical else '✕'} {outcome.run}: {_outcome(outcome)}", markup=False, style="bold")
    console.print(f"  recorded by  {software}", markup=False)
    console.print(f"  replayed by  {SOFTWARE}", markup=False)
    if outcome.refused:
        console.print(f"  order {outcome.order} is not admitted now: {outcome.refused}", markup=False)
    elif outcome.comparison is not None:
        console.print(f"  admitted     order {outcome.order}, {outcome.units} units: dose, program and proof made anew", markup=False)
        console.print(f"  inputs       {outcome.inputs} in {outcome.segments} sealed segments", markup=False)
        _compared(console, outcome.comparison)


def _compared(console: Console, comparison: Comparison) -> None:
    console.print(f"  entries      {comparison.entries} the same", markup=False)
    console.print(f"  recorded     {comparison.recorded_sha256}", markup=False)
    console.print(f"  replayed     {comparison.replayed_sha256}", markup=False)
    if comparison.difference is not None:
        _different(console, comparison.difference)
    if comparison.unsealed:
        console.print(
            f"  not replayed {_count(comparison.unsealed)} after the last sealed inputs: the cell was interrupted, and the inputs of "
            f"the unit in progress were lost with its process ({_kinds(comparison.unsealed)})",
            markup=False,
        )
    if comparison.later:
        console.print(f"  not replayed {_count(comparison.later)} after the run's end ({_kinds(comparison.later)})", markup=False)


def _different(console: Console, difference: Difference) -> None:
    console.print(f"  The first that differs is {difference.place}, {difference.kind}:", markup=False)
    for name, recorded, replayed in difference.fields:
        console.print(f"    {name}: recorded {_text(recorded)}, replayed {_text(replayed)}", markup=False)


def _text(value: JsonValue) -> str:
    text = "nothing" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def _count(kinds: tuple[str, ...]) -> str:
    return "1 entry" if len(kinds) == 1 else f"{len(kinds)} entries"


def _kinds(kinds: tuple[str, ...]) -> str:
    return ", ".join(dict.fromkeys(kinds))
