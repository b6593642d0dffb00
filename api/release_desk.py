"""From a run that ended to a signed disposition and a review package.

The record is built from the two trails alone; the cell's is fetched whole and checked against the checkpoint that the
cell signed with the key it was enrolled with, before anything is built on it.
"""

from __future__ import annotations

import base64
import json
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from api.access import Credentials, actor_of, actor_record
from api.allowed import Acts, Against, against, allowed_actions, refuse
from api.cells import CellDirectory, CellPort
from api.document_desk import DocumentDesk
from api.errors import CellTrailInvalid, InputInvalid, NotFound, WrongState
from api.ink_desk import InkDesk
from api.people import DEVICE, People, Shown
from api.production import Production, json_tree
from api.recall_holds import RecallHolds
from api.security import Permission, Session
from api.status import CellStatus, PurgeStatus, UnitStatus
from audit.canonical import JsonObject, JsonValue, canonical, sha256_hex
from audit.chain import root
from audit.checkpoint import Checkpoint, Signer, VerifierKey, parse_checkpoint, verify_note
from audit.errors import DosewrightError, NoteInvalid, RecordError
from audit.events import Entry, EntryDraft, EventKind, Subject
from audit.release import batch_record
from audit.release.conformity import RELEASING, Disposition
from audit.release.evidence import BatchEntries
from audit.release.selection import Scope
from audit.release.trail_view import TrailView
from audit.signatures import removal_digest
from audit.store import TrailStore
from printer.errors import CellRefused
from printer.people_gates import removal_refusals
from recipes.model import DoseOrder

_PAGE = 2000
_GENESIS = "0" * 64


@dataclass(frozen=True, slots=True)
class CellTrail:
    """A cell's trail up to a signed checkpoint: canonical lines, the note as the cell gave it, what it states."""

    lines: tuple[bytes, ...]
    note: str
    checkpoint: Checkpoint


def fetch_trail(cell: CellPort, origin: str, verifier_key: str) -> CellTrail:
    """Fetch a cell's whole trail and recompute chain and root. Raises CellTrailInvalid at the first place that does not fit."""
    note = cell.checkpoint()
    try:
        text, _ = verify_note(note, [VerifierKey.parse(verifier_key)])
        stated = parse_checkpoint(text)
    except NoteInvalid as error:
        raise CellTrailInvalid(
            f"The cell's trail cannot be relied on: its checkpoint is not signed by the key that is believed: {error.message}",
            remedy="If its key was replaced, let quality assurance accept the new one; if not, stop using the cell.",
        ) from error
    if stated.origin != origin:
        raise _invalid(f"its checkpoint is of {stated.origin}, it was enrolled as {origin}")
    lines: list[bytes] = []
    while len(lines) < stated.size:
        page = cell.trail(len(lines), min(_PAGE, stated.size - len(lines)))
        if not page:
            raise _invalid(f"it ends at entry {len(lines)}, its checkpoint states {stated.size}")
        lines.extend(line.encode() for line in page)
    del lines[stated.size :]
    previous = _GENESIS
    for number, line in enumerate(lines):
        entry = Entry(line)
        if entry.seq != number or entry.prev != previous:
            raise _invalid(f"entry {number} does not follow the one before it")
        previous = entry.digest
    if root(lines) != stated.root:
        raise _invalid(f"the root over its {stated.size} entries is not the one of its checkpoint")
    return CellTrail(tuple(lines), note, stated)


def _invalid(what: str) -> CellTrailInvalid:
    return CellTrailInvalid(f"The cell's trail cannot be relied on: {what}.", remedy="Stop using the cell; its store has to be verified.")


def shown_sha256(record: JsonObject) -> str:
    """Return the digest of what a review shows of a batch: all but how far the two trails have grown, which any log-in changes."""
    return sha256_hex(canonical({name: value for name, value in record.items() if name not in ("trails", "signatures")}))


class ReleaseDesk:
    """Review, confirmation of removals, disposition, package.

    Lifetime: that of the workstation. Concurrency: under the turn of the batch's cell, so that a batch gets one disposition and
    a cell that hangs holds up no other.
    """

    def __init__(
        self,
        store: TrailStore,
        key: Signer,
        people: People,
        production: Production,
        cells: CellDirectory,
        inks: InkDesk,
        holds: RecallHolds,
        documents: DocumentDesk,
        leave: Callable[[], None] = lambda: None,
    ) -> None:
        """`leave` says that something was recorded that should be anchored outside; it returns at once."""
        self._store = store
        self._key = key
        self._people = people
        self._production = production
        self._cells = cells
        self._inks = inks
        self._documents = documents
        self._holds = holds
        self._leave = leave
        self._closed: list[Callable[[Session, str], JsonObject]] = []

    def follow_closing(self, act: Callable[[Session, str], JsonObject]) -> None:
        """Have something done for each batch once its run is closed; what it returns is part of the answer."""
        self._closed.append(act)

    def close_run(self, session: Session, batch_id: str) -> JsonObject:
        """Tie the cell's trail to the batch when its run is over. Raises WrongState, CellTrailInvalid, CellUnreachable."""
        actor = actor_of(session, Permission.REVIEW)
        with self._turn(batch_id):
            batch = self._production.batch(batch_id)
            refuse(self._against_closing(session, batch_id))
            trail = self._trail(batch)
            if not _run_closed(trail, str(batch.get("run"))):
                raise WrongState(
                    f"The cell's trail does not hold the end of the run of batch {batch_id}.", remedy="Wait until it is recorded."
                )
            new: JsonObject = {
                "status": "awaiting review",
                "cell_origin": trail.checkpoint.origin,
                "cell_size": trail.checkpoint.size,
                "cell_root": base64.b64encode(trail.checkpoint.root).decode(),
            }
            # Counted first: a run that is closed cannot be counted again, one that was counted is not counted twice.
            order_id = str(batch["order"])
            order, recipe = DoseOrder.model_validate(self._production.order(order_id)["order"]), self._production.recipe_printed(order_id)
            self._inks.note_usage(order, recipe, str(batch["run"]), TrailView(trail.lines), actor)
            self._store.append(EntryDraft(EventKind.BATCH_RUN_CLOSED, Subject("batch", batch_id), new, actor, DEVICE))
            followed: JsonObject = {}
            for act in self._closed:
                followed |= act(session, batch_id)
        self._leave()
        return {"batch": batch_id, **new, **followed}

    def review(self, batch_id: str) -> JsonObject:
        """Return the batch record as the two trails show it now, with the proposed disposition and its reasons."""
        batch = self._production.batch(batch_id)
        if not isinstance(batch.get("run"), str):
            raise WrongState(f"Batch {batch_id} has no run yet.", remedy="There is nothing to review before a run.")
        return batch_record.build(list(self._store.lines()), self._trail(batch).lines, batch_id)

    def to_sign(self, batch_id: str) -> JsonObject:
        """Return what a disposition is signed over as it is now, and its digest, which goes back with the signature."""
        record = self.review(batch_id)
        return {"batch": batch_id, "shown_sha256": shown_sha256(record), "record": record}

    def allowed(self, session: Session, batch_id: str) -> Acts:
        """Return what stands against each act of review and release, as far as it shows without the evidence."""
        return {
            "close": self._against_closing(session, batch_id),
            "disposition": self._against_signing(session, batch_id),
            "package": self._against_exporting(session, batch_id),
        }

    def dispositions(self, session: Session, batch_id: str) -> Acts:
        """Return what stands against this person signing each disposition, by the evidence as it is now. Raises what `review` raises."""
        lines, trail = list(self._store.lines()), self._trail(self._production.batch(batch_id))
        return {
            disposition.value: self._decided(session, batch_id, disposition.value, lines, trail)[0]
            for disposition in Disposition
            if disposition is not Disposition.HELD
        }

    def units(self, session: Session, batch_id: str) -> list[JsonObject]:
        """Return the units of a batch as the cell shows them, purge units first, each with whether this person may confirm its removal.

        Nothing where the batch has no run, or the cell shows another one.
        """
        batch = self._production.batch(batch_id)
        status = CellStatus.model_validate(self._cell(batch).status())
        if not isinstance(batch.get("run"), str) or status.run != batch.get("run"):
            return []
        shown: list[JsonObject] = []
        units: list[tuple[bool, UnitStatus | PurgeStatus]] = [(True, unit) for unit in status.purge_units]
        for purge, unit in (*units, *((False, unit) for unit in status.units)):
            acts = {"removal": self._against_removal(session, batch, unit, session.username, purge=purge)}
            shown.append({"purge": purge, **kept_of(unit), "allowed_actions": allowed_actions(acts)})
        return shown

    def confirm_removal(self, session: Session, batch_id: str, number: int, credentials: Credentials, *, purge: bool = False) -> JsonObject:
        """Confirm, as a person other than the operator, that a rejected or scrapped unit, or a purge unit, left the plate."""
        actor = actor_of(session, Permission.CONFIRM_REMOVAL)
        batch = self._production.batch(batch_id)
        status = CellStatus.model_validate(self._cell(batch).status())
        what = f"{'purge ' if purge else ''}unit {number}"
        unit = next((item for item in (status.purge_units if purge else status.units) if item.n == number), None)
        if unit is None or status.run != batch.get("run"):
            raise NotFound(f"Batch {batch_id} has no {what} on the cell.", remedy="Look at the numbers on the plate map.")
        refuse(self._against_removal(session, batch, unit, credentials.username or session.username, purge=purge))
        signature = self._people.sign(
            session,
            credentials,
            permission=Permission.CONFIRM_REMOVAL,
            meaning="removal confirmed",
            digest=removal_digest(unit.unit),
            subject=Subject("calibration" if purge else "unit", unit.unit),
        )
        self._cell(batch).confirm_removal(unit.unit, actor_record(actor), json_tree(signature.as_record()))
        return {"unit": unit.unit, "removed": True}

    def dispose(self, session: Session, batch_id: str, disposition: str, credentials: Credentials, comment: str = "") -> JsonObject:
        """Sign a disposition over the batch record. Raises ReleaseBlocked with every reason, and what a signature may."""
        actor = actor_of(session, Permission.DISPOSE)
        if credentials.username not in (None, session.username):
            raise InputInvalid("A disposition is signed by the person who is logged in.", remedy="Log in as the person who signs.")
        with self._turn(batch_id):
            batch = self._production.batch(batch_id)
            refuse(self._against_signing(session, batch_id))
            lines, trail = list(self._store.lines()), self._trail(batch)
            found, record = self._decided(session, batch_id, disposition, lines, trail)
            refuse(found)
            seen = shown_sha256(batch_record.build(lines, trail.lines, batch_id))
            subject = Subject("batch", batch_id)
            signature = self._people.sign(
                session,
                credentials,
                permission=Permission.DISPOSE,
                meaning=batch_record.disposition_meaning(record),
                digest=batch_record.record_sha256(record),
                subject=subject,
                shown=Shown(seen, "Show the review on the page", f"GET /api/v1/batches/{batch_id}/to-sign"),
            )
            new, attachments = batch_record.disposition_entry(record, signature.as_record())
            self._store.append(
                EntryDraft(EventKind.BATCH_DISPOSITION_SIGNED, subject, new, actor, DEVICE, reason=comment or None, attachments=attachments)
            )
            answer: JsonObject = {"batch": batch_id, "disposition": disposition, "record_sha256": batch_record.record_sha256(record)}
            answer |= self._seal(batch, batch_id, trail)
        self._leave()
        return answer

    # What stands against each act

    def _against_closing(self, session: Session, batch_id: str) -> Against:
        return against(lambda: session.role_for(Permission.REVIEW), lambda: self._over(batch_id))

    def _over(self, batch_id: str) -> None:
        batch = self._production.batch(batch_id)
        if batch.get("status") != "running":
            raise WrongState(f"Batch {batch_id} is {batch.get('status')}.", remedy="A run is closed once, after it was started.")
        status = CellStatus.model_validate(self._cell(batch).status())
        if status.run == batch.get("run") and not status.ended:
            raise WrongState(f"The run of batch {batch_id} is {status.state}.", remedy="Wait until it is over, or stop it.")

    def _against_removal(self, session: Session, batch: JsonObject, unit: UnitStatus | PurgeStatus, signer: str, *, purge: bool) -> Against:
        """`signer` would confirm: the person of the session, or a second person there."""
        found = against(lambda: session.role_for(Permission.CONFIRM_REMOVAL), lambda: _waits_for_removal(unit, purge=purge))
        return found + against(lambda: self._second_person(batch, signer)) if unit.needs_removal else found

    def _second_person(self, batch: JsonObject, signer: str) -> None:
        started = self._cell(batch).allowed().get("started_by")
        if reasons := removal_refusals(signer, started if isinstance(started, str) else None):
            raise CellRefused(reasons, remedy="Have a second, enrolled person confirm that the unit is off the plate.")

    def _against_signing(self, session: Session, batch_id: str) -> Against:
        return against(lambda: session.role_for(Permission.DISPOSE), lambda: self._awaiting(batch_id))

    def _awaiting(self, batch_id: str) -> None:
        status = self._production.batch(batch_id).get("status")
        if status != "awaiting review":
            raise WrongState(f"Batch {batch_id} is {status}, not awaiting review.", remedy="Close its run first.")

    def _decided(
        self, session: Session, batch_id: str, disposition: str, lines: list[bytes], trail: CellTrail
    ) -> tuple[Against, JsonObject]:
        """Return what stands against this person signing a disposition, and the record that would be signed; empty where it is refused."""
        record: JsonObject = {}

        def decide() -> None:
            held = sorted(role.value for role in session.roles)
            role = actor_of(session, Permission.DISPOSE).role if Permission.DISPOSE in session.permissions else "/".join(held)
            record.update(batch_record.decide(lines, trail.lines, batch_id, disposition, releaser=session.username, role=role))

        releases = (lambda: self._holds.refuse_release(batch_id),) if disposition in RELEASING else ()
        return self._against_signing(session, batch_id) + against(*releases, decide), record

    def _against_exporting(self, session: Session, batch_id: str) -> Against:
        return against(lambda: session.role_for(Permission.EXPORT), lambda: self._signed(batch_id))

    def _signed(self, batch_id: str) -> None:
        if "disposition" not in self._production.batch(batch_id):
            raise WrongState(f"Batch {batch_id} has no disposition yet.", remedy="Sign its disposition first.")

    def _seal(self, batch: JsonObject, batch_id: str, trail: CellTrail) -> JsonObject:
        """Seal the document of a disposition that stands already: what stands in the way is told, and made up for at the export."""
        try:
            data = self._documents.sealed(batch_id, TrailView(trail.lines), self._cell(batch).blob)
        except DosewrightError as error:
            return {"document_sha256": None, "document_problem": f"{error.message} {error.remedy}".strip()}
        return {"document_sha256": sha256_hex(data), "document_problem": None}

    def document(self, session: Session, batch_id: str) -> bytes:
        """Return the sealed document of a batch; of one that has none yet, the document as the trails show it now, not sealed."""
        actor_of(session, Permission.REVIEW)
        with self._turn(batch_id):
            batch = self._production.batch(batch_id)
            if not isinstance(batch.get("run"), str):
                raise WrongState(f"Batch {batch_id} has no run yet.", remedy="There is nothing to review before a run.")
            if (kept := self._documents.kept(batch_id)) is not None:
                return kept
            return self._documents.draft(batch_id, TrailView(self._trail(batch).lines), self._cell(batch).blob)

    def export(self, session: Session, batch_id: str, scope: Scope = Scope.SELECTIVE) -> bytes:
        """Write the review package of a signed batch and return its bytes; the export is an entry that says what went out."""
        actor = actor_of(session, Permission.EXPORT)
        with self._turn(batch_id):
            batch = self._production.batch(batch_id)
            refuse(self._against_exporting(session, batch_id))
            data = self._package(batch, batch_id, scope)
            new: JsonObject = {"package_sha256": sha256_hex(data), "package_bytes": len(data), "package_scope": scope.value}
            self._store.append(EntryDraft(EventKind.BATCH_PACKAGE_EXPORTED, Subject("batch", batch_id), new, actor, DEVICE))
        return data

    def _package(self, batch: JsonObject, batch_id: str, scope: Scope) -> bytes:
        from audit.release.package import TrailExport, write_package  # the document writer is loaded only when it is wanted
        from audit.release.package_proofs import travelling

        cell = self._trail(batch)
        document = self._documents.sealed(batch_id, TrailView(cell.lines), self._cell(batch).blob)
        workstation = TrailExport.from_store(self._store)
        proofs = travelling(self._store, {self._store.origin: len(workstation.lines), cell.checkpoint.origin: cell.checkpoint.size})
        with _temporary_folder() as folder:
            path = write_package(
                folder / "review-package.zip",
                batch=batch_id,
                workstation=workstation,
                cell=TrailExport.from_lines(cell.lines, cell.note, self._enrolled(batch)[1]),
                blob=self._cell(batch).blob,
                key=self._key,
                created=self._store.clock.utc().at,
                document=document,
                scope=scope,
                anchors=proofs,
            )
            return path.read_bytes()

    def entries(self, batch_id: str) -> BatchEntries:
        """Return the batch's entries as the two trails show them now. Raises WrongState before a run, CellTrailInvalid, CellUnreachable."""
        batch = self._production.batch(batch_id)
        if not isinstance(batch.get("run"), str):
            raise WrongState(f"Batch {batch_id} has no run yet.", remedy="There is nothing to review before a run.")
        return BatchEntries(TrailView(list(self._store.lines())), TrailView(self._trail(batch).lines), batch_id)

    def batch(self, batch_id: str) -> JsonObject:
        """Return a batch as it is on record. Raises NotFound."""
        return self._production.batch(batch_id)

    def turn(self, batch_id: str) -> threading.RLock:
        """Return the lock under which a batch's acts are taken one after the other."""
        return self._turn(batch_id)

    def _turn(self, batch_id: str) -> threading.RLock:
        return self._cells.turn(str(self._production.batch(batch_id)["cell"]))

    def _cell(self, batch: JsonObject) -> CellPort:
        return self._cells.client(str(batch["cell"]))

    def _enrolled(self, batch: JsonObject) -> tuple[str, str]:
        cell = self._store.state("cell", str(batch["cell"]))
        if cell is None:
            raise NotFound(f"The cell {batch['cell']} is not enrolled.", remedy="Enrol it with its origin and verifier key.")
        return _text(cell.get("origin")), _text(cell.get("verifier_key"))

    def _trail(self, batch: JsonObject) -> CellTrail:
        return fetch_trail(self._cell(batch), *self._enrolled(batch))


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """Give a folder that is gone afterwards. Raises RecordError where there is no room for it, or for what is put there."""
    try:
        with tempfile.TemporaryDirectory(prefix="dosewright-") as folder:
            yield Path(folder)
    except OSError as error:
        raise RecordError(
            f"The package could not be written: {error.strerror}.", remedy="Make room in the folder for temporary files, then export again."
        ) from error


def kept_of(unit: UnitStatus | PurgeStatus) -> JsonObject:
    """Return a unit as it is shown, its parts left out."""
    fields: JsonObject = json.loads(unit.model_dump_json(exclude={"parts"}))
    return fields


def _waits_for_removal(unit: UnitStatus | PurgeStatus, *, purge: bool) -> None:
    if not unit.needs_removal:
        what = f"{'Purge unit' if purge else 'Unit'} {unit.n}"
        raise WrongState(f"{what} is not waiting to be removed.", remedy="Only purge units and rejected and scrapped units are.")


def _run_closed(trail: CellTrail, run: str) -> bool:
    return any(
        entry.kind == EventKind.RUN_RECORD_CLOSED and entry.subject == Subject("run", run) for entry in map(Entry, reversed(trail.lines))
    )


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else ""
