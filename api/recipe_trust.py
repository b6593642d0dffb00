"""Whose signatures on a recipe this site believes: its own people, and signers of other sites who are enrolled in a file."""

from __future__ import annotations

import json
from pathlib import Path

from api.errors import SettingsInvalid
from audit.identity import Identity


class TrustedPeople:
    """Reads both anew at each question, so that enrolling or closing an account needs no restart."""

    def __init__(self, identity: Identity, signers: Path) -> None:
        self._identity = identity
        self._signers = signers

    def people(self) -> dict[str, frozenset[str]]:
        """Return verifier key → roles. Raises SettingsInvalid where the file of signers cannot be read."""
        own = {
            person.verifier_key: frozenset(role.value for role in person.roles)
            for person in self._identity.people()
            if person.active and not person.locked
        }
        return {**self._enrolled(), **own}

    def _enrolled(self) -> dict[str, frozenset[str]]:
        try:
            people = json.loads(self._signers.read_text("utf-8"))
            return {str(key): frozenset(str(role) for role in person["roles"]) for key, person in people.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise SettingsInvalid(
                f"{self._signers}: the list of trusted signers cannot be read ({error}).",
                remedy='Write {"<verifier key>": {"username": "…", "roles": ["…"]}}, or take the file away.',
            ) from error
