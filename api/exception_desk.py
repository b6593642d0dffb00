"""What holds a batch and a person may judge: exceptions, their resolution, and the cartridge that is weighed back.

What is found is read from the two trails at the moment of signing; the signature is over exactly that.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from api.access import Credentials, actor_of
from api.errors import InputInvalid, NotFound, WrongState
from api.people import DEVICE, People
from api.production import Production
from api.release_desk import ReleaseDesk
from api.security import Permission, Session
from audit.canonical import JsonObject, JsonValue
from audit.errors import ReleaseBlocked
from audit.events import EntryDraft, EventKind, Subject
from audit.quantities import QuantityError, decimal_from_text
from audit.release.evidence import BatchEntries
from audit.release.evidence_further import open_exceptions
from audit.release.exceptions import MEANING, SUBJECT, ReasonCode, refusal, resolution_digest, resolution_entry, subject_id
from audit.release.ink_use import return_id
from audit.store import TrailStore


class Cause(BaseModel):
    """A cause assigned to an exception: `finding` as it was shown, so that nothing else is signed."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    exception: str = Field(min_length=1, max_length=200)
    finding: str = Field(min_length=1, max_length=2000)
    reason_code: ReasonCode
    cause: str = Field(min_length=1, max_length=2000)


class ReturnedCartridge(BaseModel):
    """A cartridge after its batch: the ink left in it, in mg, as it was weighed, and the balance's serial number."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    serial: str = Field(min_length=1, max_length=64)
    remaining_mg: str = Field(min_length=1, max_length=20)
    balance_serial: str = Field(min_length=1, max_length=200)


class ExceptionDesk:
    """Shows and resolves exceptions, and takes cartridges back.

    Lifetime: that of the workstation. Concurrency: each act under the turn of the batch's cell, as a disposition is.
    """

    def __init__(self, store: TrailStore, people: People, production: Production, release: ReleaseDesk) -> None:
        self._store = store
        self._people = people
        self._production = production
        self._release = release

    def exceptions(self, batch_id: str) -> list[JsonObject]:
        """Return what holds the batch until a person judges it: each exception with what was found."""
        return [{"exception": key, "finding": finding} for key, finding in open_exceptions(self._entries(batch_id)).items()]

    def resolve(self, session: Session, batch_id: str, cause: Cause, credentials: Credentials) -> JsonObject:
        """Sign the cause of an exception. Raises NotFound, WrongState, ReleaseBlocked where this person may not; what a signature may."""
        actor = actor_of(session, Permission.RESOLVE)
        if credentials.username not in (None, session.username):
            raise InputInvalid("An exception is resolved by the person who is logged in.", remedy="Log in as the person who signs.")
        with self._release.turn(batch_id):
            self._awaiting(batch_id)
            entries = self._entries(batch_id)
            found = open_exceptions(entries).get(cause.exception)
            if found is None:
                raise NotFound(f"Batch {batch_id} has no open exception {cause.exception}.", remedy="Look at its open exceptions.")
            if found != cause.finding:
                raise WrongState("What was found is not what was shown any more.", remedy="Look at the exceptions again.")
            if reason := refusal(cause.reason_code, cause.cause, actor.username, actor.role, entries.operators):
                raise ReleaseBlocked([reason], remedy="State the cause, or let a person who did not run the batch resolve it.")
            subject = Subject(SUBJECT, subject_id(batch_id, cause.exception))
            digest = resolution_digest(batch_id, cause.exception, found, cause.reason_code, cause.cause)
            signature = self._people.sign(
                session, credentials, permission=Permission.RESOLVE, meaning=MEANING, digest=digest, subject=subject
            ).as_record()
            new = resolution_entry(batch_id, cause.exception, found, cause.reason_code.value, cause.cause, signature)
            self._store.append(EntryDraft(EventKind.BATCH_EXCEPTION_RESOLVED, subject, new, actor, DEVICE))
        return {"batch": batch_id, "exception": cause.exception, "status": "resolved"}

    def take_back(self, session: Session, batch_id: str, cartridge: ReturnedCartridge) -> JsonObject:
        """Record what a cartridge still holds. Raises NotFound for another cartridge, InputInvalid for what is no mass, WrongState."""
        actor = actor_of(session, Permission.TAKE_BACK)
        try:
            remaining = decimal_from_text(cartridge.remaining_mg, "remaining ink")
        except QuantityError as error:
            raise InputInvalid(f"{error}.", remedy="Enter the mass in mg as the balance shows it.") from error
        if remaining < 0:
            raise InputInvalid("The remaining ink cannot be below zero.", remedy="Weigh the cartridge and its empty mass again.")
        with self._release.turn(batch_id):
            batch = self._awaiting(batch_id)
            if cartridge.serial not in (batch.get("cartridge"), batch.get("second_cartridge")):
                raise NotFound(f"Batch {batch_id} was not printed from {cartridge.serial}.", remedy="Scan the cartridge of this batch.")
            new: JsonObject = {
                "batch": batch_id,
                "cartridge": cartridge.serial,
                "remaining_mg": cartridge.remaining_mg,
                "balance_serial": cartridge.balance_serial,
            }
            subject, units = Subject("ink_return", return_id(batch_id, cartridge.serial)), {"remaining_mg": "mg"}
            if self._store.state(subject.type, subject.id) is not None:
                raise WrongState(f"{cartridge.serial} was weighed back already.", remedy="A difference is resolved as an exception.")
            self._store.append(EntryDraft(EventKind.INK_CARTRIDGE_RETURNED, subject, new, actor, DEVICE, unit=units))
        return {**new}

    def _awaiting(self, batch_id: str) -> JsonObject:
        batch = self._production.batch(batch_id)
        if batch.get("status") != "awaiting review":
            raise WrongState(f"Batch {batch_id} is {_shown(batch.get('status'))}, not awaiting review.", remedy="Close its run first.")
        return batch

    def _entries(self, batch_id: str) -> BatchEntries:
        return self._release.entries(batch_id)


def _shown(value: JsonValue) -> str:
    return value if isinstance(value, str) else "unknown"
