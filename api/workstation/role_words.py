"""Roles, states and other words with `_` between their parts, as a person reads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from api.workstation.words import told
from audit.identity import Role


def words_of(value: str) -> str:
    """Return a word of the record, such as `quality_assurance`, as a person reads it in the visitor's language."""
    return told(value.replace("_", " "))


def roles_text(roles: Iterable[Role]) -> str:
    """Return roles as a list in one line."""
    return ", ".join(sorted(words_of(role.value) for role in roles))


def role_choices() -> Mapping[str, str]:
    """All roles by value, each with what it is called."""
    return {role.value: words_of(role.value) for role in Role}
