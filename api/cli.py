"""The `dosewright` command. Every error a person can meet is one message on standard error, never a trace."""

from __future__ import annotations

import sys

import typer
from rich.console import Console

from api import (
    cli_alarms,
    cli_anchor,
    cli_backup,
    cli_check,
    cli_demo,
    cli_devices,
    cli_fhir,
    cli_inks,
    cli_key,
    cli_label,
    cli_model,
    cli_package,
    cli_plan,
    cli_recall,
    cli_recipe,
    cli_replay,
    cli_retention,
    cli_serve,
    cli_site,
    cli_solid,
    cli_store,
    cli_trail,
    cli_trends,
    cli_verify,
    cli_weigh,
    cli_witness,
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
app.command("create-store")(cli_store.create_store)
app.command("package")(cli_package.package)
app.command("backup")(cli_backup.backup)
app.command("restore")(cli_backup.restore_store)
app.command("backup-check")(cli_backup.backup_check)
app.command("retention")(cli_retention.retention)
app.command("archive")(cli_retention.archive)
app.command("replay")(cli_replay.replay)
app.command("alarms")(cli_alarms.alarms)
app.command("trail")(cli_trail.trail)
app.command("trends")(cli_trends.trends)
app.command("solid")(cli_solid.solid)
app.command("devices")(cli_devices.devices)
app.command("label")(cli_label.label)
app.command("weigh")(cli_weigh.weigh)
app.add_typer(cli_check.app, name="check")
app.add_typer(cli_inks.ink, name="ink")
app.add_typer(cli_inks.cartridge, name="cartridge")
app.add_typer(cli_recipe.app, name="recipe")
app.add_typer(cli_fhir.app, name="fhir")
app.add_typer(cli_anchor.app, name="anchor")
app.add_typer(cli_key.app, name="key")
app.add_typer(cli_witness.app, name="witness")
app.add_typer(cli_model.app, name="model")
app.add_typer(cli_recall.app, name="recall")
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
