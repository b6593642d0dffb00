"""Whether Python and the packages are those that the product was locked and tested with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from api.doctor.finding import Finding, failed, not_checked, passed, warning

OLDEST = (3, 11)
_SHOWN = 5
_INSTALL = "Install the locked requirements again: pip install --require-hashes -r requirements.lock"


def judge_python(version: tuple[int, int, int]) -> Finding:
    text = ".".join(str(part) for part in version)
    if version[:2] < OLDEST:
        return failed("software.python", f"Python {text}", f"Use Python {OLDEST[0]}.{OLDEST[1]} or newer.")
    return passed("software.python", f"Python {text}")


def judge_versions(
    locked: Mapping[str, Sequence[str]] | None, installed: Mapping[str, str], elsewhere: frozenset[str] = frozenset()
) -> Finding:
    """Compare versions with the lock, None where there is none here.

    A package may have several, each for some platforms or versions of Python. `elsewhere` names those that some do without.
    """
    if locked is None:
        return not_checked("software.versions", "the lock (requirements.lock) is not beside the program")
    other = [
        f"{name} {installed[name]} instead of {' or '.join(wanted)}"
        for name, wanted in locked.items()
        if name in installed and installed[name] not in wanted
    ]
    absent = [f"{name} is not installed" for name in locked if name not in installed and name not in elsewhere]
    if problems := [*absent, *other]:
        more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        said = f"{', '.join(problems[:_SHOWN])}{more}"
        if absent:
            return failed("software.versions", said, _INSTALL)
        return warning("software.versions", f"{said}; the product was tested with the locked ones", _INSTALL)
    return passed("software.versions", f"{len(locked)} packages, all as locked")


def judge_imports(tried: int, problems: Mapping[str, str]) -> Finding:
    """Say which packages cannot be loaded; `problems` gives the error of each."""
    if problems:
        said = "; ".join(f"{name}: {error}" for name, error in sorted(problems.items()))
        return failed("software.imports", said, _INSTALL)
    return passed("software.imports", f"{tried} packages load")
