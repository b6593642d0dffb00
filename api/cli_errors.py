"""How the command says what went wrong: a line for a person, or one JSON object for a program, always on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

import typer

from audit.errors import DosewrightError
from audit.quantities import QuantityError

_EXAMINED = frozenset({"AU-010", "AP-041"})
"""Codes of records that are not what they claim to be: the command that examines them is named where a person is at a terminal."""
_VALUE = "AP-014"
"""The code of a value that cannot be read, also where it is the call of the command itself."""
UNANSWERED = {
    "code": _VALUE,
    "detail": "A question was not answered; what it was asked for was not done.",
    "remedy": "Give what is asked for with the options and in the environment (DOSEWRIGHT_PASSWORD).",
}


def _code(error: DosewrightError | QuantityError) -> str:
    if not isinstance(error, DosewrightError):
        return _VALUE
    answered: str = getattr(error, "answer_code", "")  # what a workstation refused has the workstation's code
    return answered or error.code


def _at_a_terminal(error: DosewrightError | QuantityError) -> str:
    """Return which command goes on from an error; the error itself names none, for pages show it too."""
    return "`dosewright verify` says what is wrong." if _code(error) in _EXAMINED else ""


def report(error: DosewrightError | QuantityError, *, as_json: bool = False) -> None:
    """Write one error: code, what is wrong, what to do."""
    if as_json:
        report_problem(problem(error))
        return
    from rich.console import Console

    text = " ".join(f"{error} {_at_a_terminal(error)}".split())
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"error {_code(error)}: {text}", markup=False)


def problem(error: DosewrightError | QuantityError) -> dict[str, object]:
    """Return an error as data: `code`, `detail`, `remedy` (may be empty), and `reasons` where there are several."""
    if not isinstance(error, DosewrightError):
        return {"code": _VALUE, "detail": " ".join(str(error).split()), "remedy": ""}
    remedy = f"{error.remedy} {_at_a_terminal(error)}".strip()
    found: dict[str, object] = {"code": _code(error), "detail": error.message, "remedy": remedy}
    reasons = getattr(error, "reasons", ())
    return {**found, "reasons": list(reasons)} if reasons else found


def usage_problem(error: typer.TyperException) -> dict[str, object]:
    """Return how a command was called wrongly as data."""
    return {"code": _VALUE, "detail": error.format_message(), "remedy": "Look at the command with --help."}


def report_problem(found: Mapping[str, object]) -> None:
    sys.stderr.write(json.dumps(found, ensure_ascii=False) + "\n")
