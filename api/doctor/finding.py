"""What a check came to: outcome, what was found, what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from audit.canonical import JsonObject


class Outcome(StrEnum):
    PASSED = "passed"
    WARNING = "warning"
    FAILED = "failed"
    NOT_CHECKED = "not checked"


_WORST = (Outcome.FAILED, Outcome.WARNING, Outcome.NOT_CHECKED, Outcome.PASSED)


@dataclass(frozen=True, slots=True)
class Finding:
    """One check. `check` is its stable name, `area.what`; `subject` says of what, empty where there is but one.

    A warning or a failure always says what to do; what was not checked says in `found` why.
    """

    check: str
    subject: str
    outcome: Outcome
    found: str
    remedy: str = ""

    def __post_init__(self) -> None:
        if not self.found or (self.outcome in (Outcome.WARNING, Outcome.FAILED) and not self.remedy):
            raise ValueError(f"{self.check}: a finding says what was found, and what to do where something is wrong")

    @property
    def area(self) -> str:
        return self.check.partition(".")[0]

    def as_record(self) -> JsonObject:
        return {
            "check": self.check,
            "subject": self.subject,
            "outcome": self.outcome.value,
            "found": self.found,
            "remedy": self.remedy,
        }


def passed(check: str, found: str, subject: str = "") -> Finding:
    return Finding(check, subject, Outcome.PASSED, found)


def warning(check: str, found: str, remedy: str, subject: str = "") -> Finding:
    return Finding(check, subject, Outcome.WARNING, found, remedy)


def failed(check: str, found: str, remedy: str, subject: str = "") -> Finding:
    return Finding(check, subject, Outcome.FAILED, found, remedy)


def not_checked(check: str, why: str, subject: str = "") -> Finding:
    return Finding(check, subject, Outcome.NOT_CHECKED, why)


def worst(findings: Iterable[Finding]) -> Outcome:
    """Return the outcome of all together: the worst of them; of none, not checked."""
    found = {finding.outcome for finding in findings}
    return next((outcome for outcome in _WORST if outcome in found), Outcome.NOT_CHECKED)


def span_text(seconds: int) -> str:
    """Return a span of time in its largest unit of two or more, for a person: 90 s, 26 h, 3 days."""
    for unit, length in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
