"""`dosewright doctor`: whether this machine and a site on it are fit for work, and what to do where they are not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from api.cli_options import AsJson, print_json
from api.doctor.examine import examine
from api.doctor.finding import Finding, Outcome, worst
from api.settings import FILE_NAME
from audit.clock import utc_text
from audit.version import SOFTWARE

_USUAL = Path("site")
_FAILED = 1
_MARKS = {Outcome.PASSED: "✓", Outcome.WARNING: "!", Outcome.FAILED: "✕", Outcome.NOT_CHECKED: "–"}
_AREAS = {
    "software": "Software",
    "site": "Site",
    "rights": "Rights",
    "disk": "Disk",
    "clock": "Clock",
    "store": "Record",
    "keys": "Keys and certificates",
    "ports": "Ports",
    "web": "Workstation",
}
_STYLES = {Outcome.FAILED: "bold red", Outcome.WARNING: "yellow"}


def doctor(
    site: Annotated[Path | None, typer.Option(help="Folder of the site; else ./site, where there is one.")] = None,
    port: Annotated[int | None, typer.Option(help="Port of the workstation, where it is served at another.", min=1, max=65535)] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show only what is not passed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check software, site, rights, disk, clock, record, keys, ports and page, and say what to do.

    Nothing is changed, sent or opened for writing; a site may be served meanwhile. Every entry of the trails is checked by
    `dosewright verify`.

    Exit status: 0 passed, perhaps with warnings; 1 a check failed; 2 an error.
    """
    folder = site if site is not None else _USUAL if (_USUAL / FILE_NAME).is_file() else None
    findings = list(examine(folder, port))
    outcome = worst(findings)
    if as_json:
        counts = Counter(finding.outcome.value for finding in findings)
        print_json(
            {
                "software": SOFTWARE,
                "at": utc_text(datetime.now(UTC)),
                "site": None if folder is None else str(folder),
                "outcome": outcome.value,
                "counts": {item.value: counts[item.value] for item in Outcome},
                "checks": [finding.as_record() for finding in findings],
            }
        )
    else:
        _show(Console(highlight=False, soft_wrap=True), findings, quiet=quiet)
    raise typer.Exit(_FAILED if outcome is Outcome.FAILED else 0)


def _show(console: Console, findings: Sequence[Finding], *, quiet: bool) -> None:
    """Print the findings by area, what is wrong with what to do; then how many there are of each outcome."""
    for area, title in _AREAS.items():
        mine = [finding for finding in findings if finding.area == area and not (quiet and finding.outcome is Outcome.PASSED)]
        if mine:
            console.print(title, style="bold", markup=False)
        for finding in mine:
            _show_one(console, finding)
    counts = Counter(finding.outcome for finding in findings)
    said = ", ".join(f"{counts[outcome]} {outcome.value}" for outcome in Outcome if counts[outcome])
    console.print(f"{len(findings)} checks: {said}", style="bold", markup=False)


def _show_one(console: Console, finding: Finding) -> None:
    what = finding.check.partition(".")[2]
    subject = f" {finding.subject}" if finding.subject else ""
    found = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in finding.found)
    line = f"  {_MARKS[finding.outcome]} {what}{subject}: {found}"
    console.print(
        f"{line} (not checked)" if finding.outcome is Outcome.NOT_CHECKED else line, markup=False, style=_STYLES.get(finding.outcome)
    )
    if finding.remedy:
        console.print(f"      → {finding.remedy}", markup=False)
