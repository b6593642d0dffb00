"""The gates about the person who runs: role and training."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from audit.events import Actor
from printer.equipment import EquipmentRegister
from printer.readiness import Gate, training_gate, training_on_cell
from recipes.store import DEVELOPER_ROLE

_RUN_ROLE = "operator"


def person_gates(
    who: Actor, trusted: Mapping[str, Collection[str]], register: EquipmentRegister | None, recipe: str, today: str, *, development: bool
) -> tuple[Gate, Gate]:
    """Judge who runs: role and training. A development run is for a process engineer too; nobody is trained for its recipe yet."""
    operator = operator_gate(who.username, who.name, who.role, trusted, development=development)
    if development and register is not None:
        return operator, training_on_cell(register, who.username, who.name, today)
    return operator, training_gate(register, who.username, who.name, recipe, today)


def removal_refusals(signer: str, started_by: str | None) -> tuple[str, ...]:
    """Return why a person may not confirm that a unit left the plate: whoever started the run is not the second person."""
    return (f"{signer} ran the batch; a second person confirms the removal",) if signer == started_by else ()


def operator_gate(username: str, name: str, role: str, trusted: Mapping[str, Collection[str]], *, development: bool = False) -> Gate:
    """Judge whether the person is on this cell's list in the role that runs a batch; the list holds keys, named by their owner."""
    held = {part for key, roles in trusted.items() if key.split("+", 1)[0].rpartition("/")[2] == username for part in roles}
    if role not in ((_RUN_ROLE, DEVELOPER_ROLE) if development else (_RUN_ROLE,)) or role not in held:
        return Gate("operator", False, f"{name} as {role} may not run this cell; let an operator of its list of trusted people do it")
    return Gate("operator", True, f"{name}, {role} on this cell's list")
