"""What needs one person beside the queue: alarms, gates that would stop a start, access, versions that wait for a signature, training.

Pure. A need names itself by a word of `Matter`, so that a page says it in whole sentences of its reader's language.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from api.security import Permission, Session
from api.status import CellStatus, GateStatus
from audit.canonical import JsonObject

SOON_DAYS = 14
"""From so many days before its end on, a person is reminded of what ends."""

_CARED_FOR = frozenset({"daily balance check", "cleaning"})


class Matter(StrEnum):
    """What a need is about."""

    ALARM = "alarm to be acknowledged"
    SILENT = "a cell does not answer"
    CARE = "gate that care of the cell meets"
    REGISTER = "gate that the equipment register meets"
    REGISTER_ENDS = "a date of the equipment register ends soon"
    PASSWORD = "own password to be changed"  # noqa: S105  # the name of a matter
    PASSWORD_ENDS = "own password ends soon"  # noqa: S105
    ACCESS = "access needs attention"
    RECIPE = "recipe waits for a step"
    MODEL = "process model waits for a step"
    RECALL = "recall is open"
    TRAINING = "own training is over"
    TRAINING_ENDS = "own training ends soon"


URGENT = frozenset({Matter.ALARM, Matter.SILENT, Matter.PASSWORD, Matter.RECALL})


@dataclass(frozen=True, slots=True)
class Need:
    """One thing. `subject`: of what; `detail`: words of the record or of the cell, shown as they are; `day`: ISO, where one counts;
    `steps`: the steps that are open to this person; `count`: of how many."""

    matter: Matter
    subject: str = ""
    detail: str = ""
    day: str = ""
    steps: tuple[str, ...] = ()
    count: int = 0

    @property
    def urgent(self) -> bool:
        return self.matter in URGENT

    def as_record(self) -> JsonObject:
        return {
            "matter": self.matter.value, "subject": self.subject, "detail": self.detail, "day": self.day or None,
            "steps": list(self.steps), "count": self.count, "urgent": self.urgent,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ending:
    """Something with a last day (ISO, that day included)."""

    subject: str
    until: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """A version of a recipe or a model in whose life cycle this person may take a step."""

    matter: Matter
    reference: str
    status: str
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """All that needs are read from, for one person. `gates` by cell, None where the cell was not heard; days are the site's."""

    cells: Mapping[str, CellStatus]
    gates: Mapping[str, Sequence[GateStatus] | None]
    register_ends: Mapping[str, Sequence[Ending]]
    password_until: str = ""
    access: Sequence[str] = ()
    waiting: Sequence[Waiting] = ()
    recalls: Sequence[str] = ()
    training: Sequence[Ending] = ()


def needs(session: Session, known: Known, today: str) -> tuple[Need, ...]:
    """Return what needs this person, what is urgent first."""
    found = [
        *_of_person(session, known, today),
        *_of_cells(session, known, today),
        *(Need(Matter.ACCESS, detail=text) for text in known.access),
        *(Need(item.matter, item.reference, item.status, steps=item.steps) for item in known.waiting),
        *(Need(Matter.RECALL, recall) for recall in known.recalls if session.may(Permission.RECALL)),
    ]
    return tuple(sorted(found, key=lambda need: not need.urgent))


def ends_soon(until: str, today: str, days: int = SOON_DAYS) -> bool:
    """Whether a last day is still to come, but not for long."""
    return 0 <= (date.fromisoformat(until) - date.fromisoformat(today)).days <= days


def _of_person(session: Session, known: Known, today: str) -> Iterator[Need]:
    if session.must_change:
        yield Need(Matter.PASSWORD, detail=session.must_change)
    elif known.password_until and ends_soon(known.password_until, today):
        yield Need(Matter.PASSWORD_ENDS, day=known.password_until)
    for item in known.training:
        if item.until < today:
            yield Need(Matter.TRAINING, item.subject, day=item.until)
        elif ends_soon(item.until, today):
            yield Need(Matter.TRAINING_ENDS, item.subject, day=item.until)


def _of_cells(session: Session, known: Known, today: str) -> Iterator[Need]:
    for name, status in known.cells.items():
        if status.state == "UNKNOWN":
            yield Need(Matter.SILENT, name)
        waiting = sum(alarm.is_open for alarm in status.alarms)
        if waiting and session.may(Permission.ACKNOWLEDGE):
            yield Need(Matter.ALARM, name, count=waiting)
        for gate in _unmet(known.gates.get(name) or ()):
            yield from _of_gate(session, name, gate)
        if session.may(Permission.CHANGE_EQUIPMENT):
            soon = [item for item in known.register_ends.get(name, ()) if ends_soon(item.until, today)]
            yield from (Need(Matter.REGISTER_ENDS, name, item.subject, item.until) for item in soon)


def _unmet(gates: Sequence[GateStatus]) -> Sequence[GateStatus]:
    """The gates that are not met; without a register that one alone, because all others follow from it."""
    found = [gate for gate in gates if not gate.met]
    return [gate for gate in found if gate.gate == "equipment register"] or found


def _of_gate(session: Session, cell: str, gate: GateStatus) -> Iterable[Need]:
    cared_for = gate.gate in _CARED_FOR
    matter, permission = (Matter.CARE, Permission.CARE) if cared_for else (Matter.REGISTER, Permission.CHANGE_EQUIPMENT)
    return (Need(matter, cell, f"{gate.gate}: {gate.reason}"),) if session.may(permission) else ()
