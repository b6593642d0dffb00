"""The pages before log-in: plain forms, which show nothing of the site but that it is a demonstration.

They work without script. The only script there is asks the browser for a passkey; it is a file of its own.
"""

from __future__ import annotations

from html import escape
from importlib.resources import files

from api.workstation.look import LOGIN_STYLE

_CODE = (
    '<label for="code">One-time or recovery code</label>'
    '<input id="code" name="code" autocomplete="one-time-code" autocapitalize="none" spellcheck="false">'
)
_PASSKEY = (
    '<input type="hidden" name="passkey" id="passkey" disabled>'
    '<button type="button" id="with-passkey" class="second">Log in with a passkey in place of a code</button>'
    '<p id="passkey-says" role="status"></p><script src="/passkey.js"></script>'
)


def _page(title: str, body: str, *, long: bool = False) -> str:
    kind = ' class="long"' if long else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Dosewright: {title}</title><style>{LOGIN_STYLE}</style></head><body><main{kind}>{body}</main></body></html>"
    )


def login_page(*, demonstration: bool, message: str = "", code: bool = False, passkeys: bool = False) -> str:
    """Return the whole page as HTML text; `message` is the reason of a refused log-in. `code` and `passkeys`: what is asked besides."""
    note = f'<div class="note" role="alert">{escape(message)}</div>' if message else ""
    demo = '<div class="note demo" role="note"><b>Demonstration, not for patients.</b></div>' if demonstration else ""
    outside = "<p>You are outside the site's perimeter: a second factor is needed.</p>" if code else ""
    return _page(
        "log in",
        f"<h1>Dosewright</h1><p>Printing of individual doses</p>{demo}{note}{outside}"
        '<form method="post" action="/api/v1/session"><label for="username">User name</label>'
        '<input id="username" name="username" autocomplete="username" autocapitalize="none" required autofocus>'
        '<label for="password">Password</label>'
        '<input id="password" name="password" type="password" autocomplete="current-password" required>'
        f"{_CODE if code else ''}<button>Log in</button>{_PASSKEY if passkeys else ''}</form>",
    )


def set_up_page(*, is_open: bool) -> str:
    """Return the page of the first administrator, or that it is over."""
    if not is_open:
        return _page("set-up", '<h1>Set up</h1><p>This site is set up.</p><a class="back" href="/login">Log in</a>')
    fields = (
        ("token", "Set-up token, as the terminal showed it", "off", "text"),
        ("username", "User name", "username", "text"),
        ("full_name", "Full name, as it stands on records", "name", "text"),
        ("password", "Password", "new-password", "password"),
        ("again", "Password again", "new-password", "password"),
    )
    rows = "".join(
        f'<label for="{name}">{label}</label><input id="{name}" name="{name}" type="{kind}" '
        f'autocomplete="{complete}" autocapitalize="none" spellcheck="false" required>'
        for name, label, complete, kind in fields
    )
    return _page(
        "set-up",
        "<h1>Set up</h1><p>Make the first administrator. The account looks after people and signs no GMP record.</p>"
        f'<form method="post" action="/api/v1/set-up">{rows}<button>Make the administrator</button></form>',
        long=True,
    )


def passkey_script() -> str:
    """Return the script of the log-in page."""
    return (files("api.workstation") / "style" / "passkey.js").read_text(encoding="utf-8")
