"""The pages before log-in: plain forms, which show nothing of the site but that it is a demonstration.

They work without script. The only script there is asks the browser for a passkey; it is a file of its own.
"""

from __future__ import annotations

from html import escape
from importlib.resources import files

from api.workstation.language_choice import choice_html
from api.workstation.look import LOGIN_STYLE
from api.workstation.words import said, spoken


def _code_html() -> str:
    return (
        f'<label for="code">{said("One-time or recovery code")}</label>'
        '<input id="code" name="code" autocomplete="one-time-code" autocapitalize="none" spellcheck="false">'
    )


def _passkey_html() -> str:
    """The button, with what the script says: a file of its own knows no language."""
    says = {
        "first": said("Type user name and password first."),
        "without": said("This browser has no passkeys. Use a code."),
        "unasked": said("No passkey was asked for."),
        "failed": said("The passkey did not answer:"),
    }
    data = "".join(f' data-{name}="{escape(words)}"' for name, words in says.items())
    return (
        '<input type="hidden" name="passkey" id="passkey" disabled>'
        f'<button type="button" id="with-passkey" class="second"{data}>{said("Log in with a passkey in place of a code")}</button>'
        '<p id="passkey-says" role="status"></p><script src="/passkey.js"></script>'
    )


def _page(title: str, body: str, back: str, *, long: bool = False) -> str:
    kind = ' class="long"' if long else ""
    return (
        f'<!doctype html><html lang="{spoken().code}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Dosewright: {title}</title><style>{LOGIN_STYLE}</style></head>"
        f"<body><main{kind}>{body}{choice_html(back)}</main></body></html>"
    )


def login_page(*, demonstration: bool, message: str = "", code: bool = False, passkeys: bool = False) -> str:
    """Return the whole page as HTML text; `message` is the reason of a refused log-in. `code` and `passkeys`: what is asked besides."""
    note = f'<div class="note" role="alert">{escape(message)}</div>' if message else ""
    demo = f'<div class="note demo" role="note"><b>{said("Demonstration, not for patients")}</b></div>' if demonstration else ""
    outside = said("You are outside the site's perimeter: a second factor is needed.")
    return _page(
        said("log in"),
        f"<h1>Dosewright</h1><p>{said('Printing of individual doses')}</p>{demo}{note}{f'<p>{escape(outside)}</p>' if code else ''}"
        f'<form method="post" action="/api/v1/session"><label for="username">{said("User name")}</label>'
        '<input id="username" name="username" autocomplete="username" autocapitalize="none" required autofocus>'
        f'<label for="password">{said("Password")}</label>'
        '<input id="password" name="password" type="password" autocomplete="current-password" required>'
        f"{_code_html() if code else ''}<button>{said('Log in')}</button>{_passkey_html() if passkeys else ''}</form>",
        "/login",
    )


def set_up_page(*, is_open: bool) -> str:
    """Return the page of the first administrator, or that it is over."""
    if not is_open:
        over = f'<p>{said("This site is set up.")}</p><a class="back" href="/login">{said("Log in")}</a>'
        return _page(said("set-up"), f"<h1>{said('Set up')}</h1>{over}", "/set-up")
    fields = (
        ("token", said("Set-up token, as the terminal showed it"), "off", "text"),
        ("username", said("User name"), "username", "text"),
        ("full_name", said("Full name, as it stands on records"), "name", "text"),
        ("password", said("Password"), "new-password", "password"),
        ("again", said("Password again"), "new-password", "password"),
    )
    rows = "".join(
        f'<label for="{name}">{label}</label><input id="{name}" name="{name}" type="{kind}" '
        f'autocomplete="{complete}" autocapitalize="none" spellcheck="false" required>'
        for name, label, complete, kind in fields
    )
    return _page(
        said("set-up"),
        f"<h1>{said('Set up')}</h1>"
        f"<p>{said('Make the first administrator. The account looks after people and signs no GMP record.')}</p>"
        f'<form method="post" action="/api/v1/set-up">{rows}<button>{said("Make the administrator")}</button></form>',
        "/set-up",
        long=True,
    )


def passkey_script() -> str:
    """Return the script of the log-in page."""
    return (files("api.workstation") / "style" / "passkey.js").read_text(encoding="utf-8")
