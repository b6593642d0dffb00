"""Parts of an examination that stand for themselves: what goes wrong in one is a finding, and the others go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from api.doctor.finding import Finding, failed
from audit.errors import DosewrightError

_REPORT = "If nothing else that failed explains it, report this with the version of the software."


def guarded(area: str, section: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Give the findings of a section; an error that nobody foresaw is a failed check with its words."""
    try:
        yield from section()
    except DosewrightError as error:
        yield failed(f"{area}.check", error.message, error.remedy or _REPORT)
    except Exception as error:
        yield failed(f"{area}.check", f"cannot be looked at: {type(error).__name__}: {error}", _REPORT)
