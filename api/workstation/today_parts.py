"""The parts of the page of the day as HTML made from values; nothing here knows NiceGUI. Colour never speaks alone."""

from __future__ import annotations

from html import escape
from urllib.parse import quote

from api.status import STATE_WORDS, AlarmStatus
from api.today import Line, Stage
from api.today_desk import CellToday, MountedInk
from api.today_needs import Matter, Need
from api.workstation import panels
from api.workstation.today_words import act_text, age_text, need_text, stage_text, who_text
from api.workstation.words import said, told, told_html

_SIGNS = {
    Stage.SECOND_PERSON: "②",
    Stage.CONFIRMED: "✓",
    Stage.PREPARED: "○",
    Stage.PRINTING: "▸",
    Stage.ENDED: "■",
    Stage.REVIEW: "◇",
    Stage.EXCEPTIONS: "▲",
    Stage.PACKING: "▢",
    Stage.LABELLING: "▤",
    Stage.DISPENSING: "→",
    Stage.UNKNOWN: "○",
}


def line_html(line: Line) -> str:
    """One line of the queue: where it stands, what is next, who may do it, how long it has waited."""
    where = f" · {escape(line.cell)}" if line.cell else ""
    if line.yours:
        who = f'<b class="dw-you">{said("You may do it.")}</b>'
    elif line.held:
        who = f"✕ {told_html(line.held)}"
    elif line.who:
        own = [reason for reason in line.reasons if reason.startswith("you ")]
        who = said("For: {roles}", roles=who_text(line.who)) + (
            f" ({escape(said('not you: {why}', why='; '.join(map(told, own))))})" if own else ""
        )
    else:
        who = ""
    return (
        f'<div class="dw-line{" dw-mine" if line.yours else ""}" data-subject="{escape(line.subject)}" data-act="{escape(line.act)}">'
        f'<span class="dw-stage"><i aria-hidden="true">{_SIGNS[line.stage]}</i> {escape(stage_text(line.stage))}</span>'
        f"<span class='dw-what'><b>{escape(line.subject)}</b>{where}<span class='dw-next'>{escape(act_text(line))}</span></span>"
        f'<span class="dw-who">{who}</span><span class="dw-age">{escape(age_text(line.age_s))}</span></div>'
    )


def line_way(line: Line) -> str:
    """Where the act of a line is taken."""
    subject = quote(line.subject, safe="")
    match line.stage:
        case Stage.SECOND_PERSON | Stage.CONFIRMED:
            return f"/new?order={subject}"
        case Stage.PREPARED:
            return f"/new?batch={subject}"
        case Stage.PACKING | Stage.LABELLING | Stage.DISPENSING:
            return f"/batches?batch={subject}"
        case Stage.ENDED | Stage.REVIEW | Stage.EXCEPTIONS if not line.here:
            return f"/batches?batch={subject}"  # its cell has gone on to another batch, or is silent
    return f"/?cell={quote(line.cell)}" if line.cell else "/"


def need_html(need: Need) -> str:
    sign, word = ("▲", said("Now")) if need.urgent else ("●", said("To do"))
    return (
        f'<div class="dw-need{" dw-urgent" if need.urgent else ""}" data-matter="{escape(need.matter)}">'
        f'<span class="dw-stage"><i aria-hidden="true">{sign}</i> {word}</span><span class="dw-what">{escape(need_text(need))}</span></div>'
    )


def need_way(need: Need) -> str:
    """Where a need is met."""
    subject = quote(need.subject, safe="")
    match need.matter:
        case Matter.ALARM | Matter.SILENT | Matter.CARE:
            return f"/?cell={subject}"
        case Matter.REGISTER | Matter.REGISTER_ENDS:
            return f"/equipment?cell={subject}"
        case Matter.PASSWORD | Matter.PASSWORD_ENDS:
            return "/account"
        case Matter.RECIPE:
            return f"/recipes?version={subject}"
        case Matter.MODEL:
            return f"/models?version={subject}"
        case Matter.RECALL:
            return f"/recall?recall={subject}"
        case Matter.ACCESS | Matter.TRAINING | Matter.TRAINING_ENDS:
            return "/people"


def cell_html(cell: CellToday) -> str:
    """A cell: its state in large letters, what is on it, whether something would stop a start, and the ink in it."""
    status = cell.status
    word, meaning = STATE_WORDS.get(status.state, (status.state.replace("_", " ").capitalize(), ""))
    facts = [f"<b>{escape(status.batch)}</b>"] if status.batch is not None else []
    facts += [escape(said("{done} of {all} units judged", done=status.judged, all=len(status.units)))] if status.units else []
    problem = f'<p class="dw-problem" role="alert">▲ {told_html(cell.problem)}</p>' if cell.problem else ""
    return (
        f'<div data-state="{escape(status.state)}" class="dw-cell-today"><p class="dw-cell-name">{escape(cell.name)}</p>'
        f'<p class="dw-cell-state">{escape(told(word))}</p><p class="dw-quiet">{" · ".join(facts) or escape(told(meaning))}</p>{problem}'
        f"{_ready(cell)}{_ink(cell)}</div>"
    )


def _ready(cell: CellToday) -> str:
    if cell.gates is None:
        return f'<p class="dw-ready">○ {escape(said("Readiness is not known."))}</p>'
    if not cell.gates:
        return ""
    unmet = cell.unmet
    if not unmet:
        return f'<p class="dw-ready dw-is-ready">✓ {escape(said("Nothing of the cell would stop a start."))}</p>'
    rows = "".join(f'<li class="unmet"><b>✕ {told_html(gate.gate)}</b> {told_html(gate.reason)}</li>' for gate in unmet)
    head = said("1 gate would stop a start") if len(unmet) == 1 else said("{count} gates would stop a start", count=len(unmet))
    return f'<p class="dw-ready dw-not-ready">✕ {escape(head)}</p><ul class="dw-gates">{rows}</ul>'


def _ink(cell: CellToday) -> str:
    if not cell.inks:
        return f'<p class="dw-quiet">{escape(said("No cartridge is on record for this cell yet."))}</p>'
    return "".join(f'<p class="dw-ink">{_one_ink(ink, cell.ink_of)}</p>' for ink in cell.inks)


def _one_ink(ink: MountedInk, batch: str) -> str:
    until = said("may be used until {day}", day=ink.in_use_until)
    lot = said("Lot {lot}, expires on {expires}; in the cell for {batch}", lot=ink.lot, expires=ink.expires, batch=batch)
    state = f"{'✓' if ink.usable else '✕'} {told(ink.state)}"
    return f'<b>{escape(ink.serial)}</b> {escape(state)}, {escape(until)}<br><span class="dw-quiet">{escape(lot)}</span>'


def alarm_html(cell: str, alarm: AlarmStatus, *, several: bool) -> str:
    """One alarm with its cause and what to do; of several cells, whose it is."""
    name = f'<p class="dw-cell-name">{escape(cell)}</p>' if several else ""
    return name + panels.alarm_text(alarm)


def no_alarm_html(silent: tuple[str, ...]) -> str:
    """What stands where no alarm is: no news of a silent cell is not good news."""
    if silent:
        return f'<p class="dw-quiet">○ {escape(said("Not known of {cells}: no answer.", cells=", ".join(silent)))}</p>'
    return f'<p class="dw-quiet">✓ {escape(said("No alarm on any cell."))}</p>'
