"""What is on record of the equipment of a cell: register, devices as they last told themselves, checks, cleaning, the log.

Histories are read from the trail that holds them, page by page; what is nowhere on record is said to be so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from api.equipment_log import EquipmentLog
from api.equipment_view import devices_of
from api.readiness_feed import Readiness
from api.trail_desk import TrailDesk
from audit.canonical import JsonObject, JsonValue
from audit.events import Entry, EventKind
from audit.release.trail_view import as_list, as_object
from audit.trail_search import TrailFilter
from printer.equipment import CheckRule, EquipmentRegister

_IDENTIFIED = ("printer identified", "balance identified", "pressure sensor live")


class History(StrEnum):
    """What of a cell's past is looked at."""

    CHECKS = "checks"
    CLEANING = "cleaning"
    CLEARANCE = "clearance"


_KINDS: Mapping[History, tuple[str, ...]] = MappingProxyType(
    {
        History.CHECKS: (EventKind.EQUIPMENT_CHECK_COMPLETED.value,),
        History.CLEANING: (EventKind.CELL_CLEANING_COMPLETED.value,),
        History.CLEARANCE: (EventKind.RUN_GATES_PASSED.value, EventKind.RUN_GATES_REFUSED.value),
    }
)


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Rows, the newest first; `cursor` continues, None where there is no more."""

    rows: tuple[JsonObject, ...]
    cursor: int | None


class EquipmentDesk:
    """Reads; what is entered goes through `api.care` and `api.equipment_log`. Concurrency: any thread."""

    def __init__(self, trail: TrailDesk, log: EquipmentLog) -> None:
        self._trail = trail
        self.log = log

    def view(self, cell: str, readiness: Readiness) -> JsonObject:
        """Return the equipment of a cell: as its register has it where the cell has said so, else with the reason why not."""
        register = readiness.register
        shown = None if register is None else _register(register, readiness)
        gates: list[JsonValue] = [gate.model_dump() for gate in readiness.gates or ()]
        return {
            "cell": cell,
            "register": shown,
            "problem": readiness.problem or readiness.refusal or None,
            "gates": None if readiness.gates is None else gates,
            "qualifications": {**self.log.qualifications(cell)},
            "maintenance": [*self.log.maintenance(cell)],
        }

    def history(self, cell: str, what: History, *, cursor: int | None = None, limit: int = 10) -> HistoryPage:
        """Return a page of a cell's past. Raises what a cell's trail does: NotFound, CellUnreachable, CellTrailInvalid."""
        page = self._trail.page(cell, TrailFilter(kinds=_KINDS[what]), cursor=cursor, limit=limit)
        read = {History.CHECKS: _check, History.CLEANING: _cleaning, History.CLEARANCE: _clearance}[what]
        return HistoryPage(tuple(read(entry) for entry in page.entries), page.cursor)

    def identified(self, cell: str) -> JsonObject | None:
        """Return what the devices told of themselves before the last run that got so far; None where there was none."""
        page = self._trail.page(cell, TrailFilter(kinds=_KINDS[History.CLEARANCE]), limit=1)
        for entry in page.entries:
            gates = {str(gate.get("gate")): gate for gate in map(as_object, as_list(entry.new.get("gates")))}
            told = {name: str(gates[name].get("evidence") or gates[name].get("reason")) for name in _IDENTIFIED if name in gates}
            if told:
                return {"run": entry.subject.id, "at": entry.at, "devices": dict(told)}
        return None


def _register(register: EquipmentRegister, readiness: Readiness) -> JsonObject:
    rule, cleaning = register.daily_check, register.cleaning
    limits: JsonObject | None = None
    if isinstance(rule, CheckRule):
        limits = {
            "sensitivity": str(rule.sensitivity_limit), "eccentricity": str(rule.eccentricity_limit), "zero_return": str(rule.zero_limit),
        }  # fmt: skip
    return {
        "reference": register.reference,
        "digest": register.digest,
        "evidence": readiness.evidence,
        "devices": [device.as_record() for device in devices_of(register, readiness.today)],
        "daily_check": limits,
        "cleaning": {"procedure": cleaning.procedure, "interval_days": cleaning.interval_days},
        "development": register.development,
    }


def _row(entry: Entry) -> JsonObject:
    actor = entry.actor
    return {"seq": entry.seq, "at": entry.at, "by": actor.name, "username": actor.username, "role": actor.role}


def _check(entry: Entry) -> JsonObject:
    new = entry.new
    return {
        **_row(entry), "balance": entry.subject.id, "day": new.get("day"), "passed": new.get("passed"), "reasons": new.get("reasons"),
        "weight": new.get("weight"), "readings": new.get("readings"), "deviations": new.get("deviations"), "limits": new.get("limits"),
    }  # fmt: skip


def _cleaning(entry: Entry) -> JsonObject:
    return {**_row(entry), "day": entry.new.get("day"), "method": entry.new.get("method")}


def _clearance(entry: Entry) -> JsonObject:
    """The gates of a run as far as they are of the cell: line clearance, cleaning, identification."""
    gates = [as_object(gate) for gate in as_list(entry.new.get("gates"))]
    cleared = next((gate for gate in gates if gate.get("gate") == "line clearance"), {})
    unmet: list[JsonValue] = [gate.get("gate") for gate in gates if gate.get("met") is not True]
    return {
        **_row(entry), "run": entry.subject.id, "line_clearance": cleared.get("met"),
        "said": cleared.get("evidence") or cleared.get("reason"), "unmet": unmet,
    }  # fmt: skip
