"""Languages as files: one JSON file each, its name the code (`de.json`), with the language's own name and its words by English text.

A site may have further ones in `languages/` of its folder. A file whose placeholders or markup differ from the English text is
refused whole: a value would be missing where a person reads it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from api.errors import SettingsInvalid

_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_MARKUP = re.compile(r"</?[a-z]+>")
_PLAIN = re.compile(r"[<>&\"]")
_REMEMBERED = 4096
_LONGEST = 800
_OURS = "the_"
"""A value so named is a word of the software (`{the_state}`) and is translated too; any other stays as it was recorded."""


@dataclass(frozen=True, slots=True, eq=False)
class Language:
    """One language: its code (BCP 47, also of the script library's own words), its own name, and its words by English text."""

    code: str
    name: str
    words: Mapping[str, str]
    _patterns: tuple[tuple[re.Pattern[str], str], ...] = field(init=False)

    def __post_init__(self) -> None:
        # the longest fixed text first: a pattern that says more is never hidden by one that says less
        keys = sorted((key for key in self.words if _PLACEHOLDER.search(key)), key=lambda key: (-len(_PLACEHOLDER.sub("", key)), key))
        object.__setattr__(self, "_patterns", tuple((_pattern(key), key) for key in keys))

    def find(self, text: str) -> str | None:
        """Return a text or a filled sentence in this language; None where the file knows neither."""
        return self.words.get(text) or (_filled(self, text) if len(text) <= _LONGEST else None)


@lru_cache(maxsize=_REMEMBERED)
def _filled(language: Language, text: str) -> str | None:
    for pattern, key in language._patterns:
        if (found := pattern.fullmatch(text)) is not None:
            values = {
                name: language.words.get(value, value) if name.startswith(_OURS) else value for name, value in found.groupdict().items()
            }
            return language.words[key].format(**values)
    return None


def _pattern(key: str) -> re.Pattern[str]:
    """Return what a filled sentence looks like; a name that comes again has the same value."""
    seen: set[str] = set()

    def group(name: str) -> str:
        if name in seen:
            return f"(?P={name})"
        seen.add(name)
        return f"(?P<{name}>.+?)"

    parts = _PLACEHOLDER.split(key)
    return re.compile("".join(group(part) if at % 2 else re.escape(part) for at, part in enumerate(parts)), re.DOTALL)


ENGLISH = Language("en-GB", "English", {})


def shipped() -> Iterator[Language]:
    """The languages that come with the software. Raises SettingsInvalid for a file that is wrong."""
    for item in sorted((files("api.workstation") / "languages").iterdir(), key=lambda item: item.name):
        if item.name.endswith(".json"):
            yield read(item.name.removesuffix(".json"), item.read_text(encoding="utf-8"), item.name)


def of_site(folder: Path) -> Iterator[Language]:
    """The languages that a site adds in `languages/` of its folder. Raises SettingsInvalid for a file that is wrong."""
    for path in sorted((folder / "languages").glob("*.json")):
        yield read(path.stem, path.read_text(encoding="utf-8"), str(path))


def read(code: str, text: str, where: str) -> Language:
    """Read the file of one language. Raises SettingsInvalid."""
    try:
        content = json.loads(text)
        name, words = content["name"], content["words"]
        whole = isinstance(name, str) and all(isinstance(key, str) and isinstance(value, str) for key, value in words.items())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SettingsInvalid(
            f"{where} is no file of a language: {error}", remedy="Give it the form that docs/languages.md shows."
        ) from None
    problems = [problem for key, value in words.items() if (problem := unfit(key, value))] if whole else ["every word is a text"]
    if problems:
        raise SettingsInvalid(f"{where}: {problems[0]}", remedy="Correct the translation named; nothing of the file is used.")
    return Language(code, name, words)


def unfit(key: str, value: str) -> str:
    """Return what keeps a translation from standing for its English text, or nothing."""
    if not value.strip():
        return f"{key!r} has no translation"
    if sorted(set(_PLACEHOLDER.findall(key))) != sorted(set(_PLACEHOLDER.findall(value))):
        return f"{key!r} and {value!r} name other values"
    if sorted(_MARKUP.findall(key)) != sorted(_MARKUP.findall(value)):
        return f"{key!r} and {value!r} have other markup"
    if _PLAIN.search(_MARKUP.sub("", value)):
        return f"{value!r} holds a character that HTML reads as markup"
    if set(_PLACEHOLDER.sub("", value)) & set("{}"):
        return f"{value!r} holds a brace that is no value's"
    return ""
