"""Persisted event kinds, and the shape of a trail entry.

A kind is `subject.object.action` and is never renamed or reused: retired kinds stay here so that old trails stay
readable. `MEANINGS` states for each kind the type of its subject and what the entry says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TypedDict

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
    BATCH_RECORD_CREATED = "batch.record.created"
    BATCH_RUN_REQUESTED = "batch.run.requested"
    BATCH_RUN_CLOSED = "batch.run.closed"
    BATCH_EXCEPTION_RESOLVED = "batch.exception.resolved"
    BATCH_DISPOSITION_SIGNED = "batch.disposition.signed"
    BATCH_PACKAGE_EXPORTED = "batch.package.exported"
    RECORD_STORE_VERIFIED = "record.store.verified"
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
        EventKind.INK_CARTRIDGE_WEIGHED: ("cartridge", "a weighing, and whether it agrees with what runs took; one that does not is held"),
        EventKind.INK_CARTRIDGE_RETURNED: ("ink_return", "a cartridge came back from a batch; what is left in it was weighed"),
        EventKind.CELL_RECORD_ENROLLED: ("cell", "a cell's origin and verifier key are known to this workstation"),
        EventKind.ORDER_PRESCRIPTION_ENTERED: ("order", "a prescription was entered and signed"),
        EventKind.ORDER_PRESCRIPTION_CONFIRMED: ("order", "a second person confirmed it"),
        EventKind.BATCH_RECORD_CREATED: ("batch", "a batch was opened for an order"),
        EventKind.BATCH_RUN_REQUESTED: ("batch", "a cell was asked for a run"),
        EventKind.BATCH_RUN_CLOSED: ("batch", "a run ended; the cell's origin, size and root tie the two trails"),
        EventKind.BATCH_EXCEPTION_RESOLVED: ("exception", "a person other than the operator assigned a cause to an exception and signed"),
        EventKind.BATCH_DISPOSITION_SIGNED: ("batch", "released, partly released or rejected, with the signature"),
        EventKind.BATCH_PACKAGE_EXPORTED: ("batch", "a review package was written"),
        EventKind.RECORD_STORE_VERIFIED: ("store", "the store was verified, with the outcome"),
        EventKind.CELL_PROCESS_STARTED: ("cell", "the cell process began"),
        EventKind.CELL_PROCESS_STOPPED: ("cell", "the cell process ended in order"),
        EventKind.CELL_CLOCK_STEPPED: ("cell", "UTC moved against process time"),
        EventKind.CELL_PRINTER_STOPPED: ("cell", "the printer was told to stop as the first thing when its port was opened again"),
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
        EventKind.EQUIPMENT_CHECK_COMPLETED: ("balance", "a daily check of a balance with a check weight: readings, limits, outcome"),
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

CREDENTIALS_TABLE = "credentials"
PATIENTS_TABLE = "patients"
COMMITMENT_FIELD: Mapping[str, tuple[str, str]] = MappingProxyType(
    {CREDENTIALS_TABLE: ("person", "credential_sha256"), PATIENTS_TABLE: ("patient", "identity_sha256")}
)
"""Committed table → the subject type whose state commits to its rows, and the field that holds the row's digest."""


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

    __slots__ = ("_body", "canonical", "digest")

    def __init__(self, canonical: bytes) -> None:
        self.canonical = canonical
        self.digest = entry_digest(canonical)
        self._body: EntryBody | None = None

    @property
    def body(self) -> EntryBody:
        if self._body is None:
            self._body = json.loads(self.canonical)
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
