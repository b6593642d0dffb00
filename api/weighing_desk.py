"""The two entries of a unit that is weighed on the external balance: the operator's, and a second person's, blind and signed.

Nothing is compared here: the workstation hands on what was entered, and never tells what the first person entered.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from api.access import Credentials, actor_of, actor_record
from api.allowed import Acts, Against, against, refuse
from api.cells import CellDirectory, CellPort
from api.errors import WrongState
from api.people import People
from api.production import Production, json_tree
from api.security import Permission, Session
from api.status import CellStatus, ExternalWeighingStatus
from audit.canonical import JsonObject
from audit.events import Subject
from audit.signatures import weight_digest
from printer.errors import CellRefused

MEANING_WEIGHED = "weight entered"


class ReadWeight(BaseModel):
    """What a person read on the balance: net mass in mg as it shows it, and the serial number on the balance itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    value_mg: str = Field(min_length=1, max_length=20)
    balance_serial: str = Field(min_length=1, max_length=200)


class WeighingDesk:
    """Takes both entries.

    Lifetime: that of the workstation. Concurrency: safe for several threads; the cell takes one entry after the other.
    """

    def __init__(self, people: People, production: Production, cells: CellDirectory) -> None:
        self._people = people
        self._production = production
        self._cells = cells

    def enter_first(self, session: Session, batch_id: str, number: int, read: ReadWeight) -> JsonObject:
        """Hand on the operator's entry. Raises WrongState where this unit does not wait for it, CellRefused with all reasons."""
        refuse(self.against_first(session, batch_id, number))
        actor = actor_of(session, Permission.RUN)
        cell, waiting = self._waiting(batch_id, number, 1)
        cell.enter_weight(
            waiting.unit,
            entry=1,
            attempt=waiting.attempt,
            value_mg=read.value_mg,
            balance_serial=read.balance_serial,
            actor=actor_record(actor),
            signature=None,
        )
        return {"unit": waiting.unit, "entered": 1}

    def enter_second(self, session: Session, batch_id: str, number: int, read: ReadWeight, credentials: Credentials) -> JsonObject:
        """Have a second person sign what they read, and hand it on. Raises WrongState, CellRefused, and what a signature may."""
        refuse(self.against_second(session, batch_id, number, credentials.username or session.username))
        actor = actor_of(session, Permission.CONFIRM_WEIGHT)
        cell, waiting = self._waiting(batch_id, number, 2)
        signature = self._people.sign(
            session,
            credentials,
            permission=Permission.CONFIRM_WEIGHT,
            meaning=MEANING_WEIGHED,
            digest=weight_digest(waiting.unit, waiting.attempt, read.balance_serial, read.value_mg),
            subject=Subject("unit", waiting.unit),
        )
        cell.enter_weight(
            waiting.unit,
            entry=2,
            attempt=waiting.attempt,
            value_mg=read.value_mg,
            balance_serial=read.balance_serial,
            actor=actor_record(actor),
            signature=json_tree(signature.as_record()),
        )
        return {"unit": waiting.unit, "entered": 2}

    def allowed(self, session: Session, batch_id: str, number: int) -> Acts:
        """Return what stands against this person making each entry for a unit."""
        return {
            "weight": self.against_first(session, batch_id, number),
            "weight/second": self.against_second(session, batch_id, number, session.username),
        }

    def against_first(self, session: Session, batch_id: str, number: int) -> Against:
        return against(lambda: session.role_for(Permission.RUN), lambda: self._may_begin(session, batch_id, number))

    def against_second(self, session: Session, batch_id: str, number: int, signer: str) -> Against:
        """`signer` would enter and sign: the person of the session, or a second person there."""
        return against(lambda: session.role_for(Permission.CONFIRM_WEIGHT), lambda: self._may_repeat(batch_id, number, signer))

    def _may_begin(self, session: Session, batch_id: str, number: int) -> None:
        cell, _ = self._waiting(batch_id, number, 1)
        actor = actor_record(actor_of(session, Permission.RUN)) if Permission.RUN in session.permissions else None
        heard = cell.allowed(actor).get("weight")
        if isinstance(heard, list) and heard:
            raise CellRefused([str(reason) for reason in heard], remedy="Let a trained operator do it.")

    def _may_repeat(self, batch_id: str, number: int, signer: str) -> None:
        _, waiting = self._waiting(batch_id, number, 2)
        if signer == waiting.first_by:
            raise WrongState("The same person cannot make both entries.", remedy="Let a second person weigh the unit and enter its weight.")

    def _waiting(self, batch_id: str, number: int, entry: int) -> tuple[CellPort, ExternalWeighingStatus]:
        batch = self._production.batch(batch_id)
        cell = self._cells.client(str(batch["cell"]))
        status = CellStatus.model_validate(cell.status())
        waiting = status.external_weighing
        if waiting is None or status.run != batch.get("run") or waiting.n != number:
            raise WrongState(f"Unit {number} of batch {batch_id} does not wait to be weighed.", remedy="Look at the page of the cell.")
        if waiting.entry != entry:
            raise WrongState(f"Entry {waiting.entry} of unit {number} is awaited.", remedy="Look at the page of the cell.")
        return cell, waiting
