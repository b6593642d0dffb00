"""Roles, and what may not be held together.

An administrator looks after accounts and takes no part in GMP use: the two are never held by one account (draft
Annex 11 (2025) 11.10; FDA data integrity Q&A 2018, Q4).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from audit.errors import AccessDenied


class Role(StrEnum):
    """What a person may do. An administrator looks after accounts and signs no GMP record."""

    OPERATOR = "operator"
    PHARMACIST = "pharmacist"
    PROCESS_ENGINEER = "process_engineer"
    QUALITY_ASSURANCE = "quality_assurance"
    QUALIFIED_PERSON = "qualified_person"
    ADMINISTRATOR = "administrator"


def role_of(text: Role | str) -> Role:
    """Return the role of that name. Raises AccessDenied."""
    try:
        return Role(text)
    except ValueError as error:
        raise AccessDenied(f"There is no role {text!r}.", remedy=f"Use one of: {', '.join(Role)}.") from error


def granted_together(roles: Iterable[Role | str]) -> tuple[Role, ...]:
    """Return the roles of one account, sorted. Raises AccessDenied for none, an unknown one, or an administrator with a GMP role."""
    granted = tuple(sorted({role_of(role) for role in roles}))
    if not granted:
        raise AccessDenied("A person needs at least one role.", remedy="Give one.")
    if Role.ADMINISTRATOR in granted and len(granted) > 1:
        others = ", ".join(role.value for role in granted if role is not Role.ADMINISTRATOR)
        raise AccessDenied(
            f"An administrator holds no GMP role; {others} cannot be held with it.",
            remedy="Give the person who looks after accounts an account of its own for that.",
        )
    return granted
