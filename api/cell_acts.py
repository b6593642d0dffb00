"""What of a cell is open to a person: what the cell itself says of each act, and the roles that the workstation asks for."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from api.access import actor_of, actor_record
from api.allowed import against, reasons_of
from api.cells import CellDirectory
from api.order_recipe import keep_to_development
from api.production_rules import reasons_by_name
from api.security import Permission, Session

_ON_RUNS: Mapping[str, Permission] = {
    "start": Permission.RUN,
    "pause": Permission.RUN,
    "resume": Permission.RUN,
    "stop": Permission.STOP,
}
_ON_ALARMS: Mapping[str, Permission] = {
    "acknowledge": Permission.ACKNOWLEDGE,
    "reset": Permission.ACKNOWLEDGE,
    "shelve": Permission.SHELVE,
    "unshelve": Permission.SHELVE,
}
_OF_CARE = ("check", "check/confirm", "check/abandon", "cleaning")


class CellActs:
    """Shows a cell to one person. Lifetime: that of the workstation. Concurrency: safe for several threads."""

    def __init__(self, cells: CellDirectory) -> None:
        self._cells = cells

    def status(self, session: Session, cell: str, trace_since_us: int = 0) -> dict[str, JsonValue]:
        """Return the status of a cell; of its acts, what the cell says of them and whether this person has the role.

        It is asked often, so the cell is not asked who is trained: the batch says that (`ProductionRules.run_acts`).
        """
        status = self._cells.client(cell, watching=True).status(max(0, trace_since_us))
        said, purpose = status.get("allowed_actions"), status.get("purpose")
        acts: dict[str, JsonValue] = {}
        for name, act in (said if isinstance(said, dict) else {}).items():
            heard = act.get("reasons") if isinstance(act, dict) else None
            acts[name] = _act([*_persons(session, name, purpose), *(str(reason) for reason in (heard if isinstance(heard, list) else ()))])
        return {**status, "allowed_actions": acts}

    def alarms(self, session: Session, cell: str) -> list[dict[str, JsonValue]]:
        """Return the alarms of the run on a cell, each with what this person may do about it."""
        client = self._cells.client(cell, watching=True)
        rows, said = client.status().get("alarms"), client.allowed().get("alarms")
        found: list[dict[str, JsonValue]] = []
        for row in rows if isinstance(rows, list) else ():
            if isinstance(row, dict):
                heard = reasons_by_name(said.get(str(row.get("alarm"))) if isinstance(said, dict) else None)
                acts: dict[str, JsonValue] = {
                    name: _act([*_role(session, permission), *heard.get(name, ())]) for name, permission in _ON_ALARMS.items()
                }
                found.append({**row, "allowed_actions": acts})
        return found

    def readiness(self, session: Session, cell: str) -> dict[str, JsonValue]:
        """Return the gates that can be judged without a job, and what this person may do to care for the cell."""
        client, role = self._cells.client(cell, watching=True), _role(session, Permission.CARE)
        heard = reasons_by_name(client.allowed(None if role else actor_record(actor_of(session, Permission.CARE))).get("care"))
        acts: dict[str, JsonValue] = {name: _act([*role, *heard.get(name, ())]) for name in _OF_CARE}
        return {**client.readiness(), "allowed_actions": acts}


def _persons(session: Session, act: str, purpose: JsonValue) -> list[str]:
    """Return what stands against a person commanding a run of this purpose."""
    if act not in _ON_RUNS:
        return []
    reasons = _role(session, _ON_RUNS[act])
    if reasons or act == "stop":
        return reasons
    return reasons_of(against(lambda: keep_to_development(actor_of(session, Permission.RUN), purpose is not None)))


def _role(session: Session, permission: Permission) -> list[str]:
    return reasons_of(against(lambda: session.role_for(permission)))


def _act(reasons: list[str]) -> dict[str, JsonValue]:
    return {"allowed": not reasons, "reasons": [*reasons]}
