"""A refusal as a person reads it: what was refused and what to do, in the visitor's language; and the page after a plain form.

A refusal carries a sentence in English with its values in it, as it would be recorded. Where the files of a language know the sentence
it is shown in that language. Where they do not, what kind of refusal it is and what to do stand first, and the sentence follows as it is.
"""

from __future__ import annotations

from html import escape

from api.workstation.language_files import ENGLISH
from api.workstation.look import LOGIN_STYLE
from api.workstation.refusal_words import KINDS, UNKNOWN
from api.workstation.words import said, spoken, told
from audit.errors import DosewrightError


def refusal_text(error: DosewrightError) -> str:
    """Return a refusal as one text."""
    return _text(error.code, error.message, error.remedy)


def refusal_html(error: DosewrightError) -> str:
    return escape(refusal_text(error))


def _text(code: str, message: str, remedy: str) -> str:
    if spoken() is ENGLISH:
        return f"{message} {remedy}".strip()
    shown, way = told(message), told(remedy)
    if shown != message and (way != remedy or not remedy):
        return f"{shown} {way}".strip()
    kind, what_to_do = KINDS.get(code, UNKNOWN)
    return f"{told(kind)} {told(what_to_do)} ({code}: {shown} {way}".strip() + ")"


def refusal_page(code: str, detail: str, remedy: str, *, stop: bool) -> str:
    """Return the whole page as HTML text. It has no script, like the forms that lead to it."""
    not_stopped = f"<b>{said('The printer was not told to stop.')}</b> {said('If it must stop, use its own switch.')}"
    note = f'<div class="note" role="alert">{not_stopped}</div>' if stop else ""
    return (
        f'<!doctype html><html lang="{spoken().code}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Dosewright: {said('not done')}</title><style>{LOGIN_STYLE}</style></head><body><main><h1>{said('Not done')}</h1>"
        f'<p>{escape(_text(code, detail, remedy))}</p>{note}<a class="back" href="/">{said("Back to the workstation")}</a>'
        "</main></body></html>"
    )
