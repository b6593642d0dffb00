"""The page after a plain form that could not be carried out: what was refused, what to do, and the way back."""

from __future__ import annotations

from html import escape

from api.workstation.look import LOGIN_STYLE

_NOT_STOPPED = '<div class="note" role="alert"><b>The printer was not told to stop.</b> If it must stop, use its own switch.</div>'


def refusal_page(detail: str, remedy: str, *, stop: bool) -> str:
    """Return the whole page as HTML text. It has no script, like the forms that lead to it."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Dosewright: not done</title><style>{LOGIN_STYLE}</style></head><body><main><h1>Not done</h1>"
        f'<p>{escape(detail)} {escape(remedy)}</p>{_NOT_STOPPED if stop else ""}<a class="back" href="/">Back to the workstation</a>'
        "</main></body></html>"
    )
