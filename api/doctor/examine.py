"""Every check in its order: facts are gathered, then judged. What cannot be looked at is a finding; the rest is looked at all the same."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from api.doctor import gather_machine
from api.doctor.clocks import judge_clock
from api.doctor.disk import judge_disk
from api.doctor.finding import Finding, failed, not_checked
from api.doctor.rights import judge_account, judge_folder
from api.doctor.section import guarded
from api.doctor.software import judge_imports, judge_python, judge_versions
from api.settings import LEAST_FREE, Settings, load_settings
from audit.errors import DosewrightError


def examine(site: Path | None, port: int | None = None) -> Iterator[Finding]:
    """Give the findings on this machine and, where a folder is named, on the site in it. `port` is another than the site's own."""
    yield from guarded("software", _software)
    if site is None:
        yield not_checked("site.settings", "no folder of a site is named; give --site FOLDER")
        yield from guarded("rights", lambda: judge_account(gather_machine.account(), clinical=False))
        yield from guarded("clock", lambda: judge_clock(gather_machine.clock(datetime.now(UTC))))
        return
    if not _is_folder(site):
        remedy = "Name the folder of a site; `dosewright site create` makes one, `dosewright serve` one for demonstration."
        yield failed("site.settings", f"{site} is no folder that this account can look into", remedy)
        return
    site = site.resolve()
    try:
        settings = load_settings(site)
    except DosewrightError as error:
        for reason in getattr(error, "reasons", ()) or (error.message,):
            yield failed("site.settings", reason, error.remedy)
        yield from _place(site, None)
        yield not_checked("site.record", "without its settings it is not known where a site's stores, keys and cells are")
        return
    except OSError as error:
        yield failed("site.settings", f"{error.filename} cannot be read: {error.strerror}", "Run the doctor as the workstation's account.")
        yield from _place(site, None)
        return
    yield from _place(site, settings)
    from api.doctor.examine_site import examine_site  # a part of it loads what a cell is built with

    yield from examine_site(settings, port)


def _is_folder(site: Path) -> bool:
    try:
        return site.is_dir()
    except OSError:  # a folder on the way to it is closed to this account
        return False


def _software() -> Iterator[Finding]:
    yield judge_python(sys.version_info[:3])
    locked = gather_machine.locked_versions(gather_machine.LOCK)
    versions, elsewhere = (None, frozenset[str]()) if locked is None else locked
    yield judge_versions(versions, gather_machine.installed_versions(), elsewhere)
    yield judge_imports(len(gather_machine.NEEDED), gather_machine.import_problems())


def _place(site: Path, settings: Settings | None) -> Iterator[Finding]:
    """Give what can be said of the folder and the machine, whatever is in the folder."""
    clinical = settings is not None and not settings.demonstration
    yield from guarded("rights", lambda: judge_account(gather_machine.account(), clinical=clinical))
    yield from guarded("rights", lambda: judge_folder(gather_machine.folder(site), os.geteuid()))
    yield from guarded("disk", lambda: judge_disk(gather_machine.disk("site", site, LEAST_FREE, probe=True)))
    if settings is not None:
        archive = settings.path(settings.archive)
        yield from guarded("disk", lambda: judge_disk(gather_machine.disk("archive", archive, LEAST_FREE, probe=archive.is_dir())))
    stated, zone = (settings.clock_sync, settings.zone) if settings is not None else ("", "")
    yield from guarded("clock", lambda: judge_clock(gather_machine.clock(datetime.now(UTC), stated=stated, zone=zone)))
