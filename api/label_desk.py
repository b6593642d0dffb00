"""Printing labels: each print is an entry before it is handed out, and a further copy takes a reason and a second person."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from api.access import Credentials, actor_of
from api.allowed import Against, against, refuse
from api.errors import InputInvalid, WrongState
from api.interop.label_zpl import Resolution, render_zpl
from api.pack_desk import PackDesk
from api.patient_desk import PatientDesk
from api.people import DEVICE, People
from api.recall_holds import RecallHolds
from api.security import Permission, Session
from api.settings import Pharmacy
from audit.canonical import JsonObject, canonical, sha256_hex
from audit.errors import RoleMissing
from audit.events import EntryDraft, EventKind, Subject
from audit.identity import Role
from audit.release.label import Label
from audit.release.packs import Act, Copy, Pack, after
from audit.release.trail_view import text_of
from audit.store import TrailStore

MEANING = "further copy of a label approved"
MEDIA_TYPES = {"pdf": "application/pdf", "zpl": "application/zpl"}


class LabelPrint(BaseModel):
    """A print that is asked for: the form, the printer's resolution for ZPL; for a further copy the reason and who approves it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    form: Literal["pdf", "zpl"] = "pdf"
    resolution: Resolution = 203
    reason: str = Field(default="", max_length=500)
    approval: Credentials | None = None


@dataclass(frozen=True, slots=True)
class Printed:
    """A printed label: its bytes, the name of its file, which copy it is."""

    data: bytes
    name: str
    copy: int
    form: Literal["pdf", "zpl"]


class LabelDesk:
    """Prints labels and shows how they look. Lifetime: that of the workstation. Concurrency: under the lock of the packs."""

    def __init__(
        self,
        store: TrailStore,
        people: People,
        packs: PackDesk,
        patients: PatientDesk,
        holds: RecallHolds,
        pharmacy: Pharmacy | None,
        *,
        demonstration: bool,
    ) -> None:
        self._store = store
        self._people = people
        self._packs = packs
        self._patients = patients
        self._holds = holds
        self._policy = "second person" if pharmacy is None else pharmacy.reprint
        self._demonstration = demonstration

    def preview(self, pack: str) -> bytes:
        """Return how the label of a pack will look, as SVG: crossed out as no label, and with the pseudonym in place of the patient."""
        from api.interop.label_pdf import PrintJob, render  # the typesetter is loaded only when it is wanted

        label = self._packs.label(pack)
        return render(label, PrintJob((label.patient,), 1, "", preview=True), "svg")

    def print_label(self, session: Session, pack: str, wanted: LabelPrint) -> Printed:
        """Return the label of a pack to print; the entry is written first.

        Raises PackRefused, WrongState (recalled; a copy is in hand; nobody on record), InputInvalid (no reason, no second person).
        """
        from api.interop.label_pdf import PrintJob, render

        actor = actor_of(session, Permission.PACK)
        with self._packs.lock:
            state = self._packs.state(pack)
            refuse(self.against_printing(session, pack))
            batch_id = text_of(state.get("batch")) or ""
            before = Pack(text_of(state.get("state")) or "")
            to = after(pack, before, Act.PRINT)
            label = self._packs.label(pack)
            copies = {name: copy for name, copy in self._packs.copies(batch_id).items() if copy.get("pack") == pack}
            copy = len(copies) + 1
            approval = None if copy == 1 else self._approved(session, pack, copy, label, wanted)
            job = PrintJob(self._patients.for_print(label.patient), copy, secrets.token_hex(16))
            data = render(label, job) if wanted.form == "pdf" else render_zpl(label, job, wanted.resolution)
            new: JsonObject = {
                "pack": pack,
                "batch": batch_id,
                "copy": copy,
                "outcome": Copy.ISSUED.value,
                "form": wanted.form,
                "file_sha256": sha256_hex(data),
                "label": label.as_record(),
                "label_sha256": label.sha256,
                "identity_sha256": self._patients.commitment(label.patient),
                **({} if approval is None else {"approved": approval}),
            }
            reason = wanted.reason.strip() or "first print"
            drafts = [EntryDraft(EventKind.LABEL_COPY_PRINTED, Subject("label", f"{pack}/{copy}"), new, actor, DEVICE, reason=reason)]
            if before is not to:
                drafts += self._withdrawn(pack, text_of(state.get("label")) or "", to, actor.username, session)
            self._store.append(*drafts)
        return Printed(data, f"label-{pack}-{copy}.{wanted.form}", copy, wanted.form)

    def against_printing(self, session: Session, pack: str) -> Against:
        """Return what stands against this person printing the label of a pack; a further copy takes an approval too. Raises NotFound."""
        state = self._packs.state(pack)
        batch_id = text_of(state.get("batch")) or ""
        return against(
            lambda: session.role_for(Permission.PACK),
            lambda: self._holds.refuse_batch(batch_id, "Printing of labels"),
            lambda: after(pack, Pack(text_of(state.get("state")) or ""), Act.PRINT),
            lambda: self._known(self._packs.label(pack)),
        )

    def _known(self, label: Label) -> None:
        """Raises WrongState where a label for a patient would name nobody."""
        if label.crossed is None and self._patients.commitment(label.patient) is None and not self._demonstration:
            raise WrongState(f"Nobody is on record as {label.patient}.", remedy="Let a pharmacist record who the patient is.")

    def _approved(self, session: Session, pack: str, copy: int, label: Label, wanted: LabelPrint) -> JsonObject:
        if not wanted.reason.strip():
            raise InputInvalid(f"Label {pack}/{copy} is a further copy.", remedy="State why it is printed again.")
        given = wanted.approval
        if given is None or given.username in (None, session.username):
            raise InputInvalid(f"Label {pack}/{copy} is a further copy.", remedy=f"Let a {self._policy} approve and sign it.")
        digest = sha256_hex(canonical({"statement": MEANING, "pack": pack, "copy": copy, "label": label.sha256, "reason": wanted.reason}))
        if self._policy == "quality assurance" and not self._people.holds(given.username, Role.QUALITY_ASSURANCE):
            raise RoleMissing(f"{given.username} may not approve a further copy.", remedy="This site asks for quality assurance.")
        return self._people.sign(
            session, given, permission=Permission.REPRINT, meaning=MEANING, digest=digest, subject=Subject("label", f"{pack}/{copy}")
        ).as_record()

    def _withdrawn(self, pack: str, applied: str, to: Pack, by: str, session: Session) -> list[EntryDraft]:
        """The label on the pack comes off and has to be accounted for; the pack is scanned anew."""
        actor = actor_of(session, Permission.PACK)
        reason = f"a further copy was printed by {by}"
        return [
            EntryDraft(
                EventKind.PACK_LABEL_WITHDRAWN, Subject("pack", pack), {"state": to.value, "label": None}, actor, DEVICE, reason=reason
            ),
            EntryDraft(
                EventKind.LABEL_COPY_WITHDRAWN, Subject("label", applied), {"outcome": Copy.ISSUED.value}, actor, DEVICE, reason=reason
            ),
        ]
