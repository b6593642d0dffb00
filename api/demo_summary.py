"""What `dosewright demo` says at its end: masses, statistic, disposition, verification, files, next command."""

from __future__ import annotations

from pathlib import Path

from pydantic import JsonValue
from rich.console import Console
from rich.table import Table

from api.cli_verify import show
from api.command_name import command_name
from api.demo import PACKAGE, PROGRAM, RECORD_PDF, Outcome
from api.demo_progress import sentence
from api.site_names import VERIFIER_KEYS
from audit.quantities import QuantityError, decimal_from_text
from audit.report import Report

_MARKS = {"accepted": "✓ accepted", "rejected": "✕ rejected", "scrapped": "⊘ scrapped"}


def _objects(value: JsonValue) -> list[dict[str, JsonValue]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _rounded(value: JsonValue, places: int = 2) -> str:
    try:
        return f"{decimal_from_text(str(value)):.{places}f}"
    except QuantityError:
        return "–"


def summarise(console: Console, outcome: Outcome, reports: dict[str, Report], case: str, wall_s: float) -> None:
    """Print what came of it: masses, statistic, disposition, verification, files, next command."""
    record = outcome.record
    table = Table(box=None, pad_edge=False, padding=(0, 2), header_style="dim", title=None)
    for name, justify in (("unit", "right"), ("strength", "right"), ("mass", "right"), ("content", "right"), ("verdict", "left")):
        table.add_column(name, justify="right" if justify == "right" else "left")
    for unit in _objects(record.get("units")):
        for part in _objects(unit.get("parts")):
            _row(table, f"{unit.get('n')}.{part.get('part')}", f"{part.get('moiety')} {part.get('strength_mg')} mg", part)
        if unit.get("parts"):
            continue
        _row(table, str(unit.get("n")), f"{unit.get('strength_mg')} mg", unit)
    console.print("Units", style="bold")
    console.print(table)
    for unit in _objects(record.get("units")):
        reasons = unit.get("reasons")
        if isinstance(reasons, list) and reasons:
            console.print(f"  unit {unit.get('n')}: {'; '.join(str(reason) for reason in reasons)}", markup=False)
    for alarm in _objects(record.get("alarms")):
        what, why = sentence(alarm.get("message")), sentence(alarm.get("cause"))
        console.print(f"  ▲ {alarm.get('name')}: {what} Cause: {why}", markup=False, style="red")
    console.print("Uniformity", style="bold")
    for strength in _objects(record.get("strengths")):
        _strength(console, strength)
    _ending(console, outcome)
    console.print("Verification with the site's keys", style="bold")
    for name, report in reports.items():
        if report.findings:
            show(console, name, report)
        else:
            console.print(f"  {name}: {report.status.value}", markup=False)
    _files(console, outcome, case, wall_s, faulty=bool(outcome.refusal))


def _row(table: Table, number: str, strength: str, weighed: dict[str, JsonValue]) -> None:
    """One row for what was weighed by itself: a unit, or a part of one."""
    mass = f"{weighed['mass_mg']} mg" if weighed.get("mass_mg") else "–"
    content = f"{_rounded(weighed['content_percent'])} %" if weighed.get("content_percent") else "–"
    table.add_row(number, strength, mass, content, _MARKS.get(str(weighed.get("verdict")), str(weighed.get("verdict"))))


def _strength(console: Console, strength: dict[str, JsonValue]) -> None:
    uniformity = strength.get("uniformity")
    if not isinstance(uniformity, dict):
        return
    statistic = uniformity.get("statistic")
    value = ""
    if isinstance(statistic, dict) and statistic.get("value_percent") is not None:
        # only where it is one may it be called an acceptance value
        label = "AV" if str(statistic.get("name")).startswith("acceptance value") else "statistic"
        value = f"; {label} {_rounded(statistic['value_percent'])}, limit {statistic.get('limit_percent')}"
    named = f"{strength['moiety']} " if strength.get("moiety") else ""
    mean = f"mean {_rounded(uniformity.get('mean_percent'))} % of label"
    console.print(f"  {named}{strength.get('strength_mg')} mg: n = {uniformity.get('n')}, {mean}{value}", markup=False)
    if uniformity.get("claim"):
        console.print(f"  {uniformity['claim']}", markup=False, style="dim")


def _ending(console: Console, outcome: Outcome) -> None:
    if outcome.refusal:
        console.print("Release was tried with what must leave the plate still on it, and refused:", style="bold")
        for reason in outcome.refusal:
            console.print(f"  {reason}", markup=False)
        console.print(f"Then a second person confirmed that {', '.join(outcome.removed)} left the plate.", markup=False)
    released = outcome.disposition == "released"
    console.print(f"Disposition: {outcome.disposition}", style="bold green" if released else "bold red")
    if not released:
        proposal = outcome.record.get("proposal")
        reasons = proposal.get("reasons") if isinstance(proposal, dict) else None
        for text in reasons if isinstance(reasons, list) else []:
            console.print(f"  {text}", markup=False)
        console.print("Nothing was released. This is exit status 3, and with a fault it is the right end.")


def _files(console: Console, outcome: Outcome, case: str, wall_s: float, *, faulty: bool) -> None:
    folder = outcome.folder
    console.print(f"Files in {folder}", style="bold", markup=False)
    for name, what in (
        (PROGRAM, "the program as it was sent"),
        (RECORD_PDF, "the batch record, with its data inside"),
        (PACKAGE, "what a QP takes away"),
        *((label, "the label of a pack, crossed out: not for clinical use") for label in outcome.labels),
        (VERIFIER_KEYS, "the site's verifier keys, from outside the package"),
        ("workstation.db, cell-1.db", "the two trails"),
    ):
        console.print(f"  {name:<26} {what}", markup=False)
    shown = Path(folder.name) if folder.parent == Path.cwd() else folder
    console.print(
        f"Done in {wall_s:.1f} s. Next: {command_name()} verify {shown / PACKAGE} --trusted-key {shown / VERIFIER_KEYS}", markup=False
    )
    if not faulty:
        console.print(f"See it stop: {command_name()} demo --case {case} --fault clog", markup=False)
