"""Who a patient is: recorded sealed, opened with a reason. The trail knows the pseudonym and a commitment."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.access import actor_of
from api.allowed import Against, against, refuse
from api.errors import NotFound
from api.people import DEVICE
from api.security import Permission, Session
from audit.canonical import JsonObject
from audit.patients import PatientVault
from audit.store import TrailStore

_Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f]+$")]


class PatientIdentity(BaseModel):
    """What a label and a recall need: name, date of birth (ISO), the hospital's or insurer's number, how to reach the patient."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: _Line
    born: str = Field(pattern=r"^\d{4}-\d\d-\d\d$")
    number: _Line
    contact: _Line


class PatientDesk:
    """Seals and opens identities. Lifetime: that of the workstation. Concurrency: any thread."""

    def __init__(self, store: TrailStore, vault: PatientVault) -> None:
        self._store = store
        self._vault = vault

    def record(self, session: Session, pseudonym: str, identity: PatientIdentity) -> JsonObject:
        """Seal who a pseudonym is; a later record replaces it, and the trail keeps that it did. Raises NotFound."""
        actor = actor_of(session, Permission.RECORD_PATIENT)
        if not self._ordered(pseudonym):
            raise NotFound(f"No order names a patient {pseudonym!r}.", remedy="Enter the order first, or correct the pseudonym.")
        entry = self._vault.record(self._store, pseudonym, identity.model_dump(), actor=actor, device=DEVICE)
        return {"patient": pseudonym, "identity_sha256": entry.new["identity_sha256"]}

    def commitment(self, pseudonym: str) -> str | None:
        """Return the digest of the sealed row, None where nobody is on record."""
        found = (self._store.state("patient", pseudonym) or {}).get("identity_sha256")
        return found if isinstance(found, str) else None

    def for_print(self, pseudonym: str) -> tuple[str, ...]:
        """Return the lines that name a patient on a label, the pseudonym alone where nobody is on record; the print is the entry."""
        if self.commitment(pseudonym) is None:
            return (pseudonym,)
        identity = self._vault.read(self._store, pseudonym)
        return identity["name"], f"born {identity['born']}, no. {identity['number']}"

    def open(self, session: Session, pseudonym: str, reason: str) -> JsonObject:
        """Return who a patient is, after the reason is on record. Raises NotFound."""
        refuse(self.against_opening(session, pseudonym))
        actor = actor_of(session, Permission.OPEN_PATIENT)
        self._vault.note_opened(self._store, [pseudonym], actor=actor, device=DEVICE, reason=reason)
        return {"patient": pseudonym, **self._vault.read(self._store, pseudonym)}

    def against_opening(self, session: Session, pseudonym: str) -> Against:
        """Return what stands against this person reading who a patient is."""
        return against(lambda: session.role_for(Permission.OPEN_PATIENT), lambda: self._recorded(pseudonym))

    def _recorded(self, pseudonym: str) -> None:
        if self.commitment(pseudonym) is None:
            raise NotFound(f"Nobody is on record as {pseudonym}.", remedy="Ask who entered the order.")

    def _ordered(self, pseudonym: str) -> bool:
        for _, state in self._store.objects("order"):
            order = state.get("order")
            prescription = order.get("prescription") if isinstance(order, dict) else None
            if isinstance(prescription, dict) and prescription.get("patient") == pseudonym:
                return True
        return False
