"""Languages as files: one JSON file each, its name the code (`de.json`), with the language's own name and its texts by English text.

`words` are what pages say. `sentences` are what the product records in English with values in it: each is also a pattern, by which
a recorded sentence is recognised and shown in the language with its own values.

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
"""A value so named is of the software (`{the_state}`) and is translated too; any other stays as it was recorded."""
_STATE = "the_state"
"""A value so named is one word of the software, or the sentence is another one."""
_NUMBER = "n"
"""A value so named is a whole number in a sentence; any other is whatever was recorded."""
_FIXED = 4
"""Letters that a sentence needs beside its values: with fewer, it would be taken for others."""


@dataclass(frozen=True, slots=True, eq=False)
class Language:
    """One language: its code (BCP 47, also of the script library's own words), its own name, and its words by English text."""

    code: str
    name: str
    words: Mapping[str, str]
    sentences: Mapping[str, str] = field(default_factory=dict)
    _patterns: tuple[tuple[str, re.Pattern[str], str], ...] = field(init=False)

    def __post_init__(self) -> None:
        # the longest fixed text first: a pattern that says more is never hidden by one that says less
        keys = sorted(self.sentences, key=lambda key: (-_fixed(key), key))
        object.__setattr__(self, "_patterns", tuple((_longest_piece(key), _pattern(key), key) for key in keys))

    def find(self, text: str) -> str | None:
        """Return a text or a filled sentence in this language; None where the file knows neither."""
        return self.words.get(text) or (_filled(self, text) if len(text) <= _LONGEST else None)

    def knows(self, state: str | None) -> bool:
        """Whether a state, where a sentence names one, is a word of this language."""
        return state is None or state in self.words or state in self.sentences

    def in_parts(self, text: str) -> tuple[str, bool]:
        """Return a text, or each part of a list joined by "; ", in this language, and whether all of it is."""
        if (known := self.find(text)) is not None:
            return known, True
        parts = text.split("; ")
        if len(parts) == 1:
            return text, False
        found = [self.find(part) for part in parts]
        return "; ".join(part if known is None else known for part, known in zip(parts, found, strict=True)), None not in found


@lru_cache(maxsize=_REMEMBERED)
def _filled(language: Language, text: str) -> str | None:
    for piece, pattern, key in language._patterns:
        if piece not in text:
            continue
        if (found := pattern.fullmatch(text)) is not None and language.knows(found.groupdict().get(_STATE)):
            values = {name: language.in_parts(value)[0] if name.startswith(_OURS) else value for name, value in found.groupdict().items()}
            return language.sentences[key].format(**values)
    return None


def _longest_piece(key: str) -> str:
    """What every filled sentence of this form holds: most sentences are passed over by it alone."""
    return max(_PLACEHOLDER.sub("\0", key).split("\0"), key=len)


def _fixed(key: str) -> int:
    """How many letters of a sentence are its own."""
    return sum(letter.isalpha() for letter in _PLACEHOLDER.sub("", key))


def _pattern(key: str) -> re.Pattern[str]:
    """Return what a filled sentence looks like; a name that comes again has the same value."""
    seen: set[str] = set()

    def group(name: str) -> str:
        if name in seen:
            return f"(?P={name})"
        seen.add(name)
        if name == _NUMBER:
            return f"(?P<{name}>[0-9]+)"
        # a list is a value only where the sentence says so: else the parts of a list would be taken for one value
        return f"(?P<{name}>.+?)" if name.startswith(_OURS) else f"(?P<{name}>(?:(?!; ).)+?)"

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
        name, said, sentences = content["name"], content["words"], content.get("sentences", {})
        texts = [*said.items(), *sentences.items()]
        whole = isinstance(name, str) and all(isinstance(part, str) for pair in texts for part in pair)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SettingsInvalid(
            f"{where} is no file of a language: {error!r}.", remedy="Give it the form that docs/languages.md shows."
        ) from None
    problems = [problem for key, value in texts if (problem := unfit(key, value))] if whole else ["not every word is a text"]
    problems += [f"{key!r} is too short for a sentence" for key in sentences if _fixed(key) < _FIXED]
    if problems:
        raise SettingsInvalid(f"{where}: {problems[0]}.", remedy="Correct the text named; nothing of the file is used.")
    return Language(code, name, said, sentences)


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
