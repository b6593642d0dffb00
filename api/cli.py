"""The `dosewright` command. Every error a person can meet is one message on standard error, never a trace."""

from __future__ import annotations

import sys

import typer
from rich.console import Console

from api import (
    cli_alarms,
    cli_check,
    cli_demo,
    cli_devices,
    cli_inks,
    cli_plan,
    cli_recipe,
    cli_replay,
    cli_serve,
    cli_site,
    cli_solid,
    cli_trends,
    cli_verify,
    cli_weigh,
)
from api.demo_desk import Refused
from audit.errors import DosewrightError
from audit.quantities import QuantityError
from audit.version import SOFTWARE

ERROR_STATUS = 2
_INTERRUPTED_STATUS = 130

app = typer.Typer(
    name="dosewright",
    help="Controller for pharmaceutical 3D printers: a prescription becomes a printed, weighed and proved batch.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("demo")(cli_demo.demo)
app.command("plan")(cli_plan.plan)
app.command("serve")(cli_serve.serve)
app.command("verify")(cli_verify.verify)
app.command("replay")(cli_replay.replay)
app.command("alarms")(cli_alarms.alarms)
app.command("trends")(cli_trends.trends)
app.command("solid")(cli_solid.solid)
app.command("devices")(cli_devices.devices)
app.command("weigh")(cli_weigh.weigh)
app.add_typer(cli_check.app, name="check")
app.add_typer(cli_inks.ink, name="ink")
app.add_typer(cli_inks.cartridge, name="cartridge")
app.add_typer(cli_recipe.app, name="recipe")
app.add_typer(cli_site.app, name="site")


@app.command("version")
def version() -> None:
    """Print the version that every record names."""
    print(SOFTWARE)


def report(error: DosewrightError | QuantityError) -> None:
    """Write one error for a person: code, what is wrong, what to do."""
    code = "AP-014"
    if isinstance(error, DosewrightError):
        code = error.answer_code if isinstance(error, Refused) and error.answer_code else error.code
    text = " ".join(str(error).split())
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"error {code}: {text}", markup=False)


def run(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit status: that of the command, 2 for an error, 130 when interrupted."""
    try:
        app(args=arguments)
    except (DosewrightError, QuantityError) as error:
        report(error)
        return ERROR_STATUS
    except KeyboardInterrupt:
        return _INTERRUPTED_STATUS
    except SystemExit as leave:  # the way a command gives its status, a usage error included
        return leave.code if isinstance(leave.code, int) else 0
    return 0


def main() -> None:
    """Entry point of the `dosewright` script."""
    sys.exit(run())


if __name__ == "__main__":
    main()
