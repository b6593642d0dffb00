"""What holds a batch and a person may judge: exceptions, their resolution, and the cartridge that is weighed back.

What is found is read from the two trails at the moment of signing; the signature is over exactly that.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from api.access import Credentials, actor_of
from api.allowed import Against, against, allowed_actions, refuse
from api.errors import InputInvalid, NotFound, WrongState
from api.ink_desk import CartridgeWeighing, InkDesk
from api.people import DEVICE, People
from api.production import Production
from api.release_desk import ReleaseDesk
from api.security import Permission, Session
from audit.canonical import JsonObject, JsonValue
from audit.errors import ReleaseBlocked
from audit.events import EntryDraft, EventKind, Subject
from audit.release.evidence import BatchEntries
from audit.release.evidence_further import open_exceptions
from audit.release.exceptions import MEANING, SUBJECT, ReasonCode, person_refusal, refusal, resolution_digest, resolution_entry, subject_id
from audit.store import TrailStore

LONGEST_FINDING = 2_000_000
"""Characters: a finding names each unit that it is about, and there may be ten thousand of them."""


class Cause(BaseModel):
    """A cause assigned to an exception: `finding` as it was shown, so that nothing else is signed."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    exception: str = Field(min_length=1, max_length=200)
    finding: str = Field(min_length=1, max_length=LONGEST_FINDING)
    reason_code: ReasonCode
    cause: str = Field(min_length=1, max_length=2000)


class ReturnedCartridge(CartridgeWeighing):
    """A cartridge after its batch, scanned and weighed: one weighing, which settles both the batch's ink and the cartridge's account."""

    serial: str = Field(min_length=1, max_length=64)


class ExceptionDesk:
    """Shows and resolves exceptions, and takes cartridges back.

    Lifetime: that of the workstation. Concurrency: each act under the turn of the batch's cell, as a disposition is.
    """

    def __init__(self, store: TrailStore, people: People, production: Production, release: ReleaseDesk, inks: InkDesk) -> None:
        self._store = store
        self._people = people
        self._production = production
        self._release = release
        self._inks = inks

    def exceptions(self, batch_id: str) -> list[JsonObject]:
        """Return what holds the batch until a person judges it: each exception with what was found."""
        return [{"exception": key, "finding": finding} for key, finding in open_exceptions(self._entries(batch_id)).items()]

    def exceptions_for(self, session: Session, batch_id: str) -> list[JsonObject]:
        """Return the open exceptions, each with whether this person may resolve it."""
        entries = self._entries(batch_id)
        acts = allowed_actions({"resolution": self._against_resolving(session, batch_id, entries)})
        return [{"exception": key, "finding": found, "allowed_actions": acts} for key, found in open_exceptions(entries).items()]

    def against_taking_back(self, session: Session, batch_id: str) -> Against:
        """Return what stands against this person weighing a cartridge of the batch back."""
        return against(lambda: session.role_for(Permission.TAKE_BACK), lambda: self._awaiting(batch_id))

    def resolve(self, session: Session, batch_id: str, cause: Cause, credentials: Credentials) -> JsonObject:
        """Sign the cause of an exception. Raises NotFound, WrongState, ReleaseBlocked where this person may not; what a signature may."""
        if credentials.username not in (None, session.username):
            raise InputInvalid("An exception is resolved by the person who is logged in.", remedy="Log in as the person who signs.")
        with self._release.turn(batch_id):
            self._awaiting(batch_id)
            entries = self._entries(batch_id)
            refuse(self._against_resolving(session, batch_id, entries))
            actor = actor_of(session, Permission.RESOLVE)
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
        """Record the weighing of a cartridge that comes back from a batch. Raises NotFound, InputInvalid, WrongState."""
        with self._release.turn(batch_id):
            refuse(self.against_taking_back(session, batch_id))
            return self._inks.weigh_cartridge(session, cartridge.serial, cartridge, batch_id)

    def _against_resolving(self, session: Session, batch_id: str, entries: BatchEntries) -> Against:
        return against(
            lambda: session.role_for(Permission.RESOLVE),
            lambda: self._awaiting(batch_id),
            lambda: _second_person(session, entries),
        )

    def _awaiting(self, batch_id: str) -> JsonObject:
        batch = self._production.batch(batch_id)
        if batch.get("status") != "awaiting review":
            raise WrongState(f"Batch {batch_id} is {_shown(batch.get('status'))}, not awaiting review.", remedy="Close its run first.")
        return batch

    def _entries(self, batch_id: str) -> BatchEntries:
        return self._release.entries(batch_id)


def _second_person(session: Session, entries: BatchEntries) -> None:
    """Raise ReleaseBlocked where this person operated the batch."""
    if session.username in entries.operators:
        raise ReleaseBlocked([person_refusal(session.username, "", entries.operators)], remedy="Let another person resolve it.")


def _shown(value: JsonValue) -> str:
    return value if isinstance(value, str) else "unknown"
