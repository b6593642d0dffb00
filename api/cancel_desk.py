"""Cancelling a batch (ISA-88) that was opened and never begun: its order may be made in another."""

from __future__ import annotations

from api.access import actor_of
from api.allowed import Acts, Against, against, refuse
from api.cells import CellDirectory
from api.errors import InputInvalid, WrongState
from api.order_recipe import keep_to_development
from api.people import DEVICE
from api.production import Production
from api.release_desk import fetch_trail
from api.security import GRANTS, Permission, Session
from audit.canonical import JsonObject
from audit.errors import RoleMissing
from audit.events import EntryDraft, EventKind, Subject
from audit.identity import Role
from audit.release.trail_view import TrailView, text_of
from audit.store import TrailStore


class CancelDesk:
    """Lifetime: that of the workstation. Concurrency: under the turn of the batch's cell, as the asking for its run: one of them holds."""

    def __init__(self, store: TrailStore, production: Production, cells: CellDirectory) -> None:
        self._store = store
        self._production = production
        self._cells = cells

    def allowed(self, session: Session, batch_id: str) -> Acts:
        """Return what stands against cancelling, as far as it shows without the cell's trail."""
        return {"cancel": self.against_cancelling(session, batch_id)}

    def against_cancelling(self, session: Session, batch_id: str) -> Against:
        return against(
            lambda: session.role_for(Permission.CANCEL_BATCH), lambda: self._theirs(session, batch_id), lambda: self._not_begun(batch_id)
        )

    def cancel(self, session: Session, batch_id: str, reason: str) -> JsonObject:
        """Cancel a batch that no cell has a run of. Raises NotFound, RoleMissing, WrongState, CellTrailInvalid, CellUnreachable."""
        actor = actor_of(session, Permission.CANCEL_BATCH)
        if not reason.strip():
            raise InputInvalid("No reason is given.", remedy="Say why the batch is cancelled.")
        with self._cells.turn(str(self._production.batch(batch_id)["cell"])):
            refuse(self.against_cancelling(session, batch_id))
            batch = self._production.batch(batch_id)
            self._never_run(batch_id, batch)
            # What was scanned for it says nothing of the cell that the next batch of the order is opened on.
            scans = self._production.underway.look().orders[str(batch["order"])].scans
            new: JsonObject = {"status": "cancelled", **({"scanned": max(scan.number for scan in scans)} if scans else {})}
            self._store.append(
                EntryDraft(EventKind.BATCH_RECORD_CANCELLED, Subject("batch", batch_id), new, actor, DEVICE, reason=reason.strip())
            )
        return {"batch": batch_id, **new}

    def _theirs(self, session: Session, batch_id: str) -> None:
        """A pharmacist cancels any batch, anybody else what they opened themselves; a process engineer what is for development."""
        if not session.roles & GRANTS[Permission.CANCEL_BATCH] or Role.PHARMACIST in session.roles:
            return
        batch = self._production.batch(batch_id)
        keep_to_development(actor_of(session, Permission.CANCEL_BATCH), batch.get("purpose") is not None)
        (created,) = self._store.search(kind=EventKind.BATCH_RECORD_CREATED.value, subject_type="batch", subject_id=batch_id, limit=1)
        if created.actor.username != session.username:
            raise RoleMissing(f"{session.username} did not open batch {batch_id}.", remedy="Whoever opened it cancels it, or a pharmacist.")

    def _not_begun(self, batch_id: str) -> None:
        status = self._production.batch(batch_id).get("status")
        if status != "created":
            raise WrongState(
                f"Batch {batch_id} is {status}.",
                remedy="Only a batch whose run was not asked for is cancelled; any other is closed, reviewed and given its disposition.",
            )

    def _never_run(self, batch_id: str, batch: JsonObject) -> None:
        """Look in the cell's own trail: a run may have begun there, and its answer never have come here."""
        name = str(batch["cell"])
        cell = self._store.state("cell", name) or {}
        trail = TrailView(fetch_trail(self._cells.client(name), str(cell.get("origin")), str(cell.get("verifier_key"))).lines)
        order = text_of(self._production.order(str(batch["order"])).get("order_sha256"))
        for entry in trail.of_kind(EventKind.RUN_RECORD_CREATED):
            # a batch of another workstation may have the same number: its order is another
            if entry.new.get("batch") == batch_id and entry.new.get("order_sha256", order) == order:
                raise WrongState(
                    f"Batch {batch_id} has run {entry.subject[1]} on {name}.",
                    remedy="Ask for its run, so that it is on record here, then close and reject it.",
                )
