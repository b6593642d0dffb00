"""The log-in page: a plain form without script, which shows nothing of the site before log-in but that it is a demonstration."""

from __future__ import annotations

from html import escape

from api.workstation.look import LOGIN_STYLE


def login_page(*, demonstration: bool, message: str = "") -> str:
    """Return the whole page as HTML text; `message` is the reason of a refused log-in."""
    note = f'<div class="note" role="alert">{escape(message)}</div>' if message else ""
    demo = '<div class="note demo" role="note"><b>Demonstration, not for patients.</b></div>' if demonstration else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Dosewright: log in</title><style>{LOGIN_STYLE}</style></head><body><main><h1>Dosewright</h1>"
        f"<p>Printing of individual doses</p>{demo}{note}"
        '<form method="post" action="/api/v1/session"><label for="username">User name</label>'
        '<input id="username" name="username" autocomplete="username" autocapitalize="none" required autofocus>'
        '<label for="password">Password</label>'
        '<input id="password" name="password" type="password" autocomplete="current-password" required>'
        "<button>Log in</button></form></main></body></html>"
    )
