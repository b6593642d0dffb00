"""Documents made from the code: state diagrams, error codes, event kinds, the HTTP interface. `--write` or `--check`."""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from audit.errors import DosewrightError
from audit.events import MEANINGS
from audit.quantities import Centimetre, Kilogram, Year, round_to
from printer.alarm_states import TABLE, AlarmEvent, AlarmState, Either
from printer.alarm_states import mermaid as alarm_diagram
from printer.alarms import DEFINITIONS, AlarmClass, AlarmDefinition
from printer.states import mermaid
from recipes.bsa import METHODS, body_surface_area
from recipes.errors import DoseRefused
from recipes.model import BsaFormula, Sex

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("audit", "recipes", "firmware_bridge", "printer", "api")
MADE = "<!-- Made from the code by `make docs`; do not edit. -->\n\n"


def run_states() -> str:
    return f"{MADE}# States of a run\n\nFrom the transition table in `printer/states.py`.\n\n```mermaid\n{mermaid()}```\n"


def cell_page() -> str:
    """The page on the cell with its diagram of states made anew; the rest of it is written by hand."""
    text = (ROOT / "docs/cell.md").read_text(encoding="utf-8")
    begin, end = "<!-- states: made from the code by `make docs` -->\n", "<!-- end of states -->"
    before, found, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise ValueError("docs/cell.md has lost the marks around its diagram of states")
    return f"{before}{begin}\n```mermaid\n{mermaid()}```\n\n{end}{after}"


BODIES = (("3", "50"), ("10", "75"), ("18", "110"), ("30", "135"), ("70", "175"))
"""Weight in kg and a typical height in cm, at which all formulas are shown."""


def dose_page() -> str:
    """The page on the dose with its tables of body surface made anew; the rest of it is written by hand."""
    text = (ROOT / "docs/dose.md").read_text(encoding="utf-8")
    begin, end = "<!-- body surface: made from the code by `make docs` -->\n", "<!-- end of body surface -->"
    before, found, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise ValueError("docs/dose.md has lost the marks around its tables of body surface")
    return f"{before}{begin}\n{_formulas()}\n{_surfaces()}\n{_accepted()}\n{end}{after}"


def _formulas() -> str:
    rows = [f"| {m.name} | {m.expression} | {m.source}; {m.validity} |" for m in METHODS.values()]
    return "| formula | expression | source and validity |\n|---|---|---|\n" + "\n".join(rows) + "\n"


def _surfaces() -> str:
    names = [m.name for m in METHODS.values() if not m.adults]
    adults = [f"{m.name}, woman / man" for m in METHODS.values() if m.adults]
    head = f"| | {' | '.join([*names, *adults])} | spread of the first {len(names)} |\n|{'---|' * (len(METHODS) + 2)}\n"
    return head + "".join(_surface_row(Kilogram(kg), Centimetre(cm)) for kg, cm in BODIES)


def _surface_row(weight: Kilogram, height: Centimetre) -> str:
    for_all = [_surface(key, height, weight) for key, method in METHODS.items() if not method.adults]
    for_adults = [
        " / ".join(dict.fromkeys(_four(_surface(key, height, weight, sex=sex, age=Year(40))) for sex in ("female", "male")))
        for key, method in METHODS.items()
        if method.adults
    ]
    found = [round_to(value, 4) for value in for_all if value is not None]
    spread = round_to((max(found) / min(found) - 1) * 100, 1)
    return f"| {weight}, {height} | {' | '.join([*map(_four, for_all), *for_adults])} | {spread} % |\n"


def _surface(key: BsaFormula, height: Centimetre, weight: Kilogram, *, sex: Sex | None = None, age: Year | None = None) -> Decimal | None:
    try:
        return body_surface_area(key, height, weight, sex=sex, age=age).value
    except DoseRefused:
        return None


def _four(value: Decimal | None) -> str:
    return "refused" if value is None else f"{round_to(value, 4)}"


def _accepted() -> str:
    rows = []
    for m in METHODS.values():
        height = "not asked for" if m.height is None else _span(*m.height)
        rows.append(f"| {m.name}{', from 18 years' if m.adults else ''} | {height} | {_span(*m.weight)} |")
    return "| formula | height accepted | weight accepted |\n|---|---|---|\n" + "\n".join(rows) + "\n"


def _span(low: Centimetre | Kilogram, high: Centimetre | Kilogram) -> str:
    return f"{low.text} to {high}"


def error_codes() -> str:
    for package in PACKAGES:
        root = importlib.import_module(package)
        for found in pkgutil.walk_packages(root.__path__, f"{package}."):
            if found.name.endswith(".errors") or found.name == "firmware_bridge.wire_log":
                importlib.import_module(found.name)
    rows: dict[str, str] = {}
    pending: list[type[DosewrightError]] = [DosewrightError]
    while pending:
        kind = pending.pop()
        pending += kind.__subclasses__()
        if kind.__module__.split(".")[0] in PACKAGES:
            own = kind.__dict__.get("code")
            if own in rows:
                raise ValueError(f"code {own} belongs to {rows[own]} and to {kind.__name__}")
            if own is not None:
                rows[own] = kind.__name__
    lines = [f"| {code} | {name} |" for code, name in sorted(rows.items())]
    return (
        f"{MADE}# Error codes\n\nEvery message names its code, what is wrong and what to do.\n\n| code | error |\n|---|---|\n"
        + "\n".join(lines)
        + "\n"
    )


def event_kinds() -> str:
    lines = [f"| `{kind}` | {subject} | {meaning} |" for kind, (subject, meaning) in sorted(MEANINGS.items())]
    return f"{MADE}# Kinds of trail entries\n\n| kind | subject | meaning |\n|---|---|---|\n" + "\n".join(lines) + "\n"


_EXCEPTIONS = {
    AlarmClass.VERDICT: "A *balance fault* ends the run in order where the balance weighs a unit; at any other moment from READY until the "
    "last unit is judged, it stops at once.\n\n"
}
"""Where a class does not say all that its alarms do."""


def alarm_list() -> str:
    parts = [f"{MADE}# Alarms\n\nThe rationalised list (ISA-18.2 clause 9); what each part means is in [alarms](../alarms.md).\n"]
    for kind in AlarmClass:
        found = [d for d in DEFINITIONS.values() if d.alarm_class is kind]
        head = "| alarm | priority | cause | consequence | action | respond within |\n|---|---|---|---|---|---|\n"
        rows = [f"| {d.name} | {d.priority} | {d.cause} | {d.consequence} | {d.action} | {d.respond_within_s} s |" for d in found]
        parts.append(f"## Class: {kind}\n\n{_EXCEPTIONS.get(kind, '')}{head}" + "\n".join(rows) + "\n")
    head = "| alarm | set point | delay | off-delay | latched | may be shelved | suppressed by design |\n|---|---|---|---|---|---|---|\n"
    rows = [_setting(definition) for definition in DEFINITIONS.values()]
    parts.append("## Settings\n\n" + head + "\n".join(rows) + "\n")
    table = "\n".join(f"| {state} | " + " | ".join(_after(TABLE[state][event]) for event in AlarmEvent) + " |" for state in AlarmState)
    events = " | ".join(AlarmEvent)
    parts.append(f"## States\n\n```mermaid\n{alarm_diagram()}```\n")
    parts.append(f"| state | {events} |\n|---|{'---|' * len(AlarmEvent)}\n{table}\n")
    return "\n".join(parts)


def _setting(definition: AlarmDefinition) -> str:
    cells = (
        definition.name.value,
        _set_point(definition),
        _delay(definition),
        _off_delay(definition),
        _yes(definition.latched),
        _yes(definition.shelving_permitted),
        definition.suppression.value,
    )
    return f"| {' | '.join(cells)} |"


def _set_point(definition: AlarmDefinition) -> str:
    setting = definition.setting
    if setting.level == setting.back == 100:
        return setting.set_point
    gone = f"at or below {setting.back} %" if setting.back == setting.level else f"below {setting.back} %"
    return f"{setting.level} % of: {setting.set_point}; gone {gone}"


def _delay(definition: AlarmDefinition) -> str:
    delay = definition.setting.delay
    return f"`{delay}` of the recipe" if isinstance(delay, str) else _seconds(delay)


def _off_delay(definition: AlarmDefinition) -> str:
    return _seconds(definition.setting.off_delay_us) if definition.is_warning else "the run has ended"


def _seconds(us: int) -> str:
    return "none" if us == 0 else f"{us / 1_000_000:g} s"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _after(target: AlarmState | Either) -> str:
    if isinstance(target, AlarmState):
        return target.value
    return f"if {target.guard}: {_after(target.yes)}; else: {_after(target.no)}"


def http_interface() -> str:
    from api.app import openapi_document

    return json.dumps(openapi_document(), indent=1, sort_keys=True) + "\n"


DOCUMENTS: dict[str, Callable[[], str]] = {
    "docs/reference/run-states.md": run_states,
    "docs/cell.md": cell_page,
    "docs/dose.md": dose_page,
    "docs/reference/error-codes.md": error_codes,
    "docs/reference/event-kinds.md": event_kinds,
    "docs/reference/alarms.md": alarm_list,
    "docs/reference/openapi.json": http_interface,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--write", action="store_true")
    choice.add_argument("--check", action="store_true")
    options = parser.parse_args()
    stale = []
    for name, make in DOCUMENTS.items():
        path, text = ROOT / name, make()
        if options.write:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
    if stale:
        sys.stderr.write(f"Not up to date with the code: {', '.join(stale)}. Run `make docs`.\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
