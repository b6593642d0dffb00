"""Lay out a site folder: keys, certificates, stores, people, recipes, and the folders of its cells.

Each cell is apart: process, store, key, certificate, folder and bench are its own, named after it.

    FOLDER/
      workstation.toml   workstation.db   site.vkey
      keys/              workstation.key (signs the trail), patients.key          0600
      tls/               ca.pem, workstation.pem, cell-1.pem … and their keys     0600
                         seal-ca.pem, seal.pem and its key: seal the documents    0600
      cell-1.db …
      cell-1/ …          cell.toml, cell.key, address.json, equipment.json, trusted/people.json

Only demonstration sites are laid out here: whole, with accounts whose passwords are made at random; or empty, with the
recipes as drafts that nobody has signed, for people who go through a first day themselves. A clinical site is made by
`api.clinical_site`; its people and recipes come from the site itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from api.certificates import SealFiles, make_certificates, make_seal, write_private
from api.demo_register import demonstration_register, sign_register
from api.errors import InputInvalid, SiteExists, SiteIncomplete
from api.people import DEVICE, issued_password
from api.recipe_versions import TOML
from api.settings import FILE_NAME
from api.shelf import Shelf, recipe_fields
from api.site_names import CELL as CELL
from api.site_names import MOST_CELLS as MOST_CELLS
from api.site_names import VERIFIER_KEYS as VERIFIER_KEYS
from api.site_names import WORKSTATION as WORKSTATION
from api.site_names import Bench as Bench
from audit.canonical import JsonObject, sha256_hex
from audit.checkpoint import SigningKey
from audit.clock import Clock, SystemClock
from audit.events import SYSTEM, Actor, EntryDraft, EventKind, Subject
from audit.identity import Identity, Person, Role
from audit.patients import PatientVault
from audit.sealed_keys import KdfCost
from audit.signatures import sign
from audit.store import TrailStore
from audit.version import SOFTWARE
from printer.standing import local_day
from recipes.effectivity import MEANING_EFFECTIVE, SignedStatement, demonstration_statement
from recipes.library import load_recipe, recipe_bytes, recipe_ids
from recipes.lifecycle import RecipeState
from recipes.order import Cartridge, InkLot
from recipes.store import MEANING_APPROVER, MEANING_AUTHOR, bundle_recipe

TRAINED = frozenset({Role.OPERATOR, Role.PHARMACIST, Role.PROCESS_ENGINEER})
EQUIPMENT = "equipment.json"
# A site for patients names its own: nobody else's name gets onto its labels.
_PHARMACY = '[pharmacy]\nname = "Demonstration pharmacy"\naddress = ["of no hospital", "nowhere"]\n'


@dataclass(frozen=True, slots=True)
class Account:
    """One account of a demonstration site."""

    username: str
    name: str
    roles: frozenset[Role]


DEMONSTRATION_ACCOUNTS: tuple[Account, ...] = (
    Account("administrator", "Demonstration administrator", frozenset({Role.ADMINISTRATOR})),
    Account("engineer", "Demonstration process engineer", frozenset({Role.PROCESS_ENGINEER})),
    Account("quality", "Demonstration quality assurance", frozenset({Role.QUALITY_ASSURANCE})),
    Account("pharmacist", "Demonstration pharmacist", frozenset({Role.PHARMACIST})),
    Account("second", "Demonstration second pharmacist", frozenset({Role.PHARMACIST})),
    Account("operator", "Demonstration operator", frozenset({Role.OPERATOR})),
    Account("qp", "Demonstration qualified person", frozenset({Role.QUALIFIED_PERSON})),
)


@dataclass(frozen=True, slots=True)
class Site:
    """What was laid out: the folder, each account's password (shown this once), the verifier keys."""

    folder: Path
    passwords: Mapping[str, str]
    verifier_keys: tuple[str, ...]


def cell_names(count: int) -> tuple[str, ...]:
    """Return the names of the cells of a site. Raises InputInvalid below 1 and above 16."""
    if not 1 <= count <= MOST_CELLS:
        raise InputInvalid(f"cells: {count} is not between 1 and {MOST_CELLS}.", remedy="Write for example 2.")
    return tuple(f"cell-{number}" for number in range(1, count + 1))


def create_site(
    folder: Path,
    *,
    site: str = "demonstration",
    inks: Sequence[tuple[InkLot, Cartridge]] = (),
    cells: int = 1,
    daily_check: bool = True,
    cost: KdfCost | None = None,
    empty: bool = False,
) -> Site:
    """Lay out a demonstration site with this number of cells. Raises SiteExists, InputInvalid; what else may fail is of the stores.

    Without `daily_check` the signed registers say that none is required, and every gate shows that choice. `cost`: of the
    passwords of its accounts, which are made at random; the product's own where none is given. `empty`: no accounts, no
    registers, and no recipe that anybody has signed.
    """
    names = cell_names(cells)
    if (folder / FILE_NAME).exists() or (folder / "workstation.db").exists():
        raise SiteExists(f"There is a site in {folder} already.", remedy="Choose an empty folder.")
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    (folder / "keys").mkdir(exist_ok=True)
    clock = SystemClock()
    key = SigningKey.generate(f"{WORKSTATION}.{site}")
    key.save(folder / "keys" / "workstation.key")
    PatientVault.create(folder / "keys" / "patients.key")
    make_certificates(folder / "tls", site=site, workstation=WORKSTATION, cells=names)
    make_seal(SealFiles(*(folder / "tls" / name for name in ("seal.pem", "seal.key", "seal-ca.pem"))), site=site)
    cell_keys = {name: create_cell(folder, name, site, clock, demonstration=True) for name in names}
    store = TrailStore.create(folder / "workstation.db", origin=key.name, key=key, clock=clock, software=SOFTWARE, demonstration=True)
    try:
        identity = Identity(store, clock, cost=cost)
        passwords, people = ({}, []) if empty else _people(identity)
        for name, cell_key in cell_keys.items():
            enrol_cell(store, name, cell_key)
        if empty:
            _drafts(store)
        else:
            _recipes(store, identity, passwords)
            for name in cell_keys:
                path, today = folder / name / EQUIPMENT, local_day(clock.utc())
                _equipment(path, name, identity, passwords["quality"], today, daily_check=daily_check)
        for ink in {ink.lot: ink for ink, _ in inks}.values():
            Shelf(store).receive_ink(ink, SYSTEM)
        for _, cartridge in inks:
            Shelf(store).receive_cartridge(cartridge, SYSTEM)
    finally:
        store.close()
    for name in names:
        write_trusted(folder / name / "trusted" / "people.json", people)
    (folder / FILE_NAME).write_text(f'site = "{site}"\ndemonstration = true\n\n{cells_text(names)}\n{_PHARMACY}', encoding="utf-8")
    keys = (key.verifier_key, *(cell_key.verifier_key for cell_key in cell_keys.values()))
    (folder / VERIFIER_KEYS).write_text("".join(f"{text}\n" for text in keys), encoding="utf-8")
    return Site(folder, passwords, keys)


def create_cell(folder: Path, name: str, site: str, clock: Clock, *, demonstration: bool) -> SigningKey:
    """Make the folder, the key and the store of one cell; return the key."""
    (folder / name / "trusted").mkdir(parents=True, exist_ok=True)
    key = SigningKey.generate(f"{name}.{site}")
    key.save(folder / name / "cell.key")
    TrailStore.create(folder / f"{name}.db", origin=key.name, key=key, clock=clock, software=SOFTWARE, demonstration=demonstration).close()
    return key


def _people(identity: Identity) -> tuple[dict[str, str], list[Person]]:
    """Make the accounts, the administrator first: from then on only the administrator can make another."""
    passwords: dict[str, str] = {}
    people: list[Person] = []
    by = SYSTEM
    for account in DEMONSTRATION_ACCOUNTS:
        passwords[account.username] = issued_password()
        people.append(identity.create_person(account.username, account.name, sorted(account.roles), passwords[account.username], by))
        by = Actor(people[0].username, people[0].name, Role.ADMINISTRATOR.value)
    return passwords, people


def enrol_cell(store: TrailStore, cell: str, cell_key: SigningKey) -> None:
    store.append(
        EntryDraft(
            kind=EventKind.CELL_RECORD_ENROLLED,
            subject=Subject("cell", cell),
            new={"cell": cell, "origin": cell_key.name, "verifier_key": cell_key.verifier_key},
            actor=SYSTEM,
            device=DEVICE,
        )
    )


def _recipes(store: TrailStore, identity: Identity, passwords: Mapping[str, str]) -> None:
    """Have every recipe of the library signed by its author and its approver, and make it effective: a demonstration, without batches."""
    shelf, today = Shelf(store), local_day(store.clock.utc())
    for recipe_id in recipe_ids():
        recipe = load_recipe(recipe_id)
        statement = demonstration_statement(recipe, today)
        author, approver, maker = (
            sign(
                identity,
                username,
                passwords[username],
                meaning=meaning,
                digest=digest,
                role=role,
                subject=Subject("recipe", recipe.reference),
                scripted=True,
            )
            for username, meaning, digest, role in (
                ("engineer", MEANING_AUTHOR, recipe.digest, Role.PROCESS_ENGINEER),
                ("quality", MEANING_APPROVER, recipe.digest, Role.QUALITY_ASSURANCE),
                ("quality", MEANING_EFFECTIVE, statement.digest, Role.QUALITY_ASSURANCE),
            )
        )
        effective = SignedStatement(statement=statement, signature=maker)
        shelf.make_effective(recipe, bundle_recipe(recipe_bytes(recipe_id), author, approver, effective=effective), SYSTEM)


def _drafts(store: TrailStore) -> None:
    """Put every recipe of the library down as a draft, which is nobody's word: the site's people sign it, step by step."""
    for recipe_id in recipe_ids():
        recipe, toml = load_recipe(recipe_id), recipe_bytes(recipe_id)
        why = "laid out with the demonstration site; nobody has signed it"
        new: JsonObject = {**recipe_fields(recipe, RecipeState.DRAFT.value), "toml_sha256": sha256_hex(toml), "reason": why}
        new |= {"author": None, "approver": None, "development_sha256": None}
        subject = Subject("recipe", recipe.reference)
        store.append(EntryDraft(EventKind.RECIPE_VERSION_DRAFTED, subject, new, SYSTEM, DEVICE, reason=why, attachments={TOML: toml}))


def _equipment(path: Path, cell: str, identity: Identity, password: str, today: str, *, daily_check: bool) -> None:
    """Write a cell's equipment register, signed by quality assurance: who is trained on the cell, and that it is open for development."""
    register = demonstration_register(
        cell,
        today=today,
        recipes=[load_recipe(recipe_id).reference for recipe_id in recipe_ids()],
        people=[account.username for account in DEMONSTRATION_ACCOUNTS if account.roles & TRAINED],
        daily_check=daily_check,
        development=True,
    )
    path.write_text(sign_register(register, identity, "quality", password, scripted=True).text(), encoding="utf-8")


def write_trusted(path: Path, people: Sequence[Person]) -> None:
    """Write the cell's own list of the people whose signatures it believes, in the roles that they hold for good.

    The list has no days: a role that is lent would stay in it when its day is over.
    """
    trusted = {
        person.verifier_key: {"username": person.username, "roles": sorted(role.value for role in person.own_roles)} for person in people
    }
    replace_text(path, json.dumps(trusted, indent=1, sort_keys=True) + "\n")


def replace_text(path: Path, text: str) -> None:
    """Put a text in the place of a file: whoever reads meanwhile has the one or the other whole."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def cells_text(cells: Sequence[str]) -> str:
    """Return the part of a deployment file that names the cells."""
    lines: list[str] = []
    for name in cells:
        lines += [
            "[[cells]]",
            f'name = "{name}"',
            f'address_file = "{name}/address.json"',
            'ca = "tls/ca.pem"',
            f'certificate = "tls/{WORKSTATION}.pem"',
            f'key = "tls/{WORKSTATION}.key"',
            "",
        ]
    return "\n".join(lines)


def write_cell_configuration(folder: Path, *, machine: str, bench: Bench, zone: str = "UTC", cell: str = CELL) -> Path:
    """Write `cell.toml` for a bench that is up; return its path. Raises SiteIncomplete where the site has no such cell."""
    cell_folder = (folder / cell).resolve()
    if not cell_folder.is_dir():
        raise SiteIncomplete(f"{folder} has no folder for {cell}.", remedy="Lay the site out anew.")
    tls = folder.resolve() / "tls"
    origin = SigningKey.load(cell_folder / "cell.key").name
    values = {
        "name": cell,
        "origin": origin,
        "listen_host": "127.0.0.1",
        "address_file": str(cell_folder / "address.json"),
        "data_dir": str(cell_folder),
        "store": str(folder.resolve() / f"{cell}.db"),
        "signing_key": str(cell_folder / "cell.key"),
        "ca": str(tls / "ca.pem"),
        "certificate": str(tls / f"{cell}.pem"),
        "key": str(tls / f"{cell}.key"),
        "trusted_people": str(cell_folder / "trusted" / "people.json"),
        "equipment": str(cell_folder / EQUIPMENT),
        "machine": machine,
        "zone": zone,
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()] + ["listen_port = 0", "", "[ports]"]
    lines += [f"{name} = {json.dumps(value)}" for name, value in sorted(bench.ports.items())]
    lines += ["", "[bench]", f"time = {json.dumps(bench.time)}", f"token = {json.dumps(bench.token)}", ""]
    path = cell_folder / "cell.toml"
    path.unlink(missing_ok=True)
    (cell_folder / "address.json").unlink(missing_ok=True)  # that of an earlier process leads nowhere
    write_private(path, "\n".join(lines).encode())
    return path
