"""What the workstation may ask of a cell between runs: the daily check of its balance, its cleaning, and how ready it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from audit.canonical import JsonObject
from audit.canonical import JsonValue as Answer
from audit.events import EntryDraft, EventKind, Subject
from printer.admission import JobActor, read_trusted_people
from printer.cell import Cell
from printer.check_session import CheckSession
from printer.equipment import EquipmentRegister, RegisterFound, Standing
from printer.errors import CellRefused
from printer.instruments import balance_driver
from printer.readiness import cleaning_gate, equipment_gates, training_on_cell
from printer.register_file import judge_register, read_register_file
from printer.server import Handler
from printer.standing import gather_standing
from recipes.machine import MachineProfile

M = TypeVar("M", bound=BaseModel)
_STABLE_TIMEOUT_US = 30_000_000


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    actor: JobActor


class _Confirm(_Asked):
    step: str = Field(min_length=1, max_length=40)


class _Abandon(_Asked):
    reason: str = Field(min_length=1, max_length=500)


class _Cleaning(_Asked):
    method: str = Field(min_length=1, max_length=200)


class CareDoor:
    """The handlers of care for a cell. Concurrency: called from connection threads; the controller decides who comes first."""

    def __init__(self, cell: Cell, name: str, machine: MachineProfile, trusted: Path, equipment: Path) -> None:
        self._cell = cell
        self._name = name
        self._machine = machine
        self._trusted = trusted
        self._equipment = equipment

    def handlers(self) -> dict[str, Handler]:
        return {
            "readiness": self._readiness,
            "check.begin": self._begin,
            "check.confirm": self._confirm,
            "check.abandon": self._abandon,
            "cleaning": self._clean,
        }

    def register(self) -> RegisterFound:
        """Read and judge the equipment register as it is now. Raises CellConfiguration."""
        return judge_register(read_register_file(self._equipment), cell=self._name, trusted=read_trusted_people(self._trusted))

    def standing(self) -> Standing:
        """Gather what the gates read of this cell now. Raises CellConfiguration."""
        text = read_register_file(self._equipment)
        found = judge_register(text, cell=self._name, trusted=read_trusted_people(self._trusted))
        serial = None if found.register is None else found.register.balance.serial
        return gather_standing(self._cell.store, text, self._name, serial, self._cell.clock.utc())

    def allowed(self, who: JobActor | None) -> Answer:
        """Return for each act of care why it would be refused now; without a person, as far as the person does not matter."""
        now, untrained = self._cell.check_refusals(None if who is None else who.actor()), self._untrained(who)
        begin, confirm, abandon = ([*as_listed(now.get(name))] for name in ("begin", "confirm", "abandon"))
        return {
            "check": [*untrained, *begin],
            "check/confirm": confirm,
            "check/abandon": abandon,
            "cleaning": [*untrained, *begin],
        }

    def _untrained(self, who: JobActor | None) -> list[Answer]:
        if who is None:
            return []
        try:
            self._valid_register(who)
        except CellRefused as refused:
            return [*refused.reasons]
        return []

    def _readiness(self, _: Mapping[str, JsonValue]) -> Answer:
        found, standing = self.register(), self.standing()
        register = found.register
        return {
            "gates": [gate.as_record() for gate in (*equipment_gates(found, standing), cleaning_gate(register, standing, None, None))],
            "register": None if register is None else {**_named(register), "evidence": found.evidence},
            "refusal": found.refusal,
            "today": standing.today,
            "cleaning_method": None if register is None else register.cleaning.procedure,
            "check": self._cell.check_view() or None,
        }

    def _begin(self, body: Mapping[str, JsonValue]) -> Answer:
        asked = _read(_Asked, body)
        register = self._valid_register(asked.actor)
        today = self.standing().today
        session = CheckSession(
            register.check_plan(today),
            balance_driver(self._machine.balance.driver, _STABLE_TIMEOUT_US),
            asked.actor.actor(),
            device=self._name,
            register=f"{register.reference} {register.digest[:12]}",
            day=today,
        )
        return self._cell.begin_check(session)

    def _confirm(self, body: Mapping[str, JsonValue]) -> Answer:
        asked = _read(_Confirm, body)
        return self._cell.confirm_check(asked.actor.actor(), asked.step)

    def _abandon(self, body: Mapping[str, JsonValue]) -> Answer:
        asked = _read(_Abandon, body)
        return self._cell.abandon_check(asked.actor.actor(), asked.reason)

    def _clean(self, body: Mapping[str, JsonValue]) -> Answer:
        asked = _read(_Cleaning, body)
        self._valid_register(asked.actor)
        self._cell.refuse_if_busy()
        day = self.standing().today
        new: JsonObject = {"cleaned": True, "method": asked.method, "day": day}
        actor = asked.actor.actor()
        self._cell.recorder.append(EntryDraft(EventKind.CELL_CLEANING_COMPLETED, Subject("cell", self._name), new, actor, self._name))
        return {"day": day, "method": asked.method}

    def _valid_register(self, actor: JobActor) -> EquipmentRegister:
        """Return the register if this person is trained on this cell by it. Raises CellRefused."""
        found = self.register()
        if found.register is None:
            raise CellRefused([found.refusal], remedy="Have quality assurance sign the cell's register.")
        gate = training_on_cell(found.register, actor.username, actor.name, self.standing().today)
        if not gate.met:
            raise CellRefused([f"{gate.name}: {gate.text}"], remedy="Let a person do it who is trained on this cell.")
        return found.register


def _named(register: EquipmentRegister) -> JsonObject:
    """Return a register with its number, its digest and all that stands in it."""
    contents: JsonObject = register.model_dump(mode="json", by_alias=True)
    return {"reference": register.reference, "digest": register.digest, "contents": contents}


def as_listed(value: Answer) -> list[Answer]:
    """Return the items of an answer that is a list; of any other, none."""
    return [*value] if isinstance(value, (list, tuple)) else []


def _read(model: type[M], body: Mapping[str, JsonValue]) -> M:
    try:
        return model.model_validate(body)
    except ValidationError as error:
        places = [f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors(include_url=False)]
        raise CellRefused(places, remedy="Send what this version asks for.") from error
