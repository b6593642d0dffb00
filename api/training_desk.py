"""The training register: who was trained in what, by whom, until when; each record signed by who stands for it.

What a cell asks for before a print stands in its own signed equipment register (`printer.equipment`); the register here is the evidence
behind it, and holds what no gate asks for, such as procedures. What is missing or over is said and stops nothing by itself.
Source: EU GMP chapter 2.10 to 2.12 (training, its records and its effectiveness); 21 CFR 11.10(i).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from api.access import Credentials, actor_of
from api.equipment_view import Standing, standing
from api.errors import InputInvalid, NotFound, WrongState
from api.people import DEVICE, People
from api.security import Permission, Session
from audit.canonical import JsonObject, digest
from audit.events import EntryDraft, EventKind, Subject
from audit.release.trail_view import as_object
from audit.store import TrailStore
from printer.equipment import EquipmentRegister
from printer.standing import local_day

MEANING_TRAINED = "training recorded"
TRAINING = "training"
Matter = Literal["recipe", "cell", "procedure"]
MATTERS: tuple[Matter, ...] = ("recipe", "cell", "procedure")
_DAY = r"^\d{4}-\d{2}-\d{2}$"


class TrainingRecord(BaseModel):
    """One person's training in one thing: a recipe version (`name@version`), a cell, or a procedure by its number. Days are ISO."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    person: str = Field(min_length=1, max_length=64)
    matter: Matter
    subject: str = Field(min_length=1, max_length=100)
    trained_on: str = Field(pattern=_DAY)
    trainer: str = Field(min_length=1, max_length=100)
    valid_until: str = Field(pattern=_DAY)


@dataclass(frozen=True, slots=True)
class Trained:
    """How one person stands in one thing today. `source`: the number of the record, or the register of the cell that says so.

    `gated`: a cell asks for it before a print.
    """

    person: str
    matter: str
    subject: str
    until: str
    days: int
    standing: Standing
    source: str
    trained_on: str = ""
    trainer: str = ""
    signed_by: str = ""
    gated: bool = False

    def as_record(self) -> JsonObject:
        return {
            "person": self.person, "matter": self.matter, "subject": self.subject, "trained_on": self.trained_on or None,
            "trainer": self.trainer or None, "signed_by": self.signed_by or None, "valid_until": self.until, "days_left": self.days,
            "standing": self.standing.value, "source": self.source, "gated": self.gated,
        }  # fmt: skip


class TrainingDesk:
    """Lifetime: that of the workstation. Concurrency: one lock, so that two who record at once get a number each."""

    def __init__(self, store: TrailStore, people: People) -> None:
        self._store = store
        self._people = people
        self._lock = threading.Lock()

    def record(self, session: Session, training: TrainingRecord, credentials: Credentials) -> JsonObject:
        """Put training on record, signed. Raises NotFound, InputInvalid, WrongState (own training), and what a signature may."""
        actor = actor_of(session, Permission.TRAIN)
        if (credentials.username or session.username) == training.person:
            raise WrongState("Nobody signs their own training.", remedy="Let the trainer or quality assurance sign it.")
        self._checked(training)
        with self._lock:
            subject = Subject(TRAINING, f"T{sum(1 for _ in self._store.objects(TRAINING)) + 1:05d}")
            new: JsonObject = dict(training.model_dump())
            signature = self._people.sign(
                session, credentials, permission=Permission.TRAIN, meaning=MEANING_TRAINED, digest=digest(new), subject=subject
            )
            signed: JsonObject = {**new, "signature": signature.as_record()}
            self._store.append(EntryDraft(EventKind.PERSON_TRAINING_RECORDED, subject, signed, actor, DEVICE))
        return {"training": subject.id, **new}

    def register(self, registers: Iterable[EquipmentRegister] = ()) -> list[Trained]:
        """Return how everybody stands today in everything: the latest record of each, beside what the registers of cells say."""
        today = local_day(self._store.clock.utc())
        latest: dict[tuple[str, str, str], Trained] = {}
        for name, state in self._store.objects(TRAINING):
            found = _recorded(name, state, today)
            latest[found.person, found.matter, found.subject] = found  # numbers rise: the last one counts
        of_cells = [item for register in registers for item in _of_register(register, today)]
        return sorted([*latest.values(), *of_cells], key=lambda item: (item.person, item.matter, item.subject, item.source))

    def _checked(self, training: TrainingRecord) -> None:
        today = local_day(self._store.clock.utc())
        if training.person not in {str(item["username"]) for item in self._people.people() if item["active"] is True}:
            raise NotFound(f"There is no open account {training.person!r}.", remedy="Choose one of the accounts of this site.")
        for name, day in (("trained on", training.trained_on), ("valid until", training.valid_until)):
            try:
                date.fromisoformat(day)
            except ValueError as error:
                raise InputInvalid(f"{name}: {day!r} is not a day of the calendar.", remedy="Write it as 2027-06-30.") from error
        if training.trained_on > today:
            raise InputInvalid(f"trained on: {training.trained_on} is still to come.", remedy="What is recorded was done.")
        if training.valid_until < training.trained_on:
            raise InputInvalid("The training would end before it was given.", remedy="Correct one of the two days.")


def _recorded(name: str, state: Mapping[str, object], today: str) -> Trained:
    until = str(state.get("valid_until"))
    how, days = standing(until, today)
    signature = state.get("signature")
    signer = as_object(signature).get("name") if isinstance(signature, dict) else None
    return Trained(
        person=str(state.get("person")),
        matter=str(state.get("matter")),
        subject=str(state.get("subject")),
        until=until,
        days=days,
        standing=how,
        source=name,
        trained_on=str(state.get("trained_on")),
        trainer=str(state.get("trainer")),
        signed_by=str(signer or ""),
    )


def _of_register(register: EquipmentRegister, today: str) -> Iterable[Trained]:
    for record in register.training:
        stated = [("cell", register.cell, record.cell_until), *(("recipe", name, until) for name, until in record.recipes.items())]
        for matter, subject, until in stated:
            how, days = standing(until, today)
            yield Trained(record.username, matter, subject, until, days, how, f"register {register.reference}", gated=True)
