"""The `dosewright` command. Every error a person can meet is one message on standard error, never a trace; with `--json`, one object."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer

from api.cli_commands import Commands
from api.cli_errors import UNANSWERED, report, report_problem, usage_problem
from api.cli_options import AsJson
from audit.errors import DosewrightError
from audit.quantities import QuantityError

ERROR_STATUS = 2
_ABORTED_STATUS = 1
_INTERRUPTED_STATUS = 130
_COMPLETING = "_DOSEWRIGHT_COMPLETE"

app = typer.Typer(
    name="dosewright",
    help="Controller for pharmaceutical 3D printers: a prescription becomes a printed, weighed and proved batch.",
    cls=Commands,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _whole() -> None:
    """Nothing comes before a command."""


@app.command("version")
def version(as_json: AsJson = False) -> None:
    """Print the version that every record names."""
    from api.cli_options import print_json
    from audit.version import SOFTWARE

    if as_json:
        print_json({"software": SOFTWARE})
    else:
        print(SOFTWARE)


def run(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit status: that of the command, 2 for an error, 130 when interrupted."""
    given = sys.argv[1:] if arguments is None else arguments
    for_a_program = "--json" in _options(given)
    try:
        status = app(args=arguments, standalone_mode=not for_a_program)
    except (DosewrightError, QuantityError) as error:
        report(error, as_json=for_a_program)
        return ERROR_STATUS
    except typer.TyperException as error:  # how the command was called; without --json, typer says it and leaves
        report_problem(usage_problem(error))
        return ERROR_STATUS
    except typer.Abort:
        report_problem(UNANSWERED)
        return _ABORTED_STATUS
    except KeyboardInterrupt:
        return _INTERRUPTED_STATUS
    except SystemExit as leave:  # the way a command gives its status, a usage error included
        return leave.code if isinstance(leave.code, int) else 0
    return status if isinstance(status, int) else 0


def _options(arguments: Sequence[str]) -> Sequence[str]:
    """Return what may be options: after `--` everything is an argument."""
    return arguments[: arguments.index("--")] if "--" in arguments else arguments


def _complete() -> int:
    """Answer a shell that completes a line. It has no place for a message: what goes wrong offers nothing, and the command will say it."""
    try:
        app()
    except Exception:
        return 0
    return 0


def main() -> None:
    """Entry point of the `dosewright` script."""
    sys.exit(_complete() if _COMPLETING in os.environ else run())


if __name__ == "__main__":
    main()
