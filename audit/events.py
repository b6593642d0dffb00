"""Persisted event kinds, and the shape of a trail entry.

A kind is `subject.object.action` and is never renamed or reused: retired kinds stay here so that old trails stay
readable. `MEANINGS` states for each kind the type of its subject and what the entry says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TypedDict

import orjson

from audit.canonical import JsonObject, JsonValue
from audit.chain import entry_digest


class EventKind(StrEnum):
    """What an entry reports."""

    SITE_STORE_CREATED = "site.store.created"
    PERSON_ACCOUNT_CREATED = "person.account.created"
    PERSON_ACCOUNT_DEACTIVATED = "person.account.deactivated"
    PERSON_CREDENTIAL_SET = "person.credential.set"
    PERSON_ACCOUNT_LOCKED = "person.account.locked"
    PERSON_ACCOUNT_UNLOCKED = "person.account.unlocked"
    PERSON_SESSION_OPENED = "person.session.opened"
    PERSON_SESSION_CLOSED = "person.session.closed"
    PERSON_SESSION_REFUSED = "person.session.refused"
    PERSON_SIGNATURE_GIVEN = "person.signature.given"
    PERSON_SESSION_LOCKED = "person.session.locked"
    PERSON_SESSION_RESUMED = "person.session.resumed"
    PERSON_ROLES_CHANGED = "person.roles.changed"
    PERSON_FACTOR_ENROLLED = "person.factor.enrolled"
    PERSON_FACTOR_USED = "person.factor.used"
    PERSON_FACTOR_REVOKED = "person.factor.revoked"
    ACCESS_POLICY_CHANGED = "access.policy.changed"
    ACCESS_MISUSE_SUSPECTED = "access.misuse.suspected"
    ACCESS_MISUSE_JUDGED = "access.misuse.judged"
    ACCESS_REVIEW_SIGNED = "access.review.signed"
    PATIENT_IDENTITY_RECORDED = "patient.identity.recorded"
    PATIENT_IDENTITY_OPENED = "patient.identity.opened"
    RECIPE_VERSION_DRAFTED = "recipe.version.drafted"
    RECIPE_VERSION_SUBMITTED = "recipe.version.submitted"
    RECIPE_VERSION_RETURNED = "recipe.version.returned"
    RECIPE_VERSION_APPROVED = "recipe.version.approved"
    RECIPE_VERSION_EFFECTIVE = "recipe.version.effective"
    RECIPE_VERSION_SUPERSEDED = "recipe.version.superseded"
    RECIPE_VERSION_RETIRED = "recipe.version.retired"
    RECIPE_DEVELOPMENT_OPENED = "recipe.development.opened"
    RECIPE_BUNDLE_EXPORTED = "recipe.bundle.exported"
    RECIPE_BUNDLE_IMPORTED = "recipe.bundle.imported"
    RECIPE_REQUEST_REFUSED = "recipe.request.refused"
    INK_LOT_RECEIVED = "ink.lot.received"
    INK_CARTRIDGE_RECEIVED = "ink.cartridge.received"
    INK_LOT_PREPARED = "ink.lot.prepared"
    INK_CARTRIDGE_USED = "ink.cartridge.used"
    INK_CARTRIDGE_WEIGHED = "ink.cartridge.weighed"
    INK_CARTRIDGE_RETURNED = "ink.cartridge.returned"
    CELL_RECORD_ENROLLED = "cell.record.enrolled"
    ORDER_PRESCRIPTION_ENTERED = "order.prescription.entered"
    ORDER_PRESCRIPTION_CONFIRMED = "order.prescription.confirmed"
    ORDER_CARTRIDGE_SCANNED = "order.cartridge.scanned"
    ORDER_CARTRIDGE_REFUSED = "order.cartridge.refused"
    BATCH_RECORD_CREATED = "batch.record.created"
    BATCH_RECORD_CANCELLED = "batch.record.cancelled"
    BATCH_RUN_REQUESTED = "batch.run.requested"
    BATCH_RUN_CLOSED = "batch.run.closed"
    BATCH_EXCEPTION_RESOLVED = "batch.exception.resolved"
    BATCH_DISPOSITION_SIGNED = "batch.disposition.signed"
    BATCH_DOCUMENT_SEALED = "batch.document.sealed"
    BATCH_PACKAGE_EXPORTED = "batch.package.exported"
    BATCH_PACKING_CLOSED = "batch.packing.closed"
    RECORD_STORE_VERIFIED = "record.store.verified"
    RECORD_SELECTION_EXPORTED = "record.selection.exported"
    TRAIL_CHECKPOINT_COSIGNED = "trail.checkpoint.cosigned"
    TRAIL_CHECKPOINT_TIMESTAMPED = "trail.checkpoint.timestamped"
    TRAIL_ANCHOR_REFUSED = "trail.anchor.refused"
    TRAIL_KEY_ROTATED = "trail.key.rotated"
    CELL_KEY_ACCEPTED = "cell.key.accepted"
    SITE_PROCESS_STARTED = "site.process.started"
    SITE_PROCESS_STOPPED = "site.process.stopped"
    SITE_CLOCK_STEPPED = "site.clock.stepped"
    STORE_RECORD_RESTORED = "store.record.restored"
    STORE_RESTORE_TESTED = "store.restore.tested"
    RETENTION_HOLD_PLACED = "retention.hold.placed"
    RETENTION_HOLD_LIFTED = "retention.hold.lifted"
    RETENTION_ARCHIVE_CHECKED = "retention.archive.checked"
    PATIENT_ERASURE_REQUESTED = "patient.erasure.requested"
    PATIENT_IDENTITY_ERASED = "patient.identity.erased"
    CELL_PROCESS_STARTED = "cell.process.started"
    CELL_PROCESS_STOPPED = "cell.process.stopped"
    CELL_CLOCK_STEPPED = "cell.clock.stepped"
    CELL_PRINTER_STOPPED = "cell.printer.stopped"
    CELL_DEVICE_RETURNED = "cell.device.returned"
    RUN_REQUEST_REFUSED = "run.request.refused"
    RUN_RECORD_CREATED = "run.record.created"
    RUN_GATES_PASSED = "run.gates.passed"
    RUN_GATES_REFUSED = "run.gates.refused"
    RUN_STATE_CHANGED = "run.state.changed"
    RUN_ACTION_INTENDED = "run.action.intended"
    RUN_ACTION_COMPLETED = "run.action.completed"
    RUN_JOURNAL_SEALED = "run.journal.sealed"
    RUN_COMMAND_RECEIVED = "run.command.received"
    DOSE_CORRECTION_DECIDED = "dose.correction.decided"
    UNIT_PRINT_INTENDED = "unit.print.intended"
    UNIT_WEIGHT_ENTERED = "unit.weight.entered"
    UNIT_WEIGHT_JUDGED = "unit.weight.judged"
    UNIT_PRINT_SCRAPPED = "unit.print.scrapped"
    UNIT_REMOVAL_CONFIRMED = "unit.removal.confirmed"
    UNIT_PARTS_JUDGED = "unit.parts.judged"
    PART_PRINT_INTENDED = "part.print.intended"
    PART_WEIGHT_JUDGED = "part.weight.judged"
    PART_PRINT_SCRAPPED = "part.print.scrapped"
    CALIBRATION_PRINT_INTENDED = "calibration.print.intended"
    CALIBRATION_WEIGHT_JUDGED = "calibration.weight.judged"
    CALIBRATION_PRINT_SCRAPPED = "calibration.print.scrapped"
    CALIBRATION_REMOVAL_CONFIRMED = "calibration.removal.confirmed"
    ALARM_CONDITION_RAISED = "alarm.condition.raised"
    ALARM_CONDITION_ACKNOWLEDGED = "alarm.condition.acknowledged"
    ALARM_CONDITION_RETURNED = "alarm.condition.returned"
    ALARM_CONDITION_RESET = "alarm.condition.reset"
    ALARM_CONDITION_SHELVED = "alarm.condition.shelved"
    ALARM_CONDITION_UNSHELVED = "alarm.condition.unshelved"
    ALARM_CONDITION_SUPPRESSED = "alarm.condition.suppressed"
    ALARM_CONDITION_UNSUPPRESSED = "alarm.condition.unsuppressed"
    DEVIATION_RECORD_OPENED = "deviation.record.opened"
    RUN_RECORD_CLOSED = "run.record.closed"
    EQUIPMENT_CHECK_BEGUN = "equipment.check.begun"
    EQUIPMENT_CHECK_COMPLETED = "equipment.check.completed"
    CELL_CLEANING_COMPLETED = "cell.cleaning.completed"
    EQUIPMENT_QUALIFICATION_RECORDED = "equipment.qualification.recorded"
    EQUIPMENT_MAINTENANCE_RECORDED = "equipment.maintenance.recorded"
    PERSON_TRAINING_RECORDED = "person.training.recorded"
    MODEL_VERSION_DRAFTED = "model.version.drafted"
    MODEL_TEST_COMPLETED = "model.test.completed"
    MODEL_VERSION_SUBMITTED = "model.version.submitted"
    MODEL_VERSION_RETURNED = "model.version.returned"
    MODEL_VERSION_APPROVED = "model.version.approved"
    MODEL_VERSION_EFFECTIVE = "model.version.effective"
    MODEL_VERSION_SUPERSEDED = "model.version.superseded"
    MODEL_VERSION_RETIRED = "model.version.retired"
    MODEL_VERSION_SUSPENDED = "model.version.suspended"
    MODEL_VERSION_REINSTATED = "model.version.reinstated"
    MODEL_REFERENCE_CHECKED = "model.reference.checked"
    MODEL_PREDICTION_RECORDED = "model.prediction.recorded"
    MODEL_REQUEST_REFUSED = "model.request.refused"
    UNIT_SPECTRUM_RECORDED = "unit.spectrum.recorded"
    PACK_RECORD_CREATED = "pack.record.created"
    PACK_LABEL_APPLIED = "pack.label.applied"
    PACK_LABEL_WITHDRAWN = "pack.label.withdrawn"
    PACK_SCAN_REFUSED = "pack.scan.refused"
    PACK_CUSTODY_DISPENSED = "pack.custody.dispensed"
    PACK_CUSTODY_RETURNED = "pack.custody.returned"
    PACK_CUSTODY_RECALLED = "pack.custody.recalled"
    PACK_CUSTODY_LOST = "pack.custody.lost"
    PACK_CUSTODY_DESTROYED = "pack.custody.destroyed"
    LABEL_COPY_PRINTED = "label.copy.printed"
    LABEL_COPY_APPLIED = "label.copy.applied"
    LABEL_COPY_WITHDRAWN = "label.copy.withdrawn"
    LABEL_COPY_ACCOUNTED = "label.copy.accounted"
    RECALL_RECORD_OPENED = "recall.record.opened"
    RECALL_PATIENT_CONTACTED = "recall.patient.contacted"
    RECALL_RECORD_CLOSED = "recall.record.closed"
    INK_LOT_QUARANTINED = "ink.lot.quarantined"
    INK_CARTRIDGE_QUARANTINED = "ink.cartridge.quarantined"


MEANINGS: Mapping[EventKind, tuple[str, str]] = MappingProxyType(
    {
        EventKind.SITE_STORE_CREATED: ("store", "the trail begins: origin, verifier key, demonstration or not"),
        EventKind.PERSON_ACCOUNT_CREATED: ("person", "an account was made; its username is never used again"),
        EventKind.PERSON_ACCOUNT_DEACTIVATED: ("person", "an account can no longer log in or sign"),
        EventKind.PERSON_CREDENTIAL_SET: ("person", "a password and signing key were set; their sealed form has this digest"),
        EventKind.PERSON_ACCOUNT_LOCKED: ("person", "too many failed attempts"),
        EventKind.PERSON_ACCOUNT_UNLOCKED: ("person", "an administrator unlocked the account"),
        EventKind.PERSON_SESSION_OPENED: ("person", "log-in"),
        EventKind.PERSON_SESSION_CLOSED: ("person", "log-out or time-out"),
        EventKind.PERSON_SESSION_REFUSED: (
            "person",
            "a failed attempt to log in or to sign (subject `access` where the account is unknown)",
        ),
        EventKind.PERSON_SIGNATURE_GIVEN: ("person", "the person re-authenticated and their key signed a digest"),
        EventKind.PERSON_SESSION_LOCKED: ("person", "a session was locked after inactivity; it shows the run, and STOP works"),
        EventKind.PERSON_SESSION_RESUMED: ("person", "the person re-authenticated at a locked session"),
        EventKind.PERSON_ROLES_CHANGED: ("person", "roles were granted, withdrawn, or lent until a day"),
        EventKind.PERSON_FACTOR_ENROLLED: ("factor", "a second factor of a person; a secret is attached in its sealed form"),
        EventKind.PERSON_FACTOR_USED: ("factor", "a second factor was used; what was used cannot be used again"),
        EventKind.PERSON_FACTOR_REVOKED: ("factor", "a second factor opens nothing any more"),
        EventKind.ACCESS_POLICY_CHANGED: ("policy", "the site's policy for access changed"),
        EventKind.ACCESS_MISUSE_SUSPECTED: ("misuse", "misuse of an account is suspected; it stands until it is judged"),
        EventKind.ACCESS_MISUSE_JUDGED: ("misuse", "a person judged a suspected misuse"),
        EventKind.ACCESS_REVIEW_SIGNED: ("access_review", "accounts, roles and second factors were reviewed and signed, with the report"),
        EventKind.PATIENT_IDENTITY_RECORDED: ("patient", "identifying data were sealed under a pseudonym; commitment only"),
        EventKind.PATIENT_IDENTITY_OPENED: ("patient", "a person read the identifying data of a pseudonym, with the reason"),
        EventKind.RECIPE_VERSION_DRAFTED: (
            "recipe",
            "a version was written down, with reason and difference; nobody stands for it yet",
        ),
        EventKind.RECIPE_VERSION_SUBMITTED: (
            "recipe",
            "its author signed it for review; its number now means this content",
        ),
        EventKind.RECIPE_VERSION_RETURNED: ("recipe", "it went back to its author, with the reason; signed"),
        EventKind.RECIPE_VERSION_APPROVED: ("recipe", "another person than the author approved and signed it"),
        EventKind.RECIPE_VERSION_EFFECTIVE: ("recipe", "a recipe version may be printed; at a cell: so it was told, with the signatures"),
        EventKind.RECIPE_VERSION_SUPERSEDED: ("recipe", "a newer version took its place; it is not printed any more"),
        EventKind.RECIPE_VERSION_RETIRED: ("recipe", "it was withdrawn and signed; it is not printed any more"),
        EventKind.RECIPE_DEVELOPMENT_OPENED: ("recipe", "a process engineer signed it for development runs, not for patients"),
        EventKind.RECIPE_BUNDLE_EXPORTED: ("recipe", "its signed bundle was written to a file"),
        EventKind.RECIPE_BUNDLE_IMPORTED: ("recipe", "a bundle signed by people this site trusts was taken in, as approved"),
        EventKind.RECIPE_REQUEST_REFUSED: ("recipe_request", "a step or an import was refused, with the reason"),
        EventKind.INK_LOT_RECEIVED: ("ink_lot", "an ink lot with its certificate"),
        EventKind.INK_CARTRIDGE_RECEIVED: ("cartridge", "a cartridge of an ink lot"),
        EventKind.INK_LOT_PREPARED: ("ink_lot", "an ink prepared on site: its record, and the signature of who checked it"),
        EventKind.INK_CARTRIDGE_USED: ("cartridge", "what a closed run took from the cartridge, and how long it was at temperature"),
        EventKind.INK_CARTRIDGE_WEIGHED: (
            "cartridge",
            "a weighing: whether it agrees with what runs took (else it is held), what is left, the batch that left it",
        ),
        EventKind.INK_CARTRIDGE_RETURNED: ("ink_return", "in older trails: what is left in a cartridge of a batch; now a weighing says it"),
        EventKind.CELL_RECORD_ENROLLED: ("cell", "a cell's origin and verifier key are known to this workstation"),
        EventKind.ORDER_PRESCRIPTION_ENTERED: ("order", "a prescription was entered and signed"),
        EventKind.ORDER_PRESCRIPTION_CONFIRMED: ("order", "a second person confirmed it"),
        EventKind.ORDER_CARTRIDGE_SCANNED: ("order", "the cartridge in a head was scanned and is the one of the order"),
        EventKind.ORDER_CARTRIDGE_REFUSED: ("order", "what was scanned is not a cartridge that this order may be printed from now"),
        EventKind.BATCH_RECORD_CREATED: ("batch", "a batch was opened for an order"),
        EventKind.BATCH_RECORD_CANCELLED: ("batch", "a batch whose run was never asked for was given up, with the reason"),
        EventKind.BATCH_RUN_REQUESTED: ("batch", "a cell was asked for a run"),
        EventKind.BATCH_RUN_CLOSED: ("batch", "a run ended; the cell's origin, size and root tie the two trails"),
        EventKind.BATCH_EXCEPTION_RESOLVED: ("exception", "a person other than the operator assigned a cause to an exception and signed"),
        EventKind.BATCH_DISPOSITION_SIGNED: ("batch", "released, partly released or rejected, with the signature"),
        EventKind.BATCH_DOCUMENT_SEALED: ("batch", "the record's PDF was sealed by the site; it is attached, and exported as it is"),
        EventKind.BATCH_PACKAGE_EXPORTED: ("batch", "a review package was written"),
        EventKind.BATCH_PACKING_CLOSED: ("batch", "every released unit is packed and labelled, every printed label accounted for"),
        EventKind.RECORD_STORE_VERIFIED: ("store", "the store was verified, with the outcome"),
        EventKind.RECORD_SELECTION_EXPORTED: (
            "export",
            "entries were exported: what was asked for, how many, the file's digest",
        ),
        EventKind.TRAIL_CHECKPOINT_COSIGNED: ("anchor", "a witness outside cosigned a checkpoint; the cosigned note is attached"),
        EventKind.TRAIL_CHECKPOINT_TIMESTAMPED: ("anchor", "a time-stamping authority stamped a checkpoint; note and token are attached"),
        EventKind.TRAIL_ANCHOR_REFUSED: ("anchor", "a witness or time-stamping authority refused a checkpoint, or disputes the trail"),
        EventKind.TRAIL_KEY_ROTATED: ("store", "the trail's key was replaced; old and new key state it, or it is not continuous"),
        EventKind.CELL_KEY_ACCEPTED: ("cell", "the new key of a cell was accepted, with the signature of quality assurance"),
        EventKind.SITE_PROCESS_STARTED: (
            "workstation",
            "the workstation process began: digest of its configuration, and what changed in it",
        ),
        EventKind.SITE_PROCESS_STOPPED: ("workstation", "the workstation process ended in order"),
        EventKind.SITE_CLOCK_STEPPED: ("workstation", "UTC moved against process time"),
        EventKind.STORE_RECORD_RESTORED: (
            "store",
            "the store was restored from a backup: its size, root and digest, and what is known to be lost",
        ),
        EventKind.STORE_RESTORE_TESTED: ("store", "a backup was restored elsewhere and compared with this store: outcome, and when next"),
        EventKind.RETENTION_HOLD_PLACED: ("hold", "documents of a batch are kept beyond their time, until this is lifted"),
        EventKind.RETENTION_HOLD_LIFTED: ("hold", "the hold on a batch is over, with the reason"),
        EventKind.RETENTION_ARCHIVE_CHECKED: ("batch_archive", "the archived package of a batch was read and checked, with the outcome"),
        EventKind.PATIENT_ERASURE_REQUESTED: ("patient", "a person asked that identifying data be erased; another must agree"),
        EventKind.PATIENT_IDENTITY_ERASED: ("patient", "the sealed identifying data were destroyed; the commitment stays"),
        EventKind.CELL_PROCESS_STARTED: ("cell", "the cell process began"),
        EventKind.CELL_PROCESS_STOPPED: ("cell", "the cell process ended in order"),
        EventKind.CELL_CLOCK_STEPPED: ("cell", "UTC moved against process time"),
        EventKind.CELL_PRINTER_STOPPED: ("cell", "the printer, told to stop first of all when its port was opened again, has confirmed it"),
        EventKind.CELL_DEVICE_RETURNED: ("cell", "a device that was away is there again and has said who it is"),
        EventKind.RUN_REQUEST_REFUSED: (
            "run_request",
            "the cell refused a job or a notice about a recipe; nothing was begun",
        ),
        EventKind.RUN_RECORD_CREATED: ("run", "a run with its program, proof and dose"),
        EventKind.RUN_GATES_PASSED: ("run", "every gate before the print was met"),
        EventKind.RUN_GATES_REFUSED: ("run", "a gate was not met"),
        EventKind.RUN_STATE_CHANGED: ("run", "the run machine changed state"),
        EventKind.RUN_ACTION_INTENDED: ("run", "heat, home, prime or park will be done"),
        EventKind.RUN_ACTION_COMPLETED: ("run", "the action was done"),
        EventKind.RUN_JOURNAL_SEALED: ("run", "a part of the run's journal was full and is attached; a run that waits long has several"),
        EventKind.RUN_COMMAND_RECEIVED: ("run", "a person asked for start, pause, resume or stop"),
        EventKind.DOSE_CORRECTION_DECIDED: (
            "correction",
            "the next unit was compiled anew with this flow factor; the masses it follows from, its proof and its digest",
        ),
        EventKind.UNIT_PRINT_INTENDED: ("unit", "a unit will be printed from bytes with this digest"),
        EventKind.UNIT_WEIGHT_ENTERED: ("unit", "a person entered the weight of an external balance; the value is in the verdict"),
        EventKind.UNIT_WEIGHT_JUDGED: ("unit", "the weighing and the verdict"),
        EventKind.UNIT_PRINT_SCRAPPED: ("unit", "the unit was given up, with the reasons"),
        EventKind.UNIT_REMOVAL_CONFIRMED: ("unit", "a rejected unit left the plate"),
        EventKind.UNIT_PARTS_JUDGED: (
            "unit",
            "a unit of several inks is accepted with all of its parts, or rejected with the first that is not",
        ),
        EventKind.PART_PRINT_INTENDED: ("part", "one ink's part of a unit will be printed from bytes with this digest"),
        EventKind.PART_WEIGHT_JUDGED: ("part", "the weighing of one ink's part of a unit and its verdict"),
        EventKind.PART_PRINT_SCRAPPED: ("part", "one ink's part of a unit was given up, with the reasons"),
        EventKind.CALIBRATION_PRINT_INTENDED: ("calibration", "a purge unit will be printed from bytes with this digest; never product"),
        EventKind.CALIBRATION_WEIGHT_JUDGED: ("calibration", "the weighing of a purge unit and whether the flow follows from it"),
        EventKind.CALIBRATION_PRINT_SCRAPPED: ("calibration", "the purge unit was given up, with the reasons"),
        EventKind.CALIBRATION_REMOVAL_CONFIRMED: ("calibration", "a purge unit left the plate"),
        EventKind.ALARM_CONDITION_RAISED: ("alarm", "an alarm condition arose"),
        EventKind.ALARM_CONDITION_ACKNOWLEDGED: ("alarm", "a person acknowledged it"),
        EventKind.ALARM_CONDITION_RETURNED: ("alarm", "the condition went away"),
        EventKind.ALARM_CONDITION_RESET: ("alarm", "a person reset a latched alarm that was acknowledged"),
        EventKind.ALARM_CONDITION_SHELVED: ("alarm", "a person put it away for a stated time and reason"),
        EventKind.ALARM_CONDITION_UNSHELVED: (
            "alarm",
            "shown again: by a person, by its time, or by the end of the run",
        ),
        EventKind.ALARM_CONDITION_SUPPRESSED: ("alarm", "it is suppressed by design as long as the run's situation makes it meaningless"),
        EventKind.ALARM_CONDITION_UNSUPPRESSED: ("alarm", "it is no longer suppressed by design"),
        EventKind.DEVIATION_RECORD_OPENED: ("deviation", "a deviation was opened"),
        EventKind.RUN_RECORD_CLOSED: ("run", "the run's record is complete"),
        EventKind.EQUIPMENT_CHECK_BEGUN: ("balance", "a person began the daily check of a balance"),
        EventKind.CELL_CLEANING_COMPLETED: ("cell", "a person cleaned the cell, by which method"),
        EventKind.EQUIPMENT_QUALIFICATION_RECORDED: (
            "qualification",
            "a report on the qualification of a cell's equipment, signed by quality assurance",
        ),
        EventKind.EQUIPMENT_MAINTENANCE_RECORDED: (
            "maintenance",
            "what was done to a device of a cell, and what its qualification needs since",
        ),
        EventKind.PERSON_TRAINING_RECORDED: (
            "training",
            "a person was trained in a recipe, a cell or a procedure; signed by who stands for it",
        ),
        EventKind.MODEL_VERSION_DRAFTED: (
            "model",
            "a process model was written down, whole, with its acceptance limits; nothing was tested yet",
        ),
        EventKind.MODEL_TEST_COMPLETED: (
            "model",
            "it was tested on independent data: figures, limits, whether it passed; once for a version",
        ),
        EventKind.MODEL_VERSION_SUBMITTED: ("model", "its author signed it for review"),
        EventKind.MODEL_VERSION_RETURNED: ("model", "it went back to its author, with the reason; signed"),
        EventKind.MODEL_VERSION_APPROVED: ("model", "another person than the author approved and signed it"),
        EventKind.MODEL_VERSION_EFFECTIVE: ("model", "its predictions may serve release from now on; signed"),
        EventKind.MODEL_VERSION_SUPERSEDED: ("model", "a newer version took its place"),
        EventKind.MODEL_VERSION_RETIRED: ("model", "it was withdrawn and signed; it is not used any more"),
        EventKind.MODEL_VERSION_SUSPENDED: ("model", "monitoring or a person took it out of use until it is reviewed, with the reasons"),
        EventKind.MODEL_VERSION_REINSTATED: ("model", "a person of quality reviewed a suspended model, assigned a cause and signed"),
        EventKind.MODEL_REFERENCE_CHECKED: ("model", "a prediction beside the reference method: the residual"),
        EventKind.MODEL_PREDICTION_RECORDED: (
            "prediction",
            "what a model says of the units of a batch: inputs, T², Q, prediction, interval",
        ),
        EventKind.MODEL_REQUEST_REFUSED: ("model_request", "a step of a model was refused, with the reason"),
        EventKind.UNIT_SPECTRUM_RECORDED: ("spectrum", "a spectrum of a unit as the probe gave it"),
        EventKind.EQUIPMENT_CHECK_COMPLETED: ("balance", "a daily check of a balance with a check weight: readings, limits, outcome"),
        EventKind.PACK_RECORD_CREATED: ("pack", "released units of one strength were put into a pack"),
        EventKind.PACK_LABEL_APPLIED: ("pack", "the label on the pack was scanned and is the pack's own"),
        EventKind.PACK_LABEL_WITHDRAWN: ("pack", "its label is printed again: it has to be labelled and scanned anew"),
        EventKind.PACK_SCAN_REFUSED: ("pack", "what was scanned is not the code of this pack; nothing was done"),
        EventKind.PACK_CUSTODY_DISPENSED: ("pack", "it was handed out, to whom"),
        EventKind.PACK_CUSTODY_RETURNED: ("pack", "it came back; it is never dispensed again"),
        EventKind.PACK_CUSTODY_RECALLED: ("pack", "a recall stopped it wherever it is"),
        EventKind.PACK_CUSTODY_LOST: ("pack", "a recalled pack was used up or cannot be found, with the reason"),
        EventKind.PACK_CUSTODY_DESTROYED: ("pack", "it was destroyed, with the reason"),
        EventKind.LABEL_COPY_PRINTED: (
            "label",
            "a label was printed: which copy, for what reason, the digest of the file; a further copy is signed",
        ),
        EventKind.LABEL_COPY_APPLIED: ("label", "the label is on its pack, as the scan showed"),
        EventKind.LABEL_COPY_WITHDRAWN: ("label", "the label is not on its pack any more and has to be accounted for"),
        EventKind.LABEL_COPY_ACCOUNTED: ("label", "the label was spoiled and destroyed, or returned unused"),
        EventKind.RECALL_RECORD_OPENED: ("recall", "a signed recall: what was searched, and the batches, units, packs and patients found"),
        EventKind.RECALL_PATIENT_CONTACTED: ("recall_patient", "a patient of a recall was contacted, or could not be, and how"),
        EventKind.RECALL_RECORD_CLOSED: ("recall", "every pack and every patient of the recall is accounted for; signed"),
        EventKind.INK_LOT_QUARANTINED: ("ink_lot", "a recall holds the ink lot"),
        EventKind.INK_CARTRIDGE_QUARANTINED: ("cartridge", "a recall holds the cartridge"),
    }
)


@dataclass(frozen=True, slots=True)
class Subject:
    """What an entry is about: an object type and the object's identifier."""

    type: str
    id: str

    def __str__(self) -> str:
        return f"{self.type}/{self.id}"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: username, printed full name, and the role in which the person acts."""

    username: str
    name: str
    role: str


SYSTEM = Actor("system", "Dosewright", "system")

LONGEST_ENTRY = 1 << 22
"""The bytes of the longest entry that whoever checks a package reads."""

CREDENTIALS_TABLE = "credentials"
PATIENTS_TABLE = "patients"
COMMITMENT_FIELD: Mapping[str, tuple[str, str]] = MappingProxyType(
    {CREDENTIALS_TABLE: ("person", "credential_sha256"), PATIENTS_TABLE: ("patient", "identity_sha256")}
)
"""Committed table → the subject type whose state commits to its rows, and the field that holds the row's digest."""
ERASED_FIELD = "identity_erased"
"""True in the state of a patient whose sealed row was destroyed: then there must be none."""


@dataclass(frozen=True, slots=True)
class SealedRow:
    """A row of a committed table, written with the entry that holds its SHA-256. The key is the entry's subject id."""

    table: str
    sealed: bytes


@dataclass(frozen=True, slots=True)
class EntryDraft:
    """An entry before it has a place in the trail.

    `new` holds the fields that change (the store fills in `old`), `unit` the unit of each measured field,
    `attachments` file names with their bytes, `sealed` rows of committed tables that this entry commits to.
    """

    kind: EventKind
    subject: Subject
    new: Mapping[str, JsonValue]
    actor: Actor
    device: str
    reason: str | None = None
    unit: Mapping[str, str] = field(default_factory=dict)
    attachments: Mapping[str, bytes] = field(default_factory=dict)
    sealed: tuple[SealedRow, ...] = ()
    erased: bool = False
    """Destroy the subject's row of `patients`: the trail keeps the commitment, and `new` says `identity_erased`."""


class ClockBody(TypedDict):
    sync: str
    process_us: int | None
    rate: str


class SubjectBody(TypedDict):
    type: str
    id: str


class AttachmentBody(TypedDict):
    name: str
    sha256: str
    bytes: int


class EntryBody(TypedDict):
    """The members of an entry, exactly these."""

    seq: int
    prev: str
    at: str
    zone: str
    clock: ClockBody
    actor: str
    name: str
    role: str
    device: str
    kind: str
    subject: SubjectBody
    old: JsonObject
    new: JsonObject
    unit: dict[str, str]
    reason: str | None
    attachments: list[AttachmentBody]
    demonstration: bool
    software: str


class Entry:
    """One entry of a trail, as its canonical bytes. Immutable; the body is a fresh reading of the bytes."""

    __slots__ = ("_body", "_digest", "canonical")

    def __init__(self, canonical: bytes) -> None:
        self.canonical = canonical
        self._digest: str | None = None
        self._body: EntryBody | None = None

    @property
    def digest(self) -> str:
        if self._digest is None:
            self._digest = entry_digest(self.canonical)
        return self._digest

    @property
    def body(self) -> EntryBody:
        if self._body is None:
            self._body = orjson.loads(self.canonical)
        return self._body

    def __eq__(self, other: object) -> bool:
        return self.canonical == other.canonical if isinstance(other, Entry) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.canonical)

    def __repr__(self) -> str:
        return f"Entry({self.seq}, {self.kind}, {self.subject})"

    @property
    def seq(self) -> int:
        return self.body["seq"]

    @property
    def prev(self) -> str:
        return self.body["prev"]

    @property
    def at(self) -> str:
        return self.body["at"]

    @property
    def zone(self) -> str:
        return self.body["zone"]

    @property
    def actor(self) -> Actor:
        return Actor(self.body["actor"], self.body["name"], self.body["role"])

    @property
    def device(self) -> str:
        return self.body["device"]

    @property
    def kind(self) -> str:
        return self.body["kind"]

    @property
    def subject(self) -> Subject:
        return Subject(self.body["subject"]["type"], self.body["subject"]["id"])

    @property
    def old(self) -> JsonObject:
        return self.body["old"]

    @property
    def new(self) -> JsonObject:
        return self.body["new"]

    @property
    def unit(self) -> dict[str, str]:
        return self.body["unit"]

    @property
    def reason(self) -> str | None:
        return self.body["reason"]

    @property
    def attachments(self) -> list[AttachmentBody]:
        return self.body["attachments"]

    @property
    def demonstration(self) -> bool:
        return self.body["demonstration"]
