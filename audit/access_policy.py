"""The site's policy for access: passwords, lock-out, sessions, signing in sequence, reviews.

A controlled setting: it is changed by an entry with old, new, reason and administrator, and never below the floor.
The sources contradict each other on passwords, so a site chooses (docs/people.md):
21 CFR 11.300(b) wants passwords revised periodically, draft Annex 11 (2025) 11.5 wants length and character classes,
NIST SP 800-63B-4 3.1.1 wants neither classes nor periodic change, but 15 characters and a blocklist.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict, Field

from audit.canonical import JsonObject

_CLASSES = (re.compile(r"[a-z]"), re.compile(r"[A-Z]"), re.compile(r"[0-9]"), re.compile(r"[^A-Za-z0-9]"))
_LOOKALIKES = str.maketrans("0134578@$!|+", "oieastbasiit")
_RUNS = (
    "abcdefghijklmnopqrstuvwxyz",
    "01234567890123456789",
    "qwertyuiopasdfghjklzxcvbnm",
    "qwertzuiopasdfghjklyxcvbnm",
    "azertyuiopqsdfghjklmwxcvbn",
)
_FEW = 4
_SHORTEST_NAME = 3


class AccessPolicy(BaseModel):
    """One version of the policy. Lengths in characters, spans in minutes or days; 0 means that the rule is not used.

    `classes`: how many of lower case, upper case, digit, other a password needs. `history`: how many earlier
    passwords are not taken again. `words`: the site's own words. `sequence_minutes`: for how long after a signature the
    same person's next ones need the password alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    minimum_length: int = Field(default=12, ge=1, le=64)
    maximum_length: int = Field(default=256, ge=1, le=256)
    classes: int = Field(default=0, ge=0, le=4)
    maximum_age_days: int = Field(default=0, ge=0, le=3650)
    history: int = Field(default=0, ge=0, le=10)
    blocklist: bool = True
    words: tuple[str, ...] = Field(default=(), max_length=100)
    attempts: int = Field(default=5, ge=1, le=100)
    inactivity_minutes: int = Field(default=15, ge=1, le=1440)
    session_minutes: int = Field(default=480, ge=1, le=1440)
    sequence_minutes: int = Field(default=0, ge=0, le=1440)
    inactive_days: int = Field(default=90, ge=1, le=3650)
    review_days: int = Field(default=180, ge=1, le=3650)

    def as_record(self) -> JsonObject:
        return {**self.model_dump(exclude={"words"}), "words": list(self.words)}


PRESETS: Mapping[str, AccessPolicy] = MappingProxyType(
    {
        "NIST SP 800-63B-4": AccessPolicy(minimum_length=15),
        "draft Annex 11 (2025)": AccessPolicy(minimum_length=12, classes=3, history=5),
        "21 CFR 11.300(b), periodic": AccessPolicy(minimum_length=12, maximum_age_days=90, history=10),
    }
)
"""Starting points, each the reading of one source."""


def policy_of(state: Mapping[str, object]) -> AccessPolicy:
    """Return the policy that the trail holds. Raises ValidationError."""
    words = state.get("words")
    return AccessPolicy.model_validate({**state, "words": tuple(words) if isinstance(words, list) else words})


def below_floor(policy: AccessPolicy) -> tuple[str, ...]:
    """Return what of a policy is weaker than any site may choose."""
    limits = (
        (policy.minimum_length >= 12, "minimum_length is at least 12"),
        (policy.maximum_length >= 64, "maximum_length is at least 64, so that a sentence fits (NIST SP 800-63B-4 3.1.1.2)"),
        (policy.maximum_length >= policy.minimum_length, "maximum_length is not below minimum_length"),
        (policy.blocklist, "blocklist stays on"),
        (policy.attempts <= 10, "attempts are at most 10"),
        (policy.inactivity_minutes <= 30, "inactivity_minutes are at most 30"),
        (policy.session_minutes <= 720, "session_minutes are at most 720"),
        (policy.sequence_minutes <= 10, "sequence_minutes are at most 10"),
        (policy.inactive_days <= 180, "inactive_days are at most 180"),
        (policy.review_days <= 366, "review_days are at most 366"),
    )
    return tuple(text for met, text in limits if not met)


def password_reasons(policy: AccessPolicy, password: str, *, username: str, name: str, site: str = "") -> tuple[str, ...]:
    """Return every reason why a password does not fit the policy; none where it fits."""
    reasons = []
    if not policy.minimum_length <= len(password) <= policy.maximum_length:
        reasons.append(f"it has {len(password)} characters; {policy.minimum_length} to {policy.maximum_length} are needed")
    if (found := sum(1 for sort in _CLASSES if sort.search(password))) < policy.classes:
        reasons.append(f"it has {found} of lower case, upper case, digit and other; {policy.classes} are needed")
    if username in password.casefold():
        reasons.append("it contains the username")
    if policy.blocklist:
        reasons += _blocked(password, (*name.split(), *re.split(r"[^a-z0-9]+", site.casefold()), *policy.words))
    return tuple(reasons)


def _blocked(password: str, words: tuple[str, ...]) -> list[str]:
    folded = unicodedata.normalize("NFKC", password).casefold()
    reasons = []
    named = sorted({word.casefold() for word in words if len(word) >= _SHORTEST_NAME and word.casefold() in folded})
    if named:
        reasons.append("it contains a name or a word of this site: " + ", ".join(named))
    if is_common(folded):
        reasons.append("it is a common password, or one with digits and signs around it")
    if len(set(folded)) <= _FEW or _is_run(folded):
        reasons.append("it is one run or repetition of a few characters")
    return reasons


def is_common(folded: str) -> bool:
    """Return whether a case-folded password is a common one: nothing but listed words is left of it once look-alikes are read as
    letters and all other signs are dropped.
    """
    words, core = common_words(), re.sub(r"^[^a-z]+|[^a-z]+$", "", folded)
    for text in (core.translate(_LOOKALIKES), folded.translate(_LOOKALIKES), folded):
        letters = re.sub(r"[^a-z]", "", text)
        if letters and _is_made_of(letters, words):
            return True
    return False


def _is_made_of(letters: str, words: frozenset[str]) -> bool:
    """True where the text is one listed word, or one repeated."""
    return any(letters == letters[:size] * (len(letters) // size) and letters[:size] in words for size in range(3, len(letters) + 1))


def _is_run(folded: str) -> bool:
    """True where the text is made of a piece of the keyboard or the alphabet, forwards, backwards, or again and again."""
    for run in _RUNS:
        for line in (run, run[::-1]):
            for size in range(_SHORTEST_NAME, len(folded) + 1):
                piece = folded[:size]
                if piece in line and (piece * (len(folded) // size + 1)).startswith(folded):
                    return True
    return False


@cache
def common_words() -> frozenset[str]:
    """Return the words of `common_passwords.txt`."""
    text = (files("audit") / "common_passwords.txt").read_text(encoding="ascii")
    return frozenset(line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#"))
