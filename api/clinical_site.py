"""Lay out a site for patients: keys, certificates, stores and deployment file; no account, no password, no recipe.

The folder is made beside its place and moved there whole: a set-up that was killed leaves nothing that looks like a site.
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from api.certificates import make_certificates, write_private
from api.errors import InputInvalid, SiteExists
from api.settings import FILE_NAME
from api.site import VERIFIER_KEYS, WORKSTATION, cell_names, cells_text, create_cell, enrol_cell
from audit.checkpoint import SigningKey
from audit.clock import SystemClock
from audit.second_factor import load_factor_key
from audit.store import TrailStore
from audit.version import SOFTWARE

_SITE = re.compile(r"[a-z0-9][a-z0-9-]{0,31}\Z")


@dataclass(frozen=True, slots=True)
class ClinicalSite:
    """What was laid out: the folder and the verifier keys, which belong outside it too."""

    folder: Path
    verifier_keys: tuple[str, ...]


def create_clinical_site(folder: Path, *, site: str, zone: str, cells: int, port: int) -> ClinicalSite:
    """Lay out an empty site. Raises SiteExists where anything is in the folder, InputInvalid."""
    names = cell_names(cells)
    _check(site, zone)
    folder = folder.absolute()
    part = folder.with_name(f".{folder.name}.part")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SiteExists(f"{folder} is not empty.", remedy="A site is made once, in an empty folder; nothing was changed.")
    if part.exists():
        raise SiteExists(f"{part} is left from a set-up that did not end.", remedy="Look at it, delete it, and try again.")
    part.mkdir(parents=True, mode=0o700)
    keys = _fill(part, site, zone, names, port)
    part.rename(folder)
    return ClinicalSite(folder, keys)


def _fill(folder: Path, site: str, zone: str, names: tuple[str, ...], port: int) -> tuple[str, ...]:
    (folder / "keys").mkdir(mode=0o700)
    clock = SystemClock(zone=zone)
    key = SigningKey.generate(f"{WORKSTATION}.{site}")
    key.save(folder / "keys" / "workstation.key")
    write_private(folder / "keys" / "patients.key", f"{secrets.token_hex(32)}\n".encode())
    load_factor_key(folder / "keys" / "second-factor.key", create=True)
    make_certificates(folder / "tls", site=site, workstation=WORKSTATION, cells=names)
    cell_keys = {name: create_cell(folder, name, site, clock, demonstration=False) for name in names}
    store = TrailStore.create(folder / "workstation.db", origin=key.name, key=key, clock=clock, software=SOFTWARE, demonstration=False)
    try:
        for name, cell_key in cell_keys.items():
            enrol_cell(store, name, cell_key)
    finally:
        store.close()
    settings = [f"site = {json.dumps(site)}", f"zone = {json.dumps(zone)}", f"port = {port}", 'host = "127.0.0.1"', "", cells_text(names)]
    write_private(folder / FILE_NAME, "\n".join(settings).encode())
    keys = (key.verifier_key, *(cell_key.verifier_key for cell_key in cell_keys.values()))
    (folder / VERIFIER_KEYS).write_text("".join(f"{text}\n" for text in keys), encoding="utf-8")
    return keys


def _check(site: str, zone: str) -> None:
    if not _SITE.match(site):
        raise InputInvalid(
            f"site: {site!r} is no name for a site.", remedy="Use up to 32 of a-z, 0-9 and '-', beginning with a letter or digit."
        )
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InputInvalid(f"zone: there is no time zone {zone!r}.", remedy="Write it as Europe/Berlin.") from None
