"""The equipment register of a demonstration cell, made from the accounts there are and signed at the workstation.

At a clinical site an engineer puts the signed register and the list of trusted people into the cell's folder. The cell of a
demonstration stands on the same machine: what quality assurance signs here is put there at once, for people whom the site has made
itself. The cell reads both anew for every run, and believes neither without the signature.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from api.access import Credentials, actor_of
from api.care import signed_register
from api.demo_register import demonstration_register
from api.errors import NotFound, WrongState
from api.people import People
from api.security import Permission, Session
from api.settings import Settings
from api.site import EQUIPMENT, TRAINED, replace_text, write_trusted
from audit.canonical import JsonObject
from audit.identity import Identity, Person, Role
from printer.admission import read_trusted_people
from printer.register_file import judge_register, read_register_file
from printer.standing import local_day
from recipes.library import load_recipe, recipe_ids


@dataclass(frozen=True, slots=True)
class BenchStanding:
    """How a cell stands to the people of the site: what its register is, or why it has none; the accounts that it does not believe yet."""

    cell: str
    register: str
    problem: str
    unknown: tuple[str, ...]

    @property
    def is_ready(self) -> bool:
        return not self.problem and not self.unknown

    def as_record(self) -> JsonObject:
        return {"cell": self.cell, "register": self.register, "problem": self.problem, "unknown": list(self.unknown)}


class BenchRegisters:
    """Lifetime: that of the workstation. Concurrency: safe for several threads; one register is written at a time."""

    def __init__(self, settings: Settings, people: People, identity: Identity) -> None:
        self._settings = settings
        self._people = people
        self._identity = identity
        self._writing = threading.Lock()

    @property
    def is_offered(self) -> bool:
        """True at a demonstration site, and nowhere else."""
        return self._settings.demonstration

    def standings(self) -> tuple[BenchStanding, ...]:
        """Return how each cell of the demonstration stands. Raises CellConfiguration for a file that cannot be read."""
        return tuple(self._standing(cell.name) for cell in self._settings.cells) if self.is_offered else ()

    def sign(self, session: Session, cell: str, credentials: Credentials) -> JsonObject:
        """Make the cell's register anew from the accounts there are, sign it as quality assurance, and put it into the cell's folder.

        Raises WrongState at a site for patients, NotFound, RoleMissing, and what a signature may.
        """
        actor_of(session, Permission.CHANGE_EQUIPMENT)
        if not self.is_offered:
            raise WrongState(
                "This site is no demonstration: its registers are made by the site.", remedy="docs/engineer.md: the equipment register."
            )
        if cell not in [known.name for known in self._settings.cells]:
            raise NotFound(f"There is no cell {cell!r}.", remedy="Name a cell of this site.")
        with self._writing:
            believed = self._believed()
            found = judge_register(self._file(cell), cell=cell, trusted=self._trusted(cell)).register
            register = demonstration_register(
                cell,
                today=local_day(self._identity.clock.utc()),
                recipes=[load_recipe(recipe_id).reference for recipe_id in recipe_ids()],
                people=[person.username for person in believed if set(person.own_roles) & TRAINED],
                daily_check=True if found is None else found.daily_check != "not required",
                development=True,
            ).model_copy(update={"version": 1 if found is None else found.version + 1})
            signed = signed_register(self._people, session, register, credentials)
            folder = self._settings.folder / cell
            # people first: a register whose signer is not believed yet would be no register
            write_trusted(folder / "trusted" / "people.json", believed)
            replace_text(folder / EQUIPMENT, signed.text())
        return self._standing(cell).as_record()

    def _standing(self, cell: str) -> BenchStanding:
        trusted = self._trusted(cell)
        found = judge_register(self._file(cell), cell=cell, trusted=trusted)
        trained = set() if found.register is None else {item.username for item in found.register.training}
        unknown = [
            person.username
            for person in self._believed()
            if trusted.get(person.verifier_key) != frozenset(role.value for role in person.own_roles)
            or (set(person.own_roles) & TRAINED and person.username not in trained)
        ]
        return BenchStanding(cell, found.evidence, found.refusal, tuple(unknown))

    def _believed(self) -> list[Person]:
        """Return who signs GMP records here: accounts that are open, but the administrators'."""
        return [person for person in self._identity.people() if person.active and not person.has(Role.ADMINISTRATOR)]

    def _trusted(self, cell: str) -> Mapping[str, frozenset[str]]:
        return read_trusted_people(self._settings.folder / cell / "trusted" / "people.json")

    def _file(self, cell: str) -> str | None:
        return read_register_file(self._settings.folder / cell / EQUIPMENT)
