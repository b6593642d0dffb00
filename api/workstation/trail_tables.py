"""The tables of the trail page as HTML: entries with what they changed, and the history of one object, old beside new.

Everything that comes from a record is escaped; nothing here asks or knows who looks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import islice
from urllib.parse import urlencode

from api.workstation.role_words import words_of
from api.workstation.words import said, said_n, told_html
from audit.canonical import JsonValue
from audit.events import Entry, Subject
from audit.object_history import FieldChange, HistoryRow, ObjectHistory, SignatureStanding, changes_of
from audit.trail_export import value_text
from audit.trail_search import TrailPage

_LONGEST = 120
_SIGNATURE = frozenset({"signer", "name", "role", "meaning", "at", "zone", "digest", "key", "value"})


def link(query: Mapping[str, str], **changed: str) -> str:
    """Return the address of the trail page with these fields, empty ones left out."""
    asked = {name: value for name, value in {**query, **changed}.items() if value}
    return escape("/trail" + (f"?{urlencode(asked)}" if asked else ""))


def entries_html(page: TrailPage, query: Mapping[str, str]) -> str:
    """A row for each entry: when, who, what of which object, why; what it changed opens in place."""
    if not page.entries:
        more = f" {said('The search goes on where it stopped.')}" if page.cursor is not None else ""
        return f'<p class="dw-quiet">{said("No entry of the {n} looked at meets this.", n=page.looked_at)}{more}</p>'
    rows = "".join(_entry_html(entry, query) for entry in page.entries)
    titles = (said("Entry"), said("When (UTC)"), said("Who"), said("What, of which object"), said("Why"))
    head = f"<tr>{''.join(f'<th>{title}</th>' for title in titles)}</tr>"
    return f'<table class="dw-table dw-trail"><thead>{head}</thead><tbody>{rows}</tbody></table>'


def _entry_html(entry: Entry, query: Mapping[str, str]) -> str:
    changes = tuple(changes_of(entry))
    return (
        f'<tr><td class="dw-keep">{entry.seq}</td><td>{_when(entry)}</td><td>{_who(entry)}</td>'
        f"<td><b>{escape(entry.kind)}</b><br>{_object_link(entry.subject, query)}{_details(entry, changes)}</td>"
        f"<td>{escape(entry.reason or '')}</td></tr>"
    )


def _object_link(subject: Subject, query: Mapping[str, str]) -> str:
    address = link({"trail": query.get("trail", "")}, history=str(subject))
    return f'<a href="{address}" title="{said("What changed in it")}">{escape(subject.type)} {escape(subject.id)}</a>'


def _details(entry: Entry, changes: Sequence[FieldChange]) -> str:
    files = "".join(
        f"<li>{escape(item['name'])}, {said('{n} bytes', n=item['bytes'])}, SHA-256 <code>{escape(item['sha256'])}</code></li>"
        for item in entry.attachments
    )
    attached = f'<ul class="dw-list">{files}</ul>' if files else ""
    summary = said_n("{n} value changed", "{n} values changed", len(changes)) if changes else said("no value changed")
    demonstration = f", {said('demonstration')}" if entry.demonstration else ""
    at = said("at {device}", device=escape(entry.device))
    where = f'<p class="dw-quiet">{at}{demonstration}; {said("entry digest")} <code>{entry.digest}</code></p>'
    return f"<details><summary>{summary}</summary>{changes_html(changes)}{attached}{where}</details>"


def changes_html(changes: Sequence[FieldChange]) -> str:
    """Old and new side by side, value by value; the parts of a new signature in one line."""
    signatures = {
        path: line
        for change in changes
        if (path := change.path.removesuffix(".signer")) != change.path
        if (line := _signature_of(path, changes))
    }
    rows = "".join(
        f"<tr><td><code>{escape(path)}</code></td><td>{_nothing()}</td><td><b>{escape(line)}</b></td><td></td></tr>"
        for path, line in signatures.items()
    )
    rows += "".join(
        f"<tr><td><code>{escape(change.path)}</code></td><td>{_value(change.old)}</td><td><b>{_value(change.new)}</b></td>"
        f"<td>{escape(change.unit)}</td></tr>"
        for change in changes
        if change.path.rpartition(".")[0] not in signatures and not (change.old is None and change.new is None)
    )
    head = f"<tr><th>{said('Field')}</th><th>{said('Old')}</th><th>{said('New')}</th><th>{said('Unit of measure')}</th></tr>"
    return f'<table class="dw-table dw-sides"><thead>{head}</thead><tbody>{rows}</tbody></table>' if rows else ""


def _signature_of(path: str, changes: Sequence[FieldChange]) -> str:
    """Return the line of a signature that came with these changes at a path, or nothing: it came whole, where nothing was."""
    parts = {change.path.removeprefix(f"{path}."): change for change in changes if change.path.startswith(f"{path}.")}
    if not parts.keys() >= _SIGNATURE or any(change.old is not None for change in parts.values()):
        return ""
    told_of = {name: value_text(parts[name].new) for name in _SIGNATURE}
    who = said("signature of {name} ({signer}), {role}", **{name: told_of[name] for name in ("name", "signer", "role")})
    return f"{who}: {told_of['meaning']}, {told_of['at']} [{told_of['zone']}]"


def _nothing() -> str:
    return f'<i class="dw-quiet">{said("nothing")}</i>'


def _value(value: JsonValue) -> str:
    if value is None:
        return _nothing()
    text = value_text(value)
    shown = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    return f'<span title="{escape(text)}">{escape(shown)}</span>' if shown != text else escape(text)


def _who(entry: Entry) -> str:
    actor = entry.actor
    return f"{escape(actor.name)}<br><span class='dw-quiet'>{escape(actor.username)}, {escape(words_of(actor.role))}</span>"


def _when(entry: Entry) -> str:
    return (
        f"{escape(entry.at[:10])} {escape(entry.at[11:19])}<br><span class='dw-quiet'>{said('zone {zone}', zone=escape(entry.zone))}</span>"
    )


def history_html(history: ObjectHistory, most: int) -> str:
    """Its signatures first, then every entry of the object with old beside new, newest first."""
    shown = list(islice(reversed(history.rows), most))
    rows = "".join(_row_html(row) for row in shown)
    left = len(history.rows) - len(shown)
    older = f'<p class="dw-quiet">{said("{n} older entries are not shown here; the export holds all.", n=left)}</p>' if left else ""
    return f"{signatures_html(history.signatures)}{rows}{older}"


def _row_html(row: HistoryRow) -> str:
    entry, actor = row.entry, row.entry.actor
    who = f"{escape(actor.name)} ({escape(actor.username)}), {escape(words_of(actor.role))}"
    when = f"{escape(entry.at[:10])} {escape(entry.at[11:19])} UTC, {said('zone {zone}', zone=escape(entry.zone))}"
    why = f"<p>{said('Reason:')} {escape(entry.reason)}</p>" if entry.reason else ""
    changed = changes_html(row.changes) or f'<p class="dw-quiet">{said("no value changed")}</p>'
    return (
        f'<article class="dw-entry"><h3 class="dw-title">{said("Entry {n}", n=entry.seq)}: {escape(entry.kind)}</h3>'
        f"<p>{who} <span class='dw-quiet'>· {when} · {said('at {device}', device=escape(entry.device))}</span></p>{why}{changed}</article>"
    )


def signatures_html(signatures: Sequence[SignatureStanding]) -> str:
    """Each signature with whether it still stands under what it was given for."""
    rows = "".join(_signature(signature) for signature in signatures)
    return f'<h3 class="dw-title">{said("Signatures")}</h3><ul class="dw-list dw-signatures">{rows}</ul>' if rows else ""


def _signature(signature: SignatureStanding) -> str:
    where = said("entry {n}", n=signature.seq)
    line = f"{escape(signature.line)} <span class='dw-quiet'>({where}, {escape(signature.path)})</span>"
    if signature.stands:
        return f"<li>✓ <b>{said('signed')}</b>: {line}</li>"
    if signature.problem or signature.changed_by is not None:
        return f'<li class="dw-problem">✕ <b>{told_html(signature.text)}</b>: <s>{line}</s></li>'
    return f"<li>– {told_html(signature.text)}: {line}</li>"
