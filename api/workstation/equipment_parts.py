"""The parts of the page of equipment as HTML made from values; nothing here knows NiceGUI. Colour never speaks alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from urllib.parse import quote, urlencode

from api.equipment_desk import History, HistoryPage
from api.equipment_log import STAGES
from api.status import GateStatus
from api.workstation.cards import table
from api.workstation.care import gate_list
from api.workstation.words import said, told, told_html
from audit.canonical import JsonObject, JsonValue
from audit.quantities import plain_text
from audit.release.trail_view import as_list, as_object, number_of, text_of

_MARKS = {"in date": "✓", "ends soon": "▲", "over": "✕"}


def text(value: JsonValue, none: str = "–") -> str:
    """A value of the record, as it is; a dash where it states none."""
    return escape(str(value)) if value not in (None, "") else none


def when(value: JsonValue) -> str:
    """An instant of the record, to the minute."""
    return f'<span class="dw-keep">{escape(str(value)[:16].replace("T", " "))} UTC</span>'


def cells_html(names: Sequence[str], here: str) -> str:
    """The ways to the equipment of each cell of the site."""
    links = "".join(
        f'<a class="dw-plain" href="/equipment?cell={quote(name)}"{" aria-current=page" if name == here else ""}>{escape(name)}</a>'
        for name in names
    )
    return f'<nav class="dw-tabs" aria-label="{escape(said("Cells"))}">{links}</nav>'


def devices_html(view: JsonObject) -> str:
    """Each device: what it is, its numbers, its certificate, and until when it is in date, in words and days."""
    register = as_object(view.get("register"))
    if not register:
        return f'<p class="dw-problem" role="alert">▲ {told_html(str(view.get("problem") or "–"))}</p>'
    rows = []
    for device in map(as_object, as_list(register.get("devices"))):
        model = " ".join(filter(None, (text_of(device.get("model")), text_of(device.get("detail")))))
        serial = "" if device.get("what") == "check weight" else said("no serial number on record")
        if device.get("serial"):
            serial = said("serial number {serial}", serial=device["serial"])
        rows.append(
            f"<tr><td><b>{escape(told(str(device.get('what'))))}</b><br><span class='dw-quiet'>{text(device.get('asset'))}</span></td>"
            f"<td>{escape(model) or '–'}<br><span class='dw-quiet'>{escape(serial)}</span></td>"
            f"<td>{text(device.get('paper'))}</td><td>{_standing(device)}</td></tr>"
        )
    head = (said("Device"), said("Model and serial number"), said("Certificate or report"), said("In date until"))
    signed = said("Register {reference}: {evidence}", reference=register.get("reference"), evidence=told(str(register.get("evidence"))))
    return f'{table(head, rows, "")}<p class="dw-quiet">{escape(signed)}</p>'


def _standing(device: JsonObject) -> str:
    how, days = str(device.get("standing")), device.get("days_left")
    left = int(days) if isinstance(days, int) else 0
    words = {
        "in date": said("in date, {days} days left", days=left),
        "ends soon": said("ends soon, {days} days left, today included", days=left),
        "over": said("over since {days} days", days=-left),
    }
    return (
        f'<span class="dw-due dw-due-{how.replace(" ", "-")}"><b class="dw-keep">{text(device.get("until"))}</b><br>'
        f"{_MARKS.get(how, '○')} {escape(words.get(how, how))}</span>"
    )


def gates_html(view: JsonObject) -> str:
    """What of the cell would stop a start, and what would not."""
    gates = view.get("gates")
    if not isinstance(gates, list):
        return f'<p class="dw-quiet">○ {escape(said("Readiness is not known."))}</p>'
    return gate_list([GateStatus.model_validate(gate) for gate in gates])


def identified_html(found: JsonObject | None) -> str:
    """What the devices told of themselves before the last run: firmware, serial numbers."""
    if found is None:
        return f'<p class="dw-quiet">{escape(said("Not on record: no run has asked the devices who they are."))}</p>'
    devices = as_object(found.get("devices"))
    rows = "".join(f"<li><b>{told_html(name)}</b>: {told_html(str(evidence))}</li>" for name, evidence in devices.items())
    of_run = said("Before run {run}", run=found.get("run"))
    return f'<p class="dw-quiet">{escape(of_run)}, {when(found.get("at"))}</p><ul class="dw-list">{rows}</ul>'


def qualifications_html(view: JsonObject) -> str:
    """Each stage of qualification with its latest report; what is not on record is said to be so."""
    found, rows = as_object(view.get("qualifications")), []
    for stage, title in STAGES.items():
        state = as_object(found.get(stage))
        name = f"<td><b>{stage}</b><br><span class='dw-quiet'>{escape(told(title))}</span></td>"
        if not state:
            rows.append(f"<tr>{name}<td colspan='2'>○ {escape(said('not on record'))}</td></tr>")
            continue
        mark = {"passed": "✓", "passed with deviations": "▲"}.get(str(state.get("outcome")), "✕")
        signature = as_object(state.get("signature"))
        until = said("valid until {day}", day=state["valid_until"]) if state.get("valid_until") else said("no end stated")
        signed = said("signed by {name}, entry object {id}", name=signature.get("name"), id=state.get("qualification"))
        rows.append(
            f"<tr>{name}<td>{mark} {escape(told(str(state.get('outcome'))))}, {text(state.get('performed_on'))}<br>"
            f"<span class='dw-quiet'>{escape(until)}</span></td>"
            f"<td>{text(state.get('report'))}<br><span class='dw-quiet'>{escape(signed)}</span></td></tr>"
        )
    return table((said("Stage"), said("Outcome"), said("Report")), rows, "")


def maintenance_html(view: JsonObject) -> str:
    rows = [
        f"<tr><td class='dw-keep'>{text(item.get('done_on'))}</td><td><b>{text(item.get('asset'))}</b><br>{text(item.get('what'))}</td>"
        f"<td>{text(item.get('done_by'))}<br><span class='dw-quiet'>{escape(told(str(item.get('after'))))}</span></td></tr>"
        for item in map(as_object, as_list(view.get("maintenance")))
    ]
    return table((said("Done on"), said("What"), said("By, and after it")), rows, said("No maintenance is on record."))


def history_ways(cell: str, here: History) -> str:
    """The ways to each history of a cell."""
    names = {
        History.CHECKS: said("Daily checks"),
        History.CLEANING: said("Cleaning"),
        History.CLEARANCE: said("Line clearance and gates"),
    }
    links = "".join(
        f'<a class="dw-plain" href="{_address(cell, what)}"{" aria-current=page" if what is here else ""}>{escape(name)}</a>'
        for what, name in names.items()
    )
    return f'<nav class="dw-tabs" aria-label="{escape(said("Histories"))}">{links}</nav>'


def history_html(page: HistoryPage, what: History, cell: str) -> str:
    """One page of a history, the newest first, and the way to what is older."""
    heads: Mapping[History, tuple[str, ...]] = {
        History.CHECKS: (said("Day"), said("Verdict"), said("Readings and deviations"), said("By")),
        History.CLEANING: (said("Day"), said("Method"), said("By")),
        History.CLEARANCE: (said("When"), said("Run"), said("Line clearance"), said("Not met")),
    }
    rows = [{History.CHECKS: _check, History.CLEANING: _cleaning, History.CLEARANCE: _clearance}[what](row) for row in page.rows]
    older = ""
    if page.cursor is not None:
        address = _address(cell, what, str(page.cursor))
        older = f'<nav class="dw-pages"><a class="dw-plain" href="{address}">{escape(said("Older entries"))}</a></nav>'
    return table(heads[what], rows, said("Nothing is on record.")) + older


def _address(cell: str, what: History, cursor: str = "") -> str:
    asked = {"cell": cell, "history": what.value, **({"cursor": cursor} if cursor else {})}
    return escape(f"/equipment?{urlencode(asked)}")


def _check(row: JsonObject) -> str:
    passed = row.get("passed") is True
    verdict = f"✓ {escape(said('passed'))}" if passed else f"<b>✕ {escape(said('not passed'))}</b>"
    reasons = "; ".join(str(reason) for reason in as_list(row.get("reasons")))
    readings = "".join(
        f"<li>{escape(told(str(item.get('step'))))}: {text(item.get('value_mg'))} mg</li>"
        for item in map(as_object, as_list(row.get("readings")))
    )
    limits, deviations = as_object(row.get("limits")), as_object(row.get("deviations"))
    corners = [abs(mass) for value in as_object(deviations.get("eccentricity_mg")).values() if (mass := number_of(value)) is not None]
    found = {
        said("sensitivity"): (deviations.get("sensitivity_mg"), limits.get("sensitivity_mg")),
        said("eccentricity, largest"): (plain_text(max(corners)) if corners else None, limits.get("eccentricity_mg")),
        said("return to zero"): (deviations.get("zero_return_mg"), limits.get("zero_return_mg")),
    }
    shown = "<br>".join(
        f"{escape(name)} {text(value)} mg ({escape(said('limit'))} {text(limit)} mg)" for name, (value, limit) in found.items()
    )
    details = f"<details><summary>{escape(said('Readings'))}</summary><ol class='dw-list'>{readings}</ol></details>" if readings else ""
    weight = as_object(row.get("weight"))
    with_ = said("{weight} on balance {balance}", weight=weight.get("id") or "–", balance=row.get("balance"))
    return (
        f"<tr><td class='dw-keep'>{text(row.get('day'))}</td><td>{verdict}<br><span class='dw-quiet'>{told_html(reasons)}</span></td>"
        f"<td>{shown}<br><span class='dw-quiet'>{escape(with_)}</span>{details}</td><td>{_by(row)}</td></tr>"
    )


def _cleaning(row: JsonObject) -> str:
    return f"<tr><td class='dw-keep'>{text(row.get('day'))}</td><td>{text(row.get('method'))}</td><td>{_by(row)}</td></tr>"


def _clearance(row: JsonObject) -> str:
    met = row.get("line_clearance")
    mark = "○" if met is None else "✓" if met is True else "✕"
    unmet = ", ".join(told(str(name)) for name in as_list(row.get("unmet")))
    return (
        f"<tr><td>{when(row.get('at'))}</td><td class='dw-keep'>{text(row.get('run'))}</td>"
        f"<td>{mark} {text(row.get('said'), escape(said('not on record')))}</td><td>{escape(unmet) or escape(said('nothing'))}</td></tr>"
    )


def _by(row: JsonObject) -> str:
    return f"{text(row.get('by'))}<br><span class='dw-quiet'>{when(row.get('at'))}</span>"
