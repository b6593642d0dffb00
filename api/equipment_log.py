"""The log of a cell's equipment: qualification reports, signed by quality assurance, and maintenance.

Source: EU GMP chapter 4.31 (logbooks of major equipment: calibration, maintenance, cleaning, repair), annex 15.3 (qualification stages).
A record that was wrong is followed by another; none is changed.
"""

from __future__ import annotations

import threading
from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from api.access import Credentials, actor_of
from api.cells import CellDirectory
from api.errors import InputInvalid, NotFound
from api.people import DEVICE, People
from api.security import Permission, Session
from audit.canonical import JsonObject, digest
from audit.events import EntryDraft, EventKind, Subject
from audit.store import TrailStore
from printer.standing import local_day

MEANING_QUALIFIED = "qualification report approved"
QUALIFICATION, MAINTENANCE = "qualification", "maintenance"

Stage = Literal["IQ", "OQ", "PQ"]
STAGES: dict[Stage, str] = {
    "IQ": "Installation qualification",
    "OQ": "Operational qualification",
    "PQ": "Performance qualification",
}
Outcome = Literal["passed", "passed with deviations", "failed"]
OUTCOMES: tuple[Outcome, ...] = ("passed", "passed with deviations", "failed")
_DAY = r"^\d{4}-\d{2}-\d{2}$"


class QualificationReport(BaseModel):
    """A report on the qualification of what stands in a cell. Days are ISO; `sha256` is that of the report's file, where it has one."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    stage: Stage
    report: str = Field(min_length=1, max_length=100)
    performed_on: str = Field(pattern=_DAY)
    outcome: Outcome
    valid_until: str = Field(default="", pattern=rf"^$|{_DAY}")
    sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    remark: str = Field(default="", max_length=500)


class Maintenance(BaseModel):
    """What was done to a device. `after`: what its qualification needs since; a part that was changed is named in `what`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    asset: str = Field(min_length=1, max_length=64)
    done_on: str = Field(pattern=_DAY)
    done_by: str = Field(min_length=1, max_length=100)
    what: str = Field(min_length=1, max_length=500)
    after: Literal["qualification is not touched", "to be qualified again"]


class EquipmentLog:
    """Lifetime: that of the workstation. Concurrency: one lock, so that two who record at once get a number each."""

    def __init__(self, store: TrailStore, people: People, cells: CellDirectory) -> None:
        self._store = store
        self._people = people
        self._cells = cells
        self._lock = threading.Lock()

    def record_qualification(self, session: Session, cell: str, report: QualificationReport, credentials: Credentials) -> JsonObject:
        """Put a report on record, signed as quality assurance. Raises NotFound, InputInvalid, and what a signature may."""
        actor = actor_of(session, Permission.CHANGE_EQUIPMENT)
        self._known(cell)
        self._not_later(report.performed_on, "performed on")
        if report.valid_until and report.valid_until < report.performed_on:
            raise InputInvalid("The qualification would end before it was performed.", remedy="Correct one of the two days.")
        with self._lock:
            subject = Subject(QUALIFICATION, self._next(QUALIFICATION, "Q"))
            new: JsonObject = {"cell": cell, **report.model_dump()}
            signature = self._people.sign(
                session,
                credentials,
                permission=Permission.CHANGE_EQUIPMENT,
                meaning=MEANING_QUALIFIED,
                digest=digest(new),
                subject=subject,
            )
            signed: JsonObject = {**new, "signature": signature.as_record()}
            self._store.append(EntryDraft(EventKind.EQUIPMENT_QUALIFICATION_RECORDED, subject, signed, actor, DEVICE))
        return {"qualification": subject.id, **new}

    def record_maintenance(self, session: Session, cell: str, done: Maintenance) -> JsonObject:
        """Put maintenance on record. Raises NotFound, InputInvalid."""
        actor = actor_of(session, Permission.MAINTAIN)
        self._known(cell)
        self._not_later(done.done_on, "done on")
        with self._lock:
            subject = Subject(MAINTENANCE, self._next(MAINTENANCE, "M"))
            new: JsonObject = {"cell": cell, **done.model_dump()}
            self._store.append(EntryDraft(EventKind.EQUIPMENT_MAINTENANCE_RECORDED, subject, new, actor, DEVICE))
        return {"maintenance": subject.id, **new}

    def qualifications(self, cell: str) -> dict[str, JsonObject | None]:
        """Return the latest report of each stage of a cell; None where none is on record."""
        found: dict[str, JsonObject | None] = dict.fromkeys(STAGES)
        for name, state in self._store.objects(QUALIFICATION):
            if state.get("cell") == cell:
                found[str(state.get("stage"))] = {"qualification": name, **state}
        return found

    def maintenance(self, cell: str) -> list[JsonObject]:
        """Return the maintenance of a cell, the latest first."""
        found = [{"maintenance": name, **state} for name, state in self._store.objects(MAINTENANCE) if state.get("cell") == cell]
        return sorted(found, key=lambda item: (str(item["done_on"]), str(item["maintenance"])), reverse=True)

    def _known(self, cell: str) -> None:
        if cell not in self._cells.names:
            raise NotFound(f"There is no cell {cell!r} at this site.", remedy=f"The cells are: {', '.join(self._cells.names) or 'none'}.")

    def _not_later(self, day: str, what: str) -> None:
        """Refuse a day that there is not, or that is still to come at this site."""
        try:
            date.fromisoformat(day)
        except ValueError as error:
            raise InputInvalid(f"{what}: {day!r} is not a day of the calendar.", remedy="Write it as 2027-06-30.") from error
        if day > local_day(self._store.clock.utc()):
            raise InputInvalid(f"{what}: {day} is still to come.", remedy="What is recorded was done.")

    def _next(self, type_: str, letter: str) -> str:
        return f"{letter}{sum(1 for _ in self._store.objects(type_)) + 1:05d}"
