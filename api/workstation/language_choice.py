"""The choice of the language as a plain form: each language under its own name, so that it is found in any other."""

from __future__ import annotations

from html import escape

from api.workstation.words import languages, said, spoken


def choice_html(back: str) -> str:
    """Return the form; `back` is the page that it is on."""
    here = spoken()
    buttons = "".join(
        f'<button name="language" value="{escape(language.code)}" lang="{escape(language.code)}" '
        f'aria-pressed="{"true" if language is here else "false"}">{escape(language.name)}</button>'
        for language in languages().values()
    )
    return (
        f'<form method="post" action="/language" class="dw-languages" role="group" aria-label="{escape(said("Language of the pages"))}">'
        f'<input type="hidden" name="back" value="{escape(back)}">{buttons}</form>'
    )
