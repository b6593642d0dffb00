"""What the pages say, in the language of the person who looks at them.

The English text is the key. Words of the record (entries, reasons that people typed, identifiers) are never translated; a sentence
that is recorded in English may be shown in another language (`told`), and stays English where it is recorded.

Concurrency: languages are added before the first request; which one is spoken belongs to the task (`spoken`), so that two visitors
never hear each other's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from html import escape

from api.workstation.language_files import ENGLISH, Language, shipped

_languages: dict[str, Language] = {language.code: language for language in (ENGLISH, *shipped())}
_spoken: ContextVar[Language | None] = ContextVar("spoken", default=None)
_finders: list[Callable[[], Language | None]] = []
_LONGEST_HEADER = 1000


def said(text: str, **values: object) -> str:
    """Return a text of a page in the visitor's language, its `{names}` replaced by `values`. The text is a literal."""
    found = spoken().words.get(text, text)
    return found.format(**values) if values else found


def said_n(one: str, many: str, n: int, **values: object) -> str:
    """Return the text for one or for many things, in the visitor's language; `{n}` is their number."""
    return said(one if n == 1 else many, n=n, **values)


def marked(text: str) -> str:
    """Return the text itself: it stands in a table, is a key of the files of languages, and is shown by `told`."""
    return text


def told(text: str) -> str:
    """Return a text that is not a literal here, in the visitor's language where the files know it or its pattern, else as it is.

    For texts of tables (`marked`, states, alarms, roles) and for sentences of the record with their values in them. Of a list
    joined by "; " each part is looked up by itself.
    """
    language = spoken()
    if language is ENGLISH or not text:
        return text
    return language.in_parts(text)[0]


def told_html(text: str) -> str:
    """Return `told` escaped for HTML; what stays English says so, for a screen reader (WCAG 3.1.2)."""
    language = spoken()
    if language is ENGLISH or not text:
        return escape(text)
    found, whole = language.in_parts(text)
    return escape(found) if whole else f'<span lang="en">{escape(found)}</span>'


def spoken() -> Language:
    """Return the language of who looks: of the page whose event this is, else of the request, else English."""
    for find in _finders:
        if (found := find()) is not None:
            return found
    return _spoken.get() or ENGLISH


@contextmanager
def speaking(language: Language) -> Iterator[None]:
    """Speak a language within: for work in a thread, which knows no page."""
    token = _spoken.set(language)
    try:
        yield
    finally:
        _spoken.reset(token)


def speak(language: Language) -> None:
    """Speak a language for the rest of this task."""
    _spoken.set(language)


def find_by(finder: Callable[[], Language | None]) -> None:
    """Ask `finder` first which language is spoken; None where it does not know."""
    if finder not in _finders:
        _finders.append(finder)


def add(language: Language) -> None:
    """Add a language of the site; one that is shipped is never replaced."""
    _languages.setdefault(language.code, language)


def languages() -> Mapping[str, Language]:
    """All languages by code, English first."""
    return _languages


def choose(cookie: str, accept_language: str, site: str) -> Language:
    """Return the language of a request: the one chosen on the page, else the browser's, else the site's, else English."""
    for wanted in (cookie, *_by_preference(accept_language[:_LONGEST_HEADER]), site):
        if (found := _matching(wanted)) is not None:
            return found
    return ENGLISH


def _by_preference(header: str) -> list[str]:
    """Read Accept-Language (RFC 9110, 12.5.4): the ranges by weight, highest first; what cannot be read is left out."""
    weighed = []
    for at, item in enumerate(header.split(",")):
        tag, _, parameter = item.strip().partition(";")
        weight = parameter.strip().removeprefix("q=") or "1"
        try:
            value = float(weight)
        except ValueError:
            continue
        if 0 < value <= 1:
            weighed.append((-value, at, tag.strip()))
    return [tag for _, _, tag in sorted(weighed)]


def _matching(wanted: str) -> Language | None:
    """Return the language of a tag, else one of the same primary subtag."""
    for code, language in _languages.items():
        if code.lower() == wanted.lower():
            return language
    primary = wanted.lower().partition("-")[0]
    return next((language for code, language in _languages.items() if primary and code.lower().partition("-")[0] == primary), None)
