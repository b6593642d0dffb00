"""Recalls: searched over every trail there is, opened and closed with a signature, followed until everything is accounted for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from api.access import Credentials, actor_of
from api.allowed import Acts, Against, against, allowed_actions, refuse
from api.cells import CellDirectory
from api.errors import InputInvalid, NotFound, WrongState
from api.pack_desk import PackDesk
from api.patient_desk import PatientDesk
from api.people import DEVICE, People
from api.recall_search import RecallSearch as RecallSearch
from api.release_desk import fetch_trail
from api.security import Permission, Session
from api.trail_files import read_folder
from audit.canonical import JsonObject, JsonValue, canonical, sha256_hex
from audit.errors import DosewrightError
from audit.events import LONGEST_ENTRY, Actor, EntryDraft, EventKind, Subject
from audit.release.packs import SETTLED, TRANSITIONS, Act, Pack
from audit.release.recall import Criteria, Progress, Recalled, made_of, progress, search
from audit.release.trail_view import TrailView, as_list, as_object, text_of
from audit.store import TrailStore

_BESIDE = 1 << 16
"""Room in an entry for what stands in it beside what was found: signature, reason, names."""
MEANING_OPENED, MEANING_CLOSED = "recall opened", "recall closed: every pack and patient accounted for"


class Contact(BaseModel):
    """One attempt to reach a patient: how, and what came of it. No name and no number: who it is, is sealed."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    by: Literal["telephone", "letter", "in person", "through the prescriber"]
    outcome: Literal["reached", "not reached"]
    note: str = Field(min_length=1, max_length=500)


class RecallDesk:
    """Searches, opens, follows and closes recalls.

    Lifetime: that of the workstation. Concurrency: opening and closing take the lock of the packs, so that nothing is handed out between
    the search and the entry. A cell that does not answer delays only the search, and is named in what it found.
    """

    def __init__(
        self, store: TrailStore, people: People, cells: CellDirectory, packs: PackDesk, patients: PatientDesk, archive: Path
    ) -> None:
        self._store = store
        self._people = people
        self._cells = cells
        self._packs = packs
        self._patients = patients
        self._archive = archive

    def search(self, session: Session, wanted: RecallSearch) -> JsonObject:
        """Return what meets the criteria; nothing is written."""
        session.role_for(Permission.SEARCH_RECALL)
        views, notes = self._elsewhere()
        found = self._search(wanted.criteria(), views)
        return {"criteria": wanted.criteria().as_record(), **found.as_record(), "notes": list(notes)}

    def open(self, session: Session, wanted: RecallSearch, reason: str, credentials: Credentials) -> JsonObject:
        """Sign and open a recall: packs found are recalled, ink lots and cartridges named are held, all in one act.

        Raises InputInvalid, also where it finds more than one entry holds, and what a signature may. A recall that finds nothing is opened
        too: it holds what is still to be made.
        """
        actor = actor_of(session, Permission.RECALL)
        _own(session, credentials)
        criteria = wanted.criteria()
        # What a cell's trail takes to be fetched is waited for outside the lock. Packs are in the workstation's trail, which is read
        # under it; a run that is not in a cell's trail as fetched is found with all its units.
        views, notes = self._elsewhere()
        with self._packs.lock:
            found = self._search(criteria, views)
            name = f"R{sum(1 for _ in self._store.objects('recall')) + 1:05d}"
            body: JsonObject = {
                "criteria": criteria.as_record(),
                "batches": [batch.batch for batch in found.batches if batch.origin == self._store.origin],
                "found": found.as_record(),
                "notes": list(notes),
            }
            _fits(found, body)
            signature = self._people.sign(
                session,
                credentials,
                permission=Permission.RECALL,
                meaning=MEANING_OPENED,
                digest=_digest(name, body, reason),
                subject=Subject("recall", name),
            )
            new: JsonObject = {"status": "open", **body, "opened": signature.as_record()}
            self._store.append(
                EntryDraft(EventKind.RECALL_RECORD_OPENED, Subject("recall", name), new, actor, DEVICE, reason=reason),
                *self._stopped(name, found, criteria, actor, reason),
            )
        return self.recall(name)

    def recall_for(self, session: Session, name: str) -> JsonObject:
        """Return a recall as `recall` does, with what this person may do to it and for each of its patients."""
        shown = self.recall(name)
        patients: list[JsonValue] = []
        for row in as_list(shown["patients"]):
            patient = as_object(row)
            acts: Acts = {
                "contacts": self._against_contacting(session, name),
                "identity": self._patients.against_opening(session, text_of(patient.get("patient")) or ""),
            }
            patients.append({**patient, "allowed_actions": allowed_actions(acts)})
        return {**shown, "patients": patients, "allowed_actions": allowed_actions({"close": self._against_closing(session, name)})}

    def recall(self, name: str) -> JsonObject:
        """Return a recall with the state of its packs and patients. Raises NotFound."""
        state = self._state(name)
        found, done = as_object(state.get("found")), self._progress(name, state)
        patients: list[JsonValue] = [
            {"patient": patient, "contacts": as_list((self._contacts(name, patient) or {}).get("contacts"))}
            for patient in self._patients_of(state)
        ]
        return {
            "recall": name,
            "status": state.get("status"),
            "criteria": state.get("criteria"),
            "batches": as_list(found.get("batches")),
            "missing": [*as_list(found.get("missing")), *as_list(state.get("notes"))],
            "packs": [{"pack": pack, "state": shown} for pack, shown in sorted(done.packs.items())],
            "patients": patients,
            "packs_text": done.text,
            "waits_for": list(done.reasons) if state.get("status") == "open" else [],
        }

    def recalls(self) -> list[JsonObject]:
        return [
            {"recall": name, "status": state.get("status"), "criteria": state.get("criteria")}
            for name, state in self._store.objects("recall")
        ]

    def identify(self, session: Session, name: str, patient: str, reason: str) -> JsonObject:
        """Return who a patient of a recall is; that it was read, and why, is put on record first. Raises NotFound."""
        if patient not in self._patients_of(self._state(name)):
            raise NotFound(f"Recall {name} found no patient {patient!r}.", remedy="Look at its patients.")
        return self._patients.open(session, patient, f"recall {name}: {reason}")

    def contact(self, session: Session, name: str, patient: str, contact: Contact) -> JsonObject:
        """Record an attempt to reach a patient. Raises NotFound, WrongState."""
        actor = actor_of(session, Permission.RECALL)
        with self._packs.lock:
            refuse(self._against_contacting(session, name))
            state = self._state(name)
            if patient not in self._patients_of(state):
                raise NotFound(f"Recall {name} found no patient {patient!r}.", remedy="Look at its patients.")
            before = as_list((self._contacts(name, patient) or {}).get("contacts"))
            new: JsonObject = {"contacts": [*before, {**contact.model_dump(), "person": actor.username}]}
            subject = Subject("recall_patient", f"{name}/{patient}")
            self._store.append(EntryDraft(EventKind.RECALL_PATIENT_CONTACTED, subject, new, actor, DEVICE))
        return {"recall": name, "patient": patient, **new}

    def close(self, session: Session, name: str, comment: str, credentials: Credentials) -> JsonObject:
        """Sign that a recall is over. Raises WrongState with every pack and patient that is not accounted for."""
        actor = actor_of(session, Permission.RECALL)
        _own(session, credentials)
        with self._packs.lock:
            refuse(self._against_closing(session, name))
            state = self._state(name)
            done = self._progress(name, state)
            body: JsonObject = {"packs": dict(done.packs), "opened": as_object(state.get("opened")).get("digest")}
            signature = self._people.sign(
                session,
                credentials,
                permission=Permission.RECALL,
                meaning=MEANING_CLOSED,
                digest=_digest(name, body, comment),
                subject=Subject("recall", name),
            )
            new: JsonObject = {"status": "closed", "closing": body, "closed": signature.as_record()}
            self._store.append(EntryDraft(EventKind.RECALL_RECORD_CLOSED, Subject("recall", name), new, actor, DEVICE, reason=comment))
        return self.recall(name)

    def _search(self, criteria: Criteria, elsewhere: Sequence[TrailView]) -> Recalled:
        """Search the workstation's trail as it is now, and those from elsewhere."""
        return search(criteria, [TrailView(list(self._store.lines())), *elsewhere])

    def _elsewhere(self) -> tuple[list[TrailView], list[str]]:
        """Fetch the trails of cells and archive; return them, and what is to be said of those that could not be had."""
        views, notes = list[TrailView](), list[str]()
        for name, state in self._store.objects("cell"):
            origin, key = text_of(state.get("origin")) or "", text_of(state.get("verifier_key")) or ""
            try:
                views.append(TrailView(fetch_trail(self._cells.client(name, watching=True), origin, key).lines))
            except DosewrightError as error:
                notes.append(f"{name} was not searched: {error.message}")
        for file in read_folder(self._archive):
            views.append(file.view)
            notes += [f"{file.name}: {file.problem}; searched all the same"] if file.problem else []
        return views, notes

    def _stopped(self, name: str, found: Recalled, criteria: Criteria, actor: Actor, reason: str) -> Sequence[EntryDraft]:
        """Return the entries that recall the packs and hold the cartridge and the ink named, and every ink made of it."""
        drafts = []
        for pack in found.packs:
            state = self._store.state("pack", pack)
            to = None if state is None else TRANSITIONS.get((Pack(text_of(state.get("state")) or ""), Act.RECALL))
            if to is not None:
                new: JsonObject = {"state": to.value, "recall": name}
                drafts.append(EntryDraft(EventKind.PACK_CUSTODY_RECALLED, Subject("pack", pack), new, actor, DEVICE, reason=reason))
        held: JsonObject = {"held": f"recall {name}"}
        stopped = [("ink_lot", lot, EventKind.INK_LOT_QUARANTINED) for lot in self._lots(criteria.ink_lot)]
        if criteria.cartridge is not None and self._store.state("cartridge", criteria.cartridge) is not None:
            stopped.append(("cartridge", criteria.cartridge, EventKind.INK_CARTRIDGE_QUARANTINED))
        drafts += [EntryDraft(kind, Subject(type_, id_), held, actor, DEVICE, reason=reason) for type_, id_, kind in stopped]
        return drafts

    def _lots(self, wanted: str | None) -> list[str]:
        """Return the ink lot of this number and those prepared from a component of it; a lot that is held holds its cartridges."""
        if wanted is None:
            return []
        return [lot for lot, state in self._store.objects("ink_lot") if lot == wanted or made_of(state, wanted)]

    def _progress(self, name: str, state: JsonObject) -> Progress:
        packs = {
            pack: text_of(found.get("state")) or "unknown"
            for item in as_list(as_object(state.get("found")).get("packs"))
            if (pack := text_of(item)) is not None and (found := self._store.state("pack", pack)) is not None
        }
        patients = {patient: len(as_list((self._contacts(name, patient) or {}).get("contacts"))) for patient in self._patients_of(state)}
        return progress(packs, patients, (settled.value for settled in SETTLED))

    def _contacts(self, name: str, patient: str) -> JsonObject | None:
        return self._store.state("recall_patient", f"{name}/{patient}")

    @staticmethod
    def _patients_of(state: JsonObject) -> list[str]:
        return [text for item in as_list(as_object(state.get("found")).get("patients")) if (text := text_of(item)) is not None]

    def _state(self, name: str) -> JsonObject:
        state = self._store.state("recall", name)
        if state is None:
            raise NotFound(f"There is no recall {name!r}.", remedy="Look at the list of recalls.")
        return state

    def _against_contacting(self, session: Session, name: str) -> Against:
        return against(lambda: session.role_for(Permission.RECALL), lambda: self._opened(name))

    def _against_closing(self, session: Session, name: str) -> Against:
        return self._against_contacting(session, name) + against(lambda: self._accounted(name))

    def _opened(self, name: str) -> None:
        state = self._state(name)
        if state.get("status") != "open":
            raise WrongState(f"Recall {name} is {state.get('status')}.", remedy="Open another where there is more to recall.")

    def _accounted(self, name: str) -> None:
        if reasons := self._progress(name, self._state(name)).reasons:
            refused = WrongState(f"Recall {name} cannot be closed: {'; '.join(reasons)}.", remedy="Account for what is named.")
            refused.reasons = tuple(reasons)
            raise refused


def _own(session: Session, credentials: Credentials) -> None:
    if credentials.username not in (None, session.username):
        raise InputInvalid("A recall is signed by the person who is logged in.", remedy="Log in as the person who signs.")


def _fits(found: Recalled, body: JsonObject) -> None:
    """Refuse what one entry cannot hold, before anything is signed or written. Raises InputInvalid."""
    if len(canonical(body)) > LONGEST_ENTRY - _BESIDE:
        raise InputInvalid(
            f"This recall finds {len(found.batches)} batches with {len(found.units)} units: more than one entry holds.",
            remedy="Open one recall for each stretch of time (since, until); the last one, without an end, holds what is still to be made.",
        )


def _digest(name: str, body: JsonObject, reason: str) -> str:
    return sha256_hex(canonical({"recall": name, "reason": reason, **body}))
